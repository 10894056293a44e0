//! A node that hosts replicas: the shell around `replication::NodeCore`.
//!
//! One thread owns the groups ([`node_loop`]); one writes the log; one checkpoints. Requests come in on
//! the transport's tasks: reads that the lease or the consistency asked for allows are answered there
//! ([`service`]), the rest goes through the loop's inbox. Storage nodes and the control plane's members
//! run the same node; only how replicas come to it differs.

mod assignment;
mod carry_out;
mod checkpointer;
mod departures;
mod execute;
mod group;
mod hosted;
mod inbox;
mod lagging_reads;
mod leader_moves;
mod manifest;
mod node_loop;
mod node_throughput;
mod partition_throughput;
mod peer_finder;
mod peers;
mod reads;
mod recover;
mod replicated_node;
mod replication_form;
mod reply;
mod reporter;
mod request;
mod route_changes;
mod route_pusher;
mod service;
mod shared;
mod snapshot_receiver;
mod snapshot_sender;
mod storage_node;
mod turns;

use std::time::Duration;

use crate::StoreError;

pub use hosted::Leadership;
pub use leader_moves::{
    GroupLeadership, KeptLeadership, LeaderMove, Leaderships, MoveCount, MoveError, MoveReport,
    MovedLeadership, NodeLeaderships,
};
pub use replicated_node::{NodeOptions, ReplicatedNode, StartError, StaticGroup, StaticMember};
pub use service::NodeService;
pub use storage_node::{StorageError, StorageHandle, StorageNode, run};

/// When a caller that was turned away should come back: half an election.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Not executed; come back soon.
fn unavailable(reason: &str) -> StoreError {
    StoreError::Unavailable { reason: reason.to_owned(), retry_after: RETRY_AFTER }
}

/// Sends a caller to the leader, if it is known, and tells it what else left this node lately.
fn send_on(shared: &shared::Shared, hosted: &hosted::Hosted, reply: reply::Reply) {
    let newer = hosted.route();
    if newer.leader.is_none() {
        return reply.refuse(unavailable("the partition has no leader"));
    }
    let to_tell = shared.departures.to_tell(wire::clock::now());
    let left = to_tell.into_iter().filter(|partition| *partition != newer.partition);
    let others = left.filter_map(|partition| Some(shared.directory.get(partition)?.route()));
    let elsewhere = others.filter(|route| route.leader.is_some_and(|leader| leader != shared.node));
    let others: Vec<_> = elsewhere.collect();
    reply.redirect(newer, &others);
}

#[cfg(test)]
mod tests;
