//! The table operations: commands for the control plane, which alone knows all tables.

use std::future::Future;

use dynamodb::api::{
    Answer, ListTables, Request, describe_endpoints_body, describe_limits_body, list_tables_body, table_body,
};
use dynamodb::error::ApiError;
use dynamodb::table::{NewTable, TableChange, TableDescriptor};
use hyper::header::HeaderValue;
use units::MilliUnits;

use crate::request_path::{Deadline, Failure, Gate as _, Metadata, RequestPath, Tiers};

/// What the control plane is asked to do with one table.
#[derive(Clone, Debug)]
pub(crate) enum TableCommand {
    /// `CreateTable`.
    Create(Box<NewTable>),
    /// `UpdateTable`.
    Update(Box<TableChange>),
    /// `DeleteTable`.
    Delete(String),
    /// `DescribeTable`.
    Describe(String),
}

/// Why a command has no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum TablesError {
    /// The control plane's exception.
    Refused(ApiError),
    /// No member answered in time; a command that changes something may or may not take place.
    Unavailable,
}

impl From<TablesError> for Failure {
    fn from(error: TablesError) -> Self {
        match error {
            TablesError::Refused(error) => error.into(),
            TablesError::Unavailable => Self::Unavailable,
        }
    }
}

/// Where tables are made.
pub(crate) trait Tables: Send + Sync + 'static {
    /// Does it, and returns the table as it is then.
    fn command(
        &self,
        principal: &str,
        command: TableCommand,
        deadline: Deadline,
    ) -> impl Future<Output = Result<TableDescriptor, TablesError>> + Send;

    /// The names of tables in order, and whether there are more.
    fn list(
        &self,
        principal: &str,
        list: &ListTables,
        deadline: Deadline,
    ) -> impl Future<Output = Result<(Vec<String>, bool), TablesError>> + Send;
}

impl<T: Tiers> RequestPath<T> {
    /// Answers what is not about items.
    pub(crate) async fn table_operation(
        &self,
        request: Request<'_>,
        principal: &str,
        host: &HeaderValue,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let deletes = matches!(request, Request::DeleteTable(_));
        let (command, member) = match request {
            Request::CreateTable(new) => (TableCommand::Create(new), "TableDescription"),
            Request::UpdateTable(change) => (TableCommand::Update(change), "TableDescription"),
            Request::DeleteTable(name) => (TableCommand::Delete(name), "TableDescription"),
            Request::DescribeTable(name) => (TableCommand::Describe(name), "Table"),
            Request::ListTables(list) => return self.list_tables(&list, principal, deadline).await,
            Request::DescribeLimits => return Ok(free(describe_limits_body())),
            Request::DescribeEndpoints => {
                return Ok(free(describe_endpoints_body(host.to_str().unwrap_or_default())));
            }
            Request::Point(_) | Request::Range(_) | Request::BatchGet(_) | Request::BatchWrite(_) => {
                unreachable!("the request path executes these itself")
            }
        };
        let table = self.tables.command(principal, command, deadline).await?;
        let body = table_body(member, &table);
        if deletes {
            self.gate.forget(&table);
        }
        // Whoever was told so by this proxy finds its next request answered accordingly.
        self.metadata.learn_table(table);
        Ok(free(body))
    }

    async fn list_tables(
        &self,
        list: &ListTables,
        principal: &str,
        deadline: Deadline,
    ) -> Result<Answer, Failure> {
        let (names, more) = self.tables.list(principal, list, deadline).await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let last = names.last().copied().filter(|_| more);
        Ok(free(list_tables_body(&names, last)))
    }
}

/// An answer that consumes no capacity.
fn free(body: Vec<u8>) -> Answer {
    Answer::success(body, MilliUnits::ZERO)
}
