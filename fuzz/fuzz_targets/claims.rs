//! Any header and any claims with a correct signature. An input of two lines, the
//! header and the claims, becomes a token. Independent code in this target decides
//! whether the function must accept it.
#![no_main]

use std::collections::HashMap;
use std::fmt;
use std::sync::LazyLock;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cart_associations::auth::{AuthError, Authenticator, Grant, MAX_LIFETIME, MAX_TOKEN_BYTES};
use cart_associations::request::{Credential, Credentials};
use cart_associations_fuzz::{
    ACCESS_AUDIENCE, ACCESS_ISSUER, CART, CART_AUDIENCE, CART_ISSUER, CUSTOMER, CUSTOMER_AUDIENCE,
    CUSTOMER_ISSUER, NOW, authenticator, is_id, mutate, now,
};
use futures_util::FutureExt as _;
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::Instant;

struct World {
    authenticator: Authenticator,
    key: Ed25519KeyPair,
    /// A valid access token and a valid customer token, to send with other tokens.
    access: String,
    customer: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    // Inputs contain no signatures, so each process can have a new key.
    let key = Ed25519KeyPair::generate().expect("a key");
    let x = URL_SAFE_NO_PAD.encode(key.public_key());
    let keys = json!({ "keys": [{ "kty": "OKP", "crv": "Ed25519", "kid": "1", "x": x }] });
    let token = |issuer: &str, audience: &str, subject: &str| {
        let claims = json!({ "iss": issuer, "aud": audience, "sub": subject, "exp": NOW + 1 });
        sign(&key, br#"{"alg":"EdDSA"}"#, claims.to_string().as_bytes())
    };
    World {
        authenticator: authenticator(&keys.to_string()),
        access: token(ACCESS_ISSUER, ACCESS_AUDIENCE, "storefront"),
        customer: token(CUSTOMER_ISSUER, CUSTOMER_AUDIENCE, CUSTOMER),
        key,
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json_lines(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else {
        return Corpus::Reject;
    };
    let (header, claims) = (&data[..end], &data[end + 1..]);
    let token = sign(&WORLD.key, header, claims);
    let fits = token.len() <= MAX_TOKEN_BYTES;
    // The function may refuse other members that a `Value` cannot represent.
    let is_representable = [header, claims]
        .iter()
        .all(|part| serde_json::from_slice::<Value>(part).is_ok());
    let header = Members::read(header).filter(|header| fits && header.is_valid_header());
    let claims = Members::read(claims).filter(|_| header.is_some());

    let valid = claims
        .as_ref()
        .filter(|claims| claims.are_valid_claims(ACCESS_ISSUER, ACCESS_AUDIENCE));
    match authenticate(&token, None, None) {
        Ok(grant) => {
            let claims = valid.expect("only valid tokens are accepted");
            assert_eq!(claims.text("sub").as_deref(), Some(grant.client()));
            let back_end = claims.text("grant_type").is_some_and(|grant| {
                grant == "client_credentials" || grant == "client-credentials"
            });
            let name = if back_end {
                "client_credentials"
            } else {
                "none"
            };
            assert_eq!(grant.name(), name);
        }
        Err(error) => assert!(valid.is_none() || !is_representable, "{error:?}"),
    }

    let valid = claims
        .as_ref()
        .filter(|claims| claims.are_valid_claims(CUSTOMER_ISSUER, CUSTOMER_AUDIENCE))
        .filter(|claims| claims.text("sub").is_some_and(|sub| is_id(&sub)));
    match authenticate(&WORLD.access, Some(&token), None) {
        Ok(grant) => {
            let claims = valid.expect("only valid tokens are accepted");
            let customer = |id: &str| vec![id.parse().expect("an identifier")];
            let own = &*claims.text("sub").expect("a subject");
            assert_eq!(grant.name(), "customer");
            assert!(grant.permit(&customer(own)).is_ok());
            assert!(grant.permit(&customer("not-them")).is_err() || own == "not-them");
            let cart = CART.parse().expect("an identifier");
            assert!(grant.permit_association(&cart, &customer(own)).is_err());
        }
        Err(error) => assert!(valid.is_none() || !is_representable, "{error:?}"),
    }

    let valid = claims
        .as_ref()
        .filter(|claims| claims.are_valid_claims(CART_ISSUER, CART_AUDIENCE))
        .filter(|claims| claims.text("sub").is_some_and(|sub| sub == CART));
    match authenticate(&WORLD.access, Some(&WORLD.customer), Some(&token)) {
        Ok(grant) => {
            assert!(valid.is_some(), "only valid tokens are accepted");
            let customer = [CUSTOMER.parse().expect("an identifier")];
            let permits = |cart: &str| {
                let cart = cart.parse().expect("an identifier");
                grant.permit_association(&cart, &customer).is_ok()
            };
            assert!(permits(CART) && !permits("another"));
        }
        Err(error) => assert!(valid.is_none() || !is_representable, "{error:?}"),
    }
    Corpus::Keep
});

fn sign(key: &Ed25519KeyPair, header: &[u8], claims: &[u8]) -> String {
    let encode = |part: &[u8]| URL_SAFE_NO_PAD.encode(part);
    let signed = format!("{}.{}", encode(header), encode(claims));
    let signature = encode(key.sign(signed.as_bytes()).as_ref());
    format!("{signed}.{signature}")
}

fn authenticate(
    access: &str,
    customer: Option<&str>,
    cart: Option<&str>,
) -> Result<Grant, AuthError> {
    let credential = |token: Option<&str>| {
        token.map_or(Credential::Absent, |token| {
            Credential::Token(token.to_owned().into())
        })
    };
    let credentials = Credentials {
        access_token: credential(Some(access)),
        customer_token: credential(customer),
        cart_token: credential(cart),
        cart_id: Some(CART),
    };
    WORLD
        .authenticator
        .authenticate(&credentials, now(), Instant::now())
        .now_or_never()
        .expect("the keys are inline")
}

/// A JSON object with unparsed values, because a `serde_json::Value` is not always
/// the value in the text.
#[derive(Default)]
struct Members<'a> {
    all: HashMap<String, &'a RawValue>,
    has_duplicates: bool,
}

impl<'a> Members<'a> {
    /// Reads an object; `None` if it is none or has duplicate members.
    fn read(json: &'a [u8]) -> Option<Self> {
        serde_json::from_slice(json)
            .ok()
            .filter(|members: &Self| !members.has_duplicates)
    }

