//! What the loop keeps for one group beside its replica: effects proposed and not yet applied, and the
//! answers that wait for them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use dynamodb::operation::Outcome;
use replication::{Committed, Position};
use units::{LogIndex, Term, Timestamp};

use super::hosted::Hosted;
use super::reply::Reply;
use super::request::Request;
use crate::StoreError;
use crate::engine::{Effect, EngineError, Replica, StoredItem};

/// The loop's side of one group.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) hosted: Arc<Hosted>,
    pub(super) replica: Arc<Replica>,
    /// Newest proposed version of each key that has one.
    overlay: BTreeMap<Bytes, Proposed>,
    answers: BTreeMap<LogIndex, Vec<Waiting>>,
    /// Reads that a quorum confirmed, by the index that must be applied first.
    reads: BTreeMap<LogIndex, Vec<Confirmed>>,
    /// What waits for a leader to serve.
    pub(super) held: VecDeque<Held>,
    /// The term in which this node serves the group, by the last change that was carried out.
    pub(super) serving: Option<Term>,
}

/// What waits for a leader to serve, here or elsewhere.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "nearly all are requests: boxes would save nothing")]
pub(super) enum Held {
    /// To be executed where the leader is.
    Request(Request),
    /// Of a request that was evaluated here, by a leader that was replaced before it could answer: its
    /// caller is sent to the next one.
    Turned(Reply),
}

impl Held {
    fn is_abandoned(&self, now: Timestamp) -> bool {
        match self {
            Self::Request(Request { reply, .. }) | Self::Turned(reply) => reply.is_abandoned(now),
        }
    }
}

#[derive(Debug)]
struct Proposed {
    item: Option<StoredItem>,
    index: LogIndex,
}

/// An answer that goes out when its entry is applied.
#[derive(Debug)]
struct Waiting {
    term: Term,
    outcome: Outcome,
    reply: Reply,
    /// The entry is this operation's own effect, not only what it was evaluated against.
    own: bool,
}

/// What to do once a quorum has confirmed the leadership.
#[derive(Debug)]
pub(super) enum Confirmed {
    /// Read, and answer.
    Read(Request),
    /// Answer what was evaluated before the quorum was asked, once the proposal that it depends on, if
    /// any, is applied.
    Answer(Outcome, Reply, Option<Position>),
}

impl Group {
    pub(super) fn new(hosted: Arc<Hosted>) -> Self {
        Self {
            replica: hosted.replica(),
            hosted,
            overlay: BTreeMap::new(),
            answers: BTreeMap::new(),
            reads: BTreeMap::new(),
            held: VecDeque::new(),
            serving: None,
        }
    }

    /// The newest version of an item, and the proposal that it depends on.
    pub(super) fn newest(&self, key: &[u8]) -> Result<(Option<StoredItem>, Option<LogIndex>), EngineError> {
        match self.overlay.get(key) {
            Some(proposed) => Ok((proposed.item.clone(), Some(proposed.index))),
            None => Ok((self.replica.get(key)?, None)),
        }
    }

    /// An effect was proposed at `index`; `outcome` is answered once it is applied.
    pub(super) fn proposed(&mut self, effect: Effect, at: Position, outcome: Outcome, reply: Reply) {
        self.overlay.insert(effect.key, Proposed { item: effect.item, index: at.index });
        self.wait(at, outcome, reply, true);
    }

    /// `outcome` was evaluated against what was proposed at `index`.
    pub(super) fn depends(&mut self, on: Position, outcome: Outcome, reply: Reply) {
        self.wait(on, outcome, reply, false);
    }

    fn wait(&mut self, at: Position, outcome: Outcome, reply: Reply, own: bool) {
        self.answers.entry(at.index).or_default().push(Waiting { term: at.term, outcome, reply, own });
    }

