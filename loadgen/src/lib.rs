//! Load on a DynamoDB endpoint: signed requests, and what they cost the server's process.

pub mod connection;
pub mod credentials;
pub mod duration_text;
pub mod engine;
pub mod outcome;
pub mod process_cpu;
pub mod result;
pub mod retry;
pub mod signer;
pub mod spec;
pub mod verify;
pub mod workload;
