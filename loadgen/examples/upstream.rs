//! What stands behind a proxy that is no DynamoDB: answers every request at once, a GetItem with an item of about
//! 1 KB and anything else with `{}`, with the headers that DynamoDB's answers have.
//!
//! One thread. Prints where it listens. `loadgen/bench/run` puts it behind Envoy, nginx and HAProxy.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    println!("{}", listener.local_addr()?);
    let item = item();
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(serve(stream, item.clone()));
    }
}

async fn serve(stream: TcpStream, item: Bytes) {
    let service = service_fn(|request: Request<Incoming>| answer(request, item.clone()));
    // A connection that its proxy broke off needs no report.
    let _ended = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, item: Bytes) -> Result<Response<Full<Bytes>>, Infallible> {
    let is_get =
        request.headers().get("x-amz-target").is_some_and(|target| target.as_bytes().ends_with(b".GetItem"));
    // Read whole, whatever it is.
    let _body = request.into_body().collect().await;
    let response = Response::builder()
        .header("content-type", "application/x-amz-json-1.0")
        .header("x-amzn-requestid", "4KBNVRGD25RG1KEO9UT4V3FQDJVV4KQNSO5AEMVJF66Q9ASUAAJG")
        .header("x-amz-crc32", "2745614147")
        .body(Full::new(if is_get { item } else { Bytes::from_static(b"{}") }));
    Ok(response.expect("every header is plain ASCII"))
}

/// As long as what `closed_loop` reads back of what it wrote.
fn item() -> Bytes {
    let mut body = String::from(r#"{"Item":{"pk":{"S":"user00000000000000001234"}"#);
    for field in 0..9 {
        body.push_str(&format!(r#","field{field}":{{"S":"{}"}}"#, "x".repeat(78)));
    }
    body.push_str("}}");
    body.into()
}
