//! Who leads what this node hosts; and leaderships moved away from it at an operator's request: at an even
//! pace, each watched until another node leads or it has come to nothing.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use replication::HandOverRefused;
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use units::{NodeId, TableId, Term, Timestamp};

use super::hosted::Hosted;
use super::inbox::Input;
use super::shared::Shared;
use crate::metrics;

/// The time in which a move's leaderships are spread, unless it says so itself.
const USUAL_SPREAD_MS: u64 = 1_000;
/// The longest such time: an operators' request must be answered while its caller waits.
const LONGEST_SPREAD_MS: u64 = 30_000;
/// The part of that time in which hand-overs begin, in per cent: the last must end within it, too.
const BEGIN_PERCENT: u32 = 80;
/// A hand-over that was begun ends by itself after less than this: the library gives one up after 600 ms,
/// and the leader stands anew.
const SETTLE_WITHIN: Duration = Duration::from_secs(2);
/// When one that could not begin is tried again: its successor lacked too much of the log, say.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Shows and moves the leaderships of one node. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leaderships {
    shared: Arc<Shared>,
}

/// What one node knows of who leads.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeLeaderships {
    /// The node.
    pub node: u64,
    /// Its zone.
    pub zone: u8,
    /// What it hosts, by partition.
    pub groups: Vec<GroupLeadership>,
}

/// One hosted partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupLeadership {
    /// The table's number.
    pub table: u64,
    /// The partition.
    pub partition: u64,
    /// Whether this node leads it.
    pub leads: bool,
    /// Who leads it, as far as this node knows.
    pub leader: Option<u64>,
    /// The newest term that this node knows.
    pub term: u64,
}

/// How many leaderships to move away, where to, how fast.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeaderMove {
    /// How many: a number, or `all` (the default).
    pub count: MoveCount,
    /// To which node; none: to the members that lead least.
    pub to: Option<u64>,
    /// Of which table; none: of any.
    pub table: Option<u64>,
    /// Milliseconds over which they are spread; at most 30,000, usually 1,000.
    pub within_ms: u64,
}

impl Default for LeaderMove {
    fn default() -> Self {
        Self { count: MoveCount::All, to: None, table: None, within_ms: USUAL_SPREAD_MS }
    }
}

/// How many leaderships to move.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MoveCount {
    /// All that there are.
    #[default]
    All,
    /// So many.
    #[serde(untagged)]
    Number(u64),
}

/// What came of a move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MoveReport {
    /// The node that they were moved away from.
    pub node: u64,
    /// How many it led before, of the table if one was named.
    pub led: u64,
    /// Those that another node leads now.
    pub moved: Vec<MovedLeadership>,
    /// Those that were to move and did not.
    pub kept: Vec<KeptLeadership>,
    /// How long all of it took, in milliseconds.
    pub took_ms: u64,
}

/// A leadership that moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MovedLeadership {
    /// The table's number.
    pub table: u64,
    /// The partition.
    pub partition: u64,
    /// Who leads it now.
    pub to: u64,
    /// In which term.
    pub term: u64,
    /// From the beginning of the hand-over to the moment at which the old leader heard of the new one, in
    /// microseconds. In about this time the partition took no writes.
    pub took_us: u64,
}

/// A leadership that did not move.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptLeadership {
    /// The table's number.
    pub table: u64,
    /// The partition.
    pub partition: u64,
    /// Why.
    pub reason: String,
}

/// Why nothing was moved.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MoveError {
    /// One at a time.
    #[error("leaderships of this node are being moved already")]
    Busy,
    /// The time is too long.
    #[error("`within_ms` is at most {LONGEST_SPREAD_MS}")]
    TooSlow,
    /// It would stay where it is.
    #[error("node {0} is the one that they are to be moved away from")]
    ToItself(u64),
    /// Nothing that the node leads has a member there.
    #[error("node {0} is a member of no partition that would be moved")]
    NoMember(u64),
    /// The node ends.
    #[error("the node is stopping")]
    Stopping,
}

