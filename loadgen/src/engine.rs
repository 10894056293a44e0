//! Sends the load and measures what comes of it.

mod answer;
mod client;
mod clock;
mod endpoint;
mod fault;
mod http1;
mod http2;
mod link;
mod progress;
mod socket;
mod timer;

pub use client::{Answer, CallError, Client, ClientError};
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use progress::Progress;
