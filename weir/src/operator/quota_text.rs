//! Quotas, their versions and their differences as people read them.

use control_plane::quota::{
    FieldChange, Outage, QuotaCause, QuotaDiff, QuotaHistory, QuotaMode, QuotaState, QuotaTerms, QuotaVersion,
};
use serde_json::Value;

use super::figure;

/// Seconds of rate that are banked unless an operator says otherwise.
pub(super) const USUAL_BURST_SECONDS: u64 = 300;

/// A table of quotas.
pub(super) fn quotas(quotas: &[QuotaState]) -> String {
    let mut table = figure::table(&[
        "SUBJECT", "CAPACITY", ">UNITS/S", ">BURST", "MODE", ">VERSION", "CHANGED", "BY", "NOTES",
    ]);
    for quota in quotas {
        let terms = &quota.current.terms;
        table.add_row([
            quota.subject.to_string(),
            quota.kind.to_string(),
            rate(terms),
            burst(terms),
            mode(terms.mode).to_owned(),
            quota.current.version.to_string(),
            figure::time(quota.current.at_ms),
            quota.current.author.clone(),
            notes(&quota.current).join(", "),
        ]);
    }
    figure::trimmed(&table)
}

/// Each kind's versions, the newest first, each with what it changed.
pub(super) fn histories(histories: &[QuotaHistory]) -> String {
    let blocks = histories.iter().map(|history| {
        let mut table = figure::table(&[">VERSION", "WHEN", "BY", "CAUSE", "CHANGED", "REASON"]);
        for (index, version) in history.versions.iter().enumerate().rev() {
            let before = index.checked_sub(1).map(|index| &history.versions[index]);
            // The oldest that is kept has nothing to be compared with.
            let changed = match before {
                Some(before) => one_line(&changes(Some(before), version), version.terms.rate),
                None => format!("{} units/s", rate(&version.terms)),
            };
            table.add_row([
                version.version.to_string(),
                figure::time(version.at_ms),
                version.author.clone(),
                cause(version.cause),
                changed,
                version.reason.clone(),
            ]);
        }
        format!("{} {}\n{}", history.subject, history.kind, figure::trimmed(&table))
    });
    blocks.collect::<Vec<_>>().join("\n\n")
}

/// One version in one line.
pub(super) fn version(version: &QuotaVersion) -> String {
    let mut words = vec![format!(
        "version {}: {} units/s, burst {}",
        version.version,
        rate(&version.terms),
        burst(&version.terms)
    )];
    words.extend(notes(version));
    let reason = if version.reason.is_empty() { String::new() } else { format!(": {}", version.reason) };
    format!("{} ({} by {}{reason})", words.join(", "), cause(version.cause), version.author)
}

/// A change before it is made, or after.
pub(super) fn diff(diff: &QuotaDiff) -> String {
    let from = diff.from_version.map_or_else(|| "none".to_owned(), |version| version.to_string());
    let head = match diff.to_version {
        None => return format!("{} {}: nothing changes (version {from})", diff.subject, diff.kind),
        Some(to) => format!("{} {}, version {from} → {to}", diff.subject, diff.kind),
    };
    let changes: Vec<_> = match diff.from_version {
        Some(_) => diff.changes.clone(),
        // Of a new quota, what is as usual says nothing.
        None => diff.changes.iter().filter(|change| !is_usual(change)).cloned().collect(),
    };
    format!("{head}\n{}", lines(&changes, diff.state.current.terms.rate))
}

fn is_usual(change: &FieldChange) -> bool {
    let usual = serde_json::to_value(QuotaTerms::of(QuotaMode::Unlimited, 0)).unwrap_or_default();
    change.field != "mode" && usual.get(&change.field) == Some(&change.new)
}

/// One change per line. `rate` is the newer version's.
pub(super) fn lines(changes: &[FieldChange], rate: u64) -> String {
    let before = rate_before(changes, rate);
    let width = changes.iter().map(|change| name(&change.field).len()).max().unwrap_or(0);
    let line = |change: &FieldChange| {
        let (old, new) = (value(change, &change.old, before), value(change, &change.new, rate));
        format!("  {:<width$}  {old} → {new}", name(&change.field))
    };
    match changes.is_empty() {
        true => "  nothing differs".to_owned(),
        false => changes.iter().map(line).collect::<Vec<_>>().join("\n"),
    }
}

