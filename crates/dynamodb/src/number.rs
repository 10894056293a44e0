//! `N`: decimal numbers of 38 significant digits, in a form whose byte order is their numeric order.
//!
//! # The canonical form
//!
//! A number is `0.d₁d₂… × 100ᵉ` with base-100 digits, `d₁ ≠ 0` and the last digit not 0, `e` from −64
//! to 63. Zero is the single byte `80`. A positive number is the byte `80 + 64 + e`, then each digit plus one
//! (01–64 hexadecimal). A negative number is that of its magnitude with every bit flipped, closed by
//! `FF`, so that the longer of two equal beginnings sorts first. Equal numbers have equal bytes, and
//! comparing bytes compares numbers. Source of the limits: DynamoDB Developer Guide, "Data types".

use std::cmp::Ordering;
use std::fmt;

use bigdecimal::BigDecimal;
use bigdecimal::num_bigint::{BigInt, Sign};

use crate::error::ApiError;

/// Significant decimal digits that a number may have.
pub const MAX_DIGITS: usize = 38;

/// The canonical form's longest: the exponent, 20 base-100 digits (38 decimal ones that straddle
/// pairs), the closing byte of a negative number.
pub const MAX_CANONICAL_BYTES: usize = 22;

/// The longest text: sign, `0.`, 129 zeros, 38 digits.
const MAX_TEXT_BYTES: usize = 170;

/// With the magnitude as `0.D × 10^E`: 9.99…E+125 is the largest, 1E-130 the smallest.
const MAX_EXPONENT: i64 = 126;
const MIN_EXPONENT: i64 = -129;

const ZERO: u8 = 0x80;
const EXPONENT_BIAS: i32 = 0x80 + 64;
const NEGATIVE_END: u8 = 0xFF;

/// A number. Compares and hashes by value: `1`, `1.0` and `10e-1` are one number.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Number {
    /// The canonical form, padded with zeros.
    bytes: [u8; MAX_CANONICAL_BYTES],
    len: u8,
}

/// Why a text or a result is not a number that DynamoDB holds. The texts are DynamoDB's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not of the form `[+-]digits[.digits][e[+-]digits]`.
    #[error("The parameter cannot be converted to a numeric value: {0}")]
    NotNumeric(String),
    /// More than [`MAX_DIGITS`] digits between the first and the last that is not 0.
    #[error("Attempting to store more than 38 significant digits in a Number")]
    TooManyDigits,
    /// Magnitude above 9.99…E+125.
    #[error("Number overflow. Attempting to store a number with magnitude larger than supported range")]
    Overflow,
    /// Magnitude below 1E-130.
    #[error("Number underflow. Attempting to store a number with magnitude smaller than supported range")]
    Underflow,
}

impl From<NumberError> for ApiError {
    fn from(error: NumberError) -> Self {
        Self::validation(error.to_string())
    }
}

/// Decimal digits and exponent: `0.D × 10^exponent`, without leading or trailing zeros in `D`.
struct Decimal {
    negative: bool,
    digits: [u8; MAX_DIGITS],
    count: usize,
    exponent: i64,
}

impl Number {
    /// Zero.
    pub const ZERO: Self = {
        let mut bytes = [0; MAX_CANONICAL_BYTES];
        bytes[0] = ZERO;
        Self { bytes, len: 1 }
    };

