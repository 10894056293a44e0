//! Reads one request's body: at most so large, not slower than allowed, and counted while it is held.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use units::Timestamp;

use super::in_flight::Held;
use super::self_wake;

/// Grace before the minimum rate counts: one lost packet is no attack.
const RATE_GRACE: Duration = Duration::from_secs(1);

/// First allocation for a body that comes in pieces; a declared length is a claim, not a reason to
/// allocate.
const FIRST_PIECES: usize = 64 * 1024;

/// Bounds of one body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BodyLimits {
    pub(crate) max_bytes: usize,
    pub(crate) deadline: Duration,
    /// Bytes per second, on average since the head.
    pub(crate) min_rate: u64,
}

/// Why there is no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodyError {
    TooLarge,
    TooSlow,
    /// The process holds as much as it may.
    NoRoom,
    /// Broken off, or not framed as promised.
    Broken,
}

/// Reads `body` to its end.
pub(crate) async fn read(
    mut body: Incoming,
    limits: &BodyLimits,
    held: &mut Held,
    begun: Timestamp,
) -> Result<Bytes, BodyError> {
    if body.size_hint().lower() > limits.max_bytes as u64 {
        return Err(BodyError::TooLarge);
    }
    let mut first = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(piece) = next_piece(&mut body, limits, first.len() + pieces.len(), begun).await? {
        if first.len() + pieces.len() + piece.len() > limits.max_bytes {
            return Err(BodyError::TooLarge);
        }
        if !held.grow(piece.len()) {
            return Err(BodyError::NoRoom);
        }
        // Nearly every request arrives in one piece, which is then the body, uncopied.
        if first.is_empty() && pieces.is_empty() {
            first = piece;
            continue;
        }
        if pieces.is_empty() {
            pieces.reserve(FIRST_PIECES.max(first.len() + piece.len()));
            pieces.extend_from_slice(&std::mem::take(&mut first));
        }
        pieces.extend_from_slice(&piece);
    }
    Ok(if pieces.is_empty() { first } else { pieces.freeze() })
}

/// The next piece of data; none at the end. Sets a timer only if it has to wait.
async fn next_piece(
    body: &mut Incoming,
    limits: &BodyLimits,
    received: usize,
    begun: Timestamp,
) -> Result<Option<Bytes>, BodyError> {
    if body.is_end_stream() {
        return Ok(None);
    }
    let ready = self_wake::deaf(|| futures_util::FutureExt::now_or_never(body.frame()));
    if !body.is_end_stream() {
        // The sender waits to hear that there is room for more, or that the body is wanted at all.
        self_wake::wake_self().await;
    }
    let frame = match ready {
        Some(frame) => frame,
        None => {
            let left = time_left(limits, received, wire::clock::now().since(begun));
            tokio::time::timeout(left, body.frame()).await.map_err(|_| BodyError::TooSlow)?
        }
    };
    match frame {
        None => Ok(None),
        // Trailers are not signed, so nothing may be learned from them.
        Some(Ok(frame)) => frame.into_data().map(Some).map_err(|_| BodyError::Broken),
        Some(Err(_)) => Err(BodyError::Broken),
    }
}

/// How long the next piece may take.
fn time_left(limits: &BodyLimits, received: usize, elapsed: Duration) -> Duration {
    let paid = Duration::from_millis(1000 * received as u64 / limits.min_rate.max(1));
    (RATE_GRACE + paid).min(limits.deadline).saturating_sub(elapsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sender_must_keep_the_rate_and_the_deadline() {
        let limits = BodyLimits { max_bytes: 1, deadline: Duration::from_secs(10), min_rate: 4096 };
        let left = |received, secs| time_left(&limits, received, Duration::from_secs(secs));
        assert_eq!(left(0, 0), Duration::from_secs(1));
        assert_eq!(left(0, 2), Duration::ZERO);
        assert_eq!(left(8192, 2), Duration::from_secs(1));
        assert_eq!(left(1 << 24, 9), Duration::from_secs(1));
        assert_eq!(left(1 << 24, 10), Duration::ZERO);
    }
}
