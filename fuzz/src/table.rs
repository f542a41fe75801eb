//! A table in memory that records its calls. All writes succeed. Lists and reads of
//! carts and parties whose identifier begins with `p` find something.

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
        let keys = items.iter().map(|item| item["id"]["S"].as_str());
        let keys: Vec<&str> = keys.map(|key| key.expect("a key")).collect();
        let parts = |of: fn(&str) -> Option<(&str, &str)>| {
            keys.iter()
                .map(move |key| of(key).expect("two identifiers"))
        };
        let mut carts: Vec<&str> = parts(|key| key.split_once('#')).map(|key| key.0).collect();
        let mut parties: Vec<&str> = parts(|key| key.rsplit_once('#')).map(|key| key.1).collect();
        let answer = match operation {
            "Query" => {
                let of = body["ExpressionAttributeValues"][":of"]["S"].as_str();
                let of = of.expect("whose list it is");
                let is_of_cart = index(&body).ends_with("by_cart");
                let owners = if is_of_cart { &mut carts } else { &mut parties };
                owners.push(of);
                list(&body, of, is_of_cart)
            }
            "GetItem" if carts[0].starts_with('p') => json!({ "Item": {
                "id": { "S": keys[0] },
                "associated_at": { "S": "2026-11-22T12:00:00.000Z" },
            } }),
            _ => json!({}),
        };
        let owned = |texts: Vec<&str>| texts.into_iter().map(str::to_owned).collect();
        let call = Call {
            is_read: matches!(operation, "GetItem" | "Query"),
            associates: items.iter().any(|item| item.get("associated_at").is_some()),
            carts: owned(carts),
            parties: owned(parties),
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

/// As many members as the query asks for, even after they were removed: the index
/// lags behind. None if the identifier does not begin with `p`.
fn list(query: &Value, of: &str, is_of_cart: bool) -> Value {
    let count = query["Limit"].as_u64().filter(|_| of.starts_with('p'));
    let is_of_accounts = index(query).contains("account");
    let party = if is_of_accounts {
        "account_id"
    } else {
        "customer_id"
    };
    let separator = if is_of_accounts { "#account#" } else { "#" };
    let item = |number| {
        let member = format!("c{number:03}");
        let (cart, other) = if is_of_cart {
            (of, &*member)
        } else {
            (&*member, of)
        };
        json!({
            "id": { "S": format!("{cart}{separator}{other}") },
            "cart_id": { "S": cart },
            party: { "S": other },
            "associated_at": { "S": format!("2026-11-22T12:00:00.{:03}Z", 999 - number) },
            "write_id": { "S": "5c8f0f2e-95b8-4f4b-8f5c-0f7cf3a4c9d2" },
        })
    };
    let items: Vec<Value> = (0..count.unwrap_or_default()).map(item).collect();
    json!({ "Count": items.len(), "Items": items })
}

fn index(query: &Value) -> &str {
    query["IndexName"].as_str().expect("an index")
}
