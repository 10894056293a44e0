//! Signs requests with SigV4 as an AWS SDK does. The signing key is derived once a day, and what all requests of one
//! second have in common is hashed once a second: a request costs the hash of its body and some 300 bytes more.
//!
//! Source: AWS, "Signature Version 4 signing process".

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::macros::format_description;

use crate::credentials::Credentials;

/// The headers that every request signs, in canonical order.
const SIGNED_HEADERS: &str = "content-type;host;x-amz-date;x-amz-target";
/// Those of a request with a session token.
const SIGNED_HEADERS_WITH_TOKEN: &str = "content-type;host;x-amz-date;x-amz-security-token;x-amz-target";
/// The content type of DynamoDB's protocol.
pub const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

/// Signs requests for one key pair, region and host.
#[derive(Debug)]
pub struct Signer {
    credentials: Credentials,
    region: String,
    host: String,
    derived: Option<(String, Hmac<Sha256>)>,
    second: Option<OfSecond>,
}

/// The two headers that a signature adds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signature {
    /// `X-Amz-Date`.
    pub date: String,
    /// `Authorization`.
    pub authorization: String,
}

/// A request's signature, with what is the same for all of its second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signed<'a> {
    /// `X-Amz-Date`.
    pub date: &'a str,
    /// `X-Amz-Security-Token`, if the credentials have one.
    pub token: Option<&'a str>,
    /// `Authorization` but for the signature itself, which follows immediately.
    pub authorization: &'a str,
    /// The signature: 64 lowercase hexadecimal digits.
    pub signature: [u8; 64],
}

/// What requests of one second have in common.
#[derive(Debug)]
struct OfSecond {
    unix_seconds: i64,
    date: String,
    authorization: String,
    /// The hash of the canonical request up to the value of `x-amz-target`.
    canonical: Sha256,
    /// The keyed hash of the string to sign up to the canonical request's hash.
    to_sign: Hmac<Sha256>,
}

impl Signer {
    /// A signer for requests to `host` (`name:port` as the `Host` header says it).
    #[must_use]
    pub fn new(access_key: &str, secret_key: &str, region: &str, host: &str) -> Self {
        Self::of(Credentials::new(access_key, secret_key, None), region, host)
    }

    /// The same of credentials that were found somewhere.
    #[must_use]
    pub fn of(credentials: Credentials, region: &str, host: &str) -> Self {
        Self { credentials, region: region.to_owned(), host: host.to_owned(), derived: None, second: None }
    }

    /// Signs a `POST /` of `body` with the given `X-Amz-Target`, at the wall-clock time `now`.
    ///
    /// # Panics
    /// When `now` is past the year 9999.
    pub fn sign(&mut self, target: &str, body: &[u8], now: OffsetDateTime) -> Signature {
        let signed = self.sign_at(target, body, now.unix_timestamp());
        let signature = std::str::from_utf8(&signed.signature).expect("digits are ASCII");
        Signature {
            date: signed.date.to_owned(),
            authorization: format!("{}{signature}", signed.authorization),
        }
    }

    /// The same without allocating, at a time in seconds since 1970.
    ///
    /// # Panics
    /// When the time is past the year 9999.
    pub fn sign_at(&mut self, target: &str, body: &[u8], unix_seconds: i64) -> Signed<'_> {
        if self.second.as_ref().is_none_or(|second| second.unix_seconds != unix_seconds) {
            self.second = Some(self.of_second(unix_seconds));
        }
        let second = self.second.as_ref().expect("it was set");
        let mut canonical = second.canonical.clone();
        canonical.update(target.as_bytes());
        canonical.update(b"\n\n");
        canonical.update(signed_headers(&self.credentials).as_bytes());
        canonical.update(b"\n");
        canonical.update(hex_of(&Sha256::digest(body).into()));
        let mut mac = second.to_sign.clone();
        mac.update(&hex_of(&canonical.finalize().into()));
        Signed {
            date: &second.date,
            token: self.credentials.session_token(),
            authorization: &second.authorization,
            signature: hex_of(&mac.finalize().into_bytes().into()),
        }
    }

    fn of_second(&mut self, unix_seconds: i64) -> OfSecond {
        let now =
            OffsetDateTime::from_unix_timestamp(unix_seconds).expect("the clock is before the year 10000");
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        let date = now.format(format).expect("the year has four digits");
        let scope = format!("{}/{}/dynamodb/aws4_request", &date[..8], self.region);
        let headers = signed_headers(&self.credentials);
        let mut canonical = Sha256::new();
        canonical.update(format!(
            "POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{}\nx-amz-date:{date}\n",
            self.host
        ));
        if let Some(token) = self.credentials.session_token() {
            canonical.update(format!("x-amz-security-token:{token}\n"));
        }
        canonical.update(b"x-amz-target:");
        let mut to_sign = self.key_of(&date[..8]);
        to_sign.update(format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n").as_bytes());
        let authorization = format!(
            "AWS4-HMAC-SHA256 Credential={}/{scope}, SignedHeaders={headers}, Signature=",
            self.credentials.access_key()
        );
        OfSecond { unix_seconds, date, authorization, canonical, to_sign }
    }

    fn key_of(&mut self, day: &str) -> Hmac<Sha256> {
        if let Some((derived_for, key)) = &self.derived
            && derived_for == day
        {
            return key.clone();
        }
        let mut key = format!("AWS4{}", self.credentials.secret_key()).into_bytes();
        for part in [day, &self.region, "dynamodb", "aws4_request"] {
            let mut mac = keyed(&key);
            mac.update(part.as_bytes());
            key = mac.finalize().into_bytes().to_vec();
        }
        let mac = keyed(&key);
        self.derived = Some((day.to_owned(), mac.clone()));
        mac
    }
}

