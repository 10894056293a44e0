//! One replica's items: active table over frozen table over B-tree file.

use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};

use super::range_scan::{Entry, Merge};
use super::table::{Bounds, Table, is_possible};
use super::tree_file::{self, TreeFile, TreeView, sync_parent};
use super::{Checkpoint, Effect, EngineError, Position, StoredItem};

/// The items of one replica. Cheap to share; every method locks for microseconds at most, and
/// [`checkpoint`](Self::checkpoint) blocks only its caller.
#[derive(Debug)]
pub(crate) struct Replica {
    state: RwLock<State>,
    /// Locked for as long as a checkpoint lasts, so that there is one at a time.
    file: Mutex<FileState>,
    /// Where the file is or will be; none: kept in memory only.
    path: Option<PathBuf>,
    cache_bytes: usize,
}

#[derive(Debug)]
enum FileState {
    /// Nothing was checkpointed yet.
    Missing,
    Open(TreeFile),
    /// Another replica has taken this one's place.
    Retired,
}

#[derive(Clone)]
struct State {
    /// Shared with views; copied when applied to while a view holds it.
    active: Arc<Table>,
    /// What a running checkpoint folds into the tree.
    frozen: Option<Arc<Table>>,
    tree: Option<Arc<TreeView>>,
    applied: Checkpoint,
    checkpointed: Position,
    /// Bytes in the active table, roughly.
    weight: u64,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("applied", &self.applied)
            .field("checkpointed", &self.checkpointed)
            .finish_non_exhaustive()
    }
}

impl Replica {
    /// An empty replica. Its file appears at its first checkpoint; without `path`, never.
    pub(crate) fn new(path: Option<PathBuf>, cache_bytes: usize) -> Self {
        Self {
            state: RwLock::new(State {
                active: Arc::default(),
                frozen: None,
                tree: None,
                applied: Checkpoint::default(),
                checkpointed: Position::default(),
                weight: 0,
            }),
            file: Mutex::new(FileState::Missing),
            path,
            cache_bytes,
        }
    }

    /// Opens the received file at `incoming`, which will be moved to `path`: an open file may be.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub(crate) fn open_incoming(
        incoming: &Path,
        path: PathBuf,
        cache_bytes: usize,
    ) -> Result<Self, EngineError> {
        let mut replica = Self::open(incoming.to_owned(), cache_bytes)?;
        replica.path = Some(path);
        Ok(replica)
    }

    /// Opens the file at `path`, or starts empty when there is none.
    ///
    /// # Errors
    /// When the file is damaged or cannot be read.
    pub(crate) fn open(path: PathBuf, cache_bytes: usize) -> Result<Self, EngineError> {
        if !path.try_exists()? {
            return Ok(Self::new(Some(path), cache_bytes));
        }
        let (file, checkpoint) = EngineError::guard(|| TreeFile::open(&path, cache_bytes))?;
        let replica = Self::new(Some(path), cache_bytes);
        {
            let mut state = replica.state.write();
            state.tree = file.view()?.map(Arc::new);
            state.applied = checkpoint;
            state.checkpointed = checkpoint.position;
        }
        *replica.file.lock() = FileState::Open(file);
        Ok(replica)
    }

    /// A replica that begins with a received snapshot, kept in memory.
    pub(crate) fn from_snapshot(entries: Vec<Entry>, checkpoint: Checkpoint) -> Self {
        let replica = Self::new(None, 0);
        let mut table = Table::default();
        for (key, item) in entries {
            table.put(key, Some(item));
        }
        {
            let mut state = replica.state.write();
            state.active = Arc::new(table);
            state.applied = checkpoint;
            state.checkpointed = checkpoint.position;
        }
        replica
    }

    /// The newest applied version of an item.
    ///
    /// # Errors
    /// `Damaged` when its checksum does not match; never a wrong item.
    pub(crate) fn get(&self, key: &[u8]) -> Result<Option<StoredItem>, EngineError> {
        let tree = {
            let state = self.state.read();
            let recent = state.active.get(key);
            let recent = recent.or_else(|| state.frozen.as_ref().and_then(|table| table.get(key)));
            match recent {
                Some(found) => return found.clone().map(StoredItem::checked).transpose(),
                None => state.tree.clone(),
            }
        };
        match tree {
            Some(tree) => {
                let found = EngineError::guard(|| tree_file::get(&tree, key))?;
                found.map(StoredItem::checked).transpose()
            }
            None => Ok(None),
        }
    }

    /// Applies a committed entry that changes an item (`Some`) or nothing (`None`).
    pub(crate) fn apply(&self, position: Position, effect: Option<Effect>) {
        let mut state = self.state.write();
        debug_assert!(position > state.applied.position, "entries are applied once, in order");
        state.applied.position = position;
        if let Some(effect) = effect {
            state.weight += effect.weight();
            state.applied.items = state.applied.items.saturating_add_signed(effect.items_delta.into());
            state.applied.bytes = state.applied.bytes.saturating_add_signed(effect.bytes_delta);
            Arc::make_mut(&mut state.active).put(effect.key, effect.item);
        }
    }

    /// How far the log has been applied, and what the items add up to.
    pub(crate) fn applied(&self) -> Checkpoint {
        self.state.read().applied
    }

    /// How far the file goes.
    pub(crate) fn checkpointed(&self) -> Position {
        self.state.read().checkpointed
    }

    /// Bytes that the next checkpoint would write, roughly.
    pub(crate) fn weight(&self) -> u64 {
        self.state.read().weight
    }

    /// A consistent view of all items as of now.
    pub(crate) fn view(&self) -> ReplicaView {
        ReplicaView { state: self.state.read().clone() }
    }

    /// Folds what was applied into the file, durably, and returns the position that the file then has.
    ///
    /// Blocks on the disk: not for an async task.
    ///
    /// # Errors
    /// When the file fails; the replica must then be dropped, and its file never used again.
    pub(crate) fn checkpoint(&self) -> Result<Position, EngineError> {
        let mut file = self.file.lock();
        if matches!(*file, FileState::Retired) {
            return Ok(self.checkpointed());
        }
        let Some(path) = &self.path else { return Ok(self.in_memory_checkpoint()) };
        let (table, checkpoint) = {
            let mut state = self.state.write();
            if state.applied.position == state.checkpointed {
                return Ok(state.checkpointed);
            }
            let table = std::mem::take(&mut state.active);
            state.frozen = Some(Arc::clone(&table));
            state.weight = 0;
            (table, state.applied)
        };
        if matches!(*file, FileState::Missing) {
            // A dropped replica's file may be left there if the process ended before it was removed; its
            // items must not come back.
            remove_file(path)?;
            *file = FileState::Open(TreeFile::create(path, self.cache_bytes)?);
        }
        let FileState::Open(tree) = &*file else { unreachable!("opened just above") };
        EngineError::guard(|| tree.fold(&table, &checkpoint))?;
        let view = tree.view()?.map(Arc::new);
        let mut state = self.state.write();
        // In one step: a reader finds each key in the frozen table or in the tree that has it.
        state.tree = view;
        state.frozen = None;
        state.checkpointed = checkpoint.position;
        Ok(checkpoint.position)
    }

    /// Ends its use of its file: waits for a running checkpoint, and no later one begins.
    pub(crate) fn retire(&self) {
        *self.file.lock() = FileState::Retired;
    }

    /// Ends its use of its file, and renames it: the next start finds none, and refills the replica. The
    /// damaged file stays as evidence.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn set_aside(&self) -> std::io::Result<()> {
        self.retire();
        let Some(path) = &self.path else { return Ok(()) };
        std::fs::rename(path, path.with_extension("damaged"))?;
        sync_parent(path)
    }

    /// Ends its use of its file, and removes it.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn discard(&self) -> std::io::Result<()> {
        self.retire();
        let Some(path) = &self.path else { return Ok(()) };
        remove_file(path).map_err(std::io::Error::other)
    }

    /// Reads at most a chunk of `bounds` in the order asked for, from one state of the replica. The
    /// second value says after which key to go on; none: the range is exhausted.
    pub(super) fn read_chunk(
        &self,
        bounds: Bounds<'_>,
        forward: bool,
        limit: ChunkLimit,
    ) -> Result<(Vec<Entry>, Option<Bytes>), EngineError> {
        if !is_possible(bounds) {
            return Ok((Vec::new(), None));
        }
        let (recent, frozen, tree) = {
            let state = self.state.read();
            (copy_out(&state.active, bounds, forward, limit), state.frozen.clone(), state.tree.clone())
        };
        let cut = recent.len() > limit.entries;
        Merge { recent, cut, frozen: frozen.as_deref(), tree: tree.as_deref() }.read(bounds, forward, limit)
    }

    /// Without a file nothing survives anyway: all that is applied counts as checkpointed, so that the
    /// log in memory can be cut.
    fn in_memory_checkpoint(&self) -> Position {
        let mut state = self.state.write();
        state.checkpointed = state.applied.position;
        state.weight = 0;
        state.checkpointed
    }
}

