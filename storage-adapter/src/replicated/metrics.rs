//! Every metric of the storage client, with its unit and labels. Handles are made with the client, after the
//! process installed its recorder.

use ::metrics::{Counter, Gauge, Unit, counter, describe_counter, describe_gauge, gauge};
use units::NodeId;

const READS: &str = "weir_proxy_reads_total";
const HEDGES: &str = "weir_proxy_hedges_total";
const BEHIND: &str = "weir_proxy_behind_reads_total";
const GRAY: &str = "weir_proxy_replica_gray";
const REDIRECTS: &str = "weir_proxy_redirects_total";

/// The client's counters.
pub(super) struct ClientMetrics {
    /// `weir_proxy_reads_total{replica}`: eventually consistent ones whose first choice was in the own zone.
    pub(super) zone_reads: Counter,
    /// Those whose first choice was elsewhere.
    pub(super) other_reads: Counter,
    /// Strongly consistent ones.
    pub(super) leader_reads: Counter,
    /// `weir_proxy_hedges_total{result}`: a second replica was asked, and its answer used.
    pub(super) hedges_won: Counter,
    /// A second replica was asked, and the first one's answer used, or there was none.
    pub(super) hedges_lost: Counter,
    /// A second replica was not asked, because the budget was spent.
    pub(super) hedges_denied: Counter,
    /// `weir_proxy_behind_reads_total`: the leader was asked, since the other replicas were behind.
    pub(super) behind_reads: Counter,
    /// `weir_proxy_redirects_total`: a storage node answered with a newer route.
    pub(super) redirects: Counter,
}

impl std::fmt::Debug for ClientMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientMetrics").finish_non_exhaustive()
    }
}

impl ClientMetrics {
    pub(super) fn new() -> Self {
        describe();
        Self {
            zone_reads: counter!(READS, "replica" => "zone"),
            other_reads: counter!(READS, "replica" => "other"),
            leader_reads: counter!(READS, "replica" => "leader"),
            hedges_won: counter!(HEDGES, "result" => "won"),
            hedges_lost: counter!(HEDGES, "result" => "lost"),
            hedges_denied: counter!(HEDGES, "result" => "denied"),
            behind_reads: counter!(BEHIND),
            redirects: counter!(REDIRECTS),
        }
    }
}

/// `weir_proxy_replica_gray{node}`: 1 while eventually consistent reads avoid the node because it is slow.
pub(super) fn gray_gauge(node: NodeId) -> Gauge {
    gauge!(GRAY, "node" => node.to_string())
}

/// Declares every metric's unit and meaning to the process's recorder.
fn describe() {
    describe_counter!(
        READS,
        Unit::Count,
        "Reads sent to storage, by replica: leader (strongly consistent), zone and other (eventually \
         consistent, first sent to a replica in the proxy's zone or elsewhere)."
    );
    describe_counter!(
        HEDGES,
        Unit::Count,
        "Eventually consistent reads whose replica was slow or failed, by result: won (a second replica \
         answered), lost (the first did after all, or none), denied (the budget for second ones was spent)."
    );
    describe_counter!(
        BEHIND,
        Unit::Count,
        "Eventually consistent reads that the leader had to answer, because the replicas that were asked were \
         behind what this proxy had read of the partition before."
    );
    describe_gauge!(
        GRAY,
        "1 while eventually consistent reads avoid the storage node because it is slow but alive, by node."
    );
    describe_counter!(REDIRECTS, Unit::Count, "Operations that a storage node answered with a newer route.");
}
