//! `weir cluster`: a whole local fleet of separate processes.

mod command_socket;
mod layout;
mod process;
mod supervisor;

use std::path::Path;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use crate::cli::{ClusterArgs, ClusterCommand, OutputFormat};
pub(crate) use command_socket::StatusRow;
use command_socket::{Answer, Request};
use layout::Layout;

/// Whether `dir` is a fleet's folder.
pub(crate) fn is_in(dir: &Path) -> bool {
    dir.join("ports.json").exists()
}

/// The processes of the fleet that runs from `dir`.
pub(crate) async fn running(dir: &Path) -> anyhow::Result<Vec<StatusRow>> {
    match command_socket::ask(dir, &Request::Status).await? {
        Answer::Status { rows } => Ok(rows),
        Answer::Failed { reason } => anyhow::bail!(reason),
        Answer::Done { .. } => anyhow::bail!("the fleet answered something else"),
    }
}

/// Starts the fleet, or talks to the one that runs.
pub(crate) async fn run(args: ClusterArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    let request = match &args.command {
        None => {
            let layout = Layout::load_or_create(&args)?;
            return supervisor::run(layout, shutdown).await;
        }
        Some(ClusterCommand::Status { .. }) => Request::Status,
        Some(ClusterCommand::Kill { node }) => Request::Kill { node: node.clone() },
        Some(ClusterCommand::Pause { node }) => Request::Pause { node: node.clone() },
        Some(ClusterCommand::Slow { node, ms }) => Request::Slow { node: node.clone(), pause_ms: *ms },
        Some(ClusterCommand::Resume { node }) => Request::Resume { node: node.clone() },
        Some(ClusterCommand::Start { node }) => Request::Start { node: node.clone() },
        Some(ClusterCommand::Wipe { node }) => Request::Wipe { node: node.clone() },
        Some(ClusterCommand::Add { tier }) => Request::Add { tier: *tier },
        Some(ClusterCommand::Stop) => Request::Stop,
    };
    let answer = command_socket::ask(&args.dir, &request).await.with_context(|| {
        format!("no fleet answers in {} (start one with `weir cluster --dir …`)", args.dir.display())
    })?;
    match (answer, &args.command) {
        (Answer::Failed { reason }, _) => anyhow::bail!(reason),
        (Answer::Done { message }, _) => println!("{message}"),
        (Answer::Status { rows }, Some(ClusterCommand::Status { output: OutputFormat::Json })) => {
            println!("{}", serde_json::to_string(&rows)?);
        }
        (Answer::Status { rows }, _) => println!("{}", table(&rows)),
    }
    Ok(())
}

fn table(rows: &[StatusRow]) -> comfy_table::Table {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["NAME", "STATE", "PID", "LISTENS", "OPERATORS"]);
    for row in rows {
        let pid = row.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
        table.add_row([row.name.as_str(), row.state.name(), &pid, &row.listen, &row.admin]);
    }
    table
}
