//! The node's manifest: which replicas it hosts and who it was, so that it starts without the control
//! plane. Written beside and renamed; the first line is the CRC32C of the rest.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use routing::{KeyRange, Member, MemberKind};
use serde::{Deserialize, Serialize};
use units::{Epoch, NodeId, PartitionId, TableId, Zone};

use super::assignment::Assignment;
use crate::engine::sync_parent;

const FILE: &str = "manifest.json";
const NEW_FILE: &str = "manifest.json.new";

/// What is recorded. Each replica's checkpointed position is in the log.
#[derive(Clone, Debug, Default)]
pub(crate) struct Manifest {
    pub(crate) incarnation: Epoch,
    pub(crate) replicas: BTreeMap<PartitionId, Assignment>,
    pub(crate) addresses: BTreeMap<NodeId, String>,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    node: u64,
    incarnation: u64,
    replicas: Vec<StoredReplica>,
    addresses: BTreeMap<u64, String>,
}

#[derive(Serialize, Deserialize)]
struct StoredReplica {
    table: u64,
    partition: u64,
    start: Vec<u8>,
    end: Option<Vec<u8>>,
    /// Node, zone, whether it keeps the log only.
    members: Vec<(u64, u8, bool)>,
    configuration: u64,
    established: bool,
}

/// The manifest's file in a node's folder.
#[derive(Debug)]
pub(crate) struct ManifestFile {
    directory: PathBuf,
    node: NodeId,
}

impl ManifestFile {
    pub(crate) fn new(directory: &Path, node: NodeId) -> Self {
        Self { directory: directory.to_owned(), node }
    }

    /// Reads it; none: there is none yet.
    ///
    /// # Errors
    /// It cannot be read, is damaged, or belongs to another node.
    pub(crate) fn read(&self) -> io::Result<Option<Manifest>> {
        let text = match std::fs::read_to_string(self.directory.join(FILE)) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let damaged = || io::Error::new(io::ErrorKind::InvalidData, "the manifest is damaged");
        let (crc, json) = text.split_once('\n').ok_or_else(damaged)?;
        if u32::from_str_radix(crc, 16) != Ok(crc_fast::crc32_iscsi(json.as_bytes())) {
            return Err(damaged());
        }
        let stored: Stored = serde_json::from_str(json).map_err(|_| damaged())?;
        if stored.node != self.node.get() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the folder belongs to another node"));
        }
        Ok(Some(Manifest {
            incarnation: Epoch::new(stored.incarnation),
            replicas: stored.replicas.into_iter().map(typed).map(|a| (a.partition, a)).collect(),
            addresses: stored.addresses.into_iter().map(|(n, a)| (NodeId::new(n), a)).collect(),
        }))
    }

    /// Replaces it, durably.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn write(&self, manifest: &Manifest) -> io::Result<()> {
        let stored = Stored {
            node: self.node.get(),
            incarnation: manifest.incarnation.get(),
            replicas: manifest.replicas.values().map(stored).collect(),
            addresses: manifest.addresses.iter().map(|(n, a)| (n.get(), a.clone())).collect(),
        };
        let json = serde_json::to_string(&stored)?;
        let beside = self.directory.join(NEW_FILE);
        let target = self.directory.join(FILE);
        let mut file = std::fs::File::create(&beside)?;
        file.write_all(format!("{:08x}\n{json}", crc_fast::crc32_iscsi(json.as_bytes())).as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&beside, &target)?;
        sync_parent(&target)
    }
}

fn stored(assignment: &Assignment) -> StoredReplica {
    let member = |member: &Member| (member.node.get(), member.zone.get(), member.kind == MemberKind::Log);
    StoredReplica {
        table: assignment.table.get(),
        partition: assignment.partition.get(),
        start: assignment.range.start.to_vec(),
        end: assignment.range.end.as_ref().map(|end| end.to_vec()),
        members: assignment.members.iter().map(member).collect(),
        configuration: assignment.configuration,
        established: assignment.established,
    }
}

fn typed(stored: StoredReplica) -> Assignment {
    let member = |(node, zone, log_only): (u64, u8, bool)| Member {
        node: NodeId::new(node),
        zone: Zone::new(zone),
        kind: if log_only { MemberKind::Log } else { MemberKind::Storage },
    };
    Assignment {
        table: TableId::new(stored.table),
        partition: PartitionId::new(stored.partition),
        range: KeyRange { start: stored.start.into(), end: stored.end.map(Into::into) },
        members: stored.members.into_iter().map(member).collect(),
        configuration: stored.configuration,
        established: stored.established,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn manifest() -> Manifest {
        let assignment = Assignment {
            table: TableId::new(4),
            partition: PartitionId::new(9),
            range: KeyRange { start: Bytes::from_static(&[0, 255]), end: Some(Bytes::from_static(&[7])) },
            members: vec![Member { node: NodeId::new(2), zone: Zone::new(1), kind: MemberKind::Log }],
            configuration: 3,
            established: true,
        };
        Manifest {
            incarnation: Epoch::new(8),
            replicas: BTreeMap::from([(assignment.partition, assignment)]),
            addresses: BTreeMap::from([(NodeId::new(2), "host:1".to_owned())]),
        }
    }

    #[test]
    fn a_manifest_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = ManifestFile::new(folder.path(), NodeId::new(1));
        assert!(file.read().unwrap().is_none());
        file.write(&manifest()).unwrap();
        let read = file.read().unwrap().unwrap();
        assert_eq!(read.incarnation, manifest().incarnation);
        assert_eq!(read.replicas, manifest().replicas);
        assert_eq!(read.addresses, manifest().addresses);
    }

    #[test]
    fn a_damaged_manifest_and_another_nodes_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = ManifestFile::new(folder.path(), NodeId::new(1));
        file.write(&manifest()).unwrap();
        assert!(ManifestFile::new(folder.path(), NodeId::new(2)).read().is_err());
        let path = folder.path().join(FILE);
        let mut bytes = std::fs::read(&path).unwrap();
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        assert!(file.read().is_err());
    }
}
