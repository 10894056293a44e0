//! The DynamoDB data model, pure: values, numbers, keys, expressions, capacity, operations, errors,
//! and the API's requests and responses as JSON.
//!
//! Two halves. `api` turns a request's JSON into a validated [`operation::Operation`] (or a table
//! command) and an [`operation::Outcome`] into a response's JSON; it runs at the proxy. [`execute`]
//! evaluates an operation against the current items; it runs at the storage node. Between them only
//! encoded items, storage keys and expression texts travel.

pub mod api;
pub mod capacity;
pub mod error;
pub mod execute;
pub mod expression;
pub mod item;
pub mod item_builder;
mod item_check;
pub mod json;
pub mod key;
pub mod number;
pub mod operation;
pub mod size;
pub mod table;
pub mod value;
