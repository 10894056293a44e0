//! Pushes what this node's replicas know of their groups to one MemDS server: changes at once,
//! everything after a reconnect and every few seconds. What did not arrive is pushed again, and no more than
//! that: a server that is slow to take a change is not sent thousands of routes for it.

use std::sync::Arc;
use std::time::Duration;

use rand::TryRngCore;
use units::Timestamp;
use wire::method::PushRoutes;
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

use super::hosted::Hosted;
use super::shared::Shared;
use crate::wire_form;

/// Everything is pushed at least so often: what a server that lost a push learns late, at most. The interval
/// is drawn anew each time, from half of this on, so that nodes that started together do not push together.
const EVERYTHING: Duration = Duration::from_secs(5);
/// Changes of this long go together: a node that takes a thousand leaderships pushes a few times.
const GATHER: Duration = Duration::from_millis(10);
/// How long a push may take.
const DEADLINE: Duration = Duration::from_secs(2);
/// After a push that did not arrive, unless the connection comes back before; twice as long after each
/// further one.
const AGAIN_AFTER: Duration = Duration::from_millis(500);
/// The longest pause after a push that did not arrive. Drawn, like the interval above, from half of it on.
const AGAIN_AFTER_AT_MOST: Duration = Duration::from_secs(5);

/// Pushes to the server at `memds` until the node stops.
pub(super) async fn run(shared: Arc<Shared>, address: String, memds: String) {
    let config = ConnectionConfig::named(&format!("storage-{}", shared.node));
    let connection = Connection::open(&memds, config);
    let mut reconnects = connection.clone();
    let mut changes = shared.route_changes.subscribe();
    let mut pusher = Pusher { shared: Arc::clone(&shared), address, connection, arrived: 0 };
    let mut pace = Pace::beginning(wire::clock::now());
    loop {
        let newest = *changes.borrow_and_update();
        // A server that is away must not keep a stopping node.
        let push = pusher.push(newest, pace.whole);
        let Some(arrived) = shared.stopping.run_until_cancelled(push).await else { return };
        let pause = pace.pushed(arrived, drawn(), wire::clock::now());
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = reconnects.reconnected() => pace.whole = true,
            changed = changes.changed(), if arrived => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
                pace.goes_on(wire::clock::now());
            }
            () = tokio::time::sleep(pause) => pace.goes_on(wire::clock::now()),
        }
    }
}

/// When to push what to one server.
#[derive(Debug)]
struct Pace {
    /// The next push is of everything, not only of changes. It stays so until such a push has arrived.
    whole: bool,
    next_whole: Timestamp,
    again_after: Duration,
}

impl Pace {
    const fn beginning(now: Timestamp) -> Self {
        Self { whole: true, next_whole: now, again_after: AGAIN_AFTER }
    }

    /// A push has ended. Returns when to push next although nothing changes. `drawn`: between 0 and 1.
    fn pushed(&mut self, arrived: bool, drawn: f64, now: Timestamp) -> Duration {
        if !arrived {
            let pause = at_most(self.again_after, drawn);
            self.again_after = (self.again_after * 2).min(AGAIN_AFTER_AT_MOST);
            return pause;
        }
        self.again_after = AGAIN_AFTER;
        if std::mem::take(&mut self.whole) {
            self.next_whole = now + at_most(EVERYTHING, drawn);
        }
        self.next_whole.since(now)
    }

    /// It is time to push again, or something changed.
    fn goes_on(&mut self, now: Timestamp) {
        self.whole |= self.next_whole <= now;
    }
}

/// One server's pusher.
struct Pusher {
    shared: Arc<Shared>,
    address: String,
    connection: Connection,
    /// The changes that have arrived at the server, by their count.
    arrived: u64,
}

impl Pusher {
    /// Pushes everything, or what changed since the last push that arrived. Returns whether it arrived.
    async fn push(&mut self, newest: u64, whole: bool) -> bool {
        let message = self.message(whole, wire::clock::now());
        match self.connection.call::<PushRoutes>(&message, DEADLINE).await {
            Ok(_acknowledged) => {
                self.arrived = newest;
                true
            }
            Err(error) => {
                tracing::debug!(%error, "routes were not pushed");
                false
            }
        }
    }

    fn message(&self, whole: bool, now: Timestamp) -> proto::PushRoutes {
        let replicas = self.shared.directory.all();
        let wanted = |hosted: &&Arc<Hosted>| whole || hosted.changed_since(self.arrived);
        let waited = self.shared.route_changes.waited(self.arrived, now);
        proto::PushRoutes {
            node: Some(proto::Node {
                id: self.shared.node.get(),
                zone: self.shared.zone.get().into(),
                address: self.address.clone(),
                incarnation: self.shared.incarnation.get(),
            }),
            routes: replicas.iter().filter(wanted).map(|hosted| wire_form::route(&hosted.route())).collect(),
            complete: whole,
            waited_us: u64::try_from(waited.as_micros()).unwrap_or(u64::MAX),
        }
    }
}

/// Between half of `longest` and all of it.
fn at_most(longest: Duration, drawn: f64) -> Duration {
    (longest / 2).mul_f64(1.0 + drawn)
}

/// Between 0 and 1. A system without randomness gives no spread.
fn drawn() -> f64 {
    let drawn = rand::rngs::OsRng.try_next_u32().unwrap_or(u32::MAX / 2);
    f64::from(drawn) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_nanos(3_600_000_000_000);

    #[test]
    fn changes_that_did_not_arrive_are_pushed_again_and_not_everything() {
        let mut pace = after_everything();
        let mut now = START;
        for _ in 0..2 {
            now = now + pace.pushed(false, 0.0, now);
            pace.goes_on(now);
            assert!(!pace.whole);
        }
        // Unless everything is due meanwhile.
        pace.goes_on(START + EVERYTHING);
        assert!(pace.whole);
    }

    #[test]
    fn everything_that_did_not_arrive_is_pushed_again() {
        let mut pace = after_everything();
        // Before it is due: the connection is a new one.
        pace.whole = true;
        pace.pushed(false, 0.5, START);
        pace.goes_on(START);
        assert!(pace.whole);
        pace.pushed(true, 0.5, START);
        pace.goes_on(START);
        assert!(!pace.whole);
    }

    #[test]
    fn each_failure_doubles_the_pause_up_to_its_bound_and_an_arrival_ends_that() {
        let mut pace = after_everything();
        let pauses = [(); 6].map(|()| pace.pushed(false, 1.0, START).as_millis());
        assert_eq!(pauses, [500, 1_000, 2_000, 4_000, 5_000, 5_000]);
        assert_eq!(pace.pushed(false, 0.0, START).as_millis(), 2_500, "the least that is drawn");
        assert_eq!(pace.pushed(true, 1.0, START), EVERYTHING, "until everything is due");
        assert_eq!(pace.pushed(false, 1.0, START), AGAIN_AFTER);
    }

    /// Everything has just arrived, and is due again as late as may be.
    fn after_everything() -> Pace {
        let mut pace = Pace::beginning(START);
        assert!(pace.whole);
        assert_eq!(pace.pushed(true, 1.0, START), EVERYTHING);
        assert!(!pace.whole);
        pace
    }
}
