//! Admission control: token buckets, rate leases, the allocator that vends them, and the ring that
//! says which allocator owns a bucket.
//!
//! Nothing here does I/O, reads a clock or draws a random number: `now` comes in, what must happen
//! comes out. The same code runs in production and under a simulated clock and network.
//!
//! A *bucket* is one quota's tokens for (table, read or write). Every token is in exactly one place:
//! the pool at the bucket's owner ([`Allocator`]), or a proxy's local bucket
//! ([`AtomicTokenBucket`], kept by its [`LeaseKeeper`]).

mod account;
mod allocator;
mod allowance;
mod chain;
mod heavy_hitters;
mod lease;
mod lease_keeper;
mod max_min;
mod member_capacity;
mod node_bucket;
mod on_demand;
mod partition_bucket;
mod refill_clock;
mod ring;
mod token_bucket;

pub use allocator::{
    AccountSummary, Allocator, AllocatorConfig, Answer, BucketState, BucketSummary, ShareState, ShareSummary,
    Violations,
};
pub use allowance::Allowance;
pub use chain::{Chain, ChainRefusal, MAX_LEVELS, Taken};
pub use heavy_hitters::{HeavyHitters, HotKey, KeyHash};
pub use lease::{
    BucketId, CapacityKind, Claim, Grant, GrantNumber, Level, Mode, OutagePolicy, PoolColour, Quota,
    ReportEntry, ReportHeader,
};
pub use lease_keeper::{Contact, LeaseKeeper};
pub use max_min::{Claimant, divide_max_min};
pub use member_capacity::{MemberCapacity, STALE_AFTER};
pub use node_bucket::{Class, NodeBucket, NodeLimits, NodeShortage, Spare};
pub use on_demand::{
    GROWTH_WINDOW, Growth, OnDemand, OnDemandLimits, PeakMeter, SUSTAINED, TABLE_LIMIT, initial_quota,
};
pub use partition_bucket::{
    BurstState, Charge, Demand, PartitionBucket, PartitionLevel, PartitionLimits, StorageLayer,
    StorageRefusal,
};
pub use ring::Ring;
pub use token_bucket::{AtomicTokenBucket, BucketCounters, Lease, Shortage, TokenBucket, local_depth};
