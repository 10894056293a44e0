//! Axes: where a value stands, and which values are marked.

use super::figure;

/// How values become places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Equal steps are equally long.
    Linear,
    /// Equal factors are equally long.
    Log,
}

/// What an axis shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quantity {
    /// Microseconds of latency.
    Time,
    /// Per second.
    PerSecond,
    /// Percent.
    Percent,
    /// Seconds since the begin.
    Elapsed,
    /// A percentile, as the logarithm of `1 ÷ (1 − p)`.
    Percentile,
}

/// One axis with its range and marks.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    /// What it shows.
    pub quantity: Quantity,
    /// How.
    pub scale: Scale,
    /// From here …
    pub from: f64,
    /// … to here.
    pub to: f64,
    /// Marked values, ascending, within the range.
    pub ticks: Vec<f64>,
}

/// Longest time that is drawn: eleven days.
const LONGEST_US: f64 = 1e12;

impl Quantity {
    /// A value in a table or a tooltip.
    pub(super) fn shown(self, value: f64) -> String {
        match self {
            Self::Time => figure::time(value),
            Self::PerSecond => figure::number(value),
            Self::Percent => figure::percent(value),
            Self::Elapsed => clock(value),
            Self::Percentile => percentile(value),
        }
    }

    /// A value at a tick: round, so shorter.
    fn tick(self, value: f64) -> String {
        match self {
            Self::Time => short(value, &[(1e6, " s"), (1e3, " ms"), (1.0, " µs")]),
            Self::PerSecond => short(value, &[(1e6, " M"), (1e4, "0 k"), (1.0, "")]),
            Self::Percent => format!("{value} %"),
            Self::Elapsed => clock(value),
            Self::Percentile => format!("p{}", percentile(value).trim_end_matches(" %")),
        }
    }
}

impl Axis {
    /// From 0 to a round value at or above `most`.
    pub(super) fn linear(quantity: Quantity, most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let step = round_step(most / 4.0);
        let steps = (most / step - 1e-9).ceil().max(1.0);
        let ticks = ticks(step, steps);
        Self { quantity, scale: Scale::Linear, from: 0.0, to: step * steps, ticks }
    }

    /// Elapsed time from 0 to exactly `most` seconds.
    pub(super) fn elapsed(most: f64) -> Self {
        const STEPS: [f64; 14] =
            [1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 900.0, 1800.0, 3600.0, 7200.0];
        const MOST_TICKS: f64 = 7.0;
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        let fitting = STEPS.into_iter().find(|step| most / step <= MOST_TICKS);
        let step = fitting.unwrap_or_else(|| round_step(most / MOST_TICKS / 3600.0) * 3600.0);
        let ticks = ticks(step, (most / step + 1e-9).floor());
        Self { quantity: Quantity::Elapsed, scale: Scale::Linear, from: 0.0, to: most, ticks }
    }

    /// A logarithmic axis of times that has room for `least` and `most`, at least one decade.
    pub(super) fn times(least: f64, most: f64) -> Self {
        let least = if least.is_finite() { least.clamp(1.0, LONGEST_US) } else { 1.0 };
        let most = if most.is_finite() { most.clamp(least, LONGEST_US) } else { least };
        // To 1, 2 or 5 times a power of ten on either side.
        let from = round_below(least);
        let mut to = round_above(most);
        if to < from * 10.0 {
            to = from * 10.0;
        }
        let mut marked = vec![from];
        while let Some(next) =
            marked.last().map(|last| round_above(last * 1.01)).filter(|next| *next <= to * 1.001)
        {
            marked.push(next);
        }
        // Over more than two decades, the powers of ten are enough.
        if to / from > 101.0 {
            marked.retain(|value| is_power_of_ten(*value));
        }
        Self { quantity: Quantity::Time, scale: Scale::Log, from, to, ticks: marked }
    }

    /// Percentiles from 0 to so many nines.
    pub(super) fn percentiles(most: f64) -> Self {
        let to = most.max(2.0);
        let ticks = ticks(1.0, to);
        Self { quantity: Quantity::Percentile, scale: Scale::Linear, from: 0.0, to, ticks }
    }

    /// Where `value` stands: 0 at the begin, 1 at the end; what lies outside stands at the edge.
    pub(super) fn place(&self, value: f64) -> f64 {
        let place = match self.scale {
            Scale::Linear => (value - self.from) / (self.to - self.from),
            Scale::Log => (value.max(self.from) / self.from).ln() / (self.to / self.from).ln(),
        };
        if place.is_finite() { place.clamp(0.0, 1.0) } else { 0.0 }
    }

    /// The ticks with their labels.
    pub(super) fn marks(&self) -> impl Iterator<Item = (f64, String)> {
        self.ticks.iter().map(|tick| (self.place(*tick), self.quantity.tick(*tick)))
    }
}

/// `steps` steps from 0; a few, whatever is asked.
fn ticks(step: f64, steps: f64) -> Vec<f64> {
    const MOST: u32 = 20;
    (0..=MOST).map(f64::from).take_while(|at| *at <= steps).map(|at| at * step).collect()
}

