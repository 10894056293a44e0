//! The lock-free view that reader threads have of a group's lease.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use units::{LogIndex, NodeId, Term, Timestamp};

/// One group's leadership as reader threads see it.
///
/// A strong read may be answered from applied state when `is_valid` was true at some moment between the
/// request's arrival and the reading of the state.
#[derive(Debug, Default)]
pub struct LeaseView {
    valid_until: AtomicU64,
    serving: AtomicBool,
    leader: AtomicU64,
    term: AtomicU64,
    last: AtomicU64,
}

impl LeaseView {
    /// Whether this node leads, serves, and no other node can have been elected before `now`.
    #[must_use]
    pub fn is_valid(&self, now: Timestamp) -> bool {
        now.as_nanos() < self.valid_until.load(Ordering::SeqCst)
    }

    /// Whether this node leads and every earlier lease is over: writes may be answered when committed,
    /// and strong reads by `is_valid` or else by `read_index`.
    #[must_use]
    pub fn serving(&self) -> bool {
        self.serving.load(Ordering::SeqCst)
    }

    /// Who leads, as far as this node knows.
    #[must_use]
    pub fn leader(&self) -> Option<NodeId> {
        match self.leader.load(Ordering::SeqCst) {
            0 => None,
            node => Some(NodeId::new(node)),
        }
    }

    /// The newest term that this node knows. With the leader: [`leadership`](Self::leadership).
    #[must_use]
    pub fn term(&self) -> Term {
        Term::new(self.term.load(Ordering::SeqCst))
    }

    /// The newest term that this node knows, and who leads in it, if that is known: the two together, never
    /// the leader of one term under the number of another.
    #[must_use]
    pub fn leadership(&self) -> (Term, Option<NodeId>) {
        let term = self.term();
        let leader = self.leader();
        // The leader is blank while the term changes (see `set_leadership`), and terms only grow: a leader
        // read between two equal readings of the term is that term's.
        if self.term() == term { (term, leader) } else { (term, None) }
    }

    /// Whether this node leads under a valid lease at `now` and its log, durable or not, does not reach `index`: then
    /// `index` was never committed in this life of the group. `now` must be the present.
    #[must_use]
    pub fn leads_without(&self, index: LogIndex, now: Timestamp) -> bool {
        // In this order: a leader's log has all that was committed before, and only grows while it leads.
        self.is_valid(now) && self.last.load(Ordering::SeqCst) < index.get()
    }

    pub(crate) fn set_last(&self, last: u64) {
        self.last.store(last, Ordering::SeqCst);
    }

    pub(crate) fn set_valid_until(&self, until: Timestamp) {
        self.valid_until.store(until.as_nanos(), Ordering::SeqCst);
    }

    pub(crate) fn set_leadership(&self, term: Term, leader: Option<NodeId>, serving: bool) {
        if self.term.load(Ordering::SeqCst) != term.get() {
            self.leader.store(0, Ordering::SeqCst);
        }
        self.term.store(term.get(), Ordering::SeqCst);
        self.leader.store(leader.map_or(0, NodeId::get), Ordering::SeqCst);
        self.serving.store(serving, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn a_leader_is_never_seen_under_another_term() {
        let view = Arc::new(LeaseView::default());
        let writer = {
            let view = Arc::clone(&view);
            // In each term the leader has the term's number.
            std::thread::spawn(move || {
                for term in 1..200_000 {
                    view.set_leadership(Term::new(term), None, false);
                    view.set_leadership(Term::new(term), Some(NodeId::new(term)), term % 2 == 0);
                }
            })
        };
        while !writer.is_finished() {
            let (term, leader) = view.leadership();
            assert!(leader.is_none_or(|leader| leader.get() == term.get()), "{leader:?} in {term}");
        }
        writer.join().unwrap();
        assert_eq!(view.leadership(), (Term::new(199_999), Some(NodeId::new(199_999))));
    }
}
