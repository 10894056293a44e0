//! From a quota's terms and a wanted change to the new terms, or why not. Pure.

use dynamodb::table::TABLE_MAX_UNITS;

use super::{
    BoostRate, MAX_BURST_UNITS, MAX_UNITS, QuotaChange, QuotaError, QuotaMode, QuotaSubject, QuotaTerms,
    Signed,
};

/// What a subject's rate may follow, beside an operator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Basis {
    /// The table's provisioned throughput: units per second now.
    Provisioned(u64),
    /// The on-demand table's own rate: units per second now.
    OnDemand(u64),
    /// Nothing: the account's and the principals' rates are operators' only.
    Operators,
}

/// New lasting terms.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FieldsApplied {
    pub(crate) terms: QuotaTerms,
    /// The change is about what a boost has raised.
    pub(crate) ends_boost: bool,
}

/// A thousandfold difference between two tables' shares of their account.
const MAX_WEIGHT: u32 = 1000;
/// Bounds of what people write into a record, in bytes.
const MAX_AUTHOR_BYTES: usize = 256;
const MAX_REASON_BYTES: usize = 1024;

/// `base` (none: there is no quota yet) with what `change` gives.
pub(crate) fn apply(
    base: Option<&QuotaTerms>,
    basis: Basis,
    change: &QuotaChange,
) -> Result<FieldsApplied, QuotaError> {
    let mode = wanted_mode(base, basis, change)?;
    let base_rate = base.filter(|base| base.mode != QuotaMode::Unlimited).map(|base| base.rate);
    let rate = match mode {
        QuotaMode::Unlimited => 0,
        QuotaMode::OnDemand => match (basis, base) {
            (Basis::OnDemand(rate), _) => rate,
            _ => return Err(QuotaError::invalid("mode", "the table's billing is not on demand")),
        },
        QuotaMode::Provisioned => match basis {
            Basis::Provisioned(units) => change.rate.unwrap_or(units),
            _ => return Err(QuotaError::invalid("mode", "the table's billing is not provisioned")),
        },
        QuotaMode::Operator => change
            .rate
            .or(base_rate)
            .ok_or_else(|| QuotaError::invalid("rate", "a quota that was not there needs a rate"))?,
    };
    if matches!(mode, QuotaMode::OnDemand | QuotaMode::Unlimited) && change.rate.is_some() {
        let message = "a rate needs the mode operator (or provisioned, as the table's billing)";
        return Err(QuotaError::invalid("rate", message));
    }
    let base = base.cloned().unwrap_or_else(|| QuotaTerms::of(mode, rate)).at_rate(rate);
    let terms = QuotaTerms {
        mode,
        rate,
        burst: change.burst.unwrap_or(base.burst),
        outage: change.outage.unwrap_or(base.outage),
        shadow: change.shadow.unwrap_or(base.shadow),
        weight: change.weight.unwrap_or(base.weight),
        floor: change.floor.unwrap_or(base.floor),
        cap: change.cap.unwrap_or(base.cap),
        priority: change.priority.unwrap_or(base.priority),
    };
    let ends_boost = change.mode.is_some() || change.rate.is_some() || change.burst.is_some();
    Ok(FieldsApplied { terms, ends_boost })
}

fn wanted_mode(
    base: Option<&QuotaTerms>,
    basis: Basis,
    change: &QuotaChange,
) -> Result<QuotaMode, QuotaError> {
    match (change.mode, basis) {
        (Some(QuotaMode::Unlimited), Basis::Provisioned(_) | Basis::OnDemand(_)) => {
            Err(QuotaError::invalid("mode", "a table is never unlimited"))
        }
        (Some(mode), _) => Ok(mode),
        (None, Basis::Provisioned(_)) if base.is_none_or(|base| base.mode == QuotaMode::Provisioned) => {
            Ok(QuotaMode::Provisioned)
        }
        (None, _) if change.rate.is_some() => Ok(QuotaMode::Operator),
        (None, _) => Ok(base.map_or(QuotaMode::Operator, |base| base.mode)),
    }
}