/// 1, 2, 2.5 or 5 times a power of ten, at or above `value`.
fn round_step(value: f64) -> f64 {
    let power = 10f64.powf(value.log10().floor());
    let factor = [1.0, 2.0, 2.5, 5.0].into_iter().find(|factor| factor * power >= value * 0.999);
    factor.unwrap_or(10.0) * power
}

fn round_above(value: f64) -> f64 {
    let power = 10f64.powf((value.log10() + 1e-9).floor());
    let factor = [1.0, 2.0, 5.0].into_iter().find(|factor| factor * power >= value * 0.9999);
    factor.unwrap_or(10.0) * power
}

fn round_below(value: f64) -> f64 {
    let power = 10f64.powf((value.log10() + 1e-9).floor());
    let factor = [5.0, 2.0].into_iter().find(|factor| factor * power <= value * 1.0001);
    factor.unwrap_or(1.0) * power
}

fn is_power_of_ten(value: f64) -> bool {
    let log = value.log10();
    (log - log.round()).abs() < 1e-6
}

/// A round value in the largest unit that it reaches.
fn short(value: f64, units: &[(f64, &str)]) -> String {
    let found = units.iter().find(|(scale, _)| value.abs() >= scale * 0.999);
    let (scale, suffix) = found.or(units.last()).copied().unwrap_or((1.0, ""));
    // Thousands are written "20 k" from 10,000 on only: 2,500 is easier to read than 2.5 k.
    let (scale, suffix) = if suffix == "0 k" { (1e3, " k") } else { (scale, suffix) };
    let rounded = (value / scale * 1000.0).round() / 1000.0;
    if suffix.is_empty() && rounded >= 1000.0 {
        figure::number(rounded)
    } else {
        format!("{rounded}{suffix}")
    }
}

/// Elapsed seconds: `45 s`, `1:30`, `1:02:00`.
fn clock(seconds: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a length of time of a run")]
    let whole = seconds.max(0.0).round() as u64;
    match whole {
        0..120 => format!("{whole} s"),
        120..3600 => format!("{}:{:02} min", whole / 60, whole % 60),
        _ => format!("{}:{:02}:{:02} h", whole / 3600, whole / 60 % 60, whole % 60),
    }
}

/// `2` is 99 %, `2.5` is 99.684 %.
fn percentile(decades: f64) -> String {
    let share = 100.0 - 100.0 / 10f64.powf(decades);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few digits")]
    let decimals = (decades.ceil() - 2.0).clamp(0.0, 9.0) as usize;
    let decimals = if (decades - decades.round()).abs() < 1e-9 { decimals } else { decimals + 1 };
    format!("{share:.decimals$} %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_linear_axis_ends_at_a_round_value_that_has_room() {
        let axis = Axis::linear(Quantity::PerSecond, 5_180.0);
        assert_eq!((axis.from, axis.to), (0.0, 6_000.0));
        let labels: Vec<_> = axis.marks().map(|(_, label)| label).collect();
        assert_eq!(labels, ["0", "2,000", "4,000", "6,000"]);
    }

    #[test]
    fn times_are_marked_at_1_2_and_5_over_few_decades_and_at_powers_of_ten_over_many() {
        let labels = |axis: Axis| axis.marks().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(Axis::times(310.0, 4_100.0)), ["200 µs", "500 µs", "1 ms", "2 ms", "5 ms"]);
        assert_eq!(labels(Axis::times(120.0, 1_300_000.0)), ["100 µs", "1 ms", "10 ms", "100 ms", "1 s"]);
    }

    #[test]
    fn percentiles_are_equally_far_apart_by_nines() {
        let axis = Axis::percentiles(3.7);
        let marks: Vec<_> = axis.marks().collect();
        assert_eq!(
            marks.iter().map(|(_, label)| label.as_str()).collect::<Vec<_>>(),
            ["p0", "p90", "p99", "p99.9"]
        );
        assert!((marks[2].0 - 2.0 * marks[1].0).abs() < 1e-9);
    }

    #[test]
    fn elapsed_time_is_marked_at_whole_minutes_and_hours() {
        let labels = |most| Axis::elapsed(most).marks().map(|(_, label)| label).collect::<Vec<_>>();
        assert_eq!(labels(30.0), ["0 s", "5 s", "10 s", "15 s", "20 s", "25 s", "30 s"]);
        assert_eq!(labels(3_600.0).last().unwrap(), "1:00:00 h");
        assert!(labels(1e6).len() <= 8);
    }

    #[test]
    fn no_range_however_odd_puts_a_value_outside_or_nowhere() {
        for most in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e-9, 1e300] {
            for axis in [Axis::linear(Quantity::Percent, most), Axis::elapsed(most), Axis::times(most, most)]
            {
                for value in [f64::NAN, f64::NEG_INFINITY, -5.0, 0.0, 1.0, 1e18] {
                    let place = axis.place(value);
                    assert!((0.0..=1.0).contains(&place), "{axis:?} {value}: {place}");
                }
                assert!(axis.ticks.len() < 400, "{axis:?}");
            }
        }
    }
}
