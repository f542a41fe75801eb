//! The world that a test has to itself: a table of its own in an engine that all
//! share, an application on it, and authorities that issue tokens.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod description;
pub(crate) mod function;
pub(crate) mod key_server;
pub(crate) mod proxy;
pub(crate) mod random;
pub(crate) mod runtime_api;
pub(crate) mod template;
pub(crate) mod tls;

#[path = "../../examples/local/cors.rs"]
#[allow(
    dead_code,
    reason = "shared with the local gateway, which also tells how long it holds"
)]
pub(crate) mod cors;
#[path = "../../examples/local/table.rs"]
mod table;
#[path = "../../examples/local/tokens.rs"]
#[allow(
    dead_code,
    reason = "shared with the local world, which keeps its keys in files"
)]
pub(crate) mod tokens;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, mpsc};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::app::App;
use cart_associations::auth::KEYS_CONNECT_TIMEOUT;
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::http;
use cart_associations::store::{CONNECT_TIMEOUT, Store};
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use self::call::Call;
use self::tokens::{Authority, SigningKey};

/// Ron, whose tokens most tests hold.
pub(crate) const RON: &str = "ron";

/// The engine's endpoint: that of `DYNAMODB_ENDPOINT`, or an embedded emulator
/// that is started once for all tests of this run.
static ENDPOINT: LazyLock<String> =
    LazyLock::new(|| std::env::var("DYNAMODB_ENDPOINT").unwrap_or_else(|_| start_emulator()));

/// Its keys take a while to make, so that all tests share them.
static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| Authorities {
    access: authority(
        "https://auth.example.com",
        "carts",
        "access-1",
        Algorithm::ES256,
    ),
    customer: authority(
        "https://login.example.com",
        "shop",
        "customer-1",
        Algorithm::EdDSA,
    ),
});

/// Those whom the function trusts.
pub(crate) struct Authorities {
    pub(crate) access: Authority,
    pub(crate) customer: Authority,
}

fn authority(issuer: &str, audience: &str, key: &str, algorithm: Algorithm) -> Authority {
    Authority {
        issuer: issuer.to_owned(),
        audience: audience.to_owned(),
        key: SigningKey::generate(key, algorithm).unwrap(),
    }
}

fn start_emulator() -> String {
    let (tell, told) = mpsc::channel();
    // A runtime of its own: each test's ends with the test.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            tell.send(listener.local_addr().unwrap()).unwrap();
            let database = dynoxide::Database::memory().unwrap();
            dynoxide::server::serve_on(listener, database).await;
        });
    });
    format!("http://{}", told.recv().unwrap())
}

/// What a test has to itself.
pub(crate) struct World {
    app: App,
    client: Client,
    env: BTreeMap<String, String>,
    clock: Clock,
    ahead: Arc<AtomicU64>,
}

