//! What the fleet consists of: names, addresses, folders, and each process's configuration file.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};

use crate::cli::{ClusterArgs, GrowingTier, Replicas};
use crate::credentials::KeyPair;
use crate::operator_token::OperatorToken;

/// Proxies, GAC and MemDS servers that a fleet starts with unless told otherwise.
const USUALLY: u8 = 2;
/// Proxies, or GAC or MemDS servers, at most: they share one machine.
const MOST: u8 = 16;
/// Members of the control plane, one per zone.
const CONTROL_MEMBERS: usize = 3;

/// One process of the fleet.
#[derive(Debug, Clone)]
pub(super) struct ProcessSpec {
    /// The subcommand that runs it.
    pub tier: &'static str,
    /// Where it serves.
    pub listen: String,
    /// Where its operators' endpoint is.
    pub admin: String,
    /// Its configuration file.
    pub config: PathBuf,
    /// What it writes to stdout and stderr.
    pub log: PathBuf,
    /// Where it keeps data, if it keeps any.
    pub data_dir: Option<PathBuf>,
}

/// The fleet: in `processes`, the back comes first only by the supervisor's choice, not by this order.
pub(super) struct Layout {
    /// The fleet's folder, absolute.
    pub dir: PathBuf,
    /// By name.
    pub processes: BTreeMap<String, ProcessSpec>,
    keys: KeyPair,
    token: OperatorToken,
    sizes: Sizes,
    /// Everything is in memory.
    ephemeral: bool,
    first_proxy_port: u16,
}

/// How many there are of the tiers whose number varies; kept in the fleet's folder.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Sizes {
    proxies: u8,
    gac: u8,
    #[serde(default = "usually")]
    memds: u8,
    /// Storage nodes, and with them copies of each partition.
    #[serde(default)]
    replicas: Replicas,
    /// GAC servers that the first ring has: later ones join by `weir gac add`.
    first_ring: u8,
}

/// Folders of earlier versions say nothing of it.
const fn usually() -> u8 {
    USUALLY
}

/// Ports that were chosen at the first start, by process name: (serves, operators).
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ports(BTreeMap<String, (u16, u16)>);

impl Layout {
    /// The fleet of `args.dir`, with the sizes, ports, keys and token of its first start.
    pub(super) fn load_or_create(args: &ClusterArgs) -> anyhow::Result<Self> {
        for folder in ["config", "logs", "data"] {
            std::fs::create_dir_all(args.dir.join(folder))
                .with_context(|| format!("cannot create {}", args.dir.join(folder).display()))?;
        }
        let dir = args.dir.canonicalize()?;
        let keys = KeyPair::given_or_kept(args.access_key.clone(), args.secret_key.clone(), Some(&dir))?;
        let token = OperatorToken::given_or_kept(Some(&dir))?;
        let sizes = Sizes::load_or_choose(&dir, args)?;
        let processes = BTreeMap::new();
        let (ephemeral, first_proxy_port) = (args.ephemeral, args.port);
        let mut layout = Self { dir, processes, keys, token, sizes, ephemeral, first_proxy_port };
        layout.arrange()?;
        Ok(layout)
    }

    /// Makes room for one more process of `tier`; returns its name.
    pub(super) fn grow(&mut self, tier: GrowingTier) -> anyhow::Result<String> {
        let (name, size) = match tier {
            GrowingTier::Gac => ("gac", &mut self.sizes.gac),
            GrowingTier::Proxy => ("proxy", &mut self.sizes.proxies),
        };
        if *size == MOST {
            bail!("a fleet on one machine has at most {MOST} of them");
        }
        *size += 1;
        let name = format!("{name}-{size}");
        self.sizes.keep(&self.dir)?;
        self.arrange()?;
        Ok(name)
    }

    /// Names every process, finds it ports, and writes its configuration.
    fn arrange(&mut self) -> anyhow::Result<()> {
        let names = names(self.sizes, self.ephemeral);
        let ports = Ports::load_or_choose(&self.dir.join("ports.json"), &names, self.first_proxy_port)?;
        let spec = |name: &str, tier| spec(&self.dir, name, tier, &ports, self.ephemeral);
        self.processes = names.iter().map(|(name, tier)| (name.clone(), spec(name, tier))).collect();
        self.write_configs()
    }

