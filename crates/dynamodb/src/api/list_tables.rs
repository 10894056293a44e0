//! `ListTables`.

use super::body::{self, Integer, Text, body};
use super::constraint::Constraints;
use super::table_name;
use crate::error::ApiError;

/// Most names on a page, and how many there are unless the request says.
const MAX_NAMES: i64 = 100;

/// `ListTables`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListTables {
    /// `ExclusiveStartTableName`: names after it are listed.
    pub start: Option<String>,
    /// `Limit`: 1 to 100.
    pub limit: usize,
}

body! {
    struct Body<'a> {
        exclusive_start_table_name: Text<'a> = "ExclusiveStartTableName",
        limit: Integer = "Limit",
    }
}

impl ListTables {
    /// Decodes the body.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ApiError> {
        let (body, _): (Body<'_>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        if let Some(start) = &body.exclusive_start_table_name {
            table_name::check_strictly(start, "exclusiveStartTableName", &mut constraints);
        }
        let limit = body.limit.map_or(MAX_NAMES, |Integer(limit)| limit);
        constraints.at_least(limit, "limit", 1);
        constraints.at_most(limit, "limit", MAX_NAMES);
        constraints.finish()?;
        Ok(Self {
            start: body.exclusive_start_table_name.map(|Text(name)| name.into_owned()),
            limit: usize::try_from(limit).expect("the limit was checked to be 1 to 100"),
        })
    }

    /// The page of `names` (all tables' names, in order) that the request asks for, as a body.
    #[must_use]
    pub fn answer<'n>(&self, names: impl IntoIterator<Item = &'n str>) -> Vec<u8> {
        let mut page: Vec<&str> = names
            .into_iter()
            .filter(|name| self.start.as_deref().is_none_or(|start| *name > start))
            .take(self.limit + 1)
            .collect();
        let more = page.len() > self.limit;
        page.truncate(self.limit);
        list_tables_body(&page, if more { page.last().copied() } else { None })
    }
}

/// The body of `ListTables`: names in order, and the last one when there are more.
#[must_use]
pub fn list_tables_body(names: &[&str], last: Option<&str>) -> Vec<u8> {
    let mut body = serde_json::json!({ "TableNames": names });
    if let Some(last) = last {
        body["LastEvaluatedTableName"] = last.into();
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_one_another_until_the_names_end() {
        let names = ["alpha", "beta", "gamma"];
        let first = ListTables::decode(br#"{"Limit":2}"#).unwrap().answer(names);
        assert_eq!(first, br#"{"LastEvaluatedTableName":"beta","TableNames":["alpha","beta"]}"#);

        let second =
            ListTables::decode(br#"{"Limit":2,"ExclusiveStartTableName":"beta"}"#).unwrap().answer(names);
        assert_eq!(second, br#"{"TableNames":["gamma"]}"#);
    }

    #[test]
    fn a_limit_is_between_1_and_100() {
        for limit in ["0", "101", "-1"] {
            assert!(ListTables::decode(format!("{{\"Limit\":{limit}}}").as_bytes()).is_err(), "{limit}");
        }
    }
}
