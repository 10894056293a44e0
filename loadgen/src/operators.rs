//! What the fleet's operators' endpoints say during a run: admitted against quota, and refusals by cause.
//!
//! Proxies say per table what was asked, admitted and refused over the last second (`GET /admission/top`), the
//! control plane which quotas are in force (`GET /quotas`). Each endpoint is asked once what it is (`GET /about`),
//! so any mixture can be given. Asking is beside the load: an endpoint that is slow or gone leaves a sample out,
//! and never holds the run up.

mod answers;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::{Request, Uri};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::Timestamp;

use crate::result::{OperatorsView, QuotaSample};
use answers::{About, Quota, Top, samples};

/// How often: proxies count by the second.
const EVERY: Duration = Duration::from_secs(1);
/// How long a connection may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(2);
/// How long an answer may take; what takes longer is left out of the sample.
const ANSWER_WITHIN: Duration = Duration::from_millis(900);
/// Bytes of an answer: 200 rows of a proxy take 100 kB, 10,000 quotas 5 MB.
const MOST_BYTES: usize = 64 << 20;
/// Quotas change seldom: they are asked for every so many samples.
const QUOTAS_EVERY: u64 = 5;
/// Samples of one run: 16 hours of ten tables, in some 40 MB.
const MOST_SAMPLES: usize = 2 * 10 * 60_000;

/// Where the fleet's operators' endpoints are.
#[derive(Clone)]
pub struct OperatorsEndpoints {
    /// `http://host:port` of proxies and, for quotas, of members of the control plane.
    pub urls: Vec<String>,
    /// The operators' token; reading on loopback needs none.
    pub token: Option<String>,
}

impl std::fmt::Debug for OperatorsEndpoints {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OperatorsEndpoints").field("urls", &self.urls).finish_non_exhaustive()
    }
}

/// Why the endpoints cannot be asked.
#[derive(Debug, thiserror::Error)]
pub enum OperatorsError {
    /// An endpoint does not answer as one.
    #[error("{url} is no operators' endpoint of weir that answers: {why}")]
    Silent {
        /// Which.
        url: String,
        /// Why.
        why: String,
    },
    /// There is no proxy among them.
    #[error(
        "none of the operators' endpoints is a proxy's ({0}): admitted and refused capacity is known to proxies"
    )]
    NoProxy(String),
}

/// Samples the endpoints in the background until it is told to stop.
#[derive(Debug)]
pub struct OperatorsSampling {
    samples: Arc<Mutex<Vec<QuotaSample>>>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

/// Asks endpoints.
#[derive(Clone)]
struct Asker {
    http: Client<HttpConnector, Full<Bytes>>,
    token: Option<String>,
}

impl OperatorsSampling {
    /// Begins: `began` is when the measured part begins, which may be later (samples before it are not kept);
    /// `tables` are those of the run.
    ///
    /// # Errors
    /// When an endpoint does not answer, or none is a proxy's: better said before a run than after it.
    pub async fn start(
        endpoints: OperatorsEndpoints,
        tables: BTreeSet<String>,
        began: Timestamp,
    ) -> Result<Self, OperatorsError> {
        let asker = Asker::new(endpoints.token);
        let (mut proxies, mut control) = (Vec::new(), Vec::new());
        for url in endpoints.urls {
            let url = url.trim_end_matches('/').to_owned();
            let url = if url.contains("://") { url } else { format!("http://{url}") };
            let about: About = asker
                .get(&url, "/about")
                .await
                .map_err(|why| OperatorsError::Silent { url: url.clone(), why })?;
            if about.is("control") {
                control.push(url.clone());
            }
            if about.is("proxy") {
                proxies.push(url);
            }
        }
        if proxies.is_empty() {
            return Err(OperatorsError::NoProxy(control.join(", ")));
        }
        let (samples, stop) = (Arc::default(), CancellationToken::new());
        let sampler = Sampler { asker, proxies, control, tables, began, samples: Arc::clone(&samples) };
        let task = tokio::spawn(sampler.run(stop.clone()));
        Ok(Self { samples, stop, task })
    }

    /// Stops, and gives what was seen.
    pub async fn finish(self) -> OperatorsView {
        self.stop.cancel();
        // It only ends by being told to; if it panicked, what it saw until then is still true.
        _ = self.task.await;
        let mut samples = self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        OperatorsView { samples: std::mem::take(&mut samples) }
    }
}

struct Sampler {
    asker: Asker,
    proxies: Vec<String>,
    control: Vec<String>,
    tables: BTreeSet<String>,
    began: Timestamp,
    samples: Arc<Mutex<Vec<QuotaSample>>>,
}

impl Sampler {
    async fn run(self, stop: CancellationToken) {
        let mut every = tokio::time::interval(EVERY);
        every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        let mut quotas: Vec<Quota> = Vec::new();
        for round in 0u64.. {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = every.tick() => {}
            }
            if round.is_multiple_of(QUOTAS_EVERY) {
                quotas = self.quotas().await.unwrap_or(quotas);
            }
            let seen = self.seen().await;
            let now = wire::clock::now();
            // What a proxy says is of the second before; what began before the run is not of it.
            if now < self.began + EVERY || seen.is_empty() {
                continue;
            }
            let at = now.since(self.began).saturating_sub(EVERY);
            let new = samples(&seen, &quotas, &self.tables, at);
            let mut samples = self.samples.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if samples.len() + new.len() > MOST_SAMPLES {
                return;
            }
            samples.extend(new);
        }
    }

    /// What the proxies say that answer in time.
    async fn seen(&self) -> Vec<Top> {
        let asked = self.proxies.iter().map(|url| {
            let (asker, url) = (self.asker.clone(), url.clone());
            tokio::spawn(async move { asker.get::<Top>(&url, "/admission/top").await })
        });
        let mut seen = Vec::new();
        for asked in asked.collect::<Vec<_>>() {
            if let Ok(Ok(top)) = asked.await {
                seen.push(top);
            }
        }
        // A sum over some of the proxies would look like a drop.
        if seen.len() == self.proxies.len() { seen } else { Vec::new() }
    }

    /// The quotas, from the first member of the control plane that knows.
    async fn quotas(&self) -> Option<Vec<Quota>> {
        for url in &self.control {
            if let Ok(quotas) = self.asker.get(url, "/quotas").await {
                return Some(quotas);
            }
        }
        None
    }
}

impl Asker {
    fn new(token: Option<String>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_connect_timeout(Some(CONNECT_WITHIN));
        Self { http: Client::builder(TokioExecutor::new()).build(connector), token }
    }

    async fn get<T: DeserializeOwned>(&self, base: &str, path: &str) -> Result<T, String> {
        let uri: Uri = format!("{base}{path}").parse().map_err(|_| "this is not a URL".to_owned())?;
        let mut request = Request::get(uri);
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let request = request.body(Full::default()).map_err(|error| error.to_string())?;
        let exchange = async {
            let response = self.http.request(request).await.map_err(|error| chain(&error))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), MOST_BYTES).collect().await;
            Ok::<_, String>((status, body.map_err(|error| error.to_string())?.to_bytes()))
        };
        let (status, body) = tokio::time::timeout(ANSWER_WITHIN, exchange)
            .await
            .map_err(|_| format!("nothing came within {ANSWER_WITHIN:?}"))??;
        if !status.is_success() {
            let body: String = String::from_utf8_lossy(&body).chars().take(200).collect();
            return Err(format!("{status}: {body}"));
        }
        serde_json::from_slice(&body).map_err(|error| error.to_string())
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

#[cfg(test)]
mod tests;
