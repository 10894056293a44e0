//! What stands in the live view: pure, from seconds to lines.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use crate::engine::Progress;
use crate::outcome::Outcome;
use crate::report::figure;
use crate::result::Second;
use crate::spec::RunSpec;

/// Seconds in the sparkline.
const HISTORY: usize = 60;
/// Share of a core from which on the own CPU is shown as a worry.
const BUSY: f64 = 0.7;
/// Wider than this, lines are hard to read.
const MOST_COLUMNS: usize = 100;

/// Whether to colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Colours {
    /// Colours of a terminal.
    Ansi,
    /// None.
    Plain,
}

/// What is known so far.
#[derive(Debug)]
pub(super) struct Picture {
    title: String,
    last: Sum,
    total: Sum,
    /// p99 by second, in microseconds; none without an answer.
    p99s: VecDeque<Option<u64>>,
    second: u64,
    of: u64,
    in_flight: u64,
    waiting: u64,
}

/// Figures over streams and seconds.
#[derive(Debug, Clone, Default, PartialEq)]
struct Sum {
    seconds: u64,
    offered: u64,
    ok: u64,
    throttled: u64,
    failed: u64,
    /// Worst of the streams, in microseconds.
    p50: Option<u64>,
    p99: Option<u64>,
    max: Option<u64>,
    own_cpu: f64,
}

impl Sum {
    fn add(&mut self, second: &Second) {
        self.offered += second.offered;
        for (outcome, count) in &second.outcomes {
            match outcome {
                outcome if outcome.is_success() => self.ok += count,
                Outcome::Throttled => self.throttled += count,
                _ => self.failed += count,
            }
        }
        if second.latency.count > 0 {
            let latency = &second.latency;
            self.p50 = self.p50.max(Some(latency.p50_us));
            self.p99 = self.p99.max(Some(latency.p99_us));
            self.max = self.max.max(Some(latency.max_us));
        }
        self.own_cpu = self.own_cpu.max(second.own_cpu);
    }

    /// A count per second.
    #[expect(clippy::cast_precision_loss, reason = "only shown")]
    fn rate(&self, count: u64) -> String {
        format!("{}/s", figure::number(count as f64 / self.seconds.max(1) as f64))
    }
}

impl Picture {
    pub(super) fn new(spec: &RunSpec) -> Self {
        let streams: Vec<_> = spec.streams.iter().map(|stream| stream.name.as_str()).collect();
        let title = format!("{} → {}", streams.join(", "), spec.endpoints.join(", "));
        Self {
            title,
            last: Sum::default(),
            total: Sum::default(),
            p99s: VecDeque::with_capacity(HISTORY),
            second: 0,
            of: spec.duration.as_secs(),
            in_flight: 0,
            waiting: 0,
        }
    }

    /// One more second.
    pub(super) fn add(&mut self, progress: &Progress) {
        self.last = Sum { seconds: 1, ..Sum::default() };
        self.total.seconds += 1;
        for second in &progress.streams {
            self.last.add(second);
            self.total.add(second);
        }
        if self.p99s.len() == HISTORY {
            self.p99s.pop_front();
        }
        self.p99s.push_back(self.last.p99);
        (self.second, self.of) = (progress.second, progress.of);
        (self.in_flight, self.waiting) = (progress.in_flight, progress.waiting);
    }

