//! Operations and outcomes as they travel: the one home of the conversion between the typed form and
//! `wire::proto::storage`, for both ends.

use std::time::Duration;

use bytes::Bytes;
use dynamodb::error::{ApiError, ErrorKind};
use dynamodb::operation::{
    Bindings, Delete, EncodedItem, Get, Operation, Outcome, Page, Put, RangeRead, ReturnValues, StorageKey,
    Update, WriteOptions, Written,
};
use routing::{KeyRange, Member, MemberKind, Route, RouteVersion};
use units::{LogIndex, NodeId, PartitionId, TableId, Term, Zone};
use wire::proto::{routing as route_proto, storage as proto};

use crate::StoreError;
use crate::engine::StoredItem;

mod throttle;

/// When to come back to a partition no reachable replica of which is as new as what was read before: a few
/// exchanges of its members.
const BEHIND_RETRY_AFTER: Duration = Duration::from_millis(10);

/// A message that makes no sense, or an item whose checksum does not match.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WireFormError {
    /// A field is missing or out of range.
    #[error("the message is malformed: {0}")]
    Malformed(&'static str),
    /// A checksum does not match.
    #[error("an item arrived damaged")]
    Damaged,
}

use WireFormError::Malformed;

// ── Operations ──────────────────────────────────────────────────────────────────────────────────

/// The request for `operation`.
pub(crate) fn request(
    table: TableId,
    partition: PartitionId,
    operation: &Operation,
) -> proto::ExecuteRequest {
    use proto::execute_request::Operation as Wire;
    let wire = match operation {
        Operation::Get(get) => Wire::Get(proto::Get { key: key_bytes(&get.key), consistent: get.consistent }),
        Operation::Put(put) => Wire::Put(proto::Put {
            key: key_bytes(&put.key),
            item: put.item.0.clone(),
            options: Some(write_options(&put.options)),
            return_old: put.return_old,
        }),
        Operation::Delete(delete) => Wire::Delete(proto::Delete {
            key: key_bytes(&delete.key),
            options: Some(write_options(&delete.options)),
            return_old: delete.return_old,
        }),
        Operation::Update(update) => Wire::Update(proto::Update {
            key: key_bytes(&update.key),
            key_item: update.key_item.0.clone(),
            update: update.update.as_deref().map(str::to_owned),
            options: Some(write_options(&update.options)),
            return_values: return_values(update.return_values).into(),
        }),
        Operation::Range(range) => Wire::Range(range_request(range)),
    };
    proto::ExecuteRequest {
        table: table.get(),
        partition: partition.get(),
        operation: Some(wire),
        at_least: 0,
    }
}

fn range_request(range: &RangeRead) -> proto::Range {
    proto::Range {
        start: key_bytes(&range.start),
        end: range.end.as_ref().map(key_bytes),
        backward: !range.forward,
        consistent: range.consistent,
        limit: range.limit,
        max_bytes: range.max_bytes,
        filter: range.filter.as_deref().map(str::to_owned),
        projection: range.projection.as_deref().map(str::to_owned),
        names: names(&range.bindings),
        values: range.bindings.values.as_ref().map(|values| values.0.clone()),
        count_only: range.count_only,
        key_attributes: range.key_attributes.clone(),
    }
}

fn key_bytes(key: &StorageKey) -> Bytes {
    key.0.clone()
}

fn names(bindings: &Bindings) -> Vec<proto::Name> {
    bindings
        .names
        .iter()
        .map(|(placeholder, name)| proto::Name { placeholder: placeholder.clone(), name: name.clone() })
        .collect()
}

fn write_options(options: &WriteOptions) -> proto::WriteOptions {
    proto::WriteOptions {
        condition: options.condition.as_deref().map(str::to_owned),
        names: names(&options.bindings),
        values: options.bindings.values.as_ref().map(|values| values.0.clone()),
        return_item_on_failure: options.return_item_on_failure,
    }
}

fn return_values(values: ReturnValues) -> proto::ReturnValues {
    match values {
        ReturnValues::None => proto::ReturnValues::None,
        ReturnValues::AllOld => proto::ReturnValues::AllOld,
        ReturnValues::UpdatedOld => proto::ReturnValues::UpdatedOld,
        ReturnValues::AllNew => proto::ReturnValues::AllNew,
        ReturnValues::UpdatedNew => proto::ReturnValues::UpdatedNew,
    }
}

