//! `CreateTable`, `UpdateTable` and `DeleteTable`: from a command and the catalog to the record to write,
//! or DynamoDB's exception. Pure.

use admission::OnDemand;
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::table::{
    Billing, BillingMode, NewTable, ProvisionedThroughput, TABLE_MAX_UNITS, TableChange, TableDescriptor,
    TableStatus,
};
use routing::placement::{ON_DEMAND_PARTITIONS, partitions_for};
use units::{MilliUnitsPerSecond, UnixMillis};

use crate::catalog::Catalog;
use crate::quota::QuotaKind;
use crate::quota_command;
use crate::record::{Identifiers, OnDemandHistories, TableRecord, capacity_kind};

/// Tables that may be created, changed or deleted at once. Source: DynamoDB Developer Guide, "Service
/// quotas": 500 for tables without indexes.
const TABLES_IN_CHANGE: usize = 500;
/// Partitions that a new table may have: more than the default quota of 40,000 units needs, and few enough
/// that a table's record stays far below the size of an item.
const MAX_NEW_PARTITIONS: u32 = 256;

/// What the commands need to know beside the catalog.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account<'a> {
    pub(crate) region: &'a str,
    pub(crate) account: &'a str,
    pub(crate) table_limit: usize,
}

/// Who wants a table changed, and when.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    /// Who signed the request.
    pub(crate) principal: &'a str,
    pub(crate) now: UnixMillis,
}

/// What chance gives a new table.
#[derive(Clone, Debug)]
pub(crate) struct Chance {
    /// `TableId` of `DescribeTable`.
    pub(crate) uuid: String,
    /// Seed of its keyed hash.
    pub(crate) hash_seed: u64,
}

/// Partitions that the new table starts with, if it may be created.
pub(crate) fn check_create(catalog: &Catalog, new: &NewTable, account: Account<'_>) -> Result<u32, ApiError> {
    if catalog.tables.get(&new.name).is_some() {
        return Err(in_use(format!("Table already exists: {}", new.name)));
    }
    if catalog.tables.len() >= account.table_limit {
        return Err(limit(format!(
            "Subscriber limit exceeded: There is a limit of {} tables per subscriber",
            account.table_limit
        )));
    }
    check_changes(catalog)?;
    check_throughput(&new.name, &new.billing)?;
    let partitions = match &new.billing {
        Billing::Provisioned(throughput) => partitions_for(throughput.read, throughput.write),
        Billing::OnDemand { .. } => ON_DEMAND_PARTITIONS,
    };
    Ok(partitions.min(MAX_NEW_PARTITIONS))
}

/// The new table's first record.
pub(crate) fn create(
    new: NewTable,
    partitions: u32,
    identifiers: Identifiers,
    account: Account<'_>,
    chance: Chance,
    request: Request<'_>,
) -> TableRecord {
    let now = request.now;
    let arn = format!("arn:aws:dynamodb:{}:{}:table/{}", account.region, account.account, new.name);
    let billing = match new.billing {
        Billing::OnDemand { max_read, max_write, .. } => {
            Billing::OnDemand { max_read, max_write, since_ms: now.get() }
        }
        Billing::Provisioned(ProvisionedThroughput { read, write, .. }) => {
            Billing::Provisioned(ProvisionedThroughput { read, write, ..Default::default() })
        }
    };
    let descriptor = TableDescriptor {
        id: identifiers.table,
        name: new.name,
        uuid: chance.uuid,
        arn,
        version: 1,
        status: TableStatus::Creating,
        keys: new.keys,
        attribute_definitions: new.attribute_definitions,
        billing,
        created_at_ms: now.get(),
        hash_seed: chance.hash_seed,
        deletion_protection: new.deletion_protection,
        table_class: new.table_class,
        tags: new.tags,
        partitions,
        item_count: 0,
        size_bytes: 0,
        quotas: None,
    };
    let mut table = TableRecord {
        descriptor,
        first_partition: identifiers.first_partition,
        partitions: vec![],
        quotas: None,
        on_demand: None,
    };
    table.set_quotas(quota_command::first(&table, request.principal, now));
    table
}