fn one_line(changes: &[FieldChange], rate: u64) -> String {
    let before = rate_before(changes, rate);
    let word = |change: &FieldChange| {
        let (old, new) = (value(change, &change.old, before), value(change, &change.new, rate));
        format!("{} {old} → {new}", name(&change.field))
    };
    match changes.is_empty() {
        true => "-".to_owned(),
        false => changes.iter().map(word).collect::<Vec<_>>().join(", "),
    }
}

/// The older version's rate: a burst is told in seconds of its own version's.
fn rate_before(changes: &[FieldChange], rate: u64) -> u64 {
    let changed = changes.iter().find(|change| change.field == "rate");
    changed.map_or(rate, |change| change.old.as_u64().unwrap_or(0))
}

/// The fields that differ between two versions.
pub(super) fn changes(old: Option<&QuotaVersion>, new: &QuotaVersion) -> Vec<FieldChange> {
    let (before, after) = (old.map(fields).unwrap_or_default(), fields(new));
    after
        .into_iter()
        .map(|(field, new)| {
            let old = before.iter().find(|(known, _)| *known == field);
            FieldChange { old: old.map_or(Value::Null, |(_, old)| old.clone()), field, new }
        })
        .filter(|change| change.old != change.new)
        .collect()
}

/// A version's terms by name, as JSON has them, and its boost's end.
fn fields(version: &QuotaVersion) -> Vec<(String, Value)> {
    let terms = serde_json::to_value(&version.terms).expect("terms are JSON");
    let Value::Object(terms) = terms else { unreachable!("terms are an object") };
    let until = version.boost.as_ref().map_or(Value::Null, |boost| boost.until_ms.into());
    // Rates first: they are what most changes are about.
    let mut fields: Vec<_> = terms.into_iter().chain([("boost_until_ms".to_owned(), until)]).collect();
    fields.sort_by_key(|(field, _)| field != "rate");
    fields
}

fn name(field: &str) -> &str {
    match field {
        "rate" => "units/s",
        "boost_until_ms" => "boost until",
        other => other,
    }
}

fn value(change: &FieldChange, value: &Value, rate: u64) -> String {
    match (change.field.as_str(), value) {
        ("boost_until_ms", Value::Number(ms)) => figure::time(ms.as_u64().unwrap_or(0)),
        ("boost_until_ms" | "cap", Value::Null) => "none".to_owned(),
        // What is not limited has no rate.
        ("rate", Value::Number(units)) if units.as_u64() == Some(0) => "none".to_owned(),
        ("burst", Value::Null) => format!("{USUAL_BURST_SECONDS} s of the rate"),
        ("burst", Value::Number(units)) => {
            let units = units.as_u64().unwrap_or(0);
            let seconds = match rate {
                0 => String::new(),
                rate if units.is_multiple_of(rate) => format!(" ({} s)", units / rate),
                _ => String::new(),
            };
            format!("{}{seconds}", figure::whole(units))
        }
        (_, Value::Number(units)) => units.as_u64().map_or_else(|| units.to_string(), figure::whole),
        (_, Value::Bool(true)) => "on".to_owned(),
        (_, Value::Bool(false)) => "off".to_owned(),
        (_, Value::String(text)) => text.replace('_', "-"),
        (_, Value::Null) => "none".to_owned(),
        (_, other) => other.to_string(),
    }
}

fn rate(terms: &QuotaTerms) -> String {
    match terms.mode {
        QuotaMode::Unlimited => "unlimited".to_owned(),
        _ => figure::whole(terms.rate),
    }
}

fn burst(terms: &QuotaTerms) -> String {
    match (terms.mode, terms.burst) {
        (QuotaMode::Unlimited, _) => "-".to_owned(),
        (_, Some(burst)) => figure::whole(burst),
        (_, None) => figure::whole(terms.rate.saturating_mul(USUAL_BURST_SECONDS)),
    }
}

