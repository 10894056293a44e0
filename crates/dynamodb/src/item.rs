//! Items in their encoded form, and views that navigate it without decoding.
//!
//! # The encoding
//!
//! An item is a map. A *container* (map, list, set) is its elements one after the other, then the
//! offset of each, their count, and a byte that says how wide these integers are (2 or 4 bytes, little
//! endian; 2 whenever they fit). A map's element is a name (2-byte length, UTF-8) and a value; elements are
//! sorted by name, so that one is found by binary search. A list's element is a value. A set's element
//! is the bare string, canonical number or binary; elements are sorted. A value is a tag byte and its
//! payload; its length is known from the offsets around it.
//!
//! The form is canonical: equal items have equal bytes, hence `Eq` on bytes is DynamoDB's equality.
//! What [`EncodedItem`] holds is well-formed by construction ([`EncodedItem::parse`] checks what comes
//! from outside); a view of anything else may panic.

use std::cmp::Ordering;

use bytes::Bytes;

use crate::item_builder::ItemBuilder;
use crate::number::Number;
use crate::operation::EncodedItem;
use crate::value::{AttributeValue, Item, ValueKind};

pub(crate) const TAG_NULL: u8 = 1;
pub(crate) const TAG_FALSE: u8 = 2;
pub(crate) const TAG_TRUE: u8 = 3;
pub(crate) const TAG_STRING: u8 = 4;
pub(crate) const TAG_NUMBER: u8 = 5;
pub(crate) const TAG_BINARY: u8 = 6;
pub(crate) const TAG_LIST: u8 = 7;
pub(crate) const TAG_MAP: u8 = 8;
pub(crate) const TAG_STRING_SET: u8 = 9;
pub(crate) const TAG_NUMBER_SET: u8 = 10;
pub(crate) const TAG_BINARY_SET: u8 = 11;

/// Bytes of a name's length.
pub(crate) const NAME_LENGTH_BYTES: usize = 2;

const UTF8: &str = "an encoded item's text is UTF-8";

impl EncodedItem {
    /// Encodes a tree.
    ///
    /// # Panics
    /// When a name is longer than 65,535 bytes; DynamoDB refuses such names long before.
    #[must_use]
    pub fn encode(item: &Item) -> Self {
        let mut builder = ItemBuilder::new();
        for (name, value) in item {
            builder.name(name).expect("attribute names have less than 65536 bytes");
            builder.value(value);
        }
        builder.finish().expect("a map's names are unique")
    }

    /// The item without attributes.
    #[must_use]
    pub fn empty() -> Self {
        Self(Bytes::from_static(&[0, 0, 2]))
    }

    /// The whole item as a tree.
    #[must_use]
    pub fn decode(&self) -> Item {
        self.view().to_item()
    }

    /// A view that navigates the encoded bytes.
    #[must_use]
    pub fn view(&self) -> ItemView<'_> {
        ItemView::new(&self.0)
    }

    /// Takes bytes from outside, if they are an item's encoding.
    ///
    /// # Errors
    /// They are not.
    pub fn parse(bytes: Bytes) -> Result<Self, Malformed> {
        crate::item_check::check_item(&bytes)?;
        Ok(Self(bytes))
    }

    /// The encoded bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Bytes that are no item's encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not the encoding of an item")]
pub struct Malformed;

/// A container's elements, by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elements<'a> {
    /// The elements, then their offsets.
    bytes: &'a [u8],
    /// Where the offsets begin.
    table: usize,
    count: usize,
    wide: bool,
}

impl<'a> Elements<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        let (width_byte, rest) = payload.split_last().expect("a container ends in its width");
        let wide = *width_byte == 4;
        let width = if wide { 4 } else { 2 };
        let count_at = rest.len() - width;
        let count = read_integer(rest, count_at, wide);
        Self { bytes: &rest[..count_at], table: count_at - count * width, count, wide }
    }

    pub(crate) const fn len(&self) -> usize {
        self.count
    }

    #[inline]
    fn offset(&self, index: usize) -> usize {
        if index == self.count {
            return self.table;
        }
        let width = if self.wide { 4 } else { 2 };
        read_integer(self.bytes, self.table + index * width, self.wide)
    }

    #[inline]
    pub(crate) fn get(&self, index: usize) -> &'a [u8] {
        &self.bytes[self.offset(index)..self.offset(index + 1)]
    }

    /// The elements in order: each ends where the next begins, so that offsets are read once.
    pub(crate) fn iter(self) -> ElementIter<'a> {
        ElementIter { start: self.offset(0), next: 0, elements: self }
    }

    /// The number of the element whose `key` is `wanted`, or where it would be.
    fn search(&self, wanted: &[u8], key: impl Fn(&'a [u8]) -> &'a [u8]) -> Result<usize, usize> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low.midpoint(high);
            match key(self.get(middle)).cmp(wanted) {
                Ordering::Less => low = middle + 1,
                Ordering::Greater => high = middle,
                Ordering::Equal => return Ok(middle),
            }
        }
        Err(low)
    }
}

