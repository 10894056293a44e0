//! One run from its spec to its exit code: tables, credentials, live view, files, verdict.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::Context;
use tokio_util::sync::CancellationToken;

use super::args::{CommonArgs, MeasureArgs, OutputArgs, PreparationArgs, WatchArgs};
use super::failure::Failure;
use super::output::write;
use super::prepare::{Preparing, prepare};
use super::session::Session;
use crate::engine::{self, Recorded, RunOptions};
use crate::live_view::LiveView;
use crate::objective::{Finding, Objective};
use crate::operators::{OperatorsEndpoints, OperatorsSampling};
use crate::report;
use crate::result::RunResult;
use crate::spec::RunSpec;

/// A run that is to be.
#[derive(Debug)]
pub(super) struct Measurement<'a> {
    session: Session,
    pub spec: RunSpec,
    /// Whether it goes to `weir load`'s own table, which nobody has to ask for.
    own: bool,
    preparation: &'a PreparationArgs,
    output: &'a OutputArgs,
    measure: &'a MeasureArgs,
    watch: &'a WatchArgs,
    /// Due times of each stream, if they were recorded.
    pub recorded: Option<Recorded>,
}

impl<'a> Measurement<'a> {
    pub(super) fn of(
        session: Session,
        spec: RunSpec,
        own: bool,
        common: &'a CommonArgs,
        measure: &'a MeasureArgs,
    ) -> Self {
        let CommonArgs { preparation, output, watch, .. } = common;
        Self { session, spec, own, preparation, output, measure, watch, recorded: None }
    }

    /// The same, to a table of `weir load`'s own.
    pub(super) fn of_own_table(self) -> Self {
        Self { own: true, ..self }
    }

    /// Runs it, writes what was asked for, and judges.
    pub(super) async fn run(self, stop: &CancellationToken) -> Result<(), Failure> {
        check_objectives(&self.measure.thresholds, &self.spec)?;
        let operators = self.operators();
        let preparing = Preparing::of(self.preparation, self.own, self.output.quiet);
        prepare(&self.session, &self.spec, preparing, stop).await?;
        let mut options = options(&self.session, &self.spec, self.watch)?;
        options.recorded = self.recorded;
        options.trace_to.clone_from(&self.measure.trace);
        let result = {
            let mut view = (!self.output.quiet).then(|| LiveView::new(&self.spec));
            let result = watched(&self.spec, options, operators, stop, |progress| {
                if let Some(view) = &mut view {
                    view.show(progress);
                }
            });
            let result = result.await;
            result?
        };
        let findings: Vec<_> =
            self.measure.thresholds.iter().map(|objective| objective.holds(&result)).collect();
        write(&result, &findings, self.output, self.measure.hdr.as_deref())?;
        verdict(&result, &findings, stop.is_cancelled())
    }

    fn operators(&self) -> Option<OperatorsEndpoints> {
        operators(&self.session, self.watch)
    }
}

/// The operators' endpoints to ask: those given, or those of the local fleet.
fn operators(session: &Session, watch: &WatchArgs) -> Option<OperatorsEndpoints> {
    let fleet = &session.fleet;
    let urls = if watch.operators.is_empty() { fleet.operators.clone() } else { watch.operators.clone() };
    let token = watch.operator_token.clone().or_else(|| fleet.operator_token.clone());
    (!urls.is_empty()).then_some(OperatorsEndpoints { urls, token })
}

/// What a run needs besides its spec.
pub(super) fn options(session: &Session, spec: &RunSpec, watch: &WatchArgs) -> Result<RunOptions, Failure> {
    let mut processes = session.fleet.processes.clone();
    processes.extend(watch.processes.iter().cloned());
    let credentials = session.all_credentials(spec)?;
    Ok(RunOptions { processes, credentials, ..RunOptions::default() })
}

/// A run with the operators' view, if there are such endpoints.
async fn watched(
    spec: &RunSpec,
    options: RunOptions,
    operators: Option<OperatorsEndpoints>,
    stop: &CancellationToken,
    progress: impl FnMut(&engine::Progress) + Send,
) -> Result<RunResult, Failure> {
    let sampling = match operators {
        None => None,
        Some(endpoints) => {
            let tables: BTreeSet<_> = spec.streams.iter().map(|stream| stream.table.clone()).collect();
            let began = wire::clock::now() + spec.warm_up;
            Some(OperatorsSampling::start(endpoints, tables, began).await.map_err(anyhow::Error::from)?)
        }
    };
    let ran = run(spec, options, stop, progress).await;
    let seen = match sampling {
        None => None,
        Some(sampling) => Some(sampling.finish().await),
    };
    let mut result = ran?;
    result.operators = seen;
    Ok(result)
}

