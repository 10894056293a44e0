//! HTTP/1.1 with hyper: one request at a time on one connection.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::fault::Fault;
use super::message;
use super::socket::Socket;
use crate::signer::Signed;

/// Bytes of an answer that are read ahead, and that its head may have: far more than any has.
const MOST_READ: usize = 64 * 1024;
/// A connection that has given a whole answer and does not come to rest within this time is given up.
const REST_WITHIN: Duration = Duration::from_millis(100);

/// One connection. After an error it is of no more use.
#[derive(Debug)]
pub(super) struct Http1 {
    sender: SendRequest<Full<Bytes>>,
    /// Reads and writes; it ends with this.
    connection: JoinHandle<()>,
    host: HeaderValue,
    prepared: Option<Request<Full<Bytes>>>,
    body: Bytes,
    /// Whether the last answer was complete.
    complete: bool,
}

impl Http1 {
    /// Speaks HTTP over a socket.
    pub(super) async fn open(socket: Socket, authority: &str) -> Result<Self, Fault> {
        let (sender, connection) = Builder::new()
            .max_buf_size(MOST_READ)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(message::fault)?;
        // The request in flight is told of a failure itself.
        let connection = tokio::spawn(async { drop(connection.await) });
        let host = message::value(authority.as_bytes());
        Ok(Self { sender, connection, host, prepared: None, body: Bytes::new(), complete: true })
    }

    /// Whether another request can be sent: the last answer was complete, and the server has not hung up since.
    /// Costs nothing while nothing has arrived.
    pub(super) async fn is_usable(&mut self) -> bool {
        // Whoever answers before it has read the whole request may never read the rest.
        self.complete
            && (self.sender.is_ready()
                || matches!(tokio::time::timeout(REST_WITHIN, self.sender.ready()).await, Ok(Ok(()))))
    }

    /// Makes the request that [`Self::exchange`] sends.
    pub(super) fn prepare(&mut self, target: &str, signed: &Signed<'_>, body: Bytes) {
        let mut request = message::request(&Uri::from_static("/"), target, signed, body);
        request.headers_mut().insert(HOST, self.host.clone());
        self.prepared = Some(request);
    }

    /// Sends the request and reads its answer, whose body stays in [`Self::body`]; returns the status.
    pub(super) async fn exchange(&mut self) -> Result<u16, Fault> {
        self.complete = false;
        let request = self.prepared.take().expect("a request is prepared before each exchange");
        let answer = self.sender.send_request(request).await.map_err(message::fault)?;
        let status = answer.status().as_u16();
        self.body = message::collect(answer).await?;
        self.complete = true;
        Ok(status)
    }

    /// The last answer's body.
    pub(super) fn body(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Http1 {
    fn drop(&mut self) {
        // Whatever the server still sends is for nobody.
        self.connection.abort();
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    const SIGNED: Signed<'static> = Signed {
        date: "20261122T160000Z",
        token: Some("token"),
        authorization: "AWS4… Signature=",
        signature: [b'a'; 64],
    };

    /// What a server sends, piece by piece, and what the client makes of it: the status, the body, and whether the
    /// connection can be used again.
    async fn answered(pieces: &'static [&'static [u8]]) -> Result<(u16, Vec<u8>, bool), Fault> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut request = vec![0; 4096];
            let mut read = 0;
            while !request[..read].ends_with(b"{}") {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            for piece in pieces {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            request.truncate(read);
            (request, stream)
        });
        let mut connection =
            Http1::open(Socket::Plain(TcpStream::connect(address).await.unwrap()), "localhost:8000")
                .await
                .unwrap();
        let sent = async {
            let status = {
                connection.prepare("DynamoDB_20120810.ListTables", &SIGNED, Bytes::from_static(b"{}"));
                connection.exchange().await
            };
            (status, connection)
        };
        let ends = pieces.last() == Some(&b"".as_slice());
        let ((status, mut connection), stream) = if ends {
            // The server hangs up after its last piece.
            let (sent, served) = tokio::join!(sent, async { server.await.unwrap().1.shutdown().await });
            served.unwrap();
            (sent, None)
        } else {
            let (sent, served) = tokio::join!(sent, server);
            (sent, Some(served.unwrap().1))
        };
        let status = status?;
        let usable = connection.is_usable().await;
        drop(stream);
        Ok((status, connection.body().to_vec(), usable))
    }

    #[tokio::test]
    async fn an_answer_of_a_known_length_leaves_the_connection_usable() {
        let whole: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"];
        assert_eq!(answered(whole).await.unwrap(), (200, b"hello".to_vec(), true));
        let pieces: &[&[u8]] = &[b"HTTP/1.1 40", b"0 Bad\r\nContent-", b"Length: 5\r\n\r\n", b"he", b"llo"];
        assert_eq!(answered(pieces).await.unwrap(), (400, b"hello".to_vec(), true));
    }

    #[tokio::test]
    async fn chunks_are_put_together() {
        let pieces: &[&[u8]] = &[
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            b"lo\r\n1;x=y\r\n!\r",
            b"\n0\r\ntrailer: 1\r",
            b"\n\r\n",
        ];
        assert_eq!(answered(pieces).await.unwrap(), (200, b"hello!".to_vec(), true));
    }

    #[tokio::test]
    async fn without_a_length_the_body_ends_with_the_connection() {
        let pieces: &[&[u8]] = &[b"HTTP/1.1 503 Busy\r\n\r\nhel", b"lo", b""];
        assert_eq!(answered(pieces).await.unwrap(), (503, b"hello".to_vec(), false));
    }

    #[tokio::test]
    async fn a_server_that_says_close_is_not_asked_again() {
        let closing: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}"];
        assert_eq!(answered(closing).await.unwrap(), (200, b"{}".to_vec(), false));
    }

    #[tokio::test]
    async fn an_interim_answer_is_skipped() {
        let interim: &[&[u8]] =
            &[b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"];
        assert_eq!(answered(interim).await.unwrap(), (200, b"{}".to_vec(), true));
    }

    #[tokio::test]
    async fn what_is_cut_short_or_no_http_is_a_fault() {
        let cut: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe", b""];
        assert!(matches!(answered(cut).await, Err(Fault::Closed)));
        let other: &[&[u8]] = &[b"SSH-2.0-OpenSSH\r\n"];
        assert!(matches!(answered(other).await, Err(Fault::NoHttp(_))));
        let lying: &[&[u8]] = &[b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999\r\n\r\n"];
        assert!(matches!(answered(lying).await, Err(Fault::NoHttp(_))));
    }

    #[tokio::test]
    async fn who_never_comes_to_an_answer_keeps_nobody() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            // Until the client hangs up.
            while stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await.is_ok() {}
        });
        let socket = Socket::Plain(TcpStream::connect(address).await.unwrap());
        let mut connection = Http1::open(socket, "localhost:8000").await.unwrap();
        connection.prepare("DynamoDB_20120810.ListTables", &SIGNED, Bytes::from_static(b"{}"));
        let exchanged = tokio::time::timeout(Duration::from_millis(50), connection.exchange()).await;
        assert!(!matches!(exchanged, Ok(Ok(_))), "{exchanged:?}");
        drop(connection);
        server.await.unwrap();
    }
}