impl Leaderships {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// The node.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.shared.node
    }

    /// Who leads what the node hosts; of one table only, if one is named.
    #[must_use]
    pub fn show(&self, table: Option<u64>) -> NodeLeaderships {
        let node = self.shared.node;
        let shown = |hosted: Arc<Hosted>| {
            let assignment = hosted.assignment();
            let (term, leader) = hosted.lease.leadership();
            GroupLeadership {
                table: assignment.table.get(),
                partition: assignment.partition.get(),
                leads: leader == Some(node),
                leader: leader.map(NodeId::get),
                term: term.get(),
            }
        };
        let groups = self.shared.directory.all().into_iter().map(shown);
        let groups = groups.filter(|group| table.is_none_or(|table| group.table == table)).collect();
        NodeLeaderships { node: node.get(), zone: self.shared.zone.get(), groups }
    }

    /// Moves leaderships away from this node, and returns when each has moved or has come to nothing.
    /// Dropped before, it begins no more of them.
    ///
    /// # Errors
    /// Nothing was moved; see [`MoveError`].
    pub async fn move_away(&self, wanted: &LeaderMove) -> Result<MoveReport, MoveError> {
        if wanted.within_ms > LONGEST_SPREAD_MS {
            return Err(MoveError::TooSlow);
        }
        if wanted.to == Some(self.shared.node.get()) {
            return Err(MoveError::ToItself(self.shared.node.get()));
        }
        let Ok(_only_one) = self.shared.moving.try_lock() else { return Err(MoveError::Busy) };
        let began = wire::clock::now();
        let led = self.led(wanted.table);
        let count = match wanted.count {
            MoveCount::All => led.len(),
            MoveCount::Number(number) => usize::try_from(number).unwrap_or(usize::MAX).min(led.len()),
        };
        let to = wanted.to.map(NodeId::new);
        let member =
            |hosted: &&Arc<Hosted>| to.is_none_or(|to| hosted.assignment().voters().any(|it| it == to));
        let chosen: Vec<_> = led.iter().filter(member).take(count).map(Arc::clone).collect();
        if let (Some(to), true, true) = (wanted.to, chosen.is_empty(), count > 0) {
            return Err(MoveError::NoMember(to));
        }
        let spread = Duration::from_millis(wanted.within_ms);
        let pace = Pace { began, spread, count: u32::try_from(chosen.len()).unwrap_or(u32::MAX) };
        let (moved, kept) = self.run(chosen, to, pace).await?;
        metrics::leaderships_moved(moved.len(), kept.len());
        tracing::info!(node = %self.shared.node, moved = moved.len(), kept = kept.len(), "leaderships moved");
        let took = wire::clock::now().since(began);
        Ok(MoveReport {
            node: self.shared.node.get(),
            led: led.len() as u64,
            moved,
            kept,
            took_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        })
    }

    /// What this node serves, of one table only if one is named.
    fn led(&self, table: Option<u64>) -> Vec<Arc<Hosted>> {
        let table = table.map(TableId::new);
        let mut all = self.shared.directory.all();
        all.retain(|hosted| {
            hosted.lease.serving() && table.is_none_or(|table| hosted.assignment().table == table)
        });
        all
    }

    async fn run(
        &self,
        chosen: Vec<Arc<Hosted>>,
        to: Option<NodeId>,
        pace: Pace,
    ) -> Result<(Vec<MovedLeadership>, Vec<KeptLeadership>), MoveError> {
        let mut successors = Successors::new(&self.shared, to);
        let mut due: VecDeque<_> =
            (0..).zip(chosen).map(|(number, hosted)| (pace.begins(number), hosted)).collect();
        let mut under_way = FuturesUnordered::new();
        let (mut moved, mut kept) = (Vec::new(), Vec::new());
        while !due.is_empty() || !under_way.is_empty() {
            let pause = due.front().map_or(SETTLE_WITHIN, |(at, _)| at.since(wire::clock::now()));
            tokio::select! {
                biased;
                Some(settled) = under_way.next() => match settled {
                    Ok(leadership) => moved.push(leadership),
                    Err(leadership) => kept.push(leadership),
                },
                () = tokio::time::sleep(pause), if !due.is_empty() => {
                    let now = wire::clock::now();
                    let later = due.partition_point(|(at, _)| *at <= now);
                    let batch: Vec<_> = due.drain(..later).map(|(_, hosted)| hosted).collect();
                    for (hosted, begun) in self.begin(batch, &mut successors).await? {
                        match begun {
                            Ok(watched) => under_way.push(watched.settled()),
                            Err(_) if now + AGAIN_AFTER <= pace.ends() => {
                                due.push_back((now + AGAIN_AFTER, hosted));
                            }
                            Err(refused) => kept.push(not_moved(&hosted, refused.to_string())),
                        }
                    }
                    // What is tried again may be due before what has not begun.
                    due.make_contiguous().sort_by_key(|(at, _)| *at);
                }
            }
        }
        moved.sort_by_key(|leadership| leadership.partition);
        Ok((moved, kept))
    }

    /// Begins to hand these over, all at once.
    async fn begin(
        &self,
        batch: Vec<Arc<Hosted>>,
        successors: &mut Successors,
    ) -> Result<Vec<(Arc<Hosted>, Result<Watched, HandOverRefused>)>, MoveError> {
        // Watched from before: the change may come at once.
        let watched: Vec<_> = batch.iter().map(|hosted| Watched::new(&self.shared, hosted)).collect();
        let wanted = batch.iter().map(|hosted| (hosted.partition(), successors.of(hosted))).collect();
        let (sender, answer) = oneshot::channel();
        self.shared.inbox.push(Input::HandOver(wanted, sender));
        let begun = answer.await.map_err(|_| MoveError::Stopping)?;
        for (hosted, to) in batch.iter().zip(&begun) {
            if let Ok(to) = to {
                successors.chosen(*to);
                tracing::debug!(partition = %hosted.partition(), %to, "leadership is handed over");
            }
        }
        let pairs = begun.into_iter().zip(watched).map(|(begun, watched)| begun.map(|_to| watched));
        Ok(batch.into_iter().zip(pairs).collect())
    }
}

