//! A timer with the kernel's resolution (some ten microseconds), where the runtime's own has steps of a
//! millisecond. Waiting costs nothing; setting it is one system call.

use std::future::poll_fn;
use std::io;
use std::os::fd::OwnedFd;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One timer of one thread.
#[derive(Debug)]
pub struct Timer {
    file: AsyncFd<OwnedFd>,
}

impl Timer {
    /// A timer that is not set.
    ///
    /// # Errors
    /// When the kernel gives none.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let file = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        #[expect(
            deprecated,
            reason = "unsound for types that do not keep their file open; an `OwnedFd` does"
        )]
        let file = AsyncFd::with_interest(file, Interest::READABLE)?;
        Ok(Self { file })
    }

    /// Sets it to expire after `wait`, instead of what it was set to.
    ///
    /// # Panics
    /// Never: the kernel takes every time.
    pub fn set(&self, wait: Duration) {
        // Zero would mean: never.
        let wait = wait.max(Duration::from_nanos(1));
        let it_value = Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(self.file.get_ref(), TimerfdTimerFlags::empty(), &once)
            .expect("the file is a timer and the time is valid");
    }

    /// Waits until it has expired since it was last waited for.
    ///
    /// # Panics
    /// Outside of the runtime that it was made in.
    pub async fn expired(&self) {
        poll_fn(|cx| self.poll_expired(cx)).await;
    }

    fn poll_expired(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Readiness is edge-triggered: the next setting makes the next edge, so the count need not be read.
        let mut guard = ready!(self.file.poll_read_ready(cx)).expect("the runtime outlives its tasks");
        guard.clear_ready();
        Poll::Ready(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock;
    use super::*;

    #[tokio::test]
    async fn it_expires_no_sooner_than_it_was_set_to_and_once_per_setting() {
        let timer = Timer::new().unwrap();
        for wait in [Duration::ZERO, Duration::from_micros(300), Duration::from_millis(3)] {
            let before = clock::now();
            timer.set(wait);
            timer.expired().await;
            assert!(clock::now().since(before) >= wait);
            let again = tokio::time::timeout(Duration::from_millis(2), timer.expired()).await;
            assert!(again.is_err(), "it expired a second time");
        }
    }

    #[tokio::test]
    async fn setting_it_again_replaces_what_it_was_set_to() {
        let timer = Timer::new().unwrap();
        timer.set(Duration::from_secs(3600));
        timer.set(Duration::from_micros(100));
        timer.expired().await;
    }
}
