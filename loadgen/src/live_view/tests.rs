use super::picture::{Colours, Picture};
use crate::engine::Progress;
use crate::report::fixture;
use crate::result::RunResult;

#[test]
fn the_block_shows_the_last_second_and_all_so_far() {
    let picture = watched(&fixture::calm(), 10);
    let block = picture.block(80, Colours::Plain).join("\n");

    assert!(block.starts_with("10s / 30s   reads, writes → http://"), "{block}");
    assert!(block.contains("━━━━━━━━━━━━━───────"), "a third is done\n{block}");
    for (name, unit) in [("offered", "/s"), ("succeeded", "/s"), ("p99", "ms"), ("max", "ms")] {
        let line = block.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(line.matches(unit).count(), 2, "{line}");
    }
    assert!(block.contains("7 in flight, 3 waiting"), "{block}");
    assert!(block.contains("of a core"), "{block}");
}

#[test]
fn no_line_is_wider_than_the_terminal_however_long_the_names() {
    let mut spec = fixture::calm().spec;
    spec.endpoints = vec!["http://a-very-long-name.example.com:8000".repeat(9)];
    let mut picture = Picture::new(&spec);
    picture.add(&progress(&fixture::eventful(), 40));
    for columns in [1, 7, 20, 40, 80, 300] {
        for line in picture.block(columns, Colours::Plain) {
            assert!(line.chars().count() <= columns.max(1), "{columns}: {line}");
        }
    }
}

#[test]
fn colours_mark_what_is_wrong_and_nothing_else() {
    let result = fixture::eventful();
    let picture = watched(&result, 45);
    let coloured = picture.block(80, Colours::Ansi);
    let plain = picture.block(80, Colours::Plain);

    assert!(result.total.throttled() > 0);
    let marked: Vec<_> = coloured.iter().filter(|line| line.contains("\x1b[33m")).collect();
    assert!(marked.iter().any(|line| line.contains("throttled")), "{coloured:?}");
    assert!(!plain.iter().any(|line| line.contains('\x1b')));
    assert!(!marked.iter().any(|line| line.contains("succeeded")));
}

#[test]
fn the_sparkline_rises_at_the_stall() {
    let picture = watched(&fixture::eventful(), 30);
    let block = picture.block(100, Colours::Plain);
    let spark = block.iter().find(|line| line.starts_with("p99 over")).unwrap();
    assert_eq!(spark.matches('█').count(), 1, "{spark}");
    assert_eq!(spark.chars().rev().position(|step| step == '█'), Some(7), "second 22 of 0 to 29: {spark}");
}

#[test]
fn a_log_gets_one_line_with_units() {
    let picture = watched(&fixture::calm(), 3);
    let line = picture.line();
    assert!(line.starts_with("   3/30 s  offered "), "{line}");
    for figure in ["ok ", "throttled 0/s", "errors 0/s", "p99 ", "own CPU "] {
        assert!(line.contains(figure), "{line}");
    }
    assert!(!line.contains('\n') && !line.contains('\x1b'));
}

#[test]
fn a_second_without_an_answer_has_dashes_not_zeros() {
    let picture = watched(&fixture::nothing_answered(), 2);
    assert!(picture.line().contains("p99 –"), "{}", picture.line());
}

/// After so many seconds of a run.
pub(super) fn watched(result: &RunResult, seconds: u64) -> Picture {
    let mut picture = Picture::new(&result.spec);
    for second in 1..=seconds {
        picture.add(&progress(result, second));
    }
    picture
}

fn progress(result: &RunResult, second: u64) -> Progress {
    let at = usize::try_from(second - 1).unwrap();
    Progress {
        second,
        of: result.spec.duration.as_secs(),
        streams: result.streams.iter().map(|stream| stream.seconds[at].clone()).collect(),
        in_flight: 7,
        waiting: 3,
    }
}
