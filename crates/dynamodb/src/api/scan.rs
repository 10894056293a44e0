//! `Scan`: a whole table, or one segment of it.

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
use crate::key::segment_bounds;
use crate::operation::EncodedItem;
use crate::table::TableDescriptor;

/// `TotalSegments` at most.
const MAX_SEGMENTS: i64 = 1_000_000;

/// A `Scan`, before its table is known.
#[derive(Debug)]
pub(super) struct ScanRequest<'a> {
    pub(super) table: TableName<'a>,
    index: Option<String>,
    expressions: CheckedExpressions,
    start_key: Option<EncodedItem>,
    segment: u32,
    total_segments: u32,
    page: PageParameters,
}

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        index_name: Text<'a> = "IndexName",
        filter_expression: Text<'a> = "FilterExpression",
        projection_expression: Text<'a> = "ProjectionExpression",
        expression_attribute_names: BTreeMap<String, String> = "ExpressionAttributeNames",
        expression_attribute_values: EncodedItem = "ExpressionAttributeValues",
        scan_filter: Conditions<'a> = "ScanFilter",
        conditional_operator: Text<'a> = "ConditionalOperator",
        attributes_to_get: Vec<Text<'a>> = "AttributesToGet",
        select: Text<'a> = "Select",
        limit: Integer = "Limit",
        consistent_read: bool = "ConsistentRead",
        segment: Integer = "Segment",
        total_segments: Integer = "TotalSegments",
        exclusive_start_key: EncodedItem = "ExclusiveStartKey",
        return_consumed_capacity: Text<'a> = "ReturnConsumedCapacity",
    }
}

impl<'a> ScanRequest<'a> {
    pub(super) fn decode(bytes: &'a [u8], cache: &ExpressionCache) -> Result<Self, ApiError> {
        let (body, refused_value): (Body<'a>, _) = body::read(bytes)?;
        let mut constraints = Constraints::default();
        let select = Select::read(body.select.as_deref(), &mut constraints);
        if let Some(Integer(total)) = body.total_segments {
            constraints.at_least(total, "totalSegments", 1);
            constraints.at_most(total, "totalSegments", MAX_SEGMENTS);
        }
        let capacity =
            ReturnConsumedCapacity::read(body.return_consumed_capacity.as_deref(), &mut constraints);
        let table = table_name::check(body.table_name, &mut constraints)?;
        legacy::check_operators(body.scan_filter.as_ref(), "scanFilter", &mut constraints);
        attributes_to_get::check_length(body.attributes_to_get.as_deref(), &mut constraints);
        if let Some(Integer(segment)) = body.segment {
            constraints.at_least(segment, "segment", 0);
            constraints.at_most(segment, "segment", MAX_SEGMENTS - 1);
        }
        let limit = PageParameters::limit(body.limit, &mut constraints);
        constraints.finish()?;

        let expressions = Expressions {
            filter: body.filter_expression,
            projection: body.projection_expression,
            names: body.expression_attribute_names,
            values: body.expression_attribute_values,
            accepted: &[ExpressionKind::Filter],
            ..Expressions::default()
        };
        let operator = body.conditional_operator.as_deref();
        expressions.refuse_mixture(&[
            ("AttributesToGet", body.attributes_to_get.is_some()),
            ("ScanFilter", body.scan_filter.is_some()),
            ("ConditionalOperator", operator.is_some()),
        ])?;
        refused_value.check()?;
        Select::check(
            select,
            attributes_to_get::parameter(body.attributes_to_get.is_some(), expressions.projection.is_some()),
            body.index_name.is_some(),
        )?;
        let (segment, total_segments) = segments(body.segment, body.total_segments)?;
        let older = Older {
            filter: body.scan_filter.as_ref(),
            attributes_to_get: body.attributes_to_get.as_deref(),
            operator,
            ..Older::default()
        };
        let expressions = expressions.check(&older, cache)?;
        Ok(Self {
            table,
            index: body.index_name.map(|Text(name)| name.into_owned()),
            expressions,
            start_key: body.exclusive_start_key,
            segment,
            total_segments,
            page: PageParameters {
                limit,
                consistent: body.consistent_read.unwrap_or(false),
                count_only: select == Some(Select::Count),
                capacity,
            },
        })
    }

    /// Its segment's beginning, or the key after which it goes on: the partition that holds that one holds
    /// the next, unless the partition ends there.
    pub(super) fn key_clue(&self) -> KeyClue {
        match &self.start_key {
            Some(start_key) => KeyClue::in_item(start_key.view()),
            None => KeyClue::Key(segment_bounds(self.segment, self.total_segments).start),
        }
    }

    pub(super) fn plan(self, table: &TableDescriptor) -> Result<RangeWalk, ApiError> {
        start_key::refuse_index(self.index.as_deref())?;
        let mut bounds = segment_bounds(self.segment, self.total_segments);
        if let Some(start_key) = &self.start_key {
            let key = start_key::storage_key(start_key.view(), table)?;
            if !bounds.contains(&key) {
                return Err(ApiError::validation(format!(
                    "The provided starting key is invalid: Invalid ExclusiveStartKey. Please use \
                     ExclusiveStartKey with correct Segment. TotalSegments: {} Segment: {}",
                    self.total_segments, self.segment
                )));
            }
            bounds = start_key::after(bounds, start_key.view(), true, table)?;
        }
        self.expressions.check_keys(&table.keys)?;
        Ok(RangeWalk::new(table, bounds, true, self.expressions, self.page))
    }
}

/// Which segment of how many.
fn segments(segment: Option<Integer>, total: Option<Integer>) -> Result<(u32, u32), ApiError> {
    let checked = |value: i64| u32::try_from(value).expect("the number was checked to be within bounds");
    match (segment, total) {
        (None, None) => Ok((0, 1)),
        (Some(Integer(segment)), Some(Integer(total))) if segment < total => {
            Ok((checked(segment), checked(total)))
        }
        (Some(_), Some(_)) => Err(ApiError::validation(
            "The Segment parameter is zero-based and must be less than parameter TotalSegments",
        )),
        (Some(_), None) => Err(ApiError::validation(
            "The TotalSegments parameter is required but was not present in the request when Segment \
             parameter is present",
        )),
        (None, Some(_)) => Err(ApiError::validation(
            "The Segment parameter is required but was not present in the request when parameter \
             TotalSegments is present",
        )),
    }
}
