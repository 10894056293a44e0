//! Checks bytes from outside before anything trusts them as an encoded item.

use crate::item::{
    Malformed, NAME_LENGTH_BYTES, TAG_BINARY, TAG_BINARY_SET, TAG_FALSE, TAG_LIST, TAG_MAP, TAG_NULL,
    TAG_NUMBER, TAG_NUMBER_SET, TAG_STRING, TAG_STRING_SET, TAG_TRUE,
};
use crate::number;

/// Lists and maps that a value may consist of, one in the other: DynamoDB allows 32 levels of nesting,
/// and the bound keeps the recursion shallow.
const MAX_CONTAINERS: usize = 33;

/// Whether `bytes` is an item's encoding.
pub(crate) fn check_item(bytes: &[u8]) -> Result<(), Malformed> {
    check_map(bytes, MAX_CONTAINERS)
}

fn check_value(value: &[u8], depth: usize) -> Result<(), Malformed> {
    let (tag, payload) = value.split_first().ok_or(Malformed)?;
    match *tag {
        TAG_NULL | TAG_FALSE | TAG_TRUE => ensure(payload.is_empty()),
        TAG_STRING => ensure(std::str::from_utf8(payload).is_ok()),
        TAG_NUMBER => ensure(number::is_canonical(payload)),
        TAG_BINARY => Ok(()),
        TAG_LIST => {
            let depth = depth.checked_sub(1).ok_or(Malformed)?;
            elements(payload)?.try_for_each(|element| check_value(element?, depth))
        }
        TAG_MAP => check_map(payload, depth.checked_sub(1).ok_or(Malformed)?),
        TAG_STRING_SET => check_set(payload, |element| std::str::from_utf8(element).is_ok()),
        TAG_NUMBER_SET => check_set(payload, number::is_canonical),
        TAG_BINARY_SET => check_set(payload, |_| true),
        _ => Err(Malformed),
    }
}

fn check_map(payload: &[u8], depth: usize) -> Result<(), Malformed> {
    let mut previous: Option<&[u8]> = None;
    for element in elements(payload)? {
        let element = element?;
        let (length, rest) = element.split_at_checked(NAME_LENGTH_BYTES).ok_or(Malformed)?;
        let length = usize::from(u16::from_le_bytes([length[0], length[1]]));
        let (name, value) = rest.split_at_checked(length).ok_or(Malformed)?;
        ensure(std::str::from_utf8(name).is_ok() && previous.is_none_or(|before| before < name))?;
        check_value(value, depth)?;
        previous = Some(name);
    }
    Ok(())
}

fn check_set(payload: &[u8], is_element: impl Fn(&[u8]) -> bool) -> Result<(), Malformed> {
    let mut previous: Option<&[u8]> = None;
    for element in elements(payload)? {
        let element = element?;
        ensure(is_element(element) && previous.is_none_or(|before| before < element))?;
        previous = Some(element);
    }
    Ok(())
}

/// The elements of a container, each bounds-checked; every byte belongs to one of them or to the table.
fn elements(payload: &[u8]) -> Result<impl Iterator<Item = Result<&[u8], Malformed>>, Malformed> {
    let (width_byte, rest) = payload.split_last().ok_or(Malformed)?;
    let width = match *width_byte {
        2 => 2,
        4 => 4,
        _ => return Err(Malformed),
    };
    let integer = |bytes: &[u8]| match *bytes {
        [a, b] => usize::from(u16::from_le_bytes([a, b])),
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]) as usize,
        _ => unreachable!("integers have 2 or 4 bytes"),
    };
    let count_at = rest.len().checked_sub(width).ok_or(Malformed)?;
    let count = integer(&rest[count_at..]);
    let table_bytes = count.checked_mul(width).ok_or(Malformed)?;
    let data_len = count_at.checked_sub(table_bytes).ok_or(Malformed)?;
    let (data, table) = rest[..count_at].split_at(data_len);
    let narrow = data_len <= usize::from(u16::MAX) && count <= usize::from(u16::MAX);
    ensure(narrow == (width == 2))?;
    let first = if count == 0 { data_len } else { integer(&table[..width]) };
    ensure(first == 0)?;
    Ok((0..count).map(move |index| {
        let at = |index: usize| match table.get(index * width..(index + 1) * width) {
            Some(bytes) => integer(bytes),
            None => data_len,
        };
        data.get(at(index)..at(index + 1)).ok_or(Malformed)
    }))
}

fn ensure(holds: bool) -> Result<(), Malformed> {
    if holds { Ok(()) } else { Err(Malformed) }
}
