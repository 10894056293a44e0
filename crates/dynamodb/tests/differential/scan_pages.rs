//! A page of a scan holds what the order of hashes puts there, which differs between implementations;
//! all pages of all segments together do not.

use dynamodb::api::ApiOperation;
use serde_json::{Map, Value, json};

use crate::comparison::Answered;

/// More pages than any table here has.
const MAX_PAGES: usize = 1_000;

/// Scans of more segments than this are compared segment by segment.
const MAX_SEGMENTS: u64 = 8;

/// The scan, if it reads in pages or segments from the start.
pub(crate) fn of(operation: ApiOperation, body: &str) -> Option<Map<String, Value>> {
    let request: Value = serde_json::from_str(body).ok()?;
    let request = request.as_object()?;
    let given = |member: &str| request.get(member).is_some_and(|value| !value.is_null());
    let segments = request.get("TotalSegments").and_then(Value::as_u64).unwrap_or(1);
    let in_parts = given("Limit") || (1..=MAX_SEGMENTS).contains(&segments) && given("TotalSegments");
    (operation == ApiOperation::Scan && in_parts && !given("ExclusiveStartKey")).then(|| request.clone())
}

/// All its pages, of all segments, as one answer; or the first refusal.
pub(crate) fn whole(request: &Map<String, Value>, mut answer: impl FnMut(&str) -> Answered) -> Answered {
    let total = request.get("TotalSegments").and_then(Value::as_u64);
    let mut items = Vec::new();
    let mut counts = [0; 2];
    for segment in 0..total.unwrap_or(1) {
        let mut request = request.clone();
        if total.is_some() {
            request.insert("Segment".to_owned(), segment.into());
        }
        for page_number in 0.. {
            assert!(page_number < MAX_PAGES, "a scan of these tables ends: {request:?}");
            let page = match answer(&Value::from(request.clone()).to_string()) {
                Answered::Done(page) => page,
                refused @ Answered::Refused { .. } => return refused,
            };
            items.extend(page["Items"].as_array().into_iter().flatten().cloned());
            for (sum, count) in counts.iter_mut().zip(["Count", "ScannedCount"]) {
                *sum += page[count].as_u64().expect("a page has counts");
            }
            match page.get("LastEvaluatedKey") {
                Some(key) => request.insert("ExclusiveStartKey".to_owned(), key.clone()),
                None => break,
            };
        }
    }
    Answered::Done(json!({ "Items": items, "Count": counts[0], "ScannedCount": counts[1] }))
}
