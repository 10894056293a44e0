//! What became of a stream's requests.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Ok,
    Throttled,
    Failed,
}

/// One request: when it was due, and how long after that it was answered.
#[derive(Debug, Clone, Copy)]
struct Sample {
    intended_us: u32,
    latency_us: u32,
    outcome: Outcome,
}

/// By the second in which they were answered.
#[derive(Debug, Default, Clone)]
struct Second {
    sent: u64,
    ok: u64,
    throttled: u64,
    failed: u64,
}

/// A stream's requests.
#[derive(Debug)]
pub(crate) struct Tally {
    seconds: Vec<Second>,
    samples: Vec<Sample>,
    latency_ok: Histogram<u64>,
    latency_throttled: Histogram<u64>,
    service_ok: Histogram<u64>,
    reasons: BTreeMap<String, u64>,
}

/// An answered request's times, since the run's begin.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) intended: Duration,
    pub(crate) sent: Duration,
    pub(crate) answered: Duration,
}

impl Tally {
    pub(crate) fn new() -> anyhow::Result<Self> {
        let histogram = || Histogram::new_with_bounds(1, 60_000_000, 3);
        Ok(Self {
            seconds: Vec::new(),
            samples: Vec::new(),
            latency_ok: histogram()?,
            latency_throttled: histogram()?,
            service_ok: histogram()?,
            reasons: BTreeMap::new(),
        })
    }

    pub(crate) fn sent(&mut self, intended: Duration) {
        self.second(intended).sent += 1;
    }

    /// An answer; `reason` says why it is not a success.
    pub(crate) fn answered(&mut self, times: Times, outcome: Outcome, reason: Option<String>) {
        // One sent a moment early, by the timer's granularity, is not answered before it was due.
        let latency = micros(times.answered.saturating_sub(times.intended.min(times.sent))).max(1);
        let second = self.second(times.answered);
        match outcome {
            Outcome::Ok => {
                second.ok += 1;
                self.latency_ok.saturating_record(u64::from(latency));
                self.service_ok
                    .saturating_record(u64::from(micros(times.answered.saturating_sub(times.sent)).max(1)));
            }
            Outcome::Throttled => {
                second.throttled += 1;
                self.latency_throttled.saturating_record(u64::from(latency));
            }
            Outcome::Failed => second.failed += 1,
        }
        if let Some(reason) = reason {
            *self.reasons.entry(reason).or_default() += 1;
        }
        self.samples.push(Sample { intended_us: micros(times.intended), latency_us: latency, outcome });
    }

    fn second(&mut self, since: Duration) -> &mut Second {
        let index = usize::try_from(since.as_secs()).unwrap_or(usize::MAX);
        if self.seconds.len() <= index {
            self.seconds.resize(index + 1, Second::default());
        }
        &mut self.seconds[index]
    }

    /// One line per second.
    pub(crate) fn print(&self, name: &str) {
        for (second, row) in self.seconds.iter().enumerate() {
            println!(
                "{name} {second} sent {} ok {} throttled {} failed {}",
                row.sent, row.ok, row.throttled, row.failed
            );
        }
    }

    /// The sums, and two series: `per_second` by the second of the answer, `rows` by that of the intended time.
    pub(crate) fn json(&self, name: &str) -> Value {
        let sum = |field: fn(&Second) -> u64| self.seconds.iter().map(field).sum::<u64>();
        let quantiles = |histogram: &Histogram<u64>| {
            json!({ "p50": histogram.value_at_quantile(0.5), "p99": histogram.value_at_quantile(0.99),
                "p999": histogram.value_at_quantile(0.999), "max": histogram.max() })
        };
        json!({
            "name": name, "sent": sum(|second| second.sent), "ok": sum(|second| second.ok),
            "throttled": sum(|second| second.throttled), "failed": sum(|second| second.failed),
            "ok_latency_us": quantiles(&self.latency_ok), "ok_service_us": quantiles(&self.service_ok),
            "throttled_latency_us": quantiles(&self.latency_throttled),
            "reasons": self.reasons,
            "per_second": self.seconds.iter().map(|row| [row.sent, row.ok, row.throttled, row.failed]).collect::<Vec<_>>(),
            "rows": self.rows(),
        })
    }

    /// What was due in each second: `second, offered, ok, throttled, failed`, and the p50, p99 and maximum of
    /// the successful ones' latencies in microseconds.
    fn rows(&self) -> Vec<Value> {
        let mut by_second: BTreeMap<u32, Vec<&Sample>> = BTreeMap::new();
        for sample in &self.samples {
            by_second.entry(sample.intended_us / 1_000_000).or_default().push(sample);
        }
        let row = |(second, samples): (u32, Vec<&Sample>)| {
            let count = |outcome| samples.iter().filter(|sample| sample.outcome == outcome).count();
            let mut ok: Vec<u32> = samples
                .iter()
                .filter(|sample| sample.outcome == Outcome::Ok)
                .map(|sample| sample.latency_us)
                .collect();
            ok.sort_unstable();
            let at = |of_100: usize| ok.get((ok.len() * of_100 / 100).min(ok.len().saturating_sub(1)));
            json!({ "second": second, "offered": samples.len(), "ok": ok.len(),
                "throttled": count(Outcome::Throttled), "failed": count(Outcome::Failed),
                "p50_us": at(50), "p99_us": at(99), "max_us": ok.last() })
        };
        by_second.into_iter().map(row).collect()
    }

    /// Four little-endian words of 32 bits per request: the stream's number, when it was due and its latency
    /// in microseconds, and 0, 1 or 2 for successful, throttled, failed.
    pub(crate) fn write_samples(&self, stream: u32, file: &mut impl Write) -> std::io::Result<()> {
        for sample in &self.samples {
            for word in [stream, sample.intended_us, sample.latency_us, sample.outcome as u32] {
                file.write_all(&word.to_le_bytes())?;
            }
        }
        Ok(())
    }
}

fn micros(duration: Duration) -> u32 {
    u32::try_from(duration.as_micros()).unwrap_or(u32::MAX)
}
