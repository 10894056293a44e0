//! The DynamoDB API's pure half: a request's JSON becomes a validated [`Request`], an outcome becomes
//! a response's JSON. It runs at the proxy, and knows nothing of HTTP, routes or clocks.
//!
//! The order is DynamoDB's: everything that can be refused without the table's schema is refused by
//! [`decode`]; the rest by `plan`, which is given the table's descriptor.
//!
//! ```text
//! decode(operation, body) ─▶ Request ── table name ─▶ (descriptor looked up)
//!     Point(request).plan(&table) ─▶ PointPlan { operation, reply }   reply.answer(outcome) ─▶ Answer
//!     Range(request).plan(&table) ─▶ RangeWalk: loop { read_in(route) … absorb(page) }  .answer()
//!     BatchGet/BatchWrite.plan(&tables) ─▶ BatchPlan { operations, reply }  reply.answer(results)
//! ```

mod answer;
mod api_operation;
mod batch_get_item;
mod batch_write_item;
mod point;
mod range_walk;
mod request;
mod tables;

pub use answer::{Answer, error_body};
pub use api_operation::ApiOperation;
pub use batch_get_item::{BatchGetReply, BatchGetRequest};
pub use batch_write_item::{BatchWriteReply, BatchWriteRequest};
pub use point::{PointPlan, PointReply, PointRequest};
pub use range_walk::{RangeRequest, RangeWalk};
pub use request::{BatchOperation, Cost, Request, charge, decode, estimate};
pub use tables::{
    ListTables, describe_endpoints_body, describe_limits_body, list_tables_body, table_body,
};
