//! An operation on its way through the node.

use std::sync::Arc;

use dynamodb::operation::Operation;

use super::hosted::Hosted;
use super::partition_throughput::Admitted;
use super::reply::Reply;

/// One operation for one hosted partition; its key was found in the partition's range.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) hosted: Arc<Hosted>,
    pub(crate) operation: Operation,
    pub(crate) reply: Reply,
    /// What it was charged, to be settled where it is executed.
    pub(crate) admitted: Admitted,
}
