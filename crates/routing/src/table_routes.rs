//! One table's routes: disjoint ranges in key order, the newest known for each.

use std::sync::Arc;

use crate::Route;
use crate::range_list::RangeList;

/// What came of telling a map or cache a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learned {
    /// It is new, or newer than what it replaced.
    News,
    /// It, or something newer about its range, was known.
    Known,
}

/// One table's routes, at most one per key. Clones share the routes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableRoutes {
    routes: RangeList<Arc<Route>>,
}

impl TableRoutes {
    /// The route with the greatest range start that is not past `key`.
    #[must_use]
    pub fn floor(&self, key: &[u8]) -> Option<&Arc<Route>> {
        self.routes.floor(key)
    }

    /// The route of the partition that holds `key`.
    #[must_use]
    pub fn holder(&self, key: &[u8]) -> Option<&Arc<Route>> {
        self.routes.holder(key)
    }

    /// Takes `route` in unless something that it does not supersede overlaps it. What it supersedes goes.
    pub fn learn(&mut self, route: Arc<Route>) -> Learned {
        self.routes.learn(route)
    }

    /// Whether [`learn`](Self::learn) would change anything.
    #[must_use]
    pub fn would_learn(&self, route: &Route) -> bool {
        self.routes.would_learn(route)
    }

    /// All routes in key order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Route>> {
        self.routes.iter()
    }

    /// How many routes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.routes.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
