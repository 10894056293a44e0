//! Starts the fleet's processes, watches them, and carries out what the command socket asks.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::process::Command;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::command_socket::{self, Answer, Request, StatusRow};
use super::layout::{Layout, ProcessSpec};
use super::process::{Process, State};
use crate::cli::GrowingTier;

/// A caller says what it wants within this.
const ASKED_WITHIN: Duration = Duration::from_secs(10);
/// The fleet must be ready by then.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// How often readiness and ended processes are looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// Runs the fleet in the foreground until `shutdown` or `weir cluster stop`.
pub(super) async fn run(layout: Layout, shutdown: CancellationToken) -> anyhow::Result<()> {
    let socket = command_socket::path(&layout.dir);
    if UnixStream::connect(&socket).await.is_ok() {
        bail!("a fleet already runs from {}", layout.dir.display());
    }
    // A socket that nobody answers on was left by a supervisor that was killed.
    if socket.exists() {
        std::fs::remove_file(&socket).with_context(|| format!("cannot remove {}", socket.display()))?;
    }
    let listener =
        UnixListener::bind(&socket).with_context(|| format!("cannot listen on {}", socket.display()))?;

    let mut fleet = Fleet { layout, running: BTreeMap::new() };
    let outcome = fleet.serve(&listener, &shutdown).await;
    fleet.stop_all().await;
    std::fs::remove_file(&socket).ok();
    outcome
}

struct Fleet {
    layout: Layout,
    running: BTreeMap<String, Process>,
}

impl Fleet {
    async fn serve(&mut self, listener: &UnixListener, shutdown: &CancellationToken) -> anyhow::Result<()> {
        println!(
            "weir cluster: starting {} processes in {}",
            self.layout.processes.len(),
            self.layout.dir.display()
        );
        for name in self.layout.processes.keys().cloned().collect::<Vec<_>>() {
            self.start(&name)?;
        }
        tokio::select! {
            ready = self.await_ready() => ready?,
            () = shutdown.cancelled() => return Ok(()),
        }
        println!("{}", self.layout.banner());
        println!("\nthe fleet is ready");
        loop {
            let (mut stream, _) = tokio::select! {
                accepted = listener.accept() => accepted?,
                () = sleep(LOOK_EVERY) => { self.notice_ended(); continue }
                () = shutdown.cancelled() => return Ok(()),
            };
            // A caller that says nothing must not hold the fleet up.
            let Ok(Ok(request)) = timeout(ASKED_WITHIN, command_socket::receive(&mut stream)).await else {
                continue;
            };
            let stop = matches!(request, Request::Stop);
            let answer = match self.carry_out(request).await {
                Ok(answer) => answer,
                Err(error) => Answer::Failed { reason: format!("{error:#}") },
            };
            if let Err(error) = command_socket::send(&mut stream, &answer).await {
                tracing::debug!(%error, "the caller did not wait for its answer");
            }
            if stop {
                return Ok(());
            }
        }
    }

    async fn carry_out(&mut self, request: Request) -> anyhow::Result<Answer> {
        let message = match request {
            Request::Status => {
                self.notice_ended();
                return Ok(Answer::Status { rows: self.rows() });
            }
            Request::Kill { node } => {
                self.running(&node)?;
                if let Some(process) = self.running.remove(&node) {
                    process.kill().await.with_context(|| format!("cannot kill {node}"))?;
                }
                format!("{node} killed")
            }
            Request::Pause { node } => {
                self.running(&node)?.pause().with_context(|| format!("cannot pause {node}"))?;
                format!("{node} paused")
            }
            Request::Slow { node, pause_ms } => {
                let pause = Duration::from_millis(pause_ms);
                self.running(&node)?.slow(pause).with_context(|| format!("cannot slow {node}"))?;
                format!("{node} slowed: it stands still for {pause_ms} ms at a time")
            }
            Request::Resume { node } => {
                let process = self.running(&node)?;
                if process.state() == State::Running {
                    bail!("{node} is neither paused nor slowed");
                }
                process.resume().with_context(|| format!("cannot resume {node}"))?;
                format!("{node} resumed")
            }
            Request::Start { node } => {
                self.start(&node)?;
                format!("{node} started")
            }
            Request::Wipe { node } => {
                self.notice_ended();
                let spec = self.spec(&node)?;
                if self.running.contains_key(&node) {
                    bail!("{node} is running: kill it first");
                }
                let Some(data) = &spec.data_dir else { bail!("{node} keeps no data") };
                if data.exists() {
                    std::fs::remove_dir_all(data)
                        .with_context(|| format!("cannot delete {}", data.display()))?;
                }
                format!("{node}: {} deleted", data.display())
            }
            Request::Add { tier } => {
                let node = self.layout.grow(tier)?;
                self.start(&node)?;
                let listen = &self.spec(&node)?.listen;
                match tier {
                    GrowingTier::Gac => format!(
                        "{node} started, serving {listen}; it gets its part of the buckets by \
                         `weir gac add {node} --dir {}`",
                        self.layout.dir.display()
                    ),
                    GrowingTier::Proxy => format!("{node} started, serving http://{listen}"),
                }
            }
            Request::Stop => {
                self.stop_all().await;
                "the fleet has stopped".to_owned()
            }
        };
        Ok(Answer::Done { message })
    }

