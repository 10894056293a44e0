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
        let text = value.to_str().map_err(|_| Refusal::Malformed)?;
        let parameters = text.strip_prefix(ALGORITHM).and_then(|rest| rest.strip_prefix(' '));
        let [mut credential, mut signed_headers, mut signature] = [None; 3];
        for parameter in parameters.unwrap_or_default().split(',') {
            let slot = match parameter.trim_matches(' ').split_once('=') {
                Some(("Credential", value)) => (&mut credential, value),
                Some(("SignedHeaders", value)) => (&mut signed_headers, value),
                Some(("Signature", value)) => (&mut signature, value),
                _ if parameters.is_none() => continue,
                // A parameter that we do not know could mean something to somebody else.
                _ => return Err(Refusal::Malformed),
            };
            if slot.0.replace(slot.1).is_some() {
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
        let (access_key, scope) = credential.split_once('/').ok_or_else(malformed)?;
        let mut parts = scope.split('/');
        let (Some(date), Some(region), Some(service), Some(terminator), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(malformed());
        };
        if access_key.is_empty() || access_key.len() > MAX_ACCESS_KEY {
            return Err(Refusal::UnknownKey);
        }
        Ok(Self { access_key, scope, date, region, service, terminator, signed_headers, signature })
    }
}

/// Longest access key that AWS allows.
const MAX_ACCESS_KEY: usize = 128;