/// A received request, typed.
///
/// # Errors
/// `Malformed`.
pub(crate) fn operation(
    request: proto::ExecuteRequest,
) -> Result<(TableId, PartitionId, Operation), WireFormError> {
    use proto::execute_request::Operation as Wire;
    let operation = match request.operation.ok_or(Malformed("no operation"))? {
        Wire::Get(get) => Operation::Get(Get { key: storage_key(get.key), consistent: get.consistent }),
        Wire::Put(put) => Operation::Put(Put {
            key: storage_key(put.key),
            item: encoded_item(put.item)?,
            options: typed_write_options(put.options)?,
            return_old: put.return_old,
        }),
        Wire::Delete(delete) => Operation::Delete(Delete {
            key: storage_key(delete.key),
            options: typed_write_options(delete.options)?,
            return_old: delete.return_old,
        }),
        Wire::Update(update) => Operation::Update(Update {
            return_values: typed_return_values(update.return_values())?,
            key: storage_key(update.key),
            key_item: encoded_item(update.key_item)?,
            update: update.update.map(Into::into),
            options: typed_write_options(update.options)?,
        }),
        Wire::Range(range) => Operation::Range(typed_range(range)?),
    };
    Ok((TableId::new(request.table), PartitionId::new(request.partition), operation))
}

fn typed_range(range: proto::Range) -> Result<RangeRead, WireFormError> {
    Ok(RangeRead {
        start: storage_key(range.start),
        end: range.end.map(storage_key),
        forward: !range.backward,
        consistent: range.consistent,
        limit: range.limit,
        max_bytes: range.max_bytes,
        filter: range.filter.map(Into::into),
        projection: range.projection.map(Into::into),
        bindings: bindings(range.names, range.values)?,
        count_only: range.count_only,
        key_attributes: range.key_attributes,
    })
}

fn storage_key(bytes: Bytes) -> StorageKey {
    StorageKey(bytes)
}

fn bindings(names: Vec<proto::Name>, values: Option<Bytes>) -> Result<Bindings, WireFormError> {
    Ok(Bindings {
        names: names.into_iter().map(|name| (name.placeholder, name.name)).collect(),
        values: values.map(encoded_item).transpose()?,
    })
}

fn typed_write_options(options: Option<proto::WriteOptions>) -> Result<WriteOptions, WireFormError> {
    let Some(options) = options else { return Ok(WriteOptions::default()) };
    Ok(WriteOptions {
        condition: options.condition.map(Into::into),
        bindings: bindings(options.names, options.values)?,
        return_item_on_failure: options.return_item_on_failure,
    })
}

fn typed_return_values(values: proto::ReturnValues) -> Result<ReturnValues, WireFormError> {
    Ok(match values {
        proto::ReturnValues::None => ReturnValues::None,
        proto::ReturnValues::AllOld => ReturnValues::AllOld,
        proto::ReturnValues::UpdatedOld => ReturnValues::UpdatedOld,
        proto::ReturnValues::AllNew => ReturnValues::AllNew,
        proto::ReturnValues::UpdatedNew => ReturnValues::UpdatedNew,
    })
}

fn encoded_item(bytes: Bytes) -> Result<EncodedItem, WireFormError> {
    EncodedItem::parse(bytes).map_err(|_| Malformed("not an encoded item"))
}

// ── Outcomes ────────────────────────────────────────────────────────────────────────────────────

/// The response that carries an outcome. Items made by the operation are sealed here.
pub(crate) fn response(outcome: Outcome) -> proto::ExecuteResponse {
    use proto::execute_response::Outcome as Wire;
    let wire = match outcome {
        Outcome::Item(item) => Wire::Item(proto::Item { found: item.map(seal) }),
        Outcome::Written(written) => Wire::Written(proto::Written {
            attributes: written.attributes.map(seal),
            old_size: written.old_size,
            new_size: written.new_size,
        }),
        Outcome::ConditionFailed { item, charged_size } => {
            Wire::ConditionFailed(proto::ConditionFailed { item: item.map(seal), charged_size })
        }
        Outcome::Page(page) => Wire::Page(proto::Page {
            items: page.items.into_iter().map(seal).collect(),
            count: page.count,
            scanned: page.scanned,
            scanned_bytes: page.scanned_bytes,
            last_key: page.last_key.map(|key| key.0),
        }),
        Outcome::Invalid(error) => Wire::Invalid(proto::Invalid {
            kind: error.kind.type_name().to_owned(),
            message: error.message.into_owned(),
        }),
    };
    executed(wire)
}

