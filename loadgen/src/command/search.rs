//! `weir load search`: the highest rate that meets objectives.

use std::time::Duration;

use clap::Args;
use tokio_util::sync::CancellationToken;

use super::args::{CommonArgs, DurationArgs, OutputArgs, RateArgs, WorkArgs};
use super::failure::Failure;
use super::measure::{check_objectives, options, run as run_once};
use super::output::show;
use super::prepare::{Preparing, prepare};
use super::session::{Fleets, Session};
use super::spec_of::{Flags, spec_of};
use crate::objective::{Metric, Objective};
use crate::report::{self, figure};
use crate::result::{RunResult, SCHEMA};
use crate::search::{Bounds, Knee, Purpose, Search, Step, Verdict};
use crate::search_result::{Probe, SearchResult};
use crate::spec::{Pacing, RunSpec};
use crate::workload::Rate;

/// Judged besides, unless an objective says what may fail: latency is that of successful requests, so a service that
/// refused nearly all would otherwise meet any.
const USUAL_SUCCESS: &str = "success>=99%";

/// Arguments of `weir load search`.
#[derive(Debug, Clone, Args)]
pub struct SearchArgs {
    /// What must hold; repeatable, and all must: 'p99<10ms', 'throttled<1%'. Unless one of them says what may fail,
    /// success>=99% must hold, too.
    #[arg(long = "objective", value_name = "OBJECTIVE", required = true)]
    objectives: Vec<Objective>,
    /// The first rate that is tried.
    #[arg(long, value_name = "RATE", default_value = "100/s")]
    from: Rate,
    /// Below this nothing is tried.
    #[arg(long, value_name = "RATE", default_value = "1/s")]
    lowest: Rate,
    /// Above this nothing is tried.
    #[arg(long, value_name = "RATE", default_value = "1000k/s")]
    highest: Rate,
    /// How closely: the lowest rate that missed is at most this much above the knee.
    #[arg(long, value_name = "PERCENT", default_value = "5%", value_parser = percent)]
    resolution: f64,
    /// How long a probe is measured.
    #[arg(long, value_name = "DURATION", default_value = "10s", value_parser = humantime::parse_duration)]
    probe: Duration,
    /// What is sent before that and left out.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// The pause after a probe: queues drain and buckets fill.
    #[arg(long, value_name = "DURATION", default_value = "2s", value_parser = humantime::parse_duration)]
    cool_down: Duration,
    /// How often the best rate must hold again.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(0..=20))]
    confirm: u8,
    /// All confirmations must hold, not only most.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    work: WorkArgs,
    #[command(flatten)]
    common: CommonArgs,
}

/// `weir load search`.
pub(super) async fn run(
    args: SearchArgs,
    fleets: &impl Fleets,
    stop: &CancellationToken,
) -> Result<(), Failure> {
    let session = Session::open(&args.common.target, fleets).await?;
    let spec = args.spec(&session)?;
    let objectives = complete(&args.objectives);
    check_objectives(&objectives, &spec)?;
    let CommonArgs { preparation, output, .. } = &args.common;
    let preparing = Preparing::of(preparation, args.work.traffic.is_own(), output.quiet);
    prepare(&session, &spec, preparing, stop).await?;

    let mut searching =
        Searching { args: &args, session: &session, spec, objectives, probes: Vec::new(), last: None };
    let knee = searching.run(stop).await?;
    let Searching { spec, objectives, probes, last, .. } = searching;
    let conclusion = conclusion(knee.as_ref(), &probes);
    let result = SearchResult { schema: SCHEMA.to_owned(), spec, objectives, knee, conclusion, probes };
    write(&result, output, last.as_ref())?;
    match knee {
        None => Err(Failure::Stopped("stopped; the probes until then are reported".into())),
        Some(Knee::Nothing { invalid: true, .. }) => Err(Failure::Invalid(result.conclusion)),
        Some(Knee::Nothing { .. } | Knee::Unsteady { .. }) => Err(Failure::Missed(result.conclusion)),
        Some(_) => Ok(()),
    }
}

