//! One stream at the client: a single task that reads what the server sends and sends what is queued.

use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::client::{Client, Next};
use super::framing::{Framed, Received, StreamError};

/// Pings, also while idle: a peer that vanished without a word is noticed after [`MOST_UNHEARD`] of them.
const PING_INTERVAL: Duration = Duration::from_secs(2);
/// Pings in a row without a sign of life, beyond which the server counts as gone: long enough for one that is
/// starved of CPU.
const MOST_UNHEARD: u32 = 3;
/// Frames that are read before others get a turn.
const TURN_FRAMES: usize = 16;

/// A stream that is up.
#[derive(Debug)]
pub(super) struct ClientLink<S> {
    client: Arc<Client>,
    framed: Framed<S>,
    beat: Interval,
    unheard: u32,
    /// The server stops, and we finish our side: nothing more is put in.
    finishing: bool,
    /// Our side has ended; answers still come.
    finished: bool,
    /// What was queued waits for the tasks that are ready to queue more.
    deferred: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ClientLink<S> {
    pub(super) fn new(client: Arc<Client>, framed: Framed<S>) -> Self {
        let mut beat = interval(PING_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { client, framed, beat, unheard: 0, finishing: false, finished: false, deferred: false }
    }

    fn poll_beat(&mut self, context: &mut Context<'_>) -> Result<(), StreamError> {
        while self.beat.poll_tick(context).is_ready() {
            self.unheard = if self.framed.take_heard() { 0 } else { self.unheard + 1 };
            if self.unheard > MOST_UNHEARD {
                return Err(StreamError::Silent);
            }
            // What waits says as much as a ping; and what nobody reads does not grow.
            if !self.finishing && self.framed.has_sent_all() {
                self.framed.put_ping();
            }
        }
        Ok(())
    }

    /// Hands on what has arrived; whether the server has finished.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<bool, StreamError> {
        for _ in 0..TURN_FRAMES {
            match self.framed.poll_receive(context)? {
                Poll::Ready(Some(Received::Frame(frame))) => self.client.receive(frame),
                Poll::Ready(Some(Received::Ping)) => {}
                Poll::Ready(None) => return Ok(true),
                Poll::Pending => return Ok(false),
            }
        }
        context.waker().wake_by_ref();
        Ok(false)
    }

    /// Sends what is queued; never ready but with an error.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        while !self.finishing {
            let mut last = None;
            while last.is_none() && self.framed.has_room() {
                match self.client.next(&mut self.deferred, after_a_look, context) {
                    Next::Frame(frame) => self.framed.put(&frame),
                    other => last = Some(other),
                }
            }
            ready!(self.framed.poll_flush(context))?;
            match last {
                None | Some(Next::Frame(_)) => {}
                Some(Next::Nothing) => return Poll::Pending,
                Some(Next::Finish) => self.finishing = true,
            }
        }
        if !self.finished {
            ready!(self.framed.poll_finish(context))?;
            self.finished = true;
        }
        Poll::Pending
    }
}

/// Wakes a task after those that are ready, and those that become so by what has arrived meanwhile: a frame is sent per
/// look at the sockets, not per request.
fn after_a_look(task: &Waker) {
    // With its first poll the waker is the runtime's, which keeps it until it has looked.
    _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(task));
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ClientLink<S> {
    type Output = Result<(), StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let link = self.get_mut();
        link.poll_beat(context)?;
        if link.receive(context)? {
            return Poll::Ready(Ok(()));
        }
        link.poll_send(context)
    }
}
