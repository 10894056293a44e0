//! Typed quantities and identifiers: what may cross a function boundary in Weir.
//!
//! Nothing here does I/O, reads a clock or draws a random number. Conversions are named and checked;
//! only the operations that make sense are defined.

mod identifiers;
mod quantities;
mod timestamp;

pub use identifiers::{Epoch, LogIndex, NodeId, PartitionId, ProxyId, TableId, Term, Zone};
pub use quantities::{Bytes64, MilliUnits, MilliUnitsPerSecond};
pub use timestamp::{Timestamp, UnixMillis};
