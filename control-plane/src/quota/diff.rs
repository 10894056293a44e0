//! What a change changes, field by field.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{QuotaKind, QuotaState, QuotaSubject, QuotaTerms, QuotaVersion};

/// A change of a quota: made, or only shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuotaDiff {
    /// Whose quota.
    pub subject: QuotaSubject,
    /// Of which capacity.
    pub kind: QuotaKind,
    /// The version before; none: there was no quota.
    pub from_version: Option<u64>,
    /// The new version; none: nothing changes, and nothing was written.
    pub to_version: Option<u64>,
    /// The fields that differ.
    pub changes: Vec<FieldChange>,
    /// It was only shown, not made.
    pub dry_run: bool,
    /// The quota in force after it.
    pub state: QuotaState,
}

/// One field's old and new value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldChange {
    /// As [`QuotaTerms`] calls it; `boost_until_ms` for a boost's end.
    pub field: String,
    /// The value before; null: none.
    pub old: Value,
    /// The value after; null: none.
    pub new: Value,
}

/// The fields that differ between two versions.
pub(crate) fn changes(old: Option<&QuotaVersion>, new: &QuotaVersion) -> Vec<FieldChange> {
    let before = old.map(|old| fields(&old.terms)).unwrap_or_default();
    let mut changes: Vec<FieldChange> = fields(&new.terms)
        .into_iter()
        .map(|(field, new)| FieldChange {
            old: before.iter().find(|(known, _)| *known == field).map_or(Value::Null, |(_, old)| old.clone()),
            field: field.to_owned(),
            new,
        })
        .collect();
    let until = |version: &QuotaVersion| version.boost.as_ref().map_or(Value::Null, |it| it.until_ms.into());
    changes.push(FieldChange {
        field: "boost_until_ms".to_owned(),
        old: old.map_or(Value::Null, until),
        new: until(new),
    });
    changes.retain(|change| change.old != change.new);
    changes
}

fn fields(terms: &QuotaTerms) -> [(&'static str, Value); 9] {
    let json = |value: Result<Value, serde_json::Error>| value.expect("names of variants are JSON");
    [
        ("mode", json(serde_json::to_value(terms.mode))),
        ("rate", terms.rate.into()),
        ("burst", terms.burst.into()),
        ("outage", json(serde_json::to_value(terms.outage))),
        ("shadow", terms.shadow.into()),
        ("weight", terms.weight.into()),
        ("floor", terms.floor.into()),
        ("cap", terms.cap.into()),
        ("priority", terms.priority.into()),
    ]
}