    /// The block of a terminal that is so many columns wide; no line is wider.
    pub(super) fn block(&self, columns: usize, colours: Colours) -> Vec<String> {
        let columns = columns.min(MOST_COLUMNS);
        let paint = |text: String, colour: &str| match colours {
            Colours::Ansi => format!("\x1b[{colour}m{text}\x1b[0m"),
            Colours::Plain => text,
        };
        let worry = |text: String, worried: bool, colour: &str| match worried {
            true => paint(text, colour),
            false => text,
        };
        let clock = cut(&format!("{} / {}", span(self.second), span(self.of)), columns);
        let room = columns.saturating_sub(clock.chars().count() + 3);
        let title = if room > 0 { format!("   {}", cut(&self.title, room)) } else { String::new() };
        let mut lines = vec![format!("{}{title}", paint(clock, BOLD))];
        lines.push(self.bar(columns));
        lines.push(cut(&format!("{:<12}{:>14}{:>14}", "", "last second", "since begin"), columns));
        for (name, of, colour) in [
            ("offered", (|sum| sum.offered) as fn(&Sum) -> u64, ""),
            ("succeeded", |sum| sum.ok, ""),
            ("throttled", |sum| sum.throttled, YELLOW),
            ("errors", |sum| sum.failed, RED),
        ] {
            let [last, total] = [&self.last, &self.total].map(|sum| sum.rate(of(sum)));
            let line = cut(&format!("{name:<12}{last:>14}{total:>14}"), columns);
            lines.push(worry(line, of(&self.last) > 0 && !colour.is_empty(), colour));
        }
        for (name, of) in [
            ("p50", (|sum| sum.p50) as fn(&Sum) -> Option<u64>),
            ("p99", |sum| sum.p99),
            ("max", |sum| sum.max),
        ] {
            let last = of(&self.last).map_or_else(none, figure::micros);
            // Percentiles of seconds do not add up: the worst is what can be said of them together.
            let total = of(&self.total).map_or_else(none, |worst| format!("≤ {}", figure::micros(worst)));
            lines.push(cut(&format!("{name:<12}{last:>14}{total:>14}"), columns));
        }
        lines.push(cut(&format!("p99 over {} s  {}", self.p99s.len(), self.sparkline()), columns));
        let mut state = format!("{} in flight", figure::count(self.in_flight));
        _ = write!(state, ", {} waiting for a connection", figure::count(self.waiting));
        let queue = worry(cut(&state, columns), self.waiting > 0, YELLOW);
        let cpu = format!("own CPU {} of a core", figure::percent((self.last.own_cpu * 100.0).round()));
        lines.push(queue);
        lines.push(worry(cut(&cpu, columns), self.last.own_cpu > BUSY, YELLOW));
        lines
    }

    /// One line, for logs.
    pub(super) fn line(&self) -> String {
        let last = &self.last;
        let time = |value: Option<u64>| value.map_or_else(none, figure::micros);
        let mut line = format!(
            "{:>4}/{} s  offered {}  ok {}  throttled {}  errors {}  p50 {}  p99 {}  max {}",
            self.second,
            self.of,
            last.rate(last.offered),
            last.rate(last.ok),
            last.rate(last.throttled),
            last.rate(last.failed),
            time(last.p50),
            time(last.p99),
            time(last.max),
        );
        if self.waiting > 0 {
            _ = write!(line, "  waiting {}", figure::count(self.waiting));
        }
        _ = write!(line, "  own CPU {}", figure::percent((last.own_cpu * 100.0).round()));
        line
    }

    /// How far the run has come.
    fn bar(&self, columns: usize) -> String {
        const WIDTH: usize = 40;
        let width = columns.min(WIDTH);
        let of = usize::try_from(self.of.max(1)).unwrap_or(usize::MAX);
        let done = usize::try_from(self.second).unwrap_or(usize::MAX).min(of);
        let filled = done.saturating_mul(width) / of;
        format!("{}{}", "━".repeat(filled), "─".repeat(width - filled))
    }

    /// The last seconds' p99, on a logarithmic scale from the lowest to the highest of them.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "one of eight steps"
    )]
    fn sparkline(&self) -> String {
        const STEPS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
        let log = |value: u64| (value.max(1) as f64).log2();
        let values = || self.p99s.iter().flatten().copied().map(log);
        let (least, most) = (values().fold(f64::INFINITY, f64::min), values().fold(0.0, f64::max));
        // A factor of four fills the height at least: noise must not look like a mountain range.
        let height = (most - least).max(2.0);
        let step = |value: &Option<u64>| match value {
            Some(value) => STEPS[(((log(*value) - least) / height * 7.0).round() as usize).min(7)],
            None => ' ',
        };
        self.p99s.iter().map(step).collect()
    }
}

const BOLD: &str = "1";
const RED: &str = "31";
const YELLOW: &str = "33";

fn none() -> String {
    figure::NONE.to_owned()
}

fn span(seconds: u64) -> String {
    figure::span(Duration::from_secs(seconds))
}

/// At most so many characters.
fn cut(text: &str, columns: usize) -> String {
    match text.chars().count() {
        count if count <= columns => text.to_owned(),
        _ => text.chars().take(columns.saturating_sub(1)).chain(['…']).take(columns).collect(),
    }
}