/// Elements in order.
#[derive(Clone, Debug)]
pub(crate) struct ElementIter<'a> {
    elements: Elements<'a>,
    next: usize,
    /// Where the next one begins.
    start: usize,
}

impl<'a> Iterator for ElementIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        if self.next == self.elements.count {
            return None;
        }
        self.next += 1;
        let end = self.elements.offset(self.next);
        let element = &self.elements.bytes[self.start..end];
        self.start = end;
        Some(element)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.elements.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for ElementIter<'_> {}

#[inline]
fn read_integer(bytes: &[u8], at: usize, wide: bool) -> usize {
    if wide {
        let raw = bytes[at..at + 4].try_into().expect("4 bytes");
        usize::try_from(u32::from_le_bytes(raw)).expect("32 bits fit")
    } else {
        usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]))
    }
}

/// Splits a map's element into name and value.
#[inline]
pub(crate) fn split_entry(entry: &[u8]) -> (&[u8], &[u8]) {
    let length = usize::from(u16::from_le_bytes([entry[0], entry[1]]));
    entry[NAME_LENGTH_BYTES..].split_at(length)
}

/// A map's attributes: a whole item's, or those of a value of type `M`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ItemView<'a>(Elements<'a>);

impl<'a> ItemView<'a> {
    pub(crate) fn new(payload: &'a [u8]) -> Self {
        Self(Elements::new(payload))
    }

    /// How many attributes it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The attribute called `name`.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<ValueRef<'a>> {
        let found = self.0.search(name.as_bytes(), |entry| split_entry(entry).0).ok()?;
        Some(ValueRef(split_entry(self.0.get(found)).1))
    }

    /// The attributes in the order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&'a str, ValueRef<'a>)> + use<'a> {
        self.raw_iter().map(|(name, value)| (std::str::from_utf8(name).expect(UTF8), value))
    }

    /// The attributes as a tree.
    #[must_use]
    pub fn to_item(&self) -> Item {
        self.iter().map(|(name, value)| (name.to_owned(), value.to_value())).collect()
    }

    /// The attributes with their names as bytes: for what needs no text.
    pub(crate) fn raw_iter(&self) -> impl ExactSizeIterator<Item = (&'a [u8], ValueRef<'a>)> + use<'a> {
        self.0.iter().map(|entry| {
            let (name, value) = split_entry(entry);
            (name, ValueRef(value))
        })
    }
}

/// An encoded value. Equality is DynamoDB's: sets regardless of order, numbers by value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueRef<'a>(&'a [u8]);

