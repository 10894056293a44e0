//! Sends the load and measures what comes of it.
//!
//! [`run`] starts threads that send. Each has its own connections and takes its share of the due times; nothing is
//! shared between them. What they measure goes to the task that called [`run`], which adds it up. Times count from
//! when a request was *due*, not from when it could be sent: a service that stalls is charged for all who had to wait.
//!
//! What is told of a request is decided without clocks and sockets: due times ([`due_times`]), who is served next
//! ([`exchange`]), attempts and their outcomes ([`desk`]), sums ([`tally`]).

mod answer;
mod client;
mod clock;
mod desk;
mod distribution;
mod due_times;
mod endpoint;
mod exchange;
mod fault;
mod http1;
mod http2;
mod line;
mod link;
mod message;
mod progress;
mod request;
mod run;
mod sample;
mod seconds;
mod sender;
mod socket;
mod sums;
mod tally;
mod timer;
mod usage;

pub(crate) use answer::classify;
pub use client::{Answer, CallError, Client, ClientError};
pub use due_times::Recorded;
pub use endpoint::{Endpoint, InvalidEndpoint};
pub use progress::Progress;
pub use run::{RunError, RunOptions, run};
pub use timer::Timer;