    /// Reads a number as DynamoDB's requests write it.
    ///
    /// # Errors
    /// [`NumberError`], whose text is DynamoDB's message.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        Decimal::parse(text).map(|decimal| Self::from_decimal(&decimal))
    }

    /// Takes a canonical form; `None` when `bytes` is not one.
    #[must_use]
    pub fn from_canonical(bytes: &[u8]) -> Option<Self> {
        if !is_canonical(bytes) {
            return None;
        }
        Some(Self::from_trusted(bytes))
    }

    /// Takes bytes that are known to be a canonical form.
    pub(crate) fn from_trusted(canonical: &[u8]) -> Self {
        let mut bytes = [0; MAX_CANONICAL_BYTES];
        bytes[..canonical.len()].copy_from_slice(canonical);
        let len = u8::try_from(canonical.len()).expect("a canonical form has at most 22 bytes");
        Self { bytes, len }
    }

    /// The canonical form: equal numbers have equal bytes, and byte order is numeric order.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The sum.
    ///
    /// # Errors
    /// The result has more than 38 digits or is out of range.
    pub fn checked_add(&self, other: &Self) -> Result<Self, NumberError> {
        Self::from_big_decimal(&(self.to_big_decimal() + other.to_big_decimal()))
    }

    /// The difference.
    ///
    /// # Errors
    /// The result has more than 38 digits or is out of range.
    pub fn checked_sub(&self, other: &Self) -> Result<Self, NumberError> {
        Self::from_big_decimal(&(self.to_big_decimal() - other.to_big_decimal()))
    }

    /// The same number for arithmetic.
    #[must_use]
    pub fn to_big_decimal(&self) -> BigDecimal {
        let decimal = Decimal::of_canonical(self.as_bytes());
        let digits = &decimal.digits[..decimal.count];
        let sign = if decimal.negative { Sign::Minus } else { Sign::Plus };
        let magnitude = BigInt::from_radix_be(sign, digits, 10).unwrap_or_default();
        let count = i64::try_from(decimal.count).expect("at most 38 digits");
        BigDecimal::new(magnitude, count - decimal.exponent)
    }

    /// The number that `value` is, if DynamoDB can hold it.
    ///
    /// # Errors
    /// More than 38 digits, or out of range.
    pub fn from_big_decimal(value: &BigDecimal) -> Result<Self, NumberError> {
        let (magnitude, scale) = value.as_bigint_and_exponent();
        let (sign, all) = magnitude.to_radix_be(10);
        let significant = all.len() - all.iter().rev().take_while(|digit| **digit == 0).count();
        if significant == 0 {
            return Ok(Self::ZERO);
        }
        if significant > MAX_DIGITS {
            return Err(NumberError::TooManyDigits);
        }
        let mut digits = [0; MAX_DIGITS];
        digits[..significant].copy_from_slice(&all[..significant]);
        let length = i64::try_from(all.len()).unwrap_or(i64::MAX);
        let exponent = length.saturating_sub(scale);
        check_exponent(exponent)?;
        let negative = sign == Sign::Minus;
        Ok(Self::from_decimal(&Decimal { negative, digits, count: significant, exponent }))
    }

    fn from_decimal(decimal: &Decimal) -> Self {
        if decimal.count == 0 {
            return Self::ZERO;
        }
        let pairs_exponent = (decimal.exponent + 1).div_euclid(2);
        let lead = usize::try_from(2 * pairs_exponent - decimal.exponent).expect("0 or 1");
        let digit = |index: usize| {
            index.checked_sub(lead).filter(|i| *i < decimal.count).map_or(0, |i| decimal.digits[i])
        };
        let flip = if decimal.negative { 0xFF } else { 0 };

        let mut bytes = [0; MAX_CANONICAL_BYTES];
        let biased = i64::from(EXPONENT_BIAS) + pairs_exponent;
        bytes[0] = u8::try_from(biased).expect("the exponent was checked") ^ flip;
        let pairs = (lead + decimal.count).div_ceil(2);
        for pair in 0..pairs {
            bytes[1 + pair] = (digit(2 * pair) * 10 + digit(2 * pair + 1) + 1) ^ flip;
        }
        let mut len = 1 + pairs;
        if decimal.negative {
            bytes[len] = NEGATIVE_END;
            len += 1;
        }
        Self { bytes, len: u8::try_from(len).expect("at most 22 bytes") }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(MAX_TEXT_BYTES);
        write_text(self.as_bytes(), &mut text);
        f.write_str(std::str::from_utf8(&text).expect("digits are ASCII"))
    }
}

impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl From<i64> for Number {
    fn from(value: i64) -> Self {
        Self::from_big_decimal(&BigDecimal::from(value)).expect("19 digits are in range")
    }
}

impl From<u64> for Number {
    fn from(value: u64) -> Self {
        Self::from_big_decimal(&BigDecimal::from(value)).expect("20 digits are in range")
    }
}

impl std::str::FromStr for Number {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, NumberError> {
        Self::parse(text)
    }
}

/// Appends the text of the number whose canonical form is `canonical`: plain notation, no exponent, no
/// superfluous zeros, as DynamoDB answers.
pub(crate) fn write_text(canonical: &[u8], out: &mut Vec<u8>) {
    let decimal = Decimal::of_canonical(canonical);
    let digits = decimal.digits[..decimal.count].iter().map(|digit| b'0' + digit);
    if decimal.count == 0 {
        out.push(b'0');
        return;
    }
    if decimal.negative {
        out.push(b'-');
    }
    let Ok(whole) = usize::try_from(decimal.exponent) else {
        out.extend_from_slice(b"0.");
        let zeros = usize::try_from(-decimal.exponent).expect("at most 129 zeros");
        out.extend(std::iter::repeat_n(b'0', zeros));
        out.extend(digits);
        return;
    };
    if whole >= decimal.count {
        out.extend(digits);
        out.extend(std::iter::repeat_n(b'0', whole - decimal.count));
        return;
    }
    if whole == 0 {
        out.push(b'0');
    }
    out.extend(digits.clone().take(whole));
    out.push(b'.');
    out.extend(digits.skip(whole));
}

/// What a number counts for in an item's size: one byte, one per started pair of significant digits
/// before and after the point, one for a minus sign.
pub(crate) fn size_of(canonical: &[u8]) -> u64 {
    let decimal = Decimal::of_canonical(canonical);
    let count = i64::try_from(decimal.count).expect("at most 38 digits");
    let whole = decimal.exponent.clamp(0, count);
    let size = 1 + (whole + 1) / 2 + (count - whole + 1) / 2 + i64::from(decimal.negative);
    u64::try_from(size).expect("a size is positive")
}

/// Whether `bytes` is the canonical form of some number.
pub(crate) fn is_canonical(bytes: &[u8]) -> bool {
    let Some((&first, rest)) = bytes.split_first() else { return false };
    if bytes == [ZERO] {
        return true;
    }
    let negative = first < ZERO;
    let flip = if negative { 0xFF } else { 0 };
    let digits = match (negative, rest.split_last()) {
        (true, Some((&NEGATIVE_END, digits))) => digits,
        (true, _) => return false,
        (false, _) => rest,
    };
    let digit_of = |byte: u8| (byte ^ flip).wrapping_sub(1);
    let (Some(&lead), Some(&last)) = (digits.first(), digits.last()) else { return false };
    if digits.len() > 20 || digits.iter().any(|byte| digit_of(*byte) > 99) {
        return false;
    }
    if digit_of(lead) == 0 || digit_of(last) == 0 {
        return false;
    }
    let straddle = usize::from(digit_of(lead) < 10) + usize::from(digit_of(last).is_multiple_of(10));
    let decimals = 2 * digits.len() - straddle;
    // 100^-64 × 0.01…0.09 is 1E-130…9E-130: every exponent byte is in range.
    let exponent = i64::from(i32::from(first ^ flip) - EXPONENT_BIAS) * 2 - i64::from(digit_of(lead) < 10);
    decimals <= MAX_DIGITS && (MIN_EXPONENT..=MAX_EXPONENT).contains(&exponent)
}

