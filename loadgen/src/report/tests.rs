//! What every page, text and file keeps to, whatever the run was.

use super::fixture::{self, Story};
use super::*;
use crate::objective::Objective;
use crate::result::{RunResult, Second};

fn each() -> Vec<(&'static str, RunResult)> {
    vec![
        ("calm", fixture::calm()),
        ("eventful", fixture::eventful()),
        ("invalid", fixture::invalid()),
        ("nothing answered", fixture::nothing_answered()),
        ("much to say", fixture::much_to_say()),
        ("nothing due", Story { streams: vec![], ..Story::default() }.result()),
        ("no time", Story { seconds: 0, ..Story::default() }.result()),
    ]
}

#[test]
fn every_page_is_well_formed_loads_nothing_and_shows_no_number_that_is_none() {
    for (story, result) in each() {
        let page = html(&result);

        assert_well_formed(&page, story);
        for loading in ["src=", "href=", "url(", "@import", "<link", "<iframe", "fetch(", "import("] {
            assert!(!page.contains(loading), "{story}: {loading}");
        }
        for none in ["NaN", "inf ", ">inf", "\"inf", "-inf"] {
            assert!(!page.contains(none), "{story}: {none}");
        }
    }
}

#[test]
fn names_cannot_become_markup() {
    const EVIL: &str = "</script><script>alert(1)</script><img src=x onerror=\"a\">'&";
    let mut result =
        Story { operators: true, throttled_from: Some(1), seconds: 4, ..Story::default() }.result();
    result.spec.endpoints = vec![EVIL.to_owned()];
    result.warnings = vec![EVIL.to_owned()];
    result.validity.reasons = vec![EVIL.to_owned()];
    result.total.errors = [(EVIL.to_owned(), 1)].into();
    result.spec.streams[0].name = EVIL.to_owned();
    result.streams[0].name = EVIL.to_owned();
    result.streams[0].table = EVIL.to_owned();
    result.streams[0].operations = [(EVIL.to_owned(), result.total.clone())].into();
    for sample in &mut result.operators.as_mut().unwrap().samples {
        sample.table = EVIL.to_owned();
        sample.refused_milli = [(EVIL.to_owned(), 1)].into();
    }
    let finding = format!("p99<1ms@{EVIL}").parse::<Objective>().unwrap().holds(&result);

    for page in [html_judged(&result, &[finding]), html_many(EVIL, &[(EVIL, &result)])] {
        assert!(!page.contains("<script>alert") && !page.contains("<img"), "names are escaped");
        assert_eq!(page.matches("<script>").count(), 1, "only our own");
        assert_well_formed(&page, "evil");
    }
}

#[test]
fn an_hour_of_five_streams_stays_below_three_megabytes() {
    let streams = ["a", "b", "c", "d", "e"].map(|name| (name, format!("table-{name}"), "GetItem", 3));
    let story = Story {
        seconds: 20,
        streams: streams.to_vec(),
        operators: true,
        throttled_from: Some(10),
        histograms: false,
        ..Story::default()
    };
    let mut result = story.result();
    for stream in &mut result.streams {
        let again = stream.seconds.clone().into_iter().cycle().take(3600);
        stream.seconds = (0..).zip(again).map(|(at, second)| Second { at, ..second }).collect();
    }
    let operators = result.operators.as_mut().unwrap();
    operators.samples = operators.samples.iter().cycle().take(3600 * 5).cloned().collect();
    for (at, sample) in (0..).zip(&mut operators.samples) {
        sample.at_us = at / 5 * 1_000_000;
    }

    let page = html(&result);

    assert!(page.len() < 3_000_000, "{} bytes", page.len());
    assert!(page.contains("Each point is the worst of 10 seconds"), "a reader is told of the thinning");
}

#[test]
fn the_verdict_comes_first_and_says_why() {
    let invalid = html(&fixture::invalid());
    let at = |page: &str, what: &str| page.find(what).unwrap_or_else(|| panic!("no {what}"));
    assert!(at(&invalid, "INVALID run") < at(&invalid, "class=\"tiles\""));
    assert!(invalid.contains("at most 0.1 % may be"));

    let result = fixture::eventful();
    let findings: Vec<_> =
        ["p99<1s", "throttled<1%"].map(|text| text.parse::<Objective>().unwrap().holds(&result)).into();
    let page = html_judged(&result, &findings);
    assert!(
        page.contains("1 of 2 thresholds does not hold"),
        "{}",
        &page[at(&page, "class=\"headline\"")..][..200]
    );
}

