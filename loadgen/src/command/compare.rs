//! `weir load compare`: two sides in interleaved runs, or results that are there already.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio_util::sync::CancellationToken;

use super::args::{
    CommonArgs, DurationArgs, RateArgs, SendingArgs, TargetArgs, TrafficArgs, WatchArgs, WorkArgs,
};
use super::failure::Failure;
use super::measure::{options, run as run_once};
use super::output::{print, show};
use super::prepare::{Preparing, prepare};
use super::session::{Fleets, Session};
use super::spec_of::{Flags, spec_of};
use crate::compare::{Comparison, Side, measured, order};
use crate::report::{self, figure};
use crate::result::RunResult;
use crate::spec::RunSpec;

const USUAL_DURATION: Duration = Duration::from_secs(5);
const USUAL_WARM_UP: Duration = Duration::from_secs(1);
/// Of a hundred comparisons of a side with itself, so many may find a difference.
const MOST_FALSE_FINDINGS: f64 = 0.05;

/// Student's t of fewer is so large that an interval says nothing.
const LEAST_PAIRS: u16 = 4;
const MOST_PAIRS: u16 = 1000;

/// Arguments of `weir load compare`.
#[derive(Debug, Clone, Args)]
pub struct CompareArgs {
    /// The side that is compared with: a URL, flags of its own in quotes ('--endpoint URL --http2'), or results of
    /// `weir load run --json` (a1.json,a2.json).
    #[arg(long, value_name = "SIDE", allow_hyphen_values = true)]
    a: String,
    /// The side that is looked at, likewise.
    #[arg(long, value_name = "SIDE", allow_hyphen_values = true, required_unless_present = "self_check")]
    b: Option<String>,
    /// How many pairs of runs, at least 4.
    #[arg(long, value_name = "N", default_value_t = 10, allow_hyphen_values = true, value_parser = pairs)]
    pairs: u16,
    /// How sure the intervals are, all together: of a hundred comparisons of a side with itself, about one finds a
    /// difference with 99%.
    #[arg(long, value_name = "PERCENT", default_value = "99%", value_parser = confidence)]
    confidence: f64,
    /// Of results: the first of A was measured next to the first of B, and so on.
    #[arg(long)]
    paired: bool,
    /// Compare A with itself so many times, and say how often a difference was found: there is none.
    #[arg(long, value_name = "N", conflicts_with = "b")]
    self_check: Option<u16>,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    rate: RateArgs,
    #[command(flatten)]
    duration: DurationArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// Flags of one side.
#[derive(Debug, Default, Parser)]
#[command(no_binary_name = true, name = "side")]
struct SideFlags {
    #[command(flatten)]
    target: TargetArgs,
    #[command(flatten)]
    traffic: TrafficArgs,
    #[command(flatten)]
    sending: SendingArgs,
    #[command(flatten)]
    watch: WatchArgs,
    /// What it is called in tables.
    #[arg(long, value_name = "NAME")]
    label: Option<String>,
}

/// What stands behind `--a` or `--b`.
enum Given {
    Flags(Box<SideFlags>),
    Files(Vec<PathBuf>),
}

/// A side that can be run.
struct Runnable {
    label: String,
    session: Session,
    spec: RunSpec,
    watch: WatchArgs,
}

/// What both sides gave.
#[derive(Default)]
struct Runs {
    a: Vec<RunResult>,
    b: Vec<RunResult>,
}

/// `weir load compare`.
pub(super) async fn run(
    args: CompareArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let b = args.b.as_ref().unwrap_or(&args.a);
    let comparison = match (given("--a", &args.a)?, given("--b", b)?) {
        (Given::Files(a), Given::Files(b)) => return compare_files(&args, &a, &b),
        (Given::Flags(a), Given::Flags(b)) => {
            let sides = [args.side("A", *a, fleets).await?, args.side("B", *b, fleets).await?];
            let CommonArgs { preparation, output, .. } = &args.common;
            let preparing = Preparing::of(preparation, args.work.traffic.is_own(), output.quiet);
            for side in &sides {
                prepare(&side.session, &side.spec, preparing, stop).await?;
            }
            Interleaved { args: &args, sides }
        }
        _ => return Err(Failure::Usage("compare endpoints with endpoints, or results with results".into())),
    };
    match args.self_check {
        Some(times) => comparison.check_itself(times, stop).await,
        None => {
            let runs = comparison.run(args.common.sending.seed.unwrap_or(1), stop).await?;
            let (stopped, valid) = (stop.is_cancelled(), runs.invalid().is_none());
            let labels = comparison.sides.each_ref().map(|side| side.label.clone());
            finish(&args, labels, &runs, true)?;
            match (stopped, valid) {
                (true, _) => Err(Failure::Stopped("stopped; the pairs until then are compared".into())),
                (false, false) => Err(Failure::Invalid(format!(
                    "runs were invalid however often they were repeated: {}; compare at a lower rate",
                    runs.invalid().unwrap_or_default()
                ))),
                (false, true) => Ok(()),
            }
        }
    }
}

/// What a side's text says.
fn given(flag: &str, text: &str) -> Result<Given, Failure> {
    let text = text.trim();
    let wrong = |why: String| Failure::Usage(format!("{flag} '{text}': {why}"));
    if text.contains("://") && !text.starts_with('-') {
        let target =
            TargetArgs { endpoints: text.split(',').map(str::to_owned).collect(), ..TargetArgs::default() };
        return Ok(Given::Flags(Box::new(SideFlags { target, ..SideFlags::default() })));
    }
    if text.starts_with('-') {
        let flags = SideFlags::try_parse_from(words(text).map_err(wrong)?);
        return flags.map(|flags| Given::Flags(Box::new(flags))).map_err(|error| {
            let first = error.to_string();
            wrong(first.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned())
        });
    }
    let files: Vec<PathBuf> = text.split(',').map(PathBuf::from).collect();
    match files.iter().all(|file| file.extension().is_some_and(|extension| extension == "json")) {
        true => Ok(Given::Files(files)),
        false => Err(wrong(
            "expected a URL, flags such as '--endpoint URL --http2', or results FILE.json,FILE.json".into(),
        )),
    }
}

/// Words as a shell parts them: by blanks that are not within quotes.
fn words(text: &str) -> Result<Vec<String>, String> {
    let (mut words, mut word, mut quote) = (Vec::new(), None::<String>, None);
    for character in text.chars() {
        match (character, quote) {
            (end, Some(begun)) if end == begun => quote = None,
            (begin @ ('\'' | '"'), None) => {
                quote = Some(begin);
                word.get_or_insert_default();
            }
            (blank, None) if blank.is_whitespace() => words.extend(word.take()),
            (character, _) => word.get_or_insert_default().push(character),
        }
    }
    words.extend(word);
    match quote {
        Some(quote) => Err(format!("a {quote} is not closed")),
        None => Ok(words),
    }
}

impl CompareArgs {
    /// A side: its own flags over the common ones.
    async fn side(&self, name: &str, flags: SideFlags, fleets: &impl Fleets) -> Result<Runnable, Failure> {
        let target = flags.target.over(&self.common.target);
        let traffic = self.work.over(flags.traffic.over(&self.work.traffic));
        let sending = flags.sending.over(&self.common.sending);
        let session = Session::open(&target, fleets).await?;
        let duration = DurationArgs {
            duration: self.duration.duration.or(Some(USUAL_DURATION)),
            warm_up: self.duration.warm_up.or(Some(USUAL_WARM_UP)),
        };
        let flags_of = Flags { traffic: &traffic, sending: &sending, rate: &self.rate, duration: &duration };
        let spec = spec_of(&session.place, flags_of, traffic.read_scenario()?.as_deref())?;
        let mut watch = flags.watch;
        watch.processes.extend(self.common.watch.processes.iter().cloned());
        let label = flags.label.unwrap_or_else(|| format!("{name}: {}", spec.endpoints.join(", ")));
        Ok(Runnable { label, session, spec, watch })
    }
}

/// Two sides whose runs take turns.
struct Interleaved<'a> {
    args: &'a CompareArgs,
    sides: [Runnable; 2],
}

