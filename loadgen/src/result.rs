//! What a run found: the one form that the engine writes and that reports, comparisons and searches read.
//!
//! Times are microseconds, because they become JSON; capacity units are thousandths.

mod derived;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;
use crate::spec::RunSpec;

/// The form's name; it changes when a reader of the old form would misread the new one.
pub const SCHEMA: &str = "weir-load/1";

/// A whole run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunResult {
    /// [`SCHEMA`].
    pub schema: String,
    /// Version of the load generator.
    pub weir: String,
    /// What was sent.
    pub spec: RunSpec,
    /// When the measured part began: Unix time in milliseconds.
    pub began_unix_ms: u64,
    /// How long it lasted until the last answer, in microseconds; the spec's duration unless it was stopped.
    pub lasted_us: u64,
    /// Whether the run says anything about the service, and if not, why.
    pub validity: Validity,
    /// What an operator or planner should know: item sizes that just cross 1 KB or 4 KB, and the like.
    pub warnings: Vec<String>,
    /// Of all streams.
    pub total: Summary,
    /// Of each, in the spec's order.
    pub streams: Vec<StreamResult>,
    /// CPU that processes on this machine used, if asked for (`--process name:pid`).
    pub processes: Vec<ProcessCpu>,
    /// What the operators' endpoints told, if they were given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operators: Option<OperatorsView>,
}

/// One stream's figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamResult {
    /// As in the spec.
    pub name: String,
    /// The table.
    pub table: String,
    /// Of the whole stream.
    pub summary: Summary,
    /// By operation (API name).
    pub operations: BTreeMap<String, Summary>,
    /// By second of the measured part, by intended time; without gaps from 0 to the last with a request.
    pub seconds: Vec<Second>,
}

/// Figures over some requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Requests that were due (open loop) or begun (closed loop).
    pub offered: u64,
    /// Attempts sent for them: at least one each, unless it was never sent. Amplification is `attempts ÷ offered`.
    pub attempts: u64,
    /// How the requests ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Failed attempts and last errors by exception type or kind of failure, at most 32 different ones.
    pub errors: BTreeMap<String, u64>,
    /// From the intended time to the last byte of the last attempt's answer; of successful requests.
    pub latency: Latency,
    /// From the send to the last byte, of each attempt that was answered.
    pub service: Latency,
    /// From the intended time to the first byte sent of the first attempt: a full queue for connections shows here.
    pub send_delay: Latency,
    /// What the successful requests cost by DynamoDB's rules, in thousandths of a unit.
    pub units: Units,
    /// What the service said they cost, if asked (`return_capacity`).
    pub reported_units: Units,
    /// Bytes of bodies sent and received.
    pub bytes_sent: u64,
    /// Bytes of bodies received.
    pub bytes_received: u64,
}

/// Read and write capacity units in thousandths.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Units {
    /// Thousandths of RCU.
    pub read_milli: u64,
    /// Thousandths of WCU.
    pub write_milli: u64,
}

/// A distribution of times in microseconds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// How many.
    pub count: u64,
    /// The least; 0 without any, like the rest.
    pub min_us: u64,
    /// Arithmetic mean.
    pub mean_us: f64,
    /// Percentiles.
    pub p50_us: u64,
    /// 90th.
    pub p90_us: u64,
    /// 99th.
    pub p99_us: u64,
    /// 99.9th.
    pub p999_us: u64,
    /// The most.
    pub max_us: u64,
    /// The whole histogram: `HdrHistogram` V2, deflated, base64, in microseconds with three significant digits; of
    /// summaries only, empty in [`Second`]s of which `Second::histogram` holds it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub histogram: String,
}

/// One second of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// Whole seconds since the measured part began.
    pub at: u64,
    /// Requests due in it; all the rest of the row is about these.
    pub offered: u64,
    /// Attempts for them.
    pub attempts: u64,
    /// How they ended.
    pub outcomes: BTreeMap<Outcome, u64>,
    /// Latency from the intended time, of successful ones.
    pub latency: Latency,
    /// Service time of attempts.
    pub service_p99_us: u64,
    /// Cost of the successful attempts.
    pub units: Units,
    /// Share of one core that the busiest sending thread used in this second: 0 to 1.
    pub own_cpu: f64,
}

/// Whether the run is one to believe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Validity {
    /// No reason against it.
    pub valid: bool,
    /// Why it is not, in words with figures.
    pub reasons: Vec<String>,
    /// Requests sent over the spec's `late_after` after their intended time though a connection was free: our own lateness.
    pub late_sends: u64,
    /// The most CPU that a sending thread used in any second, as a share of a core.
    pub busiest_thread: f64,
    /// CPU of this process per attempt, in microseconds.
    pub own_cpu_us_per_attempt: f64,
    /// Requests due before the end and never sent.
    pub not_sent: u64,
}

/// CPU of another process on this machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProcessCpu {
    /// As given.
    pub name: String,
    /// Its id.
    pub pid: u32,
    /// In the measured part, over all its threads.
    pub cpu_us: u64,
    /// `cpu_us` per attempt of the run.
    pub cpu_us_per_attempt: f64,
    /// Resident memory at the end.
    pub rss_bytes: u64,
}

/// What the operators' endpoints told during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OperatorsView {
    /// One per table of the run, and time.
    pub samples: Vec<QuotaSample>,
}

/// One table at one time, over the whole fleet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QuotaSample {
    /// Microseconds since the measured part began.
    pub at_us: u64,
    /// The table.
    pub table: String,
    /// Whether it is about writes; else reads.
    pub write: bool,
    /// The quota in force: thousandths of a unit per second; none: unlimited.
    pub quota_milli: Option<u64>,
    /// Admitted, in thousandths of a unit per second.
    pub admitted_milli: u64,
    /// Refused, likewise, by cause.
    pub refused_milli: BTreeMap<String, u64>,
}
