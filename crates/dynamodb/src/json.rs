//! Attribute values as the API's JSON: `{"S": "text"}`.
//!
//! Decoding goes straight from the JSON parser into the encoded item, without a tree between. A value
//! that DynamoDB refuses does not stop the parser: the problem is kept aside in [`ValueProblems`], as a
//! body that is no JSON at all, further on, is refused first.

mod decode;
mod encode;
mod member;
mod problems;
mod tree;

pub(crate) use decode::MAX_LEVELS;
pub use decode::{ItemSeed, ValueSeed, decode_item};
pub use encode::{write_item, write_string, write_value};
pub(crate) use member::truth_of;
pub use problems::{ValueProblem, ValueProblems};

#[cfg(test)]
mod tests;
