//! Pushes what this node's replicas know of their groups to one MemDS server: changes at once,
//! everything after a reconnect and every few seconds.

use std::sync::Arc;
use std::time::Duration;

use wire::method::PushRoutes;
use wire::proto::routing as proto;
use wire::transport::{Connection, ConnectionConfig};

use super::shared::Shared;
use crate::wire_form;

/// How often everything is pushed: what a server that lost a push learns late, at most.
const EVERYTHING: Duration = Duration::from_secs(5);
/// Changes of this long go together: a node that takes a thousand leaderships pushes a few times.
const GATHER: Duration = Duration::from_millis(10);
/// How long a push may take.
const DEADLINE: Duration = Duration::from_secs(2);

/// Pushes to the server at `memds` until the node stops.
pub(super) async fn run(shared: Arc<Shared>, address: String, memds: String) {
    let mut connection =
        Connection::open(&memds, ConnectionConfig::named(&format!("storage-{}", shared.node)));
    let mut reconnects = connection.clone();
    let mut changes = shared.route_changes();
    let mut pushed = None;
    loop {
        let newest = *changes.borrow_and_update();
        // A server that is away must not keep a stopping node.
        let push = push(&shared, &address, &mut connection, pushed);
        let Some(arrived) = shared.stopping.run_until_cancelled(push).await else { return };
        pushed = arrived.then_some(newest);
        tokio::select! {
            () = shared.stopping.cancelled() => return,
            () = reconnects.reconnected() => pushed = None,
            changed = changes.changed(), if pushed.is_some() => {
                if changed.is_err() {
                    return;
                }
                tokio::time::sleep(GATHER).await;
            }
            () = tokio::time::sleep(EVERYTHING) => pushed = None,
        }
    }
}

/// Pushes what changed after `since`; none: everything. Returns whether it arrived.
async fn push(shared: &Shared, address: &str, connection: &mut Connection, since: Option<u64>) -> bool {
    let replicas = shared.directory.all();
    let wanted = replicas.iter().filter(|hosted| since.is_none_or(|since| hosted.changed_since(since)));
    let message = proto::PushRoutes {
        node: Some(proto::Node {
            id: shared.node.get(),
            zone: shared.zone.get().into(),
            address: address.to_owned(),
            incarnation: shared.incarnation.get(),
        }),
        routes: wanted.map(|hosted| wire_form::route(&hosted.route())).collect(),
        complete: since.is_none(),
        waited_us: 0,
    };
    match connection.call::<PushRoutes>(&message, DEADLINE).await {
        Ok(_acknowledged) => true,
        Err(error) => {
            tracing::debug!(%error, "routes were not pushed");
            false
        }
    }
}
