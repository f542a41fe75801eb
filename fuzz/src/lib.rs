//! What the fuzz targets share: a moment that does not pass, keys whose tokens
//! are checked in, and mutations that keep the shape of what they change.

pub mod mutate;
pub mod table;

use std::collections::HashMap;

use cart_associations::auth::{Expected, KeySet, KeySource, TokenPolicy};
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::http::Client;
use serde_json::value::RawValue;

/// 2026-11-23T00:00:00Z, in seconds: when the tokens in `seeds/` are good.
pub const NOW: u64 = 1_795_392_000;

/// The customer of `CUSTOMER_TOKEN`.
pub const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

pub const ACCESS_ISSUER: &str = "https://auth.example.com";
pub const ACCESS_AUDIENCE: &str = "carts";
pub const CUSTOMER_ISSUER: &str = "https://login.example.com";
pub const CUSTOMER_AUDIENCE: &str = "shop";

/// The keys that made the tokens in `seeds/`: one of each algorithm.
pub const KEYS: &str = include_str!("../keys.json");

macro_rules! seeds {
    ($($name:literal),+ $(,)?) => {
        [$(include_str!(concat!("../seeds/token/", $name))),+]
    };
}

/// The tokens that must be believed for access tokens.
pub const ACCESS_TOKENS: [&str; 6] = seeds![
    "access-eddsa",
    "access-implicit",
    "access-es256",
    "access-es384",
    "access-ps256",
    "access-rs256",
];

/// The tokens that must be believed for customer tokens.
pub const CUSTOMER_TOKENS: [&str; 5] = seeds![
    "customer-eddsa",
    "customer-es256",
    "customer-es384",
    "customer-ps256",
    "customer-rs256",
];

/// The present moment.
pub fn now() -> Timestamp {
    Timestamp::from_millis(NOW * 1000)
}

/// A clock that always shows it.
pub fn clock() -> Clock {
    Clock::from_fn(now)
}

/// The policies of both kinds of token. They share one key set, so that nothing
/// but issuer and audience tells one kind from the other.
pub fn policies(keys: &str) -> (TokenPolicy, TokenPolicy) {
    let keys = KeySet::parse(keys).expect("the keys are good");
    let policy = |issuer: &str, audience: &str| TokenPolicy {
        keys: KeySource::Inline(keys.clone()),
        expected: Expected {
            issuer: issuer.to_owned(),
            audience: audience.to_owned(),
        },
    };
    (
        policy(ACCESS_ISSUER, ACCESS_AUDIENCE),
        policy(CUSTOMER_ISSUER, CUSTOMER_AUDIENCE),
    )
}

/// The function's configuration with these keys.
pub fn config() -> Config {
    Config::from_lookup(|name| {
        let value = match name {
            "TABLE_NAME" => "associations",
            "AWS_REGION" => "us-east-1",
            "ACCESS_TOKEN_JWKS" | "CUSTOMER_TOKEN_JWKS" => KEYS,
            "ACCESS_TOKEN_ISSUER" => ACCESS_ISSUER,
            "ACCESS_TOKEN_AUDIENCE" => ACCESS_AUDIENCE,
            "CUSTOMER_TOKEN_ISSUER" => CUSTOMER_ISSUER,
            "CUSTOMER_TOKEN_AUDIENCE" => CUSTOMER_AUDIENCE,
            _ => return None,
        };
        Some(value.to_owned())
    })
    .expect("the configuration is good")
}

/// A client for key sets that are never asked for: those here are inline.
pub fn http(config: &Config) -> Client {
    Client::new(
        &config.trusted_roots,
        cart_associations::auth::KEYS_CONNECT_TIMEOUT,
    )
}

/// `[A-Za-z0-9_-]{1,128}`, said once more, so that it can disagree.
pub fn is_id(id: &str) -> bool {
    (1..=128).contains(&id.chars().count())
        && id
            .chars()
            .all(|c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-'))
}

type Members<'a> = HashMap<String, &'a RawValue>;

/// Whether a body has an empty `data`. What is not asked for may be any JSON.
pub fn is_empty(body: &[u8]) -> bool {
    data(body).is_some_and(|members| members.is_empty())
}

fn data(body: &[u8]) -> Option<Vec<&RawValue>> {
    let text = std::str::from_utf8(body).ok()?;
    let document: Members<'_> = serde_json::from_str(text).ok()?;
    serde_json::from_str(document.get("data")?.get()).ok()
}

/// The customers that a body names, each once, in their order; `None` where it
/// is not what the contract asks for. What is not asked for may be any JSON.
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
