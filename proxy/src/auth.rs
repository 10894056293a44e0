//! Who sent a request: AWS Signature Version 4, verified to the letter.
//!
//! The operation is a header (`X-Amz-Target`), so a verifier that tolerates unsigned headers lets a
//! captured `GetItem` be replayed as a `DeleteItem`. Hence the rules, stricter than the specification:
//! `host`, `x-amz-date`, `x-amz-target` and every other `x-amz-*` header are signed, each exactly once;
//! the body's hash is always ours; the scope is exact; a request is valid for ± 5 minutes.
//!
//! Source: AWS General Reference, "Signature Version 4 signing process".

mod authorization;
mod credential_cache;
mod present_headers;
mod refusal;
mod signature;
mod signing_time;
#[cfg(test)]
pub(crate) mod tests;

use std::future::Future;
use std::sync::Arc;

use hyper::HeaderMap;
use hyper::header::{HeaderName, HeaderValue};
use units::{Timestamp, UnixMillis};

use authorization::Authorization;
use credential_cache::{CredentialCache, Known};
use present_headers::PresentHeaders;
pub(crate) use refusal::Refusal;
use signature::{SignedHeaders, SigningKey};
use signing_time::SigningTime;

pub(crate) const AMZ_TARGET: HeaderName = HeaderName::from_static("x-amz-target");
const AUTHORIZATION: &str = "authorization";
const AMZ_DATE: &str = "x-amz-date";
const AMZ_CONTENT_SHA256: &str = "x-amz-content-sha256";
const AMZ_SECURITY_TOKEN: &str = "x-amz-security-token";

/// A key pair and whom it stands for.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credential {
    /// The secret access key.
    pub(crate) secret_key: String,
    /// Whom the key stands for.
    pub(crate) principal: Arc<str>,
    /// Whether it may be used; an inactive key is treated as an unknown one.
    pub(crate) active: bool,
}

impl std::fmt::Debug for Credential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The secret stays out of logs.
        f.debug_struct("Credential")
            .field("principal", &self.principal)
            .field("active", &self.active)
            .finish_non_exhaustive()
    }
}

/// Where credentials come from.
pub(crate) trait CredentialSource: Send + Sync + 'static {
    /// The credential of `access_key`; none: there is no such key.
    fn fetch(
        &self,
        access_key: &str,
    ) -> impl Future<Output = Result<Option<Credential>, SourceUnavailable>> + Send;
}

/// The source could not be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the source of credentials is unavailable")]
pub(crate) struct SourceUnavailable;

/// What of a request is authenticated.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presented<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) host: &'a HeaderValue,
    pub(crate) body: &'a [u8],
}

/// Authenticates requests.
pub(crate) struct Authenticator<S> {
    cache: CredentialCache<S>,
    /// The only region that a scope may name; none: any.
    region: Option<String>,
    /// Drop-in use on loopback: signatures are not looked at.
    accept_any: bool,
    /// Signs in place of the key that an unknown access key lacks.
    nobody: Arc<Known>,
}

impl<S: CredentialSource> Authenticator<S> {
    pub(crate) fn new(source: S, region: Option<String>, accept_any: bool) -> Self {
        let nobody = Credential {
            secret_key: "no key has this secret".into(),
            principal: Arc::from("nobody"),
            active: false,
        };
        Self {
            cache: CredentialCache::new(source),
            region,
            accept_any,
            nobody: Arc::new(Known::new(nobody, Timestamp::default())),
        }
    }

    /// Who sent the request.
    ///
    /// # Errors
    /// Why it is refused, in DynamoDB's words.
    pub(crate) async fn authenticate(
        &self,
        request: Presented<'_>,
        now: Timestamp,
        today: UnixMillis,
    ) -> Result<Arc<str>, Refusal> {
        let headers = PresentHeaders::of(request.headers);
        let value = headers.single(AUTHORIZATION)?.ok_or(Refusal::Missing)?;
        let authorization = Authorization::parse(value, headers.contains(AMZ_DATE))?;
        if self.accept_any {
            return Ok(Arc::from(authorization.access_key));
        }
        // All that can be refused without a key is refused before a key is looked for: strangers cannot
        // make us ask the source more often than they can sign for this minute.
        let time = headers.single(AMZ_DATE)?.ok_or(Refusal::Malformed)?;
        let time = SigningTime::parse(time)?;
        self.check_scope(&authorization, &time)?;
        time.check(today)?;
        let signed = SignedHeaders::check(&authorization, &headers, request.host)?;
        let body_hash = body_hash(&headers, request.body)?;

        let known = self.cache.get(authorization.access_key, now).await?;
        let usable = known.filter(|known| known.credential.active).filter(|_| {
            // Our keys are permanent; a session's token belongs to somebody else's.
            !headers.contains(AMZ_SECURITY_TOKEN)
        });
        // An unknown key takes the same path and the same time as a known one.
        let key = usable.as_ref().unwrap_or(&self.nobody).signing_key(&authorization);
        let matches = signed.signature_matches(&authorization, &time, &body_hash, &key);
        match (usable, matches) {
            (None, _) => Err(Refusal::UnknownKey),
            (Some(_), false) => Err(Refusal::Mismatch),
            (Some(known), true) => Ok(Arc::clone(&known.credential.principal)),
        }
    }

    fn check_scope(&self, scope: &Authorization<'_>, time: &SigningTime<'_>) -> Result<(), Refusal> {
        if scope.date != time.date() {
            return Err(Refusal::ScopeDate);
        }
        if scope.region.is_empty() || self.region.as_ref().is_some_and(|only| only != scope.region) {
            return Err(Refusal::ScopeRegion);
        }
        if scope.service != SigningKey::SERVICE {
            return Err(Refusal::ScopeService);
        }
        if scope.terminator != SigningKey::TERMINATOR {
            return Err(Refusal::ScopeTerminator);
        }
        Ok(())
    }
}

/// The hash of the body, in hexadecimal. What the client says of it is only compared.
fn body_hash(headers: &PresentHeaders<'_>, body: &[u8]) -> Result<[u8; 64], Refusal> {
    let hash = signature::sha256_hex(body);
    match headers.single(AMZ_CONTENT_SHA256)? {
        Some(claimed) if claimed.as_bytes() != hash => Err(Refusal::Mismatch),
        _ => Ok(hash),
    }
}