#[test]
fn the_stall_stands_in_the_table_behind_the_plot() {
    let result = fixture::eventful();
    let page = html(&result);
    let second = &result.streams[0].seconds[22];
    assert!(second.latency.max_us > 390_000);
    let plot = &page[page.find("id=\"latency\"").unwrap()..];
    let row = plot.find("<td>22 s</td>").expect("each second has its row");
    let row = &plot[row..row + plot[row..].find("</tr>").unwrap()];
    assert!(row.contains("ms") && row.contains("39") || row.contains("40"), "{row}");
}

#[test]
fn the_summary_has_at_most_25_lines_of_at_most_100_columns() {
    for (story, result) in each() {
        let findings: Vec<_> = ["p99<1ms", "success>=99.9%", "rate>=1/s", "errors<=1%", "max<10s"]
            .map(|text| text.parse::<Objective>().unwrap().holds(&result))
            .into();
        for text in [text(&result), text_judged(&result, &findings)] {
            assert!(text.lines().count() <= 25, "{story}: {} lines\n{text}", text.lines().count());
            assert!(!text.contains("NaN") && text.ends_with('\n'), "{story}\n{text}");
        }
    }
}

#[test]
fn the_summary_of_an_invalid_run_says_what_to_do_next() {
    let text = text(&fixture::invalid());
    assert!(text.starts_with("INVALID"), "{text}");
    assert!(text.contains("more --threads"), "{text}");
}

#[test]
fn a_result_reads_back_as_itself_and_other_forms_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run.json");
    let result = fixture::eventful();

    write_json(&result, &path).unwrap();
    assert!(read_json(&path).unwrap() == result);

    std::fs::write(&path, r#"{"schema":"weir-load/9","total":7}"#).unwrap();
    let error = read_json(&path).unwrap_err();
    assert!(matches!(&error, UnreadableResult::OtherSchema { found, .. } if found == "weir-load/9"));
    assert!(error.to_string().contains("reads \"weir-load/1\""), "{error}");
    for other in ["", "[]", "{}", "<html>", "{\"schema\":\"weir-load/1\"}"] {
        std::fs::write(&path, other).unwrap();
        assert!(matches!(read_json(&path), Err(UnreadableResult::Malformed { .. })), "{other}");
    }
    assert!(matches!(read_json(&dir.path().join("none")), Err(UnreadableResult::Io { .. })));
}

#[test]
fn hdr_files_hold_every_latency_by_stream_and_add_up() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two, json) = (dir.path().join("1.hlog"), dir.path().join("2.hlog"), dir.path().join("3.json"));
    let (result, whole) = (fixture::calm(), Story { histograms: false, ..Story::default() }.result());
    write_hdr(&result, &one).unwrap();
    write_hdr(&whole, &two).unwrap();
    write_json(&result, &json).unwrap();

    let log = std::fs::read_to_string(&one).unwrap();
    assert_eq!(log.lines().filter(|line| line.starts_with("Tag=reads,")).count(), 30, "one per second");

    let alone = merge_hdr(std::slice::from_ref(&one)).unwrap();
    assert_eq!(alone.by_tag.keys().collect::<Vec<_>>(), ["reads", "writes"]);
    assert_eq!(alone.total().len(), result.total.latency.count);
    assert_eq!(alone.by_tag["reads"].value_at_quantile(0.99), result.streams[0].summary.latency.p99_us);

    let merged = merge_hdr(&[one, two, json]).unwrap();
    assert_eq!(merged.total().len(), 3 * result.total.latency.count);
    let again = dir.path().join("merged.hlog");
    merged.write(&again).unwrap();
    assert_eq!(merge_hdr(&[again]).unwrap(), merged);
    assert!(merged.text().lines().count() == 4 && merged.text().contains("reads"), "{}", merged.text());
}

#[test]
fn a_file_that_is_no_interval_log_is_refused_with_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.hlog");
    for garbage in [&b"hello"[..], b"Tag=a,0.1,1.0,2.0,AAAA\n", b"Tag=a,0.1,1.0,2.0,!!\n", b"\xff\xfe"] {
        std::fs::write(&path, garbage).unwrap();
        let error = merge_hdr(std::slice::from_ref(&path)).unwrap_err().to_string();
        assert!(error.contains("x.hlog"), "{error}");
    }
}

#[test]
fn percentiles_of_several_streams_are_those_of_all_requests_together() {
    let result = fixture::calm();
    let seconds: Vec<_> = result.streams.iter().map(|stream| &stream.seconds[3]).collect();
    let [p50, p99, _, max] = percentiles::of_streams(&seconds).unwrap();

    let (reads, writes) = (&seconds[0].latency, &seconds[1].latency);
    assert!(p50 < writes.p50_us as f64 && p50 > reads.min_us as f64, "nine in ten are reads");
    assert!(p99 >= reads.p50_us as f64);
    assert_eq!(max, reads.max_us.max(writes.max_us) as f64);
}

