//! `weir quota`: what quotas are, what they were, and changing them.

use control_plane::quota::{
    QuotaEvent, QuotaHistory, QuotaKind, QuotaState, QuotaSubject, QuotaVersion, WatchAnswer,
};

use super::args::{Kind, QuotaArgs, QuotaCommand};
use super::failure::Failure;
use super::figure;
use super::fleet::{Fleet, Reach};
use super::{quota_change, quota_text};
use crate::cli::OutputFormat;

/// `weir quota …`.
pub(crate) async fn run(args: QuotaArgs) -> Result<(), Failure> {
    let QuotaArgs { reach, command } = args;
    match command {
        QuotaCommand::List => list(&reach, "/quotas").await,
        QuotaCommand::Get { subject } => list(&reach, &path_of(&subject_of(&subject)?)).await,
        QuotaCommand::Set(set) => quota_change::set(&reach, *set).await,
        QuotaCommand::Diff { subject, from, to, kind } => {
            diff(&reach, &subject_of(&subject)?, from, to, kind).await
        }
        QuotaCommand::History { subject } => history(&reach, &subject_of(&subject)?).await,
        QuotaCommand::Rollback { subject, to, kind, change } => {
            quota_change::rollback(&reach, &subject_of(&subject)?, to, kind, &change).await
        }
        QuotaCommand::Boost { subject, wanted, change } => {
            quota_change::boost(&reach, &subject_of(&subject)?, &wanted, &change).await
        }
        QuotaCommand::Watch { since, once } => watch(&reach, since, once).await,
    }
}

/// Whose quota a command is about.
pub(super) fn subject_of(text: &str) -> Result<QuotaSubject, Failure> {
    text.parse().map_err(|error: control_plane::quota::MalformedSubject| Failure::Refused(error.to_string()))
}

/// Where the operators' API has a subject's quotas: its text is one segment of the path.
pub(super) fn path_of(subject: &QuotaSubject) -> String {
    let mut path = String::from("/quotas/");
    for byte in subject.to_string().bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                path.push(char::from(byte))
            }
            other => path.push_str(&format!("%{other:02X}")),
        }
    }
    path
}

/// Whether a command is about this kind.
pub(super) fn concerns(wanted: Option<Kind>, kind: QuotaKind) -> bool {
    match wanted {
        None => true,
        Some(Kind::Read) => kind == QuotaKind::Read,
        Some(Kind::Write) => kind == QuotaKind::Write,
    }
}

/// The history of each kind that a subject has.
pub(super) async fn histories(fleet: &Fleet, subject: &QuotaSubject) -> Result<Vec<QuotaHistory>, Failure> {
    let histories: Vec<QuotaHistory> = fleet.get(&format!("{}/history", path_of(subject))).await?;
    match histories.is_empty() {
        false => Ok(histories),
        true => Err(Failure::NotFound(format!("{subject} has no quota"))),
    }
}

async fn list(reach: &Reach, path: &str) -> Result<(), Failure> {
    let quotas: Vec<QuotaState> = Fleet::find(reach).await?.get(path).await?;
    if quotas.is_empty() && path != "/quotas" {
        return Err(Failure::NotFound(
            "there is no such quota: it was never set, and nothing is limited".into(),
        ));
    }
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&quotas)?)?,
        OutputFormat::Table => figure::print(quota_text::quotas(&quotas))?,
    }
    Ok(())
}

async fn history(reach: &Reach, subject: &QuotaSubject) -> Result<(), Failure> {
    let histories = histories(&Fleet::find(reach).await?, subject).await?;
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&histories)?)?,
        OutputFormat::Table => figure::print(quota_text::histories(&histories))?,
    }
    Ok(())
}

async fn diff(
    reach: &Reach,
    subject: &QuotaSubject,
    from: Option<u64>,
    to: Option<u64>,
    kind: Option<Kind>,
) -> Result<(), Failure> {
    let histories = histories(&Fleet::find(reach).await?, subject).await?;
    let mut blocks = Vec::new();
    let mut json = Vec::new();
    for history in histories.iter().filter(|history| concerns(kind, history.kind)) {
        let (old, new) = between(&history.versions, from, to).map_err(|version| missing(history, version))?;
        let changes = quota_text::changes(old, new);
        blocks.push(format!(
            "{subject} {}, version {} → {}\n{}",
            history.kind,
            old.map_or_else(|| "none".to_owned(), |old| old.version.to_string()),
            new.version,
            quota_text::lines(&changes, new.terms.rate)
        ));
        json.push(serde_json::json!({
            "subject": subject,
            "kind": history.kind,
            "from": old,
            "to": new,
            "changes": changes,
        }));
    }
    match reach.output {
        OutputFormat::Json => figure::print(serde_json::to_string(&json)?)?,
        OutputFormat::Table => figure::print(blocks.join("\n\n"))?,
    }
    Ok(())
}

