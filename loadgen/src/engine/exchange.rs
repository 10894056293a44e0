//! Brings requests that are due and connections that are free together.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

/// Requests of one thread that may wait for a connection: 13 seconds of 20,000 a second, in some 10 MB. Whoever would
/// be behind them would learn nothing from an answer.
pub(super) const MOST_WAITING: usize = 1 << 18;

/// Requests that wait for lanes (a place for one request on a connection), or lanes that wait for requests.
#[derive(Debug)]
pub(super) struct Exchange<T> {
    waiting: VecDeque<T>,
    lanes: Vec<Lane<T>>,
    /// Lanes that wait, the longest waiting first: load spreads evenly over connections.
    idle: VecDeque<usize>,
}

#[derive(Debug)]
struct Lane<T> {
    assigned: Option<T>,
    waker: Option<Waker>,
    waits: bool,
    connection: Connection,
}

/// What is known of a lane's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Connection {
    /// There is one, or it is being opened.
    Hopeful,
    /// The last try to open it failed.
    Failed,
}

/// What became of an offered request.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Offered<T> {
    /// A lane was free and has it.
    Assigned,
    /// It waits.
    Waits,
    /// Too many wait already.
    Full(T),
    /// No lane has a connection, nor hope of one.
    Unreachable(T),
}

impl<T> Exchange<T> {
    pub(super) fn new(lanes: usize) -> Self {
        let lane = |_| Lane { assigned: None, waker: None, waits: false, connection: Connection::Hopeful };
        Self { waiting: VecDeque::new(), lanes: (0..lanes).map(lane).collect(), idle: VecDeque::new() }
    }

    /// Whether a request would find a free lane.
    pub(super) fn has_idle(&self) -> bool {
        !self.idle.is_empty()
    }

    /// How many requests wait.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len()
    }

    /// Gives a request to the lane that has been free for longest, or lets it wait.
    pub(super) fn offer(&mut self, request: T) -> Offered<T> {
        if let Some(lane) = self.idle.pop_front() {
            let lane = &mut self.lanes[lane];
            lane.assigned = Some(request);
            lane.waits = false;
            if let Some(waker) = &lane.waker {
                waker.wake_by_ref();
            }
            return Offered::Assigned;
        }
        if self.is_unreachable() {
            return Offered::Unreachable(request);
        }
        if self.waiting.len() >= MOST_WAITING {
            return Offered::Full(request);
        }
        self.waiting.push_back(request);
        Offered::Waits
    }

    /// A lane's next request.
    pub(super) fn poll_next(&mut self, number: usize, cx: &mut Context<'_>) -> Poll<T> {
        let lane = &mut self.lanes[number];
        if let Some(request) = lane.assigned.take() {
            return Poll::Ready(request);
        }
        if !lane.waits {
            if let Some(request) = self.waiting.pop_front() {
                return Poll::Ready(request);
            }
            lane.waits = true;
            self.idle.push_back(number);
        }
        match &mut lane.waker {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
        Poll::Pending
    }

    /// Takes a lane's word about its connection.
    pub(super) fn set_connection(&mut self, lane: usize, connection: Connection) {
        self.lanes[lane].connection = connection;
    }

    /// Whether no lane has a connection, nor hope of one.
    pub(super) fn is_unreachable(&self) -> bool {
        // Asked only when no lane is free.
        self.lanes.iter().all(|lane| lane.connection == Connection::Failed)
    }

    /// Takes all requests that wait.
    pub(super) fn take_waiting(&mut self) -> VecDeque<T> {
        std::mem::take(&mut self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(exchange: &mut Exchange<u32>, lane: usize) -> Poll<u32> {
        exchange.poll_next(lane, &mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn the_lane_that_was_free_first_is_given_the_first_request() {
        let mut exchange = Exchange::new(2);
        assert!(next(&mut exchange, 1).is_pending());
        assert!(next(&mut exchange, 0).is_pending());
        assert_eq!(exchange.offer(10), Offered::Assigned);
        assert_eq!(exchange.offer(11), Offered::Assigned);
        assert!(!exchange.has_idle());
        assert_eq!(next(&mut exchange, 0), Poll::Ready(11));
        assert_eq!(next(&mut exchange, 1), Poll::Ready(10));
    }

    #[test]
    fn requests_that_wait_are_taken_in_their_order() {
        let mut exchange = Exchange::new(1);
        assert_eq!(exchange.offer(10), Offered::Waits);
        assert_eq!(exchange.offer(11), Offered::Waits);
        assert_eq!(next(&mut exchange, 0), Poll::Ready(10));
        assert_eq!(next(&mut exchange, 0), Poll::Ready(11));
        assert!(next(&mut exchange, 0).is_pending());
        // A second look of a lane that waits does not make it wait twice.
        assert!(next(&mut exchange, 0).is_pending());
        assert_eq!(exchange.offer(12), Offered::Assigned);
        assert_eq!(exchange.offer(13), Offered::Waits);
    }

    #[test]
    fn no_more_wait_than_may() {
        let mut exchange = Exchange::new(1);
        for number in 0..u32::try_from(MOST_WAITING).unwrap() {
            assert_eq!(exchange.offer(number), Offered::Waits);
        }
        assert_eq!(exchange.offer(7), Offered::Full(7));
    }

    #[test]
    fn without_hope_of_a_connection_nobody_waits() {
        let mut exchange = Exchange::new(2);
        exchange.set_connection(0, Connection::Failed);
        assert_eq!(exchange.offer(1), Offered::Waits);
        exchange.set_connection(1, Connection::Failed);
        assert_eq!(exchange.offer(2), Offered::Unreachable(2));
        assert_eq!(exchange.take_waiting(), [1]);
        exchange.set_connection(1, Connection::Hopeful);
        assert_eq!(exchange.offer(3), Offered::Waits);
    }
}
