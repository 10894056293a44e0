//! Whose quota: its text form is what URLs, keys of JSON and the command line use.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Whose quota.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum QuotaSubject {
    /// The account: all its tables together. `account`.
    Account,
    /// A table. `table/NAME`.
    Table(String),
    /// A secondary index. `index/TABLE/NAME`.
    Index {
        /// Its table.
        table: String,
        /// Its name.
        index: String,
    },
    /// Whoever signs. `principal/NAME`; the name may contain slashes.
    Principal(String),
}

/// Text that names no subject.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is none of account, table/NAME, principal/NAME")]
pub struct MalformedSubject(pub String);

/// Longest name of a principal, in bytes: an ARN fits.
const MAX_PRINCIPAL_BYTES: usize = 512;
/// Longest name of a table or an index. Source: DynamoDB API, `TableName`.
const MAX_TABLE_BYTES: usize = 255;

impl FromStr for QuotaSubject {
    type Err = MalformedSubject;

    fn from_str(text: &str) -> Result<Self, MalformedSubject> {
        let malformed = || MalformedSubject(text.chars().take(MAX_PRINCIPAL_BYTES).collect());
        let named = |name: &str, most| !name.is_empty() && name.len() <= most;
        match text.split_once('/') {
            None if text == "account" => Ok(Self::Account),
            Some(("table", name)) if named(name, MAX_TABLE_BYTES) && !name.contains('/') => {
                Ok(Self::Table(name.to_owned()))
            }
            Some(("index", name)) => match name.split_once('/') {
                Some((table, index)) if named(table, MAX_TABLE_BYTES) && named(index, MAX_TABLE_BYTES) => {
                    Ok(Self::Index { table: table.to_owned(), index: index.to_owned() })
                }
                _ => Err(malformed()),
            },
            Some(("principal", name)) if named(name, MAX_PRINCIPAL_BYTES) => {
                Ok(Self::Principal(name.to_owned()))
            }
            _ => Err(malformed()),
        }
    }
}

impl fmt::Display for QuotaSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Account => f.write_str("account"),
            Self::Table(name) => write!(f, "table/{name}"),
            Self::Index { table, index } => write!(f, "index/{table}/{index}"),
            Self::Principal(name) => write!(f, "principal/{name}"),
        }
    }
}

impl TryFrom<String> for QuotaSubject {
    type Error = MalformedSubject;

    fn try_from(text: String) -> Result<Self, MalformedSubject> {
        text.parse()
    }
}

impl From<QuotaSubject> for String {
    fn from(subject: QuotaSubject) -> Self {
        subject.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_subject_reads_back_from_its_text() {
        for text in ["account", "table/orders", "index/orders/by_date", "principal/arn:aws:iam::1:user/a/b"] {
            assert_eq!(text.parse::<QuotaSubject>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn text_that_names_nothing_is_refused() {
        for text in ["", "orders", "table/", "table/a/b", "index/a", "index/a/", "principal/", "account/x"] {
            assert_eq!(text.parse::<QuotaSubject>(), Err(MalformedSubject(text.to_owned())));
        }
        assert!(format!("principal/{}", "x".repeat(513)).parse::<QuotaSubject>().is_err());
    }
}