/// A run alone. One that was stopped says so in its result.
pub(super) async fn run(
    spec: &RunSpec,
    options: RunOptions,
    stop: &CancellationToken,
    progress: impl FnMut(&engine::Progress) + Send,
) -> Result<RunResult, Failure> {
    let mut result = engine::run(spec, options, progress, stop.clone())
        .await
        .with_context(|| format!("cannot run against {}", spec.endpoints.join(", ")))?;
    let lasted = Duration::from_micros(result.lasted_us);
    if stop.is_cancelled() && lasted < spec.duration {
        let (lasted, whole) = (report::figure::span(lasted), report::figure::span(spec.duration));
        result.warnings.insert(0, format!("stopped after {lasted} of {whole}: the figures are of that part"));
    }
    advise(&mut result);
    Ok(result)
}

/// What to do about errors that every request would meet.
fn advise(result: &mut RunResult) {
    const ADVICE: [(&str, &str); 6] = [
        ("ResourceNotFoundException", "a table is missing: --prepare creates it"),
        (
            "UnrecognizedClientException",
            "the endpoint does not know the access key: AWS_ACCESS_KEY_ID, --profile, or --dir for a local fleet",
        ),
        ("InvalidSignatureException", "the secret key or --region is wrong, or this machine's clock"),
        ("AccessDeniedException", "the principal may not do this: its policy must allow it"),
        ("ConnectionRefused", "nobody listens at an endpoint: is it right, and does it run?"),
        (
            "TlsHandshakeFailed",
            "the endpoint's certificate is not trusted (SSL_CERT_FILE can name a root certificate file), or it does \
             not speak TLS (write http://)",
        ),
    ];
    for (error, advice) in ADVICE {
        if let Some(count) = result.total.errors.get(error) {
            result.warnings.push(format!("{error} ({count}): {advice}"));
        }
    }
}

/// An objective about a stream that is none is a mistake on the command line.
pub(super) fn check_objectives(objectives: &[Objective], spec: &RunSpec) -> Result<(), Failure> {
    let wrong = objectives.iter().find_map(|objective| objective.check(spec).err());
    wrong.map_or(Ok(()), |error| Err(Failure::Usage(error.to_string())))
}

/// What the exit code says of a run.
fn verdict(result: &RunResult, findings: &[Finding], stopped: bool) -> Result<(), Failure> {
    if !result.validity.valid {
        // Why is in the summary.
        return Err(Failure::Invalid(
            "the run was invalid, so its figures say nothing about the service".to_owned(),
        ));
    }
    let missed: Vec<_> = findings.iter().filter(|finding| !finding.held).collect();
    if !missed.is_empty() {
        let texts: Vec<_> = missed
            .iter()
            .map(|finding| format!("{} ({})", finding.objective, finding.measured_text()))
            .collect();
        return Err(Failure::Missed(format!("did not hold: {}", texts.join(", "))));
    }
    match (stopped, nothing_succeeded(result)) {
        // Thresholds that hold say that this is what was wanted.
        (_, Some(text)) if findings.is_empty() => Err(Failure::Other(anyhow::anyhow!(text))),
        (false, Some(text)) => {
            eprintln!("{text}");
            Ok(())
        }
        (true, _) => Err(Failure::Stopped("stopped; what was measured until then is reported".into())),
        (false, None) => Ok(()),
    }
}

/// That no request of a run succeeded, and why most did not.
fn nothing_succeeded(result: &RunResult) -> Option<String> {
    if result.total.offered == 0 || result.total.successes() > 0 {
        return None;
    }
    let errors = result.total.errors.iter().max_by_key(|(_, count)| **count);
    let why =
        errors.map_or_else(|| "none was answered".to_owned(), |(error, count)| format!("{error} ({count})"));
    Some(format!("no request succeeded: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outcome::Outcome;
    use crate::report::fixture::Story;

    #[test]
    fn a_run_in_which_nothing_succeeded_fails_unless_a_threshold_holds() {
        let mut result = Story::default().result();
        assert!(verdict(&result, &[], false).is_ok());
        result.total.outcomes = [(Outcome::ClientError, result.total.offered)].into();
        result.total.errors = [("Rare".to_owned(), 1), ("AccessDeniedException".to_owned(), 7)].into();
        let failure = verdict(&result, &[], false).unwrap_err();
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(failure.to_string(), "no request succeeded: AccessDeniedException (7)");
        let holds = "success<1%".parse::<Objective>().unwrap().holds(&result);
        assert!(holds.held && verdict(&result, &[holds], false).is_ok());
    }
}
