//! `DeleteItem`.

use std::collections::BTreeMap;

use super::body::{self, Text, body};
use super::condition::Condition;
use super::constraint::Constraints;
use super::expression_parameters::Expressions;
use super::legacy::{Expected, Older};
use super::point::{PointPlan, PointReply};
use super::table_name::{self, TableName};
use super::write_parameters::{GivenWriteParameters, WriteParameters, WriteReply};
use crate::error::ApiError;
use crate::expression::ExpressionCache;
use crate::operation::{Delete, EncodedItem, Operation};
use crate::table::TableDescriptor;

/// A `DeleteItem`, before its table is known.
#[derive(Debug)]
pub(super) struct DeleteItemRequest<'a> {
    pub(super) table: TableName<'a>,
    pub(super) key: EncodedItem,
    condition: Condition,
    parameters: WriteParameters,
    return_old: bool,
}

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        key: EncodedItem = "Key",
        condition_expression: Text<'a> = "ConditionExpression",
        expression_attribute_names: BTreeMap<String, String> = "ExpressionAttributeNames",
        expression_attribute_values: EncodedItem = "ExpressionAttributeValues",
        expected: Expected<'a> = "Expected",
        conditional_operator: Text<'a> = "ConditionalOperator",
        return_values: Text<'a> = "ReturnValues",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
        return_item_collection_metrics: Text<'a> = "ReturnItemCollectionMetrics",
        return_values_on_condition_check_failure: Text<'a> = "ReturnValuesOnConditionCheckFailure",
    }
}

impl<'a> DeleteItemRequest<'a> {
    pub(super) fn decode(bytes: &'a [u8], cache: &ExpressionCache) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'a>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        if body.key.is_none() {
            constraints.missing("key");
        }
        let table = table_name::check(body.table_name, &mut constraints)?;
        let parameters = WriteParameters::read(
            GivenWriteParameters {
                return_consumed_capacity: body.return_consumed_capacity.as_deref(),
                return_values: body.return_values.as_deref(),
                return_item_collection_metrics: body.return_item_collection_metrics.as_deref(),
                return_values_on_condition_check_failure: body
                    .return_values_on_condition_check_failure
                    .as_deref(),
            },
            &mut constraints,
        );
        constraints.finish()?;
        refused_value.check_in_write()?;

        let expressions = Expressions {
            condition: body.condition_expression,
            names: body.expression_attribute_names,
            values: body.expression_attribute_values,
            ..Expressions::default()
        };
        let older = Older {
            expected: body.expected.as_ref(),
            operator: body.conditional_operator.as_deref(),
            ..Older::default()
        };
        let condition = Condition::check(expressions, &older, cache)?;
        let return_old = parameters.return_old()?;
        let key = body.key.expect("a missing key was refused above");
        Ok(Self { table, key, condition, parameters, return_old })
    }

    pub(super) fn plan(self, table: &TableDescriptor) -> Result<PointPlan, ApiError> {
        let key = table.keys.storage_key_of_key(self.key.view(), table.hash_seed)?;
        self.condition.check_keys(&table.keys)?;
        Ok(PointPlan {
            operation: Operation::Delete(Delete {
                key,
                options: self.condition.into_options(self.parameters.return_item_on_failure),
                return_old: self.return_old,
            }),
            reply: PointReply::write(WriteReply {
                table: table.name.clone(),
                capacity: self.parameters.capacity,
            }),
        })
    }
}
