//! Single calls outside of runs, with errors that say what to do.

use serde_json::Value;

use crate::engine::{CallError, Client};

/// Why a call failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallFailure {
    /// There is no such table.
    #[error("there is no such table")]
    NoTable,
    /// Refused for capacity: worth another try.
    #[error("throttled: {0}")]
    Throttled(String),
    /// The service failed, or there was no answer: worth another try.
    #[error("{0}")]
    Unavailable(String),
    /// Nobody listens there.
    #[error("{0}. Is the endpoint right, and does it run?")]
    Unreachable(String),
    /// Refused, and will be again.
    #[error("{0}")]
    Refused(String),
}

impl CallFailure {
    /// Whether the same may succeed later.
    pub(super) const fn may_pass(&self) -> bool {
        matches!(self, Self::Throttled(_) | Self::Unavailable(_))
    }
}

/// What to do about a handshake that failed.
const UNTRUSTED: &str = "\n  If the endpoint's certificate is not trusted: SSL_CERT_FILE can name a root certificate file \
                         (PEM). If it does not speak TLS: write http://";

/// Calls an operation, and reads its answer.
pub(super) async fn call(client: &mut Client, operation: &str, body: Vec<u8>) -> Result<Value, CallFailure> {
    match client.call(operation, body.into()).await {
        Ok(answer) => read(operation, answer.status, &answer.body),
        Err(error @ CallError::NotSent { name: "TlsHandshakeFailed", .. }) => {
            Err(CallFailure::Refused(format!("{error}{UNTRUSTED}")))
        }
        Err(error @ CallError::NotSent { .. }) => Err(CallFailure::Unreachable(error.to_string())),
        Err(error @ CallError::Unanswered { .. }) => Err(CallFailure::Unavailable(error.to_string())),
    }
}

/// What an answer says.
fn read(operation: &str, status: u16, body: &[u8]) -> Result<Value, CallFailure> {
    let value = serde_json::from_slice::<Value>(body);
    if status == 200 {
        return value
            .map_err(|error| CallFailure::Refused(format!("{operation} was not answered in JSON: {error}")));
    }
    let Ok(value) = value else {
        return Err(CallFailure::Refused(format!(
            "{operation} was answered by HTTP {status} without an exception: this is no DynamoDB endpoint, or a proxy \
             before it refuses"
        )));
    };
    let kind = value["__type"].as_str().unwrap_or_default();
    let kind = kind.rsplit('#').next().unwrap_or(kind).to_owned();
    let message = ["message", "Message"].iter().find_map(|name| value[*name].as_str()).unwrap_or_default();
    let text = format!("{operation}: {kind}: {message}");
    Err(match kind.as_str() {
        "ResourceNotFoundException" => CallFailure::NoTable,
        "ProvisionedThroughputExceededException" | "ThrottlingException" | "RequestLimitExceeded" => {
            CallFailure::Throttled(text)
        }
        _ if status >= 500 => CallFailure::Unavailable(text),
        kind => CallFailure::Refused(format!("{text}{}", advice(kind, message))),
    })
}

/// What to do about a refusal, where that is known.
fn advice(kind: &str, message: &str) -> &'static str {
    match kind {
        "UnrecognizedClientException" | "InvalidClientTokenId" => {
            "\n  The endpoint does not know this access key. Credentials come from AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, else from --profile or the default profile; `weir dev` prints the pair that it \
             accepts, and --dir takes it from the folder of a local fleet"
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch"
            if ["expired", "not yet", "Signature not"].iter().any(|words| message.contains(words)) =>
        {
            "\n  This machine's clock and the endpoint's differ by more than five minutes: set the clock (NTP)"
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "\n  The secret key is another than the endpoint has for this access key, or the --region is wrong"
        }
        "AccessDeniedException" => {
            "\n  The key is known and not allowed to do this: its policy must allow it"
        }
        "ExpiredTokenException" => "\n  The session token has expired: get new credentials",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, body: &str) -> String {
        read("GetItem", status, body.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn what_may_pass_is_told_from_what_will_be_refused_again() {
        let of = |status, kind: &str| {
            read("PutItem", status, format!(r#"{{"__type":"a#{kind}","message":"m"}}"#).as_bytes())
                .unwrap_err()
        };
        assert!(of(400, "ThrottlingException").may_pass() && of(503, "ServiceUnavailable").may_pass());
        assert!(!of(400, "ValidationException").may_pass());
        assert_eq!(of(400, "ResourceNotFoundException"), CallFailure::NoTable);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let body = |kind: &str, message: &str| format!(r#"{{"__type":"a#{kind}","message":"{message}"}}"#);
        for (kind, message, expected) in [
            (
                "UnrecognizedClientException",
                "The security token included in the request is invalid.",
                "AWS_ACCESS_KEY_ID",
            ),
            (
                "InvalidSignatureException",
                "Signature expired: 20260101T000000Z is now earlier than …",
                "clock",
            ),
            ("InvalidSignatureException", "The request signature we calculated does not match", "--region"),
            ("AccessDeniedException", "no", "policy"),
        ] {
            let text = refused(400, &body(kind, message));
            assert!(text.contains(kind) && text.contains(message) && text.contains(expected), "{text}");
        }
        assert!(refused(403, "<html>").contains("no DynamoDB endpoint"));
    }
}
