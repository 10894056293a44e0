//! The folder of log segments: `replication::wal`'s files, for real.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use replication::wal::{SegmentFile, SegmentNumber, SegmentStore};

use super::zeroing::{Frontier, Zeroer, Zeroing};
use crate::engine::sync_parent;

const SUFFIX: &str = ".log";
/// A segment that is being zeroed ahead of its turn.
const SPARE: &str = "next.zeros";

/// The segments of one node's log, each a file named by its number.
#[derive(Debug)]
pub(crate) struct SegmentFolder {
    path: PathBuf,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    zeroer: Zeroer,
    spare_path: PathBuf,
    spare: Mutex<Option<Zeroing>>,
}

/// One segment, open for writing.
#[derive(Debug)]
pub(crate) struct Segment {
    file: Arc<File>,
    /// How far it is zeroed; none: an old segment, all of it is there.
    zeroed: Option<(Arc<Frontier>, u64)>,
    shared: Arc<Shared>,
}

impl SegmentFolder {
    /// The folder at `path`, created if it is missing.
    ///
    /// # Errors
    /// When the file system refuses.
    pub(crate) fn open(path: PathBuf) -> io::Result<Self> {
        if !path.try_exists()? {
            std::fs::create_dir_all(&path)?;
            sync_parent(&path)?;
        }
        let spare_path = path.join(SPARE);
        if spare_path.try_exists()? {
            std::fs::remove_file(&spare_path)?;
        }
        let shared = Shared { zeroer: Zeroer::start()?, spare_path, spare: Mutex::new(None) };
        Ok(Self { path, shared: Arc::new(shared) })
    }

    fn segment(&self, number: SegmentNumber) -> PathBuf {
        self.path.join(format!("{:020}{SUFFIX}", number.0))
    }
}

impl SegmentStore for SegmentFolder {
    type File = Segment;

    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        let mut numbers = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let number = name.to_str().and_then(|name| name.strip_suffix(SUFFIX)).map(str::parse);
            if let Some(Ok(number)) = number {
                numbers.push(SegmentNumber(number));
            }
        }
        Ok(numbers)
    }

    fn read(&mut self, number: SegmentNumber) -> io::Result<Vec<u8>> {
        std::fs::read(self.segment(number))
    }

    fn open(&mut self, number: SegmentNumber) -> io::Result<Segment> {
        let file = OpenOptions::new().write(true).open(self.segment(number))?;
        Ok(Segment { file: Arc::new(file), zeroed: None, shared: Arc::clone(&self.shared) })
    }

    fn create(&mut self, number: SegmentNumber, size: u32) -> io::Result<Segment> {
        let path = self.segment(number);
        let size = u64::from(size);
        let spare = self.shared.spare.lock().take().filter(|spare| spare.size == size);
        let zeroing = match spare {
            Some(spare) => {
                std::fs::rename(&spare.path, &path)?;
                sync_parent(&path)?;
                spare
            }
            None => self.shared.zeroer.begin(path, size)?,
        };
        let zeroed = Some((zeroing.frontier, size));
        Ok(Segment { file: zeroing.file, zeroed, shared: Arc::clone(&self.shared) })
    }

    fn remove(&mut self, number: SegmentNumber) -> io::Result<()> {
        let path = self.segment(number);
        std::fs::remove_file(&path)?;
        sync_parent(&path)
    }
}

impl Segment {
    /// Has the next segment zeroed once this one is half full.
    fn prepare_next(&self, end: u64, size: u64) -> io::Result<()> {
        if end < size / 2 {
            return Ok(());
        }
        let mut spare = self.shared.spare.lock();
        if spare.is_none() {
            *spare = Some(self.shared.zeroer.begin(self.shared.spare_path.clone(), size)?);
        }
        Ok(())
    }
}

impl SegmentFile for Segment {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some((frontier, size)) = &self.zeroed {
            let end = offset + bytes.len() as u64;
            frontier.wait_for(end)?;
            self.prepare_next(end, *size)?;
        }
        self.file.write_all_at(bytes, offset)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// Whether there is any log in the folder of a node.
pub(crate) fn has_segments(path: &Path) -> bool {
    std::fs::read_dir(path).is_ok_and(|entries| {
        entries.flatten().any(|entry| entry.file_name().to_str().is_some_and(|name| name.ends_with(SUFFIX)))
    })
}
