//! What the fuzz targets share: a clock that stands still, keys and tokens from
//! files, a table in memory, and mutations.

pub mod mutate;
pub mod table;

use std::collections::HashMap;

use cart_associations::auth::{Authenticator, Expected, KeySet, KeySource, TokenPolicy};
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::client::Client;
use serde_json::value::RawValue;

/// 2026-11-23T00:00:00Z, in seconds since the epoch. The tokens in `seeds/` are valid
/// at this time.
pub const NOW: u64 = 1_795_392_000;

/// The customer of `CUSTOMER_TOKEN`.
pub const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// The cart of `CART_TOKEN`.
pub const CART: &str = "c1";

pub const ACCESS_ISSUER: &str = "https://auth.example.com";
pub const ACCESS_AUDIENCE: &str = "carts";
pub const CUSTOMER_ISSUER: &str = "https://login.example.com";
pub const CUSTOMER_AUDIENCE: &str = "shop";
pub const CART_ISSUER: &str = "https://carts.example.com";
pub const CART_AUDIENCE: &str = "cart-holders";

/// The keys that signed the tokens in `seeds/`: one for each algorithm.
pub const KEYS: &str = include_str!("../keys.json");

macro_rules! seeds {
    ($($name:literal),+ $(,)?) => {
        [$(include_str!(concat!("../seeds/token/", $name))),+]
    };
}

/// The valid access tokens.
pub const ACCESS_TOKENS: [&str; 6] = seeds![
    "access-eddsa",
    "access-implicit",
    "access-es256",
    "access-es384",
    "access-ps256",
    "access-rs256",
];

/// The valid customer tokens.
pub const CUSTOMER_TOKENS: [&str; 5] = seeds![
    "customer-eddsa",
    "customer-es256",
    "customer-es384",
    "customer-ps256",
    "customer-rs256",
];

/// The valid cart tokens for [`CART`].
pub const CART_TOKENS: [&str; 5] = seeds![
    "cart-eddsa",
    "cart-es256",
    "cart-es384",
    "cart-ps256",
    "cart-rs256",
];

/// The time [`NOW`].
pub fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

/// A clock that always shows [`NOW`].
pub fn clock() -> Clock {
    Clock::from_fn(now)
}

/// An authenticator for all kinds of tokens. All kinds have the same keys, so they
/// differ only in issuer and audience.
pub fn authenticator(keys: &str) -> Authenticator {
    let keys = KeySet::parse(keys).expect("the keys are good");
    let policy = |issuer: &str, audience: &str| TokenPolicy {
        keys: KeySource::Inline(keys.clone()),
        expected: Expected {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        },
    };
    Authenticator::new(
        policy(ACCESS_ISSUER, ACCESS_AUDIENCE),
        policy(CUSTOMER_ISSUER, CUSTOMER_AUDIENCE),
        Some(policy(CART_ISSUER, CART_AUDIENCE)),
        "grant_type".to_owned(),
        &http(&config()),
        &clock(),
    )
}

/// The function's configuration with these keys.
pub fn config() -> Config {
    Config::from_lookup(|name| {
        let value = match name {
            "TABLE_NAME" => "associations",
            "AWS_REGION" => "us-east-1",
            "ACCESS_TOKEN_JWKS" | "CUSTOMER_TOKEN_JWKS" | "CART_TOKEN_JWKS" => KEYS,
            "ACCESS_TOKEN_ISSUER" => ACCESS_ISSUER,
            "ACCESS_TOKEN_AUDIENCE" => ACCESS_AUDIENCE,
            "CUSTOMER_TOKEN_ISSUER" => CUSTOMER_ISSUER,
            "CUSTOMER_TOKEN_AUDIENCE" => CUSTOMER_AUDIENCE,
            "CART_TOKEN_ISSUER" => CART_ISSUER,
            "CART_TOKEN_AUDIENCE" => CART_AUDIENCE,
            _ => return None,
        };
        Some(value.to_owned())
    })
    .expect("the configuration is good")
}

/// An HTTP client that is never used, because the key sets are inline.
pub fn http(config: &Config) -> Client {
    Client::new(
        &config.trusted_roots,
        cart_associations::auth::KEYS_CONNECT_TIMEOUT,
    )
}

/// Returns whether an identifier matches `[A-Za-z0-9_-]{1,128}`. Independent of the
/// function's code, so the two can disagree.
pub fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.chars().count())
        && id
            .chars()
            .all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-'))
}

type Members<'a> = HashMap<String, &'a RawValue>;

/// Whether a body has an empty `data`. Members that the contract does not mention
/// may be any JSON.
pub fn is_empty(body: &[u8]) -> bool {
    data(body).is_some_and(|members| members.is_empty())
}

fn data(body: &[u8]) -> Option<Vec<&RawValue>> {
    let text = std::str::from_utf8(body).ok()?;
    let document: Members<'_> = serde_json::from_str(text).ok()?;
    serde_json::from_str(document.get("data")?.get()).ok()
}

/// The customers that a body names, each once and in order; `None` if the body is
/// invalid. Members that the contract does not mention may be any JSON.
pub fn customers(body: &[u8]) -> Option<Vec<String>> {
    let mut customers: Vec<String> = Vec::new();
    for member in data(body)? {
        let member: Members<'_> = serde_json::from_str(member.get()).ok()?;
        let read = |name| serde_json::from_str::<String>(member.get(name)?.get()).ok();
        let id = read("id").filter(|id| is_id(id))?;
        if read("type")? != "customer" {
            return None;
        }
        if !customers.contains(&id) {
            customers.push(id);
        }
    }
    (1..=100).contains(&customers.len()).then_some(customers)
}
