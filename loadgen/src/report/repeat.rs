//! What one types to run it again.

use std::fmt::Write as _;

use crate::objective::Finding;
use crate::spec::{Pacing, Protocol, RunSpec, StreamSpec};

/// The file that the page tells to save the spec as.
pub(super) const SCENARIO: &str = "run.toml";

/// The command, and whether it needs the spec as a file: one stream fits on a command line.
pub(super) fn command(spec: &RunSpec, findings: &[Finding]) -> (String, bool) {
    let alone = match spec.streams.as_slice() {
        [stream] if stream.name == stream.table && stream.from.is_zero() && stream.to.is_none() => {
            Some(stream)
        }
        _ => None,
    };
    let mut command = String::from("weir load run");
    match alone {
        Some(stream) => command.push_str(&flags(spec, stream)),
        None => _ = write!(command, " --scenario {SCENARIO}"),
    }
    for finding in findings {
        _ = write!(command, " --threshold {}", quoted(&finding.objective.to_string()));
    }
    (command, alone.is_none())
}

fn flags(spec: &RunSpec, stream: &StreamSpec) -> String {
    let mut flags = Vec::new();
    let mut flag = |name: &str, value: String| flags.push(format!(" --{name} {}", quoted(&value)));
    for endpoint in &spec.endpoints {
        flag("endpoint", endpoint.clone());
    }
    flag("region", spec.region.clone());
    if let Some(profile) = &stream.profile {
        flag("profile", profile.clone());
    }
    flag("table", stream.table.clone());
    flag("mix", stream.mix.to_string());
    flag("keys", stream.keys.to_string());
    flag("item-size", stream.item_size.to_string());
    if spec.pacing == Pacing::Open {
        flag("rate", stream.arrivals.to_string());
    }
    flag("duration", humantime::format_duration(spec.duration).to_string());
    flag("warm-up", humantime::format_duration(spec.warm_up).to_string());
    flag("threads", spec.threads.to_string());
    flag("connections", spec.connections.to_string());
    flag("retry", spec.retry.to_string());
    flag("attempt-timeout", humantime::format_duration(spec.attempt_timeout).to_string());
    flag("late-after", humantime::format_duration(spec.late_after).to_string());
    flag("seed", spec.seed.to_string());
    for (name, given) in [
        ("closed", spec.pacing == Pacing::Closed),
        ("http2", spec.protocol == Protocol::Http2),
        ("return-capacity", spec.return_capacity),
    ] {
        if given {
            flags.push(format!(" --{name}"));
        }
    }
    flags.concat()
}

/// As a POSIX shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |char: char| char.is_ascii_alphanumeric() || "-_./:=,%@+".contains(char);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn one_stream_fits_on_a_command_line_and_several_want_a_file() {
        let mut spec = fixture::calm().spec;
        assert_eq!(command(&spec, &[]), ("weir load run --scenario run.toml".to_owned(), true));

        spec.streams.truncate(1);
        spec.streams[0].name = spec.streams[0].table.clone();
        spec.streams[0].arrivals = "ramp:100/s..2000/s".parse().unwrap();
        let (line, file) = command(&spec, &[]);
        assert!(!file);
        for flag in [
            "--endpoint http://127.0.0.1:8000 --endpoint http://127.0.0.1:8001",
            "--table orders --mix get=100 --keys zipf:10000:0.99",
            "--rate ramp:100/s..2000/s --duration 30s",
            "--return-capacity",
        ] {
            assert!(line.contains(flag), "{line}");
        }
    }

    #[test]
    fn what_a_shell_would_read_otherwise_is_quoted() {
        let mut result = fixture::calm();
        let finding = "p99<1ms".parse::<crate::objective::Objective>().unwrap().holds(&result);
        assert!(command(&result.spec, &[finding]).0.ends_with("--threshold 'p99<1ms'"));
        result.spec.streams.truncate(1);
        (result.spec.streams[0].name, result.spec.streams[0].table) = ("it's; rm".into(), "it's; rm".into());
        assert!(command(&result.spec, &[]).0.contains(r"--table 'it'\''s; rm'"));
    }
}
