//! What every step knows of the request that it works for.

use std::sync::Arc;

use dynamodb::api::ApiOperation;

use super::deadline::Deadline;
use crate::http::RequestId;

/// One request, as its steps see it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call<'a> {
    /// What the answer, the logs and `weir explain` call it.
    pub(crate) id: &'a RequestId,
    /// What is asked for.
    pub(crate) operation: ApiOperation,
    /// Who asks.
    pub(crate) principal: &'a Arc<str>,
    /// When it must be answered.
    pub(crate) deadline: Deadline,
}

impl Call<'_> {
    /// The same call with the rest of its time, counted from now.
    pub(crate) fn rest(self) -> Self {
        Self { deadline: self.deadline.rest(), ..self }
    }
}
