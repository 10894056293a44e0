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
const LOOK_INTERVAL: Duration = Duration::from_secs(5);
/// Looks in a row without a sign of life, beyond which the client counts as gone.
const MOST_UNHEARD: u32 = 1;
/// Messages after which what they led to is sent, and others get a turn: a full frame's, about a millisecond.
const TURN_MESSAGES: usize = 256;

/// A stream that was accepted.
#[derive(Debug)]
pub(super) struct ServerLink<S> {
    requests: Requests,
    framed: Framed<S>,
    beat: Interval,
    heard: bool,
    unheard: u32,
    /// The client has finished its side.
    finished: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> ServerLink<S> {
    pub(super) fn new(requests: Requests, framed: Framed<S>) -> Self {
        let mut beat = interval(LOOK_INTERVAL);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { requests, framed, beat, heard: true, unheard: 0, finished: false }
    }

    fn poll_beat(&mut self, context: &mut Context<'_>) -> Result<(), StreamError> {
        while self.beat.poll_tick(context).is_ready() {
            self.unheard = if std::mem::take(&mut self.heard) { 0 } else { self.unheard + 1 };
            if self.unheard > MOST_UNHEARD {
                return Err(StreamError::Silent);
            }
        }
        Ok(())
    }

    /// Has executed what has arrived, as far as there is room for the answers.
    fn receive(&mut self, context: &mut Context<'_>) -> Result<(), StreamError> {
        let mut messages = 0;
        while !self.finished && self.requests.may_receive() {
            if messages >= TURN_MESSAGES {
                context.waker().wake_by_ref();
                break;
            }
            match self.framed.poll_receive(context)? {
                Poll::Ready(Some(received)) => {
                    self.heard = true;
                    match received {
                        Received::Frame(frame) => {
                            messages += frame.messages.len();
                            self.requests.receive(frame);
                        }
                        Received::Ping => self.framed.put_ping(),
                    }
                }
                Poll::Ready(None) => self.finished = true,
                Poll::Pending => break,
            }
        }
        if messages > 0 {
            self.requests.received();
        }
        Ok(())
    }

    /// Sends what is queued; ready when the stream is over.
    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        loop {
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
            link.receive(context)?;
            if link.finished {
                link.requests.stream.client_finished();
            }
            let had_room = link.requests.may_receive();
            if let Poll::Ready(ended) = link.poll_send(context) {
                return Poll::Ready(ended);
            }
            // Sending may have made the room that reading waits for.
            if had_room || link.finished || !link.requests.may_receive() {
                return Poll::Pending;
            }
        }
    }
}
