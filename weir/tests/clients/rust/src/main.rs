//! A scripted session with the Rust SDK against `$AWS_ENDPOINT_URL_DYNAMODB`.

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, AttributeValue as V, BillingMode, KeySchemaElement, KeyType, KeysAndAttributes,
    PutRequest, ReturnValue, ScalarAttributeType, Select, TableStatus, WriteRequest,
};

type Outcome = Result<(), Box<dyn std::error::Error>>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome {
    let db = Client::new(&aws_config::load_from_env().await);
    let table = format!("rust-{}", std::process::id());

    let key = |name: &str, kind| KeySchemaElement::builder().attribute_name(name).key_type(kind).build();
    let define = |name: &str, kind| AttributeDefinition::builder().attribute_name(name).attribute_type(kind).build();
    db.create_table()
        .table_name(&table)
        .attribute_definitions(define("pk", ScalarAttributeType::S)?)
        .attribute_definitions(define("sk", ScalarAttributeType::N)?)
        .key_schema(key("pk", KeyType::Hash)?)
        .key_schema(key("sk", KeyType::Range)?)
        .billing_mode(BillingMode::PayPerRequest)
        .send()
        .await?;
    loop {
        let described = db.describe_table().table_name(&table).send().await?;
        if described.table().and_then(|t| t.table_status()) == Some(&TableStatus::Active) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }

    let put = || db.put_item().table_name(&table).item("pk", V::S("a".into())).item("sk", V::N("0".into()));
    put().item("n", V::N("1".into())).send().await?;
    let refused = put().condition_expression("attribute_not_exists(pk)").send().await;
    assert!(refused.unwrap_err().into_service_error().is_conditional_check_failed_exception());

    let updated = db
        .update_item()
        .table_name(&table)
        .key("pk", V::S("a".into()))
        .key("sk", V::N("0".into()))
        .update_expression("SET n = n + :d")
        .condition_expression("n < :max")
        .expression_attribute_values(":d", V::N("0.5".into()))
        .expression_attribute_values(":max", V::N("9".into()))
        .return_values(ReturnValue::UpdatedNew)
        .send()
        .await?;
    assert_eq!(updated.attributes().unwrap()["n"], V::N("1.5".into()));

    let mut batch = db.batch_write_item();
    let requests = (1..=20).map(|n| {
        let put = PutRequest::builder().item("pk", V::S("a".into())).item("sk", V::N(n.to_string())).item("even", V::Bool(n % 2 == 0));
        WriteRequest::builder().put_request(put.build().expect("the item is set")).build()
    });
    batch = batch.request_items(&table, requests.collect());
    assert!(batch.send().await?.unprocessed_items().unwrap().is_empty());

    let found = db
        .query()
        .table_name(&table)
        .key_condition_expression("pk = :p AND sk BETWEEN :a AND :b")
        .filter_expression("sk <> :skip OR attribute_exists(n)")
        .expression_attribute_values(":p", V::S("a".into()))
        .expression_attribute_values(":a", V::N("5".into()))
        .expression_attribute_values(":b", V::N("14".into()))
        .expression_attribute_values(":skip", V::N("7".into()))
        .limit(3)
        .consistent_read(true)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await;
    // A filter on a key attribute is refused, as DynamoDB refuses it.
    assert!(found.unwrap_err().to_string().contains("service error"));
    let found = db
        .query()
        .table_name(&table)
        .key_condition_expression("pk = :p AND sk BETWEEN :a AND :b")
        .filter_expression("even = :yes")
        .expression_attribute_values(":p", V::S("a".into()))
        .expression_attribute_values(":a", V::N("5".into()))
        .expression_attribute_values(":b", V::N("14".into()))
        .expression_attribute_values(":yes", V::Bool(true))
        .limit(3)
        .consistent_read(true)
        .into_paginator()
        .items()
        .send()
        .collect::<Result<Vec<_>, _>>()
        .await?;
    let found: Vec<_> = found.iter().map(|item| item["sk"].as_n().unwrap().as_str()).collect();
    assert_eq!(found, ["6", "8", "10", "12", "14"]);

    assert_eq!(db.scan().table_name(&table).select(Select::Count).consistent_read(true).send().await?.count(), 21);
    let keys = KeysAndAttributes::builder()
        .keys([("pk".to_owned(), V::S("a".into())), ("sk".to_owned(), V::N("3".into()))].into())
        .build()?;
    let got = db.batch_get_item().request_items(&table, keys).send().await?;
    assert_eq!(got.responses().unwrap()[&table].len(), 1);

    db.delete_item().table_name(&table).key("pk", V::S("a".into())).key("sk", V::N("0".into())).send().await?;
    db.delete_table().table_name(&table).send().await?;
    println!("session complete");
    Ok(())
}
