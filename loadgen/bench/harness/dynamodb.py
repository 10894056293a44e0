"""A signed DynamoDB call, without an SDK: tables are made with it, and the first answer is waited for."""

import hashlib
import hmac
import http.client
import json
import time

ACCESS_KEY, SECRET_KEY = "WEIRBENCHACCESSKEY00", "weir-bench-secret-key-0123456789abcdefgh"
KEYS = ["--access-key", ACCESS_KEY, "--secret-key", SECRET_KEY]
REGION = "us-east-1"
CONTENT_TYPE = "application/x-amz-json-1.0"
SIGNED = "content-type;host;x-amz-date;x-amz-target"


class Refused(Exception):
    """An answer that is not 200."""

    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:500]}")
        self.status, self.body = status, body


def call(address, operation, body, timeout=15):
    """One request over a connection of its own; `address` is host:port."""
    payload = json.dumps(body).encode()
    connection = http.client.HTTPConnection(address, timeout=timeout)
    try:
        connection.request("POST", "/", payload, headers(address, operation, payload))
        answer = connection.getresponse()
        text = answer.read().decode()
    finally:
        connection.close()
    if answer.status != 200:
        raise Refused(answer.status, text)
    return json.loads(text or "{}")


def headers(host, operation, payload):
    date = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    target = f"DynamoDB_20120810.{operation}"
    canonical = (f"POST\n/\n\ncontent-type:{CONTENT_TYPE}\nhost:{host}\nx-amz-date:{date}\nx-amz-target:{target}\n\n"
                 f"{SIGNED}\n{hashlib.sha256(payload).hexdigest()}")
    scope = f"{date[:8]}/{REGION}/dynamodb/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{date}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + SECRET_KEY).encode()
    for part in [date[:8], REGION, "dynamodb", "aws4_request", to_sign]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return {"Host": host, "Content-Type": CONTENT_TYPE, "X-Amz-Date": date, "X-Amz-Target": target,
            "Authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/{scope}, SignedHeaders={SIGNED}, "
                             f"Signature={key.hex()}"}


def create_table(address, name="usertable", read=None, write=None, wait=True):
    """With the partition key `pk`; on demand unless units are given."""
    billing = {"BillingMode": "PAY_PER_REQUEST"}
    if read is not None:
        billing = {"BillingMode": "PROVISIONED",
                   "ProvisionedThroughput": {"ReadCapacityUnits": read, "WriteCapacityUnits": write}}
    call(address, "CreateTable", {
        "TableName": name, "AttributeDefinitions": [{"AttributeName": "pk", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "pk", "KeyType": "HASH"}], **billing})
    if wait:
        await_active(address, name)


def await_active(address, name, within_s=60):
    deadline = time.monotonic() + within_s
    while call(address, "DescribeTable", {"TableName": name})["Table"]["TableStatus"] != "ACTIVE":
        if time.monotonic() > deadline:
            raise TimeoutError(f"{name} did not become ACTIVE")
        time.sleep(0.02)
