//! Routes: where each partition is, and the rules by which that knowledge is kept. Pure.

mod route;

pub use route::{KeyRange, Member, MemberKind, Route, RouteVersion};
