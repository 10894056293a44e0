//! DynamoDB's item sizes, computed on the encoded form.
//!
//! Source: DynamoDB Developer Guide, "DynamoDB item sizes and formats". Names and strings count their
//! UTF-8 bytes, binaries their bytes, a number about a byte per two digits, `BOOL` and `NULL` one byte;
//! a list or a map counts three bytes more, and one per element.

use crate::item::{ItemView, ValueRef};
use crate::number;
use crate::value::ValueKind;

/// An item's largest size: 400 KB.
pub const MAX_ITEM_BYTES: u64 = 400 * 1024;

/// What a list or a map counts for besides its elements.
const CONTAINER_BYTES: u64 = 3;

impl ItemView<'_> {
    /// The item's size in bytes by DynamoDB's rules: what limits and capacity are reckoned by.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.raw_iter().map(|(name, value)| length(name) + value.size()).sum()
    }

    /// How many lists and maps are within one another, at most, in one attribute.
    #[must_use]
    pub fn depth(&self) -> usize {
        self.raw_iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
    }
}

impl<'a> ValueRef<'a> {
    /// The value's size in bytes by DynamoDB's rules, without its name.
    #[must_use]
    pub fn size(self) -> u64 {
        match self.kind() {
            ValueKind::S | ValueKind::B => length(self.payload()),
            ValueKind::N => number::size_of(self.payload()),
            ValueKind::Bool | ValueKind::Null => 1,
            ValueKind::L => {
                let elements = self.as_list().into_iter().flat_map(|list| list.iter());
                CONTAINER_BYTES + elements.map(|element| 1 + element.size()).sum::<u64>()
            }
            ValueKind::M => {
                let attributes = self.as_map().into_iter().flat_map(|map| map.raw_iter());
                CONTAINER_BYTES + attributes.map(|(name, value)| 1 + length(name) + value.size()).sum::<u64>()
            }
            ValueKind::NS => self.set_elements().map(number::size_of).sum(),
            ValueKind::SS | ValueKind::BS => self.set_elements().map(length).sum(),
        }
    }

    /// How many lists and maps are within one another, at most: 0 for a scalar or a set.
    #[must_use]
    pub fn depth(self) -> usize {
        let list = self.as_list().map(|list| list.iter().map(ValueRef::depth).max());
        let map = self.as_map().map(|map| map.raw_iter().map(|(_, value)| value.depth()).max());
        list.or(map).map_or(0, |deepest| 1 + deepest.unwrap_or(0))
    }

    fn set_elements(self) -> impl Iterator<Item = &'a [u8]> {
        self.as_set().into_iter().flat_map(|set| set.iter())
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).expect("lengths fit in 64 bits")
}
