//! The loop's one queue: everything that the node's core must know comes through here. It wakes nobody for what
//! is quick: whoever offers it sees to it that a turn is taken ([`super::turns`]).

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use replication::{Envelope, GroupMessage, HandOverRefused, PersistSequence, Position};
use tokio::sync::oneshot;
use units::{NodeId, PartitionId};

use super::assignment::Assignment;
use super::request::Request;
use crate::engine::{Checkpoint, Entry};

/// Envelopes that may wait: one per node and tick and group message burst. More are dropped, as the
/// network may do; the groups send again.
const ENVELOPES: usize = 4_096;

/// Inputs that another thread than the loop's takes in one turn. When more have gathered, the loop's thread takes
/// them all.
pub(super) const MOST_QUICK: usize = 256;

/// What happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// An operation that only the loop can execute: a write, or a read without a lease.
    Request(Request),
    /// Another node's messages.
    Envelope(NodeId, Envelope),
    /// The log is durable up to here.
    Persisted(PersistSequence, u64),
    /// Segments were reclaimed; these groups hold the next one back.
    Reclaimed(Vec<PartitionId>),
    /// Replicas to host, recorded in the manifest already.
    Open(Vec<Assignment>, oneshot::Sender<()>),
    /// Replicas to host no longer.
    Close(BTreeSet<PartitionId>, oneshot::Sender<()>),
    /// A replica's file holds everything up to here.
    Checkpointed(PartitionId, Position),
    /// All replicas of a round were checkpointed.
    CheckpointRoundDone,
    /// A snapshot arrived and is durable.
    SnapshotReceived(Box<ReceivedSnapshot>),
    /// A snapshot that this node sent was stored, or was not.
    SnapshotSent { group: PartitionId, to: NodeId, stored: bool },
    /// Hand leadership over, and say when it is done.
    TransferAll,
    /// Begin to hand these leaderships over, each to the first fit of its candidates; answers in order.
    HandOver(Vec<(PartitionId, Vec<NodeId>)>, oneshot::Sender<Vec<Result<NodeId, HandOverRefused>>>),
    /// What others still need of this node before it may stop.
    Owed(oneshot::Sender<Owed>),
    /// A deliberate mistake: the turn that takes it panics.
    #[cfg(test)]
    Panic { is_quick: bool },
}

impl Input {
    /// Whether any thread may take it: it takes microseconds, but for a write whose item must be read from a file
    /// (see [`super::turns`]).
    const fn is_quick(&self) -> bool {
        match self {
            Self::Request(_) | Self::Envelope(..) | Self::Persisted(..) => true,
            #[cfg(test)]
            Self::Panic { is_quick } => *is_quick,
            _ => false,
        }
    }
}

/// What others still need of a node that is to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owed {
    /// Groups that it leads and that another member could lead.
    pub(crate) leaderships: usize,
    /// Callers that wait for the outcome of what it proposed, or for the next leader's name.
    pub(crate) answers: usize,
    /// Groups of which it could not yet say who leads them.
    pub(crate) leaderless: usize,
}

/// A snapshot whose data are durable beside the replica's file.
#[derive(Debug)]
pub(crate) struct ReceivedSnapshot {
    pub(crate) message: GroupMessage,
    pub(crate) data: SnapshotData,
    /// Whether it was taken.
    pub(crate) taken: oneshot::Sender<bool>,
}

/// Where a received snapshot's items are.
#[derive(Debug)]
pub(crate) enum SnapshotData {
    /// In a file beside the replica's.
    File(PathBuf),
    /// In memory, on a node without files.
    Memory(Vec<Entry>, Checkpoint),
}

/// A bounded queue with one reader at a time.
#[derive(Debug)]
pub(crate) struct Inbox {
    state: Mutex<State>,
    arrived: Condvar,
    requests: usize,
}

