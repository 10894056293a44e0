//! Requests that are worth asking every time.

use dynamodb::api::ApiOperation;

/// In order: later ones see what earlier ones wrote.
pub(crate) fn requests() -> Vec<(ApiOperation, String)> {
    use ApiOperation::*;
    let requests = [
        (PutItem, r#"{"TableName":"strings","Item":{"pk":{"S":"a"},"a":{"N":"1"}}}"#),
        (
            PutItem,
            r#"{"TableName":"strings","Item":{"pk":{"S":"a"},"a":{"N":"1"}},"ConditionExpression":"attribute_not_exists(pk)","ReturnValuesOnConditionCheckFailure":"ALL_OLD"}"#,
        ),
        (GetItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnConsumedCapacity":"TOTAL"}"#),
        (
            GetItem,
            r#"{"TableName":"strings","Key":{"pk":{"S":"zz"}},"ReturnConsumedCapacity":"INDEXES","ConsistentRead":true}"#,
        ),
        (UpdateItem, r#"{"TableName":"strings","Key":{"pk":{"S":"new"}}}"#),
        (
            UpdateItem,
            r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"UpdateExpression":"SET a = a + :one","ExpressionAttributeValues":{":one":{"N":"1"}},"ReturnValues":"UPDATED_NEW"}"#,
        ),
        (
            UpdateItem,
            r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"UpdateExpression":"SET pk = :one","ExpressionAttributeValues":{":one":{"S":"1"}}}"#,
        ),
        (
            Query,
            r#"{"TableName":"strings","KeyConditionExpression":"pk = :p","ExpressionAttributeValues":{":p":{"S":"a"}},"Select":"COUNT"}"#,
        ),
        (Query, r#"{"TableName":"strings"}"#),
        (Scan, r#"{"TableName":"strings"}"#),
        (Scan, r#"{"TableName":"strings","Segment":2,"TotalSegments":2}"#),
        (Scan, r#"{"TableName":"strings","TotalSegments":1000001,"Segment":0}"#),
        (GetItem, r#"{}"#),
        (GetItem, r#"[]"#),
        (GetItem, r#""#),
        (BatchGetItem, r#"{"RequestItems":{}}"#),
        (BatchWriteItem, r#"{"RequestItems":{}}"#),
        (BatchWriteItem, r#"{}"#),
        (BatchGetItem, r#"{"RequestItems":{"strings":{"Keys":[]}}}"#),
        (BatchGetItem, r#"{"RequestItems":{"strings":{"Keys":[{"pk":{"S":"a"}},{"pk":{"S":"a"}}]}}}"#),
        (BatchWriteItem, r#"{"RequestItems":{"strings":[{}]}}"#),
        (
            BatchWriteItem,
            r#"{"RequestItems":{"strings":[{"DeleteRequest":{"Key":{"pk":{"S":"a"}}}},{"PutRequest":{"Item":{"pk":{"S":"a"}}}}]}}"#,
        ),
        (DeleteItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#),
        (DeleteItem, r#"{"TableName":"strings","Key":{"pk":{"S":"a"}},"ReturnValues":"ALL_OLD"}"#),
    ];
    requests.into_iter().map(|(operation, body)| (operation, body.to_owned())).collect()
}
