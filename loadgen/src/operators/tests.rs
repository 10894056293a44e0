use std::convert::Infallible;
use std::net::SocketAddr;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;

const TOP: &str = r#"{"tables":[
    {"name":"orders","capacity":"write",
     "last_second":{"offered":{"units":150.0,"requests":150.0},"admitted":{"units":100.5,"requests":100.0},
        "throttled":{"quota":{"units":30.0,"requests":30.0},"share":{"units":19.5,"requests":20.0}},
        "shadow":{"units":0.0,"requests":0.0}},
     "last_ten_seconds":{"offered":{"units":0.0,"requests":0.0},"admitted":{"units":0.0,"requests":0.0},
        "throttled":{},"shadow":{"units":0.0,"requests":0.0}}},
    {"name":"others","capacity":"read",
     "last_second":{"offered":{"units":1.0,"requests":1.0},"admitted":{"units":1.0,"requests":1.0},
        "throttled":{},"shadow":{"units":0.0,"requests":0.0}},
     "last_ten_seconds":{"offered":{"units":0.0,"requests":0.0},"admitted":{"units":0.0,"requests":0.0},
        "throttled":{},"shadow":{"units":0.0,"requests":0.0}}}],"principals":[]}"#;

const QUOTAS: &str = r#"[
    {"subject":"table/orders","kind":"write","bucket":7,"current":{"version":3,"terms":
        {"mode":"provisioned","rate":200,"burst":null,"outage":"fair","shadow":false,"weight":1,"floor":0,
         "cap":null,"priority":0},"cause":"create_table","author":"a","reason":"","at_ms":1}},
    {"subject":"table/orders","kind":"read","bucket":8,"current":{"version":3,"terms":
        {"mode":"provisioned","rate":900,"shadow":true},"cause":"create_table","author":"a","reason":"","at_ms":1}},
    {"subject":"account","kind":"read","bucket":null,"current":{"version":1,"terms":
        {"mode":"unlimited","rate":0},"cause":"set","author":"a","reason":"","at_ms":1}}]"#;

fn orders() -> BTreeSet<String> {
    ["orders".to_owned()].into()
}

#[test]
fn what_proxies_say_is_summed_by_table_and_capacity_beside_the_quota() {
    let top: Top = serde_json::from_str(TOP).unwrap();
    let quotas: Vec<Quota> = serde_json::from_str(QUOTAS).unwrap();

    let samples = samples(&[top.clone(), top], &quotas, &orders(), Duration::from_millis(1500));

    assert_eq!(samples.len(), 2, "of the run's table only");
    let [read, write] = &samples[..] else { unreachable!() };
    assert!(write.write && !read.write);
    assert_eq!((write.at_us, write.admitted_milli, write.quota_milli), (1_500_000, 201_000, Some(200_000)));
    let refused = [("quota".to_owned(), 60_000), ("share".to_owned(), 39_000)];
    assert_eq!(write.refused_milli, refused.into());
    assert_eq!((read.admitted_milli, read.quota_milli), (0, None), "a shadow quota refuses nothing");
}

#[tokio::test]
async fn samples_come_from_every_proxy_and_the_control_plane_with_the_token() {
    let fleet = [Fake::start("proxy").await, Fake::start("proxy").await, Fake::start("control").await];
    let urls = fleet.iter().map(|address| address.to_string()).collect();
    let endpoints = OperatorsEndpoints { urls, token: Some("secret".into()) };
    assert!(!format!("{endpoints:?}").contains("secret"));
    // The run began long ago, so that the first sample counts.
    let began = Timestamp::from_nanos(0);

    let sampling = OperatorsSampling::start(endpoints, orders(), began).await.unwrap();
    let first = async {
        while sampling.samples.lock().unwrap().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), first).await.expect("a sample comes");
    let view = sampling.finish().await;

    let write = view.samples.iter().find(|sample| sample.write).unwrap();
    assert_eq!((write.admitted_milli, write.quota_milli), (201_000, Some(200_000)));
}

#[tokio::test]
async fn an_endpoint_that_is_silent_or_no_proxy_is_named_before_the_run() {
    let control = Fake::start("control").await;
    let start = |url: String| {
        let endpoints = OperatorsEndpoints { urls: vec![url], token: Some("secret".into()) };
        OperatorsSampling::start(endpoints, orders(), Timestamp::from_nanos(0))
    };

    let error = start(format!("http://{control}")).await.unwrap_err().to_string();
    assert!(error.contains("none of the operators' endpoints is a proxy's"), "{error}");

    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let error = start(format!("http://{nobody}/")).await.unwrap_err().to_string();
    assert!(error.contains(&nobody.to_string()), "{error}");
}

/// An operators' endpoint that says what a process of one tier would, to those who show the token.
struct Fake;

impl Fake {
    async fn start(tier: &'static str) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answer = service_fn(move |request: Request<hyper::body::Incoming>| async move {
                    let authorized =
                        request.headers().get("Authorization").is_some_and(|shown| shown == "Bearer secret");
                    let (status, body) = match (authorized, request.uri().path()) {
                        (false, _) => (StatusCode::UNAUTHORIZED, String::new()),
                        (_, "/about") => (StatusCode::OK, format!(r#"{{"tiers":["{tier}"],"version":"0"}}"#)),
                        (_, "/admission/top") if tier == "proxy" => (StatusCode::OK, TOP.to_owned()),
                        (_, "/quotas") if tier == "control" => (StatusCode::OK, QUOTAS.to_owned()),
                        _ => (StatusCode::NOT_FOUND, String::new()),
                    };
                    let body = Full::new(Bytes::from(body));
                    Ok::<_, Infallible>(Response::builder().status(status).body(body).unwrap())
                });
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
            }
        });
        address
    }
}
