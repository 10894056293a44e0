//! Builds an encoded item in one pass over attributes that arrive in any order, without a tree.

use bytes::Bytes;

use crate::item::{
    NAME_LENGTH_BYTES, TAG_BINARY, TAG_BINARY_SET, TAG_FALSE, TAG_LIST, TAG_MAP, TAG_NULL, TAG_NUMBER,
    TAG_NUMBER_SET, TAG_STRING, TAG_STRING_SET, TAG_TRUE, ValueRef, split_entry,
};
use crate::number::Number;
use crate::operation::EncodedItem;
use crate::value::{AttributeValue, ValueKind};

/// Writes an encoded item front to back.
///
/// Each attribute is a [`name`](Self::name) and one value; a list's elements are values; a set's are
/// [`element`](Self::element)s. Containers are closed by [`end`](Self::end) in the order of nesting, and are
/// sorted then if they were not written in order.
#[derive(Debug)]
pub struct ItemBuilder {
    buffer: Vec<u8>,
    /// Starts of the elements of every open container, the innermost one's last.
    starts: Vec<usize>,
    open: Vec<Container>,
    /// Where elements are put in order: their bytes, and where they were. Kept for their capacity.
    scratch: Vec<u8>,
    moves: Vec<(usize, usize)>,
}

/// A container that is being written.
#[derive(Clone, Copy, Debug)]
struct Container {
    kind: ContainerKind,
    /// Where its elements begin.
    buffer_start: usize,
    /// Where its part of `starts` begins.
    first: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ContainerKind {
    Map,
    List,
    Set,
}

/// Why something cannot be built.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// Two attributes of one map have this name.
    #[error("duplicate attribute name {0}")]
    DuplicateName(String),
    /// Two elements of a set are equal: all of them, as they were written.
    #[error("duplicate set element")]
    DuplicateElement(Vec<Vec<u8>>),
    /// A name of more than 65,535 bytes.
    #[error("Attribute name is too large, must be less than 65536 bytes")]
    NameTooLong,
}

impl Default for ItemBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl ItemBuilder {
    /// A builder of an item without attributes yet.
    #[must_use]
    pub fn new() -> Self {
        Self::with_capacity(0)
    }

