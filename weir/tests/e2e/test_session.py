"""A scripted session with each client that installs from PyPI: boto3 and the AWS CLI."""

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import boto3
import pytest
from boto3.dynamodb.conditions import Attr, Key
from botocore.exceptions import ClientError

import fleet


@pytest.fixture
def resource(weir):
    return boto3.resource(
        "dynamodb", endpoint_url=weir.endpoint, region_name="us-east-1",
        aws_access_key_id=fleet.ACCESS_KEY, aws_secret_access_key=fleet.SECRET_KEY,
    )


def test_boto3_creates_writes_queries_pages_scans_and_deletes(resource, table_name):
    table = resource.create_table(
        TableName=table_name,
        AttributeDefinitions=[
            {"AttributeName": "artist", "AttributeType": "S"},
            {"AttributeName": "year", "AttributeType": "N"},
        ],
        KeySchema=[
            {"AttributeName": "artist", "KeyType": "HASH"},
            {"AttributeName": "year", "KeyType": "RANGE"},
        ],
        BillingMode="PAY_PER_REQUEST",
    )
    table.wait_until_exists()

    table.put_item(Item={"artist": "Ella", "year": 1957, "title": "Like Someone in Love", "plays": 0})
    with pytest.raises(ClientError) as refused:
        table.put_item(
            Item={"artist": "Ella", "year": 1957}, ConditionExpression=Attr("artist").not_exists()
        )
    assert refused.value.response["Error"]["Code"] == "ConditionalCheckFailedException"

    updated = table.update_item(
        Key={"artist": "Ella", "year": 1957},
        UpdateExpression="SET plays = plays + :one, #l = list_append(if_not_exists(#l, :none), :label)",
        ConditionExpression="plays < :many",
        ExpressionAttributeNames={"#l": "labels"},
        ExpressionAttributeValues={":one": 1, ":many": 10, ":none": [], ":label": ["Verve"]},
        ReturnValues="ALL_NEW",
    )["Attributes"]
    assert updated["plays"] == 1 and updated["labels"] == ["Verve"]

    with table.batch_writer() as batch:
        for year in range(1960, 2000):
            batch.put_item(Item={"artist": "Nina", "year": year, "score": Decimal(year) / 10})

    found, start = [], {}
    while True:
        page = table.query(
            KeyConditionExpression=Key("artist").eq("Nina") & Key("year").between(1965, 1989),
            FilterExpression=Attr("score").gt(Decimal("197")),
            Limit=7, ScanIndexForward=False, ConsistentRead=True, **start,
        )
        found += [int(item["year"]) for item in page["Items"]]
        if "LastEvaluatedKey" not in page:
            break
        start = {"ExclusiveStartKey": page["LastEvaluatedKey"]}
    assert found == list(range(1989, 1970, -1))

    scanned = [item for segment in range(4) for item in scan_all(table, Segment=segment, TotalSegments=4)]
    assert len(scanned) == 41
    assert table.scan(Select="COUNT", ConsistentRead=True)["Count"] == 41

    answers = resource.batch_get_item(
        RequestItems={table_name: {"Keys": [{"artist": "Nina", "year": y} for y in range(1960, 1970)]}}
    )["Responses"][table_name]
    assert {int(item["year"]) for item in answers} == set(range(1960, 1970))

    gone = table.delete_item(Key={"artist": "Ella", "year": 1957}, ReturnValues="ALL_OLD")["Attributes"]
    assert gone["title"] == "Like Someone in Love"
    assert "Item" not in table.get_item(Key={"artist": "Ella", "year": 1957}, ConsistentRead=True)

    table.delete()
    table.wait_until_not_exists()


def scan_all(table, **options):
    page = table.scan(ConsistentRead=True, **options)
    yield from page["Items"]
    while "LastEvaluatedKey" in page:
        page = table.scan(ExclusiveStartKey=page["LastEvaluatedKey"], ConsistentRead=True, **options)
        yield from page["Items"]


def test_the_aws_cli_runs_the_same_session(weir, table_name):
    def aws(*words, fails=None):
        environment = dict(
            os.environ, AWS_ACCESS_KEY_ID=fleet.ACCESS_KEY, AWS_SECRET_ACCESS_KEY=fleet.SECRET_KEY,
            AWS_DEFAULT_REGION="us-east-1", AWS_ENDPOINT_URL_DYNAMODB=weir.endpoint, AWS_PAGER="",
        )
        done = subprocess.run(
            [str(Path(sys.executable).parent / "aws"), "dynamodb", *words, "--output", "json"],
            capture_output=True, text=True, env=environment, timeout=60,
        )
        if fails:
            assert fails in done.stderr, done.stderr
            return None
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout) if done.stdout.strip() else None

    aws("create-table", "--table-name", table_name,
        "--attribute-definitions", "AttributeName=pk,AttributeType=S", "AttributeName=sk,AttributeType=N",
        "--key-schema", "AttributeName=pk,KeyType=HASH", "AttributeName=sk,KeyType=RANGE",
        "--provisioned-throughput", "ReadCapacityUnits=100,WriteCapacityUnits=100")
    # `aws wait` looks only every 20 s; the table is there long before.
    fleet.await_active(weir.client(), table_name)
    aws("put-item", "--table-name", table_name, "--item", '{"pk":{"S":"a"},"sk":{"N":"1"},"n":{"N":"5"}}')
    aws("put-item", "--table-name", table_name, "--item", '{"pk":{"S":"a"},"sk":{"N":"1"}}',
        "--condition-expression", "attribute_not_exists(pk)", fails="ConditionalCheckFailedException")
    answer = aws("update-item", "--table-name", table_name, "--key", '{"pk":{"S":"a"},"sk":{"N":"1"}}',
                 "--update-expression", "ADD n :d", "--condition-expression", "n = :five",
                 "--expression-attribute-values", '{":d":{"N":"1"},":five":{"N":"5"}}',
                 "--return-values", "UPDATED_NEW")
    assert answer["Attributes"] == {"n": {"N": "6"}}
    aws("batch-write-item", "--request-items", json.dumps({table_name: [
        {"PutRequest": {"Item": {"pk": {"S": "a"}, "sk": {"N": str(n)}}}} for n in range(2, 12)]}))
    answer = aws("query", "--table-name", table_name, "--consistent-read", "--key-condition-expression", "pk = :p AND sk > :s",
                 "--filter-expression", "attribute_not_exists(n)", "--page-size", "3",
                 "--expression-attribute-values", '{":p":{"S":"a"},":s":{"N":"0"}}')
    assert [int(item["sk"]["N"]) for item in answer["Items"]] == list(range(2, 12))
    assert aws("scan", "--table-name", table_name, "--consistent-read", "--select", "COUNT")["Count"] == 11
    aws("delete-item", "--table-name", table_name, "--key", '{"pk":{"S":"a"},"sk":{"N":"1"}}')
    assert aws("get-item", "--table-name", table_name, "--consistent-read",
               "--key", '{"pk":{"S":"a"},"sk":{"N":"1"}}') is None
    assert aws("delete-table", "--table-name", table_name)["TableDescription"]["TableStatus"] == "DELETING"
