//! Changing quotas: what will change, the question, the change, and when it is in force.

use std::collections::BTreeMap;
use std::time::Duration;

use control_plane::quota::{
    BoostRate, BoostRequest, EndBoostRequest, Outage, QuotaChange, QuotaDiff, QuotaKind, QuotaMode,
    QuotaState, QuotaSubject, QuotaVersion, RollbackRequest, Signed,
};

use super::args::{self, BoostArgs, ChangeArgs, Kind, Limit, SetArgs};
use super::confirm::{asks, confirm};
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Reach};
use super::in_force;
use super::quota::{concerns, histories, path_of, subject_of};
use super::quota_text::{self, USUAL_BURST_SECONDS};
use crate::cli::OutputFormat;

/// One request of the operators' API that changes a quota.
enum Step {
    Set(QuotaChange),
    Rollback(RollbackRequest),
    Boost(BoostRequest),
    EndBoost(EndBoostRequest),
}

impl Step {
    async fn ask(&self, fleet: &Fleet, dry_run: bool) -> Result<QuotaDiff, Failure> {
        let path = |subject, what| format!("{}/{what}?dry_run={dry_run}", path_of(subject));
        match self {
            Self::Set(change) => fleet.post(&format!("/quotas?dry_run={dry_run}"), change).await,
            Self::Rollback(request) => fleet.post(&path(&request.subject, "rollback"), request).await,
            Self::Boost(request) => fleet.post(&path(&request.subject, "boost"), request).await,
            Self::EndBoost(request) => fleet.post(&path(&request.subject, "boost/end"), request).await,
        }
    }

    /// Has the change refused if somebody else was faster.
    fn on_version(&mut self, version: Option<u64>) {
        let signed = match self {
            Self::Set(change) => &mut change.signed,
            Self::Rollback(request) => &mut request.signed,
            Self::Boost(request) => &mut request.signed,
            Self::EndBoost(request) => &mut request.signed,
        };
        signed.expected_version = version;
    }
}

/// `weir quota set`.
pub(super) async fn set(reach: &Reach, args: SetArgs) -> Result<(), Failure> {
    let subject = subject_of(&args.subject)?;
    let fleet = Fleet::find(reach).await?;
    let present: BTreeMap<QuotaKind, QuotaState> = if args.burst_seconds.is_some() {
        let states: Vec<QuotaState> = fleet.get(&path_of(&subject)).await?;
        states.into_iter().map(|state| (state.kind, state)).collect()
    } else {
        BTreeMap::new()
    };
    let mut steps = Vec::new();
    for kind in kinds(&args) {
        let change = wanted(&subject, kind, &args, present.get(&kind))?;
        steps.push(Step::Set(change));
    }
    carry_out(reach, &fleet, steps, &args.change).await
}

/// The kinds that a `set` is about: those whose rate is named; otherwise the named one, or both.
fn kinds(args: &SetArgs) -> Vec<QuotaKind> {
    let named = |kind| match kind {
        QuotaKind::Read => args.read.is_some(),
        QuotaKind::Write => args.write.is_some(),
    };
    let any = QuotaKind::ALL.into_iter().any(named);
    let wanted = |kind: &QuotaKind| {
        named(*kind) || (args.kind.is_some() && concerns(args.kind, *kind)) || (!any && args.kind.is_none())
    };
    QuotaKind::ALL.into_iter().filter(wanted).collect()
}

fn wanted(
    subject: &QuotaSubject,
    kind: QuotaKind,
    args: &SetArgs,
    present: Option<&QuotaState>,
) -> Result<QuotaChange, Failure> {
    let mut change = QuotaChange::of(subject.clone(), kind, signed(&args.change));
    let rate = if kind == QuotaKind::Read { args.read } else { args.write };
    match rate {
        Some(Limit::To(rate)) => change.rate = Some(rate),
        Some(Limit::None) => change.mode = Some(QuotaMode::Unlimited),
        None => {}
    }
    // What has no kind of its own is for the named one.
    if args.kind.is_some() && !concerns(args.kind, kind) {
        return Ok(change);
    }
    change.mode = change.mode.or(args.mode.map(|mode| match mode {
        args::Mode::Provisioned => QuotaMode::Provisioned,
        args::Mode::OnDemand => QuotaMode::OnDemand,
        args::Mode::Operator => QuotaMode::Operator,
    }));
    if let Some(seconds) = args.burst_seconds {
        let rate = change.rate.or(present.map(|state| state.current.lasting_terms().rate));
        let rate = rate.filter(|rate| *rate > 0).ok_or_else(|| {
            Failure::Refused(format!("{subject} has no {kind} quota: say its rate with its --burst-seconds"))
        })?;
        change.burst = Some((seconds != USUAL_BURST_SECONDS).then(|| rate.saturating_mul(seconds)));
    }
    change.weight = args.weight;
    change.floor = args.floor;
    change.cap = args.cap.map(|cap| match cap {
        Limit::To(cap) => Some(cap),
        Limit::None => None,
    });
    change.priority = args.priority;
    change.outage = args.outage.map(|policy| match policy {
        args::Outage::Strict => Outage::Strict,
        args::Outage::Static => Outage::Static,
        args::Outage::Open => Outage::Open,
    });
    change.shadow = args.shadow.map(|switch| switch == args::Switch::On);
    Ok(change)
}

