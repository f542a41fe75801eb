"""The job in Python, as the documentation of boto3 shows it: one conditional put a member. No token is checked, no error
of the store handled."""

import json
import os
from datetime import datetime, timezone

import boto3

TABLE = os.environ["TABLE_NAME"]
client = boto3.client("dynamodb")


def handler(event, context):
    cart = event["pathParameters"]["cartId"]
    document = json.loads(event["body"])
    created = False
    for member in document["data"]:
        try:
            client.put_item(
                TableName=TABLE,
                Item={
                    "id": {"S": f"{cart}#{member['id']}"},
                    "cart_id": {"S": cart},
                    "customer_id": {"S": member["id"]},
                    "associated_at": {"S": datetime.now(timezone.utc).isoformat()},
                },
                ConditionExpression="attribute_not_exists(id)",
            )
            created = True
        except client.exceptions.ConditionalCheckFailedException:
            pass
    if not created:
        return {"statusCode": 204}
    return {
        "statusCode": 200,
        "headers": {"content-type": "application/json"},
        "body": json.dumps(document),
    }
