//! A world for each test: its own table in an engine that all tests share, and an
//! application on that table. All tests share the authorities that issue tokens.

pub(crate) mod answer;
pub(crate) mod call;
pub(crate) mod description;
pub(crate) mod function;

use std::cell::Cell;
use std::collections::{BTreeSet, HashMap};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{Credentials, Region};
use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::app::App;
use cart_associations::auth::KEYS_CONNECT_TIMEOUT;
use cart_associations::client;
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::store::{CONNECT_TIMEOUT, Session, Store, Writer};
use dev::dynamodb::{self, Emulator};
use dev::environment::{Environment, REGION};
use dev::proxy::Proxy;
use dev::tokens::Authorities;
use serde_json::{Value, json};
use tokio::net::TcpSocket;
use uuid::Uuid;

use self::call::Call;

/// Makes tests of functions that take how many requests one process serves at once:
/// all of them for each of these numbers, in a module of this name.
macro_rules! tests_for {
    ([$($mode:ident: $at_once:literal),+] $tests:tt) => {
        $(tests_for! { $mode $at_once; $tests })+
    };
    ($mode:ident $at_once:literal; [$($test:ident),+]) => {
        mod $mode {
            $(
                #[tokio::test]
                async fn $test() {
                    super::$test($at_once).await;
                }
            )+
        }
    };
}
pub(crate) use tests_for;

/// The customer of most tests.
pub(crate) const RON: &str = "ron";

/// The customer, the account and the cart of the sample events.
pub(crate) const SAMPLE_CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";
const SAMPLE_ACCOUNT: &str = "f2f1b5a6-4c66-4a07-9d3c-2c1d38c1a1ac";
pub(crate) const SAMPLE_CART: &str = "3f7c1c9e-5d0b-4b57-9a52-7c1f3f0c8a11";

const EVENTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/events");

/// The engine's endpoint: `DYNAMODB_ENDPOINT`, or that of an embedded emulator,
/// which is started once for all tests.
static ENDPOINT: LazyLock<String> = LazyLock::new(|| {
    std::env::var("DYNAMODB_ENDPOINT").unwrap_or_else(|_| Emulator::in_memory().unwrap().endpoint)
});

/// Shared by all tests, because generating keys is slow.
static AUTHORITIES: LazyLock<Authorities> = LazyLock::new(|| Authorities::generate().unwrap());

/// A socket that does not listen, so that nobody else can listen at its port either.
static CLOSED: LazyLock<TcpSocket> = LazyLock::new(|| {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    socket
});

tokio::task_local! {
    /// How often a task can read its world's clock before that panics, if it can panic.
    pub(crate) static CLOCK: Cell<u32>;
}

/// An application with a table and a clock that no other test uses.
pub(crate) struct World {
    app: App,
    store: Store,
    client: Client,
    env: Environment,
    clock: Clock,
    ahead: Arc<AtomicU64>,
}

impl World {
    /// A world with an empty table.
    pub(crate) async fn new() -> Self {
        Self::with(&[]).await
    }

    /// A world with an empty table and these environment variables, which are added
    /// to the usual ones or replace them.
    pub(crate) async fn with(variables: &[(&str, &str)]) -> Self {
        Self::with_table(Self::of(environment(variables), None)).await
    }

    /// A world in which a customer must prove that they hold a cart.
    pub(crate) async fn with_cart_tokens() -> Self {
        Self::with_owned(&cart_token_variables()).await
    }

    /// A world in which account tokens are accepted.
    pub(crate) async fn with_account_tokens() -> Self {
        Self::with_owned(&account_token_variables()).await
    }

    /// A world in which customers and accounts must prove that they hold a cart.
    pub(crate) async fn with_account_and_cart_tokens() -> Self {
        let variables = [&account_token_variables()[..], &cart_token_variables()].concat();
        Self::with_owned(&variables).await
    }

    async fn with_owned(variables: &[(&str, String)]) -> Self {
        let variables = variables.iter().map(|(name, value)| (*name, &**value));
        Self::with(&variables.collect::<Vec<_>>()).await
    }

    /// Like [`World::with`], on its way to the engine through a proxy of its own.
    pub(crate) async fn behind_proxy(variables: &[(&str, &str)]) -> (Self, Proxy) {
        let proxy = Proxy::start(engine()).await;
        let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", &*proxy.endpoint);
        let world = Self::with(&[variables, &[endpoint]].concat()).await;
        (world, proxy)
    }

    /// Like [`World::with`], with a clock that stops at `now`.
    pub(crate) async fn at(now: Timestamp, variables: &[(&str, &str)]) -> Self {
        Self::with_table(Self::of(environment(variables), Some(now))).await
    }

