//! When requests are due: a rate over time, and how evenly they follow it.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::invalid_text::{InvalidText, duration};
use super::rate::Rate;
use super::schedule::{Schedule, Segment};
use super::text_form::text_form;

const WHAT: &str = "arrival rate";
const EXPECTED: &str = "expected 500/s, or one of constant:500/s, ramp:100/s..2000/s, \
    step:100/s..1000/s by 100/s every 10s, spike:500/s to 5000/s at 20s for 5s, sine:500/s +-300/s every 60s, \
    onoff:1000/s on 5s off 5s; each may begin with `constant ` for even gaps, else they are random (Poisson)";

/// Least time that a shape stays the same: a long stream has a bounded number of stretches.
const LEAST_STRETCH: Duration = Duration::from_millis(1);
/// Longest time in a shape: ten years.
const MOST_STRETCH: Duration = Duration::from_secs(10 * 365 * 86_400);

/// When requests are due.
///
/// As text: `500/s` is a constant rate with random gaps (Poisson), which is how independent callers arrive;
/// `constant:500/s` has even gaps. The other shapes are in [`Shape`]; each has random gaps unless `constant `
/// stands before it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Arrivals {
    /// The rate over time.
    pub shape: Shape,
    /// How requests follow the rate.
    pub spacing: Spacing,
}

/// How requests follow the rate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spacing {
    /// At random and independently, as those of many callers: bursts and lulls included.
    Poisson,
    /// As evenly as the rate allows: any span has what the rate's integral says, give or take one.
    Constant,
}

/// A rate over time, reckoned from the stream's begin.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Shape {
    /// `500/s`: always the same.
    Constant(Rate),
    /// `ramp:100/s..2000/s`: evenly from the one to the other over the whole stream.
    Ramp {
        /// At the begin.
        from: Rate,
        /// At the end.
        to: Rate,
    },
    /// `step:100/s..1000/s by 100/s every 10s`: in steps, and then held.
    Step {
        /// In the first step.
        from: Rate,
        /// The last step's; not passed.
        to: Rate,
        /// From one step to the next, up or down.
        by: Rate,
        /// How long a step lasts.
        every: Duration,
    },
    /// `spike:500/s to 5000/s at 20s for 5s`: the one rate, except for a while.
    Spike {
        /// Before and after.
        base: Rate,
        /// During the spike.
        peak: Rate,
        /// When it begins.
        at: Duration,
        /// How long it lasts.
        length: Duration,
    },
    /// `sine:500/s +-300/s every 60s`: in waves about a mean, beginning at the mean, upwards.
    Sine {
        /// The mean.
        mean: Rate,
        /// How far above and below; at most the mean.
        swing: Rate,
        /// Of one wave.
        every: Duration,
    },
    /// `onoff:1000/s on 5s off 5s`: bursts and silence, beginning with a burst.
    OnOff {
        /// During bursts.
        rate: Rate,
        /// A burst's length.
        on: Duration,
        /// A silence's length.
        off: Duration,
    },
}

impl Arrivals {
    /// Random arrivals at a constant rate.
    #[must_use]
    pub const fn poisson(rate: Rate) -> Self {
        Self { shape: Shape::Constant(rate), spacing: Spacing::Poisson }
    }

    /// Even arrivals at a constant rate.
    #[must_use]
    pub const fn constant(rate: Rate) -> Self {
        Self { shape: Shape::Constant(rate), spacing: Spacing::Constant }
    }

    /// The due times of a stream that begins at `from` and ends before `to`: the same for the same seed. Made one
    /// by one, so a long run takes no memory.
    #[must_use]
    pub fn schedule(&self, from: Duration, to: Duration, seed: u64) -> Schedule {
        Schedule::new(*self, from, to, seed)
    }

    /// The rate `at` after the begin of a stream that lasts `over`, in requests per second.
    #[must_use]
    pub fn rate_at(&self, at: Duration, over: Duration) -> f64 {
        let at = at.as_secs_f64();
        let mut segments = self.shape.segments(over);
        segments.find(|segment| at < segment.end).map_or(0.0, |segment| segment.rate_at(at))
    }

    /// The mean rate of a stream that lasts `over`, in requests per second.
    #[must_use]
    pub fn mean_rate(&self, over: Duration) -> f64 {
        let whole = over.as_secs_f64();
        if whole == 0.0 {
            return 0.0;
        }
        self.shape.segments(over).map(|segment| segment.area()).sum::<f64>() / whole
    }

