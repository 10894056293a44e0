//! A running proxy: its tiers' clients put together, and the server around them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use storage_adapter::{NodeAddress, ReplicatedStore};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use units::{ProxyId, Zone};

use crate::admission::{Admission, AdmissionConfig, Explanation, Top};
use crate::auth::Authenticator;
use crate::config::{Config, ConfigError};
use crate::control_client::ControlClient;
use crate::http::Server;
use crate::request_path::{Deadlines, RequestPath, Tiers};
use crate::routing::{Flushed, Routing, RoutingConfig, RoutingStatus};

/// Why a proxy did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration cannot be used.
    #[error("the proxy's configuration is invalid")]
    Config(#[from] ConfigError),
    /// The port cannot be had.
    #[error("cannot listen on {address}")]
    Listen {
        /// The address that was asked for.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// A running proxy.
#[derive(Debug)]
pub struct Handle {
    /// Where it listens.
    pub address: SocketAddr,
    routing: Routing,
    admission: Admission,
    served: JoinHandle<()>,
    nodes_followed: JoinHandle<()>,
}

/// Shows operators what a proxy admits and refuses, and flushes its caches; outlives it.
#[derive(Clone, Debug)]
pub struct Inspector {
    admission: Admission,
    routing: Routing,
}

/// The tiers of a fleet.
struct Fleet;

impl Tiers for Fleet {
    type Credentials = ControlClient;
    type Metadata = Routing;
    type Gate = Admission;
    type Store = Arc<ReplicatedStore>;
    type Tables = ControlClient;
}

/// Starts a proxy; it runs until `shutdown`, and then drains.
///
/// # Errors
/// When the configuration is invalid, or the port cannot be had.
pub async fn start(config: Config, shutdown: CancellationToken) -> Result<Handle, StartError> {
    config.validate()?;
    crate::metrics::describe();
    let listen = |source| StartError::Listen { address: config.listen, source };
    let listener = TcpListener::bind(config.listen).await.map_err(listen)?;
    let address = listener.local_addr().map_err(listen)?;
    if config.accept_any_credentials {
        tracing::warn!("signatures are not checked: any credentials are accepted on this loopback address");
    }

    let process = uuid::Uuid::new_v4().as_u128();
    // The clients outlive the server's drain: what it still answers needs them.
    let clients = CancellationToken::new();
    let routing = Routing::open(
        &RoutingConfig {
            memds: config.memds.clone(),
            cached_routes: config.cached_routes,
            warm_routes_bytes: config.warm_routes_bytes,
        },
        clients.clone(),
    );
    let admission = Admission::start(admission_config(&config, process), &clients);
    let store = Arc::new(ReplicatedStore::new("proxy", Zone::new(config.zone)));
    let moved = routing.clone();
    store.on_moved(move |route| moved.learn_moved(route));
    let nodes_followed = tokio::spawn(follow_nodes(routing.clone(), Arc::clone(&store), clients.clone()));
    let control = ControlClient::open(&config.control);

    let only_region = config.require_region.then(|| config.region.clone());
    let path = RequestPath::<Fleet>::new(
        Authenticator::new(control.clone(), only_region, config.accept_any_credentials),
        (routing.clone(), admission.clone(), store, control),
        Deadlines { request: config.request_deadline(), table: config.table_deadline() },
    );
    let server = Server::new(Arc::new(path), config.http.clone(), config.region.clone(), process);
    let served = tokio::spawn(async move {
        server.serve(listener, shutdown).await;
        clients.cancel();
    });
    tracing::info!(%address, region = config.region, zone = config.zone, "the proxy serves");
    Ok(Handle { address, routing, admission, served, nodes_followed })
}

/// Runs a proxy until `shutdown`.
///
/// # Errors
/// As [`start`].
pub async fn run(config: Config, shutdown: CancellationToken) -> Result<(), StartError> {
    start(config, shutdown).await?.stopped().await;
    Ok(())
}

impl Handle {
    /// Whether requests for items can be routed: what `/readyz` says. Once it is so it stays so, since nodes
    /// are not forgotten: what is cached is served also while MemDS is away, and a load balancer must not drop
    /// every proxy then.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        !self.routing.nodes().is_empty()
    }

    /// Why the request of this id (or explain token, which is the same) was refused here; none: it was
    /// not, or too long ago: 4,096 refusals are kept.
    #[must_use]
    pub fn explain(&self, request: &str) -> Option<Explanation> {
        self.admission.explain(request)
    }

    /// Which tables and principals ask for how much here, and what of it is refused.
    #[must_use]
    pub fn top(&self) -> Top {
        self.admission.top()
    }

    /// The same two, for whoever cannot keep the handle.
    #[must_use]
    pub fn inspector(&self) -> Inspector {
        Inspector { admission: self.admission.clone(), routing: self.routing.clone() }
    }

    /// Waits until the proxy has stopped: after the shutdown given to [`start`], and its drain.
    pub async fn stopped(self) {
        // These tasks end by returning; a panic in one has been reported by the panic hook.
        let _ended = self.served.await;
        let _ended = self.nodes_followed.await;
        self.admission.closed().await;
        self.routing.closed().await;
    }
}

impl Inspector {
    /// As [`Handle::explain`].
    #[must_use]
    pub fn explain(&self, request: &str) -> Option<Explanation> {
        self.admission.explain(request)
    }

    /// As [`Handle::top`].
    #[must_use]
    pub fn top(&self) -> Top {
        self.admission.top()
    }

    /// Forgets every cached table and route at once; requests wait for MemDS then, and load it no more
    /// than before.
    #[must_use]
    pub fn flush_caches(&self) -> Flushed {
        self.routing.flush()
    }

    /// What is cached of tables and routes, and how the MemDS servers answer.
    #[must_use]
    pub fn routing(&self) -> RoutingStatus {
        self.routing.status()
    }
}

fn admission_config(config: &Config, process: u128) -> AdmissionConfig {
    AdmissionConfig {
        // The lower half of a random number is as unique as a number drawn for this.
        proxy: ProxyId::new(config.proxy_id.unwrap_or(process as u64)),
        servers: config.gac.clone(),
        expected_proxies: config.expected_proxies,
    }
}

/// Tells the store where nodes listen, whenever that changes.
async fn follow_nodes(routing: Routing, store: Arc<ReplicatedStore>, shutdown: CancellationToken) {
    let mut nodes = routing.watch_nodes();
    loop {
        let known = Arc::clone(&nodes.borrow_and_update());
        store.learn_nodes(
            known.iter().map(|node| NodeAddress { node: node.node, address: node.address.clone() }),
        );
        match shutdown.run_until_cancelled(nodes.changed()).await {
            Some(Ok(())) => {}
            // Stopping, or nobody is left who could change them.
            Some(Err(_)) | None => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpStream;
    use wire::method::PushRoutes;
    use wire::proto::routing::{self as proto, Node};
    use wire::transport::{Connection, ConnectionConfig};

    use super::*;

    const LONG: Duration = Duration::from_secs(10);

    /// A proxy whose other tiers are all down.
    fn lonely() -> Config {
        let nobody = || vec!["127.0.0.1:1".to_owned()];
        Config::new(loopback(), nobody(), nobody(), nobody())
    }

    fn loopback() -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], 0))
    }

    /// Looks again and again, for a while.
    async fn until(condition: impl Fn() -> bool) {
        let met = async {
            while !condition() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(LONG, met).await.expect("in time");
    }

    async fn send(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn a_proxy_without_its_tiers_answers_and_stops() {
        let shutdown = CancellationToken::new();
        let proxy = start(lonely(), shutdown.clone()).await.unwrap();
        assert!(!proxy.is_ready());
        let health = "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
        assert!(send(proxy.address, health).await.contains("healthy: dynamodb.us-east-1.amazonaws.com"));
        let unsigned = "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: application/x-amz-json-1.0\r\n\
            X-Amz-Target: DynamoDB_20120810.ListTables\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
        let answer = send(proxy.address, unsigned).await;
        assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        assert!(answer.contains("MissingAuthenticationTokenException"), "{answer}");
        let address = proxy.address;
        shutdown.cancel();
        proxy.stopped().await;
        assert!(TcpStream::connect(address).await.is_err());
    }

    #[tokio::test]
    async fn a_proxy_that_was_ready_stays_so_while_memds_is_away() {
        let memds_ends = CancellationToken::new();
        let memds = memds::start(memds::Config::new(loopback()), memds_ends.clone()).await.unwrap();
        let connection = Connection::open(&memds.address().to_string(), ConnectionConfig::named("test"));
        let node = Node { id: 1, zone: 0, address: "127.0.0.1:1".into(), incarnation: 1 };
        let push = proto::PushRoutes { node: Some(node), ..Default::default() };
        connection.call::<PushRoutes>(&push, LONG).await.unwrap();
        let shutdown = CancellationToken::new();
        let config = Config { memds: vec![memds.address().to_string()], ..lonely() };
        let proxy = start(config, shutdown.clone()).await.unwrap();
        until(|| proxy.is_ready()).await;

        drop(connection);
        memds_ends.cancel();
        memds.join().await.unwrap();
        until(|| !proxy.routing.is_connected()).await;

        assert!(proxy.is_ready());
        shutdown.cancel();
        proxy.stopped().await;
    }

    #[tokio::test]
    async fn an_invalid_configuration_opens_no_port() {
        let config = Config { memds: Vec::new(), ..lonely() };
        let refused = start(config, CancellationToken::new()).await;
        assert!(matches!(refused, Err(StartError::Config(ConfigError::NoServers("memds")))));
    }

    #[tokio::test]
    async fn a_port_that_is_taken_is_named() {
        let first = start(lonely(), CancellationToken::new()).await.unwrap();
        let config = Config { listen: first.address, ..lonely() };
        let refused = start(config, CancellationToken::new()).await;
        assert!(matches!(refused, Err(StartError::Listen { address, .. }) if address == first.address));
    }
}
