//! `ring/gac`: which GAC servers own the buckets.

use serde::{Deserialize, Serialize};
use wire::proto::gac::Ring;

use super::Record;

/// The ring.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RingRecord {
    /// Grows with every change of its servers.
    pub epoch: u64,
    /// `host:port` of the servers that own buckets, in order.
    pub servers: Vec<String>,
    /// Servers that were taken out and may still have something to hand over.
    pub draining: Vec<String>,
    /// The configuration's list that it began from, in order: another list there makes another ring.
    pub configured: Vec<String>,
    /// Who changed it last.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

impl Record for RingRecord {
    const PREFIX: &'static str = "ring/";

    fn name(&self) -> String {
        Self::NAME.to_owned()
    }
}

impl RingRecord {
    /// Those that own buckets, and those that drain.
    pub(crate) fn all_servers(&self) -> impl Iterator<Item = &str> {
        self.servers.iter().chain(&self.draining).map(String::as_str)
    }

    /// Its form on the wire.
    pub(crate) fn to_wire(&self) -> Ring {
        Ring { epoch: self.epoch, servers: self.servers.clone() }
    }

    /// There is one ring.
    pub(crate) const NAME: &'static str = "gac";
}