const fn signed_headers(credentials: &Credentials) -> &'static str {
    if credentials.session_token().is_some() { SIGNED_HEADERS_WITH_TOKEN } else { SIGNED_HEADERS }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

fn hex_of(hash: &[u8; 32]) -> [u8; 64] {
    let mut digits = [0; 64];
    hex::encode_to_slice(hash, &mut digits).expect("two digits per byte");
    digits
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::datetime;

    const ACCESS_KEY: &str = "AKIDEXAMPLE";
    const SECRET_KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
    const NOW: OffsetDateTime = datetime!(2026-11-22 16:00:00 UTC);
    // Computed with botocore 1.44.5 (`SigV4Auth` over the same headers, body and time).
    const BY_BOTOCORE: &str = "6d67cef1756df0646aec74a13e35a1d89f94193fdd856306fa4445b156732ae2";
    const BY_BOTOCORE_WITH_TOKEN: &str = "fccc734bbffe6d190831e8b5c114a1287a17fdcf38d48039bf664528e021c81f";
    const BY_BOTOCORE_ELSEWHERE: &str = "205abc719c25703a9133dc75ebed53e9e68b3af595f1963483230de5da759820";

    #[test]
    fn a_signature_is_the_one_that_botocore_computes() {
        let mut signer = Signer::new(ACCESS_KEY, SECRET_KEY, "us-east-1", "localhost:8000");
        let signature = signer.sign("DynamoDB_20120810.ListTables", b"{}", NOW);
        assert_eq!(signature.date, "20261122T160000Z");
        assert!(signature.authorization.ends_with(BY_BOTOCORE), "{}", signature.authorization);
    }

    #[test]
    fn a_session_token_is_signed_as_botocore_does() {
        let token = "FwoGZXIvYXdzEXAMPLETOKEN//////////wEaDK+1/2=";
        let credentials = Credentials::new(ACCESS_KEY, SECRET_KEY, Some(token));
        let mut signer = Signer::of(credentials, "us-east-1", "localhost:8000");
        let signature = signer.sign("DynamoDB_20120810.ListTables", b"{}", NOW);
        assert!(signature.authorization.contains("x-amz-date;x-amz-security-token;x-amz-target"));
        assert!(signature.authorization.ends_with(BY_BOTOCORE_WITH_TOKEN), "{}", signature.authorization);
    }

    #[test]
    fn a_host_at_the_usual_port_is_signed_as_botocore_does() {
        let host = "dynamodb.eu-west-1.amazonaws.com";
        let mut signer = Signer::new(ACCESS_KEY, SECRET_KEY, "eu-west-1", host);
        let signature = signer.sign("DynamoDB_20120810.GetItem", br#"{"TableName":"t"}"#, NOW);
        assert!(signature.authorization.ends_with(BY_BOTOCORE_ELSEWHERE), "{}", signature.authorization);
    }

    #[test]
    fn what_is_remembered_of_a_second_or_a_day_serves_no_other() {
        let times = [NOW, NOW + time::Duration::SECOND, NOW + time::Duration::DAY, NOW];
        let mut remembering = Signer::new(ACCESS_KEY, SECRET_KEY, "us-east-1", "localhost:8000");
        for now in times {
            let mut fresh = Signer::new(ACCESS_KEY, SECRET_KEY, "us-east-1", "localhost:8000");
            assert_eq!(remembering.sign("T.A", b"{}", now), fresh.sign("T.A", b"{}", now));
            assert_eq!(remembering.sign("T.B", b"[]", now), fresh.sign("T.B", b"[]", now));
        }
    }
}
