//! Who may do what at the operators' endpoint.
//!
//! Whatever changes something needs the operators' token, everywhere. Reads are open on loopback; where
//! others can connect they need it too.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HeaderMap};
use axum::http::{HeaderValue, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::answer::{Problem, ProblemKind};
use crate::operator_token::OperatorToken;

/// The rule of one endpoint.
pub(super) struct Access {
    token: Option<OperatorToken>,
    loopback: bool,
}

impl Access {
    /// The rule of an endpoint that only this machine reaches, or not.
    pub(super) const fn new(token: Option<OperatorToken>, loopback: bool) -> Self {
        Self { token, loopback }
    }

    fn decide(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        let reads = matches!(*method, Method::GET | Method::HEAD);
        if reads && self.loopback {
            return Ok(());
        }
        let Some(token) = &self.token else {
            return Err(Problem::new(
                ProblemKind::Forbidden,
                "no operator token is configured (`admin.token` or WEIR_OPERATOR_TOKEN): this process \
                 takes no changes, and shows nothing to other machines",
            ));
        };
        match bearer(headers) {
            Some(shown) if token.is(shown) => Ok(()),
            Some(_) => Err(Problem::new(ProblemKind::Unauthorized, "this is not the operator token")),
            None => Err(Problem::new(
                ProblemKind::Unauthorized,
                "this needs the operator token: `Authorization: Bearer …`",
            )),
        }
    }
}

/// Lets a request pass, or answers it.
pub(super) async fn check(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    match access.decide(request.method(), request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => {
            let unauthorized = problem.error == ProblemKind::Unauthorized;
            let mut response = problem.into_response();
            if unauthorized {
                response.headers_mut().insert("WWW-Authenticate", HeaderValue::from_static("Bearer"));
            }
            response
        }
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "0123456789abcdef0123";

    #[test]
    fn nothing_changes_without_the_token() {
        let access = access(Some(TOKEN), true);
        for headers in [none(), with("Basic abc"), with("Bearer wrong"), with("Bearer"), with(TOKEN)] {
            let refused = access.decide(&Method::POST, &headers).unwrap_err();
            assert_eq!(refused.error, ProblemKind::Unauthorized, "{headers:?}");
        }
        assert_eq!(access.decide(&Method::POST, &with(&format!("Bearer {TOKEN}"))), Ok(()));
        assert_eq!(access.decide(&Method::DELETE, &with(&format!("bearer {TOKEN}"))), Ok(()));
    }

    #[test]
    fn a_process_without_a_token_takes_no_changes_from_anybody() {
        let access = access(None, true);
        for headers in [none(), with("Bearer "), with(&format!("Bearer {TOKEN}"))] {
            let refused = access.decide(&Method::POST, &headers).unwrap_err();
            assert_eq!(refused.error, ProblemKind::Forbidden);
        }
    }

    #[test]
    fn reads_are_open_on_loopback_only() {
        assert_eq!(access(None, true).decide(&Method::GET, &none()), Ok(()));
        assert!(access(None, false).decide(&Method::GET, &none()).is_err());
        assert!(access(Some(TOKEN), false).decide(&Method::GET, &none()).is_err());
        let shown = with(&format!("Bearer {TOKEN}"));
        assert_eq!(access(Some(TOKEN), false).decide(&Method::GET, &shown), Ok(()));
    }

    fn access(token: Option<&str>, loopback: bool) -> Access {
        Access::new(token.map(|text| text.to_owned().try_into().unwrap()), loopback)
    }

    fn none() -> HeaderMap {
        HeaderMap::new()
    }

    fn with(authorization: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::from_str(authorization).unwrap())])
    }
}
