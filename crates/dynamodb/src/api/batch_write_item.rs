//! `BatchWriteItem`: up to 25 puts and deletes in several tables, answered together.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::batch::{self, BatchOperation, Charges};
use super::body::{self, Text, body};
use super::constraint::Constraints;
use super::consumed_capacity::{ReturnConsumedCapacity, write_charge};
use super::key_clue::KeyClue;
use super::write_parameters::{check_item_collection_metrics, check_item_size};
use crate::error::ApiError;
use crate::json;
use crate::operation::{Delete, EncodedItem, Operation, Outcome, Put, WriteOptions};
use crate::table::TableDescriptor;

/// Writes at most, over all tables.
const MAX_WRITES: usize = 25;

/// A `BatchWriteItem`, before its tables are known.
#[derive(Debug)]
pub struct BatchWriteRequest {
    tables: Vec<TableWrites>,
    capacity: ReturnConsumedCapacity,
}

/// What is to be done in one table.
#[derive(Debug)]
struct TableWrites {
    /// As the request has it: a name or an ARN.
    given_name: String,
    name: String,
    writes: Vec<Write>,
}

#[derive(Clone, Debug)]
enum Write {
    Put(EncodedItem),
    Delete(EncodedItem),
}

/// Turns the outcomes of the batch's operations into the response.
#[derive(Debug)]
pub struct BatchWriteReply {
    tables: Vec<TableWrites>,
    capacity: ReturnConsumedCapacity,
}

body! {
    struct Body<'a> {
        request_items: BTreeMap<String, Vec<WriteBody>> = "RequestItems",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
        return_item_collection_metrics: Text<'a> = "ReturnItemCollectionMetrics",
    }
}

body! {
    struct WriteBody {
        put_request: PutBody = "PutRequest",
        delete_request: DeleteBody = "DeleteRequest",
    }
}

body! {
    struct PutBody {
        item: EncodedItem = "Item",
    }
}

body! {
    struct DeleteBody {
        key: EncodedItem = "Key",
    }
}

impl BatchWriteRequest {
    /// Decodes the body.
    ///
    /// # Errors
    /// As [`super::decode`].
    pub fn decode(bytes: &[u8]) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'_>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        let tables = batch::check_tables(body.request_items, "RequestItems", &mut constraints);
        let mut total = 0;
        for (name, writes) in &tables {
            if writes.is_empty() {
                constraints.broken(
                    "[]",
                    format_args!("requestItems.{name}.member"),
                    "have length greater than or equal to 1",
                );
            }
            total += writes.len();
        }
        let capacity =
            ReturnConsumedCapacity::read(body.return_consumed_capacity.as_deref(), &mut constraints);
        check_item_collection_metrics(body.return_item_collection_metrics.as_deref(), &mut constraints);
        constraints.finish()?;
        if total > MAX_WRITES {
            return Err(ApiError::validation("Too many items requested for the BatchWriteItem call"));
        }
        refused_value.check()?;
        let tables = tables
            .into_iter()
            .map(|(given_name, writes)| {
                let writes = writes.into_iter().map(Write::check).collect::<Result<_, _>>()?;
                Ok(TableWrites { name: batch::table_name(&given_name), given_name, writes })
            })
            .collect::<Result<_, ApiError>>()?;
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
        let (Write::Put(item) | Write::Delete(item)) =
            self.tables[table].writes.first().expect("writes were checked to be there");
        KeyClue::in_item(item.view())
    }

    /// Checks the request against the tables' schemas, given in the order of `table_names()`.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit a schema, or for a key given twice.
    pub fn plan(
        self,
        tables: &[&TableDescriptor],
    ) -> Result<(Vec<BatchOperation>, BatchWriteReply), ApiError> {
        let mut operations = Vec::new();
        for (index, (asked, table)) in self.tables.iter().zip(tables).enumerate() {
            for write in &asked.writes {
                let operation = write.operation(table)?;
                operations.push(BatchOperation { table: index, operation });
            }
        }
        batch::refuse_duplicates(&operations)?;
        Ok((operations, BatchWriteReply { tables: self.tables, capacity: self.capacity }))
    }
}

impl Write {
    fn check(body: WriteBody) -> Result<Self, ApiError> {
        match (body.put_request, body.delete_request) {
            (Some(PutBody { item: Some(item) }), None) => {
                check_item_size(item.view().size())?;
                Ok(Self::Put(item))
            }
            (None, Some(DeleteBody { key: Some(key) })) => Ok(Self::Delete(key)),
            _ => Err(ApiError::validation(
                "Supplied AttributeValue has more than one datatypes set, must contain exactly one of the \
                 supported datatypes",
            )),
        }
    }

    fn operation(&self, table: &TableDescriptor) -> Result<Operation, ApiError> {
        Ok(match self {
            Self::Put(item) => Operation::Put(Put {
                key: table.keys.storage_key_in_batch(item.view(), table.hash_seed)?,
                item: item.clone(),
                options: WriteOptions::default(),
                return_old: false,
            }),
            Self::Delete(key) => Operation::Delete(Delete {
                key: table.keys.storage_key_of_key(key.view(), table.hash_seed)?,
                options: WriteOptions::default(),
                return_old: false,
            }),
        })
    }

    /// As the request had it.
    fn write(&self, body: &mut Vec<u8>) {
        match self {
            Self::Put(item) => {
                body.extend_from_slice(b"{\"PutRequest\":{\"Item\":");
                json::write_item(item.view(), body);
            }
            Self::Delete(key) => {
                body.extend_from_slice(b"{\"DeleteRequest\":{\"Key\":");
                json::write_item(key.view(), body);
            }
        }
        body.extend_from_slice(b"}}");
    }
}

impl BatchWriteReply {
    /// The response. `results` are in the order of the operations; an operation that was throttled or
    /// failed is answered as unprocessed, unless all were: then the first error is the answer.
    #[must_use]
    pub fn answer(self, results: Vec<Result<Outcome, ApiError>>) -> Answer {
        self.try_answer(&results).unwrap_or_else(|error| Answer::error(&error))
    }

    fn try_answer(self, results: &[Result<Outcome, ApiError>]) -> Result<Answer, ApiError> {
        batch::refuse_if_all_failed(results)?;
        let mut results = results.iter();
        let mut charges = Charges::default();
        let mut unprocessed = Vec::new();
        for table in &self.tables {
            let mut left = Vec::new();
            for (write, result) in table.writes.iter().zip(&mut results) {
                match result {
                    Ok(Outcome::Invalid(error)) => return Err(error.clone()),
                    Ok(outcome @ Outcome::Written(_)) => {
                        charges.add(&table.name, write_charge(outcome));
                    }
                    _ => {
                        left.push(if left.is_empty() { b'[' } else { b',' });
                        write.write(&mut left);
                    }
                }
            }
            if !left.is_empty() {
                batch::begin_member(&mut unprocessed, &table.given_name);
                unprocessed.append(&mut left);
                unprocessed.push(b']');
            }
        }
        let mut body = Vec::with_capacity(64 + unprocessed.len());
        body.extend_from_slice(b"{\"UnprocessedItems\":{");
        body.append(&mut unprocessed);
        body.push(b'}');
        charges.write(self.capacity, &mut body);
        body.push(b'}');
        Ok(Answer::success(body, charges.total()))
    }
}
