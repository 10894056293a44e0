//! The ring of GAC servers as operators see and change it, and the changes themselves. Pure.

use serde::{Deserialize, Serialize};
use units::UnixMillis;

use crate::record::RingRecord;

/// The ring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingStatus {
    /// Grows with every change of the servers.
    pub epoch: u64,
    /// Those that own buckets, in order; then those that drain.
    pub servers: Vec<RingServer>,
    /// Who changed it last; `configuration` when an operator's list began it.
    pub author: String,
    /// Why.
    pub reason: String,
    /// When, milliseconds since 1970.
    pub at_ms: u64,
}

/// One GAC server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingServer {
    /// `host:port`.
    pub address: String,
    /// It was taken out of the ring and hands its buckets over.
    pub draining: bool,
    /// What it last answered; none: nothing yet, or not while this member led.
    pub answer: Option<RingServerAnswer>,
}

/// What a server last answered when it was told the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RingServerAnswer {
    /// The ring that it knows.
    pub epoch: u64,
    /// Buckets that it owns.
    pub buckets: u64,
    /// It has nothing left to hand over.
    pub drained: bool,
    /// How long ago it answered, milliseconds.
    pub age_ms: u64,
}

/// A server to be added or drained.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RingChange {
    /// `host:port`, exactly as proxies and GAC servers know it.
    pub address: String,
    /// Who wants it: 1 to 256 bytes.
    pub author: String,
    /// Why: up to 1,024 bytes.
    #[serde(default)]
    pub reason: String,
    /// Refuse the change unless the ring is of this epoch.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_epoch: Option<u64>,
}

/// Why the ring was not shown or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(tag = "error", rename_all = "snake_case")]
pub enum RingError {
    /// Another member leads the control plane, or none does.
    #[error("this member does not lead the control plane")]
    NotLeader {
        /// `host:port` of the leader's transport, if it is known.
        leader: Option<String>,
    },
    /// It may or may not have taken place: look before trying again.
    #[error("the catalog cannot be written now; the change may or may not have taken place")]
    Unavailable,
    /// Too many changes wait; this one did not take place.
    #[error("too many changes wait for the control plane")]
    Overloaded,
    /// A value is not possible.
    #[error("{field}: {message}")]
    Invalid {
        /// Which.
        field: String,
        /// Why.
        message: String,
    },
    /// The server is in the ring already.
    #[error("{address} is in the ring already")]
    AlreadyThere {
        /// Its address.
        address: String,
    },
    /// The server is not in the ring.
    #[error("{address} is not in the ring")]
    NotThere {
        /// Its address.
        address: String,
    },
    /// Somebody must own the buckets.
    #[error("{address} is the ring's last server")]
    LastServer {
        /// Its address.
        address: String,
    },
    /// More servers than this are not told.
    #[error("a ring has at most {limit} servers")]
    TooManyServers {
        /// How many it may have.
        limit: usize,
    },
    /// The ring has changed since.
    #[error("the ring is of epoch {present}, not {expected}")]
    EpochMismatch {
        /// The epoch that the change was meant for.
        expected: u64,
        /// The ring's.
        present: u64,
    },
}

/// A change that an operator asks for.
#[derive(Clone, Debug)]
pub(crate) enum RingCommand {
    Add(RingChange),
    Drain(RingChange),
}

/// Servers that are told, draining ones included: a server holds a million buckets.
const MAX_SERVERS: usize = 64;
/// Longest `host:port`.
const MAX_ADDRESS_BYTES: usize = 261;
/// The author of a ring that follows the configuration's list.
const CONFIGURATION: &str = "configuration";

/// The ring as the configuration begins it, or begins it anew with another list; none: it stays.
///
/// What operators add and drain outlives restarts. A configuration with another list than the one that
/// the ring began from is an operator's word, too: the later one.
pub(crate) fn configured(
    present: Option<&RingRecord>,
    list: &[String],
    now: UnixMillis,
) -> Option<RingRecord> {
    let mut list = list.to_vec();
    list.sort_unstable();
    list.dedup();
    if present.is_some_and(|present| present.configured == list) {
        return None;
    }
    Some(RingRecord {
        // 1 is what proxies and GAC servers begin with, from their own configurations.
        epoch: present.map_or(1, |present| present.epoch + 1),
        servers: list.clone(),
        draining: present.map_or_else(Vec::new, |present| {
            let known = present.servers.iter().chain(&present.draining);
            known.filter(|server| !list.contains(server)).take(MAX_SERVERS).cloned().collect()
        }),
        configured: list,
        author: CONFIGURATION.to_owned(),
        reason: String::new(),
        at_ms: now.get(),
    })
}

/// The ring with `command` executed.
///
/// # Errors
/// When it cannot be.
pub(crate) fn changed(
    present: &RingRecord,
    command: &RingCommand,
    now: UnixMillis,
) -> Result<RingRecord, RingError> {
    let (RingCommand::Add(change) | RingCommand::Drain(change)) = command;
    check(change, present)?;
    let address = change.address.clone();
    let there = present.servers.contains(&address);
    let mut ring = RingRecord {
        epoch: present.epoch + 1,
        author: change.author.clone(),
        reason: change.reason.clone(),
        at_ms: now.get(),
        ..present.clone()
    };
    match command {
        RingCommand::Add(_) if there => return Err(RingError::AlreadyThere { address }),
        RingCommand::Add(_) => {
            ring.draining.retain(|draining| *draining != address);
            if ring.servers.len() + ring.draining.len() >= MAX_SERVERS {
                return Err(RingError::TooManyServers { limit: MAX_SERVERS });
            }
            ring.servers.push(address);
            ring.servers.sort_unstable();
        }
        RingCommand::Drain(_) if !there => return Err(RingError::NotThere { address }),
        RingCommand::Drain(_) if ring.servers.len() == 1 => return Err(RingError::LastServer { address }),
        RingCommand::Drain(_) => {
            ring.servers.retain(|server| *server != address);
            ring.draining.push(address);
        }
    }
    Ok(ring)
}

