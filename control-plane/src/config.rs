//! A control-plane member's configuration.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;
use units::NodeId;

/// What a member of the control plane needs to know. The members are a fixed list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// This member's number: one of `members`. No default.
    pub id: u64,
    /// Where this member listens. Port 0: any free port, for a control plane of one member only.
    /// No default.
    pub listen: SocketAddr,
    /// All members, this one included: one, three or five. Default: this one alone.
    #[serde(default)]
    pub members: Vec<MemberAddress>,
    /// The folder of this member's replica of the catalog. None: ephemeral, the catalog is in memory and
    /// gone at the end; only for a control plane of one member. Default: none.
    #[serde(default)]
    pub data_dir: Option<PathBuf>,
    /// This member has lost its folder, and the control plane has worked before: it must be refilled by the
    /// others before it votes. Set it for the first start with an empty folder in the place of a lost one,
    /// never when the control plane starts for the first time. Default: false.
    #[serde(default)]
    pub replaces_lost_member: bool,
    /// `host:port` of every MemDS server: all are told of every table. Default: none.
    #[serde(default)]
    pub memds: Vec<String>,
    /// `host:port` of every GAC server: all are told of every quota. Default: none.
    #[serde(default)]
    pub gac: Vec<String>,
    /// The region that ARNs name. Default: `us-east-1`.
    #[serde(default = "default_region")]
    pub region: String,
    /// The account that ARNs name: 12 digits. Default: `000000000000`.
    #[serde(default = "default_account")]
    pub account: String,
    /// Storage nodes that must be known before a table is placed; fewer are waited for, so that a fleet
    /// that is just starting does not put all on its first node. Default: 3.
    #[serde(default = "default_minimum_nodes")]
    pub minimum_nodes: usize,
    /// Tables that an account may have. Default: 2,500 (DynamoDB's).
    #[serde(default = "default_table_limit")]
    pub table_limit: usize,
    /// Key pairs that the catalog has from the start: each is created unless its access key exists.
    /// Default: none.
    #[serde(default)]
    pub credentials: Vec<InitialCredential>,
}

/// One member of the control plane.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberAddress {
    /// Its number: never 0.
    pub id: u64,
    /// `host:port` at which it listens.
    pub address: String,
}

/// A key pair of the start.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialCredential {
    /// `aws_access_key_id`.
    pub access_key: String,
    /// `aws_secret_access_key`.
    pub secret_key: String,
    /// Whom it stands for, in logs and permissions. Default: `root`.
    #[serde(default = "default_principal")]
    pub principal: String,
}

impl std::fmt::Debug for InitialCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InitialCredential")
            .field("access_key", &self.access_key)
            .field("principal", &self.principal)
            .finish_non_exhaustive()
    }
}

/// A configuration that cannot work.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Numbers start at 1.
    #[error("a member's number must not be 0")]
    NumberZero,
    /// Two members share a number.
    #[error("member {0} is listed twice")]
    Twice(u64),
    /// This member is not in the list.
    #[error("member {0} is this one, and not in the list of members")]
    NotAMember(u64),
    /// An even number of members survives no more failures than one fewer.
    #[error("a control plane has 1, 3 or 5 members, not {0}")]
    Count(usize),
    /// The others could not find it.
    #[error("a member among several needs a fixed port")]
    AnyPort,
    /// It would forget its votes when it restarts, and with it the catalog could be lost.
    #[error("a member among several needs a data folder")]
    Ephemeral,
    /// ARNs need one.
    #[error("the account must be 12 digits")]
    Account,
    /// ARNs need one.
    #[error("the region must not be empty")]
    Region,
    /// A key pair with an empty part.
    #[error("the key pair of {0:?} is incomplete")]
    Credential(String),
    /// No table could ever be placed.
    #[error("at least one storage node is needed before a table is placed")]
    MinimumNodes,
}

