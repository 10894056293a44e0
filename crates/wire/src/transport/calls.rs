//! The calls that wait for their answers: a slab, so that a call costs no allocation of its own.

use std::panic::AssertUnwindSafe;
use std::task::{Poll, Waker};

use bytes::Bytes;
use units::Timestamp;

use super::CallError;

/// A call's number on the wire: the slot in the low half, the slot's generation in the high half, so
/// that a late answer never reaches the slot's next call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CallId(pub(super) u64);

impl CallId {
    fn new(slot: u32, generation: u32) -> Self {
        Self(u64::from(generation) << 32 | u64::from(slot))
    }

    const fn slot(self) -> usize {
        (self.0 & 0xffff_ffff) as usize
    }

    const fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// What a call ends with.
pub(super) type Answer = Result<Bytes, CallError>;

/// What a detached call does with its answer.
pub(super) type OnAnswer = Box<dyn FnOnce(Answer) + Send>;

/// Who waits for a call.
pub(super) enum Waiter {
    /// A task.
    Task(Waker),
    /// Nobody: this runs with the answer.
    Detached(OnAnswer),
}

/// What remains to be done, once the table's lock is released, for a call that has ended.
#[must_use]
pub(super) enum Completion {
    /// The task takes the answer from the table.
    Wake(Waker),
    /// Run it.
    Run(OnAnswer, Answer),
}

impl Completion {
    /// Does it.
    pub(super) fn run(self) {
        match self {
            Self::Wake(waker) => waker.wake(),
            Self::Run(on_answer, answer) => {
                // A panic costs this call, never the connection whose task this is.
                if std::panic::catch_unwind(AssertUnwindSafe(|| on_answer(answer))).is_err() {
                    tracing::error!("a detached call's callback panicked");
                }
            }
        }
    }
}

enum State {
    Free,
    Waiting(Waiter),
    Answered(Answer),
}

struct Slot {
    generation: u32,
    expires: Timestamp,
    state: State,
}

/// The table.
pub(super) struct Calls {
    slots: Vec<Slot>,
    free: Vec<u32>,
    /// Slots whose call has no answer yet.
    waiting: usize,
    limit: usize,
}

impl Calls {
    /// A table of at most `limit` calls.
    pub(super) const fn with_limit(limit: usize) -> Self {
        Self { slots: Vec::new(), free: Vec::new(), waiting: 0, limit }
    }

    /// How many have begun and not been taken or dropped.
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    /// How many have no answer yet.
    pub(super) const fn waiting(&self) -> usize {
        self.waiting
    }

    /// Begins a call; none: the table is full.
    pub(super) fn begin(&mut self, waiter: Waiter, expires: Timestamp) -> Option<CallId> {
        if self.len() >= self.limit {
            return None;
        }
        let index = self.free.pop().unwrap_or_else(|| {
            let index = u32::try_from(self.slots.len()).expect("in_flight is far below 2^32");
            self.slots.push(Slot { generation: 0, expires, state: State::Free });
            index
        });
        let slot = &mut self.slots[index as usize];
        // 0 never names a call.
        slot.generation = slot.generation.wrapping_add(1).max(1);
        slot.expires = expires;
        slot.state = State::Waiting(waiter);
        self.waiting += 1;
        Some(CallId::new(index, slot.generation))
    }

    /// When the call's deadline is, if it still waits.
    pub(super) fn waits_until(&self, id: CallId) -> Option<Timestamp> {
        let slot = self.slots.get(id.slot())?;
        let waits = slot.generation == id.generation() && matches!(slot.state, State::Waiting(_));
        waits.then_some(slot.expires)
    }

    /// Ends a call with `answer`; none: nobody waits for it any more.
    pub(super) fn complete(&mut self, id: CallId, answer: Answer) -> Option<Completion> {
        self.waits_until(id)?;
        self.complete_slot(id.slot(), answer)
    }

    /// Takes the answer, or leaves the waker.
    pub(super) fn poll(&mut self, id: CallId, waker: &Waker) -> Poll<Answer> {
        let slot = &mut self.slots[id.slot()];
        assert_eq!(slot.generation, id.generation(), "a call's slot is its own until it takes the answer");
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Answered(answer) => {
                self.release(id.slot());
                Poll::Ready(answer)
            }
            State::Waiting(Waiter::Task(mut known)) => {
                known.clone_from(waker);
                slot.state = State::Waiting(Waiter::Task(known));
                Poll::Pending
            }
            State::Waiting(Waiter::Detached(_)) | State::Free => {
                unreachable!("only a task polls, and only until it has its answer")
            }
        }
    }

