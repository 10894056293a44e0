//! HTTP/1.1 for one kind of request: `POST /` with a few headers, one at a time. A request is one write and usually
//! one read, and nothing is allocated for it: the generator's own cost is what limits the load of one machine.
//!
//! Source: RFC 9112 (message framing in §6).

use std::future::poll_fn;
use std::ops::Range;
use std::pin::Pin;
use std::task::Poll;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadBuf};

use super::fault::Fault;
use super::socket::Socket;
use crate::signer::{CONTENT_TYPE, Signed};

/// Headers that an answer may have.
const MOST_HEADERS: usize = 64;
/// Bytes that an answer's head may have, far more than any has.
const MOST_HEAD: usize = 64 * 1024;
/// Bytes that an answer's body may have: `BatchGetItem` and `Scan` answer 16 MB of items at most, which JSON makes
/// larger.
const MOST_BODY: usize = 64 * 1024 * 1024;
/// Room for most answers.
const USUAL_ANSWER: usize = 16 * 1024;
/// Room for one read.
const LEAST_READ: usize = 2048;
/// Room that a buffer keeps after a large answer.
const MOST_KEPT: usize = 1024 * 1024;

/// One connection. After an error it is of no more use.
#[derive(Debug)]
pub(super) struct Http1 {
    socket: Socket,
    /// The head's beginning, which is the same for every request.
    beginning: Vec<u8>,
    output: Vec<u8>,
    input: Vec<u8>,
    /// The body of a chunked answer, without the chunks' frames.
    unchunked: Vec<u8>,
    body: Body,
    reusable: bool,
}

/// Where the last answer's body is.
#[derive(Debug, Clone)]
enum Body {
    Input(Range<usize>),
    Unchunked,
}

/// How an answer's body ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClosed,
}

/// An answer's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Head {
    status: u16,
    length: usize,
    framing: Framing,
    keeps: bool,
}

impl Http1 {
    pub(super) fn new(socket: Socket, authority: &str) -> Self {
        let beginning = format!("POST / HTTP/1.1\r\nhost: {authority}\r\ncontent-type: {CONTENT_TYPE}\r\n");
        Self {
            socket,
            beginning: beginning.into_bytes(),
            output: Vec::with_capacity(2048),
            input: Vec::with_capacity(USUAL_ANSWER),
            unchunked: Vec::new(),
            body: Body::Input(0..0),
            reusable: true,
        }
    }

    /// Whether another request can be sent: the last answer was complete, and the server has not hung up since.
    /// Costs nothing while nothing has arrived.
    pub(super) async fn is_usable(&mut self) -> bool {
        if !self.reusable {
            return false;
        }
        let socket = &mut self.socket;
        poll_fn(|cx| {
            let mut byte = [0];
            // Nothing may come unasked: an end, an error and a stray byte all mean that the connection is over.
            Poll::Ready(Pin::new(&mut *socket).poll_read(cx, &mut ReadBuf::new(&mut byte)).is_pending())
        })
        .await
    }

