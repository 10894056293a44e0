//! Availability by windows of time, as DynamoDB's service level agreement reckons it: of the requests of each five
//! minutes, the part that was not failed by the service.
//!
//! Failed are answers of 5xx and requests without an answer. A throttled or refused request was answered: it is
//! counted beside. A window without a request is wholly available. (Amazon DynamoDB Service Level Agreement.)

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::outcome::Outcome;

/// The agreement's window.
pub const WINDOW: Duration = Duration::from_secs(300);
/// Different errors that a window remembers.
const MOST_ERRORS: usize = 16;
/// What the rest of them count as.
const OTHER_ERRORS: &str = "other errors";
/// The longest latency that is told apart: far above any attempt's timeout.
const MOST_MICROS: u64 = 3_600_000_000;

/// What is looked at on its own: a table through an endpoint.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Its label, or its URL.
    pub endpoint: String,
    /// The table.
    pub table: String,
}

/// One request's end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// How it ended.
    pub outcome: Outcome,
    /// From its intended time to its answer.
    pub latency: Duration,
    /// Exception type or kind of failure, of what did not succeed.
    pub error: Option<String>,
}

/// A window that has ended, as a line of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    /// Where.
    #[serde(flatten)]
    pub place: Place,
    /// When it began: Unix time in milliseconds.
    pub began_unix_ms: u64,
    /// How long it was, in seconds; the last may be shorter.
    pub lasted_s: f64,
    /// Requests that ended.
    pub requests: u64,
    /// Those that the service failed.
    pub failed: u64,
    /// Those that it refused for capacity.
    pub throttled: u64,
    /// Those that it refused otherwise.
    pub refused: u64,
    /// Percent of the requests that the service did not fail; 100 without any.
    pub availability: f64,
    /// Latency of successful requests in microseconds; 0 without any.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The most.
    pub max_us: u64,
    /// What went wrong, by exception type or kind of failure.
    pub errors: BTreeMap<String, u64>,
}

impl Window {
    /// Whether it is as available as `least` percent.
    #[must_use]
    pub fn holds(&self, least: f64) -> bool {
        self.availability >= least
    }
}

/// Counts of the window that runs.
#[derive(Debug)]
struct Counts {
    requests: u64,
    failed: u64,
    throttled: u64,
    refused: u64,
    latency: Histogram<u64>,
    errors: BTreeMap<String, u64>,
}

/// Windows of all places; all begin and end together.
#[derive(Debug)]
pub struct Availability {
    places: BTreeMap<Place, Counts>,
    length: Duration,
    /// Begin of the current window, as a time since the canary's begin.
    began: Duration,
}

impl Availability {
    /// Nothing seen yet, in windows of `length`.
    #[must_use]
    pub fn new(places: impl IntoIterator<Item = Place>, length: Duration) -> Self {
        let places = places.into_iter().map(|place| (place, Counts::new())).collect();
        Self { places, length, began: Duration::ZERO }
    }

    /// Counts a request. One of an unknown place is not counted.
    pub fn record(&mut self, place: &Place, sample: Sample) {
        if let Some(counts) = self.places.get_mut(place) {
            counts.record(sample);
        }
    }

    /// When the current window ends.
    #[must_use]
    pub fn ends(&self) -> Duration {
        self.began + self.length
    }

    /// The windows that end now, `at` after the canary's begin, which was at `began_unix_ms`; the next begin.
    pub fn turn(&mut self, at: Duration, began_unix_ms: u64) -> Vec<Window> {
        let lasted = at.saturating_sub(self.began);
        let began = began_unix_ms + u64::try_from(self.began.as_millis()).unwrap_or(u64::MAX);
        self.began = at;
        self.places
            .iter_mut()
            .map(|(place, counts)| {
                let ended = std::mem::replace(counts, Counts::new());
                ended.window(place.clone(), began, lasted)
            })
            .collect()
    }

    /// The places with what they have seen in the current window: requests, and those that failed.
    pub fn now(&self) -> impl Iterator<Item = (&Place, u64, u64)> {
        self.places.iter().map(|(place, counts)| (place, counts.requests, counts.failed))
    }
}

impl Counts {
    fn new() -> Self {
        let latency =
            Histogram::new_with_max(MOST_MICROS, 3).expect("an hour with three digits is a histogram");
        Self { requests: 0, failed: 0, throttled: 0, refused: 0, latency, errors: BTreeMap::new() }
    }

