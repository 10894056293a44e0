//! A connection of either HTTP version, and how to get one.

use std::time::Duration;

use bytes::Bytes;

use super::endpoint::Endpoint;
use super::fault::Fault;
use super::http1::Http1;
use super::http2::Http2;
use super::socket::{Socket, Tls};
use crate::signer::Signed;
use crate::spec::Protocol;

/// A connection.
#[derive(Debug)]
pub(super) enum Link {
    Http1(Box<Http1>),
    Http2(Http2),
}

/// Connects to one endpoint.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    endpoint: Endpoint,
    authority: String,
    protocol: Protocol,
    tls: Option<Tls>,
    within: Duration,
}

impl Dialer {
    /// Connects to `endpoint`, `within` a time or not at all.
    ///
    /// # Errors
    /// When it is spoken to over TLS and this machine has no trusted roots.
    pub(super) fn new(endpoint: Endpoint, protocol: Protocol, within: Duration) -> Result<Self, Fault> {
        let tls = if endpoint.tls() { Some(Tls::new(protocol)?) } else { None };
        let authority = endpoint.authority();
        Ok(Self { endpoint, authority, protocol, tls, within })
    }

    /// The same, trusting given roots.
    #[cfg(test)]
    pub(super) fn trusting(self, roots: rustls::RootCertStore) -> Self {
        Self { tls: Some(Tls::trusting(roots, self.protocol)), ..self }
    }

    pub(super) const fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    /// A new connection.
    pub(super) async fn dial(&self) -> Result<Link, Fault> {
        let open = async {
            let socket = Socket::connect(&self.endpoint, self.tls.as_ref()).await?;
            Ok(match self.protocol {
                Protocol::Http1 => Link::Http1(Box::new(Http1::new(socket, &self.authority))),
                Protocol::Http2 => Link::Http2(Http2::open(socket, &self.authority).await?),
            })
        };
        tokio::time::timeout(self.within, open).await.unwrap_or(Err(Fault::ConnectTimedOut))
    }
}

impl Link {
    /// Whether a request can be sent.
    pub(super) async fn is_usable(&mut self) -> bool {
        match self {
            Self::Http1(connection) => connection.is_usable().await,
            Self::Http2(connection) => connection.is_usable(),
        }
    }

    /// Makes the request that [`Self::exchange`] sends.
    pub(super) fn prepare(&mut self, target: &str, signed: &Signed<'_>, body: &Bytes) {
        match self {
            Self::Http1(connection) => connection.prepare(target, signed, body),
            Self::Http2(connection) => connection.prepare(target, signed, body.clone()),
        }
    }

    /// Sends the request; returns the answer's status. Its body is in [`Self::body`].
    pub(super) async fn exchange(&mut self) -> Result<u16, Fault> {
        match self {
            Self::Http1(connection) => connection.exchange().await,
            Self::Http2(connection) => connection.exchange().await,
        }
    }

    /// The last answer's body.
    pub(super) fn body(&self) -> &[u8] {
        match self {
            Self::Http1(connection) => connection.body(),
            Self::Http2(connection) => connection.body(),
        }
    }
}