/// `weir quota rollback`.
pub(super) async fn rollback(
    reach: &Reach,
    subject: &QuotaSubject,
    to: Option<u64>,
    kind: Option<Kind>,
    change: &ChangeArgs,
) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    let mut steps = Vec::new();
    for history in histories(&fleet, subject).await? {
        let version = to.or_else(|| before_last_change(&history.versions));
        let Some(version) = version.filter(|_| concerns(kind, history.kind)) else { continue };
        let request =
            RollbackRequest { subject: subject.clone(), kind: history.kind, version, signed: signed(change) };
        steps.push(Step::Rollback(request));
    }
    if steps.is_empty() {
        return Err(Failure::NotFound(format!("{subject} has no earlier version to go back to")));
    }
    carry_out(reach, &fleet, steps, change).await
}

/// The newest version that said something else, boosts aside: going back to a boost's end undoes nothing.
fn before_last_change(versions: &[QuotaVersion]) -> Option<u64> {
    let now = versions.last()?.lasting_terms();
    versions.iter().rev().find(|it| it.lasting_terms() != now).map(|it| it.version)
}

/// `weir quota boost`.
pub(super) async fn boost(
    reach: &Reach,
    subject: &QuotaSubject,
    wanted: &BoostArgs,
    change: &ChangeArgs,
) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    let steps = match wanted.lasting {
        Some(lasting) => boosts(subject, wanted, lasting, change),
        None => ends(&fleet, subject, change).await?,
    };
    carry_out(reach, &fleet, steps, change).await
}

fn boosts(subject: &QuotaSubject, wanted: &BoostArgs, lasting: Duration, change: &ChangeArgs) -> Vec<Step> {
    let to = |kind| match (wanted.factor, kind) {
        (Some(factor), _) => Some(BoostRate::Factor(factor)),
        (None, QuotaKind::Read) => wanted.read.map(BoostRate::Rate),
        (None, QuotaKind::Write) => wanted.write.map(BoostRate::Rate),
    };
    let mut steps = Vec::new();
    for kind in QuotaKind::ALL {
        let Some(to) = to(kind) else { continue };
        let request = BoostRequest {
            subject: subject.clone(),
            kind,
            to,
            for_ms: u64::try_from(lasting.as_millis()).unwrap_or(u64::MAX),
            signed: signed(change),
        };
        steps.push(Step::Boost(request));
    }
    steps
}

/// The end of every boost that a subject has.
async fn ends(fleet: &Fleet, subject: &QuotaSubject, change: &ChangeArgs) -> Result<Vec<Step>, Failure> {
    let states: Vec<QuotaState> = fleet.get(&path_of(subject)).await?;
    let mut steps = Vec::new();
    for state in states.into_iter().filter(|state| state.current.boost.is_some()) {
        let request = EndBoostRequest { subject: subject.clone(), kind: state.kind, signed: signed(change) };
        steps.push(Step::EndBoost(request));
    }
    match steps.is_empty() {
        false => Ok(steps),
        true => Err(Failure::NotFound(format!("{subject} is not boosted"))),
    }
}

fn signed(change: &ChangeArgs) -> Signed {
    Signed { author: change.author.clone(), reason: change.reason.clone(), expected_version: None }
}

