//! Receives snapshots: builds the new file beside the old one, then hands it to the loop.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use admission::CapacityKind;
use bytes::Bytes;
use dynamodb::capacity;
use parking_lot::Mutex;
use replication::GroupMessage;
use tokio::sync::oneshot;
use units::PartitionId;
use wire::proto::replication::SnapshotChunk;

use super::inbox::{Input, ReceivedSnapshot, SnapshotData};
use super::replication_form;
use super::shared::Shared;
use crate::engine::{Checkpoint, EngineError, Entry, StoredItem, TreeBuilder};

/// How long a chunk waits behind customers' writes at most: half of what its sender allows for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// Transfers in the making, at most one per group.
#[derive(Debug, Default)]
pub(crate) struct SnapshotReceiver {
    transfers: Mutex<BTreeMap<PartitionId, Arc<Mutex<Transfer>>>>,
}

#[derive(Debug)]
struct Transfer {
    number: u64,
    from: u64,
    next_chunk: u32,
    target: Target,
}

#[derive(Debug)]
enum Target {
    File(Option<TreeBuilder>),
    Memory(Vec<Entry>),
}

/// Why a chunk was not taken. The sender begins again.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChunkError {
    /// It makes no sense, is damaged, or is not the next of its transfer.
    #[error("the chunk is not acceptable: {0}")]
    Refused(&'static str),
    /// This node could not store it.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// What the last chunk completes.
type Completed = (GroupMessage, SnapshotData);

/// CRC32C over a chunk's keys and values, each with its length.
pub(super) fn chunk_crc(keys: &[Bytes], values: &[Bytes]) -> u32 {
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    for part in keys.iter().zip(values).flat_map(|(key, value)| [key, value]) {
        digest.update(&(part.len() as u64).to_le_bytes());
        digest.update(part);
    }
    u32::try_from(digest.finalize()).expect("a CRC32C has 32 bits")
}

/// Stores a chunk durably. Returns whether the snapshot, if complete, was taken by the group.
///
/// # Errors
/// The chunk was not stored.
pub(crate) async fn receive(shared: &Arc<Shared>, chunk: SnapshotChunk) -> Result<(), ChunkError> {
    let group = PartitionId::new(chunk.group);
    if shared.directory.get(group).is_none() {
        return Err(ChunkError::Refused("the group is not hosted here"));
    }
    let cost = capacity::write_cost(chunk.values.iter().map(|value| value.len() as u64).sum());
    shared.throughput.background(CapacityKind::Write, cost, PATIENCE, &shared.stopping).await;
    let store = {
        let shared = Arc::clone(shared);
        move || store(&shared, chunk)
    };
    let stored = tokio::task::spawn_blocking(store).await;
    let completed = stored.map_err(|_panicked| ChunkError::Refused("storing it panicked"))??;
    let Some((message, data)) = completed else { return Ok(()) };
    let (taken, answer) = oneshot::channel();
    shared.inbox.push(Input::SnapshotReceived(Box::new(ReceivedSnapshot { message, data, taken })));
    match answer.await {
        Ok(true) => Ok(()),
        _ => Err(ChunkError::Refused("the group no longer wants the snapshot")),
    }
}

fn store(shared: &Shared, chunk: SnapshotChunk) -> Result<Option<Completed>, ChunkError> {
    let group = PartitionId::new(chunk.group);
    if shared.stopping.is_cancelled() {
        return Err(ChunkError::Refused("the node is stopping"));
    }
    if chunk.keys.len() != chunk.values.len() || chunk.crc32c != chunk_crc(&chunk.keys, &chunk.values) {
        return Err(ChunkError::Refused("its checksum does not match"));
    }
    let mut entries = Vec::with_capacity(chunk.keys.len());
    for (key, value) in chunk.keys.iter().zip(&chunk.values) {
        entries.push((key.clone(), StoredItem::read_from(value)?.checked()?));
    }
    let transfer = shared.receiver.transfer(shared, group, &chunk)?;
    let mut transfer = transfer.lock();
    if transfer.next_chunk != chunk.number {
        return Err(ChunkError::Refused("it is not the transfer's next"));
    }
    transfer.next_chunk += 1;
    match &mut transfer.target {
        Target::File(Some(builder)) => builder.add(&entries)?,
        Target::File(None) => return Err(ChunkError::Refused("the transfer is over")),
        Target::Memory(held) => held.extend(entries),
    }
    if !chunk.last {
        return Ok(None);
    }
    shared.receiver.transfers.lock().remove(&group);
    complete(shared, group, &mut transfer.target, chunk).map(Some)
}

fn complete(
    shared: &Shared,
    group: PartitionId,
    target: &mut Target,
    chunk: SnapshotChunk,
) -> Result<Completed, ChunkError> {
    let message = chunk.message.and_then(replication_form::typed_message);
    let message = message.filter(|message| message.group == group && message.snapshot.is_some());
    let message = message.ok_or(ChunkError::Refused("the last chunk carries no snapshot message"))?;
    let position = message.snapshot.as_ref().expect("checked just above").at;
    let checkpoint = Checkpoint { position, items: chunk.items, bytes: chunk.bytes };
    let data = match target {
        Target::File(builder) => {
            let files = shared.files.as_ref().expect("a node that builds files has a folder");
            let incoming = files.incoming(group);
            // An earlier snapshot is being put in place: its file must keep its name until then.
            if incoming.try_exists().map_err(EngineError::from)? {
                return Err(ChunkError::Refused("an earlier snapshot is not in place yet"));
            }
            builder.take().expect("taken only here, once").finish(&checkpoint, &incoming)?;
            SnapshotData::File(incoming)
        }
        Target::Memory(entries) => SnapshotData::Memory(std::mem::take(entries), checkpoint),
    };
    Ok((message, data))
}

impl SnapshotReceiver {
    /// The chunk's transfer: begun by the first chunk, which ends an earlier one of the group.
    fn transfer(
        &self,
        shared: &Shared,
        group: PartitionId,
        chunk: &SnapshotChunk,
    ) -> Result<Arc<Mutex<Transfer>>, ChunkError> {
        let mut transfers = self.transfers.lock();
        if chunk.number == 0 {
            // The earlier builder's file must be closed before it is created anew.
            drop(transfers.remove(&group));
            let target = match &shared.files {
                Some(files) => {
                    let cache = shared.limits.tree_cache_bytes;
                    Target::File(Some(TreeBuilder::create(&files.building(group), cache)?))
                }
                None => Target::Memory(Vec::new()),
            };
            let transfer = Transfer { number: chunk.transfer, from: chunk.from_node, next_chunk: 0, target };
            transfers.insert(group, Arc::new(Mutex::new(transfer)));
        }
        let transfer = transfers.get(&group).ok_or(ChunkError::Refused("its transfer is over"))?;
        {
            let current = transfer.lock();
            if current.number != chunk.transfer || current.from != chunk.from_node {
                return Err(ChunkError::Refused("it belongs to another transfer"));
            }
        }
        Ok(Arc::clone(transfer))
    }
}
