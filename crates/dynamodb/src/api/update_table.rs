//! `UpdateTable`: throughput, billing mode, deletion protection, table class.

use super::body::{self, Anything, Text, body};
use super::constraint::Constraints;
use super::create_table::{self, OnDemand, SseSpecification, StreamSpecification, Throughput};
use super::table_name;
use super::unsupported;
use crate::error::ApiError;
use crate::table::{BillingMode, TableChange};

body! {
    struct Body<'a> {
        table_name: Text<'a> = "TableName",
        billing_mode: Text<'a> = "BillingMode",
        provisioned_throughput: Throughput = "ProvisionedThroughput",
        on_demand_throughput: OnDemand = "OnDemandThroughput",
        table_class: Text<'a> = "TableClass",
        deletion_protection_enabled: bool = "DeletionProtectionEnabled",
        global_secondary_index_updates: Vec<Anything> = "GlobalSecondaryIndexUpdates",
        vector_index_updates: Vec<Anything> = "VectorIndexUpdates",
        replica_updates: Vec<Anything> = "ReplicaUpdates",
        stream_specification: StreamSpecification = "StreamSpecification",
        sse_specification: SseSpecification = "SSESpecification",
        multi_region_consistency: Anything = "MultiRegionConsistency",
        warm_throughput: Anything = "WarmThroughput",
    }
}

/// Decodes and validates an `UpdateTable`.
///
/// # Errors
/// As [`super::decode`].
pub(super) fn decode(bytes: &[u8]) -> Result<TableChange, ApiError> {
    let (body, _): (Body<'_>, _) = body::read(bytes)?;
    let name = table_name::required(body.table_name.as_ref())?;
    let mut constraints = Constraints::default();
    table_name::check_strictly(&name, "tableName", &mut constraints);
    let billing_mode = create_table::billing_mode(body.billing_mode.as_deref(), &mut constraints);
    let table_class = create_table::table_class(body.table_class.as_deref(), &mut constraints);
    if let Some(throughput) = &body.provisioned_throughput {
        throughput.check(&mut constraints);
    }
    constraints.finish()?;

    body.refuse_unsupported()?;
    if billing_mode == Some(BillingMode::PayPerRequest) && body.provisioned_throughput.is_some() {
        return Err(ApiError::validation(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits \
             can be specified when BillingMode is PAY_PER_REQUEST",
        ));
    }
    let on_demand = body.on_demand_throughput.as_ref().filter(|ceilings| !ceilings.is_empty());
    let change = TableChange {
        name: name.into_owned(),
        billing_mode,
        provisioned: body.provisioned_throughput.as_ref().map(Throughput::value).transpose()?,
        on_demand: on_demand.map(|ceilings| ceilings.value(true)).transpose()?,
        deletion_protection: body.deletion_protection_enabled,
        table_class,
    };
    if change == (TableChange { name: change.name.clone(), ..TableChange::default() }) {
        return Err(ApiError::validation(
            "At least one of ProvisionedThroughput, BillingMode, UpdateStreamEnabled, \
             GlobalSecondaryIndexUpdates or SSESpecification or ReplicaUpdates is required",
        ));
    }
    Ok(change)
}

impl Body<'_> {
    fn refuse_unsupported(&self) -> Result<(), ApiError> {
        for (list, member) in [
            (&self.global_secondary_index_updates, "GlobalSecondaryIndexUpdates"),
            (&self.vector_index_updates, "VectorIndexUpdates"),
            (&self.replica_updates, "ReplicaUpdates"),
        ] {
            unsupported::refuse_if(list.as_ref().is_some_and(|list| !list.is_empty()), member)?;
        }
        unsupported::refuse_if(
            self.stream_specification.as_ref().is_some_and(|stream| stream.stream_enabled == Some(true)),
            "StreamSpecification",
        )?;
        unsupported::refuse_if(
            self.sse_specification.as_ref().is_some_and(|sse| sse.enabled == Some(true)),
            "SSESpecification",
        )?;
        unsupported::refuse_if(self.multi_region_consistency.is_some(), "MultiRegionConsistency")?;
        unsupported::refuse_if(self.warm_throughput.is_some(), "WarmThroughput")
    }
}