    /// The same, with room for about `bytes` encoded bytes.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let item = Container { kind: ContainerKind::Map, buffer_start: 0, first: 0 };
        Self {
            buffer: Vec::with_capacity(bytes),
            starts: Vec::with_capacity(16),
            open: vec![item],
            scratch: Vec::new(),
            moves: Vec::new(),
        }
    }

    /// Begins an attribute of the innermost open map; its value follows.
    ///
    /// # Errors
    /// The name is too long.
    pub fn name(&mut self, name: &str) -> Result<(), BuildError> {
        let length = u16::try_from(name.len()).map_err(|_| BuildError::NameTooLong)?;
        self.starts.push(self.buffer.len());
        self.buffer.extend_from_slice(&length.to_le_bytes());
        self.buffer.extend_from_slice(name.as_bytes());
        Ok(())
    }

    /// A value of type `S`.
    pub fn string(&mut self, text: &str) {
        self.scalar(TAG_STRING, text.as_bytes());
    }

    /// A value of type `N`.
    pub fn number(&mut self, number: &Number) {
        self.scalar(TAG_NUMBER, number.as_bytes());
    }

    /// A value of type `B`.
    pub fn binary(&mut self, bytes: &[u8]) {
        self.scalar(TAG_BINARY, bytes);
    }

    /// A value of type `BOOL`.
    pub fn bool(&mut self, value: bool) {
        self.scalar(if value { TAG_TRUE } else { TAG_FALSE }, &[]);
    }

    /// A value of type `NULL`.
    pub fn null(&mut self) {
        self.scalar(TAG_NULL, &[]);
    }

    /// A value that is already encoded.
    pub fn value_ref(&mut self, value: ValueRef<'_>) {
        self.start_value();
        self.buffer.extend_from_slice(value.encoded());
    }

    /// A value from a tree.
    ///
    /// # Panics
    /// When a name in it is longer than 65,535 bytes, or a set in it is not in order.
    pub fn value(&mut self, value: &AttributeValue) {
        match value {
            AttributeValue::S(text) => self.string(text),
            AttributeValue::N(number) => self.number(number),
            AttributeValue::B(bytes) => self.binary(bytes),
            AttributeValue::Bool(value) => self.bool(*value),
            AttributeValue::Null => self.null(),
            AttributeValue::L(elements) => {
                self.begin_list();
                elements.iter().for_each(|element| self.value(element));
                self.end().expect("a list has no keys");
            }
            AttributeValue::M(map) => {
                self.begin_map();
                for (name, value) in map {
                    self.name(name).expect("attribute names have less than 65536 bytes");
                    self.value(value);
                }
                self.end().expect("a map's names are unique");
            }
            AttributeValue::SS(set) => self.set(ValueKind::SS, set.iter().map(String::as_bytes)),
            AttributeValue::NS(set) => self.set(ValueKind::NS, set.iter().map(Number::as_bytes)),
            AttributeValue::BS(set) => self.set(ValueKind::BS, set.iter().map(Vec::as_slice)),
        }
    }

    /// Opens a value of type `M`.
    pub fn begin_map(&mut self) {
        self.begin(TAG_MAP, ContainerKind::Map);
    }

    /// Opens a value of type `L`.
    pub fn begin_list(&mut self) {
        self.begin(TAG_LIST, ContainerKind::List);
    }

    /// Opens a value of type `SS`, `NS` or `BS`.
    ///
    /// # Panics
    /// When `kind` is none of them.
    pub fn begin_set(&mut self, kind: ValueKind) {
        let tag = match kind {
            ValueKind::SS => TAG_STRING_SET,
            ValueKind::NS => TAG_NUMBER_SET,
            ValueKind::BS => TAG_BINARY_SET,
            _ => unreachable!("{kind:?} is no set"),
        };
        self.begin(tag, ContainerKind::Set);
    }

    /// An element of the innermost open set: UTF-8, a canonical number or a binary.
    pub fn element(&mut self, bytes: &[u8]) {
        self.starts.push(self.buffer.len());
        self.buffer.extend_from_slice(bytes);
    }

    /// Closes the innermost open map, list or set.
    ///
    /// # Errors
    /// Names or elements in it are equal.
    ///
    /// # Panics
    /// When none is open.
    pub fn end(&mut self) -> Result<(), BuildError> {
        assert!(self.open.len() > 1, "end() closes what begin_…() opened");
        self.close()
    }

    /// The item.
    ///
    /// # Errors
    /// Two attributes have the same name.
    ///
    /// # Panics
    /// When a container is still open.
    pub fn finish(mut self) -> Result<EncodedItem, BuildError> {
        assert!(self.open.len() == 1, "every container is closed before the item");
        self.close()?;
        Ok(EncodedItem(Bytes::from(self.buffer)))
    }

    fn set<'b>(&mut self, kind: ValueKind, elements: impl Iterator<Item = &'b [u8]>) {
        self.begin_set(kind);
        elements.for_each(|element| self.element(element));
        self.end().expect("a set's elements are unique");
    }

    fn scalar(&mut self, tag: u8, payload: &[u8]) {
        self.start_value();
        self.buffer.push(tag);
        self.buffer.extend_from_slice(payload);
    }

    fn begin(&mut self, tag: u8, kind: ContainerKind) {
        self.start_value();
        self.buffer.push(tag);
        let (buffer_start, first) = (self.buffer.len(), self.starts.len());
        self.open.push(Container { kind, buffer_start, first });
    }

    /// In a list, a value is an element; in a map, the element began with the name.
    fn start_value(&mut self) {
        if self.open.last().is_some_and(|container| container.kind == ContainerKind::List) {
            self.starts.push(self.buffer.len());
        }
    }

    fn close(&mut self) -> Result<(), BuildError> {
        let container = self.open.pop().expect("a container is open");
        if container.kind != ContainerKind::List
            && let Err(error) = self.put_in_order(container)
        {
            // The item is spoiled, but its outer containers can still be closed.
            self.starts.truncate(container.first);
            return Err(error);
        }
        let data = self.buffer.len() - container.buffer_start;
        let starts = &self.starts[container.first..];
        let narrow = data <= usize::from(u16::MAX) && starts.len() <= usize::from(u16::MAX);
        let relative = starts.iter().map(|start| start - container.buffer_start);
        let integers = relative.chain([starts.len()]);
        if narrow {
            for integer in integers {
                let integer = u16::try_from(integer).expect("narrow integers fit");
                self.buffer.extend_from_slice(&integer.to_le_bytes());
            }
            self.buffer.push(2);
        } else {
            for integer in integers {
                let integer = u32::try_from(integer).expect("items are smaller than 4 GB");
                self.buffer.extend_from_slice(&integer.to_le_bytes());
            }
            self.buffer.push(4);
        }
        self.starts.truncate(container.first);
        Ok(())
    }

    /// Sorts a map's or a set's elements by name or content, and refuses equal ones.
    fn put_in_order(&mut self, container: Container) -> Result<(), BuildError> {
        let Self { buffer, starts, scratch, moves, .. } = self;
        let starts = &mut starts[container.first..];
        let in_map = container.kind == ContainerKind::Map;
        let end = buffer.len();
        let key = |start: usize, end: usize| {
            let element = &buffer[start..end];
            if in_map { split_entry(element).0 } else { element }
        };
        let end_of = |index: usize, starts: &[usize]| starts.get(index + 1).copied().unwrap_or(end);
        let ordered =
            (1..starts.len()).all(|i| key(starts[i - 1], starts[i]) < key(starts[i], end_of(i, starts)));
        if ordered {
            return Ok(());
        }

        moves.clear();
        moves.extend((0..starts.len()).map(|index| (starts[index], end_of(index, starts))));
        moves.sort_unstable_by(|a, b| key(a.0, a.1).cmp(key(b.0, b.1)));
        if let Some(pair) = moves.windows(2).find(|p| key(p[0].0, p[0].1) == key(p[1].0, p[1].1)) {
            let name = key(pair[0].0, pair[0].1);
            return Err(match container.kind {
                ContainerKind::Map => BuildError::DuplicateName(String::from_utf8_lossy(name).into_owned()),
                _ => BuildError::DuplicateElement(
                    (0..starts.len())
                        .map(|index| buffer[starts[index]..end_of(index, starts)].to_vec())
                        .collect(),
                ),
            });
        }
        scratch.clear();
        for (slot, (from, to)) in starts.iter_mut().zip(moves.iter()) {
            *slot = container.buffer_start + scratch.len();
            scratch.extend_from_slice(&buffer[*from..*to]);
        }
        buffer[container.buffer_start..].copy_from_slice(scratch);
        Ok(())
    }
}

const _: () = assert!(NAME_LENGTH_BYTES == 2, "names are written with 2-byte lengths");
