//! What one watches while a run goes on: a block that renews itself on a terminal, a line now and then elsewhere.
//!
//! It is written to stderr, so that stdout has the results only.

mod picture;
#[cfg(test)]
mod tests;

use std::io::{IsTerminal, Write};

use crate::engine::Progress;
use crate::spec::RunSpec;
use picture::{Colours, Picture};

/// Runs longer than this get a line every [`LINE_EVERY`] seconds where there is no terminal.
const SHORT_RUN_SECONDS: u64 = 60;
/// Seconds between the lines of a longer run.
const LINE_EVERY: u64 = 5;
/// Columns of a terminal that does not say.
const COLUMNS: u16 = 80;

/// Shows progress on stderr.
#[derive(Debug)]
pub struct LiveView {
    picture: Picture,
    /// Whether stderr is a terminal.
    terminal: bool,
    colours: Colours,
    /// Lines of the block that stands there now.
    drawn: usize,
}

impl LiveView {
    /// Of a run that is about to begin. Colours unless `NO_COLOR` is set (no-color.org).
    #[must_use]
    pub fn new(spec: &RunSpec) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let colours = if plain { Colours::Plain } else { Colours::Ansi };
        Self { picture: Picture::new(spec), terminal, colours, drawn: 0 }
    }

    /// Shows the second that has passed.
    pub fn show(&mut self, progress: &Progress) {
        self.picture.add(progress);
        let text = match self.terminal {
            true => self.redrawn(),
            false if self.is_due(progress) => format!("{}\n", self.picture.line()),
            false => return,
        };
        // Whoever closed stderr does not want to see it: that is no reason to end a run.
        _ = std::io::stderr().lock().write_all(text.as_bytes());
    }

    /// The block, in the place of the one before it.
    fn redrawn(&mut self) -> String {
        let (columns, _) = crossterm::terminal::size().unwrap_or((COLUMNS, 0));
        let lines = self.picture.block(usize::from(columns.max(1)), self.colours);
        let up = if self.drawn > 0 { format!("\x1b[{}A", self.drawn) } else { String::new() };
        self.drawn = lines.len();
        let lines: String = lines.into_iter().map(|line| format!("\x1b[2K{line}\n")).collect();
        // Everything in one write, and a block that has become shorter leaves nothing behind.
        format!("\r{up}{lines}\x1b[J")
    }

    fn is_due(&self, progress: &Progress) -> bool {
        let every = if progress.of > SHORT_RUN_SECONDS { LINE_EVERY } else { 1 };
        progress.second.is_multiple_of(every) || progress.second == progress.of
    }
}

/// What stands on a terminal after so many seconds of a run that found `result`.
#[cfg(test)]
pub(crate) fn picture_after(result: &crate::result::RunResult, seconds: u64) -> String {
    let picture = tests::watched(result, seconds);
    format!("{}\n\n{}", picture.block(usize::from(COLUMNS), Colours::Plain).join("\n"), picture.line())
}
