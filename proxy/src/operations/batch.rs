//! `BatchGetItem`, `BatchWriteItem`: many operations on single items, side by side.

use std::borrow::Cow;
use std::sync::Arc;

use dynamodb::api::{BatchGetRequest, BatchOperation, BatchWriteRequest, KeyClue};
use dynamodb::error::ApiError;
use dynamodb::operation::Outcome;
use dynamodb::table::TableDescriptor;
use futures_util::future::{join_all, try_join_all};
use routing::Route;

use crate::request_path::{Answered, Call, Deadline, Failure, RequestPath, Throttle, Tiers};
use crate::routing::Looked;

/// A batch's tables, in its order.
type Described = Vec<Arc<TableDescriptor>>;

impl<T: Tiers> RequestPath<T> {
    pub(crate) async fn batch_get(
        &self,
        request: BatchGetRequest,
        call: Call<'_>,
    ) -> Result<Answered, Failure> {
        let (tables, looked) =
            self.described(request.table_names(), |table| request.key_clue(table), call.deadline).await?;
        let planned = request.plan(&references(&tables));
        let (operations, reply) =
            planned.map_err(|error| Failure::Unfit { error, tables: tables.clone() })?;
        let Executed { results, throttled } = self.side_by_side(&tables, looked, &operations, call).await?;
        let answer = reply.answer(results);
        // An exception speaks for itself.
        let throttled = throttled.filter(|_| answer.error.is_none()).map(|it| it.hint());
        Ok(Answered { answer, throttled })
    }

    pub(crate) async fn batch_write(
        &self,
        request: BatchWriteRequest,
        call: Call<'_>,
    ) -> Result<Answered, Failure> {
        let (tables, looked) =
            self.described(request.table_names(), |table| request.key_clue(table), call.deadline).await?;
        let planned = request.plan(&references(&tables));
        let (operations, reply) =
            planned.map_err(|error| Failure::Unfit { error, tables: tables.clone() })?;
        let Executed { results, throttled } = self.side_by_side(&tables, looked, &operations, call).await?;
        let answer = reply.answer(results);
        // An exception speaks for itself.
        let throttled = throttled.filter(|_| answer.error.is_none()).map(|it| it.hint());
        Ok(Answered { answer, throttled })
    }

    /// The batch's tables, and of each whether the lookups of its first operation went out already. Those that
    /// are not known are asked for side by side.
    async fn described(
        &self,
        names: impl Iterator<Item = &str>,
        clue: impl Fn(usize) -> KeyClue + Send + Sync,
        deadline: Deadline,
    ) -> Result<(Described, Vec<Looked>), Failure> {
        let clue = &clue;
        let asked = names.enumerate().map(|(table, name)| self.table(name, move || clue(table), deadline));
        let tables = try_join_all(asked).await?;
        Ok(tables.into_iter().unzip())
    }

    /// Executes all of them at once. DynamoDB's limits bound them (100 reads, 25 writes), and what goes
    /// to one node shares its stream's frames. One that fails is the reply's to report as unprocessed.
    async fn side_by_side(
        &self,
        tables: &Described,
        mut looked: Vec<Looked>,
        operations: &[BatchOperation],
        call: Call<'_>,
    ) -> Result<Executed, Failure> {
        let executed = join_all(operations.iter().map(|BatchOperation { table, operation }| {
            // A table's first operation uses it up.
            let looked = std::mem::take(&mut looked[*table]);
            async move {
                let key = &operation.routing_key().0;
                let operation = |_: &Route| Cow::Borrowed(operation);
                let executed = self.execute(&tables[*table], key, looked, operation, call).await;
                executed.map(|(outcome, _)| outcome)
            }
        }))
        .await;
        // Then all of it is planned anew: putting and deleting twice changes nothing.
        if executed.iter().any(|result| matches!(result, Err(Failure::TableGone))) {
            return Err(Failure::TableGone);
        }
        let throttled = executed.iter().find_map(|result| match result {
            Err(Failure::Throttled(throttle)) => Some(throttle.clone()),
            _ => None,
        });
        // Nothing was done for want of capacity: then that is the answer, with its reasons. DynamoDB API:
        // BatchGetItem, BatchWriteItem.
        if let (Some(Err(Failure::Throttled(first))), true) =
            (executed.first(), executed.iter().all(Result::is_err))
        {
            return Err(Failure::Throttled(first.clone()));
        }
        let results = executed.into_iter().map(|result| result.map_err(Failure::into_error)).collect();
        Ok(Executed { results, throttled })
    }
}

/// What came of a batch's operations, in their order.
struct Executed {
    results: Vec<Result<Outcome, ApiError>>,
    /// The first refusal for want of capacity.
    throttled: Option<Throttle>,
}

fn references(tables: &Described) -> Vec<&TableDescriptor> {
    tables.iter().map(AsRef::as_ref).collect()
}