impl Interleaved<'_> {
    /// Runs all pairs. Those with an invalid run are repeated while there are repeats left.
    async fn run(&self, seed: u64, stop: &CancellationToken) -> Result<Runs, Failure> {
        let pairs = usize::from(self.args.pairs);
        // In all as often as there are pairs: a machine that cannot do better must not go on forever.
        let mut repeats = pairs;
        let mut runs = Runs::default();
        for (number, order) in order(pairs, &mut ChaCha8Rng::seed_from_u64(seed)).into_iter().enumerate() {
            loop {
                let Some((a, b)) = self.pair(order, seed.wrapping_add(number as u64), stop).await? else {
                    return Ok(runs);
                };
                let valid = a.validity.valid && b.validity.valid;
                if valid || repeats == 0 {
                    self.show(number + 1, pairs, &a, &b);
                    runs.a.push(a);
                    runs.b.push(b);
                    break;
                }
                repeats -= 1;
                let reasons = if a.validity.valid { &b.validity.reasons } else { &a.validity.reasons };
                self.say(&format!(
                    "pair {}: repeated, a run was invalid: {}",
                    number + 1,
                    reasons.join("; ")
                ));
            }
        }
        Ok(runs)
    }

    /// One run of each side, in this order, with the same arrivals, keys and sizes; none when stopped.
    async fn pair(
        &self,
        order: [Side; 2],
        seed: u64,
        stop: &CancellationToken,
    ) -> Result<Option<(RunResult, RunResult)>, Failure> {
        let (mut a, mut b) = (None, None);
        for side in order {
            let (of, to) = match side {
                Side::A => (&self.sides[0], &mut a),
                Side::B => (&self.sides[1], &mut b),
            };
            let spec = RunSpec { seed, ..of.spec.clone() };
            *to = Some(run_once(&spec, options(&of.session, &spec, &of.watch)?, stop, |_| {}).await?);
            if stop.is_cancelled() {
                return Ok(None);
            }
        }
        Ok(a.zip(b))
    }

    fn show(&self, number: usize, of: usize, a: &RunResult, b: &RunResult) {
        let p99 = |result: &RunResult| figure::micros(result.total.latency.p99_us);
        let rate = |result: &RunResult| format!("{}/s", figure::number(result.successes_per_second(None)));
        self.say(&format!(
            "pair {number} of {of}: A {} p99 {} · B {} p99 {}",
            rate(a),
            p99(a),
            rate(b),
            p99(b)
        ));
    }

    fn say(&self, line: &str) {
        if !self.args.common.output.quiet {
            eprintln!("{line}");
        }
    }

    /// Compares A with itself, many times: what it finds is chance.
    async fn check_itself(&self, times: u16, stop: &CancellationToken) -> Result<(), Failure> {
        let seed = self.args.common.sending.seed.unwrap_or(1);
        let (mut found, mut done, mut invalid) = (0_u32, 0_u32, 0_u32);
        for number in 0..u64::from(times) {
            // Seeds of one comparison's pairs follow one another: those of the next begin beyond them.
            let runs = self.run(seed.wrapping_add(number * 1_000_003), stop).await?;
            if stop.is_cancelled() {
                break;
            }
            if let Some(why) = runs.invalid() {
                invalid += 1;
                self.say(&format!(
                    "comparison {} of {times}: not counted, a run was invalid: {why}",
                    done + invalid
                ));
                continue;
            }
            let labels = ["A".to_owned(), "A".to_owned()];
            let comparison = runs.compared(labels, true, self.args.confidence);
            done += 1;
            found += u32::from(comparison.differs());
            let verdict = if comparison.differs() { "found a difference" } else { "found no difference" };
            self.say(&format!("comparison {} of {times}: {verdict}", done + invalid));
        }
        let mut text = format!("{found} of {done} comparisons of A with itself found a difference");
        if invalid > 0 {
            text.push_str(&format!("; {invalid} more had invalid runs and are not counted"));
        }
        if done + invalid < u32::from(times) {
            return Err(Failure::Stopped(format!("stopped: {text}")));
        }
        if done < invalid || done == 0 {
            return Err(Failure::Invalid(format!("{text}: too few are left; compare at a lower rate")));
        }
        match f64::from(found) <= MOST_FALSE_FINDINGS * f64::from(done) {
            true => print(&format!("{text}\n")),
            false => Err(Failure::Missed(text)),
        }
    }
}

