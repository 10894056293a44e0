//! An item as it is stored, logged and sent: its encoded bytes with their CRC32C.

use bytes::Bytes;

use super::EngineError;

/// Bytes of checksum before each stored item.
const CRC_BYTES: usize = 4;

/// An encoded item with the checksum that the leader computed when it made it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct StoredItem {
    /// The item in the encoding of `dynamodb::item`.
    pub(crate) bytes: Bytes,
    /// CRC32C of `bytes`.
    pub(crate) crc32c: u32,
}

impl StoredItem {
    /// Seals `bytes` with their checksum: only where an item is made.
    pub(crate) fn seal(bytes: Bytes) -> Self {
        let crc32c = crc_fast::crc32_iscsi(&bytes);
        Self { bytes, crc32c }
    }

    /// Itself, when the checksum holds.
    ///
    /// # Errors
    /// `Damaged`.
    pub(crate) fn checked(self) -> Result<Self, EngineError> {
        if crc_fast::crc32_iscsi(&self.bytes) == self.crc32c {
            Ok(self)
        } else {
            Err(EngineError::Damaged("an item's checksum"))
        }
    }

    /// The stored form: checksum, then bytes.
    pub(crate) fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.crc32c.to_le_bytes());
        out.extend_from_slice(&self.bytes);
    }

    /// Reads the stored form, copying; does not check the checksum.
    ///
    /// # Errors
    /// `Damaged` when it is too short to be one.
    pub(crate) fn read_from(stored: &[u8]) -> Result<Self, EngineError> {
        let (crc, bytes) = stored
            .split_first_chunk::<CRC_BYTES>()
            .ok_or(EngineError::Damaged("a stored item is too short"))?;
        Ok(Self { bytes: Bytes::copy_from_slice(bytes), crc32c: u32::from_le_bytes(*crc) })
    }
}
