//! `x-amzn-RequestId`: 52 characters, as DynamoDB's are.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use hyper::header::HeaderValue;

/// Characters of an id: 32 bytes in base 32.
const LENGTH: usize = 52;

/// Base 32 with the extended hexadecimal alphabet (RFC 4648 §7), which DynamoDB's ids use.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHIJKLMNOPQRSTUV";

/// One request's id.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct RequestId([u8; LENGTH]);

impl RequestId {
    /// Its text.
    #[must_use]
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("the alphabet is ASCII")
    }

    /// Reads an id; none: it is not one of ours.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let id: [u8; LENGTH] = text.trim().to_ascii_uppercase().into_bytes().try_into().ok()?;
        id.iter().all(|byte| ALPHABET.contains(byte)).then_some(Self(id))
    }

    /// As a header's value.
    pub(crate) fn header_value(&self) -> HeaderValue {
        // Owned by what is copied: a refusal says it twice.
        let shared = Bytes::from_owner(self.0);
        HeaderValue::from_maybe_shared(shared).expect("the alphabet is made of visible characters")
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Draws ids: no two alike in one process, and none guessed from another process's.
#[derive(Debug)]
pub(crate) struct RequestIds {
    process: u128,
    /// An id of this process; only its first characters are other ones' too.
    pattern: [u8; LENGTH],
    drawn: AtomicU64,
}

/// Characters that differ within a process: 128 bits of 256, and what shares a character with them.
const DRAWN: usize = 26;

impl RequestIds {
    /// A sequence of its own for each `process` number, which should be random.
    #[must_use]
    pub(crate) fn new(process: u128) -> Self {
        let mut bytes = [0; 32];
        bytes[16..].copy_from_slice(&process.to_be_bytes());
        Self { process, pattern: encode(&bytes), drawn: AtomicU64::new(0) }
    }

    /// The next id.
    #[must_use]
    pub(crate) fn next(&self) -> RequestId {
        let number = self.drawn.fetch_add(1, Ordering::Relaxed);
        let [low, high] = [self.process as u64, (self.process >> 64) as u64];
        // `mix` is a bijection, so the first word alone tells this process's ids apart; it goes first
        // because people compare the beginnings of ids.
        let drawn = u128::from(mix(number ^ low)) << 64 | u128::from(mix(number.wrapping_add(high)));
        let mut text = self.pattern;
        // 128 bits are 25 characters and 3 bits: the 26th has the process's first 2 bits, too.
        let shared = (self.process >> 126) as u8;
        for (place, character) in text[..DRAWN - 1].iter_mut().enumerate() {
            *character = ALPHABET[(drawn >> (123 - 5 * place)) as usize & 31];
        }
        text[DRAWN - 1] = ALPHABET[(drawn as usize & 7) << 2 | usize::from(shared)];
        RequestId(text)
    }
}

/// SplitMix64's output function.
const fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn encode(bytes: &[u8; 32]) -> [u8; LENGTH] {
    let mut text = [0; LENGTH];
    let (mut pending, mut bits, mut at) = (0_u32, 0, 0);
    for &byte in bytes {
        pending = (pending << 8) | u32::from(byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            text[at] = ALPHABET[(pending >> bits) as usize & 31];
            at += 1;
        }
        pending &= (1 << bits) - 1;
    }
    // 256 bits leave one bit for the last character.
    text[at] = ALPHABET[(pending << (5 - bits)) as usize & 31];
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn an_id_is_its_256_bits_in_base_32() {
        let process = 0xF123_4567_89AB_CDEF_0011_2233_4455_6677;
        let ids = RequestIds::new(process);
        for number in 0..100 {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&mix(number ^ process as u64).to_be_bytes());
            bytes[8..16].copy_from_slice(&mix(number.wrapping_add((process >> 64) as u64)).to_be_bytes());
            bytes[16..].copy_from_slice(&process.to_be_bytes());
            assert_eq!(ids.next(), RequestId(encode(&bytes)));
        }
    }

    #[test]
    fn ids_are_52_upper_case_characters_and_never_repeat() {
        let ids = RequestIds::new(0x0123_4567_89AB_CDEF_0011_2233_4455_6677);
        let drawn: BTreeSet<String> = (0..10_000).map(|_| ids.next().to_string()).collect();
        assert_eq!(drawn.len(), 10_000);
        for no_id in ["", "0123", &"Z".repeat(LENGTH), &"é".repeat(26)] {
            assert_eq!(RequestId::parse(no_id), None);
        }
        for id in drawn {
            assert_eq!(id.len(), 52);
            assert!(id.bytes().all(|byte| byte.is_ascii_digit() || byte.is_ascii_uppercase()));
            assert_eq!(RequestId::parse(&id).map(|read| read.to_string()), Some(id));
        }
    }
}
