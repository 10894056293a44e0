//! The ordered in-memory table of what was applied since the last checkpoint.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;

use super::StoredItem;

/// A key range as two bounds that borrow.
pub(super) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// Newest applied version of each changed key; none is a tombstone.
#[derive(Clone, Debug, Default)]
pub(super) struct Table {
    entries: BTreeMap<Bytes, Option<StoredItem>>,
}

impl Table {
    pub(super) fn put(&mut self, key: Bytes, item: Option<StoredItem>) {
        self.entries.insert(key, item);
    }

    /// `None`: not changed here; `Some(None)`: deleted here.
    pub(super) fn get(&self, key: &[u8]) -> Option<&Option<StoredItem>> {
        self.entries.get(key)
    }

    pub(super) fn range<'t>(
        &'t self,
        bounds: Bounds<'_>,
    ) -> impl DoubleEndedIterator<Item = (&'t Bytes, &'t Option<StoredItem>)> + use<'t> {
        self.entries.range::<[u8], _>(bounds)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Bytes, &Option<StoredItem>)> {
        self.entries.iter()
    }
}

/// Whether a range with these bounds can hold a key (an ordered map panics on one that is inverted).
pub(super) fn is_possible((start, end): Bounds<'_>) -> bool {
    match (start, end) {
        (Bound::Unbounded, _) | (_, Bound::Unbounded) => true,
        (Bound::Included(start), Bound::Included(end)) => start <= end,
        (Bound::Included(start) | Bound::Excluded(start), Bound::Included(end) | Bound::Excluded(end)) => {
            start < end
        }
    }
}
