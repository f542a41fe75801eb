//! A table in memory that records its calls. The first letter of the cart's or
//! customer's identifier decides how it answers: at once, with an error, or never.

use std::sync::{Arc, Mutex};

use aws_config::{BehaviorVersion, Region};
use aws_sdk_dynamodb::config::Credentials;
use aws_smithy_runtime_api::client::http::{
    HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use cart_associations::store::Store;
use serde_json::{Value, json};

/// The calls of the table since [`Table::take_calls`] was last called.
#[derive(Debug, Clone, Default)]
pub struct Table(Arc<Mutex<Vec<TableCall>>>);

/// A write or read of the table.
#[derive(Debug)]
pub struct TableCall {
    /// Whether it is a read.
    pub is_read: bool,
    /// Whether it puts an association.
    pub associates: bool,
    /// Empty if it reads a customer's carts.
    pub cart: String,
    pub customers: Vec<String>,
    /// Whether it got an error or no answer.
    pub failed: bool,
}

impl Table {
    /// The function's store on this table.
    pub async fn store(&self, name: String) -> Store {
        let connector = SharedHttpConnector::new(self.clone());
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .region(Region::new("us-east-1"))
            .endpoint_url("http://127.0.0.1:1")
            .http_client(http_client_fn(move |_, _| connector.clone()))
            .load()
            .await;
        Store::new(&sdk, name)
    }

    /// The calls since this was last called.
    pub fn take_calls(&self) -> Vec<TableCall> {
        std::mem::take(&mut *self.0.lock().expect("no thread has panicked"))
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("an operation");
        let body: Value = serde_json::from_slice(request.body().bytes().expect("in memory"))
            .expect("the SDK writes JSON");
        let operation = target.strip_prefix("DynamoDB_20120810.").expect("DynamoDB");
        let items: Vec<&Value> = match operation {
            "PutItem" => vec![&body["Item"]],
            "UpdateItem" | "GetItem" => vec![&body["Key"]],
            "TransactWriteItems" => body["TransactItems"]
                .as_array()
                .expect("actions")
                .iter()
                .map(|action| match &action["Put"]["Item"] {
                    Value::Null if action["Update"].is_null() => &action["ConditionCheck"]["Key"],
                    Value::Null => &action["Update"]["Key"],
                    item => item,
                })
                .collect(),
            "Query" => Vec::new(),
            other => panic!("unexpected operation {other}"),
        };
        let keys: Vec<(&str, &str)> = items
            .iter()
            .map(|item| {
                let key = item["id"]["S"].as_str().expect("a key");
                key.split_once('#').expect("two identifiers")
            })
            .collect();
        let value = |name: &str| body["ExpressionAttributeValues"][name]["S"].as_str();
        let cart = keys
            .first()
            .map(|key| key.0)
            .or(value(":cart"))
            .unwrap_or_default();
        let one_cart = keys.iter().all(|key| key.0 == cart);
        let one_customer = keys.iter().all(|key| key.1 == keys[0].1);
        assert!(one_cart || one_customer, "{keys:?}");
        let customers: Vec<&str> = keys
            .iter()
            .map(|key| key.1)
            .chain(value(":customer"))
            .collect();

        let list = body["IndexName"].as_str().unwrap_or_default();
        let first = if list == "by_customer" {
            customers[0]
        } else {
            cart
        };
        let (answer, failed) = match first.as_bytes()[0] {
            b'u' => (Some((500, fault("InternalServerError"))), true),
            b't' => (Some((400, fault("ThrottlingException"))), true),
            b'h' => (None, true),
            _ if operation == "Query" => (Some(query_answer(&body, first)), false),
            _ if operation == "GetItem" => (Some(get_answer(&keys)), false),
            _ => (Some(write_answer(&items, &keys)), false),
        };
        self.0
            .lock()
            .expect("no thread has panicked")
            .push(TableCall {
                is_read: matches!(operation, "GetItem" | "Query"),
                associates: items.iter().any(|item| item.get("associated_at").is_some()),
                cart: cart.to_owned(),
                customers: customers.into_iter().map(str::to_owned).collect(),
                failed,
            });
        let Some((status, body)) = answer else {
            return HttpConnectorFuture::new(std::future::pending());
        };
        let body = SdkBody::from(body.to_string());
        let status = u16::try_from(status).expect("a status");
        let status = status.try_into().expect("a status");
        HttpConnectorFuture::ready(Ok(HttpResponse::new(status, body)))
    }
}

/// A list of a cart or customer whose identifier begins with `p` has as many members
/// as the query asks for, even after they were removed: the index lags behind. Other
/// lists are empty.
fn query_answer(query: &Value, of: &str) -> (i32, Value) {
    let values = query["ExpressionAttributeValues"].as_object();
    // Like DynamoDB, refuse an empty value for a key.
    if values.is_some_and(|values| values.values().any(|value| value["S"] == "")) {
        return (400, fault("ValidationException"));
    }
    let count = query["Limit"].as_u64().filter(|_| of.starts_with('p'));
    let items: Vec<Value> = (0..count.unwrap_or_default())
        .map(|number| {
            let id = match query["IndexName"].as_str() {
                Some("by_cart") => format!("{of}#c{number:03}"),
                _ => format!("c{number:03}#{of}"),
            };
            json!({
                "id": { "S": id },
                "cart_id": { "S": format!("c{number:03}") },
                "customer_id": { "S": format!("c{number:03}") },
                "associated_at": { "S": format!("2026-11-22T12:00:00.{:03}Z", 999 - number) },
            })
        })
        .collect();
    (200, json!({ "Count": items.len(), "Items": items }))
}

/// Carts whose identifier begins with `p` have every customer on them.
fn get_answer(keys: &[(&str, &str)]) -> (i32, Value) {
    let (cart, customer) = keys[0];
    if !cart.starts_with('p') {
        return (200, json!({}));
    }
    (
        200,
        json!({ "Item": {
            "id": { "S": format!("{cart}#{customer}") },
            "associated_at": { "S": "2026-11-22T12:00:00.000Z" },
        } }),
    )
}

/// Customers whose identifier begins with `p` are on every cart.
fn write_answer(items: &[&Value], keys: &[(&str, &str)]) -> (i32, Value) {
    let failed: Vec<bool> = items
        .iter()
        .zip(keys)
        // Only a Put has a `write_id`. The other actions meet their conditions.
        .map(|(item, key)| key.1.starts_with('p') && item.get("write_id").is_some())
        .collect();
    if !failed.contains(&true) {
        return (200, json!({}));
    }
    let old = json!({
        "id": { "S": "x#p" },
        "associated_at": { "S": "2026-11-22T12:00:00.000Z" },
        "write_id": { "S": "another" },
    });
    if let [_] = items {
        let mut body = fault("ConditionalCheckFailedException");
        body["Item"] = old;
        return (400, body);
    }
    let reasons: Vec<Value> = failed
        .iter()
        .map(|failed| match failed {
            true => json!({ "Code": "ConditionalCheckFailed", "Message": "x", "Item": old }),
            false => json!({ "Code": "None" }),
        })
        .collect();
    let mut body = fault("TransactionCanceledException");
    body["CancellationReasons"] = reasons.into();
    (400, body)
}

fn fault(name: &str) -> Value {
    json!({ "__type": format!("com.amazonaws.dynamodb.v20120810#{name}"), "message": "x" })
}
