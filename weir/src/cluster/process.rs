//! One process of the fleet while it runs, and what is done to it: a pause, slowness, its end.

use std::process::ExitStatus;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use parking_lot::Mutex;
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};
use tokio::process::Child;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};

/// A stopping process that has not ended by then is killed.
const STOP_WITHIN: Duration = Duration::from_secs(10);
/// How long a slowed process runs between two pauses: enough to answer something, too short for all.
const RUNS_FOR: Duration = Duration::from_millis(10);

/// A process that the supervisor started.
pub(super) struct Process {
    child: Child,
    signals: Signals,
    pace: Pace,
}

/// How fast it may run.
enum Pace {
    Full,
    Paused,
    /// Stopped and continued in turn, until this is dropped.
    Slowed {
        _until_dropped: DropGuard,
    },
}

/// What a process does, as `weir cluster status` shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum State {
    /// It runs.
    Running,
    /// It exists and does nothing, until `resume`.
    Paused,
    /// It is paused most of the time, until `resume`.
    Slowed,
    /// There is none.
    Stopped,
}

impl State {
    /// As people read it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Slowed => "slowed",
            Self::Stopped => "stopped",
        }
    }
}

/// Where signals go: nowhere once the process was seen to have ended, since its number may be another's then.
#[derive(Clone)]
struct Signals(Arc<Mutex<Option<Pid>>>);

impl Signals {
    fn to(child: &Child) -> Self {
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).and_then(Pid::from_raw);
        Self(Arc::new(Mutex::new(pid)))
    }

    fn send(&self, signal: Signal) -> anyhow::Result<()> {
        match *self.0.lock() {
            Some(pid) => kill_process(pid, signal).context("the process does not take signals"),
            None => bail!("the process has ended"),
        }
    }

    /// The same, unless `until` was cancelled: whoever cancels it and then sends a signal has the last word.
    fn send_until(&self, signal: Signal, until: &CancellationToken) -> bool {
        let pid = self.0.lock();
        !until.is_cancelled() && pid.is_some_and(|pid| kill_process(pid, signal).is_ok())
    }
}

impl Process {
    /// Takes `child` over.
    pub(super) fn new(child: Child) -> Self {
        Self { signals: Signals::to(&child), child, pace: Pace::Full }
    }

    /// Its number, while it exists.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// What it does.
    pub(super) const fn state(&self) -> State {
        match self.pace {
            Pace::Full => State::Running,
            Pace::Paused => State::Paused,
            Pace::Slowed { .. } => State::Slowed,
        }
    }

    /// Whether and how it has ended by itself.
    pub(super) fn ended(&mut self) -> std::io::Result<Option<ExitStatus>> {
        // Held meanwhile: a process that is waited for gives its number back.
        let mut pid = self.signals.0.lock();
        let ended = self.child.try_wait()?;
        if ended.is_some() {
            *pid = None;
        }
        Ok(ended)
    }

    /// Stops it where it stands (SIGSTOP): its connections stay open, and nothing is answered.
    pub(super) fn pause(&mut self) -> anyhow::Result<()> {
        self.pace = Pace::Full;
        self.signals.send(Signal::STOP)?;
        self.pace = Pace::Paused;
        Ok(())
    }

    /// Lets it run for [`RUNS_FOR`] after every `pause`, until told otherwise.
    pub(super) fn slow(&mut self, pause: Duration) -> anyhow::Result<()> {
        self.resume()?;
        let until = CancellationToken::new();
        tokio::spawn(pace(self.signals.clone(), pause, until.clone()));
        self.pace = Pace::Slowed { _until_dropped: until.drop_guard() };
        Ok(())
    }

    /// Lets it run again.
    pub(super) fn resume(&mut self) -> anyhow::Result<()> {
        self.pace = Pace::Full;
        self.signals.send(Signal::CONT)
    }

    /// Ends it at once (SIGKILL), as a crash would.
    pub(super) async fn kill(mut self) -> std::io::Result<()> {
        self.let_go();
        self.child.kill().await
    }

    /// SIGTERM, and SIGKILL to what does not end.
    pub(super) async fn stop(mut self) {
        self.pace = Pace::Full;
        // What stands still sees no SIGTERM.
        for signal in [Signal::TERM, Signal::CONT] {
            if let Err(error) = self.signals.send(signal) {
                tracing::debug!(%error, "the process had ended already");
            }
        }
        self.let_go();
        if timeout(STOP_WITHIN, self.child.wait()).await.is_err()
            && let Err(error) = self.child.kill().await
        {
            tracing::warn!(%error, "cannot kill a process");
        }
    }

    /// No more signals from here on but those of its end.
    fn let_go(&mut self) {
        self.pace = Pace::Full;
        *self.signals.0.lock() = None;
    }
}

/// Stops and continues a process in turn.
async fn pace(signals: Signals, pause: Duration, until: CancellationToken) {
    let until = &until;
    let turns = async {
        while signals.send_until(Signal::STOP, until) {
            sleep(pause).await;
            if !signals.send_until(Signal::CONT, until) {
                return;
            }
            sleep(RUNS_FOR).await;
        }
    };
    until.run_until_cancelled(turns).await;
}