/// Shows what the steps would change, asks, makes them, and waits until they are in force.
async fn carry_out(
    reach: &Reach,
    fleet: &Fleet,
    mut steps: Vec<Step>,
    change: &ChangeArgs,
) -> Result<(), Failure> {
    let mut planned = Vec::new();
    for step in &mut steps {
        let diff = step.ask(fleet, true).await?;
        step.on_version(diff.from_version);
        planned.push(diff);
    }
    let people = reach.output == OutputFormat::Table;
    let shown = planned.iter().map(quota_text::diff).collect::<Vec<_>>().join("\n\n");
    if people {
        figure::print(&shown)?;
    } else if asks(change) && !change.dry_run {
        // Who is asked sees what for; what programs read stays JSON.
        eprintln!("{shown}");
    }
    let changes_nothing = planned.iter().all(|diff| diff.to_version.is_none());
    if change.dry_run || changes_nothing {
        if !people {
            figure::print(serde_json::to_string(&planned)?)?;
        }
        return Ok(());
    }
    confirm(change)?;
    let began = wire::clock::now();
    let mut made = Vec::new();
    for step in steps {
        made.push(step.ask(fleet, false).await?);
    }
    let place = in_force::wait(fleet, &made).await?;
    let took = u64::try_from(wire::clock::now().since(began).as_millis()).unwrap_or(u64::MAX);
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&made)?)?,
        OutputFormat::Table => figure::print(place.told(took))?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use control_plane::quota::{Boost, QuotaCause, QuotaTerms};

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::operator::args::QuotaCommand;

    #[test]
    fn what_has_no_kind_of_its_own_is_for_the_kinds_whose_rate_is_named() {
        assert_eq!(kinds(&parse(&["--write", "5"])), [QuotaKind::Write]);
        assert_eq!(kinds(&parse(&["--read", "5", "--write", "5"])), QuotaKind::ALL);
        assert_eq!(kinds(&parse(&["--shadow", "on"])), QuotaKind::ALL);
        assert_eq!(kinds(&parse(&["--shadow", "on", "--kind", "read"])), [QuotaKind::Read]);
        let both = parse(&["--write", "5", "--shadow", "on", "--kind", "read"]);
        assert_eq!(kinds(&both), QuotaKind::ALL);
        let subject = subject_of("table/orders").unwrap();
        let change = |kind| wanted(&subject, kind, &both, None).unwrap();
        assert_eq!((change(QuotaKind::Write).rate, change(QuotaKind::Write).shadow), (Some(5), None));
        assert_eq!((change(QuotaKind::Read).rate, change(QuotaKind::Read).shadow), (None, Some(true)));
    }

    #[test]
    fn a_burst_in_seconds_is_of_the_new_rate_and_300_is_the_usual_one() {
        let subject = subject_of("table/orders").unwrap();
        let burst = |words: &[&str]| {
            wanted(&subject, QuotaKind::Write, &parse(words), None).map(|change| change.burst)
        };
        assert_eq!(burst(&["--write", "400", "--burst-seconds", "2"]).unwrap(), Some(Some(800)));
        assert_eq!(burst(&["--write", "400", "--burst-seconds", "300"]).unwrap(), Some(None));
        assert_eq!(burst(&["--write", "400"]).unwrap(), None);
        assert!(matches!(burst(&["--burst-seconds", "2"]), Err(Failure::Refused(_))));
    }

    #[test]
    fn no_limit_is_said_by_its_name() {
        let subject = subject_of("principal/alice").unwrap();
        let change = wanted(&subject, QuotaKind::Read, &parse(&["--read", "none"]), None).unwrap();
        assert_eq!((change.mode, change.rate), (Some(QuotaMode::Unlimited), None));
    }

    #[test]
    fn a_rollback_goes_back_beyond_boosts_that_are_over() {
        let lasting = |rate| QuotaTerms::of(QuotaMode::Provisioned, rate);
        let boosted = Boost { until_ms: 1, returns_to: lasting(200) };
        let versions = [
            version(1, lasting(100), None),
            version(2, lasting(200), None),
            version(3, lasting(900), Some(boosted)),
            version(4, lasting(200), None),
        ];
        assert_eq!(before_last_change(&versions), Some(1));
        assert_eq!(before_last_change(&versions[..1]), None);
    }

    fn version(version: u64, terms: QuotaTerms, boost: Option<Boost>) -> QuotaVersion {
        QuotaVersion {
            version,
            terms,
            boost,
            cause: QuotaCause::Set,
            author: "me".to_owned(),
            reason: String::new(),
            at_ms: 0,
        }
    }

    fn parse(words: &[&str]) -> SetArgs {
        let line = ["weir", "quota", "set", "table/orders"].iter().chain(words).copied();
        match Cli::try_parse_from(line).unwrap().command {
            Command::Quota(quota) => match quota.command {
                QuotaCommand::Set(set) => *set,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }
}
