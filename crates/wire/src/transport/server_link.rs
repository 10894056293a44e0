//! One stream at the server: a single task that reads requests, has them executed, and sends what was answered
//! meanwhile in one go.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::framing::{Framed, Received, StreamError};
use super::server_stream::{Next, Requests};

/// How often it looks whether the client, which pings every two seconds, was heard.
const LOOK_INTERVAL: Duration = Duration::from_secs(2);
/// Looks in a row without a sign of life, beyond which the client counts as gone.
const MOST_UNHEARD: u32 = 3;
/// Messages after which what they led to is sent, and others get a turn: a full frame's, about a millisecond.
pub(super) const TURN_MESSAGES: usize = 256;

/// A stream that was accepted.
#[derive(Debug)]
pub(super) struct ServerLink<S> {
    requests: Requests,
    framed: Framed<S>,
    beat: Interval,
    unheard: u32,
    /// A ping is to be answered: one answer for all that came.
    owes_pong: bool,
    /// One has come since the last look.
    pinged: bool,
    /// The client has finished its side.
    finished: bool,
}

/// Why no more is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stopped {
    /// Nothing has arrived; or others get a turn. The task is woken.
    Waits,
    /// There is no room for what it would lead to.
    Full,
    /// The client has finished its side.
    Finished,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerLink<S> {
    pub(super) fn new(requests: Requests, framed: Framed<S>) -> Self {
        let mut beat = interval(LOOK_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { requests, framed, beat, unheard: 0, owes_pong: false, pinged: true, finished: false }
    }

    fn poll_beat(&mut self, context: &mut Context<'_>) -> Result<(), StreamError> {
        while self.beat.poll_tick(context).is_ready() {
            let lives = self.framed.take_heard() || self.is_deaf();
            self.unheard = if lives { 0 } else { self.unheard + 1 };
            if self.unheard > MOST_UNHEARD {
                return Err(StreamError::Silent);
            }
            // A client whose pings we do not read, or that may send none any more, shall hear that we are here.
            self.owes_pong |= !std::mem::take(&mut self.pinged);
        }
        Ok(())
    }

    /// Whether it is for us, not for the client, that nothing is heard: it has nothing more to say, or we do not
    /// read and it takes what we send.
    fn is_deaf(&mut self) -> bool {
        self.finished || !(self.may_receive() || self.framed.is_blocked())
    }

    /// Whether there is room for what another frame leads to.
    fn may_receive(&mut self) -> bool {
        self.framed.has_room() && self.requests.may_receive()
    }

    /// Has executed what has arrived, as far as there is room for the answers.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<Stopped, StreamError> {
        let mut frames = 0;
        let stopped = self.receive_turn(&mut frames, context)?;
        if frames > 0 {
            self.requests.received();
        }
        Ok(stopped)
    }

    fn receive_turn(
        &mut self,
        frames: &mut usize,
        context: &mut Context<'_>,
    ) -> Result<Stopped, StreamError> {
        let mut messages = 0;
        while messages < TURN_MESSAGES {
            if self.finished {
                return Ok(Stopped::Finished);
            }
            if !self.may_receive() {
                return Ok(Stopped::Full);
            }
            match self.framed.poll_receive(context)? {
                Poll::Ready(Some(Received::Frame(frame))) => {
                    *frames += 1;
                    // An empty one is work, too.
                    messages += frame.messages.len().max(1);
                    self.requests.receive(frame);
                }
                Poll::Ready(Some(Received::Ping)) => {
                    messages += 1;
                    self.owes_pong = true;
                    self.pinged = true;
                }
                Poll::Ready(None) => self.finished = true,
                Poll::Pending => return Ok(Stopped::Waits),
            }
        }
        context.waker().wake_by_ref();
        Ok(Stopped::Waits)
    }

    /// One answer for all pings, and only when what was sent before has gone: what is not read does not grow.
    fn pong(&mut self) {
        if self.framed.has_sent_all() && std::mem::take(&mut self.owes_pong) {
            self.framed.put_ping();
        }
    }

    /// Sends what is queued; ready when the stream is over.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
            self.pong();
            let mut last = None;
            while last.is_none() && self.framed.has_room() {
                match self.requests.stream.next(context) {
                    Next::Frame(frame) => self.framed.put(&frame),
                    other => last = Some(other),
                }
            }
            if matches!(last, Some(Next::Cut)) {
                return Poll::Ready(Ok(()));
            }
            if self.framed.poll_flush(context)?.is_pending() {
                return self.requests.stream.poll_cut(context).map(Ok);
            }
            match last {
                None | Some(Next::Frame(_) | Next::Cut) => {}
                Some(Next::Nothing) => return Poll::Pending,
                Some(Next::End) => return self.framed.poll_finish(context),
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Future for ServerLink<S> {
    type Output = Result<(), StreamError>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let link = self.get_mut();
        link.poll_beat(context)?;
        loop {
            let stopped = link.receive(context)?;
            if stopped == Stopped::Finished {
                link.requests.stream.client_finished();
            }
            if let Poll::Ready(ended) = link.poll_send(context) {
                return Poll::Ready(ended);
            }
            // Sending may have made the room that reading waits for, or an answer that came meanwhile.
            if stopped != Stopped::Full || !link.may_receive() {
                return Poll::Pending;
            }
        }
    }
}
