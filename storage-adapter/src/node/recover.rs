//! What a node begins with: its folder read, its log recovered, its replicas opened. Needs nobody else.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use replication::wal::{Log, LogError, LogOptions, RecoveredLog};
use replication::{Membership, Recovered};
use units::{Epoch, NodeId, PartitionId};

use super::assignment::Assignment;
use super::manifest::ManifestFile;
use super::node_loop::Opened;
use super::shared::NodeFiles;
use crate::engine::{EngineError, Replica, remove_file, sync_parent};
use crate::log::{SegmentFolder, has_segments};

/// Why a node's folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The file system refused, or a file is not what it should be.
    #[error("the data folder cannot be used")]
    Io(#[from] io::Error),
    /// The log cannot be read or written.
    #[error("the log cannot be opened")]
    Log(#[from] LogError),
    /// Another process uses the folder.
    #[error("another process uses {}", .0.display())]
    InUse(PathBuf),
}

/// A node's folder, opened.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) files: NodeFiles,
    pub(super) log: Log<SegmentFolder>,
    pub(super) recovered: RecoveredLog,
    /// The node has run before, and its log is gone.
    log_lost: bool,
    pub(super) incarnation: Epoch,
}

/// Opens `directory`, counting the start: the incarnation is greater than any before, even one whose
/// record was lost, as long as the wall clock does not go back by more than the folder's loss took.
///
/// # Errors
/// When the folder cannot be used.
pub(super) fn open(directory: &Path, node: NodeId, options: LogOptions) -> Result<Folder, RecoverError> {
    create_folder(&NodeFiles::replicas(directory))?;
    let lock = std::fs::File::create(directory.join("lock"))?;
    lock.try_lock().map_err(|_| RecoverError::InUse(directory.to_owned()))?;
    let manifest_file = ManifestFile::new(directory, node);
    let found = manifest_file.read()?;
    let log_lost = found.is_some() && !has_segments(&NodeFiles::log(directory));
    let mut manifest = found.unwrap_or_default();
    manifest.incarnation = incarnation_after(manifest.incarnation);
    manifest_file.write(&manifest)?;
    let (log, recovered) = Log::open(SegmentFolder::open(NodeFiles::log(directory))?, options)?;
    if let Some((segment, at)) = recovered.torn {
        tracing::info!(segment = segment.0, at, "the log's torn tail was cut");
    }
    for damage in &recovered.damage {
        tracing::error!(?damage, "the log is damaged: the groups that it touched are refilled");
    }
    let incarnation = manifest.incarnation;
    let manifest = Mutex::new((manifest_file, manifest));
    let files = NodeFiles { directory: directory.to_owned(), manifest, lock: Mutex::new(Some(lock)) };
    Ok(Folder { files, log, recovered, log_lost, incarnation })
}

/// Creates a folder with those above it, their names durable: a node that has promised something must
/// find its folder again.
fn create_folder(path: &Path) -> io::Result<()> {
    let missing = |path: &&Path| !path.as_os_str().is_empty() && !path.exists();
    let created: Vec<&Path> = path.ancestors().take_while(missing).collect();
    std::fs::create_dir_all(path)?;
    created.into_iter().try_for_each(sync_parent)
}

/// The incarnation of a start after one of `before`: also greater than what a wiped node may have had.
pub(super) fn incarnation_after(before: Epoch) -> Epoch {
    Epoch::new(before.next().get().max(wire::clock::unix_now().get()))
}

impl Folder {
    /// Opens the replicas of `assignments` on what the log and their files hold.
    ///
    /// # Errors
    /// When a file cannot be used for another reason than damage.
    pub(super) fn open_replicas(
        &mut self,
        assignments: BTreeMap<PartitionId, Assignment>,
        cache_bytes: usize,
    ) -> Result<Vec<Opened>, RecoverError> {
        let mut opened = Vec::with_capacity(assignments.len());
        for (partition, assignment) in assignments {
            let recovered = self.recovered.groups.remove(&partition);
            let recovered = recovered.unwrap_or_else(|| self.unlogged(&assignment));
            let (replica, recovered) = self.open_replica(&assignment, recovered, cache_bytes)?;
            opened.push(Opened { assignment, replica: Arc::new(replica), recovered });
        }
        Ok(opened)
    }

    /// Groups that the log knows and nobody assigned: their removal was cut short.
    pub(super) fn leftovers(&mut self) -> BTreeMap<PartitionId, Recovered> {
        std::mem::take(&mut self.recovered.groups)
    }

    /// A replica of which the log has nothing: it never promised anything, unless the log was lost.
    fn unlogged(&self, assignment: &Assignment) -> Recovered {
        if assignment.established || self.log_lost || !self.recovered.damage.is_empty() {
            Recovered::wiped(assignment.voters())
        } else {
            Recovered::new_group(assignment.voters())
        }
    }

    fn open_replica(
        &self,
        assignment: &Assignment,
        mut recovered: Recovered,
        cache_bytes: usize,
    ) -> Result<(Replica, Recovered), RecoverError> {
        let partition = assignment.partition;
        let path = self.files.replica(partition);
        self.finish_install(partition, &recovered, cache_bytes)?;
        remove_file(&self.files.building(partition)).map_err(io::Error::other)?;
        match Replica::open(path.clone(), cache_bytes) {
            Ok(replica) => {
                let held = replica.applied().position;
                if held >= recovered.checkpoint {
                    recovered.advance_checkpoint(held);
                    return Ok((replica, recovered));
                }
                tracing::error!(%partition, "the B-tree file is behind its checkpoint: the replica is refilled");
            }
            Err(EngineError::Damaged(what)) => {
                tracing::error!(%partition, what, "the B-tree file is damaged: the replica is refilled");
            }
            Err(error) => return Err(io::Error::other(error).into()),
        }
        remove_file(&path).map_err(io::Error::other)?;
        let membership = match recovered.membership {
            known if known != Membership::default() => known,
            _ => Membership::of_voters(assignment.voters()),
        };
        let wiped = Recovered { membership, ..Recovered::wiped([]) };
        Ok((Replica::new(Some(path), cache_bytes), wiped))
    }

    /// A received snapshot is put in place if the log says that it is the replica's state, and else
    /// dropped: the process ended between the two.
    fn finish_install(
        &self,
        partition: PartitionId,
        recovered: &Recovered,
        cache_bytes: usize,
    ) -> Result<(), RecoverError> {
        let incoming = self.files.incoming(partition);
        if !incoming.try_exists()? {
            return Ok(());
        }
        let path = self.files.replica(partition);
        let position = |path: &Path| {
            let replica = Replica::open(path.to_owned(), cache_bytes);
            replica.map(|replica| replica.applied().position).unwrap_or_default()
        };
        let arrived = position(&incoming);
        let logged = arrived.index.get() > 0 && arrived <= recovered.checkpoint;
        if logged && arrived > position(&path) {
            std::fs::rename(&incoming, &path)?;
            sync_parent(&path)?;
        } else {
            remove_file(&incoming).map_err(io::Error::other)?;
        }
        Ok(())
    }
}
