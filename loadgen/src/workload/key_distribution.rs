//! Which keys: how many there are, and how often each is asked for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::invalid_text::{InvalidText, count, duration, fraction};
use super::key::USUAL_ITEMS_PER_PARTITION;
use super::mix::Mix;
use super::operation::Operation;
use super::text_form::text_form;

const WHAT: &str = "key distribution";
const EXPECTED: &str = "expected uniform:10000, zipf:10000:0.99, latest:10000, hotspot:10000:0.2:0.8, \
    sequential:10000 or moving:10000:0.5 every 10s, each with `by 100` after it for 100 items per partition key";

/// YCSB's exponent.
const USUAL_EXPONENT: f64 = 0.99;
/// Above it, practically every request is for the first key.
const MAX_EXPONENT: f64 = 10.0;
/// Most keys: their numbers fit in ten digits of a sort key, and no table is larger.
const MAX_KEYS: u64 = 10_000_000_000;

/// Which keys are asked for. The keys are numbered from 0, and there are `keys` when the run starts; inserts add
/// more. Key texts are in [`super::key_text`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KeyDistribution {
    /// Keys that exist when the run starts. At least one.
    pub keys: u64,
    /// How often each is asked for.
    pub popularity: Popularity,
    /// `by 100`: so many items share a partition key and differ in their sort key. None: one item per partition
    /// key, and no sort key.
    pub items_per_partition: Option<u64>,
}

/// How often each key is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Popularity {
    /// `uniform:10000`: all equally.
    Uniform,
    /// `zipf:10000:0.99`: the n-th most popular in proportion to 1 ÷ n to this power.
    Zipf(f64),
    /// `latest:10000:0.99`: the same, the newest being the most popular.
    Latest(f64),
    /// `hotspot:10000:0.2:0.8`: a share of the keys has a share of the requests.
    Hotspot {
        /// Of the keys, above 0 to 1.
        keys: f64,
        /// Of the requests, 0 to 1.
        requests: f64,
    },
    /// `sequential:10000`: one after the other, and again.
    Sequential,
    /// `moving:10000:0.5 every 10s`: one key has a share of the requests, and is another one every so often; the
    /// rest goes to all equally.
    Moving {
        /// Of the requests, 0 to 1.
        requests: f64,
        /// How long a key is the hot one.
        every: Duration,
    },
}

impl KeyDistribution {
    /// All of so many keys equally.
    #[must_use]
    pub const fn uniform(keys: u64) -> Self {
        Self { keys, popularity: Popularity::Uniform, items_per_partition: None }
    }

    /// As a stream with such operations has them: queries want items that share a partition key, whether or not
    /// `by` says so. Two streams have the same keys when these are equal but for their popularity.
    #[must_use]
    pub fn for_mix(mut self, mix: &Mix) -> Self {
        if mix.has(Operation::Query) {
            self.items_per_partition.get_or_insert(USUAL_ITEMS_PER_PARTITION);
        }
        self
    }
}

impl FromStr for KeyDistribution {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let wrong = || InvalidText::new(WHAT, text, EXPECTED);
        let words: Vec<&str> = text.split_whitespace().collect();
        let (form, every, by) = match words.as_slice() {
            [form] => (*form, None, None),
            [form, "by", by] => (*form, None, Some(*by)),
            [form, "every", every] => (*form, Some(*every), None),
            [form, "every", every, "by", by] => (*form, Some(*every), Some(*by)),
            _ => return Err(wrong()),
        };
        let parts: Vec<&str> = form.split(':').collect();
        let exponent = |text| fraction("exponent", text, 0.0, MAX_EXPONENT);
        let share = |text| fraction("share", text, 0.0, 1.0);
        let (keys, popularity) = match (parts.as_slice(), every) {
            (["uniform", keys], None) => (*keys, Popularity::Uniform),
            (["zipf", keys], None) => (*keys, Popularity::Zipf(USUAL_EXPONENT)),
            (["zipf", keys, power], None) => (*keys, Popularity::Zipf(exponent(power)?)),
            (["latest", keys], None) => (*keys, Popularity::Latest(USUAL_EXPONENT)),
            (["latest", keys, power], None) => (*keys, Popularity::Latest(exponent(power)?)),
            (["hotspot", keys, of_keys, of_requests], None) => {
                (*keys, Popularity::Hotspot { keys: share(of_keys)?, requests: share(of_requests)? })
            }
            (["sequential", keys], None) => (*keys, Popularity::Sequential),
            (["moving", keys, of_requests], Some(every)) => {
                (*keys, Popularity::Moving { requests: share(of_requests)?, every: duration(WHAT, every)? })
            }
            _ => return Err(wrong()),
        };
        let keys = count("number of keys", keys, 1)?;
        if keys > MAX_KEYS {
            return Err(InvalidText::new(WHAT, text, format!("it may have at most {MAX_KEYS} keys")));
        }
        let items_per_partition =
            by.map(|by| count("number of items per partition key", by, 1)).transpose()?;
        Ok(Self { keys, popularity, items_per_partition })
    }
}

impl fmt::Display for KeyDistribution {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let keys = self.keys;
        match self.popularity {
            Popularity::Uniform => write!(f, "uniform:{keys}"),
            Popularity::Zipf(exponent) => write!(f, "zipf:{keys}:{exponent}"),
            Popularity::Latest(exponent) => write!(f, "latest:{keys}:{exponent}"),
            Popularity::Hotspot { keys: of_keys, requests } => {
                write!(f, "hotspot:{keys}:{of_keys}:{requests}")
            }
            Popularity::Sequential => write!(f, "sequential:{keys}"),
            Popularity::Moving { requests, every } => {
                let every = humantime::format_duration(every).to_string().replace(' ', "");
                write!(f, "moving:{keys}:{requests} every {every}")
            }
        }?;
        self.items_per_partition.map_or(Ok(()), |by| write!(f, " by {by}"))
    }
}

text_form!(KeyDistribution);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_all_of_it() {
        for text in [
            "uniform:10000",
            "zipf:10000:0.99",
            "latest:10000:1.2",
            "hotspot:10000:0.2:0.8",
            "sequential:10000",
            "moving:10000:0.5 every 10s",
            "moving:10000:0.5 every 1m30s by 10",
            "uniform:10000 by 100",
        ] {
            assert_eq!(text.parse::<KeyDistribution>().unwrap().to_string(), text);
        }
        assert_eq!("latest:100".parse::<KeyDistribution>().unwrap().to_string(), "latest:100:0.99");
        assert_eq!("uniform:1_000".parse::<KeyDistribution>().unwrap(), KeyDistribution::uniform(1000));
    }

    #[test]
    fn what_is_no_distribution_is_said_to_be_none() {
        for text in ["", "uniform", "uniform:0", "uniform:-1", "zipf:10:x", "zipf:10:-1", "hotspot:10:2:0.5"]
        {
            assert!(text.parse::<KeyDistribution>().is_err(), "{text}");
        }
        for text in
            ["moving:10:0.5", "moving:10:0.5 every 0s", "uniform:10 every 10s", "uniform:10 by 0", "zipf"]
        {
            assert!(text.parse::<KeyDistribution>().is_err(), "{text}");
        }
        assert!("uniform:99999999999999".parse::<KeyDistribution>().is_err());
    }
}