    fn has(&self, name: &str) -> bool {
        self.all.contains_key(name)
    }

    fn get<T: Deserialize<'a>>(&self, name: &str) -> Option<T> {
        serde_json::from_str(self.all.get(name)?.get()).ok()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name)
    }

    fn is_valid_header(&self) -> bool {
        let refused = ["crit", "jwk", "jku", "x5c", "x5u"];
        self.text("alg")
            .is_some_and(|alg| ["EdDSA", "Ed25519"].contains(&&*alg))
            && (!self.has("kid") || self.text("kid").is_some_and(|kid| kid == "1"))
            && !refused.iter().any(|name| self.has(name))
    }

    fn are_valid_claims(&self, issuer: &str, audience: &str) -> bool {
        let now = NOW as f64;
        let time = |name: &str| self.get::<f64>(name);
        let longest = MAX_LIFETIME.as_secs_f64();
        let audiences = match self.text("aud") {
            Some(one) => vec![one],
            None => self.get("aud").unwrap_or_default(),
        };
        time("exp").is_some_and(|exp| exp > now - 30.0 && exp <= now + longest)
            && (!self.has("nbf") || time("nbf").is_some_and(|nbf| nbf <= now + 30.0))
            && (!self.has("iat") || time("iat").is_some())
            && self.text("iss").is_some_and(|iss| iss == issuer)
            && audiences.iter().any(|one| one == audience)
            && self.text("sub").is_some_and(|sub| !sub.is_empty())
    }
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;

        impl<'de> Visitor<'de> for Each {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Members::default();
                while let Some((name, value)) = map.next_entry()? {
                    members.has_duplicates |= members.all.insert(name, value).is_some();
                }
                Ok(members)
            }
        }

        deserializer.deserialize_map(Each)
    }
}
