// A scripted session with @aws-sdk/client-dynamodb and lib-dynamodb against $AWS_ENDPOINT_URL_DYNAMODB.
import assert from "node:assert/strict";
import {
  CreateTableCommand, DeleteTableCommand, DynamoDBClient, waitUntilTableExists, waitUntilTableNotExists,
} from "@aws-sdk/client-dynamodb";
import {
  BatchGetCommand, BatchWriteCommand, DeleteCommand, DynamoDBDocumentClient, GetCommand, PutCommand,
  UpdateCommand, paginateQuery, paginateScan,
} from "@aws-sdk/lib-dynamodb";

const client = new DynamoDBClient({});
const db = DynamoDBDocumentClient.from(client);
const TableName = `node-${process.pid}`;
const waiting = { client, maxWaitTime: 30, minDelay: 1, maxDelay: 2 };

await client.send(new CreateTableCommand({
  TableName,
  AttributeDefinitions: [
    { AttributeName: "pk", AttributeType: "S" }, { AttributeName: "sk", AttributeType: "N" },
  ],
  KeySchema: [{ AttributeName: "pk", KeyType: "HASH" }, { AttributeName: "sk", KeyType: "RANGE" }],
  BillingMode: "PAY_PER_REQUEST",
}));
await waitUntilTableExists(waiting, { TableName });

await db.send(new PutCommand({ TableName, Item: { pk: "a", sk: 0, tags: new Set(["x", "y"]), deep: { list: [1, null] } } }));
await assert.rejects(
  db.send(new PutCommand({ TableName, Item: { pk: "a", sk: 0 }, ConditionExpression: "attribute_not_exists(pk)" })),
  { name: "ConditionalCheckFailedException" },
);
const { Attributes } = await db.send(new UpdateCommand({
  TableName, Key: { pk: "a", sk: 0 },
  UpdateExpression: "SET deep.#l = list_append(deep.#l, :more) ADD visits :one DELETE tags :gone",
  ConditionExpression: "contains(tags, :x)",
  ExpressionAttributeNames: { "#l": "list" },
  ExpressionAttributeValues: { ":more": ["z"], ":one": 1, ":gone": new Set(["y"]), ":x": "x" },
  ReturnValues: "ALL_NEW",
}));
assert.deepEqual(Attributes.deep.list, [1, null, "z"]);
assert.deepEqual([...Attributes.tags], ["x"]);

await db.send(new BatchWriteCommand({
  RequestItems: {
    [TableName]: Array.from({ length: 25 }, (_, n) => ({ PutRequest: { Item: { pk: "a", sk: n + 1, even: n % 2 === 1 } } })),
  },
}));
const found = [];
for await (const page of paginateQuery({ client: db, pageSize: 4 }, {
  TableName, KeyConditionExpression: "pk = :p AND sk > :zero", FilterExpression: "even = :yes",
  ConsistentRead: true,
  ExpressionAttributeValues: { ":p": "a", ":zero": 0, ":yes": true },
})) found.push(...page.Items.map((item) => item.sk));
assert.deepEqual(found, Array.from({ length: 12 }, (_, n) => 2 * n + 2));

let scanned = 0;
for await (const page of paginateScan({ client: db, pageSize: 10 }, { TableName, ConsistentRead: true })) scanned += page.Count;
assert.equal(scanned, 26);
const batch = await db.send(new BatchGetCommand({ RequestItems: { [TableName]: { ConsistentRead: true, Keys: [{ pk: "a", sk: 1 }, { pk: "a", sk: 2 }] } } }));
assert.equal(batch.Responses[TableName].length, 2);

await db.send(new DeleteCommand({ TableName, Key: { pk: "a", sk: 0 } }));
assert.equal((await db.send(new GetCommand({ TableName, Key: { pk: "a", sk: 0 }, ConsistentRead: true }))).Item, undefined);
await client.send(new DeleteTableCommand({ TableName }));
await waitUntilTableNotExists(waiting, { TableName });
console.log("session complete");
