//! `GetItem`.

use std::collections::BTreeMap;

use super::answer::Answer;
use super::attributes_to_get;
use super::body::{self, Text, body};
use super::constraint::Constraints;
use super::consumed_capacity::ReturnConsumedCapacity;
use super::expression_parameters::Expressions;
use super::legacy::Older;
use super::point::{PointPlan, PointReply};
use super::table_name::{self, TableName};
use crate::capacity;
use crate::error::ApiError;
use crate::expression::{CheckedExpressions, ExpressionCache, ExpressionKind};
use crate::json;
use crate::operation::{EncodedItem, Get, Operation};
use crate::table::TableDescriptor;

/// A `GetItem`, before its table is known.
#[derive(Debug)]
pub(super) struct GetItemRequest<'a> {
    pub(super) table: TableName<'a>,
    pub(super) key: EncodedItem,
    consistent: bool,
    projection: CheckedExpressions,
    capacity: ReturnConsumedCapacity,
}

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        key: EncodedItem = "Key",
        consistent_read: bool = "ConsistentRead",
        projection_expression: Text<'a> = "ProjectionExpression",
        expression_attribute_names: BTreeMap<String, String> = "ExpressionAttributeNames",
        attributes_to_get: Vec<Text<'a>> = "AttributesToGet",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
    }
}

impl<'a> GetItemRequest<'a> {
    pub(super) fn decode(bytes: &'a [u8], cache: &ExpressionCache) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'a>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        if body.key.is_none() {
            constraints.missing("key");
        }
        let table = table_name::check(body.table_name, &mut constraints)?;
        let capacity =
            ReturnConsumedCapacity::read(body.return_consumed_capacity.as_deref(), &mut constraints);
        attributes_to_get::check_length(body.attributes_to_get.as_deref(), &mut constraints);
        constraints.finish()?;
        refused_value.check()?;

        let expressions = Expressions {
            projection: body.projection_expression,
            names: body.expression_attribute_names,
            accepted: &[ExpressionKind::Projection],
            ..Expressions::default()
        };
        expressions.refuse_mixture(&[("AttributesToGet", body.attributes_to_get.is_some())])?;
        let older = Older { attributes_to_get: body.attributes_to_get.as_deref(), ..Older::default() };
        let projection = expressions.check(&older, cache)?;
        let key = body.key.expect("a missing key was refused above");
        Ok(Self { table, key, consistent: body.consistent_read.unwrap_or(false), projection, capacity })
    }

    pub(super) fn plan(self, table: &TableDescriptor) -> Result<PointPlan, ApiError> {
        let key = table.keys.storage_key_of_key(self.key.view(), table.hash_seed)?;
        self.projection.check_keys(&table.keys)?;
        Ok(PointPlan {
            operation: Operation::Get(Get { key, consistent: self.consistent }),
            reply: PointReply::get(GetItemReply {
                table: table.name.clone(),
                consistent: self.consistent,
                projection: self.projection,
                capacity: self.capacity,
            }),
        })
    }
}

/// Turns the item that was found into the response.
#[derive(Debug)]
pub(super) struct GetItemReply {
    table: String,
    consistent: bool,
    projection: CheckedExpressions,
    capacity: ReturnConsumedCapacity,
}

impl GetItemReply {
    pub(super) fn answer(self, item: Option<&EncodedItem>) -> Result<Answer, ApiError> {
        let size = item.map_or(0, |item| item.view().size());
        let consumed = capacity::read_cost(size, self.consistent);
        let mut body = Vec::with_capacity(64 + 2 * item.map_or(0, |item| item.as_bytes().len()));
        body.push(b'{');
        if let Some(item) = item {
            body.extend_from_slice(b"\"Item\":");
            match &self.projection.projection {
                None => json::write_item(item.view(), &mut body),
                Some(projection) => {
                    let projected = projection.apply(item.view(), &self.projection.bindings)?;
                    json::write_item(projected.view(), &mut body);
                }
            }
        }
        self.capacity.write_member(&mut body, &self.table, consumed);
        body.push(b'}');
        Ok(Answer::success(body, consumed))
    }
}
