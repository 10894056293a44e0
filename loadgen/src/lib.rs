//! Load on a DynamoDB endpoint: signed requests, and what they cost the server's process.

pub mod connection;
pub mod process_cpu;
pub mod signer;
