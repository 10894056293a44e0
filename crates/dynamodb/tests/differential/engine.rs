//! This crate behind a store of ordered maps, cut into partitions as a real table is.

use std::collections::BTreeMap;

use bytes::Bytes;
use dynamodb::api::{self, Answer, ApiOperation, Request};
use dynamodb::error::ApiError;
use dynamodb::execute::{Effect, Flow, PageBuilder, execute_write};
use dynamodb::expression::ExpressionCache;
use dynamodb::key::partition_starts;
use dynamodb::operation::{EncodedItem, Operation, Outcome, RangeRead, StorageKey};
use dynamodb::table::{Billing, NewTable, TableDescriptor, TableStatus};
use serde_json::Value;

use crate::comparison::Answered;

/// Partitions per table: walks cross their borders.
const PARTITIONS: u32 = 3;

const HASH_SEED: u64 = 0xD1FF;

#[derive(Default)]
pub(crate) struct Engine {
    tables: BTreeMap<String, Table>,
    cache: ExpressionCache,
}

struct Table {
    descriptor: TableDescriptor,
    items: BTreeMap<StorageKey, EncodedItem>,
    starts: Vec<Bytes>,
}

impl Engine {
    pub(crate) fn create_table(&mut self, body: &str) {
        let answered = self.answer(ApiOperation::CreateTable, body);
        assert!(matches!(answered, Answered::Done(_)), "{answered}");
    }

    pub(crate) fn answer(&mut self, operation: ApiOperation, body: &str) -> Answered {
        self.answer_bytes(operation, body.as_bytes())
    }

    pub(crate) fn answer_bytes(&mut self, operation: ApiOperation, body: &[u8]) -> Answered {
        let answer = self.try_answer(operation, body).unwrap_or_else(|error| Answer::error(&error));
        let json: Value = serde_json::from_slice(&answer.body).expect("an answer is JSON");
        match answer.error {
            None => Answered::Done(json),
            Some(kind) => {
                let message = json.get(kind.message_key()).and_then(Value::as_str).unwrap_or_default();
                Answered::Refused {
                    exception: kind.type_name().rsplit('#').next().expect("a type has a name").to_owned(),
                    message: message.to_owned(),
                    item: json.get("Item").cloned(),
                }
            }
        }
    }

    /// All items of a table, as JSON.
    pub(crate) fn items(&self, table: &str) -> Vec<Value> {
        self.tables[table]
            .items
            .values()
            .map(|item| {
                let mut json = Vec::new();
                dynamodb::json::write_item(item.view(), &mut json);
                serde_json::from_slice(&json).expect("an item is written as JSON")
            })
            .collect()
    }

    fn try_answer(&mut self, operation: ApiOperation, body: &[u8]) -> Result<Answer, ApiError> {
        match api::decode(operation, body, &self.cache)? {
            Request::Point(request) => {
                let table = find(&self.tables, request.table_name())?;
                let plan = request.plan(&table.descriptor)?;
                let name = table.descriptor.name.clone();
                Ok(plan.reply.answer(self.execute(&name, &plan.operation)))
            }
            Request::Range(request) => {
                let table = find(&self.tables, request.table_name())?;
                let mut walk = request.plan(&table.descriptor)?;
                while let Some(key) = walk.routing_key() {
                    let (start, end) = table.partition_of(&key);
                    let read = walk.read_in(start, end);
                    match table.range(&read, &self.cache) {
                        Outcome::Page(page) => walk.absorb(page, start, end),
                        Outcome::Invalid(error) => return Err(error),
                        outcome => unreachable!("{outcome:?}"),
                    }
                }
                Ok(walk.answer())
            }
            Request::BatchGet(request) => {
                let names: Vec<String> = request.table_names().map(str::to_owned).collect();
                let (operations, reply) = request.plan(&self.descriptors(&names)?)?;
                let done =
                    operations.iter().map(|batch| Ok(self.execute(&names[batch.table], &batch.operation)));
                Ok(reply.answer(done.collect()))
            }
            Request::BatchWrite(request) => {
                let names: Vec<String> = request.table_names().map(str::to_owned).collect();
                let (operations, reply) = request.plan(&self.descriptors(&names)?)?;
                let done =
                    operations.iter().map(|batch| Ok(self.execute(&names[batch.table], &batch.operation)));
                Ok(reply.answer(done.collect()))
            }
            Request::CreateTable(new) => {
                if self.tables.contains_key(&new.name) {
                    return Err(ApiError::new(
                        dynamodb::error::ErrorKind::ResourceInUse,
                        format!("Table already exists: {}", new.name),
                    ));
                }
                let table = Table {
                    descriptor: descriptor(*new),
                    items: BTreeMap::new(),
                    starts: partition_starts(PARTITIONS),
                };
                let body = api::table_body("TableDescription", &table.descriptor);
                self.tables.insert(table.descriptor.name.clone(), table);
                Ok(Answer::success(body, units::MilliUnits::ZERO))
            }
            other => unreachable!("{other:?} is not compared"),
        }
    }

