//! Where our answers differ from dynoxide's on purpose, each with its reason. What DynamoDB documents
//! wins.

use dynamodb::api::ApiOperation;
use serde_json::Value;

use crate::comparison::Answered;

/// A difference that is meant.
struct Difference {
    reason: &'static str,
    holds: fn(&Case<'_>) -> bool,
}

struct Case<'c> {
    operation: ApiOperation,
    body: &'c str,
    request: Option<Value>,
    ours: &'c Answered,
    theirs: &'c Answered,
}

const DIFFERENCES: &[Difference] = &[
    Difference {
        reason: "which segment a key is in is the hash's",
        holds: |case| {
            case.operation == ApiOperation::Scan
                && case.has("TotalSegments")
                && case.has("ExclusiveStartKey")
                && (case.both_done() || case.we_refuse("ValidationException", "with correct Segment"))
        },
    },
    Difference {
        reason: "what comes after a start key in a scan is the hash's",
        holds: |case| {
            case.operation == ApiOperation::Scan && case.has("ExclusiveStartKey") && case.both_done()
        },
    },
    Difference {
        reason: "BillingMode is PROVISIONED unless said otherwise, which needs throughput (the library takes \
                 PAY_PER_REQUEST)",
        holds: |case| {
            case.operation == ApiOperation::CreateTable
                && !case.has("BillingMode")
                && case.we_refuse("ValidationException", "when BillingMode is PROVISIONED")
                && case.they_refuse("Table already exists")
        },
    },
    Difference {
        reason: "DynamoDB checks the types of literal operands, and BETWEEN's bounds, in every expression \
                 before it reads anything",
        holds: |case| {
            case.we_refuse("ValidationException", "Incorrect operand type for operator or function")
                || case.we_refuse("ValidationException", "The BETWEEN operator requires")
        },
    },
    Difference {
        reason: "a value that is no JSON object is a SerializationException (the reference's HTTP server \
                 checks it, its library does not)",
        holds: |case| {
            case.we_refuse("SerializationException", "")
                && (case.they_refuse("empty AttributeValue object")
                    || case.they_refuse("Supplied AttributeValue is empty"))
        },
    },
    Difference {
        reason: "a member of a wrong JSON type is a SerializationException (the reference's HTTP server \
                 checks it, its library does not)",
        holds: |case| {
            case.we_refuse("SerializationException", "")
                && (case.operation == ApiOperation::CreateTable || case.has_a_map_that_is_none())
        },
    },
    Difference {
        reason: "a request is checked as far as it can be before its table is looked for",
        holds: |case| {
            case.we_refuse("ValidationException", "") && case.they_refuse("Requested resource not found")
        },
    },
    Difference {
        reason: "unused names and values are refused before a condition is evaluated, and without an \
                 UpdateExpression too",
        holds: |case| case.we_refuse("ValidationException", "unused in expressions"),
    },
    Difference {
        reason: "undefined names and values are refused although the condition is decided without them",
        holds: |case| case.we_refuse("ValidationException", "is not defined; attribute"),
    },
    Difference {
        reason: "a page ends with the item that fills 1 MB (the reference leaves it out, but counts it)",
        holds: |case| {
            case.operation == ApiOperation::Query
                && case.both_done()
                && case.our_member("LastEvaluatedKey").is_some()
                && case.their_member("LastEvaluatedKey").is_some()
                && case.body.contains("pages")
        },
    },
    Difference {
        reason: "expressions have at most 300 operators, 100 operands of IN, paths of 32 levels and list \
                 indexes of 31 bits",
        holds: |case| {
            ["too many operators", "too many operands", "too many nesting levels", "allowable range"]
                .iter()
                .any(|limit| case.we_refuse("ValidationException", limit))
        },
    },
    Difference {
        reason: "a body that is null is a SerializationException",
        holds: |case| case.body == "null",
    },
    Difference {
        reason: "an update of a key attribute is refused before the condition is evaluated",
        holds: |case| {
            case.we_refuse("ValidationException", "This attribute is part of the key")
                && case.they_refuse("The conditional request failed")
        },
    },
    Difference {
        reason: "AttributesToGet has at least one element (DynamoDB API: Query, Scan)",
        holds: |case| case.we_refuse("ValidationException", "Value '[]' at 'attributesToGet'"),
    },
    Difference {
        reason: "malformed JSON is refused before the values in it",
        holds: |case| case.request.is_none() && case.we_refuse("SerializationException", ""),
    },
    Difference {
        reason: "a start key's values are not empty",
        holds: |case| {
            case.has("ExclusiveStartKey")
                && case.we_refuse("ValidationException", "The AttributeValue for a key attribute cannot")
        },
    },
    Difference {
        reason: "attribute_type names a type",
        holds: |case| case.we_refuse("ValidationException", "Invalid attribute type name found"),
    },
    Difference {
        reason: "key conditions obey the size limits of keys",
        holds: |case| {
            case.operation == ApiOperation::Query
                && (case.we_refuse("ValidationException", "Aggregated size of all range keys")
                    || case.we_refuse("ValidationException", "Size of hashkey has exceeded"))
        },
    },
    Difference {
        reason: "operands of one comparison must differ, in every expression",
        holds: |case| case.we_refuse("ValidationException", "The first operand must be distinct"),
    },
    Difference {
        reason: "projected paths must not conflict, whatever the item holds",
        holds: |case| case.we_refuse("ValidationException", "Two document paths conflict"),
    },
    Difference {
        reason: "key attributes are scalars, which no path steps into, in every expression",
        holds: |case| case.we_refuse("ValidationException", "Key attributes must be scalars"),
    },
    Difference {
        reason: "the older BETWEEN checks its bounds in filters too",
        holds: |case| {
            case.we_refuse("ValidationException", "The BETWEEN condition was provided a range where")
        },
    },
    Difference {
        reason: "numbers that are equal are the same key, however they are written",
        holds: |case| {
            case.operation == ApiOperation::BatchGetItem
                && case.we_refuse("ValidationException", "contains duplicates")
                && case.body.contains("1e2")
        },
    },
    Difference {
        reason: "after the only item of a partition key there is none (the reference starts over)",
        holds: |case| {
            case.operation == ApiOperation::Query
                && case.has("ExclusiveStartKey")
                && case.both_done()
                && case.our_member("ScannedCount") == Some(&Value::from(0))
        },
    },
    Difference {
        reason: "a body that is a list is a SerializationException (the library reads it as a structure)",
        holds: |case| case.body.starts_with('[') && case.we_refuse("SerializationException", ""),
    },
    Difference {
        reason: "ALL_OLD of an update that created the item is nothing: there was no item",
        holds: |case| {
            case.operation == ApiOperation::UpdateItem
                && case.is("ReturnValues", "ALL_OLD")
                && case.both_done()
                && case.our_member("Attributes").is_none()
                && case.their_member("Attributes") == case.member("Key")
        },
    },
];

