//! `BatchGetItem`, `BatchWriteItem`: many operations on single items, side by side.

use std::borrow::Cow;
use std::sync::Arc;

use dynamodb::api::{Answer, BatchGetRequest, BatchOperation, BatchWriteRequest};
use dynamodb::error::ApiError;
use dynamodb::operation::Outcome;
use dynamodb::table::TableDescriptor;
use futures_util::future::join_all;

use crate::request_path::{Deadline, Failure, RequestPath, Tiers};

type Described = Vec<Arc<TableDescriptor>>;

impl<T: Tiers> RequestPath<T> {
    pub(crate) async fn batch_get(
        &self,
        request: BatchGetRequest,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let tables = self.described(request.table_names(), deadline).await?;
        let planned = request.plan(&references(&tables));
        let (operations, reply) =
            planned.map_err(|error| Failure::Unfit { error, tables: tables.clone() })?;
        Ok(reply.answer(self.side_by_side(&tables, &operations, deadline).await?))
    }

    pub(crate) async fn batch_write(
        &self,
        request: BatchWriteRequest,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let tables = self.described(request.table_names(), deadline).await?;
        let planned = request.plan(&references(&tables));
        let (operations, reply) =
            planned.map_err(|error| Failure::Unfit { error, tables: tables.clone() })?;
        Ok(reply.answer(self.side_by_side(&tables, &operations, deadline).await?))
    }

    /// The batch's tables, in its order.
    async fn described(
        &self,
        names: impl Iterator<Item = &str>,
        deadline: Deadline,
    ) -> Result<Described, Failure> {
        let mut tables = Vec::new();
        for name in names {
            tables.push(self.table(name, deadline).await?);
        }
        Ok(tables)
    }

    /// Executes all of them at once. DynamoDB's limits bound them (100 reads, 25 writes), and what goes
    /// to one node shares its stream's frames. One that fails is the reply's to report as unprocessed.
    async fn side_by_side(
        &self,
        tables: &Described,
        operations: &[BatchOperation],
        deadline: Deadline,
    ) -> Result<Vec<Result<Outcome, ApiError>>, Failure> {
        let executed = join_all(operations.iter().map(|BatchOperation { table, operation }| async move {
            let key = &operation.routing_key().0;
            let executed = self.execute(&tables[*table], key, |_| Cow::Borrowed(operation), deadline).await;
            executed.map(|(outcome, _)| outcome)
        }))
        .await;
        // Then all of it is planned anew: putting and deleting twice changes nothing.
        if executed.iter().any(|result| matches!(result, Err(Failure::TableGone))) {
            return Err(Failure::TableGone);
        }
        Ok(executed.into_iter().map(|result| result.map_err(Failure::into_error)).collect())
    }
}

fn references(tables: &Described) -> Vec<&TableDescriptor> {
    tables.iter().map(AsRef::as_ref).collect()
}