impl Decimal {
    fn parse(text: &str) -> Result<Self, NumberError> {
        let not_numeric = || NumberError::NotNumeric(text.to_owned());
        let (negative, unsigned) = match text.as_bytes() {
            [b'-', rest @ ..] => (true, rest),
            [b'+', rest @ ..] => (false, rest),
            rest => (false, rest),
        };
        let mut decimal = Self { negative, digits: [0; MAX_DIGITS], count: 0, exponent: 0 };
        let mut coefficient = Coefficient::default();
        let mut rest = unsigned;
        while let [byte @ (b'0'..=b'9' | b'.'), tail @ ..] = rest {
            match byte {
                b'.' if coefficient.point.is_some() => return Err(not_numeric()),
                b'.' => coefficient.point = Some(coefficient.written),
                digit => coefficient.push(digit - b'0', &mut decimal.digits),
            }
            rest = tail;
        }
        if coefficient.written == 0 {
            return Err(not_numeric());
        }
        let power = match rest {
            [] => 0,
            [b'e' | b'E', power @ ..] => parse_power(power).ok_or_else(not_numeric)?,
            _ => return Err(not_numeric()),
        };
        if coefficient.too_many {
            return Err(NumberError::TooManyDigits);
        }
        decimal.count = coefficient.significant;
        decimal.exponent = power.saturating_add(coefficient.exponent());
        check_exponent(decimal.exponent)?;
        Ok(decimal)
    }

    fn of_canonical(bytes: &[u8]) -> Self {
        let negative = bytes[0] < ZERO;
        let mut decimal = Self { negative, digits: [0; MAX_DIGITS], count: 0, exponent: 0 };
        if bytes.len() == 1 {
            return decimal;
        }
        let flip = if negative { 0xFF } else { 0 };
        let pairs = &bytes[1..bytes.len() - usize::from(negative)];
        let exponent = i32::from(bytes[0] ^ flip) - EXPONENT_BIAS;
        decimal.exponent = i64::from(exponent) * 2;
        let last = pairs.len() - 1;
        for (index, byte) in pairs.iter().enumerate() {
            let pair = (byte ^ flip) - 1;
            if index == 0 && pair < 10 {
                decimal.exponent -= 1;
            } else {
                decimal.digits[decimal.count] = pair / 10;
                decimal.count += 1;
            }
            if index < last || !pair.is_multiple_of(10) {
                decimal.digits[decimal.count] = pair % 10;
                decimal.count += 1;
            }
        }
        decimal
    }
}

/// The digits of a text before its exponent, as they are read.
#[derive(Default)]
struct Coefficient {
    /// Digits read, leading zeros included.
    written: i64,
    /// Of these, zeros before the first other digit.
    leading_zeros: i64,
    /// Digits read before the point, if there was one.
    point: Option<i64>,
    /// Digits from the first to the last that is not 0.
    significant: usize,
    /// Digits since the first that is not 0.
    length: usize,
    too_many: bool,
}

impl Coefficient {
    fn push(&mut self, digit: u8, digits: &mut [u8; MAX_DIGITS]) {
        self.written += 1;
        if digit == 0 && self.length == 0 {
            self.leading_zeros += 1;
            return;
        }
        if digit != 0 {
            if self.length < MAX_DIGITS {
                digits[self.length] = digit;
                self.significant = self.length + 1;
            } else {
                self.too_many = true;
            }
        }
        self.length += 1;
    }

    /// With the text read as `0.D × 10^exponent`. DynamoDB checks a zero's range as if its last digit
    /// were a 1: `0e126` overflows as `1e126` does.
    fn exponent(&self) -> i64 {
        let whole = self.point.unwrap_or(self.written);
        if self.significant == 0 { whole - self.written + 1 } else { whole - self.leading_zeros }
    }
}

/// An exponent's text: DynamoDB reads 64 bits, and converts nothing longer.
fn parse_power(text: &[u8]) -> Option<i64> {
    let digits = text.strip_prefix(b"+").or_else(|| text.strip_prefix(b"-")).unwrap_or(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn check_exponent(exponent: i64) -> Result<(), NumberError> {
    if exponent > MAX_EXPONENT {
        Err(NumberError::Overflow)
    } else if exponent < MIN_EXPONENT {
        Err(NumberError::Underflow)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
