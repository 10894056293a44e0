//! Why a request is not authenticated, in DynamoDB's words.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use dynamodb::error::{ApiError, ErrorKind};
use sha2::{Digest, Sha256};

use super::SourceUnavailable;

/// Why a request is not authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No `Authorization` header.
    Missing,
    /// The header, or the request's date, lacks parts.
    Incomplete(MissingParts),
    /// The header cannot be read.
    Malformed,
    /// The credential is not `key/date/region/service/terminator`.
    CredentialShape(Box<str>),
    /// A header that must occur once occurs again.
    Repeated,
    /// The scope's date is not the request's.
    ScopeDate,
    /// The scope's region is not ours.
    ScopeRegion,
    /// The scope's service is not DynamoDB.
    ScopeService,
    /// The scope does not end with `aws4_request`.
    ScopeTerminator,
    /// Signed too long ago, or in the future; with the whole message.
    Skewed(Box<str>),
    /// A header that must be signed is not.
    Unsigned(Box<str>),
    /// Nobody has this access key, or it is not active.
    UnknownKey,
    /// The signature is not the request's.
    Mismatch,
    /// Credentials cannot be looked up now.
    SourceUnavailable,
}

/// What an `Authorization` header lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MissingParts {
    pub(super) credential: bool,
    pub(super) signature: bool,
    pub(super) signed_headers: bool,
    pub(super) date: bool,
    pub(super) header: Box<str>,
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
    Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

impl From<SourceUnavailable> for Refusal {
    fn from(_: SourceUnavailable) -> Self {
        Self::SourceUnavailable
    }
}

impl Refusal {
    /// Its label in metrics.
    #[must_use]
    pub(crate) const fn cause(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Incomplete(_) => "incomplete",
            Self::Malformed | Self::CredentialShape(_) => "malformed",
            Self::Repeated => "repeated",
            Self::ScopeDate | Self::ScopeRegion | Self::ScopeService | Self::ScopeTerminator => "scope",
            Self::Skewed(_) => "skewed",
            Self::Unsigned(_) => "unsigned",
            Self::UnknownKey => "unknown_key",
            Self::Mismatch => "mismatch",
            Self::SourceUnavailable => "source_unavailable",
        }
    }

    /// The exception that answers it.
    #[must_use]
    pub(crate) fn into_error(self) -> ApiError {
        let invalid = |message: String| ApiError::new(ErrorKind::InvalidSignature, message);
        match self {
            Self::Missing => ApiError::new(
                ErrorKind::MissingAuthenticationToken,
                "Request is missing Authentication Token",
            ),
            Self::Incomplete(parts) => ApiError::new(ErrorKind::IncompleteSignature, parts.message()),
            Self::Malformed => ApiError::new(
                ErrorKind::IncompleteSignature,
                "Authorization header is not of the form 'AWS4-HMAC-SHA256 Credential=…, \
                 SignedHeaders=…, Signature=…'",
            ),
            Self::CredentialShape(credential) => ApiError::new(
                ErrorKind::IncompleteSignature,
                format!(
                    "Credential must have exactly 5 slash-delimited elements, e.g. \
                     keyid/date/region/service/term, got '{credential}'"
                ),
            ),
            Self::ScopeDate => invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from \
                 HTTP"
                    .into(),
            ),
            Self::ScopeRegion => invalid("Credential should be scoped to a valid region.".into()),
            Self::ScopeService => {
                invalid("Credential should be scoped to correct service: 'dynamodb'.".into())
            }
            Self::ScopeTerminator => {
                invalid("Credential should be scoped with a valid terminator: 'aws4_request'.".into())
            }
            Self::Skewed(message) => invalid(message.into()),
            Self::Unsigned(name) if &*name == "host" => {
                invalid("'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".into())
            }
            Self::Unsigned(name) => {
                invalid(format!("There were headers present in the request which were not signed: {name}"))
            }
            Self::UnknownKey => ApiError::new(
                ErrorKind::UnrecognizedClient,
                "The security token included in the request is invalid.",
            ),
            Self::Repeated | Self::Mismatch => ApiError::new(ErrorKind::InvalidSignature, MISMATCH),
            Self::SourceUnavailable => {
                ApiError::new(ErrorKind::ServiceUnavailable, "The service is currently unavailable or busy.")
            }
        }
    }
}

impl MissingParts {
    fn message(&self) -> String {
        let mut message = String::new();
        for (missing, what) in [
            (self.credential, "Authorization header requires 'Credential' parameter. "),
            (self.signature, "Authorization header requires 'Signature' parameter. "),
            (self.signed_headers, "Authorization header requires 'SignedHeaders' parameter. "),
            (
                self.date,
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            ),
        ] {
            if missing {
                message.push_str(what);
            }
        }
        // Hashed: what somebody put into this header may be a secret.
        let hash = BASE64_STANDARD.encode(Sha256::digest(self.header.as_bytes()));
        message.push_str("(Hashed with SHA-256 and encoded with Base64) Authorization=");
        message.push_str(&hash);
        message
    }
}
