//! What differs between two trees, found by walking only the regions whose hashes differ.

use super::{PerkleTree, Region};

impl PerkleTree {
    /// The keys whose entries differ from `other`'s: absent there, absent here, or of another value. In order.
    ///
    /// Costs about as many digests as there are differences times the depth, whatever the trees' size.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Vec<Vec<u8>> {
        let mut keys = Vec::new();
        let mut regions = vec![Region::everything()];
        while let Some(region) = regions.pop() {
            let (mine, others) = (self.digest(&region), other.digest(&region));
            if mine == others {
                continue;
            }
            if mine.entries + others.entries <= FEW {
                self.compare_entries(other, &region, &mut keys);
            } else {
                // The last is looked at first: so the keys come out in order.
                let parts: Vec<_> = region.parts().collect();
                regions.extend(parts.into_iter().rev());
            }
        }
        keys
    }

    fn compare_entries(&self, other: &Self, region: &Region, keys: &mut Vec<Vec<u8>>) {
        let mut mine = self.entries_in(region).peekable();
        let mut others = other.entries_in(region).peekable();
        loop {
            let order = match (mine.peek(), others.peek()) {
                (None, None) => return,
                (Some(_), None) => std::cmp::Ordering::Less,
                (None, Some(_)) => std::cmp::Ordering::Greater,
                (Some((mine, _)), Some((other, _))) => mine.cmp(other),
            };
            let here = if order.is_le() { mine.next() } else { None };
            let there = if order.is_ge() { others.next() } else { None };
            if here != there {
                keys.extend(here.or(there).map(|(key, _)| key));
            }
        }
    }
}

/// So many entries are compared one by one instead of by further digests.
const FEW: u64 = 8;
