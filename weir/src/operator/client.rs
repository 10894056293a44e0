//! Asks an operators' endpoint over HTTP.

use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy::Client as HttpClient;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::failure::Failure;
use crate::admin::{Problem, ProblemKind};
use crate::operator_token::OperatorToken;

/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer may take; a little longer than servers give themselves.
const ANSWER_WITHIN: Duration = Duration::from_secs(45);
/// Bytes of an answer: a fleet's status is far below it.
const MAX_ANSWER: usize = 64 << 20;

/// A client of operators' endpoints. Cloning shares its connections.
#[derive(Clone)]
pub(crate) struct Client {
    http: HttpClient<HttpConnector, Full<Bytes>>,
    token: Option<OperatorToken>,
}

impl Client {
    /// A client that shows `token`, if there is one.
    pub(crate) fn new(token: Option<OperatorToken>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        Self { http: HttpClient::builder(TokioExecutor::new()).build(connector), token }
    }

    /// What is at `base` + `path`.
    pub(crate) async fn get<T: DeserializeOwned>(&self, base: &str, path: &str) -> Result<T, Failure> {
        self.get_within(base, path, ANSWER_WITHIN).await
    }

    /// The same, from what should be quick: a process that is frozen takes connections, too.
    pub(crate) async fn get_within<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        within: Duration,
    ) -> Result<T, Failure> {
        self.ask(Method::GET, (base, path), Bytes::new(), within).await
    }

    /// Sends `body` to `base` + `path`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        base: &str,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.ask(Method::POST, (base, path), serde_json::to_vec(body)?.into(), ANSWER_WITHIN).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        (base, path): (&str, &str),
        body: Bytes,
        within: Duration,
    ) -> Result<T, Failure> {
        let uri: Uri = format!("{base}{path}")
            .parse()
            .map_err(|_| Failure::Refused(format!("{base}{path} is not a URL")))?;
        let mut request = Request::builder().method(method).uri(uri);
        if !body.is_empty() {
            request = request.header("Content-Type", "application/json");
        }
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {}", token.reveal()));
        }
        let request = request.body(Full::new(body)).map_err(anyhow::Error::from)?;
        let unreachable = |why: String| Failure::Unreachable(format!("{base} does not answer: {why}"));
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| unreachable(chain(&error)))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
            Ok::<_, Failure>((status, body.map_err(|error| unreachable(error.to_string()))?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(within, exchange)
            .await
            .map_err(|_| unreachable(format!("nothing came within {within:?}")))??;
        read(status, &body).map_err(|failure| match failure {
            Failure::Other(error) => Failure::Other(error.context(format!("the answer of {base}{path}"))),
            failure => failure,
        })
    }
}

/// The answer, or why there is none.
fn read<T: DeserializeOwned>(status: StatusCode, body: &[u8]) -> Result<T, Failure> {
    if status.is_success() {
        return serde_json::from_slice(body).map_err(Failure::from);
    }
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Err(Failure::of(problem.error, problem.message)),
        // Refused before any of our code: a malformed path or body.
        Err(_) => {
            let kind = if status.is_server_error() { ProblemKind::Unavailable } else { ProblemKind::Invalid };
            Err(Failure::of(kind, format!("{status}: {}", String::from_utf8_lossy(body).trim())))
        }
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
