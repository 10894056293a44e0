//! Which operations, in which shares.

use std::fmt;
use std::str::FromStr;

use rand::Rng;

use super::invalid_text::{InvalidText, count};
use super::operation::Operation;
use super::text_form::text_form;

const WHAT: &str = "mix of operations";
const EXPECTED: &str =
    "expected operations with their shares, such as get=90,put=10 or query(1-100)=95,insert=5";

/// Largest share: the sum of all stays exact enough.
const MAX_WEIGHT: f64 = 1e9;

/// Operations and their shares, as `get=90,put=10`. Operations of several items say how many in parentheses:
/// `batch-get(25)=1` or, drawn evenly, `query(1-100)=1`.
#[derive(Debug, Clone, PartialEq)]
pub struct Mix {
    entries: Vec<MixEntry>,
    total: f64,
}

/// One operation of a mix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MixEntry {
    /// Which.
    pub operation: Operation,
    /// Least items that a request asks for: the limit of a query or scan, the number of a batch.
    pub least_items: u32,
    /// Most items; each number between is as likely.
    pub most_items: u32,
    /// Its part of the mix, in proportion to the others' weights.
    pub weight: f64,
}

impl Mix {
    /// A mix of one operation alone.
    #[must_use]
    pub fn only(operation: Operation) -> Self {
        let items = operation.usual_items();
        let entry = MixEntry { operation, least_items: items, most_items: items, weight: 1.0 };
        Self { entries: vec![entry], total: 1.0 }
    }

    /// A mix of one operation alone, with as many items as this entry asks for.
    #[must_use]
    pub fn of_entry(entry: MixEntry) -> Self {
        Self { entries: vec![MixEntry { weight: 1.0, ..entry }], total: 1.0 }
    }

    /// The operations, as they were given.
    #[must_use]
    pub fn entries(&self) -> &[MixEntry] {
        &self.entries
    }

    /// Whether it has such an operation.
    #[must_use]
    pub fn has(&self, operation: Operation) -> bool {
        self.entries.iter().any(|entry| entry.operation == operation)
    }

    /// Which part of all requests `operation` is: 0 to 1.
    #[must_use]
    pub fn share(&self, operation: Operation) -> f64 {
        let of_it = self.entries.iter().filter(|entry| entry.operation == operation);
        of_it.map(|entry| entry.weight).sum::<f64>() / self.total
    }

    /// Draws an operation, and how many items it asks for.
    pub fn draw(&self, rng: &mut impl Rng) -> (Operation, u32) {
        let entry = self.draw_entry(rng);
        let items = if entry.least_items == entry.most_items {
            entry.least_items
        } else {
            rng.random_range(entry.least_items..=entry.most_items)
        };
        (entry.operation, items)
    }

    fn draw_entry(&self, rng: &mut impl Rng) -> &MixEntry {
        let last = self.entries.last().expect("a mix has an operation");
        if self.entries.len() == 1 {
            return last;
        }
        let mut point = rng.random::<f64>() * self.total;
        for entry in &self.entries {
            if point < entry.weight {
                return entry;
            }
            point -= entry.weight;
        }
        last
    }
}

impl FromStr for Mix {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, InvalidText> {
        let mut entries: Vec<MixEntry> = Vec::new();
        for part in text.split(',') {
            let entry = MixEntry::parse(part)?;
            if entries.iter().any(|known| known.operation == entry.operation) {
                return Err(InvalidText::new(WHAT, text, format!("it names {} twice", entry.operation)));
            }
            entries.push(entry);
        }
        let total = entries.iter().map(|entry| entry.weight).sum();
        Ok(Self { entries, total })
    }
}

impl MixEntry {
    fn parse(text: &str) -> Result<Self, InvalidText> {
        let (name, weight) = match text.split_once('=') {
            Some((name, weight)) => (name.trim(), weight.trim().trim_end_matches('%')),
            None => (text.trim(), "1"),
        };
        let weight: f64 = weight.parse().map_err(|_| InvalidText::new(WHAT, text, EXPECTED))?;
        if !(weight > 0.0 && weight <= MAX_WEIGHT) {
            return Err(InvalidText::new(
                WHAT,
                text,
                format!("a share must be above 0 and at most {MAX_WEIGHT}"),
            ));
        }
        let (word, items) = match name.strip_suffix(')').and_then(|name| name.split_once('(')) {
            Some((word, items)) => (word, Some(items)),
            None => (name, None),
        };
        let operation: Operation = word.parse()?;
        let (least_items, most_items) = match items {
            Some(items) => items_of(operation, items)?,
            None => (operation.usual_items(), operation.usual_items()),
        };
        Ok(Self { operation, least_items, most_items, weight })
    }
}

fn items_of(operation: Operation, text: &str) -> Result<(u32, u32), InvalidText> {
    let what = "number of items";
    let most = operation.most_items();
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last) = (count(what, first, 1)?, count(what, last, 1)?);
    match (u32::try_from(first), u32::try_from(last)) {
        (Ok(first), Ok(last)) if first <= last && last <= most => Ok((first, last)),
        _ => {
            Err(InvalidText::new(what, text, format!("{operation} takes from 1 to {most}, the lesser first")))
        }
    }
}

impl fmt::Display for Mix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, entry) in self.entries.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            let MixEntry { operation, least_items, most_items, weight } = entry;
            write!(f, "{comma}{operation}")?;
            if least_items != most_items {
                write!(f, "({least_items}-{most_items})")?;
            } else if *least_items != operation.usual_items() {
                write!(f, "({least_items})")?;
            }
            write!(f, "={weight}")?;
        }
        Ok(())
    }
}

text_form!(Mix);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_say_operations_items_and_shares() {
        for text in ["get=90,put=10", "query(1-100)=95,insert=5", "batch-get(25)=0.5,batch-write=1", "scan=1"]
        {
            assert_eq!(text.parse::<Mix>().unwrap().to_string(), text);
        }
        assert_eq!(" get = 90% , put = 10% ".parse::<Mix>().unwrap().to_string(), "get=90,put=10");
        assert_eq!("get".parse::<Mix>().unwrap(), Mix::only(Operation::GetItem));
    }

    #[test]
    fn what_is_no_mix_is_said_to_be_none() {
        for text in [
            "",
            "get=",
            "get=0",
            "get=-1",
            "get=NaN",
            "get=1e300",
            "get=1,get=2",
            "fetch=1",
            "batch-get(101)=1",
        ] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
        for text in ["batch-write(26)=1", "query(9-1)=1", "query()=1", "get(2)=1", "scan(0)=1", "get=1,"] {
            assert!(text.parse::<Mix>().is_err(), "{text}");
        }
    }

    #[test]
    fn shares_are_parts_of_the_whole() {
        let mix: Mix = "get=3,put=1".parse().unwrap();

        assert!((mix.share(Operation::GetItem) - 0.75).abs() < 1e-12);
        assert!(mix.share(Operation::Scan).abs() < 1e-12);
    }
}
