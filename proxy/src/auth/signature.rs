//! The signature itself: canonical request, string to sign, derived key, comparison.

use hmac::{Hmac, KeyInit, Mac};
use hyper::header::HeaderValue;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::authorization::Authorization;
use super::present_headers::PresentHeaders;
use super::refusal::Refusal;
use super::signing_time::SigningTime;

/// The only algorithm.
pub(super) const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// Most headers that a request may sign; SDKs sign three to ten.
const MAX_SIGNED_HEADERS: usize = 64;

/// Headers that must be signed whether or not they are there.
const ALWAYS_SIGNED: [&str; 3] = ["host", "x-amz-date", "x-amz-target"];

/// A key derived for one scope, ready to sign.
#[derive(Clone)]
pub(super) struct SigningKey(Hmac<Sha256>);

impl SigningKey {
    pub(super) const SERVICE: &str = "dynamodb";
    pub(super) const TERMINATOR: &str = "aws4_request";

    /// Derives the key of (`secret`, `date`, `region`).
    pub(super) fn derive(secret: &str, date: &str, region: &str) -> Self {
        let mut key = format!("AWS4{secret}").into_bytes();
        for part in [date, region, Self::SERVICE, Self::TERMINATOR] {
            key = keyed(&key).chain_update(part.as_bytes()).finalize().into_bytes().to_vec();
        }
        Self(keyed(&key))
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

/// The signed headers of a request, checked.
pub(super) struct SignedHeaders<'a> {
    headers: Vec<(&'a str, &'a HeaderValue)>,
}

impl<'a> SignedHeaders<'a> {
    /// Checks that what must be signed is, and that every signed header is there exactly once.
    pub(super) fn check(
        authorization: &Authorization<'a>,
        present: &PresentHeaders<'a>,
        host: &'a HeaderValue,
    ) -> Result<Self, Refusal> {
        let mut headers = Vec::with_capacity(12);
        for name in authorization.signed_headers.split(';') {
            // Ascending, so each once; lower-case, so that nobody can read it as another.
            if headers.last().is_some_and(|(last, _)| *last >= name)
                || name.bytes().any(|byte| byte.is_ascii_uppercase())
                || headers.len() == MAX_SIGNED_HEADERS
            {
                return Err(Refusal::Mismatch);
            }
            headers.push((name, value(name, present, host)?));
        }
        let signed = |name: &str| headers.binary_search_by_key(&name, |(name, _)| name).is_ok();
        if let Some(name) = ALWAYS_SIGNED.iter().find(|name| !signed(name)) {
            return Err(Refusal::Unsigned((*name).into()));
        }
        let mut amz = present.names().filter(|name| name.starts_with("x-amz-"));
        if let Some(name) = amz.find(|name| !signed(name)) {
            return Err(Refusal::Unsigned(name.into()));
        }
        Ok(Self { headers })
    }

    /// Whether the signature that came is the one that `key` makes. In constant time.
    pub(super) fn signature_matches(
        &self,
        authorization: &Authorization<'_>,
        time: &SigningTime<'_>,
        body_hash: &[u8; 64],
        key: &SigningKey,
    ) -> bool {
        let mut mac = key.0.clone();
        for part in [ALGORITHM, "\n", time.text(), "\n", authorization.scope, "\n"] {
            mac.update(part.as_bytes());
        }
        mac.update(&self.canonical_request_hash(authorization.signed_headers, body_hash));
        let ours = hexadecimal(&mac.finalize().into_bytes().into());
        // Another length, and upper case, are another text.
        ours.as_slice().ct_eq(authorization.signature.as_bytes()).into()
    }

    /// The hash of the canonical request, in hexadecimal. Method, path and query are always the same:
    /// nothing else gets this far.
    fn canonical_request_hash(&self, names: &str, body_hash: &[u8; 64]) -> [u8; 64] {
        let mut canonical = Vec::with_capacity(512);
        canonical.extend_from_slice(b"POST\n/\n\n");
        for (name, value) in &self.headers {
            canonical.extend_from_slice(name.as_bytes());
            canonical.push(b':');
            push_normalised(&mut canonical, value.as_bytes());
            canonical.push(b'\n');
        }
        canonical.push(b'\n');
        canonical.extend_from_slice(names.as_bytes());
        canonical.push(b'\n');
        canonical.extend_from_slice(body_hash);
        sha256_hex(&canonical)
    }
}

/// The one value of a signed header.
fn value<'a>(
    name: &str,
    present: &PresentHeaders<'a>,
    host: &'a HeaderValue,
) -> Result<&'a HeaderValue, Refusal> {
    // HTTP/2 has it in a pseudo-header.
    if name == "host" {
        return Ok(host);
    }
    present.single(name).ok().flatten().ok_or(Refusal::Mismatch)
}

/// Appends a header's value: trimmed, and runs of spaces as one.
fn push_normalised(canonical: &mut Vec<u8>, value: &[u8]) {
    let value = value.trim_ascii();
    if memchr::memchr(b' ', value).is_none() {
        canonical.extend_from_slice(value);
        return;
    }
    let mut spaced = false;
    for &byte in value {
        if byte != b' ' || !spaced {
            canonical.push(byte);
        }
        spaced = byte == b' ';
    }
}

/// SHA-256 in hexadecimal.
pub(super) fn sha256_hex(bytes: &[u8]) -> [u8; 64] {
    hexadecimal(&Sha256::digest(bytes).into())
}

/// In lower case, and in the same time whatever the bytes: no table, no branch.
fn hexadecimal(bytes: &[u8; 32]) -> [u8; 64] {
    let digit = |nibble: u8| nibble + b'0' + if nibble > 9 { b'a' - b'0' - 10 } else { 0 };
    let mut text = [0; 64];
    for (pair, byte) in text.as_chunks_mut::<2>().0.iter_mut().zip(bytes) {
        *pair = [digit(byte >> 4), digit(byte & 15)];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The published example: AWS General Reference, "Deriving the signing key", for IAM; ours differs in
    /// the service only, so the chain is checked step by step against the published secret's key.
    #[test]
    fn the_chain_of_keys_is_the_published_one() {
        let mut key = b"AWS4wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".to_vec();
        for part in ["20150830", "us-east-1", "iam", "aws4_request"] {
            key = keyed(&key).chain_update(part.as_bytes()).finalize().into_bytes().to_vec();
        }
        assert_eq!(hex::encode(key), "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
    }

    #[test]
    fn every_byte_has_its_two_digits() {
        for first in 0..=255_u8 {
            let bytes: [u8; 32] = std::array::from_fn(|place| first.wrapping_add(place as u8));
            assert_eq!(hexadecimal(&bytes).as_slice(), hex::encode(bytes).as_bytes());
        }
    }

    #[test]
    fn values_are_trimmed_and_runs_of_spaces_are_one() {
        for (value, normal) in
            [("a b", "a b"), ("  a   b  c ", "a b c"), ("", ""), ("a", "a"), ("\"a  b\"", "\"a b\"")]
        {
            let mut canonical = Vec::new();
            push_normalised(&mut canonical, value.as_bytes());
            assert_eq!(canonical, normal.as_bytes());
        }
    }
}
