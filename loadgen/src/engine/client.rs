//! Single calls: one connection that is opened again when it breaks.

use std::time::Duration;

use bytes::Bytes;

use super::endpoint::InvalidEndpoint;
use super::fault::Fault;
use super::link::{Dialer, Link};
use crate::credentials::Credentials;
use crate::signer::Signer;
use crate::spec::Protocol;

/// For one call, as usual with SDKs' clients of tables that answer at once.
const TIMEOUT: Duration = Duration::from_secs(10);
/// What precedes an operation's name in `X-Amz-Target`.
const TARGET_PREFIX: &str = "DynamoDB_20120810.";

/// Calls one endpoint, one call at a time. Nothing is retried: whoever calls knows whether that is safe.
#[derive(Debug)]
pub struct Client {
    dialer: Dialer,
    signer: Signer,
    link: Option<Link>,
    timeout: Duration,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The endpoint is none.
    #[error(transparent)]
    Endpoint(#[from] InvalidEndpoint),
    /// TLS is not possible here.
    #[error("{0}")]
    Tls(String),
}

/// Why a call has no answer. Whether the service carried it out is known of [`Self::NotSent`] only: it did not.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// There was no connection to send it on.
    #[error("cannot connect to {endpoint}: {why}")]
    NotSent {
        /// Where.
        endpoint: String,
        /// Its kind, by which errors are counted.
        name: &'static str,
        /// What went wrong, with its cause.
        why: String,
    },
    /// It was sent, wholly or in part.
    #[error("no answer from {endpoint}: {why}")]
    Unanswered {
        /// Where.
        endpoint: String,
        /// Its kind, by which errors are counted.
        name: &'static str,
        /// What went wrong, with its cause.
        why: String,
    },
}

impl CallError {
    /// What went wrong, in one word: the same as in runs' errors.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::NotSent { name, .. } | Self::Unanswered { name, .. } => name,
        }
    }

    /// Whether it took too long.
    #[must_use]
    pub fn is_timeout(&self) -> bool {
        [Fault::TimedOut.name(), Fault::ConnectTimedOut.name()].contains(&self.name())
    }
}

impl Client {
    /// A client that connects with its first call.
    ///
    /// # Errors
    /// When the endpoint is none, or is spoken to over TLS and this machine has no trusted roots.
    pub fn new(
        endpoint: &str,
        region: &str,
        credentials: Credentials,
        protocol: Protocol,
    ) -> Result<Self, ClientError> {
        let dialer = Dialer::new(endpoint.parse()?, protocol, TIMEOUT)
            .map_err(|fault: Fault| ClientError::Tls(fault.to_string()))?;
        let signer = Signer::of(credentials, region, &dialer.endpoint().authority());
        Ok(Self { dialer, signer, link: None, timeout: TIMEOUT })
    }

    /// The same client, giving up a call after another time than 10 s, in which it connects, too.
    #[must_use]
    pub const fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Calls an operation: `GetItem`, or the whole target `DynamoDB_20120810.GetItem`.
    ///
    /// # Errors
    /// When there is no answer; one that says no is an [`Answer`].
    pub async fn call(&mut self, operation: &str, body: Bytes) -> Result<Answer, CallError> {
        let prefixed;
        let target = if operation.contains('.') {
            operation
        } else {
            prefixed = format!("{TARGET_PREFIX}{operation}");
            &prefixed
        };
        let began = wire::clock::now();
        if !self.is_connected().await {
            self.link = None;
            let dialled = tokio::time::timeout(self.timeout, self.dialer.dial()).await;
            let dialled = dialled.unwrap_or(Err(Fault::ConnectTimedOut));
            self.link = Some(dialled.map_err(|fault| CallError::NotSent {
                endpoint: self.dialer.endpoint().to_string(),
                name: fault.name(),
                why: with_cause(&fault),
            })?);
        }
        let left = self.timeout.saturating_sub(wire::clock::now().since(began));
        let link = self.link.as_mut().expect("it was just opened");
        let signed = self.signer.sign_at(target, &body, super::clock::unix_seconds());
        link.prepare(target, &signed, &body);
        let sent = tokio::time::timeout(left, link.exchange()).await;
        match sent.unwrap_or(Err(Fault::TimedOut)) {
            Ok(status) => Ok(Answer { status, body: Bytes::copy_from_slice(link.body()) }),
            Err(fault) => {
                self.link = None;
                let endpoint = self.dialer.endpoint().to_string();
                Err(CallError::Unanswered { endpoint, name: fault.name(), why: with_cause(&fault) })
            }
        }
    }

    /// Closes the connection; the next call opens another.
    pub fn disconnect(&mut self) {
        self.link = None;
    }

    async fn is_connected(&mut self) -> bool {
        match &mut self.link {
            Some(link) => link.is_usable().await,
            None => false,
        }
    }
}

/// An error with the error that caused it.
pub(super) fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(cause) => format!("{error}: {}", with_cause(cause)),
        None => error.to_string(),
    }
}
