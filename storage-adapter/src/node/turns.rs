//! Who runs the node's loop: whoever brings it something to do, if nobody runs it just then.
//!
//! A queue to a thread of its own costs two switches of threads per write and node, more than the work itself. So
//! the transport's task that has queued a frame's requests, and the log's thread that has synced, take a turn
//! themselves. Those who find somebody at it leave their input to them: who has had a turn looks again whether
//! there is more. The loop's thread lets time pass, takes over where turns go on for too long or much has gathered,
//! and does what may block: hosting and dropping replicas, installing snapshots, stopping.
//!
//! One thing that may block is done on any thread: a write is evaluated against its item, which is read from the
//! replica's file when it is not among what was changed since the last checkpoint. Whether the page is in memory
//! cannot be told beforehand; most are, and single items are read on the transport's tasks anyway. A turn on
//! another thread than the loop's reads at most as many as it takes inputs
//! ([`MOST_QUICK`](super::inbox::MOST_QUICK)).

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use super::node_loop::NodeLoop;
use super::shared::Shared;

/// Turns that a task of the transport takes in a row before it goes back to its own work.
const TURNS_IN_A_ROW: usize = 8;

/// The loop's state, while it runs.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Option<NodeLoop>>);

impl Turns {
    /// The loop begins.
    pub(super) fn begin(&self, node: NodeLoop) {
        *self.0.lock() = Some(node);
    }
}

impl Shared {
    /// Has what was queued done: here and now, unless somebody is at it.
    pub(crate) fn take_turns(&self) {
        self.take_turns_up_to(TURNS_IN_A_ROW);
    }

    /// The same for a thread that others wait for: one turn at most.
    pub(crate) fn take_a_turn(&self) {
        self.take_turns_up_to(1);
    }

    fn take_turns_up_to(&self, most: usize) {
        for _ in 0..most {
            if !self.inbox.has_inputs() {
                return;
            }
            // Whoever has it now looks at the queue again after having let go of it.
            let Some(mut node) = self.turns.0.try_lock() else { return };
            let Some(running) = node.as_mut() else { return };
            let may_go_on = !self.failed.is_cancelled() && self.whole(|| running.quick_turn()) == Some(true);
            if !may_go_on {
                break;
            }
        }
        self.inbox.call_thread();
    }

    /// The loop's own thread.
    pub(super) fn run_loop(self: &Arc<Self>) {
        let mut patience = Duration::ZERO;
        loop {
            let mut stops = self.inbox.wait(patience);
            let mut node = self.turns.0.lock();
            let Some(running) = node.as_mut() else { return };
            // Looked at before the turn, not only after it: what another thread's turn left behind when it
            // panicked must not be gone on with.
            if !stops && !self.failed.is_cancelled() {
                match self.whole(|| running.turn()) {
                    Some(until_next) => patience = until_next,
                    None => stops = true,
                }
            }
            if stops || self.failed.is_cancelled() {
                let ended = node.take();
                // The log's thread, which is joined, may be about to look for a turn.
                drop(node);
                return ended.into_iter().for_each(NodeLoop::stop);
            }
        }
    }

    /// Takes a turn. One that panics leaves groups in the middle of something: the node must not go on with them.
    fn whole<T>(&self, turn: impl FnOnce() -> T) -> Option<T> {
        let taken = catch_unwind(AssertUnwindSafe(turn)).ok();
        if taken.is_none() {
            self.fail("the node's loop panicked");
        }
        taken
    }
}
