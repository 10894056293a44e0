//! Frames and their bounds: what is taken from a queue at once.

use std::collections::VecDeque;

use crate::proto::transport::{Frame, Message};

/// Messages in one frame, at most: a frame is encoded and decoded without a pause, and 256 small
/// messages are some tens of microseconds.
pub(super) const MAX_FRAME_MESSAGES: usize = 256;

/// A frame takes no further message once its payloads reach this. So a frame holds at most this much
/// and one message.
pub(super) const MAX_FRAME_BYTES: usize = 256 * 1024;

/// The largest payload of one request, answer or notice.
pub const MAX_PAYLOAD_BYTES: usize = 16 * 1024 * 1024;

/// What either side decodes at most: the largest payload, a full frame before it, and the messages'
/// own fields (40 bytes each at most).
pub(super) const MAX_ENCODED_FRAME_BYTES: usize =
    MAX_PAYLOAD_BYTES + MAX_FRAME_BYTES + MAX_FRAME_MESSAGES * 64;

/// Bounds of one stream at the server.
#[derive(Clone, Copy, Debug)]
pub struct ServerLimits {
    /// Requests that may wait for their answers; reading pauses above it. Per stream.
    pub outstanding: usize,
    /// Bytes of answers that may wait to be sent before reading pauses. Per stream.
    pub queued_bytes: usize,
    /// How long a stopping server waits for unanswered requests.
    pub drain: std::time::Duration,
}

impl Default for ServerLimits {
    /// 16,384 requests, 16 MiB of answers, 5 s.
    fn default() -> Self {
        Self {
            outstanding: 16 * 1024,
            queued_bytes: 16 * 1024 * 1024,
            drain: std::time::Duration::from_secs(5),
        }
    }
}

/// Messages that wait to be sent, with their bytes.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    queue: VecDeque<Message>,
    bytes: usize,
}

impl Outbox {
    pub(super) fn push(&mut self, message: Message) {
        self.bytes += message.payload.len();
        self.queue.push_back(message);
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Bytes of the payloads that wait.
    pub(super) const fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes everything, in order.
    pub(super) fn take_all(&mut self) -> VecDeque<Message> {
        self.bytes = 0;
        std::mem::take(&mut self.queue)
    }

    /// Takes the next frame; `keep` may change a message, or drop it by answering false. None: nothing
    /// is left to send.
    pub(super) fn next_frame(&mut self, mut keep: impl FnMut(&mut Message) -> bool) -> Option<Frame> {
        let mut messages = Vec::with_capacity(self.queue.len().min(MAX_FRAME_MESSAGES));
        let mut bytes = 0;
        while messages.len() < MAX_FRAME_MESSAGES && bytes < MAX_FRAME_BYTES {
            let Some(mut message) = self.queue.pop_front() else { break };
            self.bytes -= message.payload.len();
            if keep(&mut message) {
                bytes += message.payload.len();
                messages.push(message);
            }
        }
        (!messages.is_empty()).then_some(Frame { messages, sent_us: 0 })
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn message(id: u64, payload: usize) -> Message {
        Message { id, payload: Bytes::from(vec![0; payload]), ..Message::default() }
    }

    #[test]
    fn a_frame_takes_what_is_ready_and_no_more_than_its_bounds() {
        let mut outbox = Outbox::default();
        for id in 0..300 {
            outbox.push(message(id, 10));
        }
        let first = outbox.next_frame(|_| true).expect("300 wait");
        let second = outbox.next_frame(|_| true).expect("44 wait");
        assert_eq!((first.messages.len(), second.messages.len()), (MAX_FRAME_MESSAGES, 44));
        assert_eq!((outbox.len(), outbox.bytes()), (0, 0));
    }

    #[test]
    fn a_frame_holds_at_most_one_message_past_its_size() {
        let mut outbox = Outbox::default();
        for id in 0..3 {
            outbox.push(message(id, MAX_FRAME_BYTES - 1));
        }
        let first = outbox.next_frame(|_| true).expect("three wait");
        assert_eq!(first.messages.len(), 2);
        assert_eq!(outbox.bytes(), MAX_FRAME_BYTES - 1);
    }

    #[test]
    fn dropped_messages_leave_no_bytes_behind() {
        let mut outbox = Outbox::default();
        outbox.push(message(1, 100));
        outbox.push(message(2, 100));
        let frame = outbox.next_frame(|message| message.id == 2).expect("one is kept");
        assert_eq!(frame.messages.len(), 1);
        assert_eq!((outbox.is_empty(), outbox.bytes()), (true, 0));
    }
}
