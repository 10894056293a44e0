//! What a check found, for people.

use std::fmt::Write;
use std::time::Duration;

use super::checker::{Findings, Rule, Verdict, Violation};
use super::history::History;
use super::timeline::timeline;

/// Violations that are shown with their timelines.
const MOST_SHOWN: usize = 5;

/// A report of some lines, and the timelines of the first violations.
#[must_use]
pub fn summary(history: &History, findings: &Findings, took: Duration) -> String {
    let mut text = String::new();
    let _to_a_string = write_counts(&mut text, findings, took);
    let _to_a_string = write_rules(&mut text, findings);
    for violation in findings.violations.iter().take(MOST_SHOWN) {
        let _to_a_string = write_violation(&mut text, history, violation);
    }
    if let Some(more) = findings.violations.len().checked_sub(MOST_SHOWN + 1) {
        let _to_a_string = writeln!(text, "\n… and {} more", more + 1);
    }
    text
}

fn write_counts(text: &mut String, findings: &Findings, took: Duration) -> std::fmt::Result {
    let Findings { keys, calls, strong_reads, eventual_reads, done, unknown, not_done, .. } = findings;
    writeln!(text, "{calls} calls on {keys} keys, checked in {:.3} s", took.as_secs_f64())?;
    writeln!(text, "  {strong_reads} strong reads, {eventual_reads} eventually consistent reads")?;
    writeln!(
        text,
        "  {done} writes acknowledged, {not_done} that surely did not take place, {unknown} that may have"
    )
}

fn write_rules(text: &mut String, findings: &Findings) -> std::fmt::Result {
    for rule in [Rule::Linearizable, Rule::FailedIsNever, Rule::Monotone] {
        let broken = findings.violations.iter().filter(|violation| violation.rule == rule).count();
        match broken {
            0 => writeln!(text, "ok        {}", rule.text())?,
            broken => writeln!(text, "VIOLATED  {}: {broken} times", rule.text())?,
        }
    }
    let is_lost = findings.violations.iter().any(|violation| violation.rule != Rule::Monotone);
    match (is_lost, findings.unread.len()) {
        (true, _) => writeln!(text, "DOUBTFUL  nothing acknowledged is lost: see above")?,
        (false, 0) => {
            writeln!(text, "ok        nothing acknowledged is lost: every key was read in the end")?
        }
        (false, unread) => {
            writeln!(text, "UNKNOWN   nothing acknowledged is lost: {unread} keys were not read")?
        }
    }
    if findings.verdict() == Verdict::Inconclusive {
        writeln!(text, "Inconclusive: {}", findings.doubts().join("; "))?;
    }
    Ok(())
}

fn write_violation(text: &mut String, history: &History, violation: &Violation) -> std::fmt::Result {
    let key = &history.keys[violation.key as usize];
    writeln!(text, "\nkey {key}: broken is that {}.", violation.rule.text())?;
    writeln!(text, "{}.", violation.text)?;
    writeln!(text, "Values are client.number; > marks the calls that show it.")?;
    text.push_str(&timeline(history, violation));
    Ok(())
}