/// The response to a `Get`, with the checksum that the item was stored with.
pub(crate) fn item_response(found: Option<StoredItem>) -> proto::ExecuteResponse {
    let found = found.map(|item| proto::Checked { item: item.bytes, crc32c: item.crc32c });
    executed(proto::execute_response::Outcome::Item(proto::Item { found }))
}

/// The response to an eventually consistent read that wants a newer state than the replica has.
pub(crate) fn behind(applied: LogIndex, leads: bool) -> proto::ExecuteResponse {
    executed(proto::execute_response::Outcome::Behind(proto::Behind { applied: applied.get(), leads }))
}

const fn executed(outcome: proto::execute_response::Outcome) -> proto::ExecuteResponse {
    proto::ExecuteResponse { outcome: Some(outcome), applied: 0 }
}

fn seal(item: EncodedItem) -> proto::Checked {
    let crc32c = crc_fast::crc32_iscsi(&item.0);
    proto::Checked { item: item.0, crc32c }
}

/// The response that says why there is no outcome.
pub(crate) fn refusal(error: &StoreError) -> proto::ExecuteResponse {
    use proto::execute_response::Outcome as Wire;
    let wire = match error {
        StoreError::Redirect(newer) => return redirect(newer, &[]),
        StoreError::Unknown => Wire::Redirect(proto::Redirect::default()),
        StoreError::Throttled(refusal) => Wire::Throttled(throttle::throttled(refusal)),
        StoreError::Unavailable { reason, retry_after } => Wire::Unavailable(proto::Unavailable {
            reason: reason.clone(),
            retry_after_ms: millis(*retry_after),
        }),
        StoreError::Corrupt => unavailable("the stored item is damaged"),
        // Not expressible as "not executed": the caller's transport reports it by silence.
        StoreError::Indefinite => unreachable!("an indefinite write is answered by a failure"),
    };
    executed(wire)
}

/// Not executed: `newer` says who leads the partition. `others` are told besides.
pub(crate) fn redirect(newer: &Route, others: &[Route]) -> proto::ExecuteResponse {
    let redirect = proto::Redirect { newer: Some(route(newer)), others: others.iter().map(route).collect() };
    executed(proto::execute_response::Outcome::Redirect(redirect))
}

/// The other partitions that a redirect tells of; it is left without them. What is malformed is left out:
/// nobody asked for it.
pub(crate) fn others_told(response: &mut proto::ExecuteResponse) -> Vec<Route> {
    match &mut response.outcome {
        Some(proto::execute_response::Outcome::Redirect(redirect)) => {
            let others = std::mem::take(&mut redirect.others).into_iter();
            others.filter_map(|route| typed_route(route).ok()).collect()
        }
        _ => Vec::new(),
    }
}

fn unavailable(reason: &str) -> proto::execute_response::Outcome {
    proto::execute_response::Outcome::Unavailable(proto::Unavailable {
        reason: reason.to_owned(),
        retry_after_ms: 0,
    })
}

/// Milliseconds, rounded up: who comes back after them does not come too early.
fn millis(duration: Duration) -> u32 {
    u32::try_from(duration.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX)
}

/// A received response, typed, its items checked.
///
/// # Errors
/// What the server refused with; `Corrupt` when an item's checksum does not match or the response
/// makes no sense.
pub(crate) fn outcome(response: proto::ExecuteResponse) -> Result<Outcome, StoreError> {
    use proto::execute_response::Outcome as Wire;
    let malformed = |_| StoreError::Corrupt;
    Ok(match response.outcome.ok_or(StoreError::Corrupt)? {
        Wire::Item(item) => Outcome::Item(checked(item.found).map_err(malformed)?),
        Wire::Written(written) => Outcome::Written(Written {
            attributes: checked(written.attributes).map_err(malformed)?,
            old_size: written.old_size,
            new_size: written.new_size,
        }),
        Wire::ConditionFailed(failed) => Outcome::ConditionFailed {
            item: checked(failed.item).map_err(malformed)?,
            charged_size: failed.charged_size,
        },
        Wire::Page(page) => Outcome::Page(typed_page(page).map_err(malformed)?),
        Wire::Invalid(invalid) => Outcome::Invalid(ApiError::new(
            error_kind(&invalid.kind).ok_or(StoreError::Corrupt)?,
            invalid.message,
        )),
        Wire::Redirect(redirect) => return Err(redirected(redirect)),
        Wire::Unavailable(unavailable) => {
            return Err(StoreError::Unavailable {
                reason: unavailable.reason,
                retry_after: Duration::from_millis(unavailable.retry_after_ms.into()),
            });
        }
        Wire::Behind(_) => {
            return Err(StoreError::Unavailable {
                reason: "the replica is behind what was read before".to_owned(),
                retry_after: BEHIND_RETRY_AFTER,
            });
        }
        Wire::Throttled(throttled) => {
            return Err(StoreError::Throttled(Box::new(throttle::typed_throttled(&throttled))));
        }
    })
}

