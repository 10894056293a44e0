//! Stands between the socket and hyper, and refuses the HTTP/1 framing that hyper would repair silently:
//! a request that two parsers could read differently is how one request is smuggled inside another.
//!
//! It looks at bytes on their way and changes nothing, with one exception: from the first byte of a
//! violation on, hyper receives NULs, which no part of a request head may contain. So hyper itself
//! answers 400 and closes, and never sees the request.
//!
//! Invariant: the guard's idea of where each request begins is hyper's, because a body here has a
//! `Content-Length` or does not exist.

mod scanner;

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

pub(crate) use scanner::HeadLimits;
use scanner::{Phase, Scanner};

/// The clock is looked at so many times within the shortest deadline, and never otherwise: a request
/// costs no timer.
const TICKS_PER_HEAD_DEADLINE: u32 = 2;

/// How long a connection may stay in each phase.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PhaseDeadlines {
    /// From the first byte of a request head to its last.
    pub(crate) head: Duration,
    /// Between requests.
    pub(crate) idle: Duration,
}

/// A stream whose inbound bytes are watched.
pub(crate) struct GuardedStream<T> {
    inner: T,
    scanner: Scanner,
    tick: Duration,
    idle_ticks: u32,
    /// Fires every `tick` while a read waits.
    ticker: Pin<Box<Sleep>>,
    /// Ticks since the phase began.
    ticks: u32,
    /// Bytes of [`POISON_END`] that hyper has received.
    poisoned: usize,
    /// How far closing has got.
    closing: Closing,
}

/// What hyper receives after a violation: it does not look at a head again before it may have ended.
const POISON_END: &[u8] = b"\0\r\n\r\n";

/// Closing with unread bytes makes the kernel reset the connection, and the answer that says why is lost
/// with it. So what a refused sender still sends is read and dropped, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Closing {
    No,
    /// Our side is closed; so many bytes may still be dropped.
    Draining {
        left: usize,
    },
}

/// Bytes of a refused request that are read and dropped: twice the largest body.
const DRAINED_BYTES: usize = 32 * 1024 * 1024;

/// How long a refused sender is listened to.
const DRAIN_FOR: Duration = Duration::from_secs(1);

/// Bytes dropped at a time.
const DRAIN_STEP: usize = 16 * 1024;

impl<T> GuardedStream<T> {
    pub(crate) fn new(inner: T, deadlines: PhaseDeadlines, limits: HeadLimits) -> Self {
        let tick = (deadlines.head / TICKS_PER_HEAD_DEADLINE).max(Duration::from_millis(1));
        let idle_ticks = deadlines.idle.as_millis().div_ceil(tick.as_millis());
        Self {
            inner,
            scanner: Scanner::new(limits),
            tick,
            idle_ticks: u32::try_from(idle_ticks).unwrap_or(u32::MAX),
            ticker: Box::pin(tokio::time::sleep(tick)),
            ticks: 0,
            poisoned: 0,
            closing: Closing::No,
        }
    }

    /// Whether the peer has been in this phase for too long. Called only when nothing could be read.
    fn poll_expired(&mut self, cx: &mut Context<'_>) -> bool {
        while self.ticker.as_mut().poll(cx).is_ready() {
            self.ticker.set(tokio::time::sleep(self.tick));
            self.ticks = self.ticks.saturating_add(1);
        }
        match self.scanner.phase() {
            Phase::Head => self.ticks >= TICKS_PER_HEAD_DEADLINE,
            Phase::Between | Phase::Http2 => self.ticks >= self.idle_ticks,
            // Whoever reads the body minds its deadlines, and can answer when they pass.
            Phase::Body => false,
            Phase::Refused => true,
        }
    }

    fn inspect(&mut self, bytes: &mut [u8]) {
        let before = (self.scanner.phase(), self.scanner.heads());
        if let Err(refused) = self.scanner.scan(bytes) {
            tracing::debug!(reason = refused.reason, "request framing refused");
            metrics::counter!(crate::metrics::FRAMING_REFUSALS, "reason" => refused.reason).increment(1);
            bytes[refused.at..].fill(0);
        }
        let after = (self.scanner.phase(), self.scanner.heads());
        // The head's deadline runs from its first byte, however many more trickle in. A whole request in one
        // piece begins and ends between requests: its head says that the connection was not idle.
        if before != after || after.0 == Phase::Http2 {
            self.ticks = 0;
        }
    }
}

impl<T: AsyncRead + Unpin> GuardedStream<T> {
    /// Drops what still arrives, until the sender has closed, or enough is enough.
    fn poll_drain(&mut self, cx: &mut Context<'_>, mut left: usize) -> Poll<()> {
        let mut dropped = [0; DRAIN_STEP];
        while left > 0 && self.ticker.as_mut().poll(cx).is_pending() {
            let mut buf = ReadBuf::new(&mut dropped);
            match Pin::new(&mut self.inner).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    left = left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => {
                    self.closing = Closing::Draining { left };
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(())
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for GuardedStream<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.scanner.phase() == Phase::Refused {
            // Then the end of the connection, for all that hyper can see.
            let poison = POISON_END.split_at(self.poisoned).1;
            let given = poison.len().min(buf.remaining());
            buf.put_slice(&poison[..given]);
            self.poisoned += given;
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        if read.is_pending() {
            if self.poll_expired(cx) {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            return Poll::Pending;
        }
        ready!(read)?;
        self.inspect(&mut buf.filled_mut()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for GuardedStream<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.closing == Closing::No {
            ready!(Pin::new(&mut self.inner).poll_shutdown(cx))?;
            if !matches!(self.scanner.phase(), Phase::Refused | Phase::Body) {
                return Poll::Ready(Ok(()));
            }
            self.closing = Closing::Draining { left: DRAINED_BYTES };
            self.ticker.set(tokio::time::sleep(DRAIN_FOR));
        }
        if let Closing::Draining { left } = self.closing {
            ready!(self.poll_drain(cx, left));
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }
}