    async fn with_table(world: impl Future<Output = Self>) -> Self {
        let world = world.await;
        let engine = dynamodb::Client::new(engine());
        let table_name = &world.env["TABLE_NAME"];
        engine.create_table(table_name).await.unwrap();
        world
    }

    /// A world on the table of `other`, with these environment variables in place of
    /// the other's.
    pub(crate) async fn on(variables: &[(&str, &str)], other: &World) -> Self {
        let mut env = other.env.clone();
        for (name, value) in variables {
            env.insert((*name).to_owned(), (*value).to_owned());
        }
        Self::of(env, None).await
    }

    async fn of(env: Environment, now: Option<Timestamp>) -> Self {
        let config = Config::from_lookup(|name| env.get(name).cloned()).unwrap();
        let http = |connect_timeout| client::Client::new(&config.trusted_roots, connect_timeout);
        let keys = http(KEYS_CONNECT_TIMEOUT);
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(credentials())
            .region(Region::new(REGION))
            .endpoint_url(&env["AWS_ENDPOINT_URL_DYNAMODB"])
            .http_client(http(CONNECT_TIMEOUT).for_sdk())
            .load()
            .await;
        let client = Client::new(&sdk);
        let store = Store::new(&sdk, config.table_name.clone());
        let ahead = Arc::new(AtomicU64::new(0));
        let clock = clock(now, Arc::clone(&ahead));
        let app = App::new(config, store.clone(), &keys, clock.clone());
        app.warm_up().await;
        Self {
            app,
            store,
            client,
            env,
            clock,
            ahead,
        }
    }

    pub(crate) fn env(&self) -> &Environment {
        &self.env
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn advance_clock(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap();
        self.ahead.fetch_add(millis, Ordering::Relaxed);
    }

    /// A back end's `POST` that associates the cart with these customers.
    pub(crate) fn associate(&self, cart: &str, customers: &[&str]) -> Call<'_> {
        self.post(cart).back_end().body(linkage(customers))
    }

    /// Associates the cart with these customers, at least one of which is new.
    pub(crate) async fn associated(&self, cart: &str, customers: &[&str]) {
        let answer = self.associate(cart, customers).send().await;
        answer.created(customers);
    }

    /// A `POST` to the cart's customers without tokens or body.
    pub(crate) fn post(&self, cart: &str) -> Call<'_> {
        Call::of_cart(&self.app, "POST", cart)
    }

    /// A back end's `DELETE` that dissociates the cart from these customers.
    pub(crate) fn dissociate(&self, cart: &str, customers: &[&str]) -> Call<'_> {
        let call = Call::of_cart(&self.app, "DELETE", cart);
        call.back_end().body(linkage(customers))
    }

    /// A `GET` without tokens. `path` may have a query.
    pub(crate) fn get(&self, path: &str) -> Call<'_> {
        Call::new(&self.app, "GET", path)
    }

    /// Puts an association into the table directly.
    pub(crate) async fn put(&self, cart: &str, customer: &str, at: &str, expires_at: Option<u64>) {
        let mut item = json!({
            "id": format!("{cart}#{customer}"),
            "cart_id": cart,
            "customer_id": customer,
            "associated_at": at,
            "write_id": "5c8f0f2e-95b8-4f4b-8f5c-0f7cf3a4c9d2",
        });
        if let Some(expires_at) = expires_at {
            item["expires_at"] = json!(expires_at);
        }
        self.plant(&item).await;
    }

    /// Puts an item of strings and numbers into the table directly.
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

    /// A request's use of the store, for what no route does.
    pub(crate) fn session(&self) -> Session<'_> {
        let deadline = tokio::time::Instant::now() + Duration::from_secs(60 * 60);
        self.store.session(deadline)
    }

    /// The writer of a back end's request, and the person who acts for an account.
    pub(crate) fn writer(&self, acted_by: Option<&str>) -> Writer {
        Writer {
            id: Uuid::new_v4(),
            client: "back-end".to_owned(),
            acted_by: acted_by.map(str::to_owned),
            now: self.now(),
        }
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    /// The partition keys of the table's associations, expired ones included.
    pub(crate) async fn stored(&self) -> BTreeSet<String> {
        let items = self.items().await.into_iter();
        let associations = items.filter(|item| item.contains_key("associated_at"));
        let id = |item: HashMap<_, AttributeValue>| item["id"].as_s().unwrap().clone();
        associations.map(id).collect()
    }

    /// A client of the engine, and the table's name.
    pub(crate) fn table(&self) -> (&Client, &str) {
        (&self.client, &self.env["TABLE_NAME"])
    }

    pub(crate) async fn items(&self) -> Vec<HashMap<String, AttributeValue>> {
        let scan = self.client.scan().table_name(&self.env["TABLE_NAME"]);
        let pages = scan.consistent_read(true).into_paginator();
        pages.items().send().try_collect().await.unwrap()
    }
}

