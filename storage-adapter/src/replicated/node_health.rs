//! How a storage node does, as this client sees it: how long its reads take, whether that is slow beside the
//! other nodes, and whether it has just failed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use dynamodb::operation::Operation;
use routing::{GRAY_QUANTILE, LatencyWindow, gray_among};
use units::Timestamp;

/// How long eventually consistent reads go elsewhere after a node said that it cannot serve one.
const AVOIDANCE: Duration = Duration::from_secs(1);

/// A node that answers nothing for so long while reads wait is taken for frozen: a frozen node makes no
/// latencies to judge it by.
const SILENCE: Duration = Duration::from_millis(100);

/// The share of a node's recent reads that is quicker than the time after which another replica is asked:
/// hedges are then a twentieth of the reads when all is well, of which the budget allows less than half.
const HEDGE_QUANTILE: f64 = 0.95;

/// Below this nothing is gained by asking another: it is about one exchange.
const LEAST_PATIENCE: Duration = Duration::from_millis(1);

/// How long to wait for a node whose reads were too few to tell.
const UNKNOWN_PATIENCE: Duration = Duration::from_millis(20);

/// Reads that take different times, and so are compared with their like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ReadKind {
    /// One item.
    Point,
    /// A page of items.
    Page,
}

impl ReadKind {
    pub(super) const ALL: [Self; 2] = [Self::Point, Self::Page];

    pub(super) const fn of(operation: &Operation) -> Self {
        if matches!(operation, Operation::Range(_)) { Self::Page } else { Self::Point }
    }
}

/// What is known of one node. Shared by all requests; all of it is atomic.
#[derive(Debug, Default)]
pub(super) struct NodeHealth {
    avoided_until: AtomicU64,
    is_gray: AtomicBool,
    is_probed: AtomicBool,
    kinds: [Latencies; 2],
}

/// Of one kind of read.
#[derive(Debug, Default)]
struct Latencies {
    recent: LatencyWindow,
    /// What most take, by the last judgement, in nanoseconds; 0: unknown.
    usual: AtomicU64,
    /// Of the last judgement, in nanoseconds; 0: unknown.
    patience: AtomicU64,
}

impl NodeHealth {
    /// Whether it has just failed a read.
    pub(super) fn is_failing(&self, now: Timestamp) -> bool {
        now.as_nanos() < self.avoided_until.load(Ordering::Relaxed)
    }

    /// It could not serve a read that another may serve.
    pub(super) fn failed(&self, now: Timestamp) {
        self.avoided_until.store((now + AVOIDANCE).as_nanos(), Ordering::Relaxed);
    }

    /// Whether it was slow beside the others at the last judgement.
    pub(super) fn is_gray(&self) -> bool {
        self.is_gray.load(Ordering::Relaxed)
    }

    /// How long to wait for it before another replica is asked, too.
    pub(super) fn patience(&self, kind: ReadKind) -> Duration {
        match self.of(kind).patience.load(Ordering::Relaxed) {
            0 => UNKNOWN_PATIENCE,
            nanos => Duration::from_nanos(nanos),
        }
    }

    /// A read begins; it counts when the [`Timing`] ends.
    pub(super) const fn begin(&self, kind: ReadKind, now: Timestamp) -> Timing<'_> {
        Timing { health: self, kind, began: now, counts: true }
    }

    const fn of(&self, kind: ReadKind) -> &Latencies {
        &self.kinds[kind as usize]
    }
}

/// A read under way. Dropped before its end (another replica was quicker, or the caller gave up), it counts
/// as one that took at least so long.
#[must_use]
pub(super) struct Timing<'a> {
    health: &'a NodeHealth,
    kind: ReadKind,
    began: Timestamp,
    counts: bool,
}

impl<'a> Timing<'a> {
    /// The node's.
    pub(super) const fn health(&self) -> &'a NodeHealth {
        self.health
    }

    /// It was answered.
    pub(super) fn answered(mut self, now: Timestamp) {
        self.counts = false;
        self.health.of(self.kind).recent.record(now.since(self.began), now);
    }

    /// It was refused, which says nothing of how long reads take.
    pub(super) fn refused(mut self) {
        self.counts = false;
    }

    /// All that is known is that it would have taken longer. It may not make a slow node look quick: what is
    /// overtaken early counts as the node's usual time.
    fn overtaken(&self, now: Timestamp) {
        let latencies = self.health.of(self.kind);
        let usual = Duration::from_nanos(latencies.usual.load(Ordering::Relaxed));
        latencies.recent.record(now.since(self.began).max(usual), now);
    }
}

impl Drop for Timing<'_> {
    fn drop(&mut self) {
        if self.counts {
            self.overtaken(wire::clock::now());
        }
    }
}

/// A probe under way at a node: the only one.
#[derive(Debug)]
pub(super) struct Probe(Arc<NodeHealth>);

impl Probe {
    /// Begins one; none: one is under way. It ends when it is dropped.
    pub(super) fn begin(health: &Arc<NodeHealth>) -> Option<Self> {
        (!health.is_probed.swap(true, Ordering::Relaxed)).then(|| Self(Arc::clone(health)))
    }

    /// The node's.
    pub(super) fn health(&self) -> &NodeHealth {
        &self.0
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.0.is_probed.store(false, Ordering::Relaxed);
    }
}

