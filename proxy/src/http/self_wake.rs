//! Saves an HTTP/1 connection the polls that it would cause itself.
//!
//! A request's body comes to its service through a channel, although both are polled in one task. Whoever takes
//! the last piece wakes the sender, which is gone by then: the connection was polled once more, for nothing,
//! in every request. So a connection is polled with a waker of its own, and that is deaf while a piece is taken.
//!
//! Only wakes by the same thread within [`deaf`] are dropped, and whoever uses it wakes again, with
//! [`wake_self`], where the wake was of use: nothing can be lost that comes from anywhere else. That suffices
//! because service and connection are one task, so it holds for HTTP/1 alone: HTTP/2 answers in tasks of their
//! own, and who takes a piece there wakes the connection's to tell the sender that it may go on. So an HTTP/2
//! connection, and one that may become one, is polled as usual, and hears everything.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;

thread_local! {
    static DEAF: Cell<bool> = const { Cell::new(false) };
}

/// A connection's task, as what it waits for knows it.
#[derive(Default)]
struct Listening(AtomicWaker);

impl Wake for Listening {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !DEAF.get() {
            self.0.wake();
        }
    }
}

/// Polls the HTTP/1 `connection` so that it can be [`deaf`].
pub(super) async fn listening<F: Future>(mut connection: Pin<&mut F>) -> F::Output {
    let task = Arc::new(Listening::default());
    let waker = Waker::from(Arc::clone(&task));
    poll_fn(|context| {
        task.0.register(context.waker());
        connection.as_mut().poll(&mut Context::from_waker(&waker))
    })
    .await
}

/// What `take` takes, without the wakes of this thread's connection that it causes.
pub(super) fn deaf<T>(take: impl FnOnce() -> T) -> T {
    /// Also when `take` panics.
    struct HearsAgain;
    impl Drop for HearsAgain {
        fn drop(&mut self) {
            DEAF.set(false);
        }
    }
    DEAF.set(true);
    let _hears_again = HearsAgain;
    take()
}

/// Has the current task polled again.
pub(super) async fn wake_self() {
    poll_fn(|context| {
        context.waker().wake_by_ref();
        Poll::Ready(())
    })
    .await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[derive(Default)]
    struct Wakes(AtomicUsize);

    impl Wake for Wakes {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_connection_hears_all_wakes_but_its_own_while_it_is_deaf() {
        let wakes = Arc::new(Wakes::default());
        let task = Waker::from(Arc::clone(&wakes));
        let woken = || wakes.0.load(Ordering::Relaxed);
        let mut given = None;
        let connection = pin!(poll_fn(|context| {
            given = Some(context.waker().clone());
            Poll::<()>::Pending
        }));
        let mut polled = Box::pin(listening(connection));
        let mut poll = || assert!(polled.as_mut().poll(&mut Context::from_waker(&task)).is_pending());
        poll();
        poll();
        drop(polled);
        let waker = given.expect("it was polled");

        deaf(|| waker.wake_by_ref());
        assert_eq!(woken(), 0);
        deaf(|| std::thread::scope(|scope| drop(scope.spawn(|| waker.wake_by_ref()).join())));
        assert_eq!(woken(), 1);
    }

    #[test]
    fn after_a_panic_it_hears_again() {
        let panicked = std::panic::catch_unwind(|| deaf(|| panic!("asked to")));
        assert!(panicked.is_err() && !DEAF.get());
    }
}
