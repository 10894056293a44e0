//! When two answers are the same: JSON by content, sets and batches without regard to order.

use std::fmt;

use dynamodb::api::ApiOperation;
use serde_json::Value;

use crate::justified;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answered {
    Done(Value),
    Refused { exception: String, message: String, item: Option<Value> },
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(json) => write!(f, "{json}"),
            Self::Refused { exception, message, item } => {
                write!(f, "{exception}: {message}")?;
                item.as_ref().map_or(Ok(()), |item| write!(f, " {item}"))
            }
        }
    }
}

impl Answered {
    /// What tells it apart from answers of another kind.
    pub(crate) fn kind(&self, length: usize) -> String {
        match self {
            Self::Done(_) => "done".to_owned(),
            refused @ Self::Refused { .. } => refused.to_string().chars().take(length).collect(),
        }
    }
}

pub(crate) enum Verdict {
    Equal,
    Justified(&'static str),
    Different(&'static str),
}

pub(crate) fn verdict(operation: ApiOperation, body: &str, ours: &Answered, theirs: &Answered) -> Verdict {
    let difference = match (ours, theirs) {
        (Answered::Done(ours), Answered::Done(theirs)) => {
            if canonical(operation, ours) == canonical(operation, theirs) {
                return Verdict::Equal;
            }
            "the contents differ"
        }
        (
            Answered::Refused { exception: ours, item: our_item, .. },
            Answered::Refused { exception: theirs, item: their_item, .. },
        ) => {
            if ours == theirs && our_item.as_ref().map(sets_sorted) == their_item.as_ref().map(sets_sorted) {
                return Verdict::Equal;
            }
            "the exceptions differ"
        }
        (Answered::Refused { .. }, Answered::Done(_)) => "we refuse what they do",
        (Answered::Done(_), Answered::Refused { .. }) => "we do what they refuse",
    };
    justified::reason(operation, body, ours, theirs)
        .map_or(Verdict::Different(difference), Verdict::Justified)
}

/// Items in an order of their own, for comparing collections.
pub(crate) fn sorted_items(items: Vec<Value>) -> Vec<Value> {
    let mut items: Vec<Value> = items.iter().map(sets_sorted).collect();
    items.sort_by_key(Value::to_string);
    items
}

fn canonical(operation: ApiOperation, answer: &Value) -> Value {
    let mut answer = sets_sorted(answer);
    match operation {
        // The order of a scan is the hash's.
        ApiOperation::Scan => sort_member(&mut answer, "Items"),
        ApiOperation::BatchGetItem => {
            if let Some(tables) = answer["Responses"].as_object_mut() {
                tables.values_mut().for_each(sort);
            }
            sort_member(&mut answer, "ConsumedCapacity");
        }
        ApiOperation::BatchWriteItem => sort_member(&mut answer, "ConsumedCapacity"),
        // Of a table, what the request determines.
        ApiOperation::CreateTable => {
            let table = answer["TableDescription"].clone();
            let shown = ["TableName", "KeySchema", "AttributeDefinitions", "TableStatus"];
            return shown.into_iter().map(|member| (member.to_owned(), table[member].clone())).collect();
        }
        _ => {}
    }
    answer
}

fn sort_member(answer: &mut Value, member: &str) {
    if let Some(list) = answer.get_mut(member) {
        sort(list);
    }
}

fn sort(list: &mut Value) {
    if let Some(list) = list.as_array_mut() {
        list.sort_by_key(Value::to_string);
    }
}

/// The same with the elements of every set in order.
fn sets_sorted(value: &Value) -> Value {
    match value {
        Value::Object(members) => members
            .iter()
            .map(|(name, member)| {
                let mut member = sets_sorted(member);
                if ["SS", "NS", "BS"].contains(&name.as_str()) {
                    sort(&mut member);
                }
                (name.clone(), member)
            })
            .collect(),
        Value::Array(elements) => elements.iter().map(sets_sorted).collect(),
        other => other.clone(),
    }
}
