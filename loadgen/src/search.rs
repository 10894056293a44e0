//! Which rate to try next, on the way to the highest that meets an objective.
//!
//! Doubling (or halving) finds a rate that holds and one that does not; the geometric middle of the two is tried
//! until they are a resolution apart; then the one that held must hold again, several times. A probe that fails is
//! repeated once before it counts: on a shared machine one bad second is no finding. What holds by luck does not
//! pass the confirmation. The core knows rates and verdicts, and neither a clock nor a network.

use serde::{Deserialize, Serialize};

/// Probes of one search: ten doublings, ten halvings, all of them repeated, and the confirmations of several
/// candidates stay below it.
pub const MOST_PROBES: usize = 100;
/// An invalid probe is repeated that often before the generator counts as the limit.
const REPEATS_OF_INVALID: usize = 2;

/// Where to look, and how closely.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bounds {
    /// Requests per second of the first probe.
    pub begin: f64,
    /// Below this nothing is tried.
    pub lowest: f64,
    /// Above this nothing is tried.
    pub highest: f64,
    /// The search ends when the lowest rate that failed is at most this much above the highest that held: 0.05 for 5 %.
    pub resolution: f64,
    /// How many confirmation runs follow.
    pub confirmations: usize,
    /// Whether all of them must hold, or more than half.
    pub all: bool,
}

/// What a probe showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Every objective held.
    Held,
    /// The service missed an objective.
    Missed,
    /// The load generator could not send what it should: this says nothing about the service.
    Invalid,
}

/// Why a rate is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Purpose {
    /// To find a rate that holds and one that does not.
    Bracket,
    /// To bring the two closer.
    Bisect,
    /// To see whether the best holds again.
    Confirm,
}

impl Verdict {
    /// In tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Missed => "missed",
            Self::Invalid => "invalid",
        }
    }
}

impl Purpose {
    /// In tables.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bracket => "bracket",
            Self::Bisect => "bisect",
            Self::Confirm => "confirm",
        }
    }
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Try this many requests per second.
    Probe {
        /// Requests per second.
        rate: f64,
        /// Why.
        purpose: Purpose,
    },
    /// The search is over.
    Done(Knee),
}

/// What a search found.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "found")]
pub enum Knee {
    /// The highest rate that held, confirmed; above it the service misses the objective.
    Knee {
        /// Requests per second.
        rate: f64,
        /// The lowest rate that did not hold.
        missed: f64,
    },
    /// This rate held, confirmed; above it the load generator is the limit, not the service.
    GeneratorLimit {
        /// Requests per second.
        rate: f64,
        /// What the generator could not send.
        invalid: f64,
    },
    /// Everything held up to the highest rate that was allowed.
    AtLeast {
        /// Requests per second.
        rate: f64,
    },
    /// Not even the lowest rate held.
    Nothing {
        /// Requests per second that were tried last.
        rate: f64,
        /// Whether that was for the generator.
        invalid: bool,
    },
    /// The probes contradict one another: after [`MOST_PROBES`] no rate was confirmed.
    Unsteady {
        /// The lowest rate that did not hold.
        missed: f64,
    },
}

impl Knee {
    /// The rate that was confirmed, if one was.
    #[must_use]
    pub const fn rate(&self) -> Option<f64> {
        match *self {
            Self::Knee { rate, .. } | Self::GeneratorLimit { rate, .. } | Self::AtLeast { rate } => {
                Some(rate)
            }
            Self::Nothing { .. } | Self::Unsteady { .. } => None,
        }
    }
}

/// A search under way.
#[derive(Debug, Clone)]
pub struct Search {
    bounds: Bounds,
    /// The highest rate that held.
    held: Option<f64>,
    /// The lowest rate that did not, and how.
    above: Option<(f64, Verdict)>,
    current: (f64, Purpose),
    /// What the current rate has shown so far, for repeats and confirmations.
    shown: Vec<Verdict>,
    probes: usize,
    done: Option<Knee>,
}

impl Search {
    /// A search that has tried nothing.
    #[must_use]
    pub fn new(bounds: Bounds) -> Self {
        let begin = bounds.begin.clamp(bounds.lowest, bounds.highest);
        Self {
            bounds,
            held: None,
            above: None,
            current: (begin, Purpose::Bracket),
            shown: Vec::new(),
            probes: 0,
            done: None,
        }
    }

    /// What to do next; the same until [`Search::record`].
    #[must_use]
    pub fn next(&self) -> Step {
        match self.done {
            Some(knee) => Step::Done(knee),
            None => Step::Probe { rate: self.current.0, purpose: self.current.1 },
        }
    }