    /// The highest rate of a stream that lasts `over`, in requests per second.
    #[must_use]
    pub fn peak_rate(&self, over: Duration) -> f64 {
        self.shape.segments(over).map(|segment| segment.peak()).fold(0.0, f64::max)
    }

    /// The same shape with all rates times `factor`.
    #[must_use]
    pub fn scaled(&self, factor: f64) -> Self {
        let times = |rate: Rate| Rate::per_second(rate.get() * factor);
        let shape = match self.shape {
            Shape::Constant(rate) => Shape::Constant(times(rate)),
            Shape::Ramp { from, to } => Shape::Ramp { from: times(from), to: times(to) },
            Shape::Step { from, to, by, every } => {
                Shape::Step { from: times(from), to: times(to), by: times(by), every }
            }
            Shape::Spike { base, peak, at, length } => {
                Shape::Spike { base: times(base), peak: times(peak), at, length }
            }
            Shape::Sine { mean, swing, every } => {
                Shape::Sine { mean: times(mean), swing: times(swing), every }
            }
            Shape::OnOff { rate, on, off } => Shape::OnOff { rate: times(rate), on, off },
        };
        Self { shape, spacing: self.spacing }
    }

    /// What warms a stream up for this one: its first rate, held, with the same spacing.
    #[must_use]
    pub fn warm_up(&self) -> Self {
        let first = match self.shape {
            Shape::Constant(rate) | Shape::OnOff { rate, .. } => rate,
            Shape::Ramp { from, .. } | Shape::Step { from, .. } => from,
            Shape::Spike { base, .. } => base,
            Shape::Sine { mean, .. } => mean,
        };
        Self { shape: Shape::Constant(first), spacing: self.spacing }
    }
}

impl Shape {
    /// The stretches that a stream of this length consists of, in order and without gaps.
    pub(super) fn segments(self, over: Duration) -> impl Iterator<Item = Segment> {
        let mut begin = 0.0;
        let whole = over.as_secs_f64();
        (0..).map_while(move |number| {
            if begin >= whole {
                return None;
            }
            let segment = self.segment(number, begin, whole);
            begin = segment.end;
            Some(segment)
        })
    }

    /// The stretch of this number, which begins at `begin`, in seconds.
    pub(super) fn segment(self, number: u64, begin: f64, whole: f64) -> Segment {
        let level = |rate: Rate, end: f64| Segment::linear(begin, end.min(whole), rate.get(), rate.get());
        match self {
            Self::Constant(rate) => level(rate, whole),
            Self::Ramp { from, to } => Segment::linear(begin, whole, from.get(), to.get()),
            Self::Step { from, to, by, every } => {
                let step = Self::step_rate(number, from, to, by);
                let end = if step == to { whole } else { (number + 1) as f64 * every.as_secs_f64() };
                level(step, end)
            }
            Self::Spike { base, peak, at, length } => match number {
                0 if !at.is_zero() => level(base, at.as_secs_f64()),
                0 | 1 if begin <= at.as_secs_f64() => level(peak, (at + length).as_secs_f64()),
                _ => level(base, whole),
            },
            Self::Sine { mean, swing, every } => {
                Segment::sine(begin, whole, mean.get(), swing.get(), every.as_secs_f64())
            }
            Self::OnOff { rate, on, off } => {
                let rounds = (number / 2) as f64 * (on + off).as_secs_f64();
                if number.is_multiple_of(2) {
                    level(rate, rounds + on.as_secs_f64())
                } else {
                    level(Rate::per_second(0.0), rounds + (on + off).as_secs_f64())
                }
            }
        }
    }

    fn step_rate(number: u64, from: Rate, to: Rate, by: Rate) -> Rate {
        let climbed = by.get() * number as f64;
        let rate = if to >= from {
            (from.get() + climbed).min(to.get())
        } else {
            (from.get() - climbed).max(to.get())
        };
        Rate::per_second(rate)
    }
}

