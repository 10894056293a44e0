//! What a request asks of admission, and what it gets.

use std::sync::Arc;
use std::time::Duration;

use ::admission::{CapacityKind, Chain, MAX_LEVELS, StorageLayer, StorageRefusal, Taken};
use dynamodb::api::ApiOperation;
use dynamodb::table::TableDescriptor;
use units::{MilliUnits, Timestamp};

use super::described::Described;
use super::explanation::{Cause, Layer};
use super::local_bucket::LocalBucket;
use super::principals::Principal;
use crate::http::RequestId;

/// What a request asks for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    /// Which request.
    pub(crate) request: &'a RequestId,
    /// What it is.
    pub(crate) operation: ApiOperation,
    /// Who asks.
    pub(crate) principal: &'a Arc<str>,
    /// Of which table.
    pub(crate) table: &'a TableDescriptor,
    /// Which capacity.
    pub(crate) kind: CapacityKind,
    /// How much at least.
    pub(crate) cost: MilliUnits,
    /// When.
    pub(crate) now: Timestamp,
}

/// Tokens that a request took, at every level that holds for it.
#[derive(Debug)]
#[must_use = "what was taken is to be settled when the cost is known"]
pub(crate) struct Permit {
    pub(super) levels: Levels,
    pub(super) taken: Taken,
    pub(super) cost: MilliUnits,
    pub(super) principal: Arc<Principal>,
}

/// The buckets that a request passes, in the order in which they refuse: its table's, its table's share of
/// the account, its signer's. The last two only where there are such quotas.
#[derive(Clone, Debug)]
pub(super) struct Levels {
    pub(super) table: Arc<LocalBucket>,
    pub(super) account: Option<Arc<LocalBucket>>,
    pub(super) principal: Option<Arc<LocalBucket>>,
}

impl Levels {
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<LocalBucket>> {
        std::iter::once(&self.table).chain(&self.account).chain(&self.principal)
    }

    /// The bucket at `level` of the chain.
    pub(super) fn at(&self, level: usize) -> &Arc<LocalBucket> {
        self.iter().nth(level).expect("a chain's levels are these")
    }

    pub(super) fn chain(&self) -> Chain<'_> {
        self.iter().fold(Chain::default(), |chain, bucket| chain.then(&bucket.tokens, bucket.is_shadow()))
    }
}

const _: () = assert!(MAX_LEVELS == 3, "the table, the account, the principal");

/// A refusal: too few tokens.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the {layer} has too few tokens for table {} ({cause}); back in {retry_after:?}", table.name)]
pub(crate) struct Refusal {
    /// Who refused.
    pub(crate) layer: Layer,
    /// Why.
    pub(crate) cause: Cause,
    /// When to come back; `Duration::MAX`: not while the quota is what it is.
    pub(crate) retry_after: Duration,
    /// What was asked for.
    pub(crate) table: Arc<Described>,
}

impl Refusal {
    /// A storage node's refusal of what the proxy had admitted.
    pub(crate) const fn by_node(refusal: &StorageRefusal, table: Arc<Described>) -> Self {
        let (layer, cause) = match refusal.layer {
            StorageLayer::Partition => (Layer::Partition, Cause::Partition),
            StorageLayer::Node => (Layer::Node, Cause::Node),
        };
        Self { layer, cause, retry_after: refusal.retry_after, table }
    }
}
