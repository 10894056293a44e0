//! The `Authorization` header:
//! `AWS4-HMAC-SHA256 Credential=KEY/DATE/REGION/SERVICE/aws4_request, SignedHeaders=a;b, Signature=HEX`.

use hyper::header::HeaderValue;

use super::refusal::{MissingParts, Refusal};
use super::signature::ALGORITHM;

/// The header's parts, each exactly as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Authorization<'a> {
    pub(super) access_key: &'a str,
    /// `DATE/REGION/SERVICE/TERMINATOR`.
    pub(super) scope: &'a str,
    pub(super) date: &'a str,
    pub(super) region: &'a str,
    pub(super) service: &'a str,
    pub(super) terminator: &'a str,
    pub(super) signed_headers: &'a str,
    pub(super) signature: &'a str,
}

impl<'a> Authorization<'a> {
    /// Reads the header. `dated`: whether the request has its `X-Amz-Date`, whose absence DynamoDB
    /// reports together with the header's own gaps.
    pub(super) fn parse(value: &'a HeaderValue, dated: bool) -> Result<Self, Refusal> {
        let text = ascii(value).ok_or(Refusal::Malformed)?;
        let parameters = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        let mut rest = parameters;
        while let Some(parameters) = rest {
            let (parameter, after) = cut(parameters, b',').map_or((parameters, None), |(a, b)| (a, Some(b)));
            rest = after;
            let parameter = parameter.trim_matches(' ');
            let (slot, value) = if let Some(value) = parameter.strip_prefix("Credential=") {
                (&mut credential, value)
            } else if let Some(value) = parameter.strip_prefix("SignedHeaders=") {
                (&mut signed_headers, value)
            } else if let Some(value) = parameter.strip_prefix("Signature=") {
                (&mut signature, value)
            } else {
                // A parameter that we do not know could mean something to somebody else.
                return Err(Refusal::Malformed);
            };
            if slot.replace(value).is_some() {
                return Err(Refusal::Malformed);
            }
        }
        let (Some(credential), Some(signed_headers), Some(signature), true) =
            (credential, signed_headers, signature, dated)
        else {
            return Err(Refusal::Incomplete(MissingParts {
                credential: credential.is_none(),
                signature: signature.is_none(),
                signed_headers: signed_headers.is_none(),
                date: !dated,
                header: text.into(),
            }));
        };
        Self::with_credential(credential, signed_headers, signature)
    }

    fn with_credential(
        credential: &'a str,
        signed_headers: &'a str,
        signature: &'a str,
    ) -> Result<Self, Refusal> {
        let malformed = || Refusal::CredentialShape(credential.into());
        let (access_key, scope) = cut(credential, b'/').ok_or_else(malformed)?;
        let (date, rest) = cut(scope, b'/').ok_or_else(malformed)?;
        let (region, rest) = cut(rest, b'/').ok_or_else(malformed)?;
        let (service, terminator) = cut(rest, b'/').ok_or_else(malformed)?;
        if cut(terminator, b'/').is_some() {
            return Err(malformed());
        }
        if access_key.is_empty() || access_key.len() > MAX_ACCESS_KEY {
            return Err(Refusal::UnknownKey);
        }
        Ok(Self { access_key, scope, date, region, service, terminator, signed_headers, signature })
    }
}

/// A header's value as text, if it is ASCII.
pub(super) fn ascii(value: &HeaderValue) -> Option<&str> {
    let bytes = value.as_bytes();
    if bytes.is_ascii() { std::str::from_utf8(bytes).ok() } else { None }
}

/// What stands before and after the first `byte`.
fn cut(text: &str, byte: u8) -> Option<(&str, &str)> {
    let at = memchr::memchr(byte, text.as_bytes())?;
    Some((&text[..at], &text[at + 1..]))
}

/// Longest access key that AWS allows.
const MAX_ACCESS_KEY: usize = 128;