/// Judges a fleet's nodes, each by its latencies beside the others', or by how long it has been silent.
/// Calls `changed` with the place of each one that became gray or is so no more.
pub(super) fn judge(
    fleet: &[(&NodeHealth, Option<Duration>)],
    now: Timestamp,
    mut changed: impl FnMut(usize, bool),
) {
    let [points, pages] = ReadKind::ALL.map(|kind| {
        let usual: Vec<_> = fleet.iter().map(|(node, _)| node.of(kind).read(now)).collect();
        gray_among(&usual)
    });
    for (at, (node, silent_for)) in fleet.iter().enumerate() {
        let is_silent = silent_for.is_some_and(|silent_for| silent_for > SILENCE);
        let is_gray = is_silent || points[at] || pages[at];
        if node.is_gray.swap(is_gray, Ordering::Relaxed) != is_gray {
            changed(at, is_gray);
        }
    }
}

impl Latencies {
    /// Takes note of what most recent reads take, which it returns, and of the patience.
    fn read(&self, now: Timestamp) -> Option<Duration> {
        let nanos = |took: Duration| u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let usual = self.recent.quantile(GRAY_QUANTILE, now);
        let patience = self.recent.quantile(HEDGE_QUANTILE, now).map(|slow| slow.max(LEAST_PATIENCE));
        self.usual.store(usual.map_or(0, nanos), Ordering::Relaxed);
        self.patience.store(patience.map_or(0, nanos), Ordering::Relaxed);
        usual
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

    #[test]
    fn a_slow_node_is_gray_and_a_recovered_one_is_found_well() {
        let (slow, quick) = (NodeHealth::default(), NodeHealth::default());
        serve(&slow, ReadKind::Point, 40, START);
        serve(&quick, ReadKind::Point, 1, START);
        assert_eq!(judged(&slow, &quick, START), [true, false]);
        assert_eq!(slow.patience(ReadKind::Point).as_millis(), 41, "rounded up to its bucket's edge");

        // Probes find it quick again.
        let later = START + Duration::from_secs(8);
        serve(&slow, ReadKind::Point, 1, later);
        serve(&quick, ReadKind::Point, 1, later);
        assert_eq!(judged(&slow, &quick, later), [false, false]);
    }

    #[test]
    fn a_node_that_serves_longer_pages_is_not_gray_for_it() {
        let (pages, points) = (NodeHealth::default(), NodeHealth::default());
        serve(&pages, ReadKind::Page, 40, START);
        serve(&pages, ReadKind::Point, 1, START);
        serve(&points, ReadKind::Point, 1, START);
        assert_eq!(judged(&pages, &points, START), [false, false]);
    }

    #[test]
    fn a_node_that_is_silent_is_gray_until_it_answers() {
        let (frozen, well) = (NodeHealth::default(), NodeHealth::default());
        let silent = Some(SILENCE + Duration::from_millis(1));
        let mut changes = Vec::new();
        judge(&[(&frozen, silent), (&well, None)], START, |at, gray| changes.push((at, gray)));
        judge(&[(&frozen, silent), (&well, None)], START, |at, gray| changes.push((at, gray)));
        judge(&[(&frozen, None), (&well, None)], START, |at, gray| changes.push((at, gray)));
        assert_eq!(changes, [(0, true), (0, false)]);
    }

    #[test]
    fn being_overtaken_early_does_not_make_a_slow_node_look_quick() {
        let (slow, quick) = (NodeHealth::default(), NodeHealth::default());
        serve(&slow, ReadKind::Point, 40, START);
        serve(&quick, ReadKind::Point, 1, START);
        assert_eq!(judged(&slow, &quick, START), [true, false]);

        let later = START + Duration::from_secs(8);
        serve(&quick, ReadKind::Point, 1, later);
        for _ in 0..30 {
            let mut timing = slow.begin(ReadKind::Point, later);
            timing.overtaken(later + Duration::from_millis(2));
            timing.counts = false;
        }
        assert_eq!(judged(&slow, &quick, later), [true, false]);
    }

    #[test]
    fn what_it_refuses_says_nothing_of_its_latency() {
        let node = NodeHealth::default();
        (0..100).for_each(|_| node.begin(ReadKind::Point, START).refused());
        judge(&[(&node, None)], START, |_, _| ());
        assert_eq!(node.patience(ReadKind::Point), UNKNOWN_PATIENCE);
    }

    #[test]
    fn a_node_is_probed_once_at_a_time() {
        let node = Arc::default();
        let probe = Probe::begin(&node);
        assert!(probe.is_some() && Probe::begin(&node).is_none());
        drop(probe);
        assert!(Probe::begin(&node).is_some());
    }

    #[test]
    fn a_node_that_failed_is_avoided_for_a_second() {
        let node = NodeHealth::default();
        node.failed(START);
        assert!(node.is_failing(START + AVOIDANCE / 2) && !node.is_failing(START + AVOIDANCE));
    }

    fn serve(node: &NodeHealth, kind: ReadKind, millis: u64, now: Timestamp) {
        (0..30).for_each(|_| node.begin(kind, now - Duration::from_millis(millis)).answered(now));
    }

    fn judged(one: &NodeHealth, other: &NodeHealth, now: Timestamp) -> [bool; 2] {
        judge(&[(one, None), (other, None)], now, |_, _| ());
        [one.is_gray(), other.is_gray()]
    }
}
