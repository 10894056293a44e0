//! Who runs the node's loop: whoever brings it something to do, if nobody runs it just then.
//!
//! A queue to a thread of its own costs two switches of threads per write and node, more than the work itself. So
//! the transport's task that has queued a frame's requests, and the log's thread that has synced, take a turn
//! themselves. Those who find somebody at it leave their input to them: who has had a turn looks again whether
//! there is more. The loop's thread lets time pass, takes over where turns go on for too long, and does what may
//! block: hosting and dropping replicas, installing snapshots, stopping.

use std::sync::Arc;

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
        for _ in 0..TURNS_IN_A_ROW {
            if !self.inbox.has_inputs() {
                return;
            }
            // Whoever has it now looks at the queue again after having let go of it.
            let Some(mut node) = self.turns.0.try_lock() else { return };
            let Some(running) = node.as_mut() else { return };
            let may_go_on = !self.failed.is_cancelled() && {
                let _whole = FailsIfPanicking(self);
                running.quick_turn()
            };
            if !may_go_on {
                break;
            }
        }
        self.inbox.call_thread();
    }

    /// The loop's own thread.
    pub(super) fn run_loop(self: &Arc<Self>) {
        let mut patience = std::time::Duration::ZERO;
        loop {
            let stops = self.inbox.wait(patience);
            let mut node = self.turns.0.lock();
            let Some(running) = node.as_mut() else { return };
            if !stops {
                let _whole = FailsIfPanicking(self);
                patience = running.turn();
            }
            if stops || self.failed.is_cancelled() {
                let ended = node.take();
                // The log's thread, which is joined, may be about to look for a turn.
                drop(node);
                return ended.into_iter().for_each(NodeLoop::stop);
            }
        }
    }
}

/// A turn that panics leaves groups in the middle of something: the node must not go on with them.
struct FailsIfPanicking<'a>(&'a Shared);

impl Drop for FailsIfPanicking<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.fail("the node's loop panicked");
        }
    }
}
