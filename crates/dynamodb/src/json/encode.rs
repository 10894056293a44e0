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
    out.extend_from_slice(b"{\"");
    out.extend_from_slice(kind.name().as_bytes());
    out.extend_from_slice(b"\":");
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

/// Writes UTF-8 bytes as a JSON string: what needs no escape is copied in runs.
fn write_text(text: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| needs_escape(*byte)) {
        out.extend_from_slice(&rest[..at]);
        write_escape(rest[at], out);
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
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