#[derive(Debug, Default)]
struct State {
    inputs: Vec<Input>,
    requests: usize,
    envelopes: usize,
    /// Among the inputs is one that only the loop's thread may take.
    slow: bool,
    /// The loop's thread is to look.
    called: bool,
    stops: bool,
    closed: bool,
}

impl Inbox {
    /// An empty inbox that takes so many requests at a time.
    pub(crate) fn new(requests: usize) -> Self {
        Self { state: Mutex::default(), arrived: Condvar::new(), requests }
    }

    /// Takes a request, or gives it back: too many wait, or the loop has ended.
    #[expect(
        clippy::result_large_err,
        reason = "the request is given back as it came; it is moved either way"
    )]
    pub(crate) fn offer(&self, request: Request) -> Result<(), Request> {
        let mut state = self.state.lock();
        if state.closed || state.requests >= self.requests {
            return Err(request);
        }
        state.requests += 1;
        state.inputs.push(Input::Request(request));
        Ok(())
    }

    /// Takes another node's messages, or drops them.
    pub(crate) fn offer_envelope(&self, from: NodeId, envelope: Envelope) {
        let mut state = self.state.lock();
        if state.closed || state.envelopes >= ENVELOPES {
            return;
        }
        state.envelopes += 1;
        state.inputs.push(Input::Envelope(from, envelope));
    }

    /// Takes an event of the node itself: there are few at a time, and none may be lost. The loop's thread is
    /// called for what is not quick.
    pub(crate) fn push(&self, input: Input) {
        let mut state = self.state.lock();
        if state.closed {
            return;
        }
        let slow = !input.is_quick();
        state.slow |= slow;
        state.called |= slow;
        state.inputs.push(input);
        drop(state);
        if slow {
            self.arrived.notify_one();
        }
    }

    /// Has the loop's thread look, if there is anything.
    pub(crate) fn call_thread(&self) {
        let mut state = self.state.lock();
        if state.inputs.is_empty() {
            return;
        }
        state.called = true;
        drop(state);
        self.arrived.notify_one();
    }

    /// Has the loop's thread look, whether there is anything or not.
    pub(crate) fn rouse(&self) {
        self.state.lock().called = true;
        self.arrived.notify_one();
    }

    /// Has the loop's thread stop.
    pub(crate) fn stop(&self) {
        self.state.lock().stops = true;
        self.arrived.notify_one();
    }

    /// Whether anything waits.
    pub(crate) fn has_inputs(&self) -> bool {
        !self.state.lock().inputs.is_empty()
    }

    /// Waits until the loop's thread is called, `patience` at most; whether it is to stop.
    pub(crate) fn wait(&self, patience: Duration) -> bool {
        let mut state = self.state.lock();
        if state.inputs.is_empty() && !state.called && !state.stops && !patience.is_zero() {
            self.arrived.wait_for(&mut state, patience);
        }
        state.called = false;
        state.stops
    }

    /// Takes all that arrived into `inputs`.
    pub(crate) fn take(&self, inputs: &mut Vec<Input>) {
        self.state.lock().take(inputs);
    }

    /// Takes all that arrived into `inputs`, unless some of it is not quick, or it is much: then nothing. Whether
    /// it did.
    pub(crate) fn take_quick(&self, inputs: &mut Vec<Input>) -> bool {
        let mut state = self.state.lock();
        let may = !state.slow && !state.stops && state.inputs.len() <= MOST_QUICK;
        if may {
            state.take(inputs);
        }
        may
    }

    /// Takes nothing any more. What waits is dropped, which answers it.
    pub(crate) fn close(&self) {
        let inputs = {
            let mut state = self.state.lock();
            state.closed = true;
            std::mem::take(&mut state.inputs)
        };
        drop(inputs);
    }
}

impl State {
    fn take(&mut self, inputs: &mut Vec<Input>) {
        std::mem::swap(&mut self.inputs, inputs);
        self.requests = 0;
        self.envelopes = 0;
        self.slow = false;
    }
}