    /// What a person needs to use the fleet.
    pub(super) fn banner(&self) -> String {
        let mut text = String::from("\nWeir runs as a fleet of separate processes.\n\n");
        for spec in self.of("proxy") {
            text.push_str(&format!("  endpoint    http://{}\n", spec.listen));
        }
        if self.sizes.replicas == Replicas::One {
            text.push_str(Replicas::WARNING);
            text.push('\n');
        }
        if self.ephemeral {
            text.push_str(
                "  WARNING     in memory only (--ephemeral): gone when the fleet stops, and a killed process's \
                 data at once\n",
            );
        }
        text.push_str(&format!(
            "  access key  {}\n  secret key  {}\n  logs        {}\n\n\
             Try a failure:\n\n  weir cluster --dir {dir} status\n  weir cluster --dir {dir} kill storage-1\n  \
             weir cluster --dir {dir} start storage-1\n\n\
             See and change quotas:\n\n  weir quota list --dir {dir}\n  weir top --dir {dir}\n  \
             weir gac status --dir {dir}\n\n\
             See where data is:\n\n  weir memds status --dir {dir}\n  weir routes TABLE --dir {dir}",
            self.keys.access_key,
            self.keys.secret_key,
            self.dir.join("logs").display(),
            dir = self.dir.display(),
        ));
        text
    }

    /// A tier's processes, in the order of their numbers.
    fn of(&self, tier: &'static str) -> impl Iterator<Item = &ProcessSpec> {
        (1..=usize::from(MOST)).filter_map(move |number| self.processes.get(&format!("{tier}-{number}")))
    }

    fn addresses(&self, tier: &'static str) -> Vec<String> {
        self.of(tier).map(|spec| spec.listen.clone()).collect()
    }

    fn write_configs(&self) -> anyhow::Result<()> {
        for tier in ["proxy", "gac", "memds", "storage", "control"] {
            for (index, spec) in self.of(tier).enumerate() {
                let text = toml::to_string_pretty(&self.config(spec, index))?;
                write_private(&spec.config, &text)
                    .with_context(|| format!("cannot write {}", spec.config.display()))?;
            }
        }
        Ok(())
    }

    /// The `index`-th process of its tier, in the form that `weir <tier> --config` reads.
    fn config(&self, spec: &ProcessSpec, index: usize) -> toml::Table {
        let mut config = toml::Table::new();
        let mut put = |key: &str, value: toml::Value| config.insert(key.to_owned(), value);
        let list = |tier| toml::Value::from(self.addresses(tier));
        let number = i64::try_from(index).unwrap_or(i64::MAX);
        let proxies = i64::try_from(self.of("proxy").count()).unwrap_or(i64::MAX);
        put("listen", spec.listen.clone().into());
        put(
            "admin",
            toml::Table::from_iter([
                ("listen".to_owned(), spec.admin.clone().into()),
                ("token".to_owned(), self.token.reveal().into()),
            ])
            .into(),
        );
        match spec.tier {
            "proxy" => {
                put("zone", (number % 3).into());
                // The same number after a restart: the new process takes its predecessor's share over.
                put("proxy_id", (number + 1).into());
                put("control", list("control"));
                put("memds", list("memds"));
                put("gac", self.first_ring());
                put("expected_proxies", proxies.into());
            }
            "gac" => {
                put("ring", self.first_ring());
                put("expected_proxies", proxies.into());
                put("control", list("control"));
            }
            "memds" => {
                put("peers", list("memds"));
            }
            "storage" => {
                put("node", (number + 1).into());
                put("zone", number.into());
                put("control", list("control"));
                put("memds", list("memds"));
                spec.data_dir.iter().for_each(|dir| drop(put("data_dir", path(dir))));
            }
            "control" => {
                put("id", (number + 1).into());
                put("members", self.control_members());
                put("memds", list("memds"));
                put("gac", self.first_ring());
                put("minimum_nodes", i64::from(self.sizes.replicas.count()).into());
                spec.data_dir.iter().for_each(|dir| drop(put("data_dir", path(dir))));
                put("credentials", vec![self.credential()].into());
            }
            _ => {}
        }
        config
    }

    /// The GAC servers that share the buckets until an operator changes the ring.
    fn first_ring(&self) -> toml::Value {
        let servers = self.of("gac").take(usize::from(self.sizes.first_ring));
        servers.map(|spec| spec.listen.clone()).collect::<Vec<_>>().into()
    }

    fn control_members(&self) -> toml::Value {
        let member = |(index, spec): (usize, &ProcessSpec)| {
            let id = i64::try_from(index + 1).unwrap_or(i64::MAX);
            toml::Table::from_iter([
                ("id".to_owned(), id.into()),
                ("address".to_owned(), spec.listen.clone().into()),
            ])
        };
        self.of("control").enumerate().map(member).collect::<Vec<_>>().into()
    }

