//! Reconciliation against fleets that lose messages, nodes that come and go, and leaders that change.

use std::time::Duration;

use dynamodb::table::{
    Billing, KeyAttribute, KeySchema, KeyType, NewTable, ProvisionedThroughput, TableChange,
};
use proptest::prelude::*;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use routing::NodeAddress;
use routing::placement::place;
use units::{Bytes64, Epoch, Term, UnixMillis};

use super::*;
use crate::fleet::ReplicaState;
use crate::quota::{QuotaChange, QuotaKind, QuotaSubject, Signed};
use crate::quota_command::{self, QuotaCommand, Write};
use crate::record::{CounterRecord, QuotaOwner};
use crate::table_command::{self, Account, Chance, Request};

const ACCOUNT: Account<'static> = Account { region: "r", account: "000000000000", table_limit: 100 };
const REQUEST: Request<'static> = Request { principal: "ann", now: UnixMillis::new(0) };

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    #[test]
    fn whatever_is_lost_on_the_way_everything_ends_as_it_was_asked_for(seed: u64) {
        let mut world = World::new(seed);
        for _ in 0..120 {
            world.something_happens();
        }
        world.calm_down();

        for table in world.catalog.tables.values() {
            prop_assert_eq!(table.descriptor.status, TableStatus::Active);
            for partition in &table.partitions {
                prop_assert_eq!(partition.members.len(), REPLICAS);
                for (node, _) in &partition.members {
                    prop_assert!(world.node(*node).hosts.contains(&partition.id));
                }
            }
            for kind in QuotaKind::ALL {
                let history = QuotaRecord::name_of(&QuotaOwner::Table(table.descriptor.id), kind);
                let history = &world.catalog.quotas.get(&history).unwrap().value;
                prop_assert_eq!(history.newest(), table.quota(kind));
                prop_assert_eq!(history.newest().terms.rate, table.own_units(kind));
                let versions = history.versions.iter().map(|version| version.version);
                prop_assert!(versions.eq(1..=history.newest().version), "no version is missing");
            }
        }
        let placed: BTreeSet<u64> = world
            .catalog
            .tables
            .values()
            .flat_map(|table| table.partitions.iter().map(|partition| partition.id))
            .collect();
        for node in &world.nodes {
            prop_assert!(node.hosts.is_subset(&placed), "{:?} hosts what is gone", node.id);
        }
        prop_assert_eq!(world.catalog.quotas.len(), 2 * world.catalog.tables.len());
    }
}

#[test]
fn one_seed_plays_the_same_twice() {
    let play = || {
        let mut world = World::new(7);
        (0..200).for_each(|_| world.something_happens());
        world.calm_down();
        format!("{:?} {:?}", world.catalog.tables, world.nodes)
    };
    assert_eq!(play(), play());
}

#[test]
fn a_zone_whose_node_is_away_still_gets_its_replica() {
    let mut world = World::new(1);
    world.nodes[2].up = false;
    world.pass(Duration::from_secs(10));
    world.create("t");

    (0..20).for_each(|_| world.turn(1.0));

    let table = world.catalog.tables.values().next().unwrap();
    assert_eq!(table.descriptor.status, TableStatus::Active);
    assert!(table.partitions.iter().all(|partition| partition.members.len() == REPLICAS));
}

#[test]
fn two_of_three_nodes_away_are_waited_for() {
    let mut world = World::new(1);
    world.nodes[1].up = false;
    world.nodes[2].up = false;
    world.pass(Duration::from_secs(10));
    world.create("t");

    (0..20).for_each(|_| world.turn(1.0));

    assert!(!world.catalog.tables.values().next().unwrap().is_placed());
}

/// A catalog, its leader's fleet, and the nodes as they really are.
struct World {
    catalog: Catalog,
    fleet: Fleet,
    nodes: Vec<Node>,
    now: Timestamp,
    rng: StdRng,
    tables_made: u32,
}

