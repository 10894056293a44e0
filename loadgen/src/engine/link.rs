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
    Http2(Box<Http2>),
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
                Protocol::Http1 => Link::Http1(Box::new(Http1::open(socket, &self.authority).await?)),
                Protocol::Http2 => Link::Http2(Box::new(Http2::open(socket, &self.authority).await?)),
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
            Self::Http1(connection) => connection.prepare(target, signed, body.clone()),
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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::pki_types::PrivateKeyDer;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_rustls::TlsAcceptor;

    use super::*;
    use crate::signer::Signer;

    /// A server that shows a certificate for `localhost` and answers one request of HTTP/1.1; how to reach it, and
    /// what to trust.
    async fn server() -> (Endpoint, rustls::RootCertStore) {
        let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let certificate = own.cert.der().clone();
        let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .unwrap();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                // A client that does not trust the certificate hangs up.
                let Ok(mut stream) = acceptor.accept(stream).await else { continue };
                let mut request = vec![0; 4096];
                let mut read = 0;
                while !request[..read].ends_with(b"{}") {
                    read += stream.read(&mut request[read..]).await.unwrap();
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe").await.unwrap();
            }
        });
        let mut roots = rustls::RootCertStore::empty();
        roots.add(certificate).unwrap();
        (endpoint.parse().unwrap(), roots)
    }

    #[tokio::test]
    async fn over_tls_a_trusted_server_is_asked_and_no_other() {
        let (endpoint, roots) = server().await;
        let dialer = Dialer::new(endpoint.clone(), Protocol::Http1, Duration::from_secs(10)).unwrap();
        assert!(matches!(dialer.dial().await, Err(Fault::Tls(_))), "an unknown certificate was trusted");

        let mut link = dialer.trusting(roots.clone()).dial().await.unwrap();
        let mut signer = Signer::new("AKID", "secret", "us-east-1", &endpoint.authority());
        let signed = signer.sign_at("DynamoDB_20120810.ListTables", b"{}", 1_800_000_000);
        link.prepare("DynamoDB_20120810.ListTables", &signed, &Bytes::from_static(b"{}"));
        assert_eq!(link.exchange().await.unwrap(), 200);
        assert_eq!(link.body(), b"safe");

        // It does not speak HTTP/2, and says so in the handshake.
        let dialer = Dialer::new(endpoint, Protocol::Http2, Duration::from_secs(10)).unwrap().trusting(roots);
        assert!(matches!(dialer.dial().await, Err(Fault::Tls(_) | Fault::NoHttp2)));
    }
}
