//! Writes `LookupAnswers` without building them first, and reads them where they are: a MemDS server answers a
//! million lookups a second, and a message's fields each in an allocation of their own would be most of that.
//! For a proxy, too, nearly every answer is only compared with what it knows.

use bytes::Bytes;
use prost::encoding::{
    DecodeContext, WireType, decode_key, decode_varint, encode_key, encode_varint, encoded_len_varint,
    skip_field,
};
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

/// An answer that arrived and cannot be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed answers to lookups")]
pub struct MalformedAnswers;

/// The answers of an encoded `LookupAnswers`, in order. The first malformed one is the last.
pub fn read(encoded: &[u8]) -> impl Iterator<Item = Result<LookupAnswer<'_>, MalformedAnswers>> {
    let mut rest = encoded;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let answer = next_answer(&mut rest);
        if answer.is_none() {
            rest = &[];
        }
        Some(answer.ok_or(MalformedAnswers))
    })
}

fn next_answer<'a>(rest: &mut &'a [u8]) -> Option<LookupAnswer<'a>> {
    let (number, WireType::LengthDelimited) = decode_key(rest).ok()? else { return None };
    let mut answer = take_bytes(rest)?;
    if number != field::ANSWERS {
        return None;
    }
    let (mut result, mut descriptor, mut table, mut start, mut value) = (0, None, 0, None, &[][..]);
    while !answer.is_empty() {
        match decode_key(&mut answer).ok()? {
            (field::RESULT, WireType::Varint) => result = decode_varint(&mut answer).ok()?,
            (field::TABLE_ID, WireType::Varint) => table = decode_varint(&mut answer).ok()?,
            (field::TABLE, WireType::LengthDelimited) => descriptor = Some(take_bytes(&mut answer)?),
            (field::START, WireType::LengthDelimited) => start = Some(take_bytes(&mut answer)?),
            (field::ENTRY, WireType::LengthDelimited) => value = take_bytes(&mut answer)?,
            // A newer server's.
            (other, kind) => skip_field(kind, other, &mut answer, DecodeContext::default()).ok()?,
        }
    }
    match LookupResult::try_from(i32::try_from(result).ok()?).ok()? {
        LookupResult::Found => Some(LookupAnswer::Found {
            table: TableId::new(table),
            descriptor,
            route: start.map(|start| RouteEntry { start, value }),
        }),
        LookupResult::NoTable => Some(LookupAnswer::NoTable),
        LookupResult::NotReady => Some(LookupAnswer::NotReady),
    }
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
    let (bytes, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(bytes)
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
        let written = writer.finish();
        let decoded = proto::LookupAnswers::decode(written.clone()).expect("it is well-formed");

        let messages = answers.map(|answer| message(&answer));
        assert_eq!(decoded.answers, messages);
        let in_place: Result<Vec<_>, _> = read(&written).collect();
        let in_place = in_place.expect("it is well-formed");
        assert_eq!(in_place.iter().map(message).collect::<Vec<_>>(), messages);
    }

    #[test]
    fn what_is_cut_off_or_changed_is_malformed_and_never_a_panic() {
        let mut writer = LookupAnswersWriter::with_capacity(2);
        let route = Some(RouteEntry { start: b"start", value: b"entry" });
        writer.push(&LookupAnswer::Found { table: TableId::new(300), descriptor: Some(b"{}"), route });
        let first = writer.len();
        writer.push(&LookupAnswer::NoTable);
        let written = writer.finish();
        for end in 1..written.len() {
            let cut: Result<Vec<_>, _> = read(&written[..end]).collect();
            assert_eq!(cut.is_ok(), end == first, "cut at {end}");
        }
        for at in 0..written.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut changed = written.to_vec();
                changed[at] = byte;
                assert!(read(&changed).count() <= changed.len());
            }
        }
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
