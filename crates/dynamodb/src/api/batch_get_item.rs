//! `BatchGetItem`: up to 100 gets from several tables, answered together.

use std::collections::BTreeMap;

use units::MilliUnits;

use super::answer::Answer;
use super::attributes_to_get;
use super::batch::{self, BatchOperation, Charges};
use super::body::{self, Text, body};
use super::constraint::Constraints;
use super::consumed_capacity::ReturnConsumedCapacity;
use super::expression_parameters::Expressions;
use super::key_clue::KeyClue;
use super::legacy::Older;
use super::range_walk::write_items;
use crate::capacity;
use crate::error::ApiError;
use crate::expression::{CheckedExpressions, ExpressionCache, ExpressionKind};
use crate::operation::{EncodedItem, Get, Operation, Outcome};
use crate::table::TableDescriptor;

/// Keys at most, over all tables.
const MAX_KEYS: usize = 100;
/// Size of the answered items at most, by DynamoDB's size rules: 16 MB. What is past it is answered as
/// unprocessed.
const MAX_ANSWER_BYTES: u64 = 16 * 1024 * 1024;

/// A `BatchGetItem`, before its tables are known.
#[derive(Debug)]
pub struct BatchGetRequest {
    tables: Vec<TableKeys>,
    capacity: ReturnConsumedCapacity,
}

/// What is asked of one table.
#[derive(Debug)]
struct TableKeys {
    /// As the request has it: a name or an ARN.
    given_name: String,
    name: String,
    keys: Vec<EncodedItem>,
    consistent: bool,
    projection: CheckedExpressions,
    /// The members beside the keys, as JSON: for the keys that stay unprocessed.
    options: Vec<u8>,
}

/// Turns the outcomes of the batch's operations into the response.
#[derive(Debug)]
pub struct BatchGetReply {
    tables: Vec<TableKeys>,
    capacity: ReturnConsumedCapacity,
}

body! {
    struct Body<'a> {
        request_items: BTreeMap<String, TableBody<'a>> = "RequestItems",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
    }
}

body! {
    struct TableBody<'a> {
        keys: Vec<EncodedItem> = "Keys",
        consistent_read: bool = "ConsistentRead",
        projection_expression: Text<'a> = "ProjectionExpression",
        expression_attribute_names: BTreeMap<String, String> = "ExpressionAttributeNames",
        attributes_to_get: Vec<Text<'a>> = "AttributesToGet",
    }
}

impl BatchGetRequest {
    /// Decodes the body.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(bytes: &[u8], cache: &ExpressionCache) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'_>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        let tables = batch::check_tables(body.request_items, "RequestItems", &mut constraints);
        let mut total = 0;
        for (name, table) in &tables {
            let path = format!("requestItems.{name}.member.keys");
            match &table.keys {
                None => constraints.missing(path),
                Some(keys) if keys.is_empty() => {
                    constraints.broken("[]", path, "have length greater than or equal to 1");
                }
                Some(keys) => total += keys.len(),
            }
            attributes_to_get::check_length(table.attributes_to_get.as_deref(), &mut constraints);
        }
        let capacity =
            ReturnConsumedCapacity::read(body.return_consumed_capacity.as_deref(), &mut constraints);
        constraints.finish()?;
        if total > MAX_KEYS {
            return Err(ApiError::validation("Too many items requested for the BatchGetItem call"));
        }
        refused_value.check()?;
        refuse_mixture(&tables)?;
        let tables = tables
            .into_iter()
            .map(|(name, table)| TableKeys::check(name, table, cache))
            .collect::<Result<_, _>>()?;
        Ok(Self { tables, capacity })
    }

    /// The names of the tables that it touches, each once (also when the request has an ARN).
    pub fn table_names(&self) -> impl Iterator<Item = &str> {
        self.tables.iter().map(|table| &*table.name)
    }

    /// What it says of the key of the first operation on the table that is the `table`-th of
    /// [`Self::table_names`], before its schema is known.
    ///
    /// # Panics
    /// When there is no such table in it.
    #[must_use]
    pub fn key_clue(&self, table: usize) -> KeyClue {
        KeyClue::in_item(self.tables[table].keys.first().expect("keys were checked to be there").view())
    }

    /// Checks the request against the tables' schemas, given in the order of `table_names()`.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit a schema, or for a key given twice.
    pub fn plan(self, tables: &[&TableDescriptor]) -> Result<(Vec<BatchOperation>, BatchGetReply), ApiError> {
        let mut operations = Vec::new();
        for (index, (asked, table)) in self.tables.iter().zip(tables).enumerate() {
            asked.projection.check_keys(&table.keys)?;
            for key in &asked.keys {
                let key = table.keys.storage_key_of_key(key.view(), table.hash_seed)?;
                let operation = Operation::Get(Get { key, consistent: asked.consistent });
                operations.push(BatchOperation { table: index, operation });
            }
        }
        batch::refuse_duplicates(&operations)?;
        Ok((operations, BatchGetReply { tables: self.tables, capacity: self.capacity }))
    }
}

