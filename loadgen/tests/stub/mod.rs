//! A service that does nothing but answer, on a thread of its own.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::{CancellationToken, DropGuard};

/// One answer: how long it takes, its status and its body.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) after: Duration,
    pub(crate) status: u16,
    pub(crate) body: &'static str,
}

impl Reply {
    pub(crate) const OK: Self = Self { after: Duration::ZERO, status: 200, body: "{}" };
}

/// A request as the service sees it: `X-Amz-Target`, and how long the service had been there when it came.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) target: String,
    pub(crate) since: Duration,
}

/// The service; it goes with this handle.
#[derive(Debug)]
pub(crate) struct Stub {
    address: SocketAddr,
    _stop: DropGuard,
}

impl Stub {
    /// Starts a service that answers by a rule.
    pub(crate) fn start(rule: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let (address_sender, address) = std::sync::mpsc::channel();
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("the stub and the spec are sound");
            runtime.block_on(async {
                let listener =
                    TcpListener::bind("127.0.0.1:0").await.expect("the stub and the spec are sound");
                address_sender
                    .send(listener.local_addr().expect("the stub and the spec are sound"))
                    .expect("the test waits for it");
                stopped.run_until_cancelled(accept(listener, Arc::new(rule))).await;
            });
        });
        Self { address: address.recv().expect("the stub and the spec are sound"), _stop: stop.drop_guard() }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

async fn accept(listener: TcpListener, rule: Arc<impl Fn(&Asked) -> Reply + Send + Sync + 'static>) {
    let start = wire::clock::now();
    loop {
        let (stream, _) = listener.accept().await.expect("the stub and the spec are sound");
        stream.set_nodelay(true).expect("the stub and the spec are sound");
        tokio::spawn(serve(stream, start, Arc::clone(&rule)));
    }
}

async fn serve(
    stream: TcpStream,
    start: units::Timestamp,
    rule: Arc<impl Fn(&Asked) -> Reply + Send + Sync + 'static>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let rule = Arc::clone(&rule);
        async move {
            let target = request
                .headers()
                .get("x-amz-target")
                .map_or("", |target| target.to_str().expect("the stub and the spec are sound"));
            let asked = Asked { target: target.to_owned(), since: wire::clock::now().since(start) };
            let reply = rule(&asked);
            _ = request.into_body().collect().await;
            if !reply.after.is_zero() {
                tokio::time::sleep(reply.after).await;
            }
            let body = Full::new(Bytes::from_static(reply.body.as_bytes()));
            Ok::<_, Infallible>(
                Response::builder().status(reply.status).body(body).expect("the stub and the spec are sound"),
            )
        }
    });
    // A client that hangs up is no failure of the service.
    _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}