impl Config {
    /// A control plane of one member, `id`, with every default.
    #[must_use]
    pub fn new(id: u64, listen: SocketAddr, data_dir: Option<PathBuf>) -> Self {
        Self {
            id,
            listen,
            members: Vec::new(),
            data_dir,
            replaces_lost_member: false,
            memds: Vec::new(),
            gac: Vec::new(),
            region: default_region(),
            account: default_account(),
            minimum_nodes: default_minimum_nodes(),
            table_limit: default_table_limit(),
            credentials: Vec::new(),
        }
    }

    /// Checks what serde cannot.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let mut seen = BTreeSet::new();
        for id in self.members.iter().map(|member| member.id).chain([self.id]) {
            if id == 0 {
                return Err(ConfigError::NumberZero);
            }
        }
        if let Some(twice) = self.members.iter().find(|member| !seen.insert(member.id)) {
            return Err(ConfigError::Twice(twice.id));
        }
        if !self.members.is_empty() && !seen.contains(&self.id) {
            return Err(ConfigError::NotAMember(self.id));
        }
        if !matches!(self.members.len(), 0 | 1 | 3 | 5) {
            return Err(ConfigError::Count(self.members.len()));
        }
        if self.members.len() > 1 && self.listen.port() == 0 {
            return Err(ConfigError::AnyPort);
        }
        if self.members.len() > 1 && self.data_dir.is_none() {
            return Err(ConfigError::Ephemeral);
        }
        if self.account.len() != 12 || !self.account.bytes().all(|digit| digit.is_ascii_digit()) {
            return Err(ConfigError::Account);
        }
        if self.region.is_empty() {
            return Err(ConfigError::Region);
        }
        if self.minimum_nodes == 0 {
            return Err(ConfigError::MinimumNodes);
        }
        match self.credentials.iter().find(|pair| pair.access_key.is_empty() || pair.secret_key.is_empty()) {
            Some(pair) => Err(ConfigError::Credential(pair.access_key.clone())),
            None => Ok(()),
        }
    }

    /// Where a member listens.
    #[must_use]
    pub(crate) fn address_of(&self, member: NodeId) -> Option<&str> {
        self.members.iter().find(|known| known.id == member.get()).map(|known| known.address.as_str())
    }
}

fn default_region() -> String {
    "us-east-1".into()
}

fn default_account() -> String {
    "000000000000".into()
}

const fn default_minimum_nodes() -> usize {
    3
}

const fn default_table_limit() -> usize {
    2500
}

fn default_principal() -> String {
    "root".into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_that_the_list_lacks_is_refused() {
        assert_eq!(members(4, &[1, 2, 3]).validate(), Err(ConfigError::NotAMember(4)));
        assert_eq!(members(1, &[1, 2, 3]).validate(), Ok(()));
        assert_eq!(members(1, &[]).validate(), Ok(()));
    }

    #[test]
    fn a_member_among_several_that_would_forget_its_votes_is_refused() {
        let ephemeral = |config| Config { data_dir: None, ..config };
        assert_eq!(ephemeral(members(1, &[1, 2, 3])).validate(), Err(ConfigError::Ephemeral));
        assert_eq!(ephemeral(members(1, &[])).validate(), Ok(()));
    }

    #[test]
    fn an_even_or_doubled_list_of_members_is_refused() {
        assert_eq!(members(1, &[1, 2]).validate(), Err(ConfigError::Count(2)));
        assert_eq!(members(1, &[1, 2, 2]).validate(), Err(ConfigError::Twice(2)));
    }

    #[test]
    fn secrets_do_not_show_in_logs() {
        let pair = InitialCredential {
            access_key: "key".into(),
            secret_key: "hidden".into(),
            principal: "root".into(),
        };
        assert!(!format!("{pair:?}").contains("hidden"));
    }

    fn members(id: u64, members: &[u64]) -> Config {
        Config {
            id,
            listen: "127.0.0.1:7000".parse().unwrap(),
            members: members
                .iter()
                .map(|id| MemberAddress { id: *id, address: format!("127.0.0.1:{}", 7000 + id) })
                .collect(),
            data_dir: Some("data".into()),
            replaces_lost_member: false,
            memds: vec![],
            gac: vec![],
            region: default_region(),
            account: default_account(),
            minimum_nodes: 3,
            table_limit: 2500,
            credentials: vec![],
        }
    }
}
