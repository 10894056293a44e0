//! Amounts, times and tables as people read them.

use std::time::{Duration, UNIX_EPOCH};

use comfy_table::{CellAlignment, Table, presets};

/// Capacity units: 2,000 or 12.5 or 0.125. What matters of it, with separators.
pub(crate) fn units(units: f64) -> String {
    let decimals = match units.abs() {
        ..1.0 => 3,
        1.0..10.0 => 2,
        10.0..100.0 => 1,
        _ => 0,
    };
    let text = format!("{units:.decimals$}");
    let (whole, part) = text.split_once('.').unwrap_or((&text, ""));
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut shown = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    let part = part.trim_end_matches('0');
    if !part.is_empty() {
        shown.push('.');
        shown.push_str(part);
    }
    if shown == "-0" { "0".to_owned() } else { shown }
}

/// The same from thousandths.
#[expect(clippy::cast_precision_loss, reason = "only shown")]
pub(crate) fn milli(milli: u64) -> String {
    // What is set to mean "no limit" must not be shown as a number.
    if milli >= u64::MAX / 2 { "unlimited".to_owned() } else { units(milli as f64 / 1000.0) }
}

/// The same from whole units.
pub(crate) fn whole(units: u64) -> String {
    milli(units.saturating_mul(1000))
}

/// A length of time, to what matters of it: 15s, 2h 30m, 350ms.
pub(crate) fn span(ms: u64) -> String {
    let matters = match ms {
        0..10_000 => ms,
        10_000..600_000 => ms - ms % 1000,
        _ => ms - ms % 60_000,
    };
    humantime::format_duration(Duration::from_millis(matters)).to_string()
}

/// A point in time: 2026-11-22T22:00:00Z.
pub(crate) fn time(unix_ms: u64) -> String {
    humantime::format_rfc3339_seconds(UNIX_EPOCH + Duration::from_millis(unix_ms)).to_string()
}

/// How long ago that was.
pub(crate) fn ago(unix_ms: u64) -> String {
    format!("{} ago", span(wire::clock::unix_now().get().saturating_sub(unix_ms)))
}

/// A table for terminals: no borders, so that columns can be cut by tools. Columns that start with `>` are
/// aligned to the right.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.iter().map(|title| title.trim_start_matches('>')));
    for (index, title) in header.iter().enumerate() {
        if let (true, Some(column)) = (title.starts_with('>'), table.column_mut(index)) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

/// Prints to stdout; a reader that has had enough (`| head`) is not a failure.
pub(crate) fn print(text: impl std::fmt::Display) -> std::io::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        done => done,
    }
}

/// A table's lines without the blanks at their ends.
pub(crate) fn trimmed(table: &Table) -> String {
    table.trim_fmt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_shown_as_people_read_them() {
        assert_eq!(units(0.0), "0");
        assert_eq!(units(0.125), "0.125");
        assert_eq!(units(-3.5), "-3.5");
        assert_eq!(units(-0.0001), "0");
        assert_eq!(units(12.54), "12.5");
        assert_eq!(units(1_234_567.8), "1,234,568");
        assert_eq!(milli(2_000_000), "2,000");
        assert_eq!(milli(u64::MAX), "unlimited");
        assert_eq!(whole(300), "300");
    }

    #[test]
    fn times_are_shown_to_what_matters_of_them() {
        assert_eq!(span(350), "350ms");
        assert_eq!(span(12_345), "12s");
        assert_eq!(span(7_265_000), "2h 1m");
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20Z");
    }
}
