//! Admission control: token buckets, rate leases, the allocator that vends them, and the ring that
//! says which allocator owns a bucket.
//!
//! Nothing here does I/O, reads a clock or draws a random number: `now` comes in, what must happen
//! comes out. The same code runs in production and under a simulated clock and network.
//!
//! A *bucket* is one quota's tokens for (table, read or write). Every token is in exactly one place:
//! the pool at the bucket's owner ([`Allocator`]), or a proxy's local bucket
//! ([`AtomicTokenBucket`], kept by its [`LeaseKeeper`]).

mod allocator;
mod lease;
mod lease_keeper;
mod ring;
mod token_bucket;

pub use allocator::{Allocator, AllocatorConfig, BucketSummary};
pub use lease::{
    BucketId, CapacityKind, Claim, Grant, GrantNumber, Level, Mode, OutagePolicy, PoolColour, Quota,
    ReportEntry, ReportHeader,
};
pub use lease_keeper::LeaseKeeper;
pub use ring::Ring;
pub use token_bucket::{AtomicTokenBucket, BucketCounters, Lease, Shortage, TokenBucket, local_depth};
