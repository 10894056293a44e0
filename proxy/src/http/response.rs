//! Responses with DynamoDB's headers.

use std::sync::LazyLock;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use dynamodb::api::error_body;
use dynamodb::error::{ApiError, ErrorKind};

use super::request_id::RequestId;
use super::{Answer, RetryHint};

pub(super) type HttpResponse = Response<Full<Bytes>>;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const CRC32: HeaderName = HeaderName::from_static("x-amz-crc32");
/// `Retry-After` in milliseconds: most quotas are earned back in less than a second.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("x-weir-retry-after-ms");
/// What to ask `weir explain` about: the request's id, which names its proxy, too.
const EXPLAIN: HeaderName = HeaderName::from_static("x-weir-explain");
const JSON_1_0: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");
/// What DynamoDB calls itself.
const SERVER: HeaderValue = HeaderValue::from_static("Server");
/// DynamoDB's answer to what is no operation at all.
const UNKNOWN_OPERATION: &[u8] = b"<UnknownOperationException/>\n";
/// How long a browser may remember the answer to a pre-flight, as DynamoDB's: two days.
const PREFLIGHT_SECONDS: HeaderValue = HeaderValue::from_static("172800");

/// What every answer says, with gaps for the first values of [`with`].
static ANSWERED: LazyLock<HeaderMap> = LazyLock::new(|| with_gaps([header::CONTENT_TYPE, REQUEST_ID, CRC32]));
/// What a refusal says that has an end.
static REFUSED: LazyLock<HeaderMap> = LazyLock::new(|| {
    with_gaps([header::CONTENT_TYPE, REQUEST_ID, CRC32, EXPLAIN, RETRY_AFTER_MS, header::RETRY_AFTER])
});

/// The content types that DynamoDB's clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ContentType {
    Json10,
    Json11,
    Json,
}

impl ContentType {
    /// Reads `Content-Type`, parameters aside.
    pub(super) fn of(headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(header::CONTENT_TYPE)?;
        if value == JSON_1_0 {
            return Some(Self::Json10);
        }
        let value = value.to_str().ok()?;
        match value.split(';').next()?.trim() {
            "application/x-amz-json-1.0" => Some(Self::Json10),
            "application/x-amz-json-1.1" => Some(Self::Json11),
            "application/json" => Some(Self::Json),
            _ => None,
        }
    }

    const fn value(self) -> HeaderValue {
        match self {
            Self::Json10 => JSON_1_0,
            Self::Json11 => HeaderValue::from_static("application/x-amz-json-1.1"),
            Self::Json => HeaderValue::from_static("application/json"),
        }
    }
}

/// An exception as an answer.
pub(crate) fn exception(error: &ApiError) -> Answer {
    Answer { status: error.kind.http_status(), body: error_body(error, None).into(), throttled: None }
}

/// `answer` over HTTP.
pub(super) fn json(answer: Answer, id: &RequestId, content_type: ContentType) -> HttpResponse {
    let (content_type, checksum) = (content_type.value(), HeaderValue::from(crc32fast::hash(&answer.body)));
    let mut response = Response::new(Full::new(answer.body));
    *response.status_mut() = StatusCode::from_u16(answer.status).expect("exceptions have valid statuses");
    let id = id.header_value();
    *response.headers_mut() = match answer.throttled {
        None => with(&ANSWERED, [content_type, id, checksum]),
        Some(RetryHint { after: Some(after) }) if answer.status != StatusCode::OK.as_u16() => {
            let [millis, seconds] = when_to_retry(after);
            with(&REFUSED, [content_type, id.clone(), checksum, id, millis, seconds])
        }
        Some(RetryHint { after }) => {
            let mut headers = with(&ANSWERED, [content_type, id.clone(), checksum]);
            headers.insert(EXPLAIN, id);
            if let Some(after) = after {
                // A batch that was done in part succeeded: what is left of it has its own time, in milliseconds.
                let [millis, _] = when_to_retry(after);
                headers.insert(RETRY_AFTER_MS, millis);
            }
            headers
        }
    };
    response
}