    /// Writes down the request that [`Self::exchange`] sends.
    pub(super) fn prepare(&mut self, target: &str, signed: &Signed<'_>, body: &[u8]) {
        let out = &mut self.output;
        out.clear();
        out.extend_from_slice(&self.beginning);
        out.extend_from_slice(b"x-amz-target: ");
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b"\r\nx-amz-date: ");
        out.extend_from_slice(signed.date.as_bytes());
        if let Some(token) = signed.token {
            out.extend_from_slice(b"\r\nx-amz-security-token: ");
            out.extend_from_slice(token.as_bytes());
        }
        out.extend_from_slice(b"\r\nauthorization: ");
        out.extend_from_slice(signed.authorization.as_bytes());
        out.extend_from_slice(&signed.signature);
        out.extend_from_slice(b"\r\ncontent-length: ");
        write_decimal(out, body.len());
        out.extend_from_slice(b"\r\n\r\n");
        out.extend_from_slice(body);
    }

    /// Sends the request and reads its answer, whose body stays in [`Self::body`]; returns the status.
    pub(super) async fn exchange(&mut self) -> Result<u16, Fault> {
        self.reusable = false;
        self.socket.write_all(&self.output).await.map_err(Fault::Broken)?;
        if matches!(self.socket, Socket::Tls(_)) {
            self.socket.flush().await.map_err(Fault::Broken)?;
        }
        self.read_answer().await
    }

    /// The last answer's body.
    pub(super) fn body(&self) -> &[u8] {
        match &self.body {
            Body::Input(range) => &self.input[range.clone()],
            Body::Unchunked => &self.unchunked,
        }
    }

    async fn read_answer(&mut self) -> Result<u16, Fault> {
        self.input.clear();
        self.input.shrink_to(MOST_KEPT);
        self.unchunked.clear();
        self.unchunked.shrink_to(MOST_KEPT);
        let head = loop {
            match parse_head(&self.input)? {
                // 100 Continue and 103 Early Hints precede the answer.
                Some(head) if (100..200).contains(&head.status) => drop(self.input.drain(..head.length)),
                Some(head) => break head,
                None => self.read_more().await?,
            }
        };
        let ended = match head.framing {
            Framing::Length(length) => {
                let end = head.length + length;
                self.read_until(end).await?;
                self.body = Body::Input(head.length..end);
                end
            }
            Framing::Chunked => {
                self.body = Body::Unchunked;
                self.read_chunks(head.length).await?
            }
            Framing::UntilClosed => {
                while self.read_more_or_end().await? > 0 {}
                self.body = Body::Input(head.length..self.input.len());
                self.input.len()
            }
        };
        self.reusable = head.keeps && head.framing != Framing::UntilClosed && ended == self.input.len();
        Ok(head.status)
    }

    /// Reads chunks from `at` on to the end of the last; returns where that is.
    async fn read_chunks(&mut self, mut at: usize) -> Result<usize, Fault> {
        loop {
            let (data, size) = loop {
                match httparse::parse_chunk_size(&self.input[at..]) {
                    Ok(httparse::Status::Complete((line, size))) => {
                        break (at + line, usize::try_from(size).unwrap_or(usize::MAX));
                    }
                    Ok(httparse::Status::Partial) => self.read_more().await?,
                    Err(_) => return Err(Fault::NoHttp("a chunk's size is no number")),
                }
            };
            if size == 0 {
                return self.read_trailers(data).await;
            }
            if size > MOST_BODY - self.unchunked.len().min(MOST_BODY) {
                return Err(Fault::NoHttp("its body is too long"));
            }
            let end = data + size;
            self.read_until(end + 2).await?;
            self.unchunked.extend_from_slice(&self.input[data..end]);
            // What has been copied need not be kept.
            self.input.drain(..end + 2);
            at = 0;
        }
    }

    /// Skips trailer fields up to the empty line; returns where it ends.
    async fn read_trailers(&mut self, mut at: usize) -> Result<usize, Fault> {
        loop {
            match memchr::memchr(b'\n', &self.input[at..]) {
                Some(length) => {
                    let line = &self.input[at..at + length];
                    at += length + 1;
                    if line.is_empty() || line == b"\r" {
                        return Ok(at);
                    }
                }
                None if self.input.len() - at > MOST_HEAD => {
                    return Err(Fault::NoHttp("its trailers are too long"));
                }
                None => self.read_more().await?,
            }
        }
    }

    async fn read_until(&mut self, end: usize) -> Result<(), Fault> {
        self.input.reserve(end.saturating_sub(self.input.len()));
        while self.input.len() < end {
            self.read_more().await?;
        }
        Ok(())
    }

    async fn read_more(&mut self) -> Result<(), Fault> {
        if self.read_more_or_end().await? == 0 {
            return Err(Fault::Closed);
        }
        Ok(())
    }

    async fn read_more_or_end(&mut self) -> Result<usize, Fault> {
        if self.input.len() > MOST_BODY + MOST_HEAD {
            return Err(Fault::NoHttp("its body is too long"));
        }
        if self.input.capacity() - self.input.len() < LEAST_READ {
            self.input.reserve(USUAL_ANSWER);
        }
        self.socket.read_buf(&mut self.input).await.map_err(Fault::Broken)
    }
}

/// Reads a head, if it is complete.
fn parse_head(input: &[u8]) -> Result<Option<Head>, Fault> {
    let mut headers = [httparse::EMPTY_HEADER; MOST_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let length = match response.parse(input) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) if input.len() > MOST_HEAD => {
            return Err(Fault::NoHttp("its head is too long"));
        }
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(_) => return Err(Fault::NoHttp("its head is malformed")),
    };
    let status = response.code.unwrap_or(0);
    let mut keeps = response.version == Some(1);
    let mut framing = if matches!(status, 204 | 304) { Framing::Length(0) } else { Framing::UntilClosed };
    for header in response.headers.iter() {
        let is = |name: &str| header.name.eq_ignore_ascii_case(name);
        if is("content-length") && framing != Framing::Chunked {
            let digits = std::str::from_utf8(header.value).ok().and_then(|text| text.trim().parse().ok());
            let bytes = digits.filter(|bytes| *bytes <= MOST_BODY);
            framing = Framing::Length(bytes.ok_or(Fault::NoHttp("its content-length is no length"))?);
        } else if is("transfer-encoding") {
            framing = Framing::Chunked;
        } else if is("connection") {
            keeps = !header.value.eq_ignore_ascii_case(b"close")
                && (keeps || header.value.eq_ignore_ascii_case(b"keep-alive"));
        }
    }
    Ok(Some(Head { status, length, framing, keeps }))
}

fn write_decimal(out: &mut Vec<u8>, mut number: usize) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + u8::try_from(number % 10).expect("a digit");
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
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
            Http1::new(Socket::Plain(TcpStream::connect(address).await.unwrap()), "localhost:8000");
        let sent = async {
            let status = {
                connection.prepare("DynamoDB_20120810.ListTables", &SIGNED, b"{}");
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

    #[test]
    fn lengths_are_written_as_decimals() {
        for number in [0, 7, 10, 400_000, usize::MAX] {
            let mut out = Vec::new();
            write_decimal(&mut out, number);
            assert_eq!(out, number.to_string().into_bytes());
        }
    }
}
