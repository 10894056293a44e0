//! Every method of every tier, each with its number on the wire and its message types. One home, so
//! that no two share a number.

use crate::proto::{control, gac, replication, routing, storage};

/// A request–response method.
pub trait Method {
    /// Its number on the wire; never reused.
    const NUMBER: u32;
    /// What it is called in metrics and logs.
    const NAME: &'static str;
    /// The request.
    type Request: prost::Message + Default;
    /// The response.
    type Response: prost::Message + Default;
}

/// A one-way message.
pub trait Notice {
    /// Its number on the wire; never reused.
    const NUMBER: u32;
    /// What it is called in metrics and logs.
    const NAME: &'static str;
    /// The message.
    type Message: prost::Message + Default;
}

macro_rules! methods {
    ($($(#[$doc:meta])* $name:ident = $number:literal : $request:ty => $response:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Method for $name {
            const NUMBER: u32 = $number;
            const NAME: &'static str = stringify!($name);
            type Request = $request;
            type Response = $response;
        }
    )*};
}

macro_rules! notices {
    ($($(#[$doc:meta])* $name:ident = $number:literal : $message:ty;)*) => {$(
        $(#[$doc])*
        #[derive(Debug)]
        pub enum $name {}
        impl Notice for $name {
            const NUMBER: u32 = $number;
            const NAME: &'static str = stringify!($name);
            type Message = $message;
        }
    )*};
}

methods! {
    /// Proxy → storage node: one operation on one partition.
    Execute = 1: storage::ExecuteRequest => storage::ExecuteResponse;
    /// Storage node → storage node: one chunk of a replica's snapshot.
    InstallChunk = 2: replication::SnapshotChunk => routing::Acknowledged;
    /// Control plane → storage node: host or drop replicas.
    Assign = 3: control::AssignRequest => control::AssignResponse;

    // 10 was a lookup alone.
    /// Proxy → MemDS: where the storage nodes listen.
    Nodes = 11: routing::NodesRequest => routing::NodesResponse;
    /// Storage node → MemDS.
    PushRoutes = 12: routing::PushRoutes => routing::Acknowledged;
    /// Control plane → MemDS.
    PushTables = 13: routing::PushTables => routing::Acknowledged;
    /// MemDS → MemDS: what differs.
    Compare = 14: routing::CompareRequest => routing::CompareResponse;
    /// MemDS → MemDS: the catalog, for one that starts.
    FetchCatalog = 15: routing::CatalogRequest => routing::CatalogPage;

    /// Proxy → MemDS: the lookups of many requests.
    LookUp = 16: routing::LookupBatch => routing::LookupAnswers;

    /// Proxy → GAC: a report, answered by grants.
    Report = 20: gac::Report => gac::Grants;
    /// Control plane → GAC: quotas that changed, or all.
    PushQuotas = 21: control::Quotas => routing::Acknowledged;
    /// Control plane → GAC: which servers own the buckets.
    PushRing = 22: gac::Ring => gac::RingAnswer;
    /// GAC → GAC: buckets that the ring moved.
    Handover = 23: gac::Handover => gac::HandoverAnswer;
    /// Operators → GAC: what it owns.
    Inspect = 24: gac::InspectRequest => gac::Inspection;
    /// Proxy → GAC: which quotas above tables there are.
    FetchLevels = 25: gac::LevelsRequest => gac::Levels;

    /// Proxy → control plane: table commands.
    Tables = 30: control::TableCommand => control::TableAnswer;
    /// Proxy → control plane: one credential.
    Credential = 31: control::CredentialRequest => control::CredentialResponse;
    /// Storage node → control plane: the node's heartbeat and its replicas.
    ReportNode = 32: control::NodeReport => control::NodeReportAnswer;
    /// GAC → control plane: all quotas, on start.
    FetchQuotas = 33: control::QuotasRequest => control::Quotas;
    /// GAC → control plane: the peaks of on-demand tables.
    ReportPeaks = 34: control::Peaks => routing::Acknowledged;
}

notices! {
    /// Storage node → storage node: the groups' messages and node heartbeats.
    Replicate = 100: replication::Envelope;
}