    fn credential(&self) -> toml::Table {
        toml::Table::from_iter([
            ("access_key".to_owned(), self.keys.access_key.clone().into()),
            ("secret_key".to_owned(), self.keys.secret_key.clone().into()),
        ])
    }
}

fn path(dir: &Path) -> toml::Value {
    dir.display().to_string().into()
}

/// Writes a file that only its owner can read: configurations name keys and the token.
fn write_private(file: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write;
    let mut file =
        std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file)?;
    file.write_all(text.as_bytes())
}

impl Sizes {
    fn load_or_choose(dir: &Path, args: &ClusterArgs) -> anyhow::Result<Self> {
        let file = dir.join("sizes.json");
        let known: Option<Self> = match file.exists() {
            true => {
                let text = std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?;
                Some(
                    serde_json::from_slice(&text)
                        .with_context(|| format!("{} is damaged", file.display()))?,
                )
            }
            false => None,
        };
        let gac = args.gac.or(known.map(|known| known.gac)).unwrap_or(USUALLY);
        let sizes = Self {
            proxies: args.proxies.or(known.map(|known| known.proxies)).unwrap_or(USUALLY),
            gac,
            memds: args.memds.or(known.map(|known| known.memds)).unwrap_or(USUALLY),
            replicas: Replicas::settle(args.replicas, known.map(|known| known.replicas), dir)?,
            first_ring: known.map_or(gac, |known| known.first_ring).min(gac),
        };
        sizes.keep(dir)?;
        Ok(sizes)
    }

    fn keep(self, dir: &Path) -> anyhow::Result<()> {
        let file = dir.join("sizes.json");
        std::fs::write(&file, serde_json::to_vec_pretty(&self)?)
            .with_context(|| format!("cannot write {}", file.display()))
    }
}

/// Every process's name and tier. A control plane of several members needs folders: one in memory has one.
fn names(sizes: Sizes, ephemeral: bool) -> Vec<(String, &'static str)> {
    [
        ("control", if ephemeral { 1 } else { CONTROL_MEMBERS }),
        ("memds", usize::from(sizes.memds)),
        ("gac", usize::from(sizes.gac)),
        ("storage", usize::from(sizes.replicas.count())),
        ("proxy", usize::from(sizes.proxies)),
    ]
    .into_iter()
    .flat_map(|(tier, count)| (1..=count).map(move |number| (format!("{tier}-{number}"), tier)))
    .collect()
}

fn spec(dir: &Path, name: &str, tier: &'static str, ports: &Ports, ephemeral: bool) -> ProcessSpec {
    let (listen, admin) = ports.0[name];
    let keeps_data = !ephemeral && matches!(tier, "storage" | "control");
    ProcessSpec {
        tier,
        listen: SocketAddr::from(([127, 0, 0, 1], listen)).to_string(),
        admin: SocketAddr::from(([127, 0, 0, 1], admin)).to_string(),
        config: dir.join("config").join(format!("{name}.toml")),
        log: dir.join("logs").join(format!("{name}.log")),
        data_dir: keeps_data.then(|| dir.join("data").join(name)),
    }
}

impl Ports {
    /// Keeps the ports of earlier starts, so that a restarted process is found where it was.
    fn load_or_choose(file: &Path, names: &[(String, &str)], first_proxy: u16) -> anyhow::Result<Self> {
        let mut ports = if file.exists() {
            let text = std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?
        } else {
            Self::default()
        };
        // All are held until all are chosen: the same free port must not be handed out twice.
        let mut held = Vec::new();
        let mut free = || -> anyhow::Result<u16> {
            let listener = TcpListener::bind(("127.0.0.1", 0)).context("no free port")?;
            let port = listener.local_addr()?.port();
            held.push(listener);
            Ok(port)
        };
        let mut proxies = 0;
        for (name, tier) in names {
            let fixed = (*tier == "proxy" && first_proxy != 0).then(|| first_proxy.saturating_add(proxies));
            proxies += u16::from(*tier == "proxy");
            let (listen, admin) = match ports.0.get(name) {
                Some(known) => *known,
                None => (free()?, free()?),
            };
            ports.0.insert(name.clone(), (fixed.unwrap_or(listen), admin));
        }
        std::fs::write(file, serde_json::to_vec_pretty(&ports)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
        Ok(ports)
    }
}