impl Runs {
    /// Why the first invalid run is.
    fn invalid(&self) -> Option<String> {
        let mut all = self.a.iter().chain(&self.b);
        all.find(|run| !run.validity.valid).map(|run| run.validity.reasons.join("; "))
    }

    fn compared(&self, labels: [String; 2], paired: bool, confidence: f64) -> Comparison {
        let of = |runs: &[RunResult]| runs.iter().map(measured).collect();
        Comparison::of(labels, of(&self.a), of(&self.b), paired, confidence)
    }
}

/// Results that are there already.
fn compare_files(args: &CompareArgs, a: &[PathBuf], b: &[PathBuf]) -> Result<(), Failure> {
    let read = |files: &[PathBuf]| {
        files
            .iter()
            .map(|file| report::read_json(file))
            .collect::<Result<Vec<_>, _>>()
            .map_err(anyhow::Error::from)
    };
    let runs = Runs { a: read(a)?, b: read(b)? };
    if let Some(why) = runs.invalid() {
        return Err(Failure::Invalid(format!("an invalid run compares with nothing: {why}")));
    }
    if args.paired && a.len() != b.len() {
        return Err(Failure::Usage("--paired needs as many results of A as of B".into()));
    }
    finish(args, ["A".to_owned(), "B".to_owned()], &runs, args.paired)
}

