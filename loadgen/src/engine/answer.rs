//! What an answer means: how its request ended, under which name, and what the service says it cost.

use std::borrow::Cow;

use memchr::memmem;
use serde::Deserialize;

use crate::outcome::Outcome;
use crate::result::Units;
use crate::workload::Operation;

/// Names that need no copy, with how they end a request; the usual ones first.
const KNOWN: [(&str, Outcome); 14] = [
    ("ProvisionedThroughputExceededException", Outcome::Throttled),
    ("ConditionalCheckFailedException", Outcome::ConditionFailed),
    ("ThrottlingException", Outcome::Throttled),
    ("RequestLimitExceeded", Outcome::Throttled),
    ("InternalServerError", Outcome::ServerError),
    ("ServiceUnavailable", Outcome::ServerError),
    ("ServiceUnavailableException", Outcome::ServerError),
    ("ValidationException", Outcome::ClientError),
    ("ResourceNotFoundException", Outcome::ClientError),
    ("AccessDeniedException", Outcome::ClientError),
    ("UnrecognizedClientException", Outcome::ClientError),
    ("InvalidSignatureException", Outcome::ClientError),
    ("SerializationException", Outcome::ClientError),
    ("TransactionConflictException", Outcome::ClientError),
];
/// Characters of an unknown exception's name that are kept.
const MOST_NAME: usize = 64;

/// How an attempt with this answer ended, and the failure's name: the exception's type without its namespace.
pub(crate) fn classify(status: u16, body: &[u8]) -> (Outcome, Option<Cow<'static, str>>) {
    if status == 200 {
        return (Outcome::Ok, None);
    }
    let name = exception(body);
    let by_status = if status >= 500 { Outcome::ServerError } else { Outcome::ClientError };
    let outcome = match &name {
        // A 5xx is the server's fault, whatever it says.
        Some(name) if status < 500 => match KNOWN.iter().find(|(known, _)| known == name) {
            Some((_, outcome @ (Outcome::Throttled | Outcome::ConditionFailed))) => *outcome,
            _ => by_status,
        },
        _ => by_status,
    };
    if outcome == Outcome::ConditionFailed {
        return (outcome, None);
    }
    (outcome, Some(name.unwrap_or_else(|| Cow::Owned(format!("HTTP {status}")))))
}

/// Adds up what the service says a request cost (`ReturnConsumedCapacity: TOTAL`).
///
/// Whatever `"CapacityUnits":` with a number after it stands in an answer is the service's own: in an item's
/// strings the quotes would be escaped, and an attribute of that name has an object for its value.
pub(super) fn reported_units(operation: Operation, follow_up: bool, body: &[u8]) -> Units {
    const KEY: &[u8] = b"\"CapacityUnits\":";
    let milli = memmem::find_iter(body, KEY).filter_map(|at| milli_units(&body[at + KEY.len()..])).sum();
    if operation.writes() && (follow_up || !operation.reads()) {
        Units { read_milli: 0, write_milli: milli }
    } else {
        Units { read_milli: milli, write_milli: 0 }
    }
}

fn milli_units(text: &[u8]) -> Option<u64> {
    let text = text.trim_ascii_start();
    let end = text.iter().position(|byte| !matches!(byte, b'0'..=b'9' | b'.')).unwrap_or(text.len());
    let units: f64 = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not negative, and saturating is right for nonsense"
    )]
    Some((units * 1000.0).round() as u64)
}

fn exception(body: &[u8]) -> Option<Cow<'static, str>> {
    #[derive(Deserialize)]
    struct Body<'a> {
        #[serde(borrow, rename = "__type", alias = "code")]
        kind: Option<Cow<'a, str>>,
    }
    let kind = serde_json::from_slice::<Body<'_>>(body).ok()?.kind?;
    let name = kind.rsplit('#').next().unwrap_or(&kind);
    let known = KNOWN.iter().find(|(known, _)| *known == name);
    Some(match known {
        Some((known, _)) => Cow::Borrowed(*known),
        // It is shown on terminals and in pages: only what names are made of.
        None => Cow::Owned(name.chars().filter(|char| is_of_names(*char)).take(MOST_NAME).collect()),
    })
}

const fn is_of_names(char: char) -> bool {
    char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, body: &str) -> (Outcome, String) {
        let (outcome, name) = classify(status, body.as_bytes());
        (outcome, name.unwrap_or_default().into_owned())
    }

    #[test]
    fn answers_are_told_apart_by_status_and_exception() {
        let exception =
            |name: &str| format!(r#"{{"__type":"com.amazonaws.dynamodb.v20120810#{name}","message":"…"}}"#);
        for (name, outcome) in [
            ("ProvisionedThroughputExceededException", Outcome::Throttled),
            ("ThrottlingException", Outcome::Throttled),
            ("RequestLimitExceeded", Outcome::Throttled),
            ("ValidationException", Outcome::ClientError),
            ("SomethingNew", Outcome::ClientError),
        ] {
            assert_eq!(of(400, &exception(name)), (outcome, name.to_owned()));
        }
        assert_eq!(of(200, "{}"), (Outcome::Ok, String::new()));
        assert_eq!(
            of(400, &exception("ConditionalCheckFailedException")),
            (Outcome::ConditionFailed, String::new())
        );
        assert_eq!(
            of(500, &exception("InternalServerError")),
            (Outcome::ServerError, "InternalServerError".into())
        );
        assert_eq!(of(503, &exception("ThrottlingException")).0, Outcome::ServerError);
    }

    #[test]
    fn an_answer_without_an_exception_goes_by_its_status() {
        assert_eq!(of(503, "<html>busy</html>"), (Outcome::ServerError, "HTTP 503".into()));
        assert_eq!(of(403, ""), (Outcome::ClientError, "HTTP 403".into()));
        assert_eq!(of(301, "{}"), (Outcome::ClientError, "HTTP 301".into()));
        assert_eq!(of(400, r#"{"__type":"x#"}"#).0, Outcome::ClientError);
    }

    #[test]
    fn a_name_has_no_character_that_a_terminal_would_obey() {
        let long = "a".repeat(100);
        let body = format!(r#"{{"__type":"x#\u001b[2J<b>E\n_1.-{long}"}}"#);
        let (_, name) = of(400, &body);
        assert_eq!(name, format!("2JbE_1.-{}", "a".repeat(56)));
    }

    #[test]
    fn what_the_service_says_it_cost_is_added_up() {
        let one = br#"{"ConsumedCapacity":{"TableName":"t","CapacityUnits":0.5},"Item":{"CapacityUnits":{"N":"9"},"s":{"S":"\"CapacityUnits\":7"}}}"#;
        assert_eq!(
            reported_units(Operation::GetItemEventual, false, one),
            Units { read_milli: 500, write_milli: 0 }
        );
        let two = br#"{"ConsumedCapacity":[{"CapacityUnits": 2.0},{"CapacityUnits":3}]}"#;
        assert_eq!(
            reported_units(Operation::BatchWriteItem, false, two),
            Units { read_milli: 0, write_milli: 5000 }
        );
        assert_eq!(reported_units(Operation::ReadModifyWrite, false, one).read_milli, 500);
        assert_eq!(reported_units(Operation::ReadModifyWrite, true, one).write_milli, 500);
        assert_eq!(reported_units(Operation::GetItem, false, b"{}"), Units::default());
    }
}
