//! The fleet that a command is about: which process to ask what.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::client::Client;
use super::failure::Failure;
use crate::admin::{About, ENDPOINT_FILE};
use crate::cli::OutputFormat;
use crate::cluster;
use crate::operator_token::OperatorToken;

/// Where `weir dev` puts its operators' endpoint unless told otherwise.
const DEV_ENDPOINT: &str = "http://127.0.0.1:9901";
/// Where `weir dev` keeps its data unless told otherwise.
const DEV_DIR: &str = "weir-data";

/// How long a process may take to say what it is. It costs it nothing: what takes longer stands still.
const ABOUT_WITHIN: Duration = Duration::from_secs(3);
/// How long it may take to say what it has.
const READ_WITHIN: Duration = Duration::from_secs(10);

/// Which fleet, and how to print what it says.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Which fleet")]
pub(crate) struct Reach {
    /// Folder of the `weir cluster` or `weir dev` that runs: says where its operators' endpoints are, and
    /// its token. Default: the `weir dev` of ./weir-data. [env: WEIR_DIR, if --admin is not given]
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "admin")]
    pub dir: Option<PathBuf>,

    /// URL of an operators' endpoint, such as http://10.0.0.10:9901; repeatable: name every process that
    /// is to be asked (the control plane's members for quotas, proxies for top, explain and cache, GAC servers,
    /// MemDS servers for routes).
    /// [env: WEIR_ADMIN, with commas, if --dir is not given]
    #[arg(long, global = true, value_name = "URL", value_delimiter = ',')]
    pub admin: Vec<String>,

    /// The operators' token: needed to change something, and to read from another machine.
    #[arg(long, global = true, env = "WEIR_OPERATOR_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,

    /// How to print the answer.
    #[arg(long, short, global = true, value_enum, default_value_t = OutputFormat::Table)]
    pub output: OutputFormat,
}

/// A tier that commands ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tier {
    /// The control plane: quotas and the ring.
    Control,
    /// GAC servers: pools and shares.
    Gac,
    /// MemDS servers: tables and routes.
    Memds,
    /// Storage nodes: who leads.
    Storage,
    /// Proxies: what was asked, admitted and refused, and what they have cached.
    Proxy,
}

impl Tier {
    const ALL: [Self; 5] = [Self::Control, Self::Gac, Self::Memds, Self::Storage, Self::Proxy];

    const fn name(self) -> &'static str {
        match self {
            Self::Control => "control",
            Self::Gac => "gac",
            Self::Memds => "memds",
            Self::Storage => "storage",
            Self::Proxy => "proxy",
        }
    }

    /// Whether the process of that name may be of this tier: a `weir cluster` names its processes by their tiers,
    /// others may be anything.
    fn may_have(self, name: &str) -> bool {
        let of = |tier: Self| name.strip_prefix(tier.name()).is_some_and(|rest| rest.starts_with('-'));
        of(self) || !Self::ALL.into_iter().any(of)
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Control => "member of the control plane",
            Self::Gac => "GAC server",
            Self::Memds => "MemDS server",
            Self::Storage => "storage node",
            Self::Proxy => "proxy",
        }
    }
}

/// The processes of a fleet that answer.
pub(crate) struct Fleet {
    client: Client,
    processes: Vec<Process>,
    /// Those that do not answer: (name, why).
    silent: Vec<(String, String)>,
}

/// One process that answers.
#[derive(Debug, Clone)]
pub(crate) struct Process {
    /// As the fleet calls it, or its URL.
    pub name: String,
    /// Its operators' endpoint, without a slash at the end.
    pub url: String,
    tiers: Vec<String>,
}

/// What each process of a tier answered.
pub(crate) struct Answers<T> {
    /// By process.
    pub given: Vec<(Process, T)>,
    /// The failures: (name, why).
    pub missing: Vec<(String, Failure)>,
}

impl Fleet {
    /// Finds the fleet and asks each process what it is.
    pub(crate) async fn find(reach: &Reach) -> Result<Self, Failure> {
        let (candidates, dir) = candidates(reach).await?;
        Self::of_candidates(reach, candidates, dir.as_deref()).await
    }

    /// Finds the part of the fleet that may be of `tier`: one of another tier that stands still costs no wait.
    pub(crate) async fn find_tier(reach: &Reach, tier: Tier) -> Result<Self, Failure> {
        let (mut candidates, dir) = candidates(reach).await?;
        candidates.retain(|(name, _)| tier.may_have(name));
        if candidates.is_empty() {
            return Err(Failure::Unreachable(format!("the fleet has no {}", tier.title())));
        }
        Self::of_candidates(reach, candidates, dir.as_deref()).await
    }

