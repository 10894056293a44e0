//! `weir`: the one binary. Each subcommand runs one tier, a whole embedded fleet, or a fleet of processes.

mod admin;
mod cli;
mod cluster;
mod credentials;
mod dev;
mod load;
mod operator;
mod operator_token;
mod settings;
mod telemetry;
mod tier;

use std::process::ExitCode;

use clap::Parser;
use cli::{Cli, Command};
use operator::args::GacArgs;
use operator::failure::Failure;
use operator::metadata_args::MemdsArgs;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("weir: {error:#}");
            exit_code(&error)
        }
    }
}

/// What a script sees of a failure.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    if let Some(failure) = error.downcast_ref::<loadgen::command::Failure>() {
        return ExitCode::from(failure.exit_code());
    }
    error.downcast_ref::<Failure>().map_or(ExitCode::FAILURE, Failure::exit_code)
}

fn run(cli: Cli) -> anyhow::Result<()> {
    let quiet = !matches!(
        cli.command,
        Command::Proxy(_)
            | Command::Gac(GacArgs { command: None, .. })
            | Command::Memds(MemdsArgs { command: None, .. })
            | Command::Storage(_)
            | Command::Control(_)
    );
    telemetry::start_logs(cli.log.as_deref().unwrap_or(if quiet { "warn" } else { "info" }))?;
    let runtime = runtime(&cli.command)?;
    runtime.block_on(async {
        let shutdown = CancellationToken::new();
        tokio::spawn(cancel_on_signal(shutdown.clone()));
        match cli.command {
            Command::Dev(args) => dev::run(*args, shutdown).await,
            Command::Proxy(args) => tier::run_proxy(args, shutdown).await,
            Command::Gac(GacArgs { server: Some(args), .. }) => tier::run_gac(args, shutdown).await,
            Command::Gac(GacArgs { command: Some(command), .. }) => {
                operator::until(&shutdown, operator::gac::run(command)).await
            }
            Command::Gac(_) => {
                anyhow::bail!("say --config FILE, or what to ask the running servers (--help)")
            }
            Command::Quota(args) => operator::until(&shutdown, operator::quota::run(args)).await,
            Command::Top(args) => operator::until(&shutdown, operator::top::run(args)).await,
            Command::Explain(args) => operator::until(&shutdown, operator::explain::run(args)).await,
            Command::Routes(args) => operator::until(&shutdown, operator::routes::run(args)).await,
            Command::Leaders(args) => operator::until(&shutdown, operator::leaders::run(args)).await,
            Command::Cache(args) => operator::until(&shutdown, operator::cache::run(args)).await,
            Command::Memds(MemdsArgs { server: Some(args), .. }) => tier::run_memds(args, shutdown).await,
            Command::Memds(MemdsArgs { command: Some(command), .. }) => {
                operator::until(&shutdown, operator::memds::run(command)).await
            }
            Command::Memds(_) => {
                anyhow::bail!("say --config FILE, or what to ask the running servers (--help)")
            }
            Command::Storage(args) => tier::run_storage(args, shutdown).await,
            Command::Control(args) => tier::run_control(args, shutdown).await,
            Command::Cluster(args) => cluster::run(args, shutdown).await,
            Command::Load(args) => load::run(args, shutdown).await,
        }
    })
}

/// A proxy that has one processor needs no scheduler that moves work between threads: what is ready is run in
/// its turn, so that requests which are ready together leave in one frame.
fn runtime(command: &Command) -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    match command {
        Command::Proxy(_) if processors == 1 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    }
    .enable_all()
    .build()
}

/// The first SIGINT or SIGTERM asks for a graceful stop; a second one ends the process at once.
async fn cancel_on_signal(shutdown: CancellationToken) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        tracing::error!("cannot listen for signals: only SIGKILL will stop this process");
        return;
    };
    for graceful in [true, false] {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        if graceful {
            tracing::info!("stopping; a second signal ends the process at once");
            shutdown.cancel();
        } else {
            std::process::exit(130);
        }
    }
}