    fn spec(&self, node: &str) -> anyhow::Result<&ProcessSpec> {
        self.layout.processes.get(node).with_context(|| {
            let names: Vec<_> = self.layout.processes.keys().map(String::as_str).collect();
            format!("there is no process {node:?}; there are {}", names.join(", "))
        })
    }

    /// The process of that name, which runs, if only slowly.
    fn running(&mut self, node: &str) -> anyhow::Result<&mut Process> {
        self.spec(node)?;
        self.notice_ended();
        self.running.get_mut(node).with_context(|| format!("{node} is not running"))
    }

    fn start(&mut self, node: &str) -> anyhow::Result<()> {
        self.notice_ended();
        let spec = self.spec(node)?;
        if self.running.contains_key(node) {
            bail!("{node} is already running");
        }
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&spec.log)
            .with_context(|| format!("cannot write {}", spec.log.display()))?;
        let child = Command::new(std::env::current_exe().context("cannot find the weir binary")?)
            .arg(spec.tier)
            .arg("--config")
            .arg(&spec.config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // The fleet does not outlive its supervisor's orderly end; Ctrl-C reaches only the supervisor,
            // which then stops the others in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {node}"))?;
        self.running.insert(node.to_owned(), Process::new(child));
        Ok(())
    }

    /// Waits until every process's operators' endpoint says that it is ready.
    async fn await_ready(&mut self) -> anyhow::Result<()> {
        let ready = async {
            for (name, spec) in self.layout.processes.clone() {
                while !is_ready(&spec.admin).await {
                    self.notice_ended();
                    if !self.running.contains_key(&name) {
                        bail!("{name} ended while it started; see {}", spec.log.display());
                    }
                    sleep(LOOK_EVERY).await;
                }
            }
            Ok(())
        };
        match timeout(READY_WITHIN, ready).await {
            Ok(outcome) => outcome,
            Err(_) => bail!(
                "the fleet was not ready within {READY_WITHIN:?}; see the logs in {}",
                self.layout.dir.display()
            ),
        }
    }

    /// Forgets the processes that have ended on their own.
    fn notice_ended(&mut self) {
        self.running.retain(|name, process| match process.ended() {
            Ok(None) => true,
            Ok(Some(status)) => {
                eprintln!("weir cluster: {name} ended: {status}");
                false
            }
            Err(error) => {
                tracing::warn!(%name, %error, "cannot look at a process");
                true
            }
        });
    }

    fn rows(&self) -> Vec<StatusRow> {
        let row = |(name, spec): (&String, &ProcessSpec)| {
            let process = self.running.get(name);
            StatusRow {
                name: name.clone(),
                state: process.map_or(State::Stopped, Process::state),
                pid: process.and_then(Process::pid),
                listen: spec.listen.clone(),
                admin: spec.admin.clone(),
            }
        };
        self.layout.processes.iter().map(row).collect()
    }

    /// Stops the tiers from the front to the back, so that what is in flight can still be answered.
    async fn stop_all(&mut self) {
        for tier in ["proxy", "gac", "memds", "storage", "control"] {
            let names: Vec<_> = self
                .running
                .keys()
                .filter(|name| self.layout.processes[*name].tier == tier)
                .cloned()
                .collect();
            let stopping: Vec<_> = names
                .iter()
                .filter_map(|name| self.running.remove(name))
                .map(|process| tokio::spawn(process.stop()))
                .collect();
            for stopped in stopping {
                if let Err(error) = stopped.await {
                    tracing::warn!(%error, "a process could not be stopped");
                }
            }
        }
    }
}

/// Asks `/readyz` over a plain connection: one request, one status line.
async fn is_ready(admin: &str) -> bool {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let ask = async {
        let mut stream = TcpStream::connect(admin).await.ok()?;
        let request = format!("GET /readyz HTTP/1.1\r\nHost: {admin}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.ok()?;
        let mut status = [0_u8; 12];
        stream.read_exact(&mut status).await.ok()?;
        Some(status.ends_with(b"200"))
    };
    matches!(timeout(Duration::from_secs(1), ask).await, Ok(Some(true)))
}