/// AWS credentials with a session token, as Lambda has them.
pub(crate) fn credentials() -> Credentials {
    let token = "IQoJb3JpZ2luX2VjEA/+4=".to_owned();
    Credentials::new("local", "local", Some(token), None, "test")
}

/// A clock that is `ahead` of `now`, or of the system clock if there is no `now`.
fn clock(now: Option<Timestamp>, ahead: Arc<AtomicU64>) -> Clock {
    Clock::from_fn(move || {
        let _ = CLOCK.try_with(|left| match left.get() {
            0 => panic!("the clock of this task panics"),
            readings => left.set(readings - 1),
        });
        let ahead = Duration::from_millis(ahead.load(Ordering::Relaxed));
        let now = now.unwrap_or_else(|| SystemTime::now().into());
        now.plus(ahead)
    })
}

/// The environment variables of a function, with a unique table name.
pub(crate) fn environment(variables: &[(&str, &str)]) -> Environment {
    let table_name = format!("test-{}", Uuid::new_v4());
    let mut env = dev::environment::environment(authorities(), engine(), &table_name).unwrap();
    for (name, value) in variables {
        env.insert((*name).to_owned(), (*value).to_owned());
    }
    env
}

/// The environment variables that make a function demand cart tokens.
pub(crate) fn cart_token_variables() -> [(&'static str, String); 3] {
    dev::environment::cart_token_variables(authorities()).unwrap()
}

/// The environment variables that make a function accept account tokens.
pub(crate) fn account_token_variables() -> [(&'static str, String); 4] {
    dev::environment::account_token_variables(authorities()).unwrap()
}

pub(crate) fn engine() -> &'static str {
    &ENDPOINT
}

/// A URL that no server has: connections to it are refused.
pub(crate) fn closed_url() -> String {
    format!("http://{}", CLOSED.local_addr().unwrap())
}

pub(crate) fn authorities() -> &'static Authorities {
    &AUTHORITIES
}

pub(crate) fn access_token(grant: &str) -> String {
    let access = &authorities().access;
    access.access_token("storefront", grant).unwrap()
}

pub(crate) fn customer_token(customer: &str) -> String {
    authorities().customer.customer_token(customer).unwrap()
}

/// An account token for this person, who buys for this account.
pub(crate) fn account_token(account: &str, person: &str) -> String {
    let issuer = &authorities().account;
    issuer.account_token(account, person).unwrap()
}

pub(crate) fn cart_token(cart: &str) -> String {
    authorities().cart.cart_token(cart).unwrap()
}

/// Two years from now, in seconds since the epoch: an `exp` that outlasts every test.
pub(crate) fn lasting() -> u64 {
    let years = Duration::from_secs(2 * 365 * 24 * 60 * 60);
    Timestamp::from(SystemTime::now()).plus(years).seconds()
}

/// A back end's token that outlasts every lifetime of associations.
pub(crate) fn lasting_token() -> String {
    let claims = json!({ "exp": lasting(), "grant_type": "client_credentials" });
    authorities().access.token("back-end", &claims).unwrap()
}

/// The names of the sample events in `events/`.
pub(crate) fn sample_names() -> BTreeSet<String> {
    let files = std::fs::read_dir(EVENTS).unwrap();
    let name = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|file| name(file.unwrap().path())).collect()
}

/// A sample event with tokens in place of their placeholders.
pub(crate) fn sample(name: &str) -> Value {
    let path = Path::new(EVENTS).join(name).with_extension("json");
    let back_end = access_token("client_credentials");
    let text = std::fs::read_to_string(path).unwrap();
    let text = text
        .replace("CLIENT_CREDENTIALS_TOKEN", &back_end)
        .replace("IMPLICIT_TOKEN", &access_token("implicit"))
        .replace("CUSTOMER_TOKEN", &customer_token(SAMPLE_CUSTOMER))
        .replace("ACCOUNT_TOKEN", &account_token(SAMPLE_ACCOUNT, "member"))
        .replace("CART_TOKEN", &cart_token(SAMPLE_CART));
    serde_json::from_str(&text).unwrap()
}

pub(crate) fn linkage(customers: &[&str]) -> Value {
    linkage_of("customer", customers)
}

/// The request body that names these parties of a kind.
pub(crate) fn linkage_of(kind: &str, ids: &[&str]) -> Value {
    let members = ids.iter().map(|id| json!({ "type": kind, "id": id }));
    json!({ "data": members.collect::<Vec<_>>() })
}
