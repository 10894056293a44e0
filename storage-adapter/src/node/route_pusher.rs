//! Pushes what this node's replicas know of their groups to one MemDS server: changes at once,
//! everything after a reconnect and every few seconds.

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
/// After a push that did not arrive, unless the connection comes back before.
const AGAIN_AFTER: Duration = Duration::from_millis(500);

/// Pushes to the server at `memds` until the node stops.
pub(super) async fn run(shared: Arc<Shared>, address: String, memds: String) {
    let config = ConnectionConfig::named(&format!("storage-{}", shared.node));
    let connection = Connection::open(&memds, config);
    let mut reconnects = connection.clone();
    let mut changes = shared.route_changes.subscribe();
    let mut pusher = Pusher { shared: Arc::clone(&shared), address, connection, arrived: 0 };
    let mut whole = true;
    let mut next_whole = wire::clock::now();
    loop {
        let newest = *changes.borrow_and_update();
        // A server that is away must not keep a stopping node.
        let push = pusher.push(newest, whole);
        let Some(arrived) = shared.stopping.run_until_cancelled(push).await else { return };
        if whole && arrived {
            next_whole = wire::clock::now() + at_most(EVERYTHING);
        }
        let pause = if arrived { next_whole.since(wire::clock::now()) } else { AGAIN_AFTER };
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = reconnects.reconnected() => whole = true,
            changed = changes.changed(), if arrived => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
                whole = next_whole <= wire::clock::now();
            }
            () = tokio::time::sleep(pause) => whole = true,
        }
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

/// Between half of `longest` and all of it. A system without randomness gives no spread.
fn at_most(longest: Duration) -> Duration {
    let drawn = rand::rngs::OsRng.try_next_u32().unwrap_or(u32::MAX / 2);
    (longest / 2).mul_f64(1.0 + f64::from(drawn) / f64::from(u32::MAX))
}
