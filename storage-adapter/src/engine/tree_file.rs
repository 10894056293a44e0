//! The B-tree file: a durable checkpoint of a replica.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use redb::{Database, Durability, ReadableDatabase, TableDefinition};

use super::table::{Bounds, Table};
use super::{Checkpoint, EngineError, StoredItem};

/// Storage key → CRC32C and encoded item.
const ITEMS: TableDefinition<'static, &[u8], &[u8]> = TableDefinition::new("items");
/// One row: the checkpoint's position.
const CHECKPOINT: TableDefinition<'static, u8, &[u8]> = TableDefinition::new("checkpoint");
const CHECKPOINT_ROW: u8 = 0;

/// A consistent view of the items at one checkpoint.
pub(super) type TreeView = redb::ReadOnlyTable<&'static [u8], &'static [u8]>;

/// An open B-tree file.
pub(crate) struct TreeFile {
    database: Database,
    path: PathBuf,
}

impl std::fmt::Debug for TreeFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TreeFile").field("path", &self.path).finish_non_exhaustive()
    }
}

impl TreeFile {
    /// Creates the file; its name is durable when this returns.
    ///
    /// # Errors
    /// When the file system or the B-tree refuses.
    pub(crate) fn create(path: &Path, cache_bytes: usize) -> Result<Self, EngineError> {
        let database =
            Database::builder().set_cache_size(cache_bytes).create(path).map_err(EngineError::tree)?;
        sync_parent(path)?;
        Ok(Self { database, path: path.to_owned() })
    }

    /// Opens an existing file and reads which checkpoint it holds.
    ///
    /// # Errors
    /// When it cannot be opened, or is damaged.
    pub(crate) fn open(path: &Path, cache_bytes: usize) -> Result<(Self, Checkpoint), EngineError> {
        let database =
            Database::builder().set_cache_size(cache_bytes).open(path).map_err(EngineError::tree)?;
        let read = database.begin_read().map_err(EngineError::tree)?;
        let checkpoint = match read.open_table(CHECKPOINT) {
            Ok(table) => {
                let row = table.get(CHECKPOINT_ROW).map_err(EngineError::tree)?;
                let row = row.ok_or(EngineError::Damaged("a B-tree file without a checkpoint"))?;
                Checkpoint::decode(row.value())?
            }
            // Created, and the process ended before the first commit: an empty replica.
            Err(redb::TableError::TableDoesNotExist(_)) => Checkpoint::default(),
            Err(error) => return Err(EngineError::tree(error)),
        };
        drop(read);
        Ok((Self { database, path: path.to_owned() }, checkpoint))
    }

    /// The items as of the last commit.
    ///
    /// # Errors
    /// When the B-tree refuses. `None` before the first commit.
    pub(super) fn view(&self) -> Result<Option<TreeView>, EngineError> {
        let read = self.database.begin_read().map_err(EngineError::tree)?;
        match read.open_table(ITEMS) {
            Ok(table) => Ok(Some(table)),
            Err(redb::TableError::TableDoesNotExist(_)) => Ok(None),
            Err(error) => Err(EngineError::tree(error)),
        }
    }

    /// Folds `table` in, with the position that it brings the tree to, in one durable commit.
    ///
    /// # Errors
    /// When anything fails: the file must not be used again.
    pub(super) fn fold(&self, table: &Table, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        let mut value = Vec::new();
        self.commit(checkpoint, |items| {
            for (key, item) in table.iter() {
                match item {
                    Some(item) => {
                        value.clear();
                        item.write_to(&mut value);
                        items.insert(&**key, value.as_slice())?;
                    }
                    None => {
                        items.remove(&**key)?;
                    }
                }
            }
            Ok(())
        })
    }

    fn commit(
        &self,
        checkpoint: &Checkpoint,
        write: impl FnOnce(&mut redb::Table<'_, &'static [u8], &'static [u8]>) -> Result<(), redb::StorageError>,
    ) -> Result<(), EngineError> {
        let mut transaction = self.database.begin_write().map_err(EngineError::tree)?;
        // Two phases: the other root stays whole if power fails in the middle. The allocator's state is
        // saved with it (quick repair), so that opening after a crash does not walk the whole tree.
        transaction
            .set_durability(Durability::Immediate)
            .map_err(|e| EngineError::tree(redb::Error::from(e)))?;
        transaction.set_two_phase_commit(true);
        transaction.set_quick_repair(true);
        {
            let mut items = transaction.open_table(ITEMS).map_err(EngineError::tree)?;
            write(&mut items).map_err(EngineError::tree)?;
            let mut row = transaction.open_table(CHECKPOINT).map_err(EngineError::tree)?;
            row.insert(CHECKPOINT_ROW, checkpoint.encode().as_slice()).map_err(EngineError::tree)?;
        }
        transaction.commit().map_err(EngineError::tree)
    }
}

/// Builds a replica's B-tree file from a snapshot's chunks, beside the file in use.
#[derive(Debug)]
pub(crate) struct TreeBuilder {
    tree: TreeFile,
    items: u64,
}

impl TreeBuilder {
    /// Starts anew at `path`: what an earlier, broken-off transfer left there goes.
    ///
    /// # Errors
    /// When the file system or the B-tree refuses.
    pub(crate) fn create(path: &Path, cache_bytes: usize) -> Result<Self, EngineError> {
        match std::fs::remove_file(path) {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error.into()),
        }
        Ok(Self { tree: TreeFile::create(path, cache_bytes)?, items: 0 })
    }

    /// Adds one chunk's items (checked already), durably.
    ///
    /// # Errors
    /// When the B-tree refuses.
    pub(crate) fn add(&mut self, entries: &[(Bytes, StoredItem)]) -> Result<(), EngineError> {
        let mut value = Vec::new();
        // Position zero until the last chunk: an unfinished file can never pass for a replica.
        self.tree.commit(&Checkpoint::default(), |items| {
            for (key, item) in entries {
                value.clear();
                item.write_to(&mut value);
                items.insert(&**key, value.as_slice())?;
            }
            Ok(())
        })?;
        self.items += entries.len() as u64;
        Ok(())
    }

    /// Marks the file as a checkpoint at `checkpoint`'s position, closes it and moves it to `target`,
    /// durably. A crash leaves either the old file or the new one at `target`.
    ///
    /// # Errors
    /// When the number of items is not what was announced, or a file operation fails.
    pub(crate) fn finish(self, checkpoint: &Checkpoint, target: &Path) -> Result<(), EngineError> {
        if self.items != checkpoint.items {
            return Err(EngineError::Damaged("a snapshot with a wrong number of items"));
        }
        self.tree.commit(checkpoint, |_| Ok(()))?;
        let path = self.tree.path.clone();
        drop(self);
        std::fs::rename(&path, target)?;
        sync_parent(target)?;
        Ok(())
    }
}

/// Makes a creation, renaming or removal in `path`'s directory durable.
pub(crate) fn sync_parent(path: &Path) -> std::io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or_else(|| Path::new("."));
    std::fs::File::open(parent)?.sync_all()
}

/// One item of a view.
pub(super) fn get(view: &TreeView, key: &[u8]) -> Result<Option<StoredItem>, EngineError> {
    match view.get(key).map_err(EngineError::tree)? {
        Some(value) => StoredItem::read_from(value.value()).map(Some),
        None => Ok(None),
    }
}

/// A range of a view.
pub(super) fn range(
    view: &TreeView,
    bounds: Bounds<'_>,
) -> Result<redb::Range<'static, &'static [u8], &'static [u8]>, EngineError> {
    view.range::<&[u8]>(bounds).map_err(EngineError::tree)
}
