//! `Query`: a range of sort keys under one partition key.

use std::collections::BTreeMap;

use super::attributes_to_get;
use super::body::{self, Integer, Text, body};
use super::constraint::Constraints;
use super::consumed_capacity::ReturnConsumedCapacity;
use super::expression_parameters::Expressions;
use super::key_clue::KeyClue;
use super::legacy::{self, Conditions, Older};
use super::range_walk::{PageParameters, RangeWalk};
use super::select::Select;
use super::start_key;
use super::table_name::{self, TableName};
use crate::error::ApiError;
use crate::expression::{CheckedExpressions, ExpressionCache, ExpressionKind};
use crate::operation::EncodedItem;
use crate::table::TableDescriptor;

/// A `Query`, before its table is known.
#[derive(Debug)]
pub(super) struct QueryRequest<'a> {
    pub(super) table: TableName<'a>,
    index: Option<String>,
    expressions: CheckedExpressions,
    start_key: Option<EncodedItem>,
    forward: bool,
    page: PageParameters,
}

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        index_name: Text<'a> = "IndexName",
        key_condition_expression: Text<'a> = "KeyConditionExpression",
        filter_expression: Text<'a> = "FilterExpression",
        projection_expression: Text<'a> = "ProjectionExpression",
        expression_attribute_names: BTreeMap<String, String> = "ExpressionAttributeNames",
        expression_attribute_values: EncodedItem = "ExpressionAttributeValues",
        key_conditions: Conditions<'a> = "KeyConditions",
        query_filter: Conditions<'a> = "QueryFilter",
        conditional_operator: Text<'a> = "ConditionalOperator",
        attributes_to_get: Vec<Text<'a>> = "AttributesToGet",
        select: Text<'a> = "Select",
        limit: Integer = "Limit",
        consistent_read: bool = "ConsistentRead",
        scan_index_forward: bool = "ScanIndexForward",
        exclusive_start_key: EncodedItem = "ExclusiveStartKey",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
    }
}

impl<'a> QueryRequest<'a> {
    pub(super) fn decode(bytes: &'a [u8], cache: &ExpressionCache) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'a>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        let select = Select::read(body.select.as_deref(), &mut constraints);
        let capacity =
            ReturnConsumedCapacity::read(body.return_consumed_capacity.as_deref(), &mut constraints);
        let table = table_name::check(body.table_name, &mut constraints)?;
        legacy::check_operators(body.key_conditions.as_ref(), "keyConditions", &mut constraints);
        legacy::check_operators(body.query_filter.as_ref(), "queryFilter", &mut constraints);
        attributes_to_get::check_length(body.attributes_to_get.as_deref(), &mut constraints);
        let limit = PageParameters::limit(body.limit, &mut constraints);
        constraints.finish()?;

        let expressions = Expressions {
            key_condition: body.key_condition_expression,
            filter: body.filter_expression,
            projection: body.projection_expression,
            names: body.expression_attribute_names,
            values: body.expression_attribute_values,
            accepted: &[ExpressionKind::Filter, ExpressionKind::KeyCondition],
            ..Expressions::default()
        };
        let operator = body.conditional_operator.as_deref();
        expressions.refuse_mixture(&[
            ("AttributesToGet", body.attributes_to_get.is_some()),
            ("QueryFilter", body.query_filter.is_some()),
            ("ConditionalOperator", operator.is_some()),
            ("KeyConditions", body.key_conditions.is_some()),
        ])?;
        refused_value.check()?;
        Select::check(
            select,
            attributes_to_get::parameter(body.attributes_to_get.is_some(), expressions.projection.is_some()),
            body.index_name.is_some(),
        )?;
        let older = Older {
            key_conditions: body.key_conditions.as_ref(),
            filter: body.query_filter.as_ref(),
            attributes_to_get: body.attributes_to_get.as_deref(),
            operator,
            ..Older::default()
        };
        let expressions = expressions.check(&older, cache)?;
        if expressions.key_condition.is_none() {
            return Err(ApiError::validation(
                "Either the KeyConditions or KeyConditionExpression parameter must be specified in the \
                 request.",
            ));
        }
        Ok(Self {
            table,
            index: body.index_name.map(|Text(name)| name.into_owned()),
            expressions,
            start_key: body.exclusive_start_key,
            forward: body.scan_index_forward.unwrap_or(true),
            page: PageParameters {
                limit,
                consistent: body.consistent_read.unwrap_or(false),
                count_only: select == Some(Select::Count),
                capacity,
            },
        })
    }

    /// The attributes that must equal a value: the partition key is one.
    pub(super) fn key_clue(&self) -> KeyClue {
        KeyClue::in_attributes(self.expressions.key_equalities().into_iter())
    }

    pub(super) fn plan(self, table: &TableDescriptor) -> Result<RangeWalk, ApiError> {
        start_key::refuse_index(self.index.as_deref())?;
        let condition = self.expressions.key_condition(&table.keys)?;
        let mut bounds = table.keys.bounds(condition.partition, condition.sort, table.hash_seed)?;
        if let Some(start_key) = &self.start_key {
            start_key::check_in_query(start_key.view(), condition, table)?;
            bounds = start_key::after(bounds, start_key.view(), self.forward, table)?;
        }
        self.expressions.check_keys(&table.keys)?;
        Ok(RangeWalk::new(table, bounds, self.forward, self.expressions, self.page))
    }
}
