//! Admission as the request path sees it.

use std::future::Future;

use ::admission::{CapacityKind, StorageRefusal};
use dynamodb::api::Cost;
use dynamodb::table::TableDescriptor;
use units::{MilliUnits, TableId};

use super::Call;
use super::throttle::Throttle;
use crate::admission::{Admission, Ask, Permit};

/// Decides whether there is capacity: locally, with at most a moment's wait for what was asked for.
pub(crate) trait Gate: Send + Sync + 'static {
    /// What a request took; whatever becomes of it, the permit is settled.
    type Permit: Send;

    /// Takes `cost` from every quota that holds for the call, or says which one refused.
    fn admit(
        &self,
        call: Call<'_>,
        table: &TableDescriptor,
        cost: Cost,
    ) -> impl Future<Output = Result<Self::Permit, Throttle>> + Send;

    /// Replaces what was taken by what it cost in the end; none: it was not executed.
    fn settle(&self, permit: Self::Permit, actual: Option<Cost>);

    /// A storage node refused what was admitted here: everything goes back, and why is kept.
    fn refused_by_node(&self, call: Call<'_>, permit: Self::Permit, refusal: &StorageRefusal) -> Throttle;

    /// The table is gone: nobody will ask for it again.
    fn forget(&self, table: &TableDescriptor);
}

impl Gate for Admission {
    type Permit = Permit;

    async fn admit(&self, call: Call<'_>, table: &TableDescriptor, cost: Cost) -> Result<Permit, Throttle> {
        let (kind, amount) = parts(cost);
        let ask = ask(call, table, kind, amount);
        self.admit_patiently(&ask).await.map_err(|refusal| {
            tracing::debug!(request = %call.id, table = table.name, %refusal, "throttled");
            Throttle::of(&refusal)
        })
    }

    fn settle(&self, permit: Permit, actual: Option<Cost>) {
        Self::settle(self, permit, actual.map(Cost::amount));
    }

    fn refused_by_node(&self, call: Call<'_>, permit: Permit, refusal: &StorageRefusal) -> Throttle {
        let refusal = Self::refused_by_node(self, call.id, call.operation, permit, refusal);
        tracing::debug!(request = %call.id, %refusal, "throttled by a storage node");
        Throttle::of(&refusal)
    }

    fn forget(&self, table: &TableDescriptor) {
        Self::forget(self, TableId::new(table.id));
    }
}

const fn ask<'a>(
    call: Call<'a>,
    table: &'a TableDescriptor,
    kind: CapacityKind,
    cost: MilliUnits,
) -> Ask<'a> {
    Ask {
        request: call.id,
        operation: call.operation,
        principal: call.principal,
        table,
        kind,
        cost,
        now: call.deadline.began(),
    }
}

const fn parts(cost: Cost) -> (CapacityKind, MilliUnits) {
    match cost {
        Cost::Read(amount) => (CapacityKind::Read, amount),
        Cost::Write(amount) => (CapacityKind::Write, amount),
    }
}
