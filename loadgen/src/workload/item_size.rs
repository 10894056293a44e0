//! How large items are, by DynamoDB's rule: the bytes of all attribute names and values, keys included.

use std::fmt;
use std::str::FromStr;

use super::invalid_text::{InvalidText, count, fraction};
use super::text_form::text_form;

const WHAT: &str = "item size";
const EXPECTED: &str = "expected bytes as in 900, uniform:100-2000, lognormal:900:0.5 (the median, and the standard \
    deviation of the logarithm) or fields:10x100 (fields of so many bytes each)";

/// DynamoDB's limit: 400 KB.
pub(super) const MAX_ITEM_BYTES: u32 = 400 * 1024;
/// Most fields that `fields:` may ask for.
const MAX_FIELDS: u64 = 1000;
/// Bytes of `field999`.
const LONGEST_FIELD_NAME: u64 = 8;
/// More than the key attributes count for.
const KEY_BYTES_AT_MOST: u64 = 64;

/// How large items are. An item of some key has the same size in every run: what an update or a delete costs is
/// known without asking.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ItemSize {
    /// `900`: all the same bytes.
    Fixed(u32),
    /// `uniform:100-2000`: every size between, equally.
    Uniform {
        /// The least, in bytes.
        least: u32,
        /// The most.
        most: u32,
    },
    /// `lognormal:900:0.5`: most near the median, few much larger.
    Lognormal {
        /// In bytes.
        median: u32,
        /// Standard deviation of the size's natural logarithm.
        sigma: f64,
    },
    /// `fields:10x100`: fields `field0`, `field1`, … of so many bytes each, as YCSB's records.
    Fields {
        /// How many.
        count: u32,
        /// Bytes of each, without its name.
        bytes: u32,
    },
}

fn bytes(text: &str) -> Result<u32, InvalidText> {
    let bytes = count(WHAT, text, 1)?;
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| *bytes <= MAX_ITEM_BYTES)
        .ok_or_else(|| InvalidText::new(WHAT, text, format!("an item has at most {MAX_ITEM_BYTES} bytes")))
}

impl FromStr for ItemSize {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let wrong = || InvalidText::new(WHAT, text, EXPECTED);
        let parts: Vec<&str> = text.trim().split(':').collect();
        match parts.as_slice() {
            [size] if size.starts_with(|c: char| c.is_ascii_digit()) => Ok(Self::Fixed(bytes(size)?)),
            ["fixed", size] => Ok(Self::Fixed(bytes(size)?)),
            ["uniform", range] => {
                let (least, most) = range.split_once('-').ok_or_else(wrong)?;
                let (least, most) = (bytes(least)?, bytes(most)?);
                if least > most {
                    return Err(InvalidText::new(WHAT, text, "the least must come first"));
                }
                Ok(Self::Uniform { least, most })
            }
            ["lognormal", median, sigma] => {
                let sigma = fraction("standard deviation", sigma, 0.0, 5.0)?;
                Ok(Self::Lognormal { median: bytes(median)?, sigma })
            }
            ["fields", fields] => {
                let (number, each) = fields.split_once('x').ok_or_else(wrong)?;
                let (number, each) = (count(WHAT, number, 1)?, bytes(each)?);
                let names = number * LONGEST_FIELD_NAME + KEY_BYTES_AT_MOST;
                if number > MAX_FIELDS || number * u64::from(each) + names > u64::from(MAX_ITEM_BYTES) {
                    let why = format!("at most {MAX_FIELDS} fields, and {MAX_ITEM_BYTES} bytes in all");
                    return Err(InvalidText::new(WHAT, text, why));
                }
                let count = u32::try_from(number).expect("at most MAX_FIELDS");
                Ok(Self::Fields { count, bytes: each })
            }
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for ItemSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => write!(f, "{bytes}"),
            Self::Uniform { least, most } => write!(f, "uniform:{least}-{most}"),
            Self::Lognormal { median, sigma } => write!(f, "lognormal:{median}:{sigma}"),
            Self::Fields { count, bytes } => write!(f, "fields:{count}x{bytes}"),
        }
    }
}

text_form!(ItemSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_all_of_it() {
        for text in ["900", "uniform:100-2000", "lognormal:900:0.5", "fields:10x100"] {
            assert_eq!(text.parse::<ItemSize>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_size_is_said_to_be_none() {
        for text in ["", "0", "-1", "409601", "uniform:5", "uniform:9-5", "lognormal:900", "lognormal:900:9"]
        {
            assert!(text.parse::<ItemSize>().is_err(), "{text}");
        }
        for text in ["fields:0x10", "fields:1001x1", "fields:1000x409", "fields:10", "big"] {
            assert!(text.parse::<ItemSize>().is_err(), "{text}");
        }
    }
}