/// The two versions to compare; the version that the history does not have, if it lacks one.
fn between(
    versions: &[QuotaVersion],
    from: Option<u64>,
    to: Option<u64>,
) -> Result<(Option<&QuotaVersion>, &QuotaVersion), u64> {
    let position = |wanted: u64| versions.iter().position(|it| it.version == wanted).ok_or(wanted);
    let newer = match to {
        Some(to) => position(to)?,
        None => versions.len().checked_sub(1).ok_or(0_u64)?,
    };
    let older = match from {
        Some(from) => Some(position(from)?),
        None => newer.checked_sub(1),
    };
    Ok((older.map(|at| &versions[at]), &versions[newer]))
}

fn missing(history: &QuotaHistory, version: u64) -> Failure {
    let known = history.versions.first().zip(history.versions.last());
    let known = known.map_or_else(String::new, |(oldest, newest)| {
        format!(": it goes from {} to {}", oldest.version, newest.version)
    });
    Failure::NotFound(format!(
        "the history of {} {} has no version {version}{known}",
        history.subject, history.kind
    ))
}

async fn watch(reach: &Reach, since: Option<u64>, once: bool) -> Result<(), Failure> {
    let fleet = Fleet::find(reach).await?;
    // Without a point to go on from, it begins with what comes next.
    let mut since = match since {
        Some(since) => since,
        None => fleet.get::<WatchAnswer>("/quotas/watch").await?.revision,
    };
    loop {
        let answer: WatchAnswer = fleet.get(&format!("/quotas/watch?since={since}")).await?;
        since = answer.revision;
        match reach.output {
            OutputFormat::Json if answer.changes.is_empty() => {}
            OutputFormat::Json => figure::print(serde_json::to_string(&answer)?)?,
            OutputFormat::Table => {
                if answer.reset {
                    figure::print(
                        "(what happened before is not known any more; what follows is in force now)",
                    )?;
                }
                for event in &answer.changes {
                    figure::print(described(event))?;
                }
            }
        }
        if once && !answer.changes.is_empty() {
            return Ok(());
        }
    }
}

fn described(event: &QuotaEvent) -> String {
    match event {
        QuotaEvent::Changed(state) => format!(
            "{}  {} {}  {}",
            figure::time(state.current.at_ms),
            state.subject,
            state.kind,
            quota_text::version(&state.current)
        ),
        QuotaEvent::Removed(subject) => format!("{subject} is gone"),
    }
}

#[cfg(test)]
mod tests {
    use control_plane::quota::{QuotaCause, QuotaMode, QuotaTerms};

    use super::*;

    #[test]
    fn a_subject_is_one_segment_of_a_path() {
        let path = |text: &str| path_of(&subject_of(text).unwrap());
        assert_eq!(path("table/orders.v-1_2"), "/quotas/table%2Forders.v-1_2");
        assert_eq!(path("principal/arn:aws/x?y"), "/quotas/principal%2Farn%3Aaws%2Fx%3Fy");
        assert!(matches!(subject_of("orders"), Err(Failure::Refused(_))));
    }

    #[test]
    fn by_default_the_last_change_is_compared() {
        let versions = [version(3), version(4), version(5)];
        let numbers = |from, to| {
            between(&versions, from, to).map(|(old, new)| (old.map(|old| old.version), new.version))
        };
        assert_eq!(numbers(None, None), Ok((Some(4), 5)));
        assert_eq!(numbers(None, Some(4)), Ok((Some(3), 4)));
        assert_eq!(numbers(Some(3), None), Ok((Some(3), 5)));
        assert_eq!(numbers(None, Some(3)), Ok((None, 3)));
        assert_eq!(numbers(Some(2), None), Err(2));
    }

    fn version(version: u64) -> QuotaVersion {
        QuotaVersion {
            version,
            terms: QuotaTerms::of(QuotaMode::Operator, 100),
            boost: None,
            cause: QuotaCause::Set,
            author: "me".to_owned(),
            reason: String::new(),
            at_ms: 0,
        }
    }
}