#[derive(Debug)]
struct Node {
    id: u64,
    up: bool,
    incarnation: u64,
    hosts: BTreeSet<u64>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Timestamp::from_nanos(1_000_000_000_000);
        let node = |id| Node { id, up: true, incarnation: 1, hosts: BTreeSet::new() };
        let mut world = Self {
            catalog: Catalog::default(),
            fleet: Fleet::since(now),
            nodes: (1..=3).map(node).collect(),
            now,
            rng: StdRng::seed_from_u64(seed),
            tables_made: 0,
        };
        world.turn(1.0);
        world
    }

    fn something_happens(&mut self) {
        match self.rng.random_range(0..10) {
            0 => {
                self.tables_made += 1;
                self.create(&format!("t{}", self.tables_made));
            }
            1 => self.delete_any(),
            2 if self.rng.random_bool(0.5) => self.update_any(),
            2 => self.set_any_quota(),
            3 => self.a_node_falls_or_rises(),
            4 => self.another_leads(),
            5 => self.pass(Duration::from_secs(5)),
            _ => self.turn(0.6),
        }
    }

    /// Nothing is lost any more and everybody is back.
    fn calm_down(&mut self) {
        for node in &mut self.nodes {
            node.up = true;
        }
        for _ in 0..200 {
            self.pass(Duration::from_millis(200));
            self.turn(1.0);
        }
    }

    /// The nodes report, and the leader takes its steps; each message arrives with this probability.
    fn turn(&mut self, arrives: f64) {
        for at in 0..self.nodes.len() {
            if self.nodes[at].up && self.rng.random_bool(arrives) {
                self.report(at);
            }
        }
        for step in steps(&self.catalog, &self.fleet, 3, self.now) {
            self.take(step, arrives);
        }
    }

    fn report(&mut self, at: usize) {
        let node = &self.nodes[at];
        let state = ReplicaState { leads: true, term: Term::new(1), items: 0, bytes: Bytes64::new(0) };
        let replicas = node.hosts.iter().map(|id| (PartitionId::new(*id), state)).collect();
        self.fleet.report(address(node), replicas, self.now);
        let gone = self.catalog.gone(node.hosts.iter().copied());
        let id = NodeId::new(node.id);
        let hosts: Vec<u64> = self
            .catalog
            .tables
            .values()
            .filter(|table| table.descriptor.status != TableStatus::Deleting)
            .flat_map(|table| assignments(table, &self.fleet, id).map(|assignment| assignment.partition))
            .collect();
        let node = &mut self.nodes[at];
        node.hosts.retain(|partition| !gone.contains(partition));
        node.hosts.extend(hosts);
    }

    fn take(&mut self, step: Step, arrives: f64) {
        match step {
            Step::RecordNode(node) => self.catalog.put(1, node),
            Step::RecordQuota(quota) => self.catalog.put(1, quota),
            Step::Place(name) => {
                let table = self.table(&name);
                let loads = loads(&self.catalog, &self.fleet, self.now);
                let placement = place(&loads, table.descriptor.partitions, &mut self.rng).unwrap();
                self.catalog.put(1, placed(&table, &placement));
            }
            Step::Activate(name) => self.catalog.put(1, activated(&self.table(&name))),
            Step::Erase(name) => self.erase(&name),
            Step::Assign(node, assign) => {
                let at = self.position(node);
                if self.nodes[at].up && self.rng.random_bool(arrives) {
                    self.nodes[at].hosts.extend(assign.iter().map(|assignment| assignment.partition));
                    if self.rng.random_bool(arrives) {
                        self.fleet
                            .learn_led(assign.iter().map(|assigned| PartitionId::new(assigned.partition)));
                    }
                }
            }
            Step::Drop(node, table, partitions) => {
                let at = self.position(node);
                if self.nodes[at].up && self.rng.random_bool(arrives) {
                    self.nodes[at].hosts.retain(|partition| !partitions.contains(partition));
                    if self.rng.random_bool(arrives) {
                        self.fleet.learn_dropped(table, node);
                    }
                }
            }
        }
    }

    fn erase(&mut self, name: &str) {
        let table = self.table(name);
        for kind in QuotaKind::ALL {
            let history = QuotaRecord::name_of(&QuotaOwner::Table(table.descriptor.id), kind);
            self.catalog.remove::<QuotaRecord>(&history);
        }
        self.catalog.remove::<TableRecord>(name);
        let partitions = table.partitions.iter().map(|partition| PartitionId::new(partition.id));
        self.fleet.forget(TableId::new(table.descriptor.id), partitions);
    }

    fn create(&mut self, name: &str) {
        let throughput = ProvisionedThroughput { read: 4000, write: 1000, ..Default::default() };
        let new = NewTable {
            name: name.into(),
            keys: KeySchema { partition: KeyAttribute { name: "id".into(), kind: KeyType::S }, sort: None },
            attribute_definitions: vec![],
            billing: Billing::Provisioned(throughput),
            deletion_protection: false,
            table_class: None,
            tags: vec![],
        };
        let partitions = table_command::check_create(&self.catalog, &new, ACCOUNT).unwrap();
        let (identifiers, counter): (_, CounterRecord) = self.catalog.counter().take(partitions);
        self.catalog.put(1, counter);
        let chance = Chance { uuid: "u".into(), hash_seed: 1 };
        let table = table_command::create(new, partitions, identifiers, ACCOUNT, chance, REQUEST);
        self.catalog.put(1, table);
    }

    fn delete_any(&mut self) {
        if let Some(name) = self.any_table()
            && let Ok(table) = table_command::delete(&self.catalog, &name)
        {
            self.catalog.put(1, table);
        }
    }

    fn update_any(&mut self) {
        let Some(name) = self.any_table() else { return };
        self.record_histories(&name);
        let read = self.rng.random_range(1..9);
        let provisioned = Some(ProvisionedThroughput { read, write: 1, ..Default::default() });
        let change = TableChange { name, provisioned, ..Default::default() };
        if let Ok(table) = table_command::update(&self.catalog, &change, REQUEST) {
            self.catalog.put(1, table);
        }
    }

    /// As the leader does before each change: what an earlier one left to do. It may fail after the change.
    fn record_histories(&mut self, name: &str) {
        for history in histories_to_write(&self.table(name), &self.catalog) {
            self.catalog.put(1, history);
        }
    }

    fn set_any_quota(&mut self) {
        let Some(name) = self.any_table() else { return };
        self.record_histories(&name);
        let signed = Signed { author: "ann".into(), ..Signed::default() };
        let rate = Some(self.rng.random_range(1..9));
        let change = QuotaChange::of(QuotaSubject::Table(name), QuotaKind::Write, signed);
        let command = QuotaCommand::Set(QuotaChange { rate, ..change });
        if let Ok(plan) = quota_command::plan(&self.catalog, &command, UnixMillis::new(0), false)
            && let Some(Write::Table(table)) = plan.write
        {
            self.catalog.put(1, *table);
        }
    }

    fn any_table(&mut self) -> Option<String> {
        let names: Vec<String> = self.catalog.tables.names_after(None).cloned().collect();
        (!names.is_empty()).then(|| names[self.rng.random_range(0..names.len())].clone())
    }

    fn a_node_falls_or_rises(&mut self) {
        let at = self.rng.random_range(0..self.nodes.len());
        let node = &mut self.nodes[at];
        node.up = !node.up;
        if node.up {
            node.incarnation += 1;
            // Now and then it comes back with an empty folder.
            if self.rng.random_bool(0.3) {
                node.hosts.clear();
            }
        }
    }

    /// A new leader knows the catalog, and nothing of the fleet but where it listens.
    fn another_leads(&mut self) {
        self.fleet = Fleet::since(self.now);
        for node in self.catalog.nodes.values() {
            self.fleet.remember(node.into());
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
    }

    fn table(&self, name: &str) -> TableRecord {
        self.catalog.tables.get(name).unwrap().value.clone()
    }

    fn node(&self, id: u64) -> &Node {
        &self.nodes[self.position(NodeId::new(id))]
    }

    fn position(&self, id: NodeId) -> usize {
        self.nodes.iter().position(|node| node.id == id.get()).unwrap()
    }
}

fn address(node: &Node) -> NodeAddress {
    NodeAddress {
        node: NodeId::new(node.id),
        zone: Zone::new(u8::try_from(node.id).unwrap() - 1),
        address: format!("127.0.0.1:{}", node.id),
        incarnation: Epoch::new(node.incarnation),
    }
}
