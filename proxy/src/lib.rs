//! The request router: HTTP, authentication, admission, routing.

pub mod routing;
