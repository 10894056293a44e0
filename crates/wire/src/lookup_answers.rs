//! Writes `LookupAnswers` without building them first: a MemDS server answers a million lookups a second, and a
//! message's fields each in an allocation of their own would be most of that.

use bytes::Bytes;
use prost::encoding::{WireType, encode_key, encode_varint, encoded_len_varint};
use routing::RouteEntry;
use units::TableId;

use crate::proto::routing::LookupResult;

/// Field numbers of `LookupAnswers` and `LookupAnswer`, as `routing.proto` has them.
mod field {
    pub(super) const ANSWERS: u32 = 1;
    pub(super) const RESULT: u32 = 1;
    pub(super) const TABLE: u32 = 2;
    pub(super) const TABLE_ID: u32 = 3;
    pub(super) const START: u32 = 4;
    pub(super) const ENTRY: u32 = 5;
}

/// Bytes of a field's key: all field numbers are below 16.
const KEY_BYTES: usize = 1;
/// What a usual answer takes: a route of three members.
const USUAL_BYTES: usize = 64;

/// One lookup's answer, borrowed from where it stands.
#[derive(Clone, Copy, Debug)]
pub enum LookupAnswer<'a> {
    /// The table exists.
    Found {
        /// Its number.
        table: TableId,
        /// Its descriptor, if newer than known.
        descriptor: Option<&'a [u8]>,
        /// The partition's route, if known and asked for.
        route: Option<RouteEntry<'a>>,
    },
    /// The whole catalog is known, and the table is not in it.
    NoTable,
    /// The catalog is not whole, and the table is not known.
    NotReady,
}

/// `LookupAnswers`, encoded answer by answer.
#[derive(Debug)]
pub struct LookupAnswersWriter {
    encoded: Vec<u8>,
}

impl LookupAnswersWriter {
    /// With room for so many usual answers.
    #[must_use]
    pub fn with_capacity(answers: usize) -> Self {
        Self { encoded: Vec::with_capacity(answers * USUAL_BYTES) }
    }

    /// Bytes written so far.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.encoded.len()
    }

    /// Whether nothing was written yet.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }

    /// Writes the next answer.
    pub fn push(&mut self, answer: &LookupAnswer<'_>) {
        match *answer {
            LookupAnswer::Found { table, descriptor, route } => self.push_found(table, descriptor, route),
            LookupAnswer::NoTable => self.push_result(LookupResult::NoTable),
            LookupAnswer::NotReady => self.push_result(LookupResult::NotReady),
        }
    }

    /// The message.
    #[must_use]
    pub fn finish(self) -> Bytes {
        Bytes::from(self.encoded)
    }

    fn push_found(&mut self, table: TableId, descriptor: Option<&[u8]>, route: Option<RouteEntry<'_>>) {
        let length = KEY_BYTES
            + encoded_len_varint(table.get())
            + descriptor.map_or(0, bytes_len)
            + route.map_or(0, |route| bytes_len(route.start) + bytes_len(route.value));
        self.begin(length);
        if let Some(descriptor) = descriptor {
            self.bytes(field::TABLE, descriptor);
        }
        self.number(field::TABLE_ID, table.get());
        if let Some(route) = route {
            self.bytes(field::START, route.start);
            self.bytes(field::ENTRY, route.value);
        }
    }

    fn push_result(&mut self, result: LookupResult) {
        let result = u64::from(result as u32);
        self.begin(KEY_BYTES + encoded_len_varint(result));
        self.number(field::RESULT, result);
    }

    /// Begins an answer of so many bytes.
    fn begin(&mut self, length: usize) {
        self.encoded.reserve(length + USUAL_BYTES);
        encode_key(field::ANSWERS, WireType::LengthDelimited, &mut self.encoded);
        encode_varint(length as u64, &mut self.encoded);
    }

    fn number(&mut self, field: u32, number: u64) {
        encode_key(field, WireType::Varint, &mut self.encoded);
        encode_varint(number, &mut self.encoded);
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        encode_key(field, WireType::LengthDelimited, &mut self.encoded);
        encode_varint(bytes.len() as u64, &mut self.encoded);
        self.encoded.extend_from_slice(bytes);
    }
}

fn bytes_len(bytes: &[u8]) -> usize {
    KEY_BYTES + encoded_len_varint(bytes.len() as u64) + bytes.len()
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;
    use crate::proto::routing as proto;

    #[test]
    fn what_is_written_reads_as_the_message() {
        let long = vec![7; 40_000];
        let found = |number, descriptor, route| LookupAnswer::Found {
            table: TableId::new(number),
            descriptor,
            route,
        };
        let route = |start, value| Some(RouteEntry { start, value });
        let answers = [
            found(1, None, None),
            found(u64::MAX, Some(&long[..]), route(&b""[..], &b"entry"[..])),
            LookupAnswer::NoTable,
            found(300, None, route(&b"start"[..], &long[..300])),
            LookupAnswer::NotReady,
        ];

        let mut writer = LookupAnswersWriter::with_capacity(answers.len());
        for answer in &answers {
            writer.push(answer);
        }
        let read = proto::LookupAnswers::decode(writer.finish()).expect("it is well-formed");

        assert_eq!(read.answers, answers.map(|answer| message(&answer)));
    }

    #[test]
    fn no_answers_are_an_empty_message() {
        let writer = LookupAnswersWriter::with_capacity(0);
        assert!(writer.is_empty());
        assert_eq!(proto::LookupAnswers::decode(writer.finish()), Ok(proto::LookupAnswers::default()));
    }

    fn message(answer: &LookupAnswer<'_>) -> proto::LookupAnswer {
        let empty = proto::LookupAnswer::default();
        match *answer {
            LookupAnswer::Found { table, descriptor, route } => proto::LookupAnswer {
                table_id: table.get(),
                table: descriptor.map(Bytes::copy_from_slice),
                start: route.map(|route| Bytes::copy_from_slice(route.start)),
                entry: route.map(|route| Bytes::copy_from_slice(route.value)).unwrap_or_default(),
                ..empty
            },
            LookupAnswer::NoTable => proto::LookupAnswer { result: LookupResult::NoTable.into(), ..empty },
            LookupAnswer::NotReady => proto::LookupAnswer { result: LookupResult::NotReady.into(), ..empty },
        }
    }
}