/// The table, being deleted.
pub(crate) fn delete(catalog: &Catalog, name: &str) -> Result<TableRecord, ApiError> {
    let table = existing(catalog, name)?;
    check_active(&table.descriptor)?;
    if table.descriptor.deletion_protection {
        return Err(ApiError::validation(
            "Resource cannot be deleted as it is currently protected against deletion. Disable deletion \
             protection first.",
        ));
    }
    check_changes(catalog)?;
    let mut table = table.clone();
    table.descriptor.status = TableStatus::Deleting;
    table.descriptor.version += 1;
    Ok(table)
}

/// The table as changed: `UPDATING` when its throughput changes, otherwise at once what it shall be.
pub(crate) fn update(
    catalog: &Catalog,
    change: &TableChange,
    request: Request<'_>,
) -> Result<TableRecord, ApiError> {
    let before = existing(catalog, &change.name)?;
    check_active(&before.descriptor)?;
    let billing = changed_billing(&before.descriptor.billing, change, request.now)?;
    let mut table = before.clone();
    if let Some(billing) = billing {
        check_changes(catalog)?;
        check_throughput(&change.name, &billing)?;
        table.on_demand = on_demand_after(before, &billing);
        table.descriptor.billing = billing;
        table.descriptor.status = TableStatus::Updating;
        let quotas = quota_command::after_billing(before, &table, request.principal, request.now);
        table.set_quotas(quotas);
    }
    if let Some(protection) = change.deletion_protection {
        table.descriptor.deletion_protection = protection;
    }
    if let Some(class) = &change.table_class {
        table.descriptor.table_class = Some(class.clone());
    }
    table.descriptor.version += 1;
    Ok(table)
}

/// The table of this name.
pub(crate) fn existing<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a TableRecord, ApiError> {
    catalog.tables.get(name).map(|table| &table.value).ok_or_else(|| {
        ApiError::new(
            ErrorKind::ResourceNotFound,
            format!("Requested resource not found: Table: {name} not found"),
        )
    })
}

/// The new billing, if it changes.
fn changed_billing(
    present: &Billing,
    change: &TableChange,
    now: UnixMillis,
) -> Result<Option<Billing>, ApiError> {
    let mode = change.billing_mode.unwrap_or(match present {
        Billing::Provisioned(_) => BillingMode::Provisioned,
        Billing::OnDemand { .. } => BillingMode::PayPerRequest,
    });
    match (mode, present) {
        (BillingMode::PayPerRequest, _) if change.provisioned.is_some() => Err(ApiError::validation(
            "One or more parameter values were invalid: Neither ReadCapacityUnits nor WriteCapacityUnits can \
             be specified when BillingMode is PAY_PER_REQUEST",
        )),
        (BillingMode::PayPerRequest, present) => Ok(on_demand(present, change, now)),
        (BillingMode::Provisioned, Billing::Provisioned(present)) => match change.provisioned {
            Some(wanted) => throughput(*present, wanted, now).map(Some),
            None => Ok(None),
        },
        (BillingMode::Provisioned, Billing::OnDemand { .. }) => match change.provisioned {
            Some(ProvisionedThroughput { read, write, .. }) => {
                Ok(Some(Billing::Provisioned(ProvisionedThroughput { read, write, ..Default::default() })))
            }
            None => Err(ApiError::validation(
                "One or more parameter values were invalid: ReadCapacityUnits and WriteCapacityUnits must both \
                 be specified when BillingMode is PROVISIONED",
            )),
        },
    }
}

fn on_demand(present: &Billing, change: &TableChange, now: UnixMillis) -> Option<Billing> {
    // −1 removes a ceiling; the request's form of it arrives here as none inside the pair.
    let ceilings = change.on_demand;
    match present {
        Billing::OnDemand { max_read, max_write, since_ms } => {
            let (read, write) = ceilings?;
            ((read, write) != (*max_read, *max_write)).then_some(Billing::OnDemand {
                max_read: read,
                max_write: write,
                since_ms: *since_ms,
            })
        }
        Billing::Provisioned(_) => {
            let (max_read, max_write) = ceilings.unwrap_or_default();
            Some(Billing::OnDemand { max_read, max_write, since_ms: now.get() })
        }
    }
}

