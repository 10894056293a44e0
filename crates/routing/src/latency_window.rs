//! How long something took lately: the base for hedging and for finding what is slow but alive.

use std::array;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use units::Timestamp;

/// How long one of the two windows lasts. A quantile covers the present window and the one before, so the
/// latest 4 to 8 seconds: long enough for a probe in 64 to make [`NEEDED`] samples at 320 calls a second,
/// short enough that what recovered is soon found well.
const WINDOW: Duration = Duration::from_secs(4);

/// Fewer samples make no quantile: of 20, the 95th percentile is the second slowest.
const NEEDED: u64 = 20;

/// Buckets per doubling: none is wider than a sixteenth of its lower edge.
const PER_OCTAVE: u32 = 16;

/// Powers of two of nanoseconds between which latencies are told apart: 1.02 µs and 68.7 s.
const OCTAVES: std::ops::Range<u32> = 10..36;

/// 416: 1.7 kB per window.
const BUCKETS: usize = (PER_OCTAVE * (OCTAVES.end - OCTAVES.start)) as usize;

/// The latencies of the latest seconds, in two rotating windows of logarithmic buckets, shared by all
/// threads: recording is one relaxed addition. Threads that record while a window begins may lose samples
/// of that moment; nothing else is ever lost.
#[derive(Debug)]
pub struct LatencyWindow {
    windows: [Window; 2],
}

#[derive(Debug)]
struct Window {
    /// Which one since the clock's origin.
    number: AtomicU64,
    buckets: [AtomicU32; BUCKETS],
}

impl Default for LatencyWindow {
    fn default() -> Self {
        Self::new()
    }
}

impl LatencyWindow {
    /// No latencies yet.
    #[must_use]
    pub fn new() -> Self {
        let empty =
            || Window { number: AtomicU64::new(0), buckets: array::from_fn(|_bucket| AtomicU32::new(0)) };
        Self { windows: [empty(), empty()] }
    }

    /// Something took this long.
    pub fn record(&self, took: Duration, now: Timestamp) {
        let number = window_number(now);
        let window = &self.windows[usize::from(number % 2 == 1)];
        let held = window.number.load(Ordering::Relaxed);
        // Only forward: a thread that read the clock earlier adds to what is newer.
        if held < number
            && window.number.compare_exchange(held, number, Ordering::Relaxed, Ordering::Relaxed).is_ok()
        {
            window.buckets.iter().for_each(|bucket| bucket.store(0, Ordering::Relaxed));
        }
        window.buckets[bucket_of(took)].fetch_add(1, Ordering::Relaxed);
    }

    /// The latency that the share `q` of the recent ones did not exceed, rounded up to its bucket's edge: at
    /// most a sixteenth too high. None with fewer than 20 samples. Reads 832 counters: not for every call.
    #[must_use]
    pub fn quantile(&self, q: f64, now: Timestamp) -> Option<Duration> {
        let recent = || {
            let number = window_number(now);
            self.windows.iter().filter(move |window| {
                let held = window.number.load(Ordering::Relaxed);
                held == number || held + 1 == number
            })
        };
        let count_of = |at: usize| {
            recent().map(|window| u64::from(window.buckets[at].load(Ordering::Relaxed))).sum::<u64>()
        };
        let samples: u64 = (0..BUCKETS).map(count_of).sum();
        if samples < NEEDED {
            return None;
        }
        let rank = ((q.clamp(0.0, 1.0) * samples as f64).ceil() as u64).max(1);
        let mut below = 0;
        let bucket = (0..BUCKETS).find(|at| {
            below += count_of(*at);
            below >= rank
        });
        // A window that was cleared meanwhile ends the search early; then the slowest stands for the rest.
        Some(upper_edge(bucket.unwrap_or(BUCKETS - 1)))
    }
}

fn window_number(now: Timestamp) -> u64 {
    now.as_nanos() / (WINDOW.as_nanos() as u64)
}

