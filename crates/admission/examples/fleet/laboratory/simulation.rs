//! A deterministic discrete-event simulation of proxies and GAC servers. The allocator, the lease keeper,
//! the local buckets and the ring are the real ones; clocks, network, clients and faults are simulated.
//! One seed gives one trace, to the last message.

mod arrivals;
mod client;
mod fleet;
mod meter;
mod network;
mod proxy;
pub(crate) mod random;
mod server;
mod trace;

pub(crate) use arrivals::{Arrivals, Pattern};
pub(crate) use client::{Client, Cost};
pub(crate) use fleet::{Fleet, Setup, samples};
pub(crate) use meter::{Meter, jain};
pub(crate) use network::Network;
pub(crate) use proxy::Lie;
