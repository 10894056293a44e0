//! Frames on a byte stream: each behind its length; a length of zero is a ping.
//!
//! Before them each side sends the preface, by which it knows the other for one of us, and the client that the
//! server has accepted it.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_util::io::poll_read_buf;

use super::frame::{MAX_ENCODED_FRAME_BYTES, MAX_FRAME_BYTES};
use crate::proto::transport::Frame;

/// What both sides begin with: a name, and the version of what follows.
pub(super) const PREFACE: [u8; 8] = *b"weir/1\r\n";
/// Bytes before a frame: its length, little-endian.
const LENGTH_BYTES: usize = 4;
/// Room for what is read at once: a payload that is kept keeps this much alive.
const READ_BYTES: usize = 16 * 1024;
/// With less room than this another buffer is taken, so that frames are not read in little pieces.
const LEAST_READ_BYTES: usize = 2 * 1024;
/// Encoded bytes that wait for the socket, beyond which no further frame is encoded.
pub(super) const WRITE_BYTES: usize = 64 * 1024;
/// A buffer that grew beyond this for a large payload is not kept.
const KEPT_WRITE_BYTES: usize = 1024 * 1024;

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum StreamError {
    /// The socket failed.
    #[error("the socket failed")]
    Io(#[from] io::Error),
    /// It does not speak our language, or another version of it.
    #[error("the other side is not one of ours")]
    Preface,
    /// A length that no frame has.
    #[error("a frame of {0} bytes was announced")]
    TooLong(u32),
    /// A frame that is none.
    #[error("a frame cannot be decoded")]
    Malformed(#[from] prost::DecodeError),
    /// Nothing was heard for too long.
    #[error("the other side has fallen silent")]
    Silent,
}

/// What arrives.
#[derive(Debug)]
pub(super) enum Received {
    /// A frame.
    Frame(Frame),
    /// "Are you there?", or the answer.
    Ping,
}

/// A byte stream that carries frames.
#[derive(Debug)]
pub(super) struct Framed<S> {
    socket: S,
    read: BytesMut,
    write: BytesMut,
    /// Bytes arrived since it was last asked, or a full socket took some: the other side lives.
    heard: bool,
    /// The socket took no more when last asked.
    blocked: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Framed<S> {
    /// Sends the client's preface and waits for the server's, with which the server has accepted the stream.
    ///
    /// # Errors
    /// When the other side is not one of ours or refuses, or the socket fails.
    pub(super) async fn meet_server(mut socket: S) -> Result<Self, StreamError> {
        socket.write_all(&PREFACE).await?;
        Self::meet_client(socket).await
    }

    /// Waits for the client's preface. The stream is accepted with [`Framed::welcome`].
    ///
    /// # Errors
    /// When the other side is not one of ours, or the socket fails.
    pub(super) async fn meet_client(mut socket: S) -> Result<Self, StreamError> {
        let mut theirs = [0; PREFACE.len()];
        socket.read_exact(&mut theirs).await?;
        if theirs != PREFACE {
            return Err(StreamError::Preface);
        }
        let (read, write) = (BytesMut::new(), BytesMut::new());
        Ok(Self { socket, read, write, heard: true, blocked: false })
    }

    /// Puts the server's preface in: from now on the client may send.
    pub(super) fn welcome(&mut self) {
        self.write.put_slice(&PREFACE);
    }

    /// Whether the other side has shown since the last time that it lives: by a byte that arrived, be it of a
    /// frame that is not complete, or by taking bytes although the way to it was full.
    pub(super) const fn take_heard(&mut self) -> bool {
        std::mem::replace(&mut self.heard, false)
    }

    /// Whether bytes wait that the socket did not take.
    pub(super) const fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether nothing waits for the socket.
    pub(super) fn has_sent_all(&self) -> bool {
        self.write.is_empty()
    }

    /// The next that arrives; none: the other side has finished.
    ///
    /// # Errors
    /// The stream is of no use any more.
    pub(super) fn poll_receive(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Result<Option<Received>, StreamError>> {
        loop {
            let missing = match self.decode()? {
                Ok(received) => return Poll::Ready(Ok(Some(received))),
                Err(missing) => missing,
            };
            if self.read.capacity() - self.read.len() < missing.max(LEAST_READ_BYTES) {
                // What is announced is only believed in steps.
                self.read.reserve(missing.clamp(READ_BYTES, MAX_FRAME_BYTES));
            }
            if ready!(poll_read_buf(Pin::new(&mut self.socket), context, &mut self.read))? == 0 {
                return Poll::Ready(match self.read.is_empty() {
                    true => Ok(None),
                    false => Err(StreamError::Io(io::ErrorKind::UnexpectedEof.into())),
                });
            }
            self.heard = true;
        }
    }

    /// What is complete, or how many bytes are missing.
    fn decode(&mut self) -> Result<Result<Received, usize>, StreamError> {
        let Some(length) = self.read.first_chunk::<LENGTH_BYTES>() else { return Ok(Err(LENGTH_BYTES)) };
        let length = u32::from_le_bytes(*length);
        let bytes = length as usize;
        if bytes > MAX_ENCODED_FRAME_BYTES {
            return Err(StreamError::TooLong(length));
        }
        let missing = (LENGTH_BYTES + bytes).saturating_sub(self.read.len());
        if missing > 0 {
            return Ok(Err(missing));
        }
        self.read.advance(LENGTH_BYTES);
        if bytes == 0 {
            return Ok(Ok(Received::Ping));
        }
        // The payloads share the buffer's memory.
        let frame: Bytes = self.read.split_to(bytes).freeze();
        Ok(Ok(Received::Frame(Frame::decode(frame)?)))
    }

    /// Whether another frame may be put in before what waits has gone.
    pub(super) fn has_room(&self) -> bool {
        self.write.len() < WRITE_BYTES
    }

    /// Puts a frame in.
    pub(super) fn put(&mut self, frame: &Frame) {
        let bytes = frame.encoded_len();
        self.write.reserve(LENGTH_BYTES + bytes);
        self.write.put_u32_le(u32::try_from(bytes).expect("frames are bounded"));
        frame.encode(&mut self.write).expect("the room was made just above");
    }

    /// Puts a ping in.
    pub(super) fn put_ping(&mut self) {
        self.write.put_u32_le(0);
    }

    /// Resolves when all that was put in has gone to the socket.
    ///
    /// # Errors
    /// The stream is of no use any more.
    pub(super) fn poll_flush(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        if self.write.is_empty() {
            return Poll::Ready(Ok(()));
        }
        while !self.write.is_empty() {
            let Poll::Ready(written) = Pin::new(&mut self.socket).poll_write(context, &self.write) else {
                self.blocked = true;
                return Poll::Pending;
            };
            let written = written?;
            if written == 0 {
                return Poll::Ready(Err(StreamError::Io(io::ErrorKind::WriteZero.into())));
            }
            // What an empty buffer takes says nothing about the other side.
            self.heard |= std::mem::take(&mut self.blocked);
            self.write.advance(written);
        }
        if self.write.capacity() > KEPT_WRITE_BYTES {
            self.write = BytesMut::new();
        }
        ready!(Pin::new(&mut self.socket).poll_flush(context))?;
        Poll::Ready(Ok(()))
    }

    /// Ends our side, once what was put in has gone.
    ///
    /// # Errors
    /// The stream is of no use any more.
    pub(super) fn poll_finish(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        ready!(self.poll_flush(context))?;
        ready!(Pin::new(&mut self.socket).poll_shutdown(context))?;
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::io::DuplexStream;

    use super::*;
    use crate::proto::transport::Message;

    async fn pair() -> (Framed<DuplexStream>, Framed<DuplexStream>) {
        let (client, server) = tokio::io::duplex(1024);
        let (client, server) = tokio::join!(Framed::meet_server(client), async {
            let mut server = Framed::meet_client(server).await.expect("it meets a client");
            server.welcome();
            poll_fn(|context| server.poll_flush(context)).await.expect("the pipe holds");
            server
        });
        (client.expect("it meets a server"), server)
    }

    fn frame(payload: usize) -> Frame {
        let message = Message { id: 7, payload: vec![1; payload].into(), ..Message::default() };
        Frame { messages: vec![message; 2], sent_us: 5 }
    }

    #[tokio::test]
    async fn frames_and_pings_arrive_in_order_whatever_their_size() {
        let (mut client, mut server) = pair().await;
        let sizes = [0, 1, 100, 70_000, 3];
        let sending = async {
            for size in sizes {
                client.put(&frame(size));
                client.put_ping();
                poll_fn(|context| client.poll_flush(context)).await.expect("the pipe holds");
            }
            poll_fn(|context| client.poll_finish(context)).await.expect("the pipe holds");
        };
        let receiving = async {
            let mut received = Vec::new();
            while let Some(next) =
                poll_fn(|context| server.poll_receive(context)).await.expect("the pipe holds")
            {
                received.push(next);
            }
            received
        };
        let ((), received) = tokio::join!(sending, receiving);
        assert_eq!(received.len(), 2 * sizes.len());
        for (pair, size) in received.chunks(2).zip(sizes) {
            let [Received::Frame(arrived), Received::Ping] = pair else { panic!("{pair:?}") };
            assert_eq!(*arrived, frame(size));
        }
    }

    #[tokio::test]
    async fn whoever_is_not_one_of_ours_is_refused() {
        let (mut stranger, server) = tokio::io::duplex(1024);
        stranger.write_all(b"PRI * HTTP/2.0\r\n").await.expect("the pipe holds");
        assert!(matches!(Framed::meet_client(server).await, Err(StreamError::Preface)));
    }

    #[tokio::test]
    async fn an_impossible_length_and_a_cut_frame_end_the_stream() {
        for (bytes, is_length) in [(u32::MAX.to_le_bytes().to_vec(), true), (vec![9, 0, 0, 0, 1, 2], false)] {
            let (mut client, mut server) = pair().await;
            client.write = bytes.as_slice().into();
            poll_fn(|context| client.poll_finish(context)).await.expect("the pipe holds");
            let ended = poll_fn(|context| server.poll_receive(context)).await.expect_err("it is damaged");
            assert_eq!(matches!(ended, StreamError::TooLong(_)), is_length, "{ended}");
        }
    }
}
