// The job in Node.js, as the documentation of the AWS SDK for JavaScript v3 shows it: one conditional put a member. No
// token is checked, no error of the store handled.

import { ConditionalCheckFailedException, DynamoDBClient, PutItemCommand } from "@aws-sdk/client-dynamodb";

const client = new DynamoDBClient();

export async function handler(event) {
  const cart = event.pathParameters.cartId;
  const document = JSON.parse(event.body);
  let created = false;
  for (const { id } of document.data) {
    const put = new PutItemCommand({
      TableName: process.env.TABLE_NAME,
      Item: {
        id: { S: `${cart}#${id}` },
        cart_id: { S: cart },
        customer_id: { S: id },
        associated_at: { S: new Date().toISOString() },
      },
      ConditionExpression: "attribute_not_exists(id)",
    });
    try {
      await client.send(put);
      created = true;
    } catch (error) {
      if (!(error instanceof ConditionalCheckFailedException)) throw error;
    }
  }
  if (!created) return { statusCode: 204 };
  return {
    statusCode: 200,
    headers: { "content-type": "application/json" },
    body: JSON.stringify(document),
  };
}
