//! The contracts between the tiers, and the transport that carries them.
//!
//! One bidirectional gRPC stream per (client, server) pair; requests and answers share frames. The same
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
#[expect(
    missing_docs,
    clippy::all,
    clippy::allow_attributes,
    reason = "generated; the contracts carry the comments"
)]
pub mod proto {
    pub mod transport {
        tonic::include_proto!("weir.transport");
    }
    pub mod routing {
        tonic::include_proto!("weir.routing");
    }
    pub mod storage {
        tonic::include_proto!("weir.storage");
    }
    pub mod control {
        tonic::include_proto!("weir.control");
    }
    pub mod gac {
        tonic::include_proto!("weir.gac");
    }
    pub mod replication {
        tonic::include_proto!("weir.replication");
    }
}