/// Refuses expressions beside older parameters, also those of another table.
fn refuse_mixture(tables: &BTreeMap<String, TableBody<'_>>) -> Result<(), ApiError> {
    let older = tables.values().any(|table| table.attributes_to_get.is_some());
    let projection = tables.values().find_map(|table| table.projection_expression.clone());
    Expressions { projection, ..Expressions::default() }.refuse_mixture(&[("AttributesToGet", older)])
}

impl TableKeys {
    fn check(given_name: String, body: TableBody<'_>, cache: &ExpressionCache) -> Result<Self, ApiError> {
        let options = body.options();
        let expressions = Expressions {
            projection: body.projection_expression,
            names: body.expression_attribute_names,
            accepted: &[ExpressionKind::Projection],
            ..Expressions::default()
        };
        let older = Older { attributes_to_get: body.attributes_to_get.as_deref(), ..Older::default() };
        let projection = expressions.check(&older, cache)?;
        Ok(Self {
            name: batch::table_name(&given_name),
            given_name,
            keys: body.keys.unwrap_or_default(),
            consistent: body.consistent_read.unwrap_or(false),
            projection,
            options,
        })
    }

    /// The item as asked for.
    fn project(&self, item: EncodedItem) -> Result<EncodedItem, ApiError> {
        match &self.projection.projection {
            None => Ok(item),
            Some(projection) => projection.apply(item.view(), &self.projection.bindings),
        }
    }
}

impl TableBody<'_> {
    /// `,"ConsistentRead":true` and so on.
    fn options(&self) -> Vec<u8> {
        let mut options = Vec::new();
        let mut member = |name: &str, value: serde_json::Value| {
            options.extend_from_slice(format!(",\"{name}\":{value}").as_bytes());
        };
        if let Some(consistent) = self.consistent_read {
            member("ConsistentRead", consistent.into());
        }
        if let Some(projection) = &self.projection_expression {
            member("ProjectionExpression", (**projection).into());
        }
        if let Some(names) = &self.expression_attribute_names {
            member("ExpressionAttributeNames", serde_json::json!(names));
        }
        if let Some(names) = &self.attributes_to_get {
            member("AttributesToGet", names.iter().map(|name| &**name).collect());
        }
        options
    }
}

impl BatchGetReply {
    /// The response. `results` are in the order of the operations; an operation that was throttled or
    /// failed is answered as unprocessed, unless all were: then the first error is the answer.
    #[must_use]
    pub fn answer(self, results: Vec<Result<Outcome, ApiError>>) -> Answer {
        self.try_answer(results).unwrap_or_else(|error| Answer::error(&error))
    }

    fn try_answer(self, results: Vec<Result<Outcome, ApiError>>) -> Result<Answer, ApiError> {
        batch::refuse_if_all_failed(&results)?;
        let mut results = results.into_iter();
        let mut room = MAX_ANSWER_BYTES;
        let mut charges = Charges::default();
        let mut responses = Vec::new();
        let mut unprocessed = Vec::new();
        for table in &self.tables {
            let mut found = Vec::new();
            let mut left = Vec::new();
            let mut cost = MilliUnits::ZERO;
            for (key, result) in table.keys.iter().zip(&mut results) {
                match result {
                    Ok(Outcome::Item(item)) => {
                        let size = item.as_ref().map_or(0, |item| item.view().size());
                        if size > room {
                            room = 0;
                            left.push(key.clone());
                            continue;
                        }
                        room -= size;
                        cost += capacity::read_cost(size, table.consistent);
                        if let Some(item) = item {
                            found.push(table.project(item)?);
                        }
                    }
                    Ok(Outcome::Invalid(error)) => return Err(error),
                    _ => left.push(key.clone()),
                }
            }
            charges.add(&table.name, cost);
            batch::begin_member(&mut responses, &table.given_name);
            write_items(&found, &mut responses);
            if !left.is_empty() {
                batch::begin_member(&mut unprocessed, &table.given_name);
                unprocessed.extend_from_slice(b"{\"Keys\":");
                write_items(&left, &mut unprocessed);
                unprocessed.extend_from_slice(&table.options);
                unprocessed.push(b'}');
            }
        }
        let mut body = Vec::with_capacity(64 + responses.len() + unprocessed.len());
        body.extend_from_slice(b"{\"Responses\":{");
        body.append(&mut responses);
        body.extend_from_slice(b"},\"UnprocessedKeys\":{");
        body.append(&mut unprocessed);
        body.push(b'}');
        charges.write(self.capacity, &mut body);
        body.push(b'}');
        Ok(Answer::success(body, charges.total()))
    }
}
