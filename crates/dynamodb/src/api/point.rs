//! `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`: one item each.

use super::answer::Answer;
use super::api_operation::ApiOperation;
use super::delete_item::DeleteItemRequest;
use super::get_item::{GetItemReply, GetItemRequest};
use super::key_clue::KeyClue;
use super::put_item::PutItemRequest;
use super::update_item::UpdateItemRequest;
use super::write_parameters::{WriteReply, unexpected_outcome};
use crate::error::{ApiError, ErrorKind};
use crate::expression::ExpressionCache;
use crate::operation::{Operation, Outcome};
use crate::table::TableDescriptor;

/// A request for one item, before its table is known.
#[derive(Debug)]
pub struct PointRequest<'a>(Kind<'a>);

#[derive(Debug)]
enum Kind<'a> {
    Get(GetItemRequest<'a>),
    Put(PutItemRequest<'a>),
    Update(UpdateItemRequest<'a>),
    Delete(DeleteItemRequest<'a>),
}

/// What to execute, and how to answer then.
#[derive(Debug)]
pub struct PointPlan {
    /// To be executed by the partition that holds its key.
    pub operation: Operation,
    /// Turns the outcome into the response.
    pub reply: PointReply,
}

/// Turns a point operation's outcome into the response.
#[derive(Debug)]
pub struct PointReply(ReplyKind);

#[derive(Debug)]
enum ReplyKind {
    Get(GetItemReply),
    Write(WriteReply),
}

impl<'a> PointRequest<'a> {
    /// Decodes the body of a `GetItem`, `PutItem`, `UpdateItem` or `DeleteItem`.
    ///
    /// # Errors
    /// As [`super::decode`]; `UnknownOperationException` for every other operation.
    pub fn decode(
        operation: ApiOperation,
        body: &'a [u8],
        cache: &ExpressionCache,
    ) -> Result<Self, ApiError> {
        Ok(Self(match operation {
            ApiOperation::GetItem => Kind::Get(GetItemRequest::decode(body, cache)?),
            ApiOperation::PutItem => Kind::Put(PutItemRequest::decode(body, cache)?),
            ApiOperation::UpdateItem => Kind::Update(UpdateItemRequest::decode(body, cache)?),
            ApiOperation::DeleteItem => Kind::Delete(DeleteItemRequest::decode(body, cache)?),
            _ => return Err(ApiError::new(ErrorKind::UnknownOperation, "")),
        }))
    }

    /// The table's name (also when the request names it by ARN).
    #[must_use]
    pub fn table_name(&self) -> &str {
        match &self.0 {
            Kind::Get(request) => &request.table,
            Kind::Put(request) => &request.table,
            Kind::Update(request) => &request.table,
            Kind::Delete(request) => &request.table,
        }
    }

    /// What it says of its key before the table's schema is known.
    #[must_use]
    pub fn key_clue(&self) -> KeyClue {
        let item = match &self.0 {
            Kind::Get(request) => &request.key,
            Kind::Put(request) => &request.item,
            Kind::Update(request) => &request.key,
            Kind::Delete(request) => &request.key,
        };
        KeyClue::in_item(item.view())
    }

    /// Checks the request against the table's schema.
    ///
    /// # Errors
    /// `ValidationException` for what does not fit the schema.
    pub fn plan(self, table: &TableDescriptor) -> Result<PointPlan, ApiError> {
        match self.0 {
            Kind::Get(request) => request.plan(table),
            Kind::Put(request) => request.plan(table),
            Kind::Update(request) => request.plan(table),
            Kind::Delete(request) => request.plan(table),
        }
    }
}

impl PointReply {
    pub(super) const fn get(reply: GetItemReply) -> Self {
        Self(ReplyKind::Get(reply))
    }

    pub(super) const fn write(reply: WriteReply) -> Self {
        Self(ReplyKind::Write(reply))
    }

    /// The response to `outcome`.
    #[must_use]
    pub fn answer(self, outcome: Outcome) -> Answer {
        match (self.0, outcome) {
            (ReplyKind::Get(reply), Outcome::Item(item)) => {
                reply.answer(item.as_ref()).unwrap_or_else(|error| Answer::error(&error))
            }
            (ReplyKind::Get(_), Outcome::Invalid(error)) => Answer::error(&error),
            (ReplyKind::Get(_), _) => unexpected_outcome(),
            (ReplyKind::Write(reply), outcome) => reply.answer(&outcome),
        }
    }
}
