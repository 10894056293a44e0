//! What goes back to the client, and what the request cost.

use units::MilliUnits;

use crate::error::{ApiError, ErrorKind};

/// A response: body, status, and what to charge.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The JSON body.
    pub body: Vec<u8>,
    /// The exception that it carries; none: it succeeded.
    pub error: Option<ErrorKind>,
    /// Capacity that the operation consumed, whether or not the client asked to be told. A failed
    /// condition consumes too.
    pub consumed: MilliUnits,
}

impl Answer {
    /// A success.
    #[must_use]
    pub const fn success(body: Vec<u8>, consumed: MilliUnits) -> Self {
        Self { body, error: None, consumed }
    }

    /// An exception that consumed nothing.
    #[must_use]
    pub fn error(error: &ApiError) -> Self {
        Self { body: error_body(error, None), error: Some(error.kind), consumed: MilliUnits::ZERO }
    }

    /// The HTTP status that goes with it.
    #[must_use]
    pub const fn http_status(&self) -> u16 {
        match self.error {
            None => 200,
            Some(kind) => kind.http_status(),
        }
    }
}

/// An exception's JSON body. `item` is the JSON of the `Item` member that a failed condition carries
/// under `ReturnValuesOnConditionCheckFailure: ALL_OLD`.
#[must_use]
pub fn error_body(error: &ApiError, item: Option<&[u8]>) -> Vec<u8> {
    let mut body = Vec::with_capacity(96 + error.message.len() + item.map_or(0, <[u8]>::len));
    body.extend_from_slice(b"{\"__type\":\"");
    body.extend_from_slice(error.kind.type_name().as_bytes());
    body.push(b'"');
    if !error.message.is_empty() {
        body.extend_from_slice(b",\"");
        body.extend_from_slice(error.kind.message_key().as_bytes());
        body.extend_from_slice(b"\":");
        serde_json::to_writer(&mut body, error.message.as_ref())
            .expect("a string is always written to memory as JSON");
    }
    if let Some(item) = item {
        body.extend_from_slice(b",\"Item\":");
        body.extend_from_slice(item);
    }
    body.push(b'}');
    body
}
