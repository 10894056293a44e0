//! Asks before something changes.

use std::io::{IsTerminal, Write};

use super::args::ChangeArgs;
use super::failure::Failure;

/// Asks on a terminal, unless told not to; without a terminal nobody can answer, and nothing is asked.
pub(super) fn confirm(change: &ChangeArgs) -> Result<(), Failure> {
    if change.yes || !std::io::stdin().is_terminal() || !std::io::stdout().is_terminal() {
        return Ok(());
    }
    print!("Change it? [y/N] ");
    std::io::stdout().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}