/// When each of `count` hand-overs begins.
#[derive(Clone, Copy, Debug)]
struct Pace {
    began: Timestamp,
    spread: Duration,
    count: u32,
}

impl Pace {
    fn begins(&self, number: u32) -> Timestamp {
        let all = u64::from(self.count.max(1)) * 100;
        let part = u64::from(number) * u64::from(BEGIN_PERCENT);
        let nanos = self.spread.as_nanos() * u128::from(part) / u128::from(all);
        self.began + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    fn ends(&self) -> Timestamp {
        self.began + self.spread
    }
}

/// Who is to take the next one over: the members that lead least, by what this node knows.
struct Successors {
    only: Option<NodeId>,
    node: NodeId,
    leads: BTreeMap<NodeId, u64>,
}

impl Successors {
    fn new(shared: &Shared, only: Option<NodeId>) -> Self {
        let mut leads = BTreeMap::new();
        for leader in shared.directory.all().iter().filter_map(|hosted| hosted.lease.leader()) {
            *leads.entry(leader).or_default() += 1;
        }
        Self { only, node: shared.node, leads }
    }

    fn of(&self, hosted: &Hosted) -> Vec<NodeId> {
        if let Some(only) = self.only {
            return vec![only];
        }
        let mut others: Vec<_> = hosted.assignment().voters().filter(|member| *member != self.node).collect();
        others.sort_by_key(|member| (self.leads.get(member).copied().unwrap_or(0), *member));
        others
    }

    fn chosen(&mut self, successor: NodeId) {
        *self.leads.entry(successor).or_default() += 1;
    }
}

/// A hand-over that was begun.
struct Watched {
    hosted: Arc<Hosted>,
    node: NodeId,
    leadership: tokio::sync::watch::Receiver<super::Leadership>,
    term: Term,
    began: Timestamp,
}

impl Watched {
    fn new(shared: &Shared, hosted: &Arc<Hosted>) -> Self {
        Self {
            leadership: hosted.leadership(),
            term: hosted.lease.term(),
            hosted: Arc::clone(hosted),
            node: shared.node,
            began: wire::clock::now(),
        }
    }

    /// Waits until somebody serves in a later term.
    async fn settled(mut self) -> Result<MovedLeadership, KeptLeadership> {
        let (node, term) = (self.node, self.term);
        let is_settled = |now: &super::Leadership| {
            now.term > term && (now.serving || now.leader.is_some_and(|leader| leader != node))
        };
        let changed = tokio::time::timeout(SETTLE_WITHIN, self.leadership.wait_for(is_settled)).await;
        let leadership = match changed {
            Ok(Ok(leadership)) => *leadership,
            Ok(Err(_)) => {
                return Err(not_moved(&self.hosted, "the replica is not hosted any more".to_owned()));
            }
            Err(_) => return Err(not_moved(&self.hosted, "nobody leads it yet".to_owned())),
        };
        match leadership.leader {
            Some(to) if to != node => Ok(MovedLeadership {
                table: self.hosted.assignment().table.get(),
                partition: self.hosted.partition().get(),
                to: to.get(),
                term: leadership.term.get(),
                took_us: u64::try_from(wire::clock::now().since(self.began).as_micros()).unwrap_or(u64::MAX),
            }),
            _ => {
                let reason = "the successor did not take it over; this node leads it again";
                Err(not_moved(&self.hosted, reason.to_owned()))
            }
        }
    }
}

fn not_moved(hosted: &Hosted, reason: String) -> KeptLeadership {
    KeptLeadership { table: hosted.assignment().table.get(), partition: hosted.partition().get(), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hand_overs_begin_at_an_even_pace_and_leave_time_for_the_last() {
        let began = Timestamp::from_nanos(7);
        let pace = Pace { began, spread: Duration::from_secs(1), count: 200 };
        let gaps: Vec<_> = (0..200).map(|number| pace.begins(number).since(began)).collect();
        assert_eq!(gaps[0], Duration::ZERO);
        assert_eq!(gaps[1], Duration::from_millis(4));
        assert_eq!(gaps[199], Duration::from_millis(796));
        let at_once = Pace { spread: Duration::ZERO, ..pace };
        assert_eq!((at_once.begins(0), at_once.begins(199)), (began, began));
    }

    #[test]
    fn a_move_is_of_all_unless_it_says_how_many() {
        let read = |json: &str| serde_json::from_str::<LeaderMove>(json).map(|wanted| wanted.count);
        assert_eq!(read("{}").unwrap(), MoveCount::All);
        assert_eq!(read(r#"{"count": "all"}"#).unwrap(), MoveCount::All);
        assert_eq!(read(r#"{"count": 12}"#).unwrap(), MoveCount::Number(12));
        assert!(read(r#"{"count": -1}"#).is_err());
        assert!(read(r#"{"count": "some"}"#).is_err());
        assert!(read(r#"{"counts": 1}"#).is_err());
    }
}
