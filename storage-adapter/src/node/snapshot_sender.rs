//! Streams a replica to a node that needs it, a chunk at a time, each answered when it is durable there.

use std::sync::Arc;
use std::time::Duration;

use admission::CapacityKind;
use bytes::Bytes;
use dynamodb::capacity;
use replication::SendSnapshot;
use wire::method::InstallChunk;
use wire::proto::replication::SnapshotChunk;
use wire::transport::Connection;

use super::inbox::Input;
use super::replication_form;
use super::shared::Shared;
use super::snapshot_receiver::chunk_crc;
use crate::engine::{Entry, ReplicaView};
use crate::metrics;

/// Bytes of items in a chunk, roughly: 1 GB is a thousand chunks.
const CHUNK_BYTES: usize = 1 << 20;
/// How long the receiver may take for one chunk: a slow disk writes 1 MiB in far less.
const CHUNK_DEADLINE: Duration = Duration::from_secs(20);

/// How long a chunk waits behind customers' reads at most: the receiver's old data age meanwhile.
const PATIENCE: Duration = Duration::from_secs(10);

/// Sends `view` as `snapshot` says, and reports to the loop what came of it.
pub(super) async fn send(shared: Arc<Shared>, view: ReplicaView, snapshot: SendSnapshot) {
    let (group, to) = (snapshot.group, snapshot.to);
    let stored = tokio::select! {
        sent = stream(&shared, view, snapshot) => sent,
        () = shared.stopping.cancelled() => Err("the node is stopping".to_owned()),
    };
    if let Err(reason) = &stored {
        tracing::warn!(%group, %to, reason, "a snapshot was not sent");
    }
    metrics::snapshot(if stored.is_ok() { "sent" } else { "failed" });
    shared.inbox.push(Input::SnapshotSent { group, to, stored: stored.is_ok() });
}

async fn stream(shared: &Arc<Shared>, view: ReplicaView, snapshot: SendSnapshot) -> Result<(), String> {
    let _permit = shared.snapshots.acquire().await.map_err(|error| error.to_string())?;
    let connection = shared.peers.connection(snapshot.to).ok_or("the receiver's address is unknown")?;
    let view = Arc::new(view);
    let totals = view.checkpoint();
    let transfer = wire::clock::now().as_nanos();
    let mut after: Option<Bytes> = None;
    let mut number = 0;
    loop {
        let reader = Arc::clone(&view);
        let read = move || reader.chunk(after.as_deref(), CHUNK_BYTES);
        let chunk = tokio::task::spawn_blocking(read).await.map_err(|error| error.to_string())?;
        let (entries, next) = chunk.map_err(|error| error.to_string())?;
        let mut chunk = to_wire(entries);
        chunk.group = snapshot.group.get();
        chunk.from_node = shared.node.get();
        chunk.transfer = transfer;
        chunk.number = number;
        chunk.last = next.is_none();
        if chunk.last {
            chunk.message = Some(replication_form::message(snapshot.message.clone()));
            chunk.items = totals.items;
            chunk.bytes = totals.bytes;
        }
        let cost = capacity::read_cost(chunk.values.iter().map(|value| value.len() as u64).sum(), true);
        shared.throughput.background(CapacityKind::Read, cost, PATIENCE, &shared.stopping).await;
        deliver(&connection, &chunk).await?;
        let Some(next) = next else { return Ok(()) };
        after = Some(next);
        number += 1;
    }
}

async fn deliver(connection: &Connection, chunk: &SnapshotChunk) -> Result<(), String> {
    let answer = connection.call::<InstallChunk>(chunk, CHUNK_DEADLINE).await;
    answer.map(drop).map_err(|error| error.to_string())
}

fn to_wire(entries: Vec<Entry>) -> SnapshotChunk {
    let mut chunk = SnapshotChunk::default();
    for (key, item) in entries {
        let mut value = Vec::with_capacity(item.bytes.len() + 4);
        item.write_to(&mut value);
        chunk.keys.push(key);
        chunk.values.push(value.into());
    }
    chunk.crc32c = chunk_crc(&chunk.keys, &chunk.values);
    chunk
}