/// Whether a subject's quota may say this.
///
/// # Errors
/// The first thing that cannot be.
pub(crate) fn check_terms(subject: &QuotaSubject, terms: &QuotaTerms) -> Result<(), QuotaError> {
    let limit = match subject {
        QuotaSubject::Table(_) | QuotaSubject::Index { .. } => TABLE_MAX_UNITS,
        QuotaSubject::Account | QuotaSubject::Principal(_) => MAX_UNITS,
    };
    if terms.rate == 0 && terms.mode != QuotaMode::Unlimited {
        return Err(QuotaError::invalid("rate", "must be at least 1 unit per second"));
    }
    if terms.rate > limit {
        return Err(QuotaError::LimitExceeded { asked: terms.rate, limit });
    }
    if terms.burst.is_some_and(|burst| !(1..=MAX_BURST_UNITS).contains(&burst)) {
        return Err(QuotaError::invalid("burst", format!("must be from 1 to {MAX_BURST_UNITS} units")));
    }
    if !(1..=MAX_WEIGHT).contains(&terms.weight) {
        return Err(QuotaError::invalid("weight", format!("must be from 1 to {MAX_WEIGHT}")));
    }
    if terms.cap == Some(0) {
        return Err(QuotaError::invalid("cap", "must be at least 1 unit per second"));
    }
    if let Some(cap) = terms.cap.filter(|cap| terms.floor > *cap) {
        let message = format!("{} units per second are above the cap of {cap}", terms.floor);
        return Err(QuotaError::invalid("floor", message));
    }
    let claims = terms.floor > 0 || terms.cap.is_some() || terms.weight != 1 || terms.priority != 0;
    if claims && !matches!(subject, QuotaSubject::Table(_)) {
        let message = "only tables have weights, floors, caps and priorities: claims on their account";
        return Err(QuotaError::invalid("weight", message));
    }
    if terms.floor > MAX_UNITS || terms.cap.is_some_and(|cap| cap > MAX_UNITS) {
        return Err(QuotaError::invalid("floor", format!("must be at most {MAX_UNITS} units per second")));
    }
    Ok(())
}

/// The terms of a boost of `lasting`.
pub(crate) fn boosted(lasting: &QuotaTerms, to: BoostRate) -> Result<QuotaTerms, QuotaError> {
    if lasting.mode == QuotaMode::Unlimited {
        return Err(QuotaError::invalid("to", "there is no limit to boost"));
    }
    let rate = match to {
        BoostRate::Rate(rate) => rate,
        BoostRate::Factor(factor) if factor.is_finite() && factor > 1.0 => scaled(lasting.rate, factor),
        BoostRate::Factor(_) => return Err(QuotaError::invalid("to", "the factor must be above 1")),
    };
    if rate <= lasting.rate {
        let message = format!("must be above the rate that it returns to, {} units per second", lasting.rate);
        return Err(QuotaError::invalid("to", message));
    }
    Ok(lasting.clone().at_rate(rate))
}

/// `rate × factor`, rounded up, in whole units.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "rates are below 2^30 and factors above 1; what is too large saturates and is refused as above \
              the limit"
)]
fn scaled(rate: u64, factor: f64) -> u64 {
    (rate as f64 * factor).ceil() as u64
}

/// Whether a change says who wants it, within bounds. Without control characters JSON at most doubles the
/// text, so that a full history stays below the size of an item.
pub(crate) fn check_signed(signed: &Signed) -> Result<(), QuotaError> {
    let plain = |text: &str| !text.chars().any(char::is_control);
    if signed.author.is_empty() || signed.author.len() > MAX_AUTHOR_BYTES || !plain(&signed.author) {
        let message = format!("must have 1 to {MAX_AUTHOR_BYTES} bytes without control characters");
        return Err(QuotaError::invalid("author", message));
    }
    if signed.reason.len() > MAX_REASON_BYTES || !plain(&signed.reason) {
        let message = format!("must have at most {MAX_REASON_BYTES} bytes without control characters");
        return Err(QuotaError::invalid("reason", message));
    }
    Ok(())
}
