//! A table in memory that records its calls. All writes succeed. Lists and reads of
//! carts and customers whose identifier begins with `p` find something.

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

#[derive(Debug, Clone, Default)]
pub(crate) struct Table(Arc<Mutex<Vec<Call>>>);

/// A write or read of the table.
#[derive(Debug)]
pub struct Call {
    pub is_read: bool,
    /// Whether it puts an association.
    pub associates: bool,
    /// The cart of each item, or the one whose list is read.
    pub carts: Vec<String>,
    /// The customer or account of each item, or the one whose list is read.
    pub parties: Vec<String>,
}

impl Table {
    /// The function's store on this table.
    pub(crate) async fn store(&self, name: String) -> Store {
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
    pub(crate) fn take_calls(&self) -> Vec<Call> {
        std::mem::take(&mut *self.0.lock().expect("no thread has panicked"))
    }
}

impl HttpConnector for Table {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let target = request.headers().get("x-amz-target").expect("an operation");
        let (_, operation) = target.split_once('.').expect("an operation");
        let body = request.body().bytes().expect("in memory");
        let body: Value = serde_json::from_slice(body).expect("the SDK writes JSON");
        let items: Vec<&Value> = match operation {
            "PutItem" => vec![&body["Item"]],
            "UpdateItem" | "GetItem" => vec![&body["Key"]],
            "TransactWriteItems" => {
                let actions = body["TransactItems"].as_array().expect("actions");
                actions.iter().map(item).collect()
            }
            "Query" => Vec::new(),
            other => panic!("unexpected operation {other}"),
        };
        let mut call = Call {
            is_read: matches!(operation, "GetItem" | "Query"),
            associates: items.iter().any(|item| item.get("associated_at").is_some()),
            carts: Vec::new(),
            parties: Vec::new(),
        };
        for item in &items {
            let key = item["id"]["S"].as_str().expect("a key");
            let (cart, party) = key.split_once('#').expect("two identifiers");
            let party = party.strip_prefix("account#").unwrap_or(party);
            call.carts.push(cart.to_owned());
            call.parties.push(party.to_owned());
        }
        let answer = match operation {
            "Query" => {
                let of = body["ExpressionAttributeValues"][":of"]["S"].as_str();
                let of = of.expect("whose list it is");
                let index = body["IndexName"].as_str().expect("an index");
                let is_of_cart = index.ends_with("by_cart");
                match is_of_cart {
                    true => call.carts.push(of.to_owned()),
                    false => call.parties.push(of.to_owned()),
                }
                let is_empty = !of.starts_with('p') || index.contains("account");
                let count = body["Limit"].as_u64().filter(|_| !is_empty);
                list(of, is_of_cart, count.unwrap_or_default())
            }
            "GetItem" if call.carts[0].starts_with('p') => json!({ "Item": {
                "id": items[0]["id"],
                "associated_at": { "S": "2026-11-22T12:00:00.000Z" },
            } }),
            _ => json!({}),
        };
        self.0.lock().expect("no thread has panicked").push(call);
        let status = 200.try_into().expect("a status");
        let answer = HttpResponse::new(status, SdkBody::from(answer.to_string()));
        HttpConnectorFuture::ready(Ok(answer))
    }
}

/// The item or the key of an action of a transaction.
fn item(action: &Value) -> &Value {
    let places = ["/Put/Item", "/Update/Key", "/ConditionCheck/Key"];
    let mut found = places.iter().filter_map(|place| action.pointer(place));
    found.next().expect("an item or a key")
}

/// A list with as many members as the query asks for, even after they were removed: the
/// index lags behind.
fn list(of: &str, is_of_cart: bool, count: u64) -> Value {
    let item = |number| {
        let member = format!("c{number:03}");
        let (cart, customer) = match is_of_cart {
            true => (of, &*member),
            false => (&*member, of),
        };
        json!({
            "id": { "S": format!("{cart}#{customer}") },
            "cart_id": { "S": cart },
            "customer_id": { "S": customer },
            "associated_at": { "S": format!("2026-11-22T12:00:00.{:03}Z", 999 - number) },
            "write_id": { "S": "5c8f0f2e-95b8-4f4b-8f5c-0f7cf3a4c9d2" },
        })
    };
    let items: Vec<Value> = (0..count).map(item).collect();
    json!({ "Count": items.len(), "Items": items })
}
