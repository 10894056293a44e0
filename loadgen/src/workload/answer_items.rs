//! The sizes of the items in an answer, read off its JSON without building them.
//!
//! Everything here answers none for text that is not the expected JSON: an answer comes from outside.

use dynamodb::json::decode_item;
use memchr::memchr;

/// What an answer's JSON is read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cursor<'a> {
    json: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the begin of the text.
    pub(super) const fn new(json: &'a [u8]) -> Self {
        Self { json, at: 0 }
    }

    /// Moves to the value of the member `name` of the object here. None: there is no such member.
    pub(super) fn find(mut self, name: &[u8]) -> Option<Self> {
        let mut found = None;
        self.members(|member, cursor| {
            if member == name && found.is_none() {
                found = Some(*cursor);
            }
            cursor.skip_value()
        })?;
        found
    }

    /// Moves over the object here; `each` is called at the value of each member and must move over it.
    pub(super) fn members(&mut self, mut each: impl FnMut(&'a [u8], &mut Self) -> Option<()>) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            return self.take(b'}');
        }
        loop {
            let name = self.string()?;
            self.take(b':')?;
            each(name, self)?;
            match self.peek()? {
                b',' => self.take(b',')?,
                _ => return self.take(b'}'),
            }
        }
    }

    /// Moves over the array here; `each` is called at each element and must move over it.
    pub(super) fn elements(&mut self, mut each: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            return self.take(b']');
        }
        loop {
            each(self)?;
            match self.peek()? {
                b',' => self.take(b',')?,
                _ => return self.take(b']'),
            }
        }
    }

    /// Moves over the item here, and says how many bytes it counts by DynamoDB's rule.
    pub(super) fn item_bytes(&mut self) -> Option<u64> {
        let begin = *self;
        let (mut bytes, mut plain) = (0, true);
        self.members(|name, cursor| {
            bytes += text_bytes(name);
            match cursor.scalar_bytes()? {
                Some(value) => bytes += value,
                None => plain = false,
            }
            Some(())
        })?;
        if plain {
            return Some(bytes);
        }
        // Numbers, lists, maps and sets: the product's own reckoning, on the item's text alone.
        let item = decode_item(begin.json.get(begin.at..self.at)?).ok()?;
        Some(item.view().size())
    }

    /// Moves over the attribute value here, and says what it counts for, if it is a string, a binary, a truth value
    /// or null.
    fn scalar_bytes(&mut self) -> Option<Option<u64>> {
        let mut bytes = None;
        self.members(|kind, cursor| {
            bytes = match kind {
                b"S" => Some(text_bytes(cursor.string()?)),
                b"B" => Some(base64_bytes(cursor.string()?)),
                b"BOOL" | b"NULL" => {
                    cursor.skip_value()?;
                    Some(1)
                }
                _ => {
                    cursor.skip_value()?;
                    None
                }
            };
            Some(())
        })?;
        Some(bytes)
    }

    /// Moves over the value here, of any kind.
    pub(super) fn skip_value(&mut self) -> Option<()> {
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.skip_word()?,
            }
            if depth == 0 {
                return Some(());
            }
        }
    }

    /// Moves over a number, or true, false, null.
    fn skip_word(&mut self) -> Option<()> {
        let rest = self.json.get(self.at..)?;
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
        let length = rest.iter().take_while(|byte| is_of_word(byte)).count();
        self.at += length;
        (length > 0).then_some(())
    }

    /// Moves over the string here, and gives what is between its quotes, escapes and all.
    fn string(&mut self) -> Option<&'a [u8]> {
        self.take(b'"')?;
        let begin = self.at;
        loop {
            self.at += memchr(b'"', self.json.get(self.at..)?)?;
            let escapes = self.json[begin..self.at].iter().rev().take_while(|byte| **byte == b'\\').count();
            self.at += 1;
            if escapes % 2 == 0 {
                return self.json.get(begin..self.at - 1);
            }
        }
    }

    /// The next byte that is not white space; moves to it.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Moves over `byte`.
    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
}

/// Bytes of a string in UTF-8, given as JSON has it between quotes.
fn text_bytes(raw: &[u8]) -> u64 {
    if memchr(b'\\', raw).is_none() {
        return raw.len() as u64;
    }
    let (mut bytes, mut at) = (0, 0);
    while let Some(byte) = raw.get(at) {
        let (counts, length) = match (byte, raw.get(at + 1)) {
            (b'\\', Some(b'u')) => (code_unit_bytes(raw.get(at + 2..at + 6)), 6),
            (b'\\', _) => (1, 2),
            _ => (1, 1),
        };
        bytes += counts;
        at += length;
    }
    bytes
}

/// Bytes in UTF-8 of a UTF-16 code unit in four hexadecimal digits; half of four for half a pair.
fn code_unit_bytes(digits: Option<&[u8]>) -> u64 {
    let unit = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    match unit.and_then(|unit| u16::from_str_radix(unit, 16).ok()) {
        Some(0..=0x7F) | None => 1,
        Some(0x80..=0x7FF | 0xD800..=0xDFFF) => 2,
        Some(_) => 3,
    }
}

/// Bytes that a base64 text stands for.
fn base64_bytes(raw: &[u8]) -> u64 {
    let padding = raw.iter().rev().take_while(|byte| **byte == b'=').count();
    ((raw.len() - padding) * 3 / 4) as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn size_of(json: &str) -> Option<u64> {
        Cursor::new(json.as_bytes()).item_bytes()
    }

    #[test]
    fn sizes_are_those_of_the_products_own_rule() {
        for json in [
            r#"{}"#,
            r#"{"pk":{"S":"user1"},"v":{"S":"äöü"}}"#,
            r#"{"pk":{"S":"a\"b\\c\n\/"},"vä":{"S":"\u00e4\u20ac\ud83d\ude00\u0041"}}"#,
            r#" { "b" : { "B" : "aGVsbG8=" } , "t" : { "BOOL" : true } , "n" : { "NULL" : true } } "#,
            r#"{"n":{"N":"-12345.678"},"l":{"L":[{"S":"x"},{"M":{"y":{"N":"1"}}}]},"s":{"SS":["a","bc"]}}"#,
            r#"{"end":{"S":"\\"},"x":{"S":"]}"}}"#,
        ] {
            let expected = decode_item(json.as_bytes()).unwrap().view().size();
            assert_eq!(size_of(json), Some(expected), "{json}");
        }
    }

    #[test]
    fn a_member_is_found_wherever_it_stands() {
        let json =
            br#"{"ConsumedCapacity":{"Item":{},"x":[1,-2.5e3,null,{"a":[]}]},"Item":{"a":{"S":"bc"}}}"#;

        let mut found = Cursor::new(json).find(b"Item").unwrap();

        assert_eq!(found.item_bytes(), Some(3));
        assert!(Cursor::new(b"{}").find(b"Item").is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_hang(json in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut cursor = Cursor::new(&json);
            let _ = (cursor.find(b"a").is_some(), cursor.item_bytes(), cursor.skip_value());
        }

        #[test]
        fn nor_does_anything_that_looks_like_json(json in r#"[\{\}\[\]",:\\a1S ]{0,60}"#) {
            let mut cursor = Cursor::new(json.as_bytes());
            let _ = (cursor.find(b"a").is_some(), cursor.item_bytes(), cursor.skip_value());
        }

        #[test]
        fn strings_count_their_utf8(text in any::<String>()) {
            let json = serde_json::json!({ "a": { "S": text } }).to_string();
            prop_assert_eq!(size_of(&json), Some(1 + text.len() as u64));
        }
    }
}
