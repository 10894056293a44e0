//! Sums over requests, as they become a summary.

use std::collections::BTreeMap;

use super::distribution::Distribution;
use super::sample::{Attempt, Ended};
use crate::outcome::Outcome;
use crate::result::{Summary, Units};

/// Different names of errors that are kept.
const MOST_NAMES: usize = 32;
/// The name of all others.
const OTHER: &str = "other errors";

/// Everything about some requests.
#[derive(Debug, Clone, Default)]
pub(super) struct Sums {
    offered: u64,
    attempts: u64,
    outcomes: BTreeMap<Outcome, u64>,
    errors: BTreeMap<String, u64>,
    latency: Distribution,
    service: Distribution,
    send_delay: Distribution,
    units: Units,
    reported: Units,
    bytes_sent: u64,
    bytes_received: u64,
}

impl Sums {
    /// Counts requests that became due.
    pub(super) const fn offer(&mut self, count: u64) {
        self.offered += count;
    }

    pub(super) fn attempt(&mut self, attempt: &Attempt) {
        self.attempts += 1;
        if let Some(us) = attempt.service_us {
            self.service.record(us);
        }
        self.bytes_sent += attempt.bytes_sent as u64;
        self.bytes_received += attempt.bytes_received as u64;
        if let Some(error) = &attempt.error {
            self.count_error(error, 1);
        }
    }

    pub(super) fn end(&mut self, ended: &Ended) {
        *self.outcomes.entry(ended.outcome).or_default() += 1;
        if ended.outcome.is_success() {
            self.latency.record(ended.latency_us);
        }
        // Those of its successful attempts: the read of a read-modify-write whose write failed.
        add_units(&mut self.units, ended.units);
        add_units(&mut self.reported, ended.reported);
        if let Some(us) = ended.send_delay_us {
            self.send_delay.record(us);
        }
    }

    /// Adds another's figures to these.
    pub(super) fn add(&mut self, other: &Self) {
        self.offered += other.offered;
        self.attempts += other.attempts;
        for (outcome, count) in &other.outcomes {
            *self.outcomes.entry(*outcome).or_default() += count;
        }
        for (error, count) in &other.errors {
            self.count_error(error, *count);
        }
        self.latency.add(&other.latency);
        self.service.add(&other.service);
        self.send_delay.add(&other.send_delay);
        add_units(&mut self.units, other.units);
        add_units(&mut self.reported, other.reported);
        self.bytes_sent += other.bytes_sent;
        self.bytes_received += other.bytes_received;
    }

    pub(super) const fn offered(&self) -> u64 {
        self.offered
    }

    pub(super) const fn set_offered(&mut self, offered: u64) {
        self.offered = offered;
    }

    pub(super) const fn attempts(&self) -> u64 {
        self.attempts
    }

    /// Attempts that got no answer.
    pub(super) fn unanswered(&self) -> u64 {
        self.attempts.saturating_sub(self.service.latency().count)
    }

    pub(super) fn ended_as(&self, outcome: Outcome) -> u64 {
        self.outcomes.get(&outcome).copied().unwrap_or(0)
    }

    pub(super) fn summary(&self) -> Summary {
        Summary {
            offered: self.offered,
            attempts: self.attempts,
            outcomes: self.outcomes.clone(),
            errors: self.errors.clone(),
            latency: self.latency.latency(),
            service: self.service.latency(),
            send_delay: self.send_delay.latency(),
            units: self.units,
            reported_units: self.reported,
            bytes_sent: self.bytes_sent,
            bytes_received: self.bytes_received,
        }
    }

    fn count_error(&mut self, name: &str, count: u64) {
        if let Some(known) = self.errors.get_mut(name) {
            *known += count;
            return;
        }
        // The last place is for all that have none of their own.
        let name = if self.errors.len() < MOST_NAMES - 1 { name } else { OTHER };
        *self.errors.entry(name.to_owned()).or_default() += count;
    }
}

pub(super) const fn add_units(sum: &mut Units, more: Units) {
    sum.read_milli += more.read_milli;
    sum.write_milli += more.write_milli;
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::workload::Operation;

    fn failed(name: String) -> Attempt {
        Attempt {
            stream: 0,
            operation: Operation::PutItem,
            second: 0,
            service_us: Some(100),
            bytes_sent: 10,
            bytes_received: 20,
            error: Some(Cow::Owned(name)),
        }
    }

    #[test]
    fn no_more_names_of_errors_are_kept_than_a_report_can_show_and_none_is_lost() {
        let mut sums = Sums::default();
        for number in 0..100 {
            sums.attempt(&failed(format!("E{number:02}")));
            sums.attempt(&failed("E00".to_owned()));
        }
        let summary = sums.summary();
        assert_eq!(summary.errors.len(), 32);
        assert_eq!(summary.errors["E00"], 101);
        assert_eq!(summary.errors["other errors"], 69);
        assert_eq!((summary.attempts, summary.bytes_sent, summary.bytes_received), (200, 2000, 4000));
    }

    #[test]
    fn adding_is_as_if_one_had_counted_all() {
        let ended = |outcome, latency_us| Ended {
            stream: 0,
            operation: Some(Operation::PutItem),
            due_us: 1,
            outcome,
            latency_us,
            send_delay_us: Some(7),
            late: false,
            units: Units { read_milli: 500, write_milli: 1000 },
            reported: Units { read_milli: 5, write_milli: 10 },
        };
        let (mut one, mut other, mut both) = (Sums::default(), Sums::default(), Sums::default());
        for (number, outcome) in Outcome::ALL.into_iter().enumerate() {
            let ended = ended(outcome, number as u64 * 1000);
            let part = if number % 2 == 0 { &mut one } else { &mut other };
            for sums in [part, &mut both] {
                sums.offer(1);
                sums.attempt(&failed(format!("{outcome:?}")));
                sums.end(&ended);
            }
        }
        one.add(&other);
        assert_eq!(one.summary(), both.summary());
        // Only successes have a latency; whatever was used and reported counts.
        assert_eq!(one.summary().latency.count, 2);
        assert_eq!(one.summary().units, Units { read_milli: 4000, write_milli: 8000 });
        assert_eq!(one.summary().reported_units, Units { read_milli: 40, write_milli: 80 });
    }
}
