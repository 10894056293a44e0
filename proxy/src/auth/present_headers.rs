//! A request's headers as the verification reads them: a list, for a few of them are compared several times and
//! hashing a name costs more than comparing it with all of them.

use hyper::HeaderMap;
use hyper::header::HeaderValue;

use super::refusal::Refusal;

/// Room for what SDKs send; more headers are read as well.
const USUAL: usize = 16;

/// Names, in lower case, and values. Bounded by the server's limit of headers.
pub(super) struct PresentHeaders<'a>(Vec<(&'a str, &'a HeaderValue)>);

impl<'a> PresentHeaders<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Self {
        let mut list = Vec::with_capacity(USUAL);
        list.extend(headers.iter().map(|(name, value)| (name.as_str(), value)));
        Self(list)
    }

    /// The only value of a header that must not be repeated.
    ///
    /// # Errors
    /// It is.
    pub(super) fn single(&self, name: &str) -> Result<Option<&'a HeaderValue>, Refusal> {
        let mut values = self.0.iter().filter(|(present, _)| *present == name).map(|(_, value)| *value);
        let first = values.next();
        if values.next().is_some() { Err(Refusal::Repeated) } else { Ok(first) }
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.0.iter().any(|(present, _)| *present == name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(|(name, _)| *name)
    }
}