/// The ring without the draining servers that say that they are drained; none: it stays. Its servers, and so
/// its epoch, are the same.
pub(crate) fn settled(present: &RingRecord, is_drained: impl Fn(&str) -> bool) -> Option<RingRecord> {
    let mut ring = present.clone();
    ring.draining.retain(|server| !is_drained(server));
    (ring.draining.len() < present.draining.len()).then_some(ring)
}

fn check(change: &RingChange, present: &RingRecord) -> Result<(), RingError> {
    let invalid = |field: &str, message: &str| RingError::Invalid {
        field: field.to_owned(),
        message: message.to_owned(),
    };
    let host_and_port = change.address.rsplit_once(':');
    if change.address.len() > MAX_ADDRESS_BYTES
        || !host_and_port.is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok())
    {
        return Err(invalid("address", "must be host:port"));
    }
    if change.author.is_empty() || change.author.len() > 256 {
        return Err(invalid("author", "must have 1 to 256 bytes"));
    }
    if change.reason.len() > 1024 {
        return Err(invalid("reason", "must have at most 1024 bytes"));
    }
    match change.expected_epoch {
        Some(expected) if expected != present.epoch => {
            Err(RingError::EpochMismatch { expected, present: present.epoch })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_ring_is_the_configurations_at_epoch_1() {
        let ring = ring(&["b:1", "a:1"]);
        assert_eq!((ring.epoch, ring.servers), (1, vec!["a:1".to_owned(), "b:1".to_owned()]));
    }

    #[test]
    fn an_operators_ring_outlives_a_restart_with_the_same_configuration() {
        let list = ["a:1".to_owned(), "b:1".to_owned()];
        let drained = changed(&ring(&["a:1", "b:1"]), &drain("a:1"), NOW).unwrap();
        assert_eq!(configured(Some(&drained), &list, NOW), None);
    }

    #[test]
    fn another_list_in_the_configuration_makes_another_ring() {
        let other = configured(Some(&ring(&["a:1", "b:1"])), &["b:1".to_owned(), "c:1".to_owned()], NOW);
        let other = other.unwrap();
        assert_eq!(other.epoch, 2);
        assert_eq!(other.servers, ["b:1", "c:1"]);
        assert_eq!(other.draining, ["a:1"]);
    }

    #[test]
    fn each_change_of_the_servers_makes_a_new_epoch() {
        let added = changed(&ring(&["a:1"]), &add("b:1"), NOW).unwrap();
        assert_eq!((added.epoch, added.servers.len()), (2, 2));
        let drained = changed(&added, &drain("a:1"), NOW).unwrap();
        assert_eq!(
            (drained.epoch, &drained.servers, &drained.draining),
            (3, &strings(&["b:1"]), &strings(&["a:1"]))
        );
        let again = changed(&drained, &add("a:1"), NOW).unwrap();
        assert_eq!((again.epoch, again.servers.len(), again.draining.len()), (4, 2, 0));
    }

    #[test]
    fn a_drained_server_leaves_without_a_new_epoch() {
        let ring = changed(&ring(&["a:1", "b:1"]), &drain("a:1"), NOW).unwrap();
        assert_eq!(settled(&ring, |_| false), None);
        let settled = settled(&ring, |server| server == "a:1").unwrap();
        assert_eq!((settled.epoch, settled.draining.len()), (ring.epoch, 0));
    }

    #[test]
    fn changes_that_make_no_sense_are_refused() {
        let ring = ring(&["a:1"]);
        let refusal = |command| changed(&ring, &command, NOW).unwrap_err();
        assert!(matches!(refusal(add("a:1")), RingError::AlreadyThere { .. }));
        assert!(matches!(refusal(drain("b:1")), RingError::NotThere { .. }));
        assert!(matches!(refusal(drain("a:1")), RingError::LastServer { .. }));
        assert!(matches!(refusal(add("nowhere")), RingError::Invalid { .. }));
        let stale = RingChange { expected_epoch: Some(9), ..change("b:1") };
        assert_eq!(refusal(RingCommand::Add(stale)), RingError::EpochMismatch { expected: 9, present: 1 });
    }

    const NOW: UnixMillis = UnixMillis::new(7);

    fn ring(list: &[&str]) -> RingRecord {
        configured(None, &strings(list), NOW).unwrap()
    }

    fn strings(list: &[&str]) -> Vec<String> {
        list.iter().map(|text| (*text).to_owned()).collect()
    }

    fn add(address: &str) -> RingCommand {
        RingCommand::Add(change(address))
    }

    fn drain(address: &str) -> RingCommand {
        RingCommand::Drain(change(address))
    }

    fn change(address: &str) -> RingChange {
        RingChange {
            address: address.into(),
            author: "ann".into(),
            reason: String::new(),
            expected_epoch: None,
        }
    }
}
