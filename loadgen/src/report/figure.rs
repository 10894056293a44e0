//! Figures as people read them: three digits that count, and always a unit.

use std::time::{Duration, UNIX_EPOCH};

/// What is shown instead of a figure that there is none of.
pub const NONE: &str = "–";

/// A time in microseconds: `831 µs`, `8.31 ms`, `1.50 s`.
#[must_use]
pub fn time(micros: f64) -> String {
    match micros {
        value if !value.is_finite() => NONE.to_owned(),
        ..999.5 => format!("{} µs", digits(micros)),
        ..999_500.0 => format!("{} ms", digits(micros / 1e3)),
        _ => format!("{} s", digits(micros / 1e6)),
    }
}

/// The same of whole microseconds.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "only shown")]
pub fn micros(micros: u64) -> String {
    time(micros as f64)
}

/// A number of three digits that count, with separators: `4,981`, `49.8`, `0.25`.
#[must_use]
pub fn number(value: f64) -> String {
    if value.is_finite() { digits(value) } else { NONE.to_owned() }
}

/// A whole number with separators.
#[must_use]
pub fn count(value: u64) -> String {
    separated(&value.to_string())
}

/// Percent, never rounded to all or nothing: `99.95 %`, `> 99.999 %`, `< 0.001 %`.
#[must_use]
pub fn percent(value: f64) -> String {
    match value {
        value if !value.is_finite() => NONE.to_owned(),
        value if value <= 0.0 => "0 %".to_owned(),
        ..0.001 => "< 0.001 %".to_owned(),
        value if value > 99.999 && value < 100.0 => "> 99.999 %".to_owned(),
        // Shortened, not rounded: 99.9996 is not 100, and what shows is never better than what was.
        value if (99.0..100.0).contains(&value) || value < 1.0 => {
            format!("{} %", trimmed(&format!("{:.3}", (value * 1e3).floor() / 1e3)))
        }
        90.0..99.0 => format!("{} %", trimmed(&format!("{:.2}", (value * 1e2).floor() / 1e2))),
        value => format!("{} %", trimmed(&digits(value))),
    }
}

/// A ratio: `1.25 ×`.
#[must_use]
pub fn ratio(value: f64) -> String {
    if value.is_finite() { format!("{} ×", trimmed(&format!("{value:.3}"))) } else { NONE.to_owned() }
}

/// Bytes: `831 B`, `8.31 kB`, `1.50 GB`.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "only shown")]
pub fn bytes(bytes: u64) -> String {
    let value = bytes as f64;
    match value {
        ..999.5 => format!("{bytes} B"),
        ..999_500.0 => format!("{} kB", digits(value / 1e3)),
        ..999_500_000.0 => format!("{} MB", digits(value / 1e6)),
        _ => format!("{} GB", digits(value / 1e9)),
    }
}

/// A length of time: `30s`, `1m 30s`, `250ms`.
#[must_use]
pub fn span(duration: Duration) -> String {
    // Below a second, milliseconds tell; above, tenths of a second at most.
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let told = match millis {
        0 => duration,
        1..1000 => Duration::from_millis(millis),
        1000..10_000 => Duration::from_millis((millis + 50) / 100 * 100),
        _ => Duration::from_secs((millis + 500) / 1000),
    };
    humantime::format_duration(told).to_string()
}

/// A point in time, of Unix milliseconds: `2026-11-22 22:00:00 UTC`.
#[must_use]
pub fn date(unix_ms: u64) -> String {
    // Year 9999, past which the formatter gives up.
    const LATEST: u64 = 253_402_300_799_000;
    let at = UNIX_EPOCH + Duration::from_millis(unix_ms.min(LATEST));
    let text = humantime::format_rfc3339_seconds(at).to_string();
    format!("{} UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// Three digits that count; from 1,000 on, all whole ones.
fn digits(value: f64) -> String {
    let decimals = match value.abs() {
        0.0 => 0,
        ..0.9995 => 3,
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    let text = format!("{value:.decimals$}");
    match text.split_once('.') {
        Some((whole, part)) => format!("{}.{part}", separated(whole)),
        None => separated(&text),
    }
}

/// Without zeros at the end of a fraction.
fn trimmed(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

fn separated(whole: &str) -> String {
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole), |digits| ("-", digits));
    let mut shown = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_three_digits_and_the_unit_that_fits() {
        let shown = [0.0, 0.5, 8.314, 831.4, 999.7, 8_314.0, 83_140.0, 999_600.0, 12_345_678.0].map(time);
        assert_eq!(
            shown,
            ["0 µs", "0.500 µs", "8.31 µs", "831 µs", "1.00 ms", "8.31 ms", "83.1 ms", "1.00 s", "12.3 s"]
        );
    }

    #[test]
    fn percent_is_never_rounded_to_all_or_nothing() {
        let shown =
            [0.0, 0.0004, 0.025, 1.5, 50.0, 96.3389, 99.95, 99.9949, 99.9996, 100.0, 250.0].map(percent);
        assert_eq!(
            shown,
            [
                "0 %",
                "< 0.001 %",
                "0.025 %",
                "1.5 %",
                "50 %",
                "96.33 %",
                "99.95 %",
                "99.994 %",
                "> 99.999 %",
                "100 %",
                "250 %"
            ]
        );
    }

    #[test]
    fn numbers_have_separators() {
        assert_eq!(count(0), "0");
        assert_eq!(count(999), "999");
        assert_eq!(count(1_234_567), "1,234,567");
        assert_eq!(number(4_981.3), "4,981");
        assert_eq!(number(49.83), "49.8");
        assert_eq!(number(-1_234.0), "-1,234");
        assert_eq!(bytes(1_500_000), "1.50 MB");
    }

    #[test]
    fn what_is_no_number_is_a_dash() {
        for value in [f64::NAN, f64::INFINITY] {
            assert_eq!([time(value), number(value), percent(value), ratio(value)], [NONE; 4]);
        }
    }

    #[test]
    fn dates_and_spans_are_shown_to_the_second() {
        assert_eq!(date(1_763_848_800_123), "2025-11-22 22:00:00 UTC");
        assert_eq!(date(u64::MAX), "9999-12-31 23:59:59 UTC");
        assert_eq!(span(Duration::from_millis(90_000)), "1m 30s");
        assert_eq!(span(Duration::from_micros(30_004_217)), "30s");
        assert_eq!(span(Duration::from_micros(1_204_217)), "1s 200ms");
    }
}
