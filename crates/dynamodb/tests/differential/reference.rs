//! dynoxide, in memory, fed with the same bodies.

use dynamodb::api::ApiOperation;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::comparison::Answered;
use crate::engine::Engine;
use crate::schema::{TABLES, Table};

pub(crate) struct Reference {
    database: Database,
}

impl Reference {
    pub(crate) fn new() -> Self {
        Self { database: Database::memory().expect("an empty database in memory") }
    }

    pub(crate) fn create_table(&self, body: &str) {
        let answered = self.answer(ApiOperation::CreateTable, body);
        assert!(matches!(answered, Answered::Done(_)), "{answered}");
    }

    pub(crate) fn answer(&self, operation: ApiOperation, body: &str) -> Answered {
        let database = &self.database;
        match operation {
            ApiOperation::GetItem => run(operation, body, |request| database.get_item(request)),
            ApiOperation::PutItem => run(operation, body, |request| database.put_item(request)),
            ApiOperation::UpdateItem => run(operation, body, |request| database.update_item(request)),
            ApiOperation::DeleteItem => run(operation, body, |request| database.delete_item(request)),
            ApiOperation::Query => run(operation, body, |request| database.query(request)),
            ApiOperation::Scan => run(operation, body, |request| database.scan(request)),
            ApiOperation::BatchGetItem => run(operation, body, |request| database.batch_get_item(request)),
            ApiOperation::BatchWriteItem => {
                run(operation, body, |request| database.batch_write_item(request))
            }
            ApiOperation::CreateTable => run(operation, body, |request| database.create_table(request)),
            other => unreachable!("{other:?} is not compared"),
        }
    }

    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        let mut request = json!({ "TableName": table });
        let mut items = Vec::new();
        loop {
            match self.answer(ApiOperation::Scan, &request.to_string()) {
                Answered::Done(page) => {
                    items.extend(page["Items"].as_array().expect("a scan has items").iter().cloned());
                    match page.get("LastEvaluatedKey") {
                        Some(key) => request["ExclusiveStartKey"] = key.clone(),
                        None => return items,
                    }
                }
                refused @ Answered::Refused { .. } => panic!("a scan of {table}: {refused}"),
            }
        }
    }

    /// Makes the tables' contents those of `engine`, after a difference.
    pub(crate) fn adopt(&self, engine: &Engine) {
        for table in &TABLES {
            let ours = engine.items(table.name);
            let theirs = self.items(table.name);
            for item in theirs.iter().filter(|item| !ours.contains(item)) {
                let body = json!({ "TableName": table.name, "Key": key_of(item, table) });
                self.answer(ApiOperation::DeleteItem, &body.to_string());
            }
            for item in ours.iter().filter(|item| !theirs.contains(item)) {
                let body = json!({ "TableName": table.name, "Item": item });
                self.answer(ApiOperation::PutItem, &body.to_string());
            }
        }
    }
}

fn key_of(item: &Value, table: &Table) -> Value {
    table.keys().map(|(name, _)| (name.to_owned(), item[name].clone())).collect()
}

fn run<Q: DeserializeOwned, A: Serialize>(
    operation: ApiOperation,
    body: &str,
    execute: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Answered {
    match serde_json::from_str(body) {
        Ok(request) => match execute(request) {
            Ok(answer) => Answered::Done(serde_json::to_value(answer).expect("an answer is JSON")),
            Err(error) => refused(&error),
        },
        Err(error) => unreadable(operation, &error.to_string()),
    }
}

fn refused(error: &DynoxideError) -> Answered {
    let response: Value = serde_json::to_value(error.to_response()).expect("a refusal is JSON");
    Answered::Refused {
        exception: error.error_type().rsplit('#').next().expect("a type has a name").to_owned(),
        message: error.to_string(),
        item: response.get("Item").cloned(),
    }
}

/// How its HTTP server (not part of the library) answers a body that serde refuses.
fn unreadable(operation: ApiOperation, message: &str) -> Answered {
    let validation = message.starts_with("VALIDATION")
        || message.contains("missing field")
        || message.contains("unknown variant")
        || message.contains("invalid type: null")
        || message.contains("empty AttributeValue")
        || message.contains("Supplied AttributeValue");
    let unmarked = message
        .strip_prefix("VALIDATION:")
        .or_else(|| message.strip_prefix("VALIDATION_REQUEST:"))
        .unwrap_or(message);
    let unmarked = unmarked.rsplit_once(" at line ").map_or(unmarked, |(text, _)| text);
    let writes = [ApiOperation::PutItem, ApiOperation::UpdateItem, ApiOperation::DeleteItem];
    let enveloped = message.starts_with("VALIDATION_REQUEST:") && writes.contains(&operation);
    let envelope = if enveloped { "1 validation error detected: " } else { "" };
    Answered::Refused {
        exception: if validation { "ValidationException" } else { "SerializationException" }.to_owned(),
        message: format!("{envelope}{unmarked}"),
        item: None,
    }
}
