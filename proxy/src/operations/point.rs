//! `GetItem`, `PutItem`, `UpdateItem`, `DeleteItem`: one operation on one partition.

use std::borrow::Cow;

use dynamodb::api::{Answer, PointPlan, PointRequest};

use crate::request_path::{Deadline, Failure, RequestPath, Tiers};

impl<T: Tiers> RequestPath<T> {
    pub(crate) async fn point(
        &self,
        request: PointRequest<'_>,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let table = self.table(request.table_name(), deadline).await?;
        let PointPlan { operation, reply } = request.plan(&table)?;
        let key = &operation.routing_key().0;
        let (outcome, _) = self.execute(&table, key, |_| Cow::Borrowed(&operation), deadline).await?;
        Ok(reply.answer(outcome))
    }
}
