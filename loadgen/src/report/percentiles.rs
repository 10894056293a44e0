//! Histograms read back, and the curve of latency over percentiles.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use hdrhistogram::Histogram;
use hdrhistogram::serialization::Deserializer;

use crate::result::{Latency, Second};

/// Points per factor of ten in `1 ÷ (1 − p)`.
const POINTS_PER_DECADE: u32 = 16;
/// 99.99999999 %: past that, no run has enough requests.
const MOST_DECADES: u32 = 10;

/// The histogram of a distribution; none when it was not kept, or cannot be read.
pub(super) fn histogram(latency: &Latency) -> Option<Histogram<u64>> {
    if latency.histogram.is_empty() {
        return None;
    }
    let bytes = BASE64.decode(&latency.histogram).ok()?;
    Deserializer::new().deserialize(&mut bytes.as_slice()).ok()
}

/// Places of a percentile axis: decades of `1 ÷ (1 − p)`, up to the maximum of `count` values.
pub(super) fn places(count: u64) -> Vec<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a logarithm")]
    let most = (count.max(1) as f64).log10().min(f64::from(MOST_DECADES));
    let step = 1.0 / f64::from(POINTS_PER_DECADE);
    (0..=POINTS_PER_DECADE * MOST_DECADES)
        .map(|index| f64::from(index) * step)
        .take_while(|at| *at <= most)
        .collect()
}

/// The values at `places`, in microseconds; none where the distribution has too few values to tell.
#[expect(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
pub(super) fn values(histogram: &Histogram<u64>, places: &[f64]) -> Vec<Option<f64>> {
    let most = (histogram.len().max(1) as f64).log10();
    let value = |place: &f64| {
        (!histogram.is_empty() && *place <= most + 1e-9)
            .then(|| histogram.value_at_quantile(1.0 - 10f64.powf(-place)) as f64)
    };
    places.iter().map(value).collect()
}

/// Percentiles of a second over several streams, in microseconds: 50, 99, 99.9, max.
#[expect(clippy::cast_precision_loss, reason = "2^53 µs are 285 years")]
pub(super) fn of_streams(streams: &[&Second]) -> Option<[f64; 4]> {
    let with_values: Vec<_> =
        streams.iter().map(|second| &second.latency).filter(|latency| latency.count > 0).collect();
    let plain = |latency: &Latency| {
        [latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us].map(|value| value as f64)
    };
    if let [only] = with_values.as_slice() {
        return Some(plain(only));
    }
    let merged =
        with_values.iter().map(|latency| histogram(latency)).collect::<Option<Vec<_>>>().and_then(merged);
    match merged {
        Some(merged) => {
            Some([0.5, 0.99, 0.999, 1.0].map(|quantile| merged.value_at_quantile(quantile) as f64))
        }
        // Without histograms nothing can be said of all together: the worst stream stands for them.
        None => with_values.into_iter().map(plain).reduce(|a, b| std::array::from_fn(|at| a[at].max(b[at]))),
    }
}

/// All of them together; none of nothing, or when they do not go together.
pub(super) fn merged(histograms: Vec<Histogram<u64>>) -> Option<Histogram<u64>> {
    let mut all = histograms.into_iter();
    let mut merged = all.next()?;
    merged.auto(true);
    for histogram in all {
        merged.add(&histogram).ok()?;
    }
    Some(merged)
}
