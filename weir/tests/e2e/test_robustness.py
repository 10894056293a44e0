"""Bad input gets the right error: malformed HTTP, JSON and expressions, and random mutations."""

import json
import random
import socket
import string
from http.client import HTTPConnection

from test_authentication import signed

import fleet

MUTATIONS = 10_000
SEED = 20221122


def raw(weir, data, shutdown=True):
    """Sends bytes, returns all that comes back until the server closes or goes quiet."""
    host, port = weir.endpoint.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as connection:
        connection.sendall(data)
        if shutdown:
            connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
        return answer


def test_malformed_http_is_answered_with_a_client_error_or_closed(weir):
    long_header = b"X-Long: " + b"a" * 200_000
    for data in [
        b"GARBAGE\r\n\r\n",
        b"POST / HTTP/1.1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nHost: b\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: nine\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n",
        b"POST http://other/ HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: a\r\n" + long_header + b"\r\n\r\n",
        b"POST / HTTP/9.9\r\nHost: a\r\n\r\n",
        b"\x00\x01\x02\x03" * 64,
    ]:
        answer = raw(weir, data)
        assert not answer or b" 4" in answer.split(b"\r\n", 1)[0], (data[:60], answer[:80])
        assert answer.count(b"HTTP/1.1") <= 1, "two answers to one malformed request"


def test_the_health_check_answers(weir):
    assert b"200 OK" in raw(
        weir, b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", shutdown=False
    )


def test_ten_thousand_mutations_never_break_the_server(weir, db, table_name):
    fleet.create_table(db, table_name, sort=True)
    key = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    valid = [
        ("PutItem", {"TableName": table_name, "Item": {**key, "m": {"M": {"l": {"L": [{"N": "1"}, {"SS": ["x", "y"]}]}}}}}),
        ("GetItem", {"TableName": table_name, "Key": key, "ProjectionExpression": "m.l[0], #n",
                     "ExpressionAttributeNames": {"#n": "name"}, "ReturnConsumedCapacity": "TOTAL"}),
        ("UpdateItem", {"TableName": table_name, "Key": key,
                        "UpdateExpression": "SET a = if_not_exists(a, :z) + :z, m.l = list_append(:l, m.l) REMOVE b ADD c :z DELETE s :s",
                        "ConditionExpression": "attribute_exists(pk) AND (NOT size(m) > :z OR a BETWEEN :z AND :z)",
                        "ExpressionAttributeValues": {":z": {"N": "1"}, ":l": {"L": []}, ":s": {"SS": ["x"]}}}),
        ("Query", {"TableName": table_name, "KeyConditionExpression": "pk = :p AND sk BETWEEN :a AND :b",
                   "FilterExpression": "contains(x, :p) OR x IN (:a, :b)", "Limit": 5,
                   "ExpressionAttributeValues": {":p": {"S": "a"}, ":a": {"N": "0"}, ":b": {"N": "9"}}}),
        ("Scan", {"TableName": table_name, "Segment": 0, "TotalSegments": 2, "Select": "COUNT"}),
        ("BatchWriteItem", {"RequestItems": {table_name: [{"PutRequest": {"Item": key}}]}}),
        ("BatchGetItem", {"RequestItems": {table_name: {"Keys": [key]}}}),
    ]
    host = weir.endpoint.removeprefix("http://")
    connection = HTTPConnection(host, timeout=20)
    dice = random.Random(SEED)
    statuses = {}
    for number in range(MUTATIONS):
        operation, body = dice.choice(valid)
        data = mutate(dice, json.dumps(body))
        headers, _ = signed_bytes(weir, operation, data)
        connection.request("POST", "/", body=data, headers=headers)
        answer = connection.getresponse()
        content = answer.read()
        assert answer.status in (200, 400, 413), (number, operation, data, answer.status, content)
        if answer.status == 400:
            assert b"__type" in content, (number, data, content)
        statuses[answer.status] = statuses.get(answer.status, 0) + 1
    assert statuses[400] > MUTATIONS / 10 and statuses[200] > MUTATIONS / 100, statuses
    assert "Item" not in db.get_item(TableName=table_name, ConsistentRead=True, Key={"pk": {"S": "z"}, "sk": {"N": "9"}})


def signed_bytes(weir, operation, data):
    """Real signatures over the mutated bytes: what is tested lies behind authentication."""
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    headers = {"Content-Type": "application/x-amz-json-1.0", "X-Amz-Target": f"DynamoDB_20120810.{operation}"}
    request = AWSRequest("POST", weir.endpoint + "/", data=data, headers=headers)
    SigV4Auth(Credentials(fleet.ACCESS_KEY, fleet.SECRET_KEY), "dynamodb", "us-east-1").add_auth(request)
    return dict(request.headers), request.data


def mutate(dice, text):
    data = bytearray(text.encode())
    for _ in range(dice.choice([1, 1, 1, 2, 4])):
        at = dice.randrange(len(data))
        kind = dice.randrange(5)
        if kind == 0:
            data[at] = dice.randrange(256)
        elif kind == 1:
            del data[at:at + dice.randrange(1, 12)]
        elif kind == 2:
            data[at:at] = dice.choice(string.printable).encode() * dice.randrange(1, 9)
        elif kind == 3:
            end = min(len(data), at + dice.randrange(1, 30))
            data[at:at] = data[at:end]
        else:
            data[at:at + 1] = dice.choice([b"null", b"{}", b"[]", b"1e999", b"true", b'""', b"-1", b"\\u0000", b"(((("])
        if not data:
            data = bytearray(b"{}")
    return bytes(data)
