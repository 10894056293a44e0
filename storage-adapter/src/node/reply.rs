//! Where an answer goes: to a caller on the wire, or in this process.

use dynamodb::operation::Outcome;
use routing::Route;
use tokio::sync::oneshot;
use units::{LogIndex, Timestamp};
use wire::method::Execute;
use wire::proto::storage::ExecuteResponse;
use wire::transport::{Failure, Responder};

use crate::engine::StoredItem;
use crate::{StoreError, metrics, wire_form};

/// Answers one request, once.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A caller on the wire.
    Wire(Responder),
    /// A caller in this process.
    Local(oneshot::Sender<Result<Outcome, StoreError>>, Timestamp),
}

impl Reply {
    /// When the caller stops waiting.
    pub(crate) fn expires(&self) -> Timestamp {
        match self {
            Self::Wire(responder) => responder.expires(),
            Self::Local(_, expires) => *expires,
        }
    }

    /// Whether nobody waits any more.
    pub(crate) fn is_abandoned(&self, now: Timestamp) -> bool {
        let gone = match self {
            Self::Wire(responder) => responder.is_cancelled(),
            Self::Local(sender, _) => sender.is_closed(),
        };
        gone || self.expires() <= now
    }

    /// Answers with an outcome.
    pub(crate) fn outcome(self, outcome: Outcome) {
        match self {
            Self::Wire(responder) => responder.answer::<Execute>(&wire_form::response(outcome)),
            Self::Local(sender, _) => drop(sender.send(Ok(outcome))),
        }
    }

    /// Answers a range read of a replica that had applied the log up to `applied`, at most.
    pub(crate) fn page(self, outcome: Outcome, applied: LogIndex) {
        match self {
            Self::Wire(responder) => {
                let response = wire_form::response(outcome);
                responder.answer::<Execute>(&ExecuteResponse { applied: applied.get(), ..response });
            }
            local @ Self::Local(..) => local.outcome(outcome),
        }
    }

    /// Answers a `Get` with the item as it is stored, under its own checksum, from a replica that had applied
    /// the log up to `applied`, at most.
    pub(crate) fn item(self, found: Option<StoredItem>, applied: LogIndex) {
        match self {
            Self::Wire(responder) => {
                let response = wire_form::item_response(found);
                responder.answer::<Execute>(&ExecuteResponse { applied: applied.get(), ..response });
            }
            Self::Local(sender, _) => {
                let item = found.map(|item| dynamodb::operation::EncodedItem(item.bytes));
                drop(sender.send(Ok(Outcome::Item(item))));
            }
        }
    }

    /// Sends the caller to the leader; `others` are told besides.
    pub(crate) fn redirect(self, newer: Route, others: &[Route]) {
        metrics::redirected();
        match self {
            Self::Wire(responder) => responder.answer::<Execute>(&wire_form::redirect(&newer, others)),
            Self::Local(sender, _) => drop(sender.send(Err(StoreError::Redirect(Box::new(newer))))),
        }
    }

    /// Says why there is no outcome.
    pub(crate) fn refuse(self, error: StoreError) {
        if error == StoreError::Corrupt {
            metrics::corrupt_item();
        }
        match self {
            // May have been executed.
            Self::Wire(responder) if error == StoreError::Indefinite => responder.fail(Failure::Internal),
            Self::Wire(responder) => responder.answer::<Execute>(&wire_form::refusal(&error)),
            Self::Local(sender, _) => drop(sender.send(Err(error))),
        }
    }

    /// Says that the replica has applied the log up to `applied` only, and whether it leads and has no more in its log.
    pub(crate) fn behind(self, applied: LogIndex, leads: bool) {
        metrics::behind();
        match self {
            Self::Wire(responder) => responder.answer::<Execute>(&wire_form::behind(applied, leads)),
            local @ Self::Local(..) => local.refuse(super::unavailable("the replica is behind")),
        }
    }

    /// Says that the node has too much to do; nothing was executed.
    pub(crate) fn overloaded(self) {
        metrics::overloaded();
        match self {
            Self::Wire(responder) => responder.fail(Failure::Overloaded),
            local @ Self::Local(..) => local.refuse(super::unavailable("the node has too much to do")),
        }
    }
}