#[test]
fn a_page_of_several_runs_has_them_all_in_one_table_and_says_which_are_invalid() {
    let (calm, invalid) = (fixture::calm(), fixture::invalid());
    let page = html_many("Two runs", &[("before", &calm), ("after", &invalid)]);
    assert_well_formed(&page, "many");
    for what in ["before", "after", "INVALID run", "run1-latency", "Latency by percentile"] {
        assert!(page.contains(what), "{what}");
    }
}

#[test]
fn a_comparison_has_its_ratios_its_intervals_and_a_verdict() {
    use crate::compare::{Comparison, Measured, Metric};
    let run = |p99: f64| {
        Measured::from([(Metric::LatencyP99, p99), (Metric::Rate, 500.0), (Metric::Cpu("<p>".into()), 9.0)])
    };
    let runs =
        |factor: f64| [1.0, 1.02, 0.99, 1.01, 1.0, 0.98].map(|noise| run(5_000.0 * noise * factor)).to_vec();
    let sides = ["one <b>".to_owned(), "two".to_owned()];
    let of = |factor| Comparison::of(sides.clone(), runs(1.0), runs(factor), true, 0.95);

    let page = comparison_html(&of(1.4), &[]);
    assert_well_formed(&page, "comparison");
    assert!(page.contains("differ in latency p99") && page.contains("1.400") && page.contains("<circle"));
    assert!(comparison_html(&of(1.0), &[]).contains("No difference detectable"));
}

/// For the eyes: `WEIR_PAGES=DIR cargo nextest run -p loadgen pages_to_look_at`.
#[test]
fn pages_to_look_at_are_written_where_the_environment_says() {
    let Some(dir) = std::env::var_os("WEIR_PAGES").map(std::path::PathBuf::from) else { return };
    let write = |name: &str, page: String| std::fs::write(dir.join(name), page).unwrap();
    let result = fixture::eventful();
    let findings: Vec<_> = ["p99<1s", "success>=99%", "throttled<1%", "p99<50ms@reads"]
        .map(|text| text.parse::<Objective>().unwrap().holds(&result))
        .into();
    write("judged.html", html_judged(&result, &findings));
    write("judged.txt", text_judged(&result, &findings));
    for (story, result) in each() {
        write(&format!("{}.html", story.replace(' ', "-")), html(&result));
        write(&format!("{}.txt", story.replace(' ', "-")), text(&result));
    }
    let mut view = crate::live_view::picture_after(&result, 45);
    view.push('\n');
    write("live.txt", view);
    write("many.html", html_many("Two runs", &[("before", &fixture::calm()), ("after", &result)]));
    use crate::compare::{Comparison, Measured, Metric};
    let run = |p99: f64| {
        Measured::from([
            (Metric::LatencyP99, p99),
            (Metric::LatencyP50, 700.0 + p99 / 100.0),
            (Metric::Rate, 500.0),
            (Metric::Cpu("proxy".into()), 900.0 / p99.sqrt()),
        ])
    };
    let runs =
        |factor: f64| [1.0, 1.02, 0.99, 1.01, 1.0, 0.98].map(|noise| run(5_000.0 * noise * factor)).to_vec();
    let sides =
        ["weir 0.1.0 at http://127.0.0.1:8000".to_owned(), "dynoxide at http://127.0.0.1:8001".to_owned()];
    let comparison = Comparison::of(sides, runs(1.0), runs(1.4), true, 0.95);
    write(
        "comparison.html",
        comparison_html(&comparison, &[("A 1", &fixture::calm()), ("B 1", &fixture::eventful())]),
    );
}

/// Every element that is opened is closed, in order: what a strict reader of HTML wants.
fn assert_well_formed(page: &str, story: &str) {
    const VOID: [&str; 7] = ["meta", "line", "path", "circle", "br", "img", "input"];
    let mut open: Vec<&str> = Vec::new();
    let mut ids = std::collections::BTreeSet::new();
    let mut rest = page.strip_prefix("<!doctype html>").expect("a page begins with its type");
    while let Some(at) = rest.find('<') {
        rest = &rest[at + 1..];
        let end = rest.find('>').expect("a tag ends");
        let tag = &rest[..end];
        rest = &rest[end + 1..];
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed), "{story}: near {}", &rest[..rest.len().min(120)]);
            continue;
        }
        let name = tag.split([' ', '/', '\n']).next().unwrap();
        assert_eq!(tag.matches('"').count() % 2, 0, "{story}: quotes in <{tag}>");
        if let Some((_, id)) = tag.split_once(" id=\"") {
            assert!(ids.insert(id.split('"').next().unwrap().to_owned()), "{story}: twice {tag}");
        }
        if name == "style" || name == "script" {
            let end = rest.find(&format!("</{name}>")).expect("style and script end");
            rest = &rest[end + name.len() + 3..];
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{story}: {open:?}");
}
