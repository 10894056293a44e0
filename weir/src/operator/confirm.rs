//! Asks before something changes.

use std::io::{IsTerminal, Write};

use super::args::ChangeArgs;
use super::failure::Failure;

/// Whether a change is asked about: there is somebody to answer.
pub(super) fn asks(change: &ChangeArgs) -> bool {
    !change.yes && std::io::stdin().is_terminal() && std::io::stdout().is_terminal()
}

/// Asks on a terminal, unless told not to; without a terminal nobody can answer, and nothing is asked.
pub(super) fn confirm(change: &ChangeArgs) -> Result<(), Failure> {
    if !asks(change) {
        return Ok(());
    }
    eprint!("Change it? [y/N] ");
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().read_line(&mut answer)?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::Refused("nothing was changed".to_owned())),
    }
}