impl SearchArgs {
    /// The spec of the probe at a rate of one per second in the mean.
    fn spec(&self, session: &Session) -> Result<RunSpec, Failure> {
        let traffic = self.work.over(self.work.traffic.clone());
        let scenario = traffic.read_scenario()?;
        let duration = DurationArgs { duration: Some(self.probe), warm_up: Some(self.warm_up) };
        // Beside a scenario there is no rate: its streams have theirs, in proportion to which they are scaled.
        let rate = scenario.is_none().then(|| crate::workload::Arrivals::poisson(Rate::per_second(1.0)));
        let rate = RateArgs { rate, closed: false };
        let sending = &self.common.sending;
        let flags = Flags { traffic: &traffic, sending, rate: &rate, duration: &duration };
        let mut spec = spec_of(&session.place, flags, scenario.as_deref())?;
        spec.pacing = Pacing::Open;
        Ok(spec)
    }

    fn bounds(&self) -> Result<Bounds, Failure> {
        let (lowest, highest) = (self.lowest.get(), self.highest.get());
        if lowest <= 0.0 || lowest > highest {
            return Err(Failure::Usage("--lowest must be above zero and at most --highest".into()));
        }
        Ok(Bounds {
            begin: self.from.get(),
            lowest,
            highest,
            resolution: self.resolution,
            confirmations: usize::from(self.confirm),
            all: self.all,
        })
    }
}

/// A search under way.
struct Searching<'a> {
    args: &'a SearchArgs,
    session: &'a Session,
    spec: RunSpec,
    objectives: Vec<Objective>,
    probes: Vec<Probe>,
    /// The last run that held: the report shows it whole.
    last: Option<RunResult>,
}

impl Searching<'_> {
    /// Probes until the search is done; none when it was stopped.
    async fn run(&mut self, stop: &CancellationToken) -> Result<Option<Knee>, Failure> {
        let mut search = Search::new(self.args.bounds()?);
        self.say(&head());
        loop {
            let (rate, purpose) = match search.next() {
                Step::Done(knee) => return Ok(Some(knee)),
                Step::Probe { rate, purpose } => (rate, purpose),
            };
            if !self.probes.is_empty()
                && stop.run_until_cancelled(tokio::time::sleep(self.args.cool_down)).await.is_none()
            {
                return Ok(None);
            }
            let Some(probe) = self.probe(rate, purpose, stop).await? else { return Ok(None) };
            self.say(&line(&probe));
            search.record(probe.verdict);
            self.probes.push(probe);
        }
    }

    async fn probe(
        &mut self,
        rate: f64,
        purpose: Purpose,
        stop: &CancellationToken,
    ) -> Result<Option<Probe>, Failure> {
        let mut spec = at_rate(&self.spec, rate);
        // Each draws anew: what holds with one sequence of arrivals only is no finding.
        spec.seed = spec.seed.wrapping_add(self.probes.len() as u64);
        let result =
            run_once(&spec, options(self.session, &spec, &self.args.common.watch)?, stop, |_| {}).await?;
        if stop.is_cancelled() {
            return Ok(None);
        }
        let probe = Probe::of(rate, purpose, &result, &self.objectives);
        if probe.verdict == Verdict::Held {
            self.last = Some(result);
        }
        Ok(Some(probe))
    }

    fn say(&self, line: &str) {
        if !self.args.common.output.quiet {
            eprintln!("{line}");
        }
    }
}

/// All streams' rates times the same, so that they are `rate` together in the mean.
fn at_rate(spec: &RunSpec, rate: f64) -> RunSpec {
    let over = spec.duration + spec.warm_up;
    let mean: f64 = spec.streams.iter().map(|stream| stream.arrivals.mean_rate(over)).sum();
    let mut scaled = spec.clone();
    for stream in &mut scaled.streams {
        stream.arrivals = stream.arrivals.scaled(rate / mean);
    }
    scaled
}

/// The objectives, and what is judged unless they say it.
fn complete(given: &[Objective]) -> Vec<Objective> {
    let mut objectives = given.to_vec();
    let says = |objective: &Objective| {
        matches!(objective.metric, Metric::Success | Metric::Throttled | Metric::Errors)
    };
    if !objectives.iter().any(says) {
        objectives.push(USUAL_SUCCESS.parse().expect("it is an objective"));
    }
    objectives
}

