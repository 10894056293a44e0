//! Eventually consistent reads that want a newer state than the replica has: they wait for it a little, and are
//! then told how far it is, so that another replica is asked.
//!
//! A proxy says how much of the partition's log the replica had applied that it read from before (`at_least`), so
//! that what it reads never goes back, whichever replicas answer.

use std::sync::Arc;
use std::time::Duration;

use dynamodb::operation::Operation;
use units::{LogIndex, Timestamp};

use super::hosted::Hosted;
use super::reply::Reply;
use super::service;
use super::shared::Shared;

/// How long a follower waits to catch up: longer than it takes a leader to tell its followers of a commit, at most
/// ([`COMMITS_TOLD_AFTER`](super::node_loop::COMMITS_TOLD_AFTER), and the way).
const PATIENCE: Duration = Duration::from_millis(20);

/// How long the leader waits. It may have applied less than a follower, for it applies only what is on its own disk
/// too, and a quorum of others may be quicker: it has what is wanted as soon as its disk has it.
const LEADERS_PATIENCE: Duration = Duration::from_millis(500);

/// How often it looks. A poll rather than a notice, which would cost every applied entry something.
const POLL: Duration = Duration::from_millis(1);

/// Reads that wait at once on a node. More are told at once: each is a task and a timer.
pub(super) const MOST_WAITING: usize = 4_096;

/// A read that wants more than the replica has.
#[derive(Debug)]
pub(super) struct LaggingRead {
    pub(super) hosted: Arc<Hosted>,
    pub(super) operation: Operation,
    pub(super) at_least: LogIndex,
    pub(super) reply: Reply,
}

impl LaggingRead {
    /// Waits until the replica has what is wanted, and reads; or says that it is behind.
    pub(super) fn wait(self, shared: &Arc<Shared>, now: Timestamp) {
        let Ok(permit) = Arc::clone(&shared.lagging_reads).try_acquire_owned() else {
            return self.give_up(now);
        };
        let shared = Arc::clone(shared);
        let runtime = shared.runtime.clone();
        drop(runtime.spawn(async move {
            let _permit = permit;
            let leads = self.hosted.lease.is_valid(now);
            let until = now + if leads { LEADERS_PATIENCE } else { PATIENCE };
            loop {
                tokio::time::sleep(POLL).await;
                let now = wire::clock::now();
                if self.reply.is_abandoned(now) {
                    return;
                }
                if self.hosted.has_applied(self.at_least) {
                    return service::admit(&shared, self.hosted, self.operation, self.reply, now);
                }
                if now >= until {
                    return self.give_up(now);
                }
            }
        }));
    }

    fn give_up(self, now: Timestamp) {
        // Not just behind, as a leader with a slow disk is: a client that is told so forgets what it has read.
        let leads = self.hosted.lease.leads_without(self.at_least, now);
        let applied = self.hosted.replica().applied().position.index;
        self.reply.behind(applied, leads);
    }
}
