use std::str::FromStr;

use proptest::prelude::*;

use super::*;
use crate::value::arbitrary;

fn number(text: &str) -> Number {
    Number::parse(text).unwrap_or_else(|error| panic!("{text}: {error}"))
}

/// What DynamoDB's documentation says of a text, by way of another library.
fn model(text: &str) -> Result<BigDecimal, NumberError> {
    let value = BigDecimal::from_str(text).expect("the strategy writes numbers");
    let (magnitude, scale) = value.as_bigint_and_exponent();
    let written = magnitude.magnitude().to_string();
    let digits = written.trim_end_matches('0').len();
    let exponent = i64::try_from(written.len()).unwrap() - scale;
    match (digits, exponent) {
        (0, _) => Ok(value),
        (39.., _) => Err(NumberError::TooManyDigits),
        (_, 127..) => Err(NumberError::Overflow),
        (_, ..=-130) => Err(NumberError::Underflow),
        _ => Ok(value),
    }
}

proptest! {
    #[test]
    fn a_text_is_read_as_another_library_reads_it(
        text in "[+-]?[0-9]{1,20}(\\.[0-9]{0,22})?(e[+-]?1?[0-4]?[0-9])?"
    ) {
        let expected = model(&text);
        let is_zero = expected.as_ref().is_ok_and(|value| value.sign() == Sign::NoSign);
        match (Number::parse(&text), expected) {
            (Ok(number), Ok(value)) => prop_assert_eq!(number.to_big_decimal(), value),
            (Err(error), Err(expected)) => prop_assert_eq!(error, expected),
            // A zero is held to the range too: see the test of it.
            (Err(NumberError::Overflow | NumberError::Underflow), Ok(_)) if is_zero => {}
            (read, expected) => prop_assert!(false, "{text}: {read:?}, not {expected:?}"),
        }
    }

    #[test]
    fn byte_order_is_numeric_order(a in arbitrary::number(), b in arbitrary::number()) {
        let expected = a.to_big_decimal().cmp(&b.to_big_decimal());
        prop_assert_eq!(a.as_bytes().cmp(b.as_bytes()), expected);
        prop_assert_eq!(a == b, expected.is_eq());
    }

    #[test]
    fn neighbours_are_ordered_too(a in arbitrary::number(), digit in 1_u8..10) {
        let text = a.to_string();
        let longer = if text.contains('.') { format!("{text}{digit}") } else { format!("{text}.{digit}") };
        if let Ok(b) = Number::parse(&longer) {
            prop_assert_eq!(a.cmp(&b), a.to_big_decimal().cmp(&b.to_big_decimal()));
        }
    }

    #[test]
    fn text_and_canonical_form_lead_back_to_the_number(a in arbitrary::number()) {
        let text = a.to_string();
        prop_assert!(text.len() <= MAX_TEXT_BYTES && a.as_bytes().len() <= MAX_CANONICAL_BYTES);
        prop_assert_eq!(number(&text), a);
        prop_assert_eq!(Number::from_canonical(a.as_bytes()), Some(a));
        prop_assert_eq!(Number::from_big_decimal(&a.to_big_decimal()), Ok(a));
        let plain = text.trim_start_matches('-');
        prop_assert!(!plain.contains(['e', 'E', '+']));
        prop_assert!(!plain.contains('.') || !plain.ends_with(['0', '.']));
        prop_assert!(plain == "0" || plain.starts_with("0.") || !plain.starts_with('0'));
    }

    #[test]
    fn sums_and_differences_are_exact_or_refused(a in arbitrary::number(), b in arbitrary::number()) {
        let (x, y) = (a.to_big_decimal(), b.to_big_decimal());
        for (result, expected) in [(a.checked_add(&b), &x + &y), (a.checked_sub(&b), &x - &y)] {
            match model(&expected.to_string()) {
                Ok(value) => prop_assert_eq!(result.map(|n| n.to_big_decimal()), Ok(value)),
                Err(error) => prop_assert_eq!(result, Err(error)),
            }
        }
    }

    #[test]
    fn only_the_form_that_a_number_has_is_canonical(
        bytes in prop::collection::vec(prop_oneof![any::<u8>(), Just(1), Just(0xFF), Just(0x80)], 0..24)
    ) {
        if let Some(read) = Number::from_canonical(&bytes) {
            let again = number(&read.to_string());
            prop_assert_eq!(again.as_bytes(), &bytes[..]);
        }
    }

    #[test]
    fn no_text_panics(text in ".{0,12}", numeric in "[-+0-9.eE ]{0,12}") {
        let _ = Number::parse(&text);
        let _ = Number::parse(&numeric);
    }
}

#[test]
fn numbers_are_answered_in_plain_notation() {
    for (text, answered) in [
        ("0", "0"),
        ("-0", "0"),
        ("000.000", "0"),
        ("+5", "5"),
        ("00042", "42"),
        ("5.", "5"),
        (".5", "0.5"),
        ("-1.50", "-1.5"),
        ("1E+2", "100"),
        ("1.5e-3", "0.0015"),
        ("123456789.987654321", "123456789.987654321"),
        ("10", "10"),
        ("0.01", "0.01"),
    ] {
        assert_eq!(number(text).to_string(), answered, "{text}");
    }
    assert_eq!(number("1e125").to_string(), format!("1{}", "0".repeat(125)));
    assert_eq!(number("1e-130").to_string(), format!("0.{}1", "0".repeat(129)));
}

#[test]
fn what_is_no_number_is_refused_in_dynamodbs_words() {
    for text in ["", " ", " 5", "5 ", "abc", "1.2.3", "++5", "1e", "e2", ".", "NaN", "1_000", "0x1", "１"] {
        let expected = format!("The parameter cannot be converted to a numeric value: {text}");
        assert_eq!(Number::parse(text).unwrap_err().to_string(), expected);
    }
    assert!(matches!(Number::parse("1e99999999999999999999"), Err(NumberError::NotNumeric(_))));
    assert_eq!(Number::parse("1e9223372036854775807"), Err(NumberError::Overflow));
    assert_eq!(Number::parse("1e-9223372036854775808"), Err(NumberError::Underflow));
}

#[test]
fn the_limits_are_38_digits_and_the_documented_range() {
    let nines = "9".repeat(38);
    number(&nines);
    number(&format!("{nines}000"));
    number(&format!("0.000{nines}"));
    assert_eq!(Number::parse(&format!("{nines}9")), Err(NumberError::TooManyDigits));
    number(&format!("9.{}e125", "9".repeat(37)));
    assert_eq!(Number::parse("1e126"), Err(NumberError::Overflow));
    assert_eq!(Number::parse("-1e126"), Err(NumberError::Overflow));
    number("1e-130");
    assert_eq!(Number::parse("9e-131"), Err(NumberError::Underflow));
    assert_eq!(Number::parse("0e126"), Err(NumberError::Overflow));
    assert_eq!(Number::parse("0.0e-130"), Err(NumberError::Underflow));
}

#[test]
fn a_size_is_a_byte_and_one_per_pair_of_digits_on_each_side_of_the_point() {
    for (text, size) in [
        ("0", 1),
        ("-0", 1),
        ("1", 2),
        ("42", 2),
        ("-42", 3),
        ("120", 2),
        ("123", 3),
        ("1000000", 2),
        ("1.5", 3),
        ("0.012", 2),
        ("0.12345", 4),
        ("12.345", 4),
    ] {
        assert_eq!(size_of(number(text).as_bytes()), size, "{text}");
    }
}