/// A probe as a line of the table.
fn line(probe: &Probe) -> String {
    let why = match probe.verdict {
        Verdict::Held => String::new(),
        Verdict::Invalid => format!("the generator is the limit: {}", probe.reasons.join("; ")),
        Verdict::Missed => {
            let missed = probe.findings.iter().filter(|finding| !finding.held);
            missed
                .map(|finding| format!("{} ({})", finding.objective, finding.measured_text()))
                .collect::<Vec<_>>()
                .join(", ")
        }
    };
    let cells = [
        format!("{}/s", figure::number(probe.rate)),
        probe.purpose.name().to_owned(),
        probe.verdict.name().to_owned(),
        figure::micros(probe.p50_us),
        figure::micros(probe.p99_us),
        figure::percent(probe.success),
        figure::percent(probe.throttled),
    ];
    format!("{} {why}", columns(&cells)).trim_end().to_owned()
}

fn head() -> String {
    columns(&["RATE", "STEP", "VERDICT", "P50", "P99", "SUCCESS", "THROTTLED"].map(str::to_owned))
}

fn columns(cells: &[String; 7]) -> String {
    let [rate, purpose, verdict, p50, p99, success, throttled] = cells;
    format!("{rate:>12}  {purpose:<8} {verdict:<8} {p50:>9} {p99:>9} {success:>9} {throttled:>9} ")
}

/// What was found, in words.
fn conclusion(knee: Option<&Knee>, probes: &[Probe]) -> String {
    let shown = |rate: f64| format!("{}/s", figure::number(rate));
    let missed_by = || {
        let last = probes.iter().rev().find(|probe| probe.verdict == Verdict::Missed);
        let findings =
            last.into_iter().flat_map(|probe| probe.findings.iter().filter(|finding| !finding.held));
        findings.map(|finding| finding.objective.to_string()).collect::<Vec<_>>().join(", ")
    };
    match knee {
        None => "stopped before anything was found".to_owned(),
        Some(Knee::Knee { rate, missed }) => {
            format!("knee: {} holds, confirmed; {} does not ({})", shown(*rate), shown(*missed), missed_by())
        }
        Some(Knee::GeneratorLimit { rate, invalid }) => format!(
            "at least {}, confirmed: the load generator is the limit, not the service. At {} its runs were invalid; \
             give it more --connections, --threads, or another machine",
            shown(*rate),
            shown(*invalid)
        ),
        Some(Knee::AtLeast { rate }) => {
            format!("at least {}, confirmed: the highest rate that was allowed (--highest)", shown(*rate))
        }
        Some(Knee::Nothing { rate, invalid: true }) => format!(
            "nothing found: the load generator is the limit even at {}; {}",
            shown(*rate),
            probes.last().map(|probe| probe.reasons.join("; ")).unwrap_or_default()
        ),
        Some(Knee::Nothing { rate, .. }) => {
            format!("nothing found: not even {} holds ({}); --lowest goes lower", shown(*rate), missed_by())
        }
        Some(Knee::Unsteady { missed }) => format!(
            "nothing found: the probes contradict one another below {}; longer probes (--probe) or a quieter machine \
             may help",
            shown(*missed)
        ),
    }
}

fn write(result: &SearchResult, output: &OutputArgs, held: Option<&RunResult>) -> Result<(), Failure> {
    let page = || report::search_html(result, held);
    show(output, result, page, || format!("{}\n", result.conclusion))
}

fn percent(text: &str) -> Result<f64, String> {
    let number = text.trim().trim_end_matches('%').parse::<f64>().ok();
    number
        .filter(|percent| (0.1..=100.0).contains(percent))
        .map(|percent| percent / 100.0)
        .ok_or_else(|| format!("`{text}` is no resolution: expected 0.1% to 100%, such as 5%"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn success_is_judged_unless_an_objective_says_what_may_fail() {
        let of = |texts: &[&str]| {
            let given: Vec<Objective> = texts.iter().map(|text| text.parse().unwrap()).collect();
            complete(&given).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of(&["p99<10ms"]).len(), 2);
        assert_eq!(of(&["p99<10ms", "throttled<1%"]).len(), 2);
        assert_eq!(of(&["success>=90%"]).len(), 1);
    }

    #[test]
    fn resolutions_are_percent() {
        assert_eq!((percent("5%"), percent("2.5")), (Ok(0.05), Ok(0.025)));
        assert!(percent("0%").is_err() && percent("fine").is_err());
    }
}