impl<'a> ValueRef<'a> {
    /// The encoded value: tag and payload.
    pub(crate) const fn encoded(self) -> &'a [u8] {
        self.0
    }

    pub(crate) fn payload(self) -> &'a [u8] {
        &self.0[1..]
    }

    /// The value's type.
    #[must_use]
    pub fn kind(self) -> ValueKind {
        match self.0[0] {
            TAG_NULL => ValueKind::Null,
            TAG_FALSE | TAG_TRUE => ValueKind::Bool,
            TAG_STRING => ValueKind::S,
            TAG_NUMBER => ValueKind::N,
            TAG_BINARY => ValueKind::B,
            TAG_LIST => ValueKind::L,
            TAG_MAP => ValueKind::M,
            TAG_STRING_SET => ValueKind::SS,
            TAG_NUMBER_SET => ValueKind::NS,
            TAG_BINARY_SET => ValueKind::BS,
            tag => unreachable!("an encoded item has no tag {tag}"),
        }
    }

    /// The type as DynamoDB writes it: `S`, `N`, `BOOL`, …
    #[must_use]
    pub fn type_name(self) -> &'static str {
        self.kind().name()
    }

    /// The text of a value of type `S`.
    #[must_use]
    pub fn as_str(self) -> Option<&'a str> {
        let text = self.payload_of(TAG_STRING)?;
        Some(std::str::from_utf8(text).expect(UTF8))
    }

    /// The bytes of a value of type `B`.
    #[must_use]
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        self.payload_of(TAG_BINARY)
    }

    /// The canonical bytes of a value of type `N`.
    #[must_use]
    pub fn number_bytes(self) -> Option<&'a [u8]> {
        self.payload_of(TAG_NUMBER)
    }

    /// The number of a value of type `N`.
    #[must_use]
    pub fn as_number(self) -> Option<Number> {
        self.number_bytes().map(Number::from_trusted)
    }

    /// The truth of a value of type `BOOL`.
    #[must_use]
    pub fn as_bool(self) -> Option<bool> {
        match self.0[0] {
            TAG_TRUE => Some(true),
            TAG_FALSE => Some(false),
            _ => None,
        }
    }

    /// Whether it is of type `NULL`.
    #[must_use]
    pub fn is_null(self) -> bool {
        self.0[0] == TAG_NULL
    }

    /// The elements of a value of type `L`.
    #[must_use]
    pub fn as_list(self) -> Option<ListView<'a>> {
        self.payload_of(TAG_LIST).map(|payload| ListView(Elements::new(payload)))
    }

    /// The attributes of a value of type `M`.
    #[must_use]
    pub fn as_map(self) -> Option<ItemView<'a>> {
        self.payload_of(TAG_MAP).map(ItemView::new)
    }

    /// The elements of a value of type `SS`, `NS` or `BS`.
    #[must_use]
    pub fn as_set(self) -> Option<SetView<'a>> {
        let kind = self.kind();
        kind.is_set().then(|| SetView { kind, elements: Elements::new(self.payload()) })
    }

    /// The bytes that order and identify a scalar of type `S`, `N` or `B` among its type, and that it is
    /// in a set.
    #[must_use]
    pub fn scalar_bytes(self) -> Option<&'a [u8]> {
        matches!(self.0[0], TAG_STRING | TAG_NUMBER | TAG_BINARY).then(|| self.payload())
    }

    /// The order of two strings, two numbers or two binaries; other values have none.
    #[must_use]
    pub fn compare(self, other: Self) -> Option<Ordering> {
        if self.0[0] != other.0[0] {
            return None;
        }
        Some(self.scalar_bytes()?.cmp(other.scalar_bytes()?))
    }

    /// The value as a tree.
    #[must_use]
    pub fn to_value(self) -> AttributeValue {
        let text = |bytes: &[u8]| std::str::from_utf8(bytes).expect(UTF8).to_owned();
        let payload = self.payload();
        match self.0[0] {
            TAG_NULL => AttributeValue::Null,
            TAG_FALSE => AttributeValue::Bool(false),
            TAG_TRUE => AttributeValue::Bool(true),
            TAG_STRING => AttributeValue::S(text(payload)),
            TAG_NUMBER => AttributeValue::N(Number::from_trusted(payload)),
            TAG_BINARY => AttributeValue::B(payload.to_vec()),
            TAG_LIST => {
                AttributeValue::L(ListView(Elements::new(payload)).iter().map(Self::to_value).collect())
            }
            TAG_MAP => AttributeValue::M(ItemView::new(payload).to_item()),
            tag => {
                let elements = Elements::new(payload);
                let each = elements.iter();
                match tag {
                    TAG_STRING_SET => AttributeValue::SS(each.map(text).collect()),
                    TAG_NUMBER_SET => AttributeValue::NS(each.map(Number::from_trusted).collect()),
                    _ => AttributeValue::BS(each.map(<[u8]>::to_vec).collect()),
                }
            }
        }
    }

    fn payload_of(self, tag: u8) -> Option<&'a [u8]> {
        (self.0[0] == tag).then(|| self.payload())
    }
}

/// The elements of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListView<'a>(Elements<'a>);

impl<'a> ListView<'a> {
    /// How many elements it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len() == 0
    }

    /// The element at `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<ValueRef<'a>> {
        (index < self.0.len()).then(|| ValueRef(self.0.get(index)))
    }

    /// The elements in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ValueRef<'a>> + use<'a> {
        self.0.iter().map(ValueRef)
    }
}

/// The elements of a set, sorted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetView<'a> {
    kind: ValueKind,
    elements: Elements<'a>,
}

impl<'a> SetView<'a> {
    /// `SS`, `NS` or `BS`.
    #[must_use]
    pub const fn kind(&self) -> ValueKind {
        self.kind
    }

    /// The type of its elements: `S`, `N` or `B`.
    #[must_use]
    pub const fn element_kind(&self) -> ValueKind {
        match self.kind {
            ValueKind::SS => ValueKind::S,
            ValueKind::NS => ValueKind::N,
            _ => ValueKind::B,
        }
    }

    /// How many elements it has.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.elements.len()
    }

    /// Whether it has none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.elements.len() == 0
    }

    /// The elements: UTF-8 of strings, canonical bytes of numbers, binaries as they are.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.elements.iter()
    }

    /// Whether `value`, a scalar of the element type, is in it.
    #[must_use]
    pub fn contains(&self, value: ValueRef<'_>) -> bool {
        value.kind() == self.element_kind()
            && value.scalar_bytes().is_some_and(|bytes| self.contains_bytes(bytes))
    }

    /// Whether the element with these bytes is in it.
    #[must_use]
    pub fn contains_bytes(&self, element: &[u8]) -> bool {
        self.elements.search(element, |bytes| bytes).is_ok()
    }
}

#[cfg(test)]
mod tests;
