//! What goes wrong below HTTP's answers.

use std::io;
use std::sync::Arc;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    /// No TCP connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed.
    #[error("the TLS handshake failed")]
    Tls(#[source] io::Error),
    /// Certificates cannot be checked.
    #[error("this machine has no trusted root certificates; SSL_CERT_FILE can name a file of them")]
    NoRoots,
    /// Not made within the time for one attempt.
    #[error("no connection in time")]
    ConnectTimedOut,
    /// Over TLS, the server does not agree to it.
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
    /// It broke before the whole answer was there.
    #[error("the connection broke")]
    Broken(#[source] io::Error),
    /// The server ended it before the whole answer was there.
    #[error("the server closed the connection before its answer was complete")]
    Closed,
    /// HTTP/2 said so.
    #[error("HTTP/2 failed")]
    Http2(#[source] hyper::Error),
    /// What came is no HTTP/1.1 answer, or is larger than any.
    #[error("not an HTTP answer: {0}")]
    NoHttp(&'static str),
    /// That of a connection which several share.
    #[error(transparent)]
    Shared(Arc<Self>),
    /// Nothing within the time for one attempt.
    #[error("no answer in time")]
    TimedOut,
}

impl Fault {
    /// Its name among errors by kind.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => "ConnectionRefused",
            Self::Connect(_) => "CannotConnect",
            Self::Tls(_) | Self::NoRoots => "TlsHandshakeFailed",
            Self::ConnectTimedOut => "ConnectTimedOut",
            Self::NoHttp2 => "NoHttp2",
            Self::Broken(_) | Self::Http2(_) => "ConnectionBroken",
            Self::Closed => "ConnectionClosed",
            Self::NoHttp(_) => "NotHttp",
            Self::Shared(fault) => fault.name(),
            Self::TimedOut => "TimedOut",
        }
    }
}
