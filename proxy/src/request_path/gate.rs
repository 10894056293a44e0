//! Admission as the request path sees it, and what a throttled client is told.

use ::admission::CapacityKind;
use dynamodb::api::Cost;
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::table::{Billing, TableDescriptor};
use units::{MilliUnits, TableId, Timestamp};

use crate::admission::{Admission, Permit};
use crate::http::Answer;

/// Decides whether there is capacity: locally, with at most a moment's wait for what was asked for.
pub(crate) trait Gate: Send + Sync + 'static {
    /// Takes `cost` from the table's quota, or says why not.
    fn admit(
        &self,
        table: &TableDescriptor,
        cost: Cost,
        now: Timestamp,
    ) -> impl Future<Output = Result<(), Throttle>> + Send;

    /// Replaces what was taken by what it cost in the end; none: it was not executed.
    fn settle(&self, table: &TableDescriptor, taken: Cost, actual: Option<Cost>);
}

impl Gate for Admission {
    async fn admit(&self, table: &TableDescriptor, cost: Cost, now: Timestamp) -> Result<(), Throttle> {
        let (kind, amount) = parts(cost);
        match self.admit_patiently(table, kind, amount, now).await {
            // Settled by table and kind: the request path keeps the amount.
            Ok(_permit) => Ok(()),
            Err(refusal) => {
                tracing::debug!(table = table.name, %refusal, "throttled");
                Err(Throttle::table(table, kind == CapacityKind::Write))
            }
        }
    }

    fn settle(&self, table: &TableDescriptor, taken: Cost, actual: Option<Cost>) {
        let (kind, amount) = parts(taken);
        let permit = Permit::taken_earlier(TableId::new(table.id), kind, amount);
        Self::settle(self, permit, actual.map(|cost| parts(cost).1));
    }
}

const fn parts(cost: Cost) -> (CapacityKind, MilliUnits) {
    match cost {
        Cost::Read(amount) => (CapacityKind::Read, amount),
        Cost::Write(amount) => (CapacityKind::Write, amount),
    }
}

/// Which limit refused. DynamoDB API: `ThrottlingReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The table's own throughput: provisioned, or the on-demand maximum.
    Table,
    /// What one partition can take.
    KeyRange,
}

/// A refusal for want of capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    limit: Limit,
    is_write: bool,
    on_demand: bool,
    resource: String,
}

const PROVISIONED: &str = "The level of configured provisioned throughput for the table was exceeded. \
    Consider increasing your provisioning level with the UpdateTable API.";
const ON_DEMAND: &str = "Throughput exceeds the maximum OnDemandThroughput configured on table or index";
const KEY_RANGE: &str = "Throughput exceeds the current capacity of one or more of your table's \
    partitions. Requests to one range of keys came faster than a partition can serve; spread them over \
    more partition keys.";

impl Throttle {
    /// Refused by the table's quota.
    pub(crate) fn table(table: &TableDescriptor, is_write: bool) -> Self {
        Self::new(Limit::Table, table, is_write)
    }

    /// Refused by a partition or its node.
    pub(crate) fn key_range(table: &TableDescriptor, is_write: bool) -> Self {
        Self::new(Limit::KeyRange, table, is_write)
    }

    fn new(limit: Limit, table: &TableDescriptor, is_write: bool) -> Self {
        let on_demand = matches!(table.billing, Billing::OnDemand { .. });
        Self { limit, is_write, on_demand, resource: table.arn.clone() }
    }

    pub(crate) const fn kind(&self) -> ErrorKind {
        // As DynamoDB: provisioned tables say so, on-demand tables are throttled.
        if self.on_demand { ErrorKind::Throttling } else { ErrorKind::ProvisionedThroughputExceeded }
    }

    pub(crate) fn error(&self) -> ApiError {
        let message = match (self.limit, self.on_demand) {
            (Limit::KeyRange, _) => KEY_RANGE,
            (Limit::Table, true) => ON_DEMAND,
            (Limit::Table, false) => PROVISIONED,
        };
        ApiError::new(self.kind(), message)
    }

    /// DynamoDB API: `ThrottlingReason`.
    fn reason(&self) -> String {
        let direction = if self.is_write { "Write" } else { "Read" };
        let limit = match (self.limit, self.on_demand) {
            (Limit::KeyRange, _) => "KeyRangeThroughputExceeded",
            (Limit::Table, true) => "MaxOnDemandThroughputExceeded",
            (Limit::Table, false) => "ProvisionedThroughputExceeded",
        };
        format!("Table{direction}{limit}")
    }

    /// The exception with its reasons.
    pub(crate) fn answer(&self) -> Answer {
        let error = self.error();
        // The two exceptions spell the member differently. Source: the service's model.
        let reasons = if self.on_demand { "throttlingReasons" } else { "ThrottlingReasons" };
        let body = serde_json::json!({
            "__type": error.kind.type_name(),
            error.kind.message_key(): error.message,
            reasons: [{ "reason": self.reason(), "resource": self.resource }],
        });
        let body = serde_json::to_vec(&body).expect("strings are JSON").into();
        Answer { status: error.kind.http_status(), body }
    }
}
