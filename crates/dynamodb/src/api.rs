//! The DynamoDB API's pure half: a request's JSON becomes a validated [`Request`], an outcome becomes
//! a response's JSON. It runs at the proxy, and knows nothing of HTTP, routes or clocks.
//!
//! The order is DynamoDB's: everything that can be refused without the table's schema is refused by
//! [`decode`]; the rest by `plan`, which is given the table's descriptor.
//!
//! ```text
//! decode(operation, body, cache) ─▶ Request ── table name ─▶ (descriptor looked up)
//!     (not found? key_clue() says what is known of the key without the schema)
//!     Point(request).plan(&table) ─▶ PointPlan { operation, reply }   reply.answer(outcome) ─▶ Answer
//!     Range(request).plan(&table) ─▶ RangeWalk: loop { read_in(route) … absorb(page) }  .answer()
//!     BatchGet/BatchWrite.plan(&tables) ─▶ (operations, reply)        reply.answer(results)
//! ```

mod answer;
mod api_operation;
mod attributes_to_get;
mod batch;
mod batch_get_item;
mod batch_write_item;
mod body;
mod condition;
mod constraint;
mod consumed_capacity;
mod create_table;
mod delete_item;
mod describe;
mod expression_parameters;
mod get_item;
mod key_clue;
mod legacy;
mod list_tables;
mod point;
mod put_item;
mod query;
mod range_walk;
mod request;
mod scan;
mod select;
mod start_key;
mod table_name;
mod unsupported;
mod update_item;
mod update_table;
mod write_parameters;

pub use answer::{Answer, error_body};
pub use api_operation::ApiOperation;
pub use batch::BatchOperation;
pub use batch_get_item::{BatchGetReply, BatchGetRequest};
pub use batch_write_item::{BatchWriteReply, BatchWriteRequest};
pub use consumed_capacity::{Cost, charge, estimate};
pub use describe::{describe_endpoints_body, describe_limits_body, table_body};
pub use key_clue::KeyClue;
pub use list_tables::{ListTables, list_tables_body};
pub use point::{PointPlan, PointReply, PointRequest};
pub use range_walk::{MAX_PAGE_BYTES, RangeRequest, RangeWalk};
pub use request::{Request, decode};

#[cfg(test)]
mod tests;
