//! The lookups that wait to be sent to one MemDS server: when they go, in how large batches, and which are
//! dropped when they are too many or too old. Pure: the sender brings the clock.

use std::collections::VecDeque;
use std::time::Duration;

use units::Timestamp;

/// Lookups in one message, at most: what a MemDS server takes.
pub(super) const MAX_BATCH: usize = 512;
/// Lookups that wait, at most: 100 ms of 80,000 requests/s.
pub(super) const MAX_QUEUED: usize = 8192;
/// Batches whose answers are awaited, at most. While a server is slower, lookups gather: it gets larger
/// batches then, never more of them.
pub(super) const MAX_UNANSWERED: usize = 4;
/// How long background lookups wait for others to share their message: one is sent this long after the one
/// before, or after the first lookup when there was none to be sent.
pub(super) const LINGER: Duration = Duration::from_millis(8);

/// How old a lookup may become, in the queue and on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// A background lookup that is older is not sent: a server that comes back finds no backlog.
    pub(super) background: Duration,
    /// The same while the server is silent. What is younger when it comes back comes on top of its usual load:
    /// 2 % of a second's lookups, where the usual patience would be 10 %.
    pub(super) silent: Duration,
    /// One round of a lookup that is waited for.
    pub(super) waited: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            background: Duration::from_millis(100),
            silent: Duration::from_millis(20),
            waited: Duration::from_millis(250),
        }
    }
}

/// Whether somebody waits for the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Nobody does: it lingers, so that many share a message.
    Background,
    /// A request does: it goes at once, and takes along what is there.
    Waited,
}

/// The queue of one server.
#[derive(Debug)]
pub(super) struct LookupQueue<L> {
    background: VecDeque<Queued<L>>,
    waited: VecDeque<Queued<L>>,
    unanswered: usize,
    patience: Patience,
    silent: bool,
    /// When what is queued is sent, whatever it is.
    due: Timestamp,
    /// The sender does not look again on its own.
    sender_waits: bool,
}

#[derive(Debug)]
struct Queued<L> {
    lookup: L,
    since: Timestamp,
}

/// What came of a push.
#[derive(Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Pushed<L> {
    /// The sender must look at the queue now.
    pub(super) wake: bool,
    /// The oldest, which made room.
    pub(super) dropped: Option<L>,
}

/// What the sender does next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<L> {
    /// Waits to be woken: nothing is queued, or enough batches are unanswered.
    Wait,
    /// Waits so long, or to be woken.
    Linger(Duration),
    /// Sends them.
    Send(Batch<L>),
}

/// Lookups that share a message; those that somebody waits for come first.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Batch<L> {
    pub(super) lookups: Vec<L>,
    /// How long the answers are of use.
    pub(super) deadline: Duration,
}

impl<L> LookupQueue<L> {
    pub(super) const fn with_patience(patience: Patience) -> Self {
        Self {
            background: VecDeque::new(),
            waited: VecDeque::new(),
            unanswered: 0,
            patience,
            silent: false,
            due: Timestamp::from_nanos(0),
            sender_waits: true,
        }
    }

    /// Whether the server answers nothing at all: then background lookups are given up sooner.
    pub(super) const fn server_is_silent(&mut self, silent: bool) {
        self.silent = silent;
    }

    /// Queues a lookup. When the queue is full the oldest background lookup makes room, or, if there is none,
    /// the oldest of all.
    pub(super) fn push(&mut self, lookup: L, urgency: Urgency, now: Timestamp) -> Pushed<L> {
        let full = self.len() >= MAX_QUEUED;
        let oldest =
            if full { self.background.pop_front().or_else(|| self.waited.pop_front()) } else { None };
        let queued = Queued { lookup, since: now };
        let wake = match urgency {
            Urgency::Background => {
                self.background.push_back(queued);
                // A sender that lingers looks soon enough: in a busy proxy it is hardly ever woken.
                let begins = self.sender_waits && self.len() == 1;
                if begins {
                    self.due = now + LINGER;
                }
                begins || self.len() == MAX_BATCH
            }
            Urgency::Waited => {
                self.waited.push_back(queued);
                self.waited.len() == 1
            }
        };
        Pushed { wake, dropped: oldest.map(|oldest| oldest.lookup) }
    }

    /// What to do now; and the lookups that became too old, which are no longer queued.
    pub(super) fn next(&mut self, now: Timestamp) -> (Next<L>, Vec<L>) {
        let mut expired = Vec::new();
        let life = self.background_life();
        drop_older(&mut self.background, life, now, &mut expired);
        drop_older(&mut self.waited, self.patience.waited, now, &mut expired);
        let next = self.decide(now);
        self.sender_waits = matches!(next, Next::Wait);
        (next, expired)
    }

    /// A batch was answered, or never will be. Whether the sender must look at the queue now.
    pub(super) fn answered(&mut self) -> bool {
        self.unanswered = self.unanswered.checked_sub(1).expect("only what was sent is answered");
        self.sender_waits && self.len() > 0
    }

    fn background_life(&self) -> Duration {
        if self.silent { self.patience.silent } else { self.patience.background }
    }

    fn len(&self) -> usize {
        self.background.len() + self.waited.len()
    }

    fn decide(&mut self, now: Timestamp) -> Next<L> {
        if self.unanswered >= MAX_UNANSWERED {
            return Next::Wait;
        }
        if !self.waited.is_empty() || self.background.len() >= MAX_BATCH {
            return Next::Send(self.take(now));
        }
        let left = self.due.since(now);
        match (left.is_zero(), self.background.is_empty()) {
            (false, _) => Next::Linger(left),
            (true, true) => Next::Wait,
            (true, false) => Next::Send(self.take(now)),
        }
    }

    fn take(&mut self, now: Timestamp) -> Batch<L> {
        self.unanswered += 1;
        self.due = now + LINGER;
        let waited = self.waited.len().min(MAX_BATCH);
        let background = self.background.len().min(MAX_BATCH - waited);
        let mut lookups = Vec::with_capacity(waited + background);
        let mut deadline = Duration::ZERO;
        let life = self.background_life();
        let parts =
            [(&mut self.waited, waited, self.patience.waited), (&mut self.background, background, life)];
        for (queue, count, life) in parts {
            for queued in queue.drain(..count) {
                deadline = deadline.max(life.saturating_sub(now.since(queued.since)));
                lookups.push(queued.lookup);
            }
        }
        Batch { lookups, deadline }
    }
}

fn drop_older<L>(queue: &mut VecDeque<Queued<L>>, life: Duration, now: Timestamp, expired: &mut Vec<L>) {
    while let Some(oldest) = queue.pop_front_if(|oldest| now.since(oldest.since) >= life) {
        expired.push(oldest.lookup);
    }
}

#[cfg(test)]
mod tests;
