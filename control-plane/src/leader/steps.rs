//! The steps that remain, taken: against the catalog's store, and by messages to storage nodes.

use std::sync::Arc;
use std::time::Duration;

use routing::placement::{Spread, place};
use tracing::{info, warn};
use units::{NodeId, PartitionId, TableId};
use wire::clock;
use wire::method::Assign;
use wire::proto::control::AssignRequest;
use wire::transport::{Connection, ConnectionConfig};

use super::Leader;
use crate::catalog_store::{CatalogStore, WriteError};
use crate::metrics;
use crate::quota::QuotaKind;
use crate::reconcile::{self, Step};
use crate::record::{QuotaOwner, QuotaRecord, TableRecord};

/// How long a node may take to answer that it hosts or dropped replicas; it is asked again anyway.
const ASSIGN_DEADLINE: Duration = Duration::from_secs(2);

impl<S: CatalogStore> Leader<'_, S> {
    /// Takes the steps that remain; says whether any did.
    pub(super) async fn reconcile(&mut self) -> bool {
        let steps = {
            let fleet = self.shared.fleet.lock();
            let (now, minimum) = (clock::now(), self.shared.config.minimum_nodes);
            metrics::holds(
                fleet.live(now).count(),
                self.catalog.tables.len(),
                self.catalog.tables_in_change(),
            );
            reconcile::steps(&self.catalog, &fleet, minimum, now)
        };
        let busy = self.catalog.tables_in_change() > 0 || !steps.is_empty();
        for step in steps {
            if let Err(error) = self.take(step).await {
                // Whatever it was about is looked at again, in what the catalog then says.
                warn!(%error, "a step was not taken");
                return true;
            }
        }
        busy
    }

    async fn take(&mut self, step: Step) -> Result<(), WriteError> {
        match step {
            Step::RecordNode(node) => {
                metrics::step("record_node");
                info!(node = node.id, zone = node.zone, address = %node.address, "a storage node has started");
                self.write(node).await
            }
            Step::RecordQuota(quota) => {
                metrics::step("record_quota");
                self.record_version(quota).await
            }
            Step::Place(name) => {
                metrics::step("place");
                self.place(&name).await
            }
            Step::Activate(name) => {
                metrics::step("activate");
                let Some(table) = self.catalog.tables.get(&name) else { return Ok(()) };
                info!(table = %name, "a table is active");
                self.write(reconcile::activated(&table.value)).await
            }
            Step::Erase(name) => {
                metrics::step("erase");
                self.erase(&name).await
            }
            Step::Assign(node, assign) => {
                metrics::step("assign");
                let shared = Arc::clone(self.shared);
                self.send(node, AssignRequest { assign, drop: vec![] }, move |led| {
                    // No news must wake nobody: the same question would follow at once, without end.
                    let news = shared.fleet.lock().learn_led(led.into_iter().map(PartitionId::new));
                    if news {
                        shared.wake.notify_one();
                    }
                });
                Ok(())
            }
            Step::Drop(node, table, drop) => {
                metrics::step("drop");
                let shared = Arc::clone(self.shared);
                self.send(node, AssignRequest { assign: vec![], drop }, move |_led| {
                    let news = shared.fleet.lock().learn_dropped(table, node);
                    if news {
                        shared.wake.notify_one();
                    }
                });
                Ok(())
            }
        }
    }

    async fn place(&mut self, name: &str) -> Result<(), WriteError> {
        let Some(table) = self.catalog.tables.get(name).cloned() else { return Ok(()) };
        let loads = reconcile::loads(&self.catalog, &self.shared.fleet.lock(), clock::now());
        let Ok(placement) = place(&loads, table.value.descriptor.partitions, &mut self.rng) else {
            return Ok(());
        };
        if placement.spread != Spread::ThreeZones {
            warn!(table = %name, spread = ?placement.spread, "a table's replicas are not in three zones");
        }
        self.write(reconcile::placed(&table.value, &placement)).await
    }

    /// Deletes a table's records, its own last: until then the next leader sees that something is left.
    async fn erase(&mut self, name: &str) -> Result<(), WriteError> {
        let Some(table) = self.catalog.tables.get(name).cloned() else { return Ok(()) };
        let descriptor = &table.value.descriptor;
        for kind in QuotaKind::ALL {
            let history = QuotaRecord::name_of(&QuotaOwner::Table(descriptor.id), kind);
            self.delete_record::<QuotaRecord>(&history).await?;
        }
        self.delete_record::<TableRecord>(name).await?;
        info!(table = %name, "a table is gone");
        let partitions = table.value.partitions.iter().map(|partition| PartitionId::new(partition.id));
        self.shared.fleet.lock().forget(TableId::new(descriptor.id), partitions);
        Ok(())
    }

    /// Sends to a storage node, without waiting; `on_led` gets the partitions that have a leader.
    fn send(&mut self, node: NodeId, request: AssignRequest, on_led: impl FnOnce(Vec<u64>) + Send + 'static) {
        let address = self.shared.fleet.lock().directory().get(node).map(|known| known.address.clone());
        let Some(address) = address else { return };
        let connection = self.nodes.entry(node).or_insert_with(|| connect(&address));
        if connection.address() != address {
            *connection = connect(&address);
        }
        let sent = connection.call_detached::<Assign>(&request, ASSIGN_DEADLINE, move |answer| {
            // No answer is no news: the same step comes up again.
            if let Ok(answer) = answer {
                on_led(answer.led);
            }
        });
        if let Err(error) = sent {
            warn!(%node, %error, "a storage node cannot be told of its replicas");
        }
    }
}

fn connect(address: &str) -> Connection {
    Connection::open(address, ConnectionConfig::named("control-plane"))
}
