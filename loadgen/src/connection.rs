//! One HTTP/1.1 connection to a DynamoDB endpoint that sends signed requests, one at a time.

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use time::OffsetDateTime;
use tokio::net::TcpStream;

use crate::signer::{CONTENT_TYPE, Signer};

/// A connection of its own; requests on it follow one another.
#[derive(Debug)]
pub struct Connection {
    sender: SendRequest<Full<Bytes>>,
    signer: Signer,
    host: String,
}

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: Bytes,
}

impl Connection {
    /// Connects to `address` (`host:port`).
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub async fn open(address: &str, signer: Signer) -> Result<Self, Box<dyn std::error::Error>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = handshake(TokioIo::new(stream)).await?;
        // The task ends with the connection, which ends when `sender` is dropped.
        tokio::spawn(connection);
        Ok(Self { sender, signer, host: address.to_owned() })
    }

    /// Sends one signed request and reads its answer.
    ///
    /// # Errors
    /// When the connection breaks.
    pub async fn send(&mut self, operation: &str, body: Bytes) -> Result<Answer, hyper::Error> {
        let target = format!("DynamoDB_20120810.{operation}");
        let now =
            OffsetDateTime::UNIX_EPOCH + std::time::Duration::from_millis(wire::clock::unix_now().get());
        let signature = self.signer.sign(&target, &body, now);
        let request = Request::post("/")
            .header("host", &self.host)
            .header("content-type", CONTENT_TYPE)
            .header("x-amz-date", signature.date)
            .header("x-amz-target", target)
            .header("authorization", signature.authorization)
            .body(Full::new(body))
            .expect("every header is plain ASCII");
        self.sender.ready().await?;
        let answer = self.sender.send_request(request).await?;
        let status = answer.status().as_u16();
        let body = answer.into_body().collect().await?.to_bytes();
        Ok(Answer { status, body })
    }
}