impl World {
    /// A world with an empty table.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A world with these variables beside or instead of the usual ones.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::with_table(Self::of(environment(variables), None)).await
    }

    /// Such a world, whose clock stands at this moment.
    pub(crate) async fn at(now: Timestamp, variables: &[(&str, &str)]) -> Self {
        Self::with_table(Self::of(environment(variables), Some(now))).await
    }

    async fn with_table(world: impl Future<Output = Self>) -> Self {
        let world = world.await;
        table::create(&world.client, &world.env["TABLE_NAME"])
            .await
            .unwrap();
        world
    }

    /// A world on the table of another, with these variables instead of the
    /// other's.
    pub(crate) async fn on(variables: &[(&str, &str)], other: &World) -> Self {
        let mut env = other.env.clone();
        for (name, value) in variables {
            env.insert((*name).to_owned(), (*value).to_owned());
        }
        Self::of(env, None).await
    }

    async fn of(env: BTreeMap<String, String>, now: Option<Timestamp>) -> Self {
        let config = Config::from_lookup(|name| env.get(name).cloned()).unwrap();
        let http = |connect_timeout| http::Client::new(&config.trusted_roots, connect_timeout);
        let keys = http(KEYS_CONNECT_TIMEOUT);
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(credentials())
            .region(Region::new("us-east-1"))
            .endpoint_url(&env["AWS_ENDPOINT_URL_DYNAMODB"])
            .http_client(http(CONNECT_TIMEOUT).for_sdk())
            .load()
            .await;
        let client = Client::new(&sdk);
        let store = Store::new(&sdk, config.table_name.clone());
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = clock(now, Arc::clone(&ahead));
        let app = App::new(config, store, &keys, clock.clone());
        app.warm_up().await;
        Self {
            app,
            client,
            env,
            clock,
            ahead,
        }
    }

    /// The environment of a function in this world.
    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    /// The time of the function's clock.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Lets time pass, in milliseconds of the function's clock.
    pub(crate) fn pass(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    /// `POST` of the cart's customers, by a back end, with these customers.
    pub(crate) fn associate(&self, cart: &str, customers: &[&str]) -> Call<'_> {
        self.post(cart).back_end().body(linkage(customers))
    }

    /// `POST` of the cart's customers, with nothing else.
    pub(crate) fn post(&self, cart: &str) -> Call<'_> {
        Call::of_cart(&self.app, "POST", cart)
    }

    /// `DELETE` of these of the cart's customers, by a back end.
    pub(crate) fn dissociate(&self, cart: &str, customers: &[&str]) -> Call<'_> {
        let call = Call::of_cart(&self.app, "DELETE", cart);
        call.back_end().body(linkage(customers))
    }

    /// `GET` of a path, with nothing else.
    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        Call::new(&self.app, "GET", path)
    }

    /// Puts an association into the table by hand.
    pub(crate) async fn put(&self, cart: &str, customer: &str, at: &str, expires_at: Option<u64>) {
        let mut item = json!({
            "id": format!("{cart}#{customer}"),
            "cart_id": cart,
            "customer_id": customer,
            "associated_at": at,
        });
        if let Some(expires_at) = expires_at {
            item["expires_at"] = json!(expires_at);
        }
        self.plant(&item).await;
    }

    /// Puts any item of texts and numbers into the table.
    pub(crate) async fn plant(&self, item: &Value) {
        let attribute = |(name, value): (&String, &Value)| {
            let value = match value.as_str() {
                Some(text) => AttributeValue::S(text.to_owned()),
                None => AttributeValue::N(value.to_string()),
            };
            (name.clone(), value)
        };
        let item = item.as_object().unwrap().iter().map(attribute).collect();
        let put = self.client.put_item().set_item(Some(item));
        let put = put.table_name(&self.env["TABLE_NAME"]);
        put.send().await.unwrap();
    }

    /// The application.
    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// The partition keys of the table's associations, expired ones too.
    pub(crate) async fn stored(&self) -> BTreeSet<String> {
        let items = self.items().await;
        items
            .iter()
            .filter(|item| item.contains_key("associated_at"))
            .map(|item| item["id"].as_s().unwrap().clone())
            .collect()
    }

    /// The table's items.
    pub(crate) async fn items(&self) -> Vec<HashMap<String, AttributeValue>> {
        let pages = self
            .client
            .scan()
            .table_name(&self.env["TABLE_NAME"])
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        pages.try_collect().await.unwrap()
    }
}

/// Credentials as Lambda gives them: those of a role, with a session token.
pub(crate) fn credentials() -> Credentials {
    let token = "IQoJb3JpZ2luX2VjEA/+4=".to_owned();
    Credentials::new("test", "test", Some(token), None, "test")
}

/// A clock that is `ahead` of `now`, or of the machine's.
fn clock(now: Option<Timestamp>, ahead: Arc<AtomicU64>) -> Clock {
    Clock::from_fn(move || {
        let ahead = Duration::from_millis(ahead.load(Ordering::Relaxed));
        let now = now.unwrap_or_else(|| SystemTime::now().into());
        now.plus(ahead)
    })
}

/// The environment of a function, with a table name that no other test has.
pub(crate) fn environment(variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let Authorities { access, customer } = authorities();
    let usual = [
        ("TABLE_NAME", format!("test-{}", uuid::Uuid::new_v4())),
        ("ACCESS_TOKEN_JWKS", access.key.jwks().unwrap()),
        ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
        ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
        ("CUSTOMER_TOKEN_JWKS", customer.key.jwks().unwrap()),
        ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
        ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
        ("AWS_ENDPOINT_URL_DYNAMODB", ENDPOINT.clone()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
    ];
    let mut env: BTreeMap<String, String> =
        usual.map(|(name, value)| (name.to_owned(), value)).into();
    for (name, value) in variables {
        env.insert((*name).to_owned(), (*value).to_owned());
    }
    env
}

/// The engine's endpoint.
pub(crate) fn engine() -> &'static str {
    &ENDPOINT
}

/// Those whom the function trusts.
pub(crate) fn authorities() -> &'static Authorities {
    &AUTHORITIES
}

/// An access token of this grant.
pub(crate) fn access_token(grant: &str) -> String {
    authorities()
        .access
        .access_token("storefront", grant)
        .unwrap()
}

/// A customer token.
pub(crate) fn customer_token(customer: &str) -> String {
    authorities().customer.customer_token(customer).unwrap()
}

/// The document that names these customers.
pub(crate) fn linkage(customers: &[&str]) -> Value {
    let data: Vec<Value> = customers
        .iter()
        .map(|id| json!({ "type": "customer", "id": id }))
        .collect();
    json!({ "data": data })
}