fn throughput(
    present: ProvisionedThroughput,
    wanted: ProvisionedThroughput,
    now: UnixMillis,
) -> Result<Billing, ApiError> {
    if (present.read, present.write) == (wanted.read, wanted.write) {
        return Err(ApiError::validation(format!(
            "The provisioned throughput for the table will not change. The requested value equals the current \
             value. Current ReadCapacityUnits provisioned for the table: {}. Requested ReadCapacityUnits: {}. \
             Current WriteCapacityUnits provisioned for the table: {}. Requested WriteCapacityUnits: {}. Refer \
             to the Amazon DynamoDB Developer Guide for current limits and how to request higher limits.",
            present.read, wanted.read, present.write, wanted.write
        )));
    }
    Ok(Billing::Provisioned(provisioned(present, wanted.read, wanted.write, now)))
}

/// The throughput with these units, and with what was raised or lowered dated.
pub(crate) fn provisioned(
    present: ProvisionedThroughput,
    read: u64,
    write: u64,
    now: UnixMillis,
) -> ProvisionedThroughput {
    let increases = read > present.read || write > present.write;
    let decreases = read < present.read || write < present.write;
    ProvisionedThroughput {
        read,
        write,
        last_increase_ms: if increases { Some(now.get()) } else { present.last_increase_ms },
        last_decrease_ms: if decreases { Some(now.get()) } else { present.last_decrease_ms },
        decreases_today: decreases_today(present, now) + u64::from(decreases),
    }
}

/// The peaks of a table with this new billing: kept while it is on demand; a table that was provisioned
/// begins with what that gave it.
fn on_demand_after(before: &TableRecord, billing: &Billing) -> Option<OnDemandHistories> {
    match (&before.descriptor.billing, billing) {
        (_, Billing::Provisioned(_)) => None,
        (Billing::OnDemand { .. }, Billing::OnDemand { .. }) => before.on_demand,
        (Billing::Provisioned(was), Billing::OnDemand { .. }) => {
            let history = |kind, units| {
                let rate = MilliUnitsPerSecond::from_units(units);
                OnDemand::after_provisioned(capacity_kind(kind), rate).into()
            };
            let (read, write) = (history(QuotaKind::Read, was.read), history(QuotaKind::Write, was.write));
            Some(OnDemandHistories { read, write })
        }
    }
}

/// `NumberOfDecreasesToday`: how often the throughput was lowered on this UTC day.
pub(crate) fn decreases_today(present: ProvisionedThroughput, now: UnixMillis) -> u64 {
    const DAY_MS: u64 = 86_400_000;
    match present.last_decrease_ms {
        Some(last) if last / DAY_MS == now.get() / DAY_MS => present.decreases_today,
        _ => 0,
    }
}

fn check_active(table: &TableDescriptor) -> Result<(), ApiError> {
    let what = match table.status {
        TableStatus::Active => return Ok(()),
        TableStatus::Creating => "created",
        TableStatus::Updating => "updated",
        TableStatus::Deleting => "deleted",
    };
    Err(in_use(format!(
        "Attempt to change a resource which is still in use: Table is being {what}: {}",
        table.name
    )))
}

/// Throughput above what one table may have is refused.
fn check_throughput(table: &str, billing: &Billing) -> Result<(), ApiError> {
    let Billing::Provisioned(ProvisionedThroughput { read, write, .. }) = billing else { return Ok(()) };
    for (units, what) in [(*read, "ReadCapacityUnits"), (*write, "WriteCapacityUnits")] {
        if units > TABLE_MAX_UNITS {
            return Err(limit(format!(
                "Subscriber limit exceeded: Provisioned {what} of table {table} would be {units}, which \
                 exceeds the limit of {TABLE_MAX_UNITS} {what} per table"
            )));
        }
    }
    Ok(())
}

fn check_changes(catalog: &Catalog) -> Result<(), ApiError> {
    if catalog.tables_in_change() < TABLES_IN_CHANGE {
        return Ok(());
    }
    Err(limit(format!(
        "Subscriber limit exceeded: Only {TABLES_IN_CHANGE} tables can be created, updated, or deleted \
         simultaneously"
    )))
}

fn in_use(message: String) -> ApiError {
    ApiError::new(ErrorKind::ResourceInUse, message)
}

fn limit(message: String) -> ApiError {
    ApiError::new(ErrorKind::LimitExceeded, message)
}

#[cfg(test)]
mod tests;