    /// Takes what the probe of [`Search::next`] showed.
    pub fn record(&mut self, verdict: Verdict) {
        if self.done.is_some() {
            return;
        }
        self.probes += 1;
        self.shown.push(verdict);
        if let Some(settled) = self.settled() {
            self.shown.clear();
            self.go_on(settled);
        }
        if self.probes >= MOST_PROBES && self.done.is_none() {
            let missed = self.above.map_or(self.bounds.highest, |(rate, _)| rate);
            self.done = Some(Knee::Unsteady { missed });
        }
    }

    /// What the current rate's probes say together; none: one more is needed.
    fn settled(&self) -> Option<Verdict> {
        let count = |verdict| self.shown.iter().filter(|shown| **shown == verdict).count();
        let (held, missed, invalid) = (count(Verdict::Held), count(Verdict::Missed), count(Verdict::Invalid));
        if invalid > REPEATS_OF_INVALID {
            return Some(Verdict::Invalid);
        }
        match self.current.1 {
            Purpose::Bracket | Purpose::Bisect => match (held, missed) {
                (1.., _) => Some(Verdict::Held),
                (_, 2..) => Some(Verdict::Missed),
                _ => None,
            },
            Purpose::Confirm => {
                let runs = self.bounds.confirmations;
                let needed = if self.bounds.all { runs } else { runs / 2 + 1 };
                // Neither waits for runs that cannot change the outcome.
                match (held >= needed, missed > runs - needed) {
                    (true, _) => Some(Verdict::Held),
                    (_, true) => Some(Verdict::Missed),
                    _ => None,
                }
            }
        }
    }

    fn go_on(&mut self, settled: Verdict) {
        let (rate, purpose) = self.current;
        match (settled, purpose) {
            (Verdict::Held, Purpose::Confirm) => self.done = Some(self.confirmed(rate)),
            (Verdict::Held, _) => {
                self.held = Some(rate);
                self.narrow();
            }
            (Verdict::Missed | Verdict::Invalid, Purpose::Confirm) => {
                // It held by luck. The next candidate is one resolution lower; it has to be confirmed itself.
                self.above = Some((rate, settled));
                self.held = None;
                self.try_lower(rate / (1.0 + self.bounds.resolution), Purpose::Confirm);
            }
            (Verdict::Missed | Verdict::Invalid, _) => {
                self.above = Some((rate, settled));
                self.narrow();
            }
        }
    }

    /// The next rate between what held and what did not.
    fn narrow(&mut self) {
        match (self.held, self.above) {
            (Some(held), None) if held >= self.bounds.highest => self.confirm(held),
            (Some(held), None) => self.current = ((held * 2.0).min(self.bounds.highest), Purpose::Bracket),
            (Some(held), Some((above, _))) if above / held <= 1.0 + self.bounds.resolution => {
                self.confirm(held)
            }
            (Some(held), Some((above, _))) => self.current = ((held * above).sqrt(), Purpose::Bisect),
            (None, Some((above, _))) => self.try_lower(above / 2.0, Purpose::Bracket),
            (None, None) => {}
        }
    }

    fn try_lower(&mut self, rate: f64, purpose: Purpose) {
        let (tried, how) = self.above.unwrap_or((self.current.0, Verdict::Missed));
        match tried <= self.bounds.lowest {
            true => self.done = Some(Knee::Nothing { rate: tried, invalid: how == Verdict::Invalid }),
            false => self.current = (rate.max(self.bounds.lowest), purpose),
        }
    }

    fn confirm(&mut self, rate: f64) {
        match self.bounds.confirmations {
            0 => self.done = Some(self.confirmed(rate)),
            _ => self.current = (rate, Purpose::Confirm),
        }
    }

