//! What is wrong with a text that a person wrote for a part of a workload.

/// Text that says no such thing; the message teaches the form.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what}: {why}")]
pub struct InvalidText {
    /// What it should have been, as in "no rate".
    what: &'static str,
    text: String,
    why: String,
}

impl InvalidText {
    /// Says why `text` is no `what`.
    #[must_use]
    pub fn new(what: &'static str, text: &str, why: impl Into<String>) -> Self {
        Self { what, text: text.to_owned(), why: why.into() }
    }
}

/// A number of at least `least`.
pub(super) fn count(what: &'static str, text: &str, least: u64) -> Result<u64, InvalidText> {
    let digits: String = text.trim().chars().filter(|c| *c != '_').collect();
    match digits.parse::<u64>() {
        Ok(count) if count >= least => Ok(count),
        Ok(_) => Err(InvalidText::new(what, text, format!("it must be at least {least}"))),
        Err(_) => Err(InvalidText::new(what, text, "expected a whole number")),
    }
}

/// A finite number within `least..=most`.
pub(super) fn fraction(what: &'static str, text: &str, least: f64, most: f64) -> Result<f64, InvalidText> {
    match text.trim().parse::<f64>() {
        Ok(number) if number.is_finite() && (least..=most).contains(&number) => Ok(number),
        Ok(_) => Err(InvalidText::new(what, text, format!("it must be from {least} to {most}"))),
        Err(_) => Err(InvalidText::new(what, text, "expected a number")),
    }
}

/// A duration above zero.
pub(super) fn duration(what: &'static str, text: &str) -> Result<std::time::Duration, InvalidText> {
    match humantime::parse_duration(text.trim()) {
        Ok(duration) if !duration.is_zero() => Ok(duration),
        Ok(_) => Err(InvalidText::new(what, text, "it must be above zero")),
        Err(_) => Err(InvalidText::new(what, text, "expected a duration such as 10s, 500ms or 1m 30s")),
    }
}
