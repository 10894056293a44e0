//! What requests and answers have in common over both HTTP versions.

use std::error::Error;
use std::io;

use bytes::Bytes;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE as CONTENT_TYPE_HEADER, HeaderName, HeaderValue};
use hyper::{Request, Response, Uri};

use super::fault::Fault;
use crate::signer::{CONTENT_TYPE, Signed};

/// Bytes that an answer's body may have: `BatchGetItem` and `Scan` answer 16 MB of items at most, which JSON makes
/// larger.
const MOST_BODY: usize = 64 * 1024 * 1024;
const TOO_LONG: Fault = Fault::NoHttp("its body is too long");

/// A signed request to `uri`.
pub(super) fn request(uri: &Uri, target: &str, signed: &Signed<'_>, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = hyper::Method::POST;
    *request.uri_mut() = uri.clone();
    let headers = request.headers_mut();
    headers.insert(CONTENT_TYPE_HEADER, HeaderValue::from_static(CONTENT_TYPE));
    headers.insert(HeaderName::from_static("x-amz-target"), value(target.as_bytes()));
    headers.insert(HeaderName::from_static("x-amz-date"), value(signed.date.as_bytes()));
    if let Some(token) = signed.token {
        headers.insert(HeaderName::from_static("x-amz-security-token"), value(token.as_bytes()));
    }
    let mut authorization = Vec::with_capacity(signed.authorization.len() + signed.signature.len());
    authorization.extend_from_slice(signed.authorization.as_bytes());
    authorization.extend_from_slice(&signed.signature);
    let mut authorization = value(&authorization);
    // It is different each time: not for the header table of HTTP/2.
    authorization.set_sensitive(true);
    headers.insert(AUTHORIZATION, authorization);
    request
}

/// A header's value.
pub(super) fn value(bytes: &[u8]) -> HeaderValue {
    // Credentials come from files that people write: a character that no header may have must not end the run.
    HeaderValue::from_bytes(bytes).unwrap_or_else(|_| HeaderValue::from_static("invalid"))
}

/// An answer's whole body.
pub(super) async fn collect(answer: Response<Incoming>) -> Result<Bytes, Fault> {
    let body = answer.into_body();
    if body.size_hint().lower() > MOST_BODY as u64 {
        return Err(TOO_LONG);
    }
    match Limited::new(body, MOST_BODY).collect().await {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(TOO_LONG),
        Err(error) => Err(match error.downcast::<hyper::Error>() {
            Ok(error) => fault(*error),
            Err(other) => Fault::Broken(io::Error::other(other)),
        }),
    }
}

/// What hyper's error is for us.
pub(super) fn fault(error: hyper::Error) -> Fault {
    let ended = error
        .source()
        .and_then(|cause| cause.downcast_ref::<io::Error>())
        .is_some_and(|cause| cause.kind() == io::ErrorKind::UnexpectedEof);
    if error.is_parse() {
        Fault::NoHttp("it is malformed")
    } else if ended || error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        Fault::Closed
    } else {
        Fault::Broken(io::Error::other(error))
    }
}