    fn confirmed(&self, rate: f64) -> Knee {
        match self.above {
            None => Knee::AtLeast { rate },
            Some((invalid, Verdict::Invalid)) => Knee::GeneratorLimit { rate, invalid },
            Some((missed, _)) => Knee::Knee { rate, missed },
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Bounds = Bounds {
        begin: 100.0,
        lowest: 1.0,
        highest: 100_000.0,
        resolution: 0.05,
        confirmations: 3,
        all: false,
    };

    /// Runs a search to its end; returns what it found and what it tried.
    fn run(bounds: Bounds, mut verdict: impl FnMut(f64, usize) -> Verdict) -> (Knee, Vec<(f64, Purpose)>) {
        let mut search = Search::new(bounds);
        let mut tried = Vec::new();
        loop {
            match search.next() {
                Step::Done(knee) => return (knee, tried),
                Step::Probe { rate, purpose } => {
                    search.record(verdict(rate, tried.len()));
                    tried.push((rate, purpose));
                }
            }
        }
    }

    fn below(limit: f64) -> impl Fn(f64, usize) -> Verdict {
        move |rate, _| if rate <= limit { Verdict::Held } else { Verdict::Missed }
    }

    proptest! {
        #[test]
        fn the_knee_of_a_steady_service_is_found_within_the_resolution(limit in 2.0..90_000.0, begin in 1.0..100_000.0) {
            let (knee, tried) = run(Bounds { begin, ..BOUNDS }, below(limit));
            let Knee::Knee { rate, missed } = knee else { panic!("{knee:?}") };
            prop_assert!(rate <= limit && limit < missed && missed / rate <= 1.05 + 1e-9);
            prop_assert!(tried.len() <= 70, "{} probes", tried.len());
        }

        #[test]
        fn whatever_the_probes_show_the_search_ends_and_stays_within_its_bounds(
            verdicts in prop::collection::vec(0..3_u8, MOST_PROBES), all: bool
        ) {
            let (_, tried) = run(Bounds { all, ..BOUNDS }, |_, number| match verdicts[number] {
                0 => Verdict::Held,
                1 => Verdict::Missed,
                _ => Verdict::Invalid,
            });
            prop_assert!(tried.iter().all(|(rate, _)| (1.0..=100_000.0).contains(rate)));
        }
    }

    #[test]
    fn the_first_probes_double_until_one_misses_twice() {
        let (_, tried) = run(BOUNDS, below(350.0));
        let rates: Vec<_> = tried.iter().map(|(rate, _)| *rate).take(4).collect();
        assert_eq!(rates, [100.0, 200.0, 400.0, 400.0]);
    }

    #[test]
    fn one_bad_second_does_not_end_the_climb() {
        let (knee, _) = run(BOUNDS, |rate, number| match number {
            1 => Verdict::Missed,
            _ => below(1000.0)(rate, number),
        });
        assert!(knee.rate().is_some_and(|rate| rate > 950.0), "{knee:?}");
    }

    #[test]
    fn a_rate_that_held_by_luck_is_not_confirmed() {
        // It holds once at 800 and above, and never again.
        let mut lucky = true;
        let (knee, tried) = run(BOUNDS, |rate, _| match rate {
            rate if rate <= 500.0 => Verdict::Held,
            rate if rate <= 800.0 && lucky => {
                lucky = false;
                Verdict::Held
            }
            _ => Verdict::Missed,
        });
        let rate = knee.rate().unwrap();
        assert!(rate <= 500.0 && rate > 470.0, "{knee:?} after {tried:?}");
    }

    #[test]
    fn invalid_probes_name_the_generator_and_not_the_service() {
        let (knee, tried) =
            run(BOUNDS, |rate, _| if rate <= 700.0 { Verdict::Held } else { Verdict::Invalid });
        assert!(
            matches!(knee, Knee::GeneratorLimit { rate, invalid } if rate <= 700.0 && invalid > 700.0),
            "{knee:?}"
        );
        assert_eq!(tried.iter().filter(|(rate, _)| *rate == 800.0).count(), 3, "repeated twice: {tried:?}");
    }

    #[test]
    fn what_never_misses_is_at_least_the_highest_and_what_never_holds_is_nothing() {
        assert_eq!(run(BOUNDS, |_, _| Verdict::Held).0, Knee::AtLeast { rate: 100_000.0 });
        assert_eq!(run(BOUNDS, |_, _| Verdict::Missed).0, Knee::Nothing { rate: 1.0, invalid: false });
        assert_eq!(run(BOUNDS, |_, _| Verdict::Invalid).0, Knee::Nothing { rate: 1.0, invalid: true });
    }

    #[test]
    fn a_majority_of_the_confirmations_is_enough_unless_all_are_asked_for() {
        let third_fails = |bounds: Bounds| {
            let mut confirmations = 0;
            let mut search = Search::new(Bounds { begin: 100_000.0, ..bounds });
            loop {
                match search.next() {
                    Step::Done(knee) => return knee,
                    Step::Probe { purpose: Purpose::Confirm, rate: 100_000.0 } => {
                        confirmations += 1;
                        search.record(if confirmations == 2 { Verdict::Missed } else { Verdict::Held });
                    }
                    Step::Probe { .. } => search.record(Verdict::Held),
                }
            }
        };
        assert_eq!(third_fails(BOUNDS), Knee::AtLeast { rate: 100_000.0 });
        assert!(third_fails(Bounds { all: true, ..BOUNDS }).rate().is_some_and(|rate| rate < 100_000.0));
    }
}
