//! Load on a DynamoDB endpoint: signed requests, and what they cost the server's process.

pub mod canary;
pub mod command;
pub mod compare;
pub mod connection;
pub mod credentials;
pub mod duration_text;
pub mod engine;
pub mod live_view;
pub mod objective;
pub mod operators;
pub mod outcome;
pub mod preparation;
pub mod process_cpu;
pub mod report;
pub mod result;
pub mod retry;
pub mod search;
pub mod search_result;
pub mod signer;
pub mod spec;
pub mod statistics;
pub mod trace;
pub mod validity;
pub mod verify;
pub mod workload;