    /// Applies a committed entry, and answers what waited for it. Returns the callers whose proposals came to
    /// nothing: they go to the next leader.
    ///
    /// # Errors
    /// The entry is damaged: the replica must stop.
    pub(super) fn apply(&mut self, entry: Committed, now: Timestamp) -> Result<Vec<Reply>, EngineError> {
        let at = Position { index: entry.index, term: entry.term };
        if at.index <= self.replica.applied().position.index {
            // Recovered with the log, and in the checkpoint already.
            return Ok(Vec::new());
        }
        let effect = (!entry.payload.is_empty()).then(|| Effect::decode(entry.payload)).transpose()?;
        if let Some(effect) = &effect
            && self.overlay.get(&effect.key).is_some_and(|proposed| proposed.index <= at.index)
        {
            self.overlay.remove(&effect.key);
        }
        if let Some(effect) = &effect
            && self.serving.is_none()
        {
            self.hosted.throughput.applied(effect, now);
        }
        self.replica.apply(at, effect);
        Ok(self.answer(at))
    }

    fn answer(&mut self, applied: Position) -> Vec<Reply> {
        let mut turned = Vec::new();
        while let Some(first) = self.answers.first_entry()
            && *first.key() <= applied.index
        {
            let (index, waiting) = first.remove_entry();
            for waiting in waiting {
                let happened = index == applied.index && waiting.term == applied.term;
                if happened {
                    waiting.reply.outcome(waiting.outcome);
                } else if index < applied.index && waiting.own {
                    // Passed by a snapshot: it may be in it.
                    waiting.reply.refuse(StoreError::Indefinite);
                } else {
                    // Another leader's entry stands there: this one will never be committed.
                    turned.push(waiting.reply);
                }
            }
        }
        turned
    }

    /// A quorum confirmed a read at `index`.
    pub(super) fn confirmed(&mut self, index: LogIndex, what: Confirmed) {
        self.reads.entry(index).or_default().push(what);
    }

    /// Confirmed reads whose index is applied now.
    pub(super) fn due_reads(&mut self) -> Vec<Confirmed> {
        if self.reads.is_empty() {
            return Vec::new();
        }
        let later = self.reads.split_off(&self.replica.applied().position.index.next());
        std::mem::replace(&mut self.reads, later).into_values().flatten().collect()
    }

    /// This node leads no more. Proposals may still be committed by the next leader: their answers wait
    /// for that, until their callers give up.
    pub(super) fn leadership_lost(&mut self) {
        self.overlay.clear();
    }

    /// How many callers wait for something that another node must do first.
    pub(super) fn unanswered(&self) -> usize {
        self.held.len() + self.answers.values().map(Vec::len).sum::<usize>()
    }

    /// Drops what nobody waits for any more.
    pub(super) fn expire(&mut self, now: Timestamp) {
        self.held.retain(|held| !held.is_abandoned(now));
        for waiting in self.answers.values_mut() {
            waiting.retain(|waiting| !waiting.reply.is_abandoned(now));
        }
        self.answers.retain(|_, waiting| !waiting.is_empty());
        self.reads.retain(|_, reads| {
            reads.retain(|read| match read {
                Confirmed::Read(request) => !request.reply.is_abandoned(now),
                Confirmed::Answer(_, reply, _) => !reply.is_abandoned(now),
            });
            !reads.is_empty()
        });
    }

    /// The group is not hosted any more: answers everyone.
    pub(super) fn close(self) {
        for waiting in self.answers.into_values().flatten() {
            let error = if waiting.own { StoreError::Indefinite } else { StoreError::Unknown };
            waiting.reply.refuse(error);
        }
        for held in self.held {
            let (Held::Request(Request { reply, .. }) | Held::Turned(reply)) = held;
            reply.refuse(StoreError::Unknown);
        }
        for read in self.reads.into_values().flatten() {
            match read {
                Confirmed::Read(request) => request.reply.refuse(StoreError::Unknown),
                Confirmed::Answer(_, reply, _) => reply.refuse(StoreError::Unknown),
            }
        }
    }
}
