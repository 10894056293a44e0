//! `weir dev`: every tier in this process.
//!
//! The tiers are the ones that a fleet runs, and they talk as a fleet's do, in the same frames; only that these do
//! not pass through sockets. What works here works there.

mod begun;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use axum::Router;
use control_plane::InitialCredential;
use storage_adapter::{StorageConfig, StorageHandle, StorageLimits, StorageNode};
use tokio_util::sync::CancellationToken;
use units::{NodeId, Zone};

use crate::admin::{About, DYNAMODB_ENDPOINT_FILE, ENDPOINT_FILE, Operators};
use crate::cli::{DevArgs, Replicas};
use crate::credentials::KeyPair;
use crate::operator_token::OperatorToken;
use crate::tier::Tier;
use crate::{admin, telemetry};

const MEMDS_SERVERS: usize = 2;
/// Enough for a laptop's tables; a restart finds all of it in well under a second.
const SEGMENT_BYTES: u32 = 16 << 20;
/// A start that takes longer than this has failed.
const READY_WITHIN: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(2);
const ANY_PORT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

/// Runs the embedded fleet until `shutdown`.
pub(crate) async fn run(args: DevArgs, shutdown: CancellationToken) -> anyhow::Result<()> {
    if args.accept_any_credentials && !args.host.is_loopback() {
        bail!("--accept-any-credentials would let anybody in: it needs a loopback --host, not {}", args.host);
    }
    crate::tier::use_small_pages();
    let data_dir = (!args.ephemeral).then_some(args.data_dir.as_path());
    if let Some(dir) = data_dir {
        std::fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    }
    let replicas = match data_dir {
        Some(dir) => begun::settle(args.replicas, dir)?,
        None => args.replicas.unwrap_or_default(),
    };
    let keys = KeyPair::given_or_kept(args.access_key.clone(), args.secret_key.clone(), data_dir)?;
    let token = OperatorToken::given_or_kept(data_dir)?;
    let metrics = telemetry::start_metrics()?;
    let fleet = Fleet::start(&args, &keys, data_dir, replicas).await?;
    let operators = Operators {
        listen: SocketAddr::from(([127, 0, 0, 1], args.admin_port)),
        metrics,
        ready: Arc::new(|| Ok(())),
        token: Some(token.clone()),
        about: About::new(&["control", "gac", "memds", "storage", "proxy"]),
        routes: fleet.operators(),
    };
    let operators = admin::start(operators, shutdown.clone()).await?;
    if let Some(dir) = data_dir {
        for (name, address) in [(ENDPOINT_FILE, operators), (DYNAMODB_ENDPOINT_FILE, fleet.proxy.address)] {
            let file = dir.join(name);
            std::fs::write(&file, format!("http://{address}\n"))
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    println!("{}", banner(&args, &keys, &token, fleet.proxy.address, operators, data_dir, replicas));
    tokio::select! {
        () = shutdown.cancelled() => {}
        // What was acknowledged is on disk; going on without it would only hide the failure.
        () = fleet.failed() => bail!("a node's files cannot be written or read any more; the log says why"),
    }
    fleet.stop().await
}

/// The running tiers.
struct Fleet {
    proxy: proxy::Handle,
    gac: gac_server::Handle,
    storage: Vec<StorageHandle>,
    memds: Vec<memds::Handle>,
    control: control_plane::Handle,
    front: CancellationToken,
    back: CancellationToken,
}

impl Fleet {
    /// Starts the tiers from the back to the front and waits until a request can be served.
    async fn start(
        args: &DevArgs,
        keys: &KeyPair,
        data_dir: Option<&Path>,
        replicas: Replicas,
    ) -> anyhow::Result<Self> {
        wire::transport::connect_within_the_process();
        let (front, back) = (CancellationToken::new(), CancellationToken::new());
        let mut memds = Vec::new();
        for _ in 0..MEMDS_SERVERS {
            memds.push(memds::start(memds::Config::new(ANY_PORT), back.clone()).await?);
        }
        let gac = gac_server::start(gac_server::Config::new(ANY_PORT, Vec::new()), back.clone()).await?;
        let memds_addresses: Vec<_> = memds.iter().map(|server| server.address().to_string()).collect();
        let gac_addresses = vec![gac.address().to_string()];

        let control = control_plane::start(
            control_config(args, keys, data_dir, replicas, &memds_addresses, &gac_addresses),
            back.clone(),
        )
        .await?;
        let control_addresses = vec![control.address().to_string()];

        // Side by side: each waits for the disk several times.
        let opening = (0..replicas.count())
            .map(|zone| storage_config(zone, data_dir, &memds_addresses, &control_addresses))
            .map(StorageNode::start);
        let storage = futures_util::future::try_join_all(opening).await?;

        let mut config = proxy::Config::new(
            SocketAddr::new(args.host, args.port),
            control_addresses,
            memds_addresses,
            gac_addresses,
        );
        // It is the only one, and the same after a restart.
        config.proxy_id = Some(1);
        config.region.clone_from(&args.region);
        config.accept_any_credentials = args.accept_any_credentials;
        let proxy = proxy::start(config, front.clone())
            .await
            .with_context(|| format!("cannot serve on port {} (--port 0 takes a free one)", args.port))?;

        let fleet = Self { proxy, gac, storage, memds, control, front, back };
        let ready = async {
            while !fleet.is_ready() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::time::timeout(READY_WITHIN, ready)
            .await
            .context("the tiers did not find one another in time")?;
        Ok(fleet)
    }

    fn is_ready(&self) -> bool {
        self.control.leads() && self.memds.iter().all(memds::Handle::is_ready) && self.proxy.is_ready()
    }

    /// What all its tiers offer operators.
    fn operators(&self) -> Router {
        let memds = admin::memds_routes(self.memds.iter().map(memds::Handle::inspector).collect());
        let storage = admin::storage_routes(self.storage.iter().map(|it| it.node().leaderships()).collect());
        let back = self.control.operators().merge(self.gac.operators()).merge(memds).merge(storage);
        back.merge(self.proxy.operators())
    }

    /// Ends when a storage node broke; otherwise never.
    async fn failed(&self) {
        let broken: Vec<_> = self.storage.iter().map(|node| node.node().failed()).collect();
        let waiting = broken.iter().map(|node| Box::pin(node.cancelled()));
        futures_util::future::select_all(waiting).await;
    }

    /// Stops the tiers from the front to the back, so that what is in flight is still answered.
    async fn stop(self) -> anyhow::Result<()> {
        self.front.cancel();
        self.proxy.stopped().await;
        let stopping: Vec<_> = self.storage.into_iter().map(|node| tokio::spawn(node.shutdown())).collect();
        for stopped in stopping {
            stopped.await?;
        }
        self.back.cancel();
        self.gac.join().await?;
        for server in self.memds {
            server.join().await?;
        }
        Ok(self.control.join().await?)
    }
}

fn control_config(
    args: &DevArgs,
    keys: &KeyPair,
    data_dir: Option<&Path>,
    replicas: Replicas,
    memds: &[String],
    gac: &[String],
) -> control_plane::Config {
    let mut config = control_plane::Config::new(1, ANY_PORT, data_dir.map(|dir| dir.join("control")));
    config.minimum_nodes = usize::from(replicas.count());
    config.memds = memds.to_vec();
    config.gac = gac.to_vec();
    config.region.clone_from(&args.region);
    config.credentials = vec![InitialCredential {
        access_key: keys.access_key.clone(),
        secret_key: keys.secret_key.clone(),
        principal: "root".to_owned(),
    }];
    config
}

fn storage_config(zone: u8, data_dir: Option<&Path>, memds: &[String], control: &[String]) -> StorageConfig {
    let mut config = StorageConfig::ephemeral(NodeId::new(u64::from(zone) + 1), Zone::new(zone));
    config.data_dir = data_dir.map(|dir| dir.join(format!("storage-{}", zone + 1)));
    config.memds = memds.to_vec();
    config.control = control.to_vec();
    config.limits = StorageLimits { segment_bytes: SEGMENT_BYTES, ..StorageLimits::default() };
    config
}

/// What a person needs to point an SDK and the AWS CLI at it.
fn banner(
    args: &DevArgs,
    keys: &KeyPair,
    token: &OperatorToken,
    endpoint: SocketAddr,
    operators: SocketAddr,
    data_dir: Option<&Path>,
    replicas: Replicas,
) -> String {
    let data = data_dir.map_or_else(
        || "in memory only (--ephemeral): gone when this process ends".to_owned(),
        |dir| dir.canonicalize().unwrap_or_else(|_| dir.to_owned()).display().to_string(),
    );
    let copies = match replicas {
        Replicas::One => "one storage node",
        Replicas::Three => "three replicas in three pretend zones",
    };
    let one_copy = match replicas {
        Replicas::One => format!("\n{}\n", Replicas::WARNING),
        Replicas::Three => String::new(),
    };
    let warning = if args.accept_any_credentials {
        "\n  WARNING     every request is let in: signatures are not checked (--accept-any-credentials)\n"
    } else {
        ""
    };
    // Operators' commands find it in the data folder; without one they must be told.
    let operator_token = match data_dir {
        Some(_) => String::new(),
        None => format!("  operator token {}\n", token.reveal()),
    };
    format!(
        "Weir {version}: every tier in one process, {copies}.

  endpoint    http://{endpoint}
  operators   http://{operators}  (/livez /readyz /metrics; weir quota, top, explain, gac, routes, memds, cache, leaders)
  data        {data}
  access key  {access}
  secret key  {secret}
{operator_token}{one_copy}{warning}
With the AWS CLI:

  export AWS_ENDPOINT_URL_DYNAMODB=http://{endpoint} AWS_DEFAULT_REGION={region}
  export AWS_ACCESS_KEY_ID={access} AWS_SECRET_ACCESS_KEY={secret}
  aws dynamodb list-tables

With boto3:

  boto3.resource(\"dynamodb\", endpoint_url=\"http://{endpoint}\", region_name=\"{region}\",
                 aws_access_key_id=\"{access}\", aws_secret_access_key=\"{secret}\")

Ready. Ctrl-C stops it.",
        version = env!("CARGO_PKG_VERSION"),
        access = keys.access_key,
        secret = keys.secret_key,
        region = args.region,
    )
}