/// The bucket of a latency: its power of two, and the sixteenth within.
fn bucket_of(took: Duration) -> usize {
    let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
    let nanos = nanos.clamp(1 << OCTAVES.start, (1 << OCTAVES.end) - 1);
    let octave = nanos.ilog2();
    let within = (nanos >> (octave - PER_OCTAVE.ilog2())) as u32 - PER_OCTAVE;
    ((octave - OCTAVES.start) * PER_OCTAVE + within) as usize
}

/// The longest latency in the bucket.
fn upper_edge(bucket: usize) -> Duration {
    let bucket = bucket as u64;
    let (octave, within) = (bucket / u64::from(PER_OCTAVE), bucket % u64::from(PER_OCTAVE));
    let step = 1_u64 << (u64::from(OCTAVES.start - PER_OCTAVE.ilog2()) + octave);
    Duration::from_nanos((u64::from(PER_OCTAVE) + within + 1) * step)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const START: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

    #[test]
    fn too_few_samples_make_no_quantile() {
        let window = LatencyWindow::new();
        (0..19).for_each(|_| window.record(ms(3), START));
        assert_eq!(window.quantile(0.5, START), None);
        window.record(ms(3), START);
        assert!(window.quantile(0.5, START).is_some());
    }

    #[test]
    fn what_is_older_than_two_windows_is_forgotten() {
        let window = LatencyWindow::new();
        (0..100).for_each(|_| window.record(ms(50), START));
        assert!(window.quantile(0.5, START + WINDOW).is_some_and(|median| median >= ms(50)));
        assert_eq!(window.quantile(0.5, START + WINDOW * 2), None);

        let later = START + WINDOW * 2;
        (0..100).for_each(|_| window.record(ms(1), later));
        assert!(window.quantile(1.0, later).is_some_and(|slowest| slowest < ms(2)));
    }

    #[test]
    fn a_recovered_server_looks_well_within_two_windows() {
        let window = LatencyWindow::new();
        (0..1000).for_each(|_| window.record(ms(100), START));
        for second in 1..=8 {
            (0..100).for_each(|_| window.record(ms(1), START + Duration::from_secs(second)));
        }
        assert!(window.quantile(0.95, START + WINDOW * 2).is_some_and(|slow| slow < ms(2)));
    }

    #[test]
    fn latencies_outside_the_range_count_as_its_ends() {
        let window = LatencyWindow::new();
        (0..10).for_each(|_| window.record(Duration::ZERO, START));
        (0..10).for_each(|_| window.record(Duration::MAX, START));
        assert!(window.quantile(0.5, START).is_some_and(|low| low < Duration::from_nanos(1200)));
        assert!(window.quantile(1.0, START).is_some_and(|high| high > Duration::from_secs(60)));
    }

    #[test]
    fn threads_that_record_at_once_lose_nothing_within_a_window() {
        let window = LatencyWindow::new();
        window.record(ms(1), START);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let window = &window;
                scope.spawn(move || {
                    (0..1000).for_each(|_| window.record(ms(if thread == 0 { 9 } else { 1 }), START));
                });
            }
        });
        // A quarter took 9 ms.
        assert!(window.quantile(0.74, START).is_some_and(|most| most < ms(2)));
        assert!(window.quantile(0.76, START).is_some_and(|slow| slow >= ms(9)));
    }

    proptest! {
        #[test]
        fn a_quantile_is_at_most_a_sixteenth_above_the_true_one(
            mut micros in proptest::collection::vec(2_u64..60_000_000, 20..300),
            q in 0.0..=1.0_f64,
        ) {
            let window = LatencyWindow::new();
            micros.iter().for_each(|micros| window.record(Duration::from_micros(*micros), START));
            micros.sort_unstable();
            let rank = ((q * micros.len() as f64).ceil() as usize).max(1);
            let exact = Duration::from_micros(micros[rank - 1]);

            let found = window.quantile(q, START).expect("20 samples are enough");

            prop_assert!(found > exact, "{found:?} for {exact:?}");
            prop_assert!(found <= exact + exact / 16, "{found:?} for {exact:?}");
        }
    }

    const fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }
}
