//! A lane's way to the service: a connection of its own, or a place on one that others share (HTTP/2).

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use units::Timestamp;

use super::fault::Fault;
use super::http2::Http2;
use super::link::{Dialer, Link};

/// The first pause after a connection could not be made; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(10);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// A lane's way.
#[derive(Debug)]
pub(super) struct Line {
    dialer: Rc<Dialer>,
    shared: Option<Rc<Shared>>,
    /// The place among those of a shared connection.
    place: usize,
    link: Option<Link>,
    pause: Duration,
}

/// A connection that several lanes share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    current: RefCell<Option<Http2>>,
    /// Held by whoever opens it.
    opening: tokio::sync::Mutex<()>,
    /// Tries that failed, and how the last did.
    failures: Cell<u64>,
    failure: RefCell<Option<Arc<Fault>>>,
}

/// Ends attempts that take too long. One timer serves all attempts of a lane: setting it to a later time costs next to
/// nothing.
#[derive(Debug)]
pub(super) struct Deadline {
    sleep: std::pin::Pin<Box<tokio::time::Sleep>>,
    /// The same moment on the runtime's clock and on ours.
    origin: (tokio::time::Instant, Timestamp),
    after: Duration,
}

impl Line {
    pub(super) fn new(dialer: Rc<Dialer>, shared: Option<Rc<Shared>>, place: usize) -> Self {
        Self { dialer, shared, place, link: None, pause: FIRST_PAUSE }
    }

    /// Whether there is a connection that takes a request.
    pub(super) async fn is_open(&mut self) -> bool {
        match &mut self.link {
            Some(link) => link.is_usable().await,
            None => false,
        }
    }

    /// Opens a connection.
    pub(super) async fn open(&mut self) -> Result<(), Fault> {
        self.link = None;
        let link = match &self.shared {
            None => self.dialer.dial().await?,
            Some(shared) => shared.join(&self.dialer).await?,
        };
        self.link = Some(link);
        self.pause = FIRST_PAUSE;
        Ok(())
    }

    /// The connection, after [`Self::open`].
    pub(super) const fn link(&mut self) -> Option<&mut Link> {
        self.link.as_mut()
    }

    /// Takes word that an attempt failed. A connection that others use goes on without one answer.
    pub(super) fn failed(&mut self) {
        if self.shared.is_none() {
            self.link = None;
        }
    }

    /// Whether the server takes fewer requests at once than there are places before this one.
    pub(super) fn is_beyond_limit(&self) -> bool {
        match &self.link {
            Some(Link::Http2(connection)) => self.place >= connection.most_streams(),
            _ => false,
        }
    }

    /// How long to wait before the next try to connect.
    pub(super) fn pause(&mut self) -> Duration {
        let pause = self.pause;
        self.pause = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

impl Shared {
    async fn join(&self, dialer: &Dialer) -> Result<Link, Fault> {
        let before = self.failures.get();
        let _opening = self.opening.lock().await;
        if let Some(current) = &*self.current.borrow()
            && current.is_usable()
        {
            return Ok(Link::Http2(Box::new(current.share())));
        }
        // What came of a try is the same for all who waited for it.
        if self.failures.get() != before
            && let Some(failure) = &*self.failure.borrow()
        {
            return Err(Fault::Shared(Arc::clone(failure)));
        }
        let link = match dialer.dial().await {
            Ok(link) => link,
            Err(fault) => {
                let fault = Arc::new(fault);
                self.failures.set(before + 1);
                *self.failure.borrow_mut() = Some(Arc::clone(&fault));
                return Err(Fault::Shared(fault));
            }
        };
        if let Link::Http2(connection) = &link {
            *self.current.borrow_mut() = Some(connection.share());
        }
        Ok(link)
    }
}

impl Deadline {
    pub(super) fn new(after: Duration, now: Timestamp) -> Self {
        let sleep = Box::pin(tokio::time::sleep(after));
        let origin = (sleep.deadline(), now + after);
        Self { sleep, origin, after }
    }

    /// Begins the time of an attempt.
    pub(super) fn begin(&mut self, now: Timestamp) {
        let (there, here) = self.origin;
        self.sleep.as_mut().reset(there + (now + self.after).since(here));
    }

    /// Waits for its end.
    pub(super) async fn passed(&mut self) {
        self.sleep.as_mut().await;
    }
}