    fn descriptors(&self, names: &[String]) -> Result<Vec<&TableDescriptor>, ApiError> {
        names.iter().map(|name| find(&self.tables, name).map(|table| &table.descriptor)).collect()
    }

    fn execute(&mut self, table: &str, operation: &Operation) -> Outcome {
        let table = self.tables.get_mut(table).expect("the table was found before");
        let key = operation.routing_key();
        if let Operation::Get(_) = operation {
            return Outcome::Item(table.items.get(key).cloned());
        }
        let decision = execute_write(operation, table.items.get(key), &self.cache);
        match decision.effect {
            Effect::None => {}
            Effect::Put(item) => {
                table.items.insert(key.clone(), item);
            }
            Effect::Delete => {
                table.items.remove(key);
            }
        }
        decision.outcome
    }
}

impl Table {
    /// The partition that holds `key`.
    fn partition_of(&self, key: &StorageKey) -> (&[u8], Option<&[u8]>) {
        let after = self.starts.partition_point(|start| *start <= key.0);
        (&self.starts[after - 1], self.starts.get(after).map(AsRef::as_ref))
    }

    fn range(&self, read: &RangeRead, cache: &ExpressionCache) -> Outcome {
        let within = self
            .items
            .range(read.start.clone()..)
            .take_while(|(key, _)| read.end.as_ref().is_none_or(|end| *key < end));
        let mut items: Vec<&EncodedItem> = within.map(|(_, item)| item).collect();
        if !read.forward {
            items.reverse();
        }
        let page = || {
            let mut page = PageBuilder::new(read, cache)?;
            for item in items {
                if page.push(item)? == Flow::Stop {
                    break;
                }
            }
            Ok(page.finish())
        };
        page().map_or_else(Outcome::Invalid, Outcome::Page)
    }
}

fn find<'t>(tables: &'t BTreeMap<String, Table>, name: &str) -> Result<&'t Table, ApiError> {
    tables.get(name).ok_or_else(ApiError::table_not_found)
}

fn descriptor(new: NewTable) -> TableDescriptor {
    TableDescriptor {
        id: 1,
        uuid: String::new(),
        arn: format!("arn:aws:dynamodb:local:000000000000:table/{}", new.name),
        name: new.name,
        version: 1,
        status: TableStatus::Creating,
        keys: new.keys,
        attribute_definitions: new.attribute_definitions,
        billing: match new.billing {
            Billing::OnDemand { max_read, max_write, .. } => {
                Billing::OnDemand { max_read, max_write, since_ms: 0 }
            }
            provisioned => provisioned,
        },
        created_at_ms: 0,
        hash_seed: HASH_SEED,
        deletion_protection: new.deletion_protection,
        table_class: new.table_class,
        tags: new.tags,
        partitions: PARTITIONS,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    }
}