    async fn of_candidates(
        reach: &Reach,
        candidates: Vec<(String, String)>,
        dir: Option<&Path>,
    ) -> Result<Self, Failure> {
        let client = Client::new(token(reach, dir)?);
        let asked = candidates.into_iter().map(|(name, url)| {
            let client = client.clone();
            async move {
                let about = client.get_within::<About>(&url, "/about", ABOUT_WITHIN).await;
                (name, url, about)
            }
        });
        let (mut processes, mut silent) = (Vec::new(), Vec::new());
        for (name, url, about) in join_all(asked).await {
            match about {
                Ok(about) => processes.push(Process { name, url, tiers: about.tiers }),
                Err(Failure::Unreachable(why)) => silent.push((name, why)),
                Err(failure) => return Err(failure),
            }
        }
        if processes.is_empty() {
            let why: Vec<_> = silent.into_iter().map(|(_, why)| why).collect();
            return Err(Failure::Unreachable(format!(
                "{}; is the fleet running, and are --dir or --admin right?",
                why.join("; ")
            )));
        }
        Ok(Self { client, processes, silent })
    }

    /// The processes of `tier`, at least one.
    pub(crate) fn of(&self, tier: Tier) -> Result<Vec<Process>, Failure> {
        let found: Vec<_> = self.processes.iter().filter(|process| process.runs(tier)).cloned().collect();
        match found.is_empty() {
            false => Ok(found),
            true => Err(Failure::Unreachable(format!("no {} answers{}", tier.title(), self.silence()))),
        }
    }

    /// Those that do not answer: (name, why).
    pub(crate) fn silent(&self) -> &[(String, String)] {
        &self.silent
    }

    /// Those of `tier` that do not answer: name → why. What is known by its URL only may be of any tier.
    pub(crate) fn silent_of(&self, tier: Tier) -> BTreeMap<String, String> {
        self.silent.iter().filter(|(name, _)| tier.may_have(name)).cloned().collect()
    }

    fn silence(&self) -> String {
        match self.silent.as_slice() {
            [] => String::new(),
            silent => {
                let names: Vec<_> = silent.iter().map(|(name, _)| name.as_str()).collect();
                format!(" (silent: {})", names.join(", "))
            }
        }
    }

    /// What every process of `tier` answers to a read; fails when none does.
    pub(crate) async fn get_all<T: DeserializeOwned>(
        &self,
        tier: Tier,
        path: &str,
    ) -> Result<Answers<T>, Failure> {
        let asked = self.of(tier)?.into_iter().map(|process| async move {
            let answer = self.client.get_within::<T>(&process.url, path, READ_WITHIN).await;
            (process, answer)
        });
        Answers::sorted(join_all(asked).await)
    }

    /// What every process of `tier` answers to a change, all asked at once; fails when none does.
    pub(crate) async fn post_all<T: DeserializeOwned>(
        &self,
        tier: Tier,
        path: &str,
        body: &impl Serialize,
    ) -> Result<Answers<T>, Failure> {
        let asked = self.of(tier)?.into_iter().map(|process| async move {
            let answer = self.client.post::<T>(&process.url, path, body).await;
            (process, answer)
        });
        Answers::sorted(join_all(asked).await)
    }

    /// What one process answers to a change.
    pub(crate) async fn post_to<T: DeserializeOwned>(
        &self,
        process: &Process,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.client.post(&process.url, path, body).await
    }

    /// What the control plane answers to a read: the first member that can.
    pub(crate) async fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, Failure> {
        self.first(|url| async move { self.client.get(&url, path).await }).await
    }

    /// What the control plane answers to a change: the member that leads.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl Serialize,
    ) -> Result<T, Failure> {
        self.first(|url| async move { self.client.post(&url, path, body).await }).await
    }

    /// Asks one member of the control plane after the other, as long as they say that they cannot.
    async fn first<T, F>(&self, ask: impl Fn(String) -> F) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, Failure>>,
    {
        let mut last = None;
        for process in self.of(Tier::Control)? {
            match ask(process.url).await {
                Err(failure @ Failure::Unreachable(_)) => last = Some(failure),
                settled => return settled,
            }
        }
        Err(last.unwrap_or_else(|| Failure::Unreachable("no member of the control plane answers".into())))
    }
}

impl<T> Answers<T> {
    /// Parts answers from failures; at least one answer is needed.
    fn sorted(all: Vec<(Process, Result<T, Failure>)>) -> Result<Self, Failure> {
        let mut answers = Self { given: Vec::new(), missing: Vec::new() };
        for (process, answer) in all {
            match answer {
                Ok(answer) => answers.given.push((process, answer)),
                Err(failure) => answers.missing.push((process.name, failure)),
            }
        }
        match answers.given.is_empty() {
            false => Ok(answers),
            true => Err(worst(answers.missing)),
        }
    }
}

impl Process {
    /// Names for what each server of the process answered: its own where there is one, and with a number
    /// where `weir dev` runs several.
    pub(crate) fn each<T>(self, answers: Vec<T>) -> impl Iterator<Item = (String, T)> {
        let alone = answers.len() == 1;
        (1..).zip(answers).map(move |(number, answer)| match alone {
            true => (self.name.clone(), answer),
            false => (format!("{}#{number}", self.name), answer),
        })
    }

    fn runs(&self, tier: Tier) -> bool {
        self.tiers.iter().any(|known| known == tier.name())
    }
}

