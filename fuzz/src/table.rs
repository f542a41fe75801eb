//! A table that answers from memory, at once or never, as the identifiers that
//! it is asked about tell it, and keeps what it was asked.

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

/// What the table was asked, until [`Table::take_asked`] forgets it.
#[derive(Debug, Clone, Default)]
pub struct Table(Arc<Mutex<Vec<Asked>>>);

/// One write or read that the table was asked for.
#[derive(Debug)]
pub struct Asked {
    /// Whether it changes nothing.
    pub reads: bool,
    /// Empty where a customer's carts are read.
    pub cart: String,
    pub customers: Vec<String>,
    /// Whether it was refused or not answered.
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

    /// What the table was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.0.lock().expect("nobody panics"))
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
            other => panic!("nobody asks for {other}"),
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
            _ if operation == "Query" => (Some(listed(&body, first)), false),
            _ if operation == "GetItem" => (Some(got(&keys)), false),
            _ => (Some(written(&items, &keys)), false),
        };
        self.0.lock().expect("nobody panics").push(Asked {
            reads: matches!(operation, "GetItem" | "Query"),
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

/// A list of a cart or customer whose identifier begins with a `p` has as many
/// members as are asked for, also after they were removed: the index lags behind.
fn listed(query: &Value, of: &str) -> (i32, Value) {
    let values = query["ExpressionAttributeValues"].as_object();
    // As DynamoDB does: a key has no empty value.
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

/// Carts whose identifier begins with a `p` have every customer on them.
fn got(keys: &[(&str, &str)]) -> (i32, Value) {
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

/// Customers whose identifier begins with a `p` are present in every cart.
fn written(items: &[&Value], keys: &[(&str, &str)]) -> (i32, Value) {
    let failed: Vec<bool> = items
        .iter()
        .zip(keys)
        // What is removed, or known to be present, is but a key, and meets its condition.
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
