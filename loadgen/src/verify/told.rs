//! What an answer, or the lack of one, says of a call.

use serde_json::Value;

use super::history::{Fate, State, What};
use super::plan::{Asked, value_of};
use crate::engine::{Answer, CallError, classify};
use crate::outcome::Outcome;

/// What became of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// For the history; none: it says nothing, as a read without an answer.
    pub what: Option<What>,
    /// What went wrong: an exception's name, or `no answer`.
    pub error: Option<String>,
}

impl Told {
    /// What a call was told. `tells_found`: whether the service is known to say what a failed condition found
    /// (`ReturnValuesOnConditionCheckFailure`); of another, an answer without an item says nothing of the item.
    #[must_use]
    pub fn of(asked: Asked, answer: &Result<Answer, CallError>, tells_found: bool) -> Self {
        match answer {
            Ok(Answer { status: 200, body }) => match serde_json::from_slice(body) {
                Ok(body) => Self { what: Some(succeeded(asked, &body)), error: None },
                Err(_) => Self::failed(asked, Fate::Unknown, "an answer that is not JSON"),
            },
            Ok(Answer { status, body }) => {
                let (outcome, name) = classify(*status, body);
                if outcome == Outcome::ConditionFailed {
                    let body: Value = serde_json::from_slice(body).unwrap_or_default();
                    return Self { what: refused(asked, &body, tells_found), error: None };
                }
                // What is refused with a 4xx was not begun. A 5xx leaves it open.
                let fate = if (400..500).contains(status) { Fate::NotDone } else { Fate::Unknown };
                let name = name.unwrap_or_else(|| format!("HTTP {status}").into());
                Self::failed(asked, fate, &name)
            }
            Err(CallError::NotSent { .. }) => Self::failed(asked, Fate::NotDone, "no connection"),
            Err(CallError::Unanswered { .. }) => Self::failed(asked, Fate::Unknown, "no answer"),
        }
    }

    fn failed(asked: Asked, fate: Fate, error: &str) -> Self {
        let what = match asked {
            Asked::Read { .. } => None,
            Asked::Write { new, condition, .. } => Some(What::Write { new, before: condition, fate }),
        };
        Self { what, error: Some(error.to_owned()) }
    }
}

fn succeeded(asked: Asked, body: &Value) -> What {
    match asked {
        Asked::Read { strong, as_query } => {
            let item = if as_query { &body["Items"][0] } else { &body["Item"] };
            let state = value_of(item);
            if strong { What::StrongRead(state) } else { What::EventualRead(state) }
        }
        Asked::Write { new, condition, returns_old, .. } => {
            let before = if returns_old { Some(value_of(&body["Attributes"])) } else { condition };
            What::Write { new, before, fate: Fate::Done }
        }
    }
}

fn refused(asked: Asked, body: &Value, tells_found: bool) -> Option<What> {
    let Asked::Write { condition: Some(expected), .. } = asked else { return None };
    // Without an item there was none, or the service does not tell.
    let found: State = value_of(&body["Item"]);
    let is_told = found.is_some() || tells_found;
    Some(What::Refused { expected, found: is_told.then_some(found) })
}

/// What a key holds as far as this says, if it does.
#[must_use]
pub fn shown(what: &What) -> Option<State> {
    match *what {
        What::StrongRead(state) | What::Refused { found: Some(state), .. } => Some(state),
        What::Write { new, fate: Fate::Done, .. } => Some(new),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    const PUT: Asked =
        Asked::Write { new: Some(7), as_update: false, condition: Some(Some(6)), returns_old: false };
    const TOLD: Asked = Asked::Write { new: Some(7), as_update: false, condition: None, returns_old: true };

    #[test]
    fn a_write_that_is_refused_did_not_take_place_and_one_without_an_answer_may_have() {
        let fates = [
            (answer(400, r#"{"__type":"x#ThrottlingException"}"#), Fate::NotDone),
            (answer(500, r#"{"__type":"x#InternalServerError"}"#), Fate::Unknown),
            (answer(503, ""), Fate::Unknown),
            (
                Err(CallError::NotSent { endpoint: String::new(), name: "x", why: String::new() }),
                Fate::NotDone,
            ),
            (
                Err(CallError::Unanswered { endpoint: String::new(), name: "x", why: String::new() }),
                Fate::Unknown,
            ),
            (answer(200, "{}"), Fate::Done),
        ];
        for (answer, fate) in fates {
            let expected = What::Write { new: Some(7), before: Some(Some(6)), fate };
            assert_eq!(Told::of(PUT, &answer, true).what, Some(expected), "{answer:?}");
        }
    }

    #[test]
    fn what_was_there_is_taken_from_the_answer() {
        let told = Told::of(TOLD, &answer(200, r#"{"Attributes":{"v":{"N":"5"}}}"#), true).what;
        assert_eq!(told, Some(What::Write { new: Some(7), before: Some(Some(5)), fate: Fate::Done }));
        let told = Told::of(TOLD, &answer(200, "{}"), true).what;
        assert_eq!(told, Some(What::Write { new: Some(7), before: Some(None), fate: Fate::Done }));
        let body = r#"{"__type":"x#ConditionalCheckFailedException","Item":{"v":{"N":"4"}}}"#;
        let refused = What::Refused { expected: Some(6), found: Some(Some(4)) };
        assert_eq!(Told::of(PUT, &answer(400, body), true).what, Some(refused));
    }

    #[test]
    fn a_refusal_without_the_item_says_that_there_is_none_only_of_a_service_that_would_show_it() {
        let refused = answer(400, r#"{"__type":"x#ConditionalCheckFailedException"}"#);
        let found = |tells_found| match Told::of(PUT, &refused, tells_found).what {
            Some(What::Refused { expected: Some(6), found }) => found,
            other => panic!("{other:?}"),
        };
        assert_eq!((found(true), found(false)), (Some(None), None));
    }

    #[test]
    fn reads_see_the_value_or_that_there_is_none() {
        let get = Asked::Read { strong: true, as_query: false };
        let query = Asked::Read { strong: false, as_query: true };
        let item = answer(200, r#"{"Item":{"v":{"N":"4"}}}"#);
        assert_eq!(Told::of(get, &item, true).what, Some(What::StrongRead(Some(4))));
        assert_eq!(Told::of(get, &answer(200, "{}"), true).what, Some(What::StrongRead(None)));
        let page = answer(200, r#"{"Items":[{"v":{"N":"4"}}]}"#);
        assert_eq!(Told::of(query, &page, true).what, Some(What::EventualRead(Some(4))));
        assert_eq!(
            Told::of(query, &answer(200, r#"{"Items":[]}"#), true).what,
            Some(What::EventualRead(None))
        );
        assert_eq!(Told::of(get, &answer(503, ""), true).what, None);
    }

    fn answer(status: u16, body: &str) -> Result<Answer, CallError> {
        Ok(Answer { status, body: Bytes::copy_from_slice(body.as_bytes()) })
    }
}
