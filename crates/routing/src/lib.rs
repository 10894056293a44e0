//! Routes: where each partition is, and the rules by which that knowledge is kept. Pure.
//!
//! Invariants: a map never holds two routes whose ranges overlap; what it holds for a range never goes
//! back to an older version ([`Route::supersedes`] is the only rule); a cache that lost everything
//! answers nothing wrong, it only knows less.

mod budget;
mod comparison;
mod gray;
mod latency_window;
mod node_directory;
mod partition_map;
pub mod perkle;
pub mod placement;
mod range_list;
mod replica_choice;
mod route;
mod route_cache;
mod route_entry;
mod warm_tier;

pub use budget::Budget;
pub use comparison::{Answer, Comparison, Findings, Question};
pub use gray::{GRAY_QUANTILE, gray_among, is_gray};
pub use latency_window::LatencyWindow;
pub use node_directory::{NodeAddress, NodeDirectory};
pub use partition_map::PartitionMap;
pub use replica_choice::{NO_PROBE, Replica, ReplicaChoice, ReplicaHealth, choose_replicas};
pub use route::{KeyRange, Learned, Member, MemberKind, Route, RouteVersion};
pub use route_cache::{RouteCache, Tier};
pub use route_entry::RouteEntry;