/// How much one chunk of a range read may hold.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChunkLimit {
    pub(super) entries: usize,
    pub(super) bytes: usize,
}

/// All items of a replica at one position, unmoved by later writes.
#[derive(Debug)]
pub(crate) struct ReplicaView {
    state: State,
}

impl ReplicaView {
    /// Its position and totals.
    pub(crate) fn checkpoint(&self) -> Checkpoint {
        self.state.applied
    }

    /// About `bytes` of items after `after` (none: from the first), in key order. The second value says
    /// after which key to go on; none: that was all.
    ///
    /// # Errors
    /// `Damaged`: a damaged item is never shipped.
    pub(crate) fn chunk(
        &self,
        after: Option<&[u8]>,
        bytes: usize,
    ) -> Result<(Vec<Entry>, Option<Bytes>), EngineError> {
        let bounds = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let limit = ChunkLimit { entries: CHUNK_ENTRIES, bytes };
        let recent = copy_out(&self.state.active, bounds, true, limit);
        let cut = recent.len() > limit.entries;
        let (frozen, tree) = (self.state.frozen.as_deref(), self.state.tree.as_deref());
        let (entries, next) = Merge { recent, cut, frozen, tree }.read(bounds, true, limit)?;
        let checked = entries.into_iter().map(|(key, item)| Ok((key, item.checked()?)));
        Ok((checked.collect::<Result<_, EngineError>>()?, next))
    }
}

/// The active table's part of a range: one more than `limit`, which tells that there is more.
fn copy_out(
    table: &Table,
    bounds: Bounds<'_>,
    forward: bool,
    limit: ChunkLimit,
) -> Vec<(Bytes, Option<StoredItem>)> {
    let copy = |(key, item): (&Bytes, &Option<StoredItem>)| (key.clone(), item.clone());
    let range = table.range(bounds);
    if forward {
        range.take(limit.entries + 1).map(copy).collect()
    } else {
        range.rev().take(limit.entries + 1).map(copy).collect()
    }
}

/// Entries of one snapshot chunk: 1 MiB of items of 128 bytes.
const CHUNK_ENTRIES: usize = 8_192;

/// Removes a replica's file, durably.
///
/// # Errors
/// When the file system refuses.
pub(crate) fn remove_file(path: &Path) -> Result<(), EngineError> {
    match std::fs::remove_file(path) {
        Ok(()) => sync_parent(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(error.into()),
    }
    Ok(())
}