/// Prints the table, and writes the files that were asked for.
fn finish(args: &CompareArgs, labels: [String; 2], runs: &Runs, paired: bool) -> Result<(), Failure> {
    let comparison = runs.compared(labels, paired, args.confidence);
    show(&args.common.output, &comparison, || page(&comparison, runs), || text(&comparison))
}

fn page(comparison: &Comparison, runs: &Runs) -> String {
    let names =
        |name: &str, count: usize| (1..=count).map(|number| format!("{name}{number}")).collect::<Vec<_>>();
    let names = [names("A", runs.a.len()), names("B", runs.b.len())].concat();
    let named: Vec<_> = names.iter().map(String::as_str).zip(runs.a.iter().chain(&runs.b)).collect();
    report::comparison_html(comparison, &named)
}

/// The comparison as a table, with what it says.
fn text(comparison: &Comparison) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["", "A", "B", "B ÷ A", "INTERVAL", "FINDING"]);
    for row in &comparison.rows {
        let interval =
            row.interval.map_or_else(|| "-".to_owned(), |(low, high)| format!("{low:.3} to {high:.3}"));
        let value = |value: f64| if value.is_finite() { row.metric.text(value) } else { "-".to_owned() };
        let ratio = if row.ratio.is_finite() { format!("{:.3}", row.ratio) } else { "-".to_owned() };
        table.add_row([row.metric.title(), value(row.a), value(row.b), ratio, interval, row.text()]);
    }
    let [a, b] = &comparison.sides;
    let [of_a, of_b] = comparison.runs;
    let how = if comparison.paired { "in pairs, interleaved" } else { "not in pairs" };
    let confidence = figure::percent(comparison.confidence * 100.0);
    format!(
        "{a}\n{b}\n{of_a} runs of A, {of_b} of B, {how}; all intervals together hold with {confidence} confidence\n\n{table}\n"
    )
}

fn pairs(text: &str) -> Result<u16, String> {
    match text.trim().parse() {
        Ok(pairs @ LEAST_PAIRS..=MOST_PAIRS) => Ok(pairs),
        Ok(0..LEAST_PAIRS) => Err(format!(
            "from fewer than {LEAST_PAIRS} pairs nothing follows: their intervals are wider than most differences; 10 \
             is usual"
        )),
        _ => Err(format!("expected {LEAST_PAIRS} to {MOST_PAIRS} pairs, such as 10")),
    }
}

fn confidence(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| (50.0..=99.999).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is no confidence: expected 50% to 99.999%, such as 99%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_side_is_a_url_or_flags_or_results() {
        let Ok(Given::Flags(url)) = given("--a", "http://a:1,http://b:2") else { panic!() };
        assert_eq!(url.target.endpoints, ["http://a:1", "http://b:2"]);
        let Ok(Given::Flags(flags)) = given("--a", "--endpoint http://a:1 --http2 --label 'with two'") else {
            panic!()
        };
        assert!(flags.sending.http2 && flags.label.as_deref() == Some("with two"));
        assert!(matches!(given("--a", "a1.json,a2.json"), Ok(Given::Files(files)) if files.len() == 2));
    }

    #[test]
    fn what_is_no_side_is_said() {
        for (text, expected) in
            [("nonsense", "expected a URL"), ("--nonsense", "--nonsense"), ("--label 'a", "not closed")]
        {
            let Err(error) = given("--b", text) else { panic!("{text}") };
            assert!(error.to_string().contains(expected) && error.exit_code() == 2, "{error}");
        }
    }

    #[test]
    fn fewer_than_four_pairs_are_refused_with_the_reason() {
        assert_eq!((pairs("4"), pairs("1000")), (Ok(4), Ok(1000)));
        assert!(
            pairs("3").unwrap_err().contains("fewer than 4")
                && pairs("-1").unwrap_err().contains("4 to 1000")
        );
    }

    #[test]
    fn words_are_parted_as_a_shell_does() {
        assert_eq!(words("a  'b c' d\"e f\"g ''").unwrap(), ["a", "b c", "de fg", ""]);
    }
}