impl FromStr for Arrivals {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let trimmed = text.trim();
        let (spacing, shape) = match trimmed.split_once(' ') {
            Some(("constant", shape)) => (Spacing::Constant, shape.trim()),
            Some(("poisson", shape)) => (Spacing::Poisson, shape.trim()),
            _ => match trimmed.split_once(':') {
                Some(("constant", rate)) => (Spacing::Constant, rate),
                Some(("poisson", rate)) => (Spacing::Poisson, rate),
                _ => (Spacing::Poisson, trimmed),
            },
        };
        Ok(Self { shape: parse_shape(text, shape)?, spacing })
    }
}

fn parse_shape(whole: &str, shape: &str) -> Result<Shape, InvalidText> {
    let wrong = || InvalidText::new(WHAT, whole, EXPECTED);
    let Some((kind, rest)) = shape.split_once(':') else {
        if !shape.contains('/') {
            return Err(wrong());
        }
        return Ok(Shape::Constant(shape.parse()?));
    };
    let words: Vec<&str> = rest.split_whitespace().collect();
    match (kind, words.as_slice()) {
        ("ramp", [range]) => {
            let (from, to) = rates(range).ok_or_else(wrong)??;
            Ok(Shape::Ramp { from, to })
        }
        ("step", [range, "by", by, "every", every]) => {
            let (from, to) = rates(range).ok_or_else(wrong)??;
            let by: Rate = by.parse()?;
            if by.get() == 0.0 {
                return Err(InvalidText::new(WHAT, whole, "its steps must be above 0/s"));
            }
            Ok(Shape::Step { from, to, by, every: stretch(every)? })
        }
        ("spike", [base, "to", peak, "at", at, "for", length]) => {
            let at = if matches!(*at, "0" | "0s") { Duration::ZERO } else { stretch(at)? };
            let length = stretch(length)?;
            Ok(Shape::Spike { base: base.parse()?, peak: peak.parse()?, at, length })
        }
        ("sine", [mean, swing, "every", every]) => {
            let swing = swing.strip_prefix("+-").or_else(|| swing.strip_prefix('±')).ok_or_else(wrong)?;
            let (mean, swing): (Rate, Rate) = (mean.parse()?, swing.parse()?);
            if swing > mean {
                return Err(InvalidText::new(WHAT, whole, "its swing must not exceed its mean"));
            }
            Ok(Shape::Sine { mean, swing, every: stretch(every)? })
        }
        ("onoff", [rate, "on", on, "off", off]) => {
            Ok(Shape::OnOff { rate: rate.parse()?, on: stretch(on)?, off: stretch(off)? })
        }
        _ => Err(wrong()),
    }
}

fn stretch(text: &str) -> Result<Duration, InvalidText> {
    let stretch = duration(WHAT, text)?;
    if (LEAST_STRETCH..=MOST_STRETCH).contains(&stretch) {
        Ok(stretch)
    } else {
        Err(InvalidText::new(WHAT, text, "a duration in it must be from 1ms to ten years"))
    }
}

/// The rates of `100/s..2000/s`; none without the dots.
fn rates(range: &str) -> Option<Result<(Rate, Rate), InvalidText>> {
    let (from, to) = range.split_once("..")?;
    Some(from.parse().and_then(|from| Ok((from, to.parse()?))))
}

impl fmt::Display for Arrivals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.spacing, self.shape) {
            (Spacing::Poisson, shape) => write!(f, "{shape}"),
            (Spacing::Constant, shape @ Shape::Constant(_)) => write!(f, "constant:{shape}"),
            (Spacing::Constant, shape) => write!(f, "constant {shape}"),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Constant(rate) => write!(f, "{rate}"),
            Self::Ramp { from, to } => write!(f, "ramp:{from}..{to}"),
            Self::Step { from, to, by, every } => {
                write!(f, "step:{from}..{to} by {by} every {}", one_word(every))
            }
            Self::Spike { base, peak, at, length } => {
                write!(f, "spike:{base} to {peak} at {} for {}", one_word(at), one_word(length))
            }
            Self::Sine { mean, swing, every } => {
                write!(f, "sine:{mean} +-{swing} every {}", one_word(every))
            }
            Self::OnOff { rate, on, off } => {
                write!(f, "onoff:{rate} on {} off {}", one_word(on), one_word(off))
            }
        }
    }
}

/// A duration without the spaces that separate words here.
fn one_word(duration: Duration) -> String {
    humantime::format_duration(duration).to_string().replace(' ', "")
}

text_form!(Arrivals);
