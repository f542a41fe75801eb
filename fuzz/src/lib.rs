//! The function as the fuzz targets call it: with keys of its own, a clock that
//! stands still, and a table in memory.

pub mod mutate;
mod table;

use std::collections::HashMap;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cart_associations::app::App;
use cart_associations::auth::KEYS_CONNECT_TIMEOUT;
use cart_associations::client::Client;
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::gateway;
use lambda_http::{Context, LambdaEvent};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;

pub use table::Call;
use table::Table;

/// 2026-11-23T00:00:00Z, in seconds since the epoch. `seeds/token` has times near it.
pub const NOW: u64 = 1_795_392_000;

/// The customer and the cart of the valid tokens.
pub const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";
pub const CART: &str = "c1";

/// Who issues a kind of token, and for whom.
#[derive(Debug)]
pub struct Issuer {
    /// Stands for a valid token of this kind in an input.
    pub placeholder: &'static str,
    variables: &'static str,
    pub issuer: &'static str,
    pub audience: &'static str,
}

pub const ACCESS: Issuer = Issuer {
    placeholder: "IMPLICIT_TOKEN",
    variables: "ACCESS_TOKEN",
    issuer: "https://auth.example.com",
    audience: "carts",
};

pub const OF_CUSTOMERS: Issuer = Issuer {
    placeholder: "CUSTOMER_TOKEN",
    variables: "CUSTOMER_TOKEN",
    issuer: "https://login.example.com",
    audience: "shop",
};

pub const OF_CARTS: Issuer = Issuer {
    placeholder: "CART_TOKEN",
    variables: "CART_TOKEN",
    issuer: "https://carts.example.com",
    audience: "cart-holders",
};

/// Stands for the access token of a back end.
pub const BACK_END: &str = "CLIENT_CREDENTIALS_TOKEN";

/// The function, and what it is called with.
pub struct Function {
    app: App,
    table: Table,
    runtime: Runtime,
    key: Ed25519KeyPair,
}

impl Function {
    pub fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .expect("a runtime");
        // Inputs contain no signatures, so each process can have a new key.
        let key = Ed25519KeyPair::generate().expect("a key");
        let x = URL_SAFE_NO_PAD.encode(key.public_key());
        let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] });
        let mut env = HashMap::new();
        for of in [ACCESS, OF_CUSTOMERS, OF_CARTS] {
            env.insert(format!("{}_JWKS", of.variables), keys.to_string());
            env.insert(format!("{}_ISSUER", of.variables), of.issuer.to_owned());
            env.insert(format!("{}_AUDIENCE", of.variables), of.audience.to_owned());
        }
        env.insert("TABLE_NAME".to_owned(), "associations".to_owned());
        env.insert("AWS_REGION".to_owned(), "us-east-1".to_owned());
        let config = Config::from_lookup(|name| env.get(name).cloned()).expect("a configuration");
        let table = Table::default();
        let store = runtime.block_on(table.store(config.table_name.clone()));
        // Never used, because the key sets are inline.
        let client = Client::new(&config.trusted_roots, KEYS_CONNECT_TIMEOUT);
        let clock = Clock::from_fn(|| Timestamp::from_millis(NOW * 1000));
        Self {
            app: App::new(config, store, &client, clock),
            table,
            runtime,
            key,
        }
    }

    /// Signs a token with any header and any claims.
    pub fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
        let signed = format!("{}.{}", encode(header), encode(claims));
        let signature = encode(self.key.sign(signed.as_bytes()).as_ref());
        format!("{signed}.{signature}")
    }

    /// The placeholders of tokens, each with a valid token.
    pub fn tokens(&self) -> [(&'static str, String); 4] {
        let token = |of: &Issuer, subject: &str, grant: &str| {
            let claims = json!({
                "iss": of.issuer, "aud": of.audience, "sub": subject, "exp": NOW + 1,
                "grant_type": grant,
            });
            self.sign(br#"{"alg":"EdDSA"}"#, claims.to_string().as_bytes())
        };
        [
            (BACK_END, token(&ACCESS, "storefront", "client_credentials")),
            (ACCESS.placeholder, token(&ACCESS, "storefront", "implicit")),
            (OF_CUSTOMERS.placeholder, token(&OF_CUSTOMERS, CUSTOMER, "")),
            (OF_CARTS.placeholder, token(&OF_CARTS, CART, "")),
        ]
    }

    /// The answer to an event, and the calls of the table before it.
    pub fn answer(&self, event: Box<RawValue>) -> (Value, Vec<Call>) {
        let mut context = Context::default();
        "8476a536-e9f4-11e8-9739-2dfe598c3fcd".clone_into(&mut context.request_id);
        let answer = gateway::handle(&self.app, LambdaEvent::new(event, context));
        let Ok(answer) = self.runtime.block_on(answer);
        let answer = serde_json::to_value(&answer).expect("an answer is JSON");
        (answer, self.table.take_calls())
    }
}

/// Replaces placeholders by what they stand for.
pub fn fill(text: &str, filled: &[(&str, String)]) -> String {
    let replace = |text: String, (name, value): &(&str, String)| text.replace(name, value);
    filled.iter().fold(text.to_owned(), replace)
}

/// The members of a JSON object, unparsed: a [`Value`] is not always the value in
/// the text.
pub type Members<'a> = HashMap<String, &'a RawValue>;

/// The text that a member has.
pub fn text(members: &Members<'_>, name: &str) -> Option<String> {
    serde_json::from_str(members.get(name)?.get()).ok()
}

/// Returns whether an identifier matches `[A-Za-z0-9_-]{1,128}`. Independent of the
/// function's code, so the two can disagree.
pub fn is_id(id: &str) -> bool {
    let safe = |c| matches!(c, 'A'..='Z' | 'a'..='z' | '0'..='9' | '_' | '-');
    (1..=128).contains(&id.chars().count()) && id.chars().all(safe)
}

/// The parties that the body of an event names, each once and in order; `None` if
/// the function must refuse it. Members that the contract does not mention may be
/// any JSON.
pub fn parties(event: &Value) -> Option<Vec<String>> {
    let body = event["body"].as_str()?;
    let body = match event["isBase64Encoded"] {
        Value::Bool(true) => STANDARD.decode(body).ok()?,
        _ => body.as_bytes().to_vec(),
    };
    let document: Members<'_> = serde_json::from_slice(&body).ok()?;
    let data: Vec<Members<'_>> = serde_json::from_str(document.get("data")?.get()).ok()?;
    let mut parties = Vec::new();
    for member in &data {
        text(member, "type")?;
        let id = text(member, "id").filter(|id| is_id(id))?;
        if !parties.contains(&id) {
            parties.push(id);
        }
    }
    (1..=100).contains(&parties.len()).then_some(parties)
}
