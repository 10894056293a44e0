//! The buckets of one owner: found by hash, walked in an order that is the same in every run.

use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::bucket::Bucket;
use crate::lease::BucketId;

/// All buckets that somebody uses.
#[derive(Debug, Default)]
pub(super) struct Buckets {
    list: Vec<(BucketId, Bucket)>,
    index: HashMap<BucketId, u32, FixedState>,
}

impl Buckets {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn position(&self, id: BucketId) -> Option<usize> {
        self.index.get(&id).map(|place| *place as usize)
    }

    pub(super) fn get(&self, id: BucketId) -> Option<&Bucket> {
        self.position(id).map(|position| &self.list[position].1)
    }

    pub(super) fn at(&mut self, position: usize) -> &mut Bucket {
        &mut self.list[position].1
    }

    pub(super) fn get_mut(&mut self, id: BucketId) -> Option<&mut Bucket> {
        self.position(id).map(|position| &mut self.list[position].1)
    }

    /// Adds a bucket that is not there yet; where it is.
    pub(super) fn push(&mut self, id: BucketId, bucket: Bucket) -> usize {
        let position = self.list.len();
        self.index.insert(id, u32::try_from(position).expect("buckets are bounded"));
        self.list.push((id, bucket));
        position
    }

    pub(super) fn remove(&mut self, id: BucketId) -> Option<Bucket> {
        let place = self.index.remove(&id)?;
        let (_, bucket) = self.list.swap_remove(place as usize);
        if let Some((moved, _)) = self.list.get(place as usize) {
            self.index.insert(*moved, place);
        }
        Some(bucket)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (BucketId, &Bucket)> {
        self.list.iter().map(|(id, bucket)| (*id, bucket))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (BucketId, &mut Bucket)> {
        self.list.iter_mut().map(|(id, bucket)| (*id, bucket))
    }
}