/// The failure that says most: anything before "not found", that before "unreachable".
fn worst(failures: Vec<(String, Failure)>) -> Failure {
    let rank = |failure: &Failure| match failure {
        Failure::Refused(_) => 0,
        Failure::Other(_) => 1,
        Failure::NotFound(_) => 2,
        Failure::Unreachable(_) => 3,
    };
    failures
        .into_iter()
        .map(|(_, failure)| failure)
        .min_by_key(rank)
        .unwrap_or_else(|| Failure::Unreachable("nobody answers".into()))
}

impl Reach {
    /// The fleet's folder, if it is found by one.
    pub(crate) fn folder(&self) -> Option<PathBuf> {
        wanted(self).0
    }
}

/// What stands on the command line, or else in the environment.
fn wanted(reach: &Reach) -> (Option<PathBuf>, Vec<String>) {
    let given = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    match (&reach.dir, reach.admin.is_empty()) {
        (Some(dir), _) => (Some(dir.clone()), Vec::new()),
        (None, false) => (None, reach.admin.clone()),
        (None, true) => match (given("WEIR_DIR"), given("WEIR_ADMIN")) {
            (Some(dir), _) => (Some(dir.into()), Vec::new()),
            (None, Some(admin)) => (None, admin.split(',').map(str::to_owned).collect()),
            (None, None) => (None, Vec::new()),
        },
    }
}

/// Names and URLs of the processes that may be asked, and the fleet's folder if it is known.
async fn candidates(reach: &Reach) -> Result<(Vec<(String, String)>, Option<PathBuf>), Failure> {
    let (wanted, admin) = wanted(reach);
    if !admin.is_empty() {
        let urls = admin.iter().map(|url| url_of(url)).collect::<Result<Vec<_>, _>>()?;
        // The token of a `weir dev` that runs here may be the one.
        let dir = urls.iter().all(|url| is_loopback(url)).then(|| PathBuf::from(DEV_DIR));
        return Ok((urls.into_iter().map(|url| (url.clone(), url)).collect(), dir));
    }
    let dir = wanted.clone().unwrap_or_else(|| PathBuf::from(DEV_DIR));
    if let Ok(endpoint) = std::fs::read_to_string(dir.join(ENDPOINT_FILE)) {
        return Ok((vec![("dev".to_owned(), endpoint.trim().to_owned())], Some(dir)));
    }
    if cluster::is_in(&dir) {
        let rows = cluster::running(&dir).await.map_err(|error| {
            Failure::Unreachable(format!("no fleet runs from {}: {error:#}", dir.display()))
        })?;
        let named = rows.into_iter().map(|row| (row.name, format!("http://{}", row.admin))).collect();
        return Ok((named, Some(dir)));
    }
    match wanted {
        None => Ok((vec![("dev".to_owned(), DEV_ENDPOINT.to_owned())], Some(dir))),
        Some(_) => Err(Failure::Unreachable(format!(
            "{} is not the folder of a `weir cluster` or a `weir dev`",
            dir.display()
        ))),
    }
}

fn token(reach: &Reach, dir: Option<&Path>) -> Result<Option<OperatorToken>, Failure> {
    if let Some(given) = reach.token.as_ref().filter(|token| !token.is_empty()) {
        let token = OperatorToken::try_from(given.clone());
        return token.map(Some).map_err(|error| Failure::Refused(error.to_string()));
    }
    match dir {
        Some(dir) => Ok(OperatorToken::kept_in(dir)?),
        None => Ok(None),
    }
}

/// `http://host:port`, without a slash at the end.
fn url_of(text: &str) -> Result<String, Failure> {
    let url = text.trim().trim_end_matches('/');
    match url.split_once("://") {
        Some(("http", _)) => Ok(url.to_owned()),
        None => Ok(format!("http://{url}")),
        Some(_) => Err(Failure::Refused(format!("{text}: operators' endpoints speak http:// only"))),
    }
}

fn is_loopback(url: &str) -> bool {
    let host = url.trim_start_matches("http://");
    host.starts_with("127.") || host.starts_with("localhost") || host.starts_with("[::1]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_without_a_scheme_is_taken_as_http_and_https_is_refused() {
        assert_eq!(url_of("127.0.0.1:9901/").unwrap(), "http://127.0.0.1:9901");
        assert_eq!(url_of("http://a:1").unwrap(), "http://a:1");
        assert!(matches!(url_of("https://a:1"), Err(Failure::Refused(_))));
    }

    #[test]
    fn a_process_of_a_cluster_is_of_the_tier_in_its_name_and_any_other_may_be_of_any() {
        assert!(Tier::Memds.may_have("memds-2") && !Tier::Memds.may_have("proxy-1"));
        assert!(Tier::Memds.may_have("dev") && Tier::Memds.may_have("http://10.0.0.2:9901"));
    }

    #[test]
    fn a_refusal_says_more_than_silence() {
        let failures = vec![
            ("a".to_owned(), Failure::Unreachable("a".into())),
            ("b".to_owned(), Failure::NotFound("b".into())),
            ("c".to_owned(), Failure::Refused("c".into())),
        ];
        assert!(matches!(worst(failures), Failure::Refused(_)));
        assert!(matches!(worst(Vec::new()), Failure::Unreachable(_)));
    }
}