/// Why the answers may differ, if they may.
pub(crate) fn reason(
    operation: ApiOperation,
    body: &str,
    ours: &Answered,
    theirs: &Answered,
) -> Option<&'static str> {
    let case = Case { operation, body, request: serde_json::from_str(body).ok(), ours, theirs };
    DIFFERENCES.iter().find(|difference| (difference.holds)(&case)).map(|difference| difference.reason)
}

impl Case<'_> {
    fn member(&self, name: &str) -> Option<&Value> {
        self.request.as_ref()?.get(name)
    }

    fn has_a_map_that_is_none(&self) -> bool {
        const MAPS: [&str; 7] = [
            "AttributeUpdates",
            "ExclusiveStartKey",
            "Expected",
            "ExpressionAttributeValues",
            "KeyConditions",
            "QueryFilter",
            "ScanFilter",
        ];
        MAPS.iter().any(|map| self.member(map).is_some_and(|map| !map.is_object()))
    }

    fn is(&self, name: &str, value: &str) -> bool {
        self.member(name).is_some_and(|member| member == value)
    }

    fn both_done(&self) -> bool {
        matches!((self.ours, self.theirs), (Answered::Done(_), Answered::Done(_)))
    }

    fn our_member(&self, name: &str) -> Option<&Value> {
        done_member(self.ours, name)
    }

    fn their_member(&self, name: &str) -> Option<&Value> {
        done_member(self.theirs, name)
    }

    fn we_refuse(&self, with: &str, saying: &str) -> bool {
        matches!(self.ours, Answered::Refused { exception, message, .. }
            if exception == with && message.contains(saying))
    }

    fn they_refuse(&self, saying: &str) -> bool {
        matches!(self.theirs, Answered::Refused { message, .. } if message.contains(saying))
    }

    fn has(&self, member: &str) -> bool {
        self.request.as_ref().is_some_and(|request| request.get(member).is_some_and(|value| !value.is_null()))
    }
}

fn done_member<'a>(answered: &'a Answered, name: &str) -> Option<&'a Value> {
    match answered {
        Answered::Done(json) => json.get(name),
        Answered::Refused { .. } => None,
    }
}
