//! What a log entry does to a replica: the effect of an operation that the leader evaluated.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use super::{EngineError, StoredItem};

/// Written first, so that a later form can be told apart.
const FORMAT: u8 = 1;
const KIND_PUT: u8 = 0;
const KIND_DELETE: u8 = 1;
/// Format, kind, change of count, change of bytes, key length.
const HEADER_BYTES: usize = 1 + 1 + 1 + 8 + 4;

/// One item's change, with what it changes in the replica's totals: the leader knew the item before,
/// so that followers need not read it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Effect {
    /// Which item.
    pub(crate) key: Bytes,
    /// The new item, or none: deleted.
    pub(crate) item: Option<StoredItem>,
    /// Change of the number of items: −1, 0 or 1.
    pub(crate) items_delta: i8,
    /// Change of the items' bytes, by DynamoDB's size rules.
    pub(crate) bytes_delta: i64,
}

impl Effect {
    /// The form in the log.
    pub(crate) fn encode(&self) -> Bytes {
        let item_bytes = self.item.as_ref().map_or(0, |item| 4 + item.bytes.len());
        let mut out = BytesMut::with_capacity(HEADER_BYTES + self.key.len() + item_bytes);
        out.put_u8(FORMAT);
        out.put_u8(if self.item.is_some() { KIND_PUT } else { KIND_DELETE });
        out.put_i8(self.items_delta);
        out.put_i64_le(self.bytes_delta);
        out.put_u32_le(u32::try_from(self.key.len()).expect("keys are a few KiB at most"));
        out.put_slice(&self.key);
        if let Some(item) = &self.item {
            out.put_u32_le(item.crc32c);
            out.put_slice(&item.bytes);
        }
        out.freeze()
    }

    /// Reads the form in the log; key and item share `entry`'s memory.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn decode(mut entry: Bytes) -> Result<Self, EngineError> {
        let damaged = || EngineError::Damaged("an effect in the log");
        if entry.len() < HEADER_BYTES || entry.get_u8() != FORMAT {
            return Err(damaged());
        }
        let kind = entry.get_u8();
        let items_delta = entry.get_i8();
        let bytes_delta = entry.get_i64_le();
        let key_length = entry.get_u32_le() as usize;
        if key_length > entry.len() {
            return Err(damaged());
        }
        let key = entry.split_to(key_length);
        let item = match kind {
            KIND_DELETE if entry.is_empty() => None,
            KIND_PUT if entry.len() >= 4 => {
                let crc32c = entry.get_u32_le();
                Some(StoredItem { bytes: entry, crc32c })
            }
            _ => return Err(damaged()),
        };
        Ok(Self { key, item, items_delta, bytes_delta })
    }

    /// What it occupies in memory, roughly: what counts towards the next checkpoint.
    pub(crate) fn weight(&self) -> u64 {
        (self.key.len() + self.item.as_ref().map_or(0, |item| item.bytes.len())) as u64
    }
}
