//! From encoded items to JSON, straight into the response's bytes.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::item::{ItemView, ValueRef};
use crate::number;
use crate::value::ValueKind;

const HEX: &[u8; 16] = b"0123456789abcdef";

/// Appends an item: `{"name": {"S": "text"}, …}`.
pub fn write_item(item: ItemView<'_>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (index, (name, value)) in item.raw_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write_text(name, out);
        out.push(b':');
        write_value(value, out);
    }
    out.push(b'}');
}

/// Appends a value: `{"S": "text"}`.
pub fn write_value(value: ValueRef<'_>, out: &mut Vec<u8>) {
    let kind = value.kind();
    out.extend_from_slice(opening(kind));
    match kind {
        ValueKind::S | ValueKind::N | ValueKind::B => write_scalar(kind, value.payload(), out),
        ValueKind::Bool if value.as_bool() == Some(false) => out.extend_from_slice(b"false"),
        ValueKind::Bool | ValueKind::Null => out.extend_from_slice(b"true"),
        ValueKind::L => {
            let elements = value.as_list().into_iter().flat_map(|list| list.iter());
            write_array(elements, out, write_value);
        }
        ValueKind::M => {
            if let Some(map) = value.as_map() {
                write_item(map, out);
            }
        }
        ValueKind::SS | ValueKind::NS | ValueKind::BS => {
            if let Some(set) = value.as_set() {
                let kind = set.element_kind();
                write_array(set.iter(), out, |element, out| write_scalar(kind, element, out));
            }
        }
    }
    out.push(b'}');
}

/// What stands before a value: its type as the object's only name.
const fn opening(kind: ValueKind) -> &'static [u8] {
    match kind {
        ValueKind::S => b"{\"S\":",
        ValueKind::N => b"{\"N\":",
        ValueKind::B => b"{\"B\":",
        ValueKind::Bool => b"{\"BOOL\":",
        ValueKind::Null => b"{\"NULL\":",
        ValueKind::L => b"{\"L\":",
        ValueKind::M => b"{\"M\":",
        ValueKind::SS => b"{\"SS\":",
        ValueKind::NS => b"{\"NS\":",
        ValueKind::BS => b"{\"BS\":",
    }
}

/// Appends a string in quotes, escaped.
pub fn write_string(text: &str, out: &mut Vec<u8>) {
    write_text(text.as_bytes(), out);
}

fn write_array<T>(
    elements: impl Iterator<Item = T>,
    out: &mut Vec<u8>,
    mut write: impl FnMut(T, &mut Vec<u8>),
) {
    out.push(b'[');
    for (index, element) in elements.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        write(element, out);
    }
    out.push(b']');
}

fn write_scalar(kind: ValueKind, bytes: &[u8], out: &mut Vec<u8>) {
    match kind {
        ValueKind::S => write_text(bytes, out),
        ValueKind::N => {
            out.push(b'"');
            number::write_text(bytes, out);
            out.push(b'"');
        }
        _ => {
            out.push(b'"');
            let start = out.len();
            out.resize(start + bytes.len().div_ceil(3) * 4, 0);
            let written = STANDARD.encode_slice(bytes, &mut out[start..]);
            written.expect("base64 writes four bytes for every started three");
            out.push(b'"');
        }
    }
}

/// Bytes that are looked at in one step, without a branch between them.
const STEP: usize = 16;

/// Writes UTF-8 bytes as a JSON string: what needs no escape is copied in runs.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 2);
    out.push(b'"');
    let mut rest = text;
    loop {
        let (plain, escaped) = rest.split_at(plain_prefix(rest));
        out.extend_from_slice(plain);
        let Some((byte, after)) = escaped.split_first() else { break };
        write_escape(*byte, out);
        rest = after;
    }
    out.push(b'"');
}

/// How many bytes at the beginning of `text` need no escape.
fn plain_prefix(text: &[u8]) -> usize {
    let (steps, rest) = text.as_chunks::<STEP>();
    let plain = STEP * steps.iter().take_while(|step| is_plain(step)).count();
    // The last step may overlap the one before, so that no remainder is left to look at byte by byte.
    if plain == text.len() - rest.len() && text.last_chunk::<STEP>().is_some_and(is_plain) {
        return text.len();
    }
    let rest = &text[plain..];
    plain + rest.iter().position(|byte| needs_escape(*byte)).unwrap_or(rest.len())
}

/// Whether nothing in it needs an escape. Without an early exit the compiler compares all its bytes at once.
fn is_plain(step: &[u8; STEP]) -> bool {
    !step.iter().fold(false, |found, byte| found | needs_escape(*byte))
}

const fn needs_escape(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escape(byte: u8, out: &mut Vec<u8>) {
    let short = match byte {
        b'"' => b'"',
        b'\\' => b'\\',
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0C => b'f',
        _ => {
            let [high, low] = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
            out.extend_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
