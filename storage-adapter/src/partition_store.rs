//! The one trait by which a proxy executes operations on partitions.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use admission::{StorageLayer, StorageRefusal};
use dynamodb::operation::{Operation, Outcome};
use routing::Route;

/// Executes operations on partitions.
pub trait PartitionStore: Send + Sync + 'static {
    /// Executes `operation` on the partition that `route` describes, within `deadline`.
    ///
    /// Writes and consistent reads go to the leader, other reads to the nearest replica. Nothing is
    /// retried here: redirects, refreshes and their budget are the caller's.
    fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send;
}

impl<S: PartitionStore> PartitionStore for Arc<S> {
    fn execute(
        &self,
        route: &Route,
        operation: &Operation,
        deadline: Duration,
    ) -> impl Future<Output = Result<Outcome, StoreError>> + Send {
        S::execute(self, route, operation, deadline)
    }
}

/// Why an operation has no outcome.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// Not executed: another node leads or owns it now, by this newer route.
    #[error("the route is out of date")]
    Redirect(Box<Route>),
    /// Not executed: the node does not own or lead it, and knows no better. Look it up and wait.
    #[error("the route is unknown")]
    Unknown,
    /// Not executed: no leader yet, stopping, overloaded, or not reachable.
    #[error("the partition is unavailable: {reason}")]
    Unavailable {
        /// For the log and for `weir explain`.
        reason: String,
        /// When to come back.
        retry_after: Duration,
    },
    /// Not executed: refused by the bucket of the partition, or of the node that hosts it. It says which
    /// of the two, for reads or writes, its limit and what was left of it, why a burst was of no help, the
    /// hash of the partition's hottest key, and when to come back. A refusal by the partition is what
    /// DynamoDB calls `KeyRangeThroughputExceeded`; so is one by the node, which DynamoDB does not tell
    /// apart: neither is the table's quota, and a higher quota would not have helped.
    #[error("throttled by the {}", match .0.layer {
        StorageLayer::Partition => "partition",
        StorageLayer::Node => "node",
    })]
    Throttled(Box<StorageRefusal>),
    /// Sent, and no answer: a write is *indefinite*, it may or may not take place.
    #[error("no answer from the storage node")]
    Indefinite,
    /// An item's checksum did not match on arrival.
    #[error("an item arrived damaged")]
    Corrupt,
}
