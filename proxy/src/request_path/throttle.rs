//! What a throttled client is told: DynamoDB's exception, message and reasons, by the limit that refused.
//!
//! | limit | provisioned table | on-demand table |
//! |---|---|---|
//! | table | `ProvisionedThroughputExceededException`, `ProvisionedThroughputExceeded` | `ThrottlingException`, `MaxOnDemandThroughputExceeded` |
//! | partition or node | `ProvisionedThroughputExceededException`, `KeyRangeThroughputExceeded` | `ThrottlingException`, `KeyRangeThroughputExceeded` |
//! | account, principal | `RequestLimitExceeded`, `AccountLimitExceeded` | the same |
//!
//! Source: DynamoDB API, `ThrottlingReason`, and the exceptions' own pages.

use std::time::Duration;

use ::admission::CapacityKind;
use bytes::Bytes;
use dynamodb::error::{ApiError, ErrorKind};
use serde_json::json;

use crate::admission::{Described, Layer, Refusal};
use crate::http::{Answer, RetryHint};

/// A refusal for want of capacity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Throttle {
    kind: ErrorKind,
    message: &'static str,
    body: Bytes,
    retry_after: Option<Duration>,
}

/// Which limit refused: the last part of DynamoDB's `ThrottlingReason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The table's own throughput: provisioned, or on-demand.
    Table,
    /// What one partition can take.
    KeyRange,
    /// The account's throughput.
    Account,
    /// A signer's throughput, which DynamoDB does not limit: told as its account's.
    Principal,
}

const PROVISIONED: &str = "The level of configured provisioned throughput for the table was exceeded. \
    Consider increasing your provisioning level with the UpdateTable API.";
const ON_DEMAND_MAXIMUM: &str =
    "Throughput exceeds the maximum OnDemandThroughput configured on table or index";
const ON_DEMAND: &str = "Throughput exceeds the current capacity of your table or index. The table is \
    scaled with its traffic: please try again shortly.";
const KEY_RANGE: &str = "Throughput exceeds the current capacity of one or more of your table's \
    partitions. Requests to one range of keys came faster than a partition can serve; spread them over \
    more partition keys.";
const ACCOUNT: &str = "Throughput exceeds the current throughput limit for your account.";
const PRINCIPAL: &str = "Throughput exceeds the throughput limit of the credentials that signed the request.";

impl Throttle {
    /// A refusal by the proxy's quotas, or by a storage node.
    pub(crate) fn of(refusal: &Refusal) -> Self {
        let limit = match refusal.layer {
            Layer::Table | Layer::Index => Limit::Table,
            Layer::Account => Limit::Account,
            Layer::Principal => Limit::Principal,
            Layer::Partition | Layer::Node => Limit::KeyRange,
        };
        let after = (refusal.retry_after < Duration::MAX).then_some(refusal.retry_after);
        Self::new(&refusal.table, limit, after)
    }

    /// A refusal by `limit`. The body is written once per table and limit: refusing must stay cheaper
    /// than admitting.
    pub(crate) fn new(table: &Described, limit: Limit, retry_after: Option<Duration>) -> Self {
        let (kind, message) = exception(table, limit);
        let body = table.prepared(limit as usize, || body(table, limit, kind, message));
        Self { kind, message, body, retry_after }
    }

    pub(crate) const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Without its reasons: for one operation of a batch.
    pub(crate) fn error(&self) -> ApiError {
        ApiError::new(self.kind, self.message)
    }

    /// When to come back.
    pub(crate) const fn hint(&self) -> RetryHint {
        RetryHint { after: self.retry_after }
    }

    /// The exception with its reasons.
    pub(crate) fn answer(&self) -> Answer {
        Answer { status: self.kind.http_status(), body: self.body.clone(), throttled: Some(self.hint()) }
    }
}

const fn exception(table: &Described, limit: Limit) -> (ErrorKind, &'static str) {
    // As DynamoDB: provisioned tables say so, on-demand tables are throttled.
    let by_mode =
        if table.on_demand { ErrorKind::Throttling } else { ErrorKind::ProvisionedThroughputExceeded };
    match limit {
        Limit::Table if !table.on_demand => (by_mode, PROVISIONED),
        Limit::Table if table.has_maximum => (by_mode, ON_DEMAND_MAXIMUM),
        Limit::Table => (by_mode, ON_DEMAND),
        Limit::KeyRange => (by_mode, KEY_RANGE),
        Limit::Account => (ErrorKind::RequestLimitExceeded, ACCOUNT),
        Limit::Principal => (ErrorKind::RequestLimitExceeded, PRINCIPAL),
    }
}