/// Headers whose names are hashed once, here: to copy them costs less than half of inserting each.
fn with_gaps<const GAPS: usize>(names: [HeaderName; GAPS]) -> HeaderMap {
    let mut headers: HeaderMap = names.map(|name| (name, HeaderValue::from_static(""))).into_iter().collect();
    headers.insert(header::SERVER, SERVER);
    headers
}

/// A copy with its gaps, which were inserted first, filled in the order of their names: nothing is ever removed, so
/// that is the order of the values, too.
fn with<const GAPS: usize>(headers: &HeaderMap, values: [HeaderValue; GAPS]) -> HeaderMap {
    let mut headers = headers.clone();
    for (gap, value) in headers.values_mut().zip(values) {
        *gap = value;
    }
    headers
}

/// Both rounded up, so that whoever obeys finds the tokens there; `Retry-After` counts whole seconds (RFC 9110
/// §10.2.3).
fn when_to_retry(after: Duration) -> [HeaderValue; 2] {
    let millis = u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX);
    let seconds = match millis.div_ceil(1000).max(1) {
        // Most quotas are earned back within it: not worth an allocation.
        1 => HeaderValue::from_static("1"),
        more => HeaderValue::from(more),
    };
    [HeaderValue::from(millis), seconds]
}

/// An exception over HTTP, and the end of the connection.
pub(super) fn refusal(kind: ErrorKind, message: &'static str, id: &RequestId) -> HttpResponse {
    closing(json(exception(&ApiError::new(kind, message)), id, ContentType::Json10))
}

/// A request that is not HTTP as we accept it.
pub(super) fn bad_request(id: &RequestId) -> HttpResponse {
    refusal(ErrorKind::Serialization, "", id)
}

/// `GET /`: what load balancers and curious people ask.
pub(super) fn healthy(region: &str, id: &RequestId) -> HttpResponse {
    text(StatusCode::OK, format!("healthy: dynamodb.{region}.amazonaws.com ").into(), id)
}

/// Whatever is not `POST /` with JSON.
pub(super) fn unknown_operation(id: &RequestId) -> HttpResponse {
    text(StatusCode::NOT_FOUND, Bytes::from_static(UNKNOWN_OPERATION), id)
}

/// A browser's pre-flight.
pub(super) fn preflight(asked: &HeaderMap, id: &RequestId) -> HttpResponse {
    let mut response = text(StatusCode::OK, Bytes::new(), id);
    let headers = response.headers_mut();
    allow_any_origin(headers);
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_SECONDS);
    for (request, answer) in [
        (header::ACCESS_CONTROL_REQUEST_HEADERS, header::ACCESS_CONTROL_ALLOW_HEADERS),
        (header::ACCESS_CONTROL_REQUEST_METHOD, header::ACCESS_CONTROL_ALLOW_METHODS),
    ] {
        if let Some(value) = asked.get(request) {
            headers.insert(answer, value.clone());
        }
    }
    response
}

/// Lets a browser's script read the answer: it had to sign the request, so it may.
pub(super) fn allow_any_origin(headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(
        header::ACCESS_CONTROL_EXPOSE_HEADERS,
        HeaderValue::from_static(
            "x-amzn-RequestId,x-amz-crc32,Date,Retry-After,x-weir-retry-after-ms,x-weir-explain",
        ),
    );
}

/// Marks the connection as ended after this response.
pub(super) fn closing(mut response: HttpResponse) -> HttpResponse {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

fn text(status: StatusCode, body: Bytes, id: &RequestId) -> HttpResponse {
    let checksum = crc32fast::hash(&body);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::SERVER, SERVER);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    headers.insert(REQUEST_ID, id.header_value());
    headers.insert(CRC32, HeaderValue::from(checksum));
    response
}
