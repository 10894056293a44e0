"""Nothing unauthenticated gets in: each forgery is refused with DynamoDB's exception, and nothing is done."""

import datetime
import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

import fleet


@pytest.fixture
def table(db, table_name):
    fleet.create_table(db, table_name)
    db.put_item(TableName=table_name, Item={"pk": {"S": "kept"}})
    return table_name


def signed(weir, operation, body, secret=fleet.SECRET_KEY, unsigned=()):
    """A request as botocore signs it; headers in `unsigned` are added after signing."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    late = {name: headers.pop(name) for name in unsigned}
    request = AWSRequest("POST", weir.endpoint + "/", data=json.dumps(body).encode(), headers=headers)
    SigV4Auth(Credentials(fleet.ACCESS_KEY, secret), "dynamodb", "us-east-1").add_auth(request)
    return {**dict(request.headers), **late}, request.data


def send(weir, headers, data):
    request = urllib.request.Request(weir.endpoint + "/", data=data, headers=dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read())


def assert_refused(weir, db, table, headers, data, kind):
    status, body = send(weir, headers, data)
    assert status == 400 and body["__type"].endswith("#" + kind), body
    assert "Item" in db.get_item(TableName=table, Key={"pk": {"S": "kept"}}, ConsistentRead=True)


DELETE = {"Key": {"pk": {"S": "kept"}}}


def test_what_botocore_signs_is_accepted(weir, table):
    headers, data = signed(weir, "GetItem", {"TableName": table, **DELETE})
    assert send(weir, headers, data)[0] == 200


def test_a_wrong_secret_is_refused(weir, db, table):
    headers, data = signed(weir, "DeleteItem", {"TableName": table, **DELETE}, secret="wrong")
    assert_refused(weir, db, table, headers, data, "InvalidSignatureException")


def test_an_unsigned_target_is_refused(weir, db, table):
    headers, data = signed(weir, "DeleteItem", {"TableName": table, **DELETE}, unsigned=["X-Amz-Target"])
    assert_refused(weir, db, table, headers, data, "InvalidSignatureException")


def test_a_changed_target_is_refused(weir, db, table):
    headers, data = signed(weir, "GetItem", {"TableName": table, **DELETE})
    headers["X-Amz-Target"] = "DynamoDB_20120810.DeleteItem"
    assert_refused(weir, db, table, headers, data, "InvalidSignatureException")


def test_a_changed_body_is_refused(weir, db, table):
    headers, data = signed(weir, "DeleteItem", {"TableName": table, "Key": {"pk": {"S": "none"}}})
    assert_refused(weir, db, table, headers, data.replace(b"none", b"kept"), "InvalidSignatureException")


def test_an_expired_date_is_refused(weir, db, table, monkeypatch):
    import botocore.auth

    past = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=20)
    with monkeypatch.context() as shifted:
        shifted.setattr(botocore.auth, "get_current_datetime", lambda *a, **k: past.replace(tzinfo=None))
        headers, data = signed(weir, "DeleteItem", {"TableName": table, **DELETE})
    assert past.strftime("%Y%m%dT%H%M") in headers["X-Amz-Date"], "the clock was not shifted"
    assert_refused(weir, db, table, headers, data, "InvalidSignatureException")


def test_an_unknown_key_is_refused(weir, table):
    stranger = weir.client(access_key="NOBODYNOBODYNOBODY00")
    with pytest.raises(ClientError) as refused:
        stranger.get_item(TableName=table, Key={"pk": {"S": "kept"}})
    assert refused.value.response["Error"]["Code"] == "UnrecognizedClientException"


def test_no_authorization_is_refused(weir, db, table):
    headers, data = signed(weir, "DeleteItem", {"TableName": table, **DELETE})
    del headers["Authorization"]
    assert_refused(weir, db, table, headers, data, "MissingAuthenticationTokenException")