    /// Gives a call up. Whether it was still waiting.
    pub(super) fn abandon(&mut self, id: CallId) -> bool {
        let waiting = self.waits_until(id).is_some();
        self.waiting -= usize::from(waiting);
        self.slots[id.slot()].state = State::Free;
        self.release(id.slot());
        waiting
    }

    /// Ends every waiting call whose deadline has passed with `answer`, telling which.
    pub(super) fn expire(
        &mut self,
        now: Timestamp,
        answer: &Answer,
        mut expired: impl FnMut(CallId, Completion),
    ) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            if matches!(slot.state, State::Waiting(_)) && slot.expires <= now {
                let id = CallId::new(u32::try_from(index).expect("slots are few"), slot.generation);
                if let Some(completion) = self.complete_slot(index, answer.clone()) {
                    expired(id, completion);
                }
            }
        }
    }

    fn complete_slot(&mut self, index: usize, answer: Answer) -> Option<Completion> {
        let slot = &mut self.slots[index];
        match std::mem::replace(&mut slot.state, State::Free) {
            State::Waiting(Waiter::Task(waker)) => {
                slot.state = State::Answered(answer);
                self.waiting -= 1;
                Some(Completion::Wake(waker))
            }
            State::Waiting(Waiter::Detached(on_answer)) => {
                self.waiting -= 1;
                self.release(index);
                Some(Completion::Run(on_answer, answer))
            }
            other => {
                slot.state = other;
                None
            }
        }
    }

    fn release(&mut self, index: usize) {
        self.free.push(u32::try_from(index).expect("slots are few"));
    }
}

impl std::fmt::Debug for Calls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Calls").field("waiting", &self.len()).field("limit", &self.limit).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task() -> Waiter {
        Waiter::Task(Waker::noop().clone())
    }

    const LATER: Timestamp = Timestamp::from_nanos(100);

    #[test]
    fn a_late_answer_never_reaches_the_slots_next_call() {
        let mut calls = Calls::with_limit(1);
        let first = calls.begin(task(), LATER).expect("one fits");
        assert!(calls.abandon(first));
        let second = calls.begin(task(), LATER).expect("the slot is free again");
        assert!(calls.complete(first, Ok(Bytes::from_static(b"late"))).is_none());
        assert!(calls.poll(second, Waker::noop()).is_pending());
    }

    #[test]
    fn the_table_is_bounded_and_its_slots_come_back() {
        let mut calls = Calls::with_limit(2);
        let first = calls.begin(task(), LATER).expect("the first fits");
        assert!(calls.begin(task(), LATER).is_some());
        assert!(calls.begin(task(), LATER).is_none());
        assert!(calls.complete(first, Err(CallError::Disconnected)).is_some());
        assert_eq!(calls.poll(first, Waker::noop()), Poll::Ready(Err(CallError::Disconnected)));
        assert!(calls.begin(task(), LATER).is_some());
    }

    #[test]
    fn a_call_waits_until_its_answer_or_its_end() {
        let mut calls = Calls::with_limit(3);
        let ids: Vec<_> = (0..3).map(|_| calls.begin(task(), LATER).expect("three fit")).collect();
        assert_eq!(calls.waiting(), 3);
        assert!(calls.complete(ids[0], Ok(Bytes::new())).is_some());
        assert_eq!((calls.waiting(), calls.len()), (2, 3), "its answer was not taken yet");
        assert!(!calls.abandon(ids[0]));
        assert!(calls.abandon(ids[1]));
        calls.expire(LATER, &Err(CallError::Timeout), |_, _| {});
        assert_eq!(calls.waiting(), 0);
    }

    #[test]
    fn only_overdue_calls_expire_and_only_once() {
        let mut calls = Calls::with_limit(4);
        let early = calls.begin(task(), Timestamp::from_nanos(10)).expect("fits");
        let late = calls.begin(task(), Timestamp::from_nanos(20)).expect("fits");
        for _ in 0..2 {
            let mut expired = Vec::new();
            calls.expire(Timestamp::from_nanos(10), &Err(CallError::Timeout), |id, _| expired.push(id));
            assert!(expired.is_empty() || expired == [early]);
        }
        assert_eq!(calls.poll(early, Waker::noop()), Poll::Ready(Err(CallError::Timeout)));
        assert!(calls.poll(late, Waker::noop()).is_pending());
    }
}
