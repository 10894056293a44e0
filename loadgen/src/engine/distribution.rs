//! Distributions of times in microseconds, as results carry them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::{Deserializer, Serializer, V2DeflateSerializer};

use crate::result::Latency;

/// Longer than any request takes: ten minutes.
const MOST_US: u64 = 600_000_000;
/// Significant digits.
const DIGITS: u8 = 3;

/// How long things took. It grows with the longest: some 20 KB for one second's times.
#[derive(Debug, Clone)]
pub(super) struct Distribution(Histogram<u64>);

impl Default for Distribution {
    fn default() -> Self {
        Self(Histogram::new(DIGITS).expect("three digits are within what a histogram has"))
    }
}

impl Distribution {
    pub(super) fn record(&mut self, us: u64) {
        self.0.record(us.clamp(1, MOST_US)).expect("the histogram grows");
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("the histogram grows");
    }

    pub(super) fn p99(&self) -> u64 {
        if self.0.is_empty() { 0 } else { self.0.value_at_quantile(0.99) }
    }

    /// Its figures, with the whole histogram.
    pub(super) fn latency(&self) -> Latency {
        Latency { histogram: self.packed(), ..self.figures() }
    }

    /// Its figures alone.
    pub(super) fn figures(&self) -> Latency {
        let histogram = &self.0;
        let count = histogram.len();
        let at = |quantile| if count == 0 { 0 } else { histogram.value_at_quantile(quantile) };
        Latency {
            count,
            min_us: if count == 0 { 0 } else { histogram.min() },
            mean_us: histogram.mean(),
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p999_us: at(0.999),
            max_us: histogram.max(),
            histogram: String::new(),
        }
    }

    /// The histogram as text: `HdrHistogram` V2, deflated, base64; empty of an empty one.
    pub(super) fn packed(&self) -> String {
        if self.0.is_empty() {
            return String::new();
        }
        let mut bytes = Vec::new();
        V2DeflateSerializer::new().serialize(&self.0, &mut bytes).expect("a vector takes any bytes");
        BASE64.encode(bytes)
    }

    /// From such a text of our own.
    pub(super) fn unpacked(text: &str) -> Self {
        if text.is_empty() {
            return Self::default();
        }
        let bytes = BASE64.decode(text).expect("it was packed here");
        let mut histogram =
            Deserializer::new().deserialize(&mut bytes.as_slice()).expect("it was packed here");
        Histogram::auto(&mut histogram, true);
        Self(histogram)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packing_keeps_every_figure_and_more_can_be_recorded_after() {
        let mut distribution = Distribution::default();
        for us in [0, 1, 250, 90_000, u64::MAX] {
            distribution.record(us);
        }
        let mut unpacked = Distribution::unpacked(&distribution.packed());
        assert_eq!(unpacked.latency(), distribution.latency());
        assert_eq!(distribution.figures().min_us, 1);
        let mut small = Distribution::default();
        small.record(3);
        let mut small = Distribution::unpacked(&small.packed());
        small.record(500_000_000);
        unpacked.record(5);
        unpacked.add(&small);
        assert_eq!(unpacked.figures().count, 8);
    }

    #[test]
    fn without_times_every_figure_is_zero() {
        let figures = Distribution::default().latency();
        assert_eq!((figures.count, figures.min_us, figures.p99_us, figures.max_us), (0, 0, 0, 0));
        assert!(figures.mean_us.abs() < f64::EPSILON && figures.histogram.is_empty());
    }
}