    fn record(&mut self, sample: Sample) {
        self.requests += 1;
        match sample.outcome {
            Outcome::Ok | Outcome::ConditionFailed => {
                let micros = u64::try_from(sample.latency.as_micros()).unwrap_or(MOST_MICROS);
                self.latency.saturating_record(micros);
            }
            Outcome::Throttled => self.throttled += 1,
            Outcome::ClientError => self.refused += 1,
            Outcome::ServerError | Outcome::TimedOut | Outcome::Broken | Outcome::NotSent => self.failed += 1,
        }
        if let Some(error) = sample.error {
            let known = self.errors.len() < MOST_ERRORS || self.errors.contains_key(&error);
            let name = if known { error } else { OTHER_ERRORS.to_owned() };
            *self.errors.entry(name).or_default() += 1;
        }
    }

    fn window(self, place: Place, began_unix_ms: u64, lasted: Duration) -> Window {
        let quantile =
            |quantile| if self.latency.is_empty() { 0 } else { self.latency.value_at_quantile(quantile) };
        Window {
            place,
            began_unix_ms,
            lasted_s: lasted.as_secs_f64(),
            requests: self.requests,
            failed: self.failed,
            throttled: self.throttled,
            refused: self.refused,
            availability: match self.requests {
                0 => 100.0,
                requests => 100.0 * (requests - self.failed) as f64 / requests as f64,
            },
            p50_us: quantile(0.5),
            p99_us: quantile(0.99),
            max_us: quantile(1.0),
            errors: self.errors,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn place(endpoint: &str) -> Place {
        Place { endpoint: endpoint.into(), table: "orders".into() }
    }

    fn sample(outcome: Outcome) -> Sample {
        let error = (!outcome.is_success()).then(|| format!("{outcome:?}"));
        Sample { outcome, latency: Duration::from_millis(2), error }
    }

    #[test]
    fn only_what_the_service_failed_counts_against_its_availability() {
        let mut canary = Availability::new([place("a")], WINDOW);
        for outcome in Outcome::ALL {
            canary.record(&place("a"), sample(outcome));
        }
        let windows = canary.turn(WINDOW, 0);
        let [window] = windows.as_slice() else { panic!("{windows:?}") };
        assert_eq!((window.requests, window.failed, window.throttled, window.refused), (8, 4, 1, 1));
        assert!((window.availability - 50.0).abs() < 1e-9);
        assert_eq!(window.errors["TimedOut"], 1);
        assert_eq!((window.p50_us / 100, window.max_us / 100), (20, 20));
    }

    #[test]
    fn a_window_without_requests_is_available_and_has_no_latency() {
        let window = Availability::new([place("a")], WINDOW).turn(WINDOW, 0).remove(0);
        assert!(window.holds(100.0));
        assert_eq!((window.requests, window.p99_us), (0, 0));
    }

    #[test]
    fn places_are_reckoned_apart_and_windows_start_anew() {
        let mut canary = Availability::new([place("a"), place("b")], SECOND);
        canary.record(&place("a"), sample(Outcome::Broken));
        canary.record(&place("b"), sample(Outcome::Ok));
        canary.record(&place("c"), sample(Outcome::Broken));
        let first = canary.turn(SECOND, 5_000);
        assert_eq!(first.iter().map(|window| window.holds(99.9)).collect::<Vec<_>>(), [false, true]);
        assert_eq!(first[0].began_unix_ms, 5_000);
        assert_eq!(canary.ends(), 2 * SECOND);
        let second = canary.turn(2 * SECOND, 5_000);
        assert!(second.iter().all(|window| window.requests == 0 && window.began_unix_ms == 6_000));
    }

    #[test]
    fn errors_beyond_the_names_that_are_kept_are_counted_together() {
        let mut canary = Availability::new([place("a")], SECOND);
        for number in 0..20 {
            let error = Some(format!("Error{number:02}"));
            canary.record(&place("a"), Sample { error, ..sample(Outcome::ServerError) });
        }
        let window = canary.turn(SECOND, 0).remove(0);
        assert_eq!(window.errors[OTHER_ERRORS], 4);
        assert_eq!(window.errors.values().sum::<u64>(), window.failed);
    }

    #[test]
    fn a_window_is_a_flat_line_of_json() {
        let window = Availability::new([place("a")], SECOND).turn(SECOND, 7).remove(0);
        let line = serde_json::to_value(&window).unwrap();
        assert_eq!((line["endpoint"].as_str(), line["table"].as_str()), (Some("a"), Some("orders")));
        assert_eq!(serde_json::from_value::<Window>(line).unwrap(), window);
    }
}
