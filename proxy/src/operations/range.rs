//! `Query` and `Scan`: reads partition after partition until the page is full or the range ends.

use std::borrow::Cow;
use std::sync::Arc;

use dynamodb::api::{Answer, RangeRequest};
use dynamodb::operation::{Operation, Outcome};

use crate::request_path::{Call, Failure, RequestPath, Tiers};

impl<T: Tiers> RequestPath<T> {
    /// Each partition is routed, admitted and settled on its own: a walk over a large table pays as it
    /// goes. It ends with the page (`Limit`, 1 MB), the range, or the request's deadline.
    pub(crate) async fn range(&self, request: RangeRequest<'_>, call: Call<'_>) -> Result<Answer, Failure> {
        let (table, mut looked) =
            self.table(request.table_name(), || request.key_clue(), call.deadline).await?;
        let planned = request.plan(&table);
        let mut walk = planned.map_err(|error| Failure::Unfit { error, tables: vec![Arc::clone(&table)] })?;
        let mut left = call;
        while let Some(key) = walk.routing_key() {
            if left.deadline.whole().is_zero() {
                return Err(Failure::Unavailable);
            }
            let read = |route: &routing::Route| {
                Cow::Owned(Operation::Range(walk.read_in(&route.range.start, route.range.end.as_deref())))
            };
            let looked = std::mem::take(&mut looked);
            let (outcome, route) = self.execute(&table, &key.0, looked, read, left).await?;
            let page = match outcome {
                Outcome::Page(page) => page,
                Outcome::Invalid(error) => return Err(error.into()),
                // A node that answers a range read with anything else is broken.
                _ => return Err(Failure::Unavailable),
            };
            walk.absorb(page, &route.range.start, route.range.end.as_deref());
            if walk.routing_key().is_some() {
                left = call.rest();
            }
        }
        Ok(walk.answer())
    }
}
