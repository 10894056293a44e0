//! What a checkpoint records beside the items.

use replication::Position;
use units::{LogIndex, Term};

use super::EngineError;

/// A checkpoint's position, with what the items up to there add up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Checkpoint {
    /// The last entry that it holds.
    pub(crate) position: Position,
    /// Number of items.
    pub(crate) items: u64,
    /// Their bytes, by DynamoDB's size rules.
    pub(crate) bytes: u64,
}

/// index, term, items, bytes; each 8 bytes; then CRC32C.
const ENCODED_BYTES: usize = 36;

impl Checkpoint {
    /// The stored form.
    pub(crate) fn encode(&self) -> [u8; ENCODED_BYTES] {
        let mut out = [0; ENCODED_BYTES];
        let words = [self.position.index.get(), self.position.term.get(), self.items, self.bytes];
        for (slot, word) in out.chunks_exact_mut(8).zip(words) {
            slot.copy_from_slice(&word.to_le_bytes());
        }
        let crc = crc_fast::crc32_iscsi(&out[..ENCODED_BYTES - 4]);
        out[ENCODED_BYTES - 4..].copy_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads the stored form.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn decode(stored: &[u8]) -> Result<Self, EngineError> {
        let damaged = EngineError::Damaged("a checkpoint's position");
        let Some((words, crc)) = stored.split_at_checked(ENCODED_BYTES - 4) else {
            return Err(damaged);
        };
        if *crc != crc_fast::crc32_iscsi(words).to_le_bytes() {
            return Err(damaged);
        }
        let word =
            |n: usize| u64::from_le_bytes(words[n * 8..n * 8 + 8].try_into().expect("eight bytes were cut"));
        Ok(Self {
            position: Position { index: LogIndex::new(word(0)), term: Term::new(word(1)) },
            items: word(2),
            bytes: word(3),
        })
    }
}
