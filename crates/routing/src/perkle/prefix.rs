//! The bytes before a branch: few, as a rule, and then they stand in the branch itself.

use triomphe::ThinArc;

/// So many stand in the branch: with their length and the form they fill two words.
const SHORT: usize = 14;

/// Some bytes of keys.
#[derive(Clone, Debug)]
pub(super) enum Prefix {
    Short { length: u8, bytes: [u8; SHORT] },
    Long(ThinArc<(), u8>),
}

impl Prefix {
    pub(super) fn new(from: &[u8]) -> Self {
        match u8::try_from(from.len()) {
            Ok(length) if from.len() <= SHORT => {
                let mut bytes = [0; SHORT];
                bytes[..from.len()].copy_from_slice(from);
                Self::Short { length, bytes }
            }
            _ => Self::Long(ThinArc::from_header_and_slice((), from)),
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Self::Short { length, bytes } => &bytes[..usize::from(*length)],
            Self::Long(bytes) => &bytes.slice,
        }
    }

    /// Bytes of an allocation of its own.
    pub(super) fn bytes_apart(&self) -> usize {
        match self {
            Self::Short { .. } => 0,
            Self::Long(bytes) => 2 * size_of::<usize>() + bytes.slice.len(),
        }
    }
}
