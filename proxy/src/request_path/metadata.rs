//! The metadata tier as the request path sees it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dynamodb::api::KeyClue;
use dynamodb::table::TableDescriptor;
use routing::Route;

use crate::routing::{Looked, Routing, RoutingError};

/// Which tables and partitions there are. See [`Routing`], which is this trait's reason.
pub(crate) trait Metadata: Send + Sync + 'static {
    /// The table of this name, and whether the lookups of the request's first operation on it went out with
    /// that; `clue` says what is known of that operation's key, if it must.
    fn table(
        &self,
        name: &str,
        clue: impl Fn() -> KeyClue + Send,
        deadline: Duration,
    ) -> impl Future<Output = Result<(Arc<TableDescriptor>, Looked), RoutingError>> + Send;

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
        looked: Looked,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send;

    /// A better route than `tried`, which failed, if anybody knows one.
    fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        tried: &Arc<Route>,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send;

    /// Takes in a route from a storage node.
    fn learn(&self, route: Route);
}

impl Metadata for Routing {
    fn table(
        &self,
        name: &str,
        clue: impl Fn() -> KeyClue + Send,
        deadline: Duration,
    ) -> impl Future<Output = Result<(Arc<TableDescriptor>, Looked), RoutingError>> + Send {
        Self::table(self, name, clue, deadline)
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
        looked: Looked,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send {
        Self::route(self, table, key, looked, deadline)
    }

    fn refresh(
        &self,
        table: &TableDescriptor,
        key: &Bytes,
        tried: &Arc<Route>,
        deadline: Duration,
    ) -> impl Future<Output = Result<Arc<Route>, RoutingError>> + Send {
        Self::refresh(self, table, key, tried, deadline)
    }

    fn learn(&self, route: Route) {
        Self::learn(self, route);
    }
}
