//! The contracts between the tiers, and the transport that carries them.
//!
//! One bidirectional stream per (client, server) pair; requests and answers share frames. The same
//! component serves storage nodes, MemDS, GAC and the control plane.

pub mod clock;
mod columns;
mod handovers;
pub mod leases;
pub mod lookup_answers;
pub mod method;
pub mod routes;
pub mod transport;

/// Generated from `proto/`.
#[expect(missing_docs, clippy::all, reason = "generated; the contracts carry the comments")]
pub mod proto {
    pub mod transport {
        include!(concat!(env!("OUT_DIR"), "/weir.transport.rs"));
    }
    pub mod routing {
        include!(concat!(env!("OUT_DIR"), "/weir.routing.rs"));
    }
    pub mod storage {
        include!(concat!(env!("OUT_DIR"), "/weir.storage.rs"));
    }
    pub mod control {
        include!(concat!(env!("OUT_DIR"), "/weir.control.rs"));
    }
    pub mod gac {
        include!(concat!(env!("OUT_DIR"), "/weir.gac.rs"));
    }
    pub mod replication {
        include!(concat!(env!("OUT_DIR"), "/weir.replication.rs"));
    }
}
