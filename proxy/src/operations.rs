//! What each kind of operation does between decoding and answering, in the request path's steps.

mod batch;
mod point;
mod range;
mod tables;

pub(crate) use tables::{TableCommand, Tables, TablesError};
