//! Every metric of the transport. Handles are made when a connection is, after the recorder.

use std::sync::Once;

use ::metrics::{Counter, Unit, counter, describe_counter};

/// Counters of one side. Messages divided by frames is how well the stream coalesces.
#[derive(Clone)]
pub(super) struct TransportMetrics {
    /// `weir_wire_frames_sent_total{side}`.
    pub(super) frames_sent: Counter,
    /// `weir_wire_messages_sent_total{side}`.
    pub(super) messages_sent: Counter,
    /// `weir_wire_frames_received_total{side}`.
    pub(super) frames_received: Counter,
    /// `weir_wire_messages_received_total{side}`.
    pub(super) messages_received: Counter,
    /// `weir_wire_queue_full_total{side}`: calls and notices refused because a queue was full.
    pub(super) queue_full: Counter,
    /// `weir_wire_connects_total{side}`: streams that came up.
    pub(super) connects: Counter,
    /// `weir_wire_disconnects_total{side}`: streams that ended.
    pub(super) disconnects: Counter,
    /// `weir_wire_timeouts_total{side}`: calls that ended at their deadline; at the server, requests
    /// dropped because theirs had passed.
    pub(super) timeouts: Counter,
    /// `weir_wire_cancellations_total{side}`: calls that the caller gave up.
    pub(super) cancellations: Counter,
}

impl TransportMetrics {
    /// The handles of `side` (`client` or `server`).
    pub(super) fn of(side: &'static str) -> Self {
        static DESCRIBED: Once = Once::new();
        DESCRIBED.call_once(describe);
        Self {
            frames_sent: counter!("weir_wire_frames_sent_total", "side" => side),
            messages_sent: counter!("weir_wire_messages_sent_total", "side" => side),
            frames_received: counter!("weir_wire_frames_received_total", "side" => side),
            messages_received: counter!("weir_wire_messages_received_total", "side" => side),
            queue_full: counter!("weir_wire_queue_full_total", "side" => side),
            connects: counter!("weir_wire_connects_total", "side" => side),
            disconnects: counter!("weir_wire_disconnects_total", "side" => side),
            timeouts: counter!("weir_wire_timeouts_total", "side" => side),
            cancellations: counter!("weir_wire_cancellations_total", "side" => side),
        }
    }
}

/// Declares every metric's unit and meaning to the process's recorder.
fn describe() {
    let counter = |name: &'static str, what: &'static str| describe_counter!(name, Unit::Count, what);
    counter("weir_wire_frames_sent_total", "Frames sent, by side.");
    counter("weir_wire_messages_sent_total", "Messages sent, by side; several share a frame.");
    counter("weir_wire_frames_received_total", "Frames received, by side.");
    counter("weir_wire_messages_received_total", "Messages received, by side.");
    counter("weir_wire_queue_full_total", "Calls and notices refused because a queue was full, by side.");
    counter("weir_wire_connects_total", "Streams that came up, by side.");
    counter("weir_wire_disconnects_total", "Streams that ended, by side.");
    counter("weir_wire_timeouts_total", "Calls that ended at their deadline, by side.");
    counter("weir_wire_cancellations_total", "Calls that the caller gave up, by side.");
}

impl std::fmt::Debug for TransportMetrics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TransportMetrics").finish_non_exhaustive()
    }
}
