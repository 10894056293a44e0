//! The write-ahead log's pure half: records and their bytes, segments, scanning, recovery, and the
//! writer over a small file trait.
//!
//! One log per node, shared by its groups, in numbered segments of one size, each zeroed when created:
//!
//! ```text
//! header │ state of every group │ records … │ footer │ zeros │ trailer
//! ```
//!
//! * A record is valid only at its own place in its own segment of its own log: its CRC32C covers all
//!   three. A misdirected or forged record is none.
//! * What is written between two syncs is a *batch*; every record says where its batch began. A batch
//!   begins only after the one before is durable. So a bad record *before* the beginning of a later
//!   batch was durable once: that is damage. A bad record inside the last batch is a torn tail, is cut,
//!   and nothing was ever acknowledged on its strength.
//! * Every segment but the newest is sealed (footer and trailer) and durable.
//! * A segment begins with the state of every group, so that older segments are needed only for the
//!   entries that no checkpoint covers yet.

mod bytes;
mod group_state;
mod log;
mod record;
mod recovery;
mod scan;
mod segment;

pub use self::group_state::GroupState;
pub use self::log::{Log, LogError, LogOptions, SegmentFile, SegmentStore};
pub use self::record::{Record, RecordError};
pub use self::recovery::{Damage, RecoveredLog, Recovery};
pub use self::scan::{ScanEnd, Scanned, scan};
pub use self::segment::{Footer, FooterGroup, SegmentHeader, SegmentNumber};
