//! `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`: one operation on one partition.

use std::borrow::Cow;
use std::sync::Arc;

use dynamodb::api::{Answer, PointPlan, PointRequest};

use crate::request_path::{Call, Failure, RequestPath, Tiers};

impl<T: Tiers> RequestPath<T> {
    pub(crate) async fn point(&self, request: PointRequest<'_>, call: Call<'_>) -> Result<Answer, Failure> {
        let (table, looked) = self.table(request.table_name(), || request.key_clue(), call.deadline).await?;
        let planned = request.plan(&table);
        let PointPlan { operation, reply } =
            planned.map_err(|error| Failure::Unfit { error, tables: vec![Arc::clone(&table)] })?;
        let key = &operation.routing_key().0;
        let (outcome, _) = self.execute(&table, key, looked, |_| Cow::Borrowed(&operation), call).await?;
        Ok(reply.answer(outcome))
    }
}
