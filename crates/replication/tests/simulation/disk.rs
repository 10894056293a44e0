//! A disk that loses, at a crash, any subset of what was not synced.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use replication::wal::{SegmentFile, SegmentNumber, SegmentStore};

#[derive(Clone, Default)]
pub(crate) struct Disk(Rc<RefCell<BTreeMap<SegmentNumber, Contents>>>);

#[derive(Default)]
struct Contents {
    durable: Vec<u8>,
    unsynced: Vec<(usize, Vec<u8>)>,
}

/// Bytes that reach the disk together or not at all.
const SECTOR: usize = 512;

impl Disk {
    pub(crate) fn crash(&self, rng: &mut ChaCha8Rng) {
        let kept_in_order = rng.random_bool(0.5);
        let mut cut = false;
        for contents in self.0.borrow_mut().values_mut() {
            for (offset, bytes) in std::mem::take(&mut contents.unsynced) {
                for (at, sector) in bytes.chunks(SECTOR).enumerate() {
                    cut |= kept_in_order && rng.random_bool(0.2);
                    if !cut && (kept_in_order || rng.random_bool(0.5)) {
                        let start = offset + at * SECTOR;
                        contents.durable[start..start + sector.len()].copy_from_slice(sector);
                    }
                }
            }
        }
    }

    pub(crate) fn wipe(&self) {
        self.0.borrow_mut().clear();
    }
}

pub(crate) struct File(Disk, SegmentNumber);

impl SegmentFile for File {
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut files = self.0.0.borrow_mut();
        let contents = files.get_mut(&self.1).expect("the segment exists");
        let offset = usize::try_from(offset).unwrap();
        assert!(offset + bytes.len() <= contents.durable.len(), "written past the end");
        contents.unsynced.push((offset, bytes.to_vec()));
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let mut files = self.0.0.borrow_mut();
        let contents = files.get_mut(&self.1).expect("the segment exists");
        for (offset, bytes) in std::mem::take(&mut contents.unsynced) {
            contents.durable[offset..offset + bytes.len()].copy_from_slice(&bytes);
        }
        Ok(())
    }
}

impl SegmentStore for Disk {
    type File = File;

    fn list(&mut self) -> io::Result<Vec<SegmentNumber>> {
        Ok(self.0.borrow().keys().copied().collect())
    }

    fn read(&mut self, number: SegmentNumber) -> io::Result<Vec<u8>> {
        Ok(self.0.borrow()[&number].durable.clone())
    }

    fn open(&mut self, number: SegmentNumber) -> io::Result<File> {
        Ok(File(self.clone(), number))
    }

    fn create(&mut self, number: SegmentNumber, size: u32) -> io::Result<File> {
        let contents = Contents { durable: vec![0; size as usize], unsynced: Vec::new() };
        self.0.borrow_mut().insert(number, contents);
        Ok(File(self.clone(), number))
    }

    fn remove(&mut self, number: SegmentNumber) -> io::Result<()> {
        self.0.borrow_mut().remove(&number);
        Ok(())
    }
}