fn body(table: &Described, limit: Limit, kind: ErrorKind, message: &str) -> Bytes {
    // `ThrottlingException` spells the member differently from the others. Source: the service's model.
    let reasons = if kind == ErrorKind::Throttling { "throttlingReasons" } else { "ThrottlingReasons" };
    let body = json!({
        "__type": kind.type_name(),
        kind.message_key(): message,
        reasons: [{ "reason": reason(table, limit), "resource": &*table.arn }],
    });
    serde_json::to_vec(&body).expect("strings are JSON").into()
}

/// DynamoDB API: `ThrottlingReason`.
fn reason(table: &Described, limit: Limit) -> String {
    let direction = match table.capacity {
        CapacityKind::Read => "Read",
        CapacityKind::Write => "Write",
    };
    let limit = match limit {
        Limit::Table if table.on_demand => "MaxOnDemandThroughputExceeded",
        Limit::Table => "ProvisionedThroughputExceeded",
        Limit::KeyRange => "KeyRangeThroughputExceeded",
        Limit::Account | Limit::Principal => "AccountLimitExceeded",
    };
    format!("Table{direction}{limit}")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn told(on_demand: bool, limit: Limit) -> (String, Value) {
        let table = Described { on_demand, ..Described::for_tests(CapacityKind::Write) };
        let answer = Throttle::new(&table, limit, Some(Duration::from_millis(7))).answer();
        assert_eq!(answer.throttled, Some(RetryHint { after: Some(Duration::from_millis(7)) }));
        let body: Value = serde_json::from_slice(&answer.body).expect("JSON");
        let kind = body["__type"].as_str().expect("a type").rsplit('#').next().expect("a name").to_owned();
        (kind, body)
    }

    #[test]
    fn each_limit_has_its_exception_and_reason_by_the_tables_mode() {
        const PROVISIONED: &str = "ProvisionedThroughputExceededException";
        const THROTTLING: &str = "ThrottlingException";
        const LIMIT: &str = "RequestLimitExceeded";
        for (on_demand, limit, kind, member, reason) in [
            (
                false,
                Limit::Table,
                PROVISIONED,
                "ThrottlingReasons",
                "TableWriteProvisionedThroughputExceeded",
            ),
            (true, Limit::Table, THROTTLING, "throttlingReasons", "TableWriteMaxOnDemandThroughputExceeded"),
            (
                false,
                Limit::KeyRange,
                PROVISIONED,
                "ThrottlingReasons",
                "TableWriteKeyRangeThroughputExceeded",
            ),
            (true, Limit::KeyRange, THROTTLING, "throttlingReasons", "TableWriteKeyRangeThroughputExceeded"),
            (false, Limit::Account, LIMIT, "ThrottlingReasons", "TableWriteAccountLimitExceeded"),
            (true, Limit::Account, LIMIT, "ThrottlingReasons", "TableWriteAccountLimitExceeded"),
            (true, Limit::Principal, LIMIT, "ThrottlingReasons", "TableWriteAccountLimitExceeded"),
        ] {
            let (told, body) = told(on_demand, limit);
            assert_eq!(told, kind, "{limit:?}");
            assert_eq!(body[member][0]["reason"], reason);
            assert!(body[member][0]["resource"].as_str().is_some_and(|arn| arn.starts_with("arn:aws:")));
            assert!(!body["message"].as_str().expect("a message").is_empty());
        }
    }

    #[test]
    fn only_a_configured_maximum_is_called_configured() {
        let message = |has_maximum| {
            let table =
                Described { on_demand: true, has_maximum, ..Described::for_tests(CapacityKind::Read) };
            Throttle::new(&table, Limit::Table, None).message
        };
        assert_eq!((message(true), message(false)), (ON_DEMAND_MAXIMUM, ON_DEMAND));
    }
}
