//! The metadata tier as the request path sees it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::table::TableDescriptor;
use routing::Route;

use crate::routing::{Routing, RoutingError};

/// Which tables and partitions there are. See [`Routing`], which is this trait's reason.
pub(crate) trait Metadata: Send + Sync + 'static {
    /// The table of this name.
    fn table(
        &self,
        name: &str,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<TableDescriptor>, RoutingError>> + Send;

    /// The table of this name, not from a cache.
    fn refresh_table(
        &self,
        name: &str,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<TableDescriptor>, RoutingError>> + Send;

    /// Takes in a table from the control plane.
    fn learn_table(&self, table: TableDescriptor);

    /// The route of the partition that holds `key`.
    fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send;

    /// A better route than the one that failed, if anybody knows one.
    fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send;

    /// Takes in a route from a storage node.
    fn learn(&self, route: Route);
}

impl Metadata for Routing {
    fn table(
        &self,
        name: &str,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<TableDescriptor>, RoutingError>> + Send {
        Self::table(self, name, deadline)
    }

    fn refresh_table(
        &self,
        name: &str,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<TableDescriptor>, RoutingError>> + Send {
        Self::refresh_table(self, name, deadline)
    }

    fn learn_table(&self, table: TableDescriptor) {
        Self::learn_table(self, table);
    }

    fn route(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send {
        Self::route(self, table, key, deadline)
    }

    fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send {
        Self::refresh(self, table, key, deadline)
    }

    fn learn(&self, route: Route) {
        Self::learn(self, route);
    }
}
