//! When storage nodes and the control plane last pushed, and how long changes had waited before.

use std::collections::BTreeMap;
use std::time::Duration;

use units::{NodeId, Timestamp};

/// The longest wait of a minute is kept by sixths: a wait counts for 50 to 60 s.
const SIXTHS: usize = 6;
const SIXTH: Duration = Duration::from_secs(10);

/// A storage node's push, as far as it says how current the server is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PushArrival {
    /// It carried everything that the node knows.
    pub(crate) complete: bool,
    /// How long the oldest change in it had waited at the node; none: it carried no change.
    pub(crate) waited: Option<Duration>,
    pub(crate) at: Timestamp,
}

/// What is kept of one node's pushes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodePushes {
    pub(crate) last: Timestamp,
    pub(crate) last_complete: Option<Timestamp>,
    /// Of the last push that carried a change.
    pub(crate) change_lag: Option<Duration>,
    longest: LongestWait,
}

impl NodePushes {
    /// The longest that a change of the last minute had waited.
    pub(crate) fn longest_change_lag(&self, now: Timestamp) -> Option<Duration> {
        self.longest.within_a_minute(now)
    }
}

/// Every node's last pushes.
#[derive(Debug, Default)]
pub(crate) struct PushLog {
    nodes: BTreeMap<NodeId, NodePushes>,
    catalog: Option<Timestamp>,
}

impl PushLog {
    /// A storage node pushed.
    pub(crate) fn note(&mut self, node: NodeId, push: PushArrival) {
        let known = self.nodes.entry(node).or_insert(NodePushes {
            last: push.at,
            last_complete: None,
            change_lag: None,
            longest: LongestWait::default(),
        });
        known.last = push.at;
        if push.complete {
            known.last_complete = Some(push.at);
        }
        if let Some(waited) = push.waited {
            known.change_lag = Some(waited);
            known.longest.note(waited, push.at);
        }
    }

    /// The control plane pushed.
    pub(crate) const fn note_catalog(&mut self, at: Timestamp) {
        self.catalog = Some(at);
    }

    /// When the control plane last pushed.
    pub(crate) const fn catalog(&self) -> Option<Timestamp> {
        self.catalog
    }

    pub(crate) fn node(&self, node: NodeId) -> Option<&NodePushes> {
        self.nodes.get(&node)
    }

    pub(crate) fn nodes(&self) -> impl Iterator<Item = (NodeId, &NodePushes)> {
        self.nodes.iter().map(|(node, pushes)| (*node, pushes))
    }
}

/// The longest wait in each of the last sixths of a minute.
#[derive(Clone, Copy, Debug, Default)]
struct LongestWait {
    /// The newest sixth, counted from the clock's origin.
    newest: u64,
    /// By the sixth's number modulo their count.
    longest: [Option<Duration>; SIXTHS],
}

impl LongestWait {
    fn note(&mut self, waited: Duration, at: Timestamp) {
        self.advance(at);
        let place = self.newest as usize % SIXTHS;
        self.longest[place] = self.longest[place].max(Some(waited));
    }

    fn within_a_minute(mut self, now: Timestamp) -> Option<Duration> {
        self.advance(now);
        self.longest.into_iter().flatten().max()
    }

    /// Forgets what is older than a minute.
    fn advance(&mut self, now: Timestamp) {
        let sixth = now.as_nanos() / SIXTH.as_nanos() as u64;
        let passed = sixth.saturating_sub(self.newest).min(SIXTHS as u64);
        for back in 0..passed {
            self.longest[(sixth - back) as usize % SIXTHS] = None;
        }
        self.newest = sixth.max(self.newest);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NODE: NodeId = NodeId::new(4);

    fn at(seconds: u64) -> Timestamp {
        Timestamp::from_nanos(seconds * 1_000_000_000)
    }

    fn push(seconds: u64, complete: bool, waited_ms: u64) -> PushArrival {
        let waited = (waited_ms > 0).then(|| Duration::from_millis(waited_ms));
        PushArrival { complete, waited, at: at(seconds) }
    }

    #[test]
    fn it_tells_a_full_push_from_one_of_changes_and_a_change_from_none() {
        let mut log = PushLog::default();
        log.note(NODE, push(100, true, 0));
        log.note(NODE, push(103, false, 20));
        log.note(NODE, push(105, false, 0));
        let pushes = log.node(NODE).unwrap();
        assert_eq!((pushes.last, pushes.last_complete), (at(105), Some(at(100))));
        assert_eq!(pushes.change_lag, Some(Duration::from_millis(20)));
        assert!(log.node(NodeId::new(5)).is_none());
    }

    #[test]
    fn the_longest_wait_is_of_the_last_minute() {
        let mut log = PushLog::default();
        for (seconds, waited) in [(1_000, 500), (1_030, 90), (1_055, 10)] {
            log.note(NODE, push(seconds, false, waited));
        }
        let longest =
            |seconds| log.node(NODE).unwrap().longest_change_lag(at(seconds)).map(|it| it.as_millis());
        assert_eq!(longest(1_055), Some(500));
        assert_eq!(longest(1_061), Some(90));
        assert_eq!(longest(1_091), Some(10));
        assert_eq!(longest(1_115), None);
        assert_eq!(longest(9_999), None);
    }
}
