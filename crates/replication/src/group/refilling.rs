//! A replica that lost its data becomes whole again; see [`crate::refill`].

use bytes::Bytes;
use units::{LogIndex, NodeId};

use super::{Group, REFILL_TICKS};
use crate::message::{GroupMessage, MessageKind};
use crate::refill::Refill;
use crate::shared::Shared;
use crate::wal::Record;

impl Group {
    pub(super) fn ask_refill(&mut self, shared: &mut Shared) {
        let Some(Refill::Asking { next, answers }) = &mut self.refill else { return };
        if shared.now < *next {
            return;
        }
        *next = shared.now + shared.config.tick * REFILL_TICKS;
        let me = shared.me();
        let ask: Vec<NodeId> =
            self.membership.all().filter(|member| *member != me && !answers.contains_key(member)).collect();
        for member in ask {
            let mut query = self.message(MessageKind::RefillQuery, member, me);
            query.context = incarnation_bytes(shared);
            shared.send(query);
        }
    }

    pub(super) fn answer_refill(&mut self, query: &GroupMessage, shared: &mut Shared) {
        self.wake(shared);
        self.active = shared.now;
        let from = query.from;
        if self.leads()
            && let Some(progress) = self.raw.raft.mut_prs().get_mut(from.get())
        {
            // What it once held is gone, and must not count for a commit any more.
            progress.matched = 0;
            progress.committed_index = 0;
            progress.pending_snapshot = 0;
            progress.pending_request_snapshot = 0;
            progress.become_probe();
        }
        let mut answer = self.message(MessageKind::RefillAnswer, from, shared.me());
        answer.commit = self.may_be_committed();
        answer.reject = self.refill.is_some();
        answer.context = query.context.clone();
        shared.send(answer);
    }

    /// How far the log may be committed, as far as this replica can know. Only a leader that committed in
    /// its own term knows it for sure; what a follower holds, or a leader held before it restarted, may
    /// have been committed without its having noted that.
    fn may_be_committed(&self) -> LogIndex {
        let raft = &self.raw.raft;
        let knows = self.leads() && raft.commit_to_current_term();
        LogIndex::new(if knows { raft.raft_log.committed } else { raft.raft_log.last_index() })
    }

    pub(super) fn refill_answered(&mut self, answer: &GroupMessage, shared: &mut Shared) {
        // Another without data knows nothing; an answer to an earlier life was true then, not now.
        if answer.reject || answer.context != incarnation_bytes(shared) {
            return;
        }
        let me = shared.me();
        let Some(refill) = &mut self.refill else { return };
        let learnt = refill.answered(me, &self.membership, answer.from, answer.term, answer.commit);
        let Some((term, _)) = learnt else { return };
        let raft = &mut self.raw.raft;
        if raft.term < term.get() {
            raft.become_follower(term.get(), 0);
        }
        // It may have voted in this very term: let that vote be its own, so that it is given to nobody.
        if raft.leader_id == 0 && raft.term > 0 {
            raft.vote = me.get();
        }
        self.note_transition(shared);
        self.refilled_if_full(shared);
    }

    pub(super) fn refilled_if_full(&mut self, shared: &mut Shared) {
        let Some(Refill::Filling { until, term }) = self.refill else { return };
        let log = &self.raw.raft.raft_log;
        // Part of what others held may have been void: but whatever a leader of a later term than any of
        // theirs commits stands on everything that was committed before.
        let reached = |until| log.committed >= until && log.persisted >= until;
        let full = reached(until.get())
            || (log.persisted >= log.committed && log.term(log.committed).is_ok_and(|at| at > term.get()));
        // The term and the vote that it took over must be durable before it counts as whole.
        if full && self.unpersisted.is_empty() && !self.raw.has_ready() {
            self.refill = None;
            self.election_due = shared.draw_election(shared.now);
            shared.records.push(Record::Refilled(self.id));
        }
    }
}

fn incarnation_bytes(shared: &Shared) -> Bytes {
    Bytes::copy_from_slice(&shared.config.incarnation.get().to_be_bytes())
}
