//! What a run is: everything that decides what is sent, and nothing of how it went.
//!
//! A spec is written into every result, so that a report can be repeated. It never holds a secret: principals
//! are named by profile, and their keys are looked up when the run starts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::retry::RetryModel;
use crate::workload::{Arrivals, ItemSize, KeyDistribution, Mix};

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunSpec {
    /// Where requests go, in turn by connection: `http://host:port` or `https://…`. Several are the proxies of
    /// one fleet.
    pub endpoints: Vec<String>,
    /// The region in signatures.
    pub region: String,
    /// HTTP/1.1 (one request in flight per connection) or HTTP/2.
    pub protocol: Protocol,
    /// Whether requests are sent at their intended times, or when the one before has been answered.
    pub pacing: Pacing,
    /// How long is measured, without the warm-up.
    #[serde(with = "crate::duration_text")]
    pub duration: Duration,
    /// Sent like the rest, before it, and left out of every figure.
    #[serde(with = "crate::duration_text")]
    pub warm_up: Duration,
    /// Threads that send; each has connections of its own.
    pub threads: usize,
    /// Connections, over all threads, shared by the streams.
    pub connections: usize,
    /// Of one attempt: after that it counts as timed out.
    #[serde(with = "crate::duration_text")]
    pub attempt_timeout: Duration,
    /// A request that was sent so long after it was due, though a connection was free, was sent late: by the
    /// generator's fault. If over 0.1 % were, the run is invalid; otherwise no percentile up to p99.9 is wrong by more.
    #[serde(with = "crate::duration_text", default = "usual_late_after")]
    pub late_after: Duration,
    /// What happens after a failed attempt.
    pub retry: RetryModel,
    /// Whether `ReturnConsumedCapacity: TOTAL` is sent, and what comes back is added up.
    pub return_capacity: bool,
    /// Seed of arrivals, keys, sizes and retries: the same seed sends the same.
    pub seed: u64,
    /// What is sent. At least one.
    pub streams: Vec<StreamSpec>,
}

/// A hundredth of the 100 ms that users notice.
pub(crate) const fn usual_late_after() -> Duration {
    Duration::from_millis(1)
}

/// Requests of one kind to one table, by one principal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamSpec {
    /// In reports and metrics.
    pub name: String,
    /// The table. Its partition key is a string named `pk`; range operations want a string sort key `sk`.
    pub table: String,
    /// The profile whose credentials sign; none: those of the environment, as an SDK finds them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// When requests are due. In a closed loop only its end counts.
    pub arrivals: Arrivals,
    /// Which operations, in which shares.
    pub mix: Mix,
    /// Which keys.
    pub keys: KeyDistribution,
    /// How large the items are.
    pub item_size: ItemSize,
    /// When the stream begins, after the run's begin.
    #[serde(default, with = "crate::duration_text")]
    pub from: Duration,
    /// When it ends; none: with the run.
    #[serde(default, with = "crate::duration_text::optional", skip_serializing_if = "Option::is_none")]
    pub to: Option<Duration>,
}

/// The HTTP version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// HTTP/1.1, as AWS SDKs speak to DynamoDB.
    Http1,
    /// HTTP/2: with prior knowledge over plain TCP, by ALPN over TLS.
    Http2,
}

/// What decides when a request is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pacing {
    /// At its intended time, whatever the answers do: latency counts from that time.
    Open,
    /// When a connection is free: as fast as answers come. There is no intended time, and no queue to see.
    Closed,
}