fn redirected(redirect: proto::Redirect) -> StoreError {
    match redirect.newer.map(typed_route) {
        Some(Ok(route)) => StoreError::Redirect(Box::new(route)),
        Some(Err(_)) | None => StoreError::Unknown,
    }
}

fn typed_page(page: proto::Page) -> Result<Page, WireFormError> {
    Ok(Page {
        items: page.items.into_iter().map(verified).collect::<Result<_, _>>()?,
        count: page.count,
        scanned: page.scanned,
        scanned_bytes: page.scanned_bytes,
        last_key: page.last_key.map(trusted),
    })
}

fn checked(item: Option<proto::Checked>) -> Result<Option<EncodedItem>, WireFormError> {
    item.map(verified).transpose()
}

fn verified(item: proto::Checked) -> Result<EncodedItem, WireFormError> {
    if crc_fast::crc32_iscsi(&item.item) == item.crc32c {
        Ok(trusted(item.item))
    } else {
        Err(WireFormError::Damaged)
    }
}

/// An item from a storage node, which parsed it when it came in; its checksum says that it is the same.
fn trusted(bytes: Bytes) -> EncodedItem {
    EncodedItem(bytes)
}

/// The kinds that an operation can be invalid with.
const KINDS: [ErrorKind; 4] = [
    ErrorKind::Validation,
    ErrorKind::ItemCollectionSizeLimitExceeded,
    ErrorKind::TransactionConflict,
    ErrorKind::InternalServerError,
];

fn error_kind(name: &str) -> Option<ErrorKind> {
    KINDS.into_iter().find(|kind| kind.type_name() == name)
}

// ── Routes ──────────────────────────────────────────────────────────────────────────────────────

/// A route as it travels.
pub(crate) fn route(route: &Route) -> route_proto::Route {
    route_proto::Route {
        table: route.table.get(),
        partition: route.partition.get(),
        start: route.range.start.clone(),
        end: route.range.end.clone(),
        members: members(&route.members),
        leader: route.leader.map(NodeId::get),
        configuration: route.version.configuration,
        term: route.version.term.get(),
    }
}

/// Members as they travel.
pub(crate) fn members(members: &[Member]) -> Vec<route_proto::Member> {
    members
        .iter()
        .map(|member| route_proto::Member {
            node: member.node.get(),
            zone: member.zone.get().into(),
            log_only: member.kind == MemberKind::Log,
        })
        .collect()
}

/// Received members, typed.
///
/// # Errors
/// `Malformed`.
pub(crate) fn typed_members(members: Vec<route_proto::Member>) -> Result<Vec<Member>, WireFormError> {
    members.into_iter().map(typed_member).collect()
}

fn typed_member(member: route_proto::Member) -> Result<Member, WireFormError> {
    if member.node == 0 {
        return Err(Malformed("a node without a number"));
    }
    Ok(Member {
        node: NodeId::new(member.node),
        zone: Zone::new(u8::try_from(member.zone).map_err(|_| Malformed("a zone past 255"))?),
        kind: if member.log_only { MemberKind::Log } else { MemberKind::Storage },
    })
}

/// A received route, typed.
///
/// # Errors
/// `Malformed`.
pub(crate) fn typed_route(route: route_proto::Route) -> Result<Route, WireFormError> {
    Ok(Route {
        table: TableId::new(route.table),
        partition: PartitionId::new(route.partition),
        range: KeyRange { start: route.start, end: route.end },
        members: typed_members(route.members)?,
        leader: route.leader.map(NodeId::new),
        version: RouteVersion { configuration: route.configuration, term: Term::new(route.term) },
    })
}

#[cfg(test)]
mod tests;
