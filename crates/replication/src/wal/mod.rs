//! The write-ahead log's pure half: records and their bytes, segments, scanning, recovery, and the
//! writer over a small file trait.
//!
//! One log per node, shared by its groups. A record is valid only at its own place in its own segment,
//! and says where its batch began: a batch is written only after the one before is synced, so a bad
//! record before the beginning of a later batch is damage, and one inside the last batch is a torn tail.

mod record;

pub use record::Record;
