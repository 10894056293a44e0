//! Hashes of sets of entries.

use twox_hash::{XxHash3_64, XxHash3_128};

/// The sum, modulo 2¹²⁸, of the hashes of a set of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EntrySum([u64; 2]);

impl EntrySum {
    pub(super) fn of(key: &[u8], value: &[u8]) -> Self {
        Self::from_number(XxHash3_128::oneshot_with_seed(XxHash3_64::oneshot(value), key))
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self::from_number(self.number().wrapping_add(other.number()))
    }

    pub(super) const fn minus(self, other: Self) -> Self {
        Self::from_number(self.number().wrapping_sub(other.number()))
    }

    /// As a number, for messages.
    #[must_use]
    pub const fn number(self) -> u128 {
        (self.0[0] as u128) << 64 | self.0[1] as u128
    }

    /// Reads what [`Self::number`] gave.
    #[must_use]
    pub const fn from_number(number: u128) -> Self {
        Self([(number >> 64) as u64, number as u64])
    }
}