const fn mode(mode: QuotaMode) -> &'static str {
    match mode {
        QuotaMode::Provisioned => "provisioned",
        QuotaMode::OnDemand => "on-demand",
        QuotaMode::Operator => "operator",
        QuotaMode::Unlimited => "unlimited",
    }
}

fn cause(cause: QuotaCause) -> String {
    match cause {
        QuotaCause::CreateTable => "CreateTable".to_owned(),
        QuotaCause::UpdateTable => "UpdateTable".to_owned(),
        QuotaCause::Set => "set".to_owned(),
        QuotaCause::Boost => "boost".to_owned(),
        QuotaCause::BoostEnded => "boost ended".to_owned(),
        QuotaCause::BoostExpired => "boost expired".to_owned(),
        QuotaCause::Rollback(to) => format!("rollback to {to}"),
        QuotaCause::OnDemand => "on-demand peak".to_owned(),
    }
}

/// What is not as usual.
fn notes(version: &QuotaVersion) -> Vec<String> {
    let terms = &version.terms;
    let mut notes = Vec::new();
    if let Some(boost) = &version.boost {
        notes.push(format!(
            "boosted until {}, then {}",
            figure::time(boost.until_ms),
            rate(&boost.returns_to)
        ));
    }
    if terms.shadow {
        notes.push("shadow".to_owned());
    }
    match terms.outage {
        Outage::Strict => {}
        Outage::Static => notes.push("outage static".to_owned()),
        Outage::Open => notes.push("outage open".to_owned()),
    }
    if terms.weight != 1 {
        notes.push(format!("weight {}", terms.weight));
    }
    if terms.floor > 0 {
        notes.push(format!("floor {}", figure::whole(terms.floor)));
    }
    if let Some(cap) = terms.cap {
        notes.push(format!("cap {}", figure::whole(cap)));
    }
    if terms.priority > 0 {
        notes.push(format!("priority {}", terms.priority));
    }
    notes
}

#[cfg(test)]
mod tests {
    use control_plane::quota::Boost;

    use super::*;

    #[test]
    fn a_change_is_shown_field_by_field_with_the_rate_first() {
        let old = version(7, QuotaTerms::of(QuotaMode::Provisioned, 1000));
        let new = version(
            8,
            QuotaTerms { burst: Some(2500), shadow: true, ..QuotaTerms::of(QuotaMode::Provisioned, 2500) },
        );

        let shown = lines(&changes(Some(&old), &new), 2500);

        assert_eq!(
            shown,
            "  units/s  1,000 → 2,500\n  burst    300 s of the rate → 2,500 (1 s)\n  shadow   off → on"
        );
        assert_eq!(one_line(&changes(Some(&old), &old), 1000), "-");
        assert_eq!(lines(&changes(Some(&old), &old), 1000), "  nothing differs");
        let unlimited = version(9, QuotaTerms::of(QuotaMode::Unlimited, 0));
        let removed = lines(&changes(Some(&old), &unlimited), 0);
        assert_eq!(removed, "  units/s  1,000 → none\n  mode     provisioned → unlimited");
        let back = lines(&changes(Some(&new), &old), 1000);
        assert!(back.contains("2,500 (1 s) → 300 s of the rate"), "{back}");
    }

    #[test]
    fn what_is_not_as_usual_is_noted() {
        let lasting = QuotaTerms { weight: 4, floor: 100, ..QuotaTerms::of(QuotaMode::Provisioned, 1000) };
        let mut boosted = version(9, QuotaTerms { rate: 5000, ..lasting.clone() });
        boosted.boost = Some(Boost { until_ms: 1_700_000_000_000, returns_to: lasting });
        assert_eq!(
            notes(&boosted),
            ["boosted until 2023-11-14T22:13:20Z, then 1,000", "weight 4", "floor 100"]
        );
        assert!(notes(&version(1, QuotaTerms::of(QuotaMode::Provisioned, 1))).is_empty());
    }

    fn version(version: u64, terms: QuotaTerms) -> QuotaVersion {
        QuotaVersion {
            version,
            terms,
            boost: None,
            cause: QuotaCause::Set,
            author: "me".to_owned(),
            reason: String::new(),
            at_ms: 0,
        }
    }
}
