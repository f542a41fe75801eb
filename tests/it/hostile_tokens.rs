//! Tokens from other implementations: good ones, which the function must accept,
//! and hostile ones, which it must refuse.
//!
//! They are in `tokens/`, with the keys that signed them. `tokens/make.py` generates
//! them. The clock of these tests stands still, so the tokens never expire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cart_associations::auth::{
    AuthError, Authenticator, Expected, Forbidden, Grant, KeySet, KeySource, TokenKind, TokenPolicy,
};
use cart_associations::client::{Client, TrustedRoots};
use cart_associations::clock::{CLOCK_SKEW, Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::ids::CustomerId;
use cart_associations::request::{Credential, Credentials, Request};
use dev::key_server::KeyServer;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::{RON, World, authorities, linkage};

/// The alphabet of base64url.
const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cart of most requests, and of most cart tokens.
const CART: &str = "cart-1";

#[derive(Deserialize)]
struct Fixtures {
    /// The time of the tests, in seconds since the epoch.
    now: u64,
    access: TrustedIssuer,
    customer: TrustedIssuer,
    cart: TrustedIssuer,
}

/// The issuer of one kind of token.
#[derive(Deserialize)]
struct TrustedIssuer {
    issuer: String,
    audience: String,
    keys: Vec<KeyPair>,
}

#[derive(Deserialize)]
struct KeyPair {
    public: Value,
}

#[derive(Deserialize, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Access,
    Customer,
    Cart,
}

#[derive(Deserialize)]
struct GoodToken {
    name: String,
    kind: Kind,
    subject: String,
    token: String,
    /// The id of the key, if the token is accepted only with a set of that one key.
    only_key: Option<String>,
}

/// Hostile tokens that are refused for the same reason.
#[derive(Deserialize)]
struct HostileTokens {
    kind: Kind,
    why: String,
    fault: String,
    cases: Vec<HostileToken>,
}

#[derive(Deserialize)]
struct HostileToken {
    name: String,
    token: String,
}

/// A key that allows others than its owner to sign, and a token of each kind signed
/// with it.
#[derive(Deserialize)]
struct WeakKey {
    name: String,
    why: String,
    fault: String,
    jwk: Value,
    tokens: BTreeMap<Kind, String>,
}

static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("tokens/keys.json")).unwrap());

fn good() -> Vec<GoodToken> {
    serde_json::from_str(include_str!("tokens/good.json")).unwrap()
}

fn hostile() -> Vec<HostileTokens> {
    serde_json::from_str(include_str!("tokens/hostile.json")).unwrap()
}

fn weak_keys() -> Vec<WeakKey> {
    serde_json::from_str(include_str!("tokens/weak_keys.json")).unwrap()
}

fn hostile_tokens(kind: Kind) -> impl Iterator<Item = HostileToken> {
    let groups = hostile()
        .into_iter()
        .filter(move |group| group.kind == kind);
    groups.flat_map(|group| group.cases)
}

/// The good tokens that are accepted with all keys in the sets.
fn good_for_full_sets() -> impl Iterator<Item = GoodToken> {
    good().into_iter().filter(|good| good.only_key.is_none())
}

/// One good token for each algorithm and kind, all from the same implementation.
fn one_of_each() -> impl Iterator<Item = GoodToken> {
    good_for_full_sets().filter(|good| good.name.ends_with("by OpenSSL"))
}

/// A good token to send beside another one.
fn good_token(kind: Kind) -> &'static str {
    static TOKENS: LazyLock<[String; 3]> = LazyLock::new(|| {
        let first = |kind| good_for_full_sets().find(|good| good.kind == kind);
        Kind::ALL.map(|kind| first(kind).unwrap().token)
    });
    &TOKENS[kind as usize]
}

fn now() -> Timestamp {
    Timestamp::from_millis(FIXTURES.now * 1000)
}

impl Fixtures {
    fn issuer(&self, kind: Kind) -> &TrustedIssuer {
        match kind {
            Kind::Access => &self.access,
            Kind::Customer => &self.customer,
            Kind::Cart => &self.cart,
        }
    }
}

impl TrustedIssuer {
    fn public_keys(&self) -> Vec<Value> {
        self.keys.iter().map(|pair| pair.public.clone()).collect()
    }
}

impl Kind {
    const ALL: [Self; 3] = [Self::Access, Self::Customer, Self::Cart];

    fn others(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| *kind != self)
    }

    fn token_kind(self) -> TokenKind {
        match self {
            Self::Access => TokenKind::Access,
            Self::Customer => TokenKind::Customer,
            Self::Cart => TokenKind::Cart,
        }
    }
}

/// The function's authenticator with the keys of the fixtures.
struct Verifier(Authenticator);

impl Verifier {
    fn new() -> Self {
        Self::with(Kind::Access, FIXTURES.access.public_keys())
    }

    /// A verifier with another key set for one kind of token.
    fn with(kind: Kind, keys: Vec<Value>) -> Self {
        let policy = |this| {
            let issuer = FIXTURES.issuer(this);
            let keys = if this == kind {
                keys.clone()
            } else {
                issuer.public_keys()
            };
            policy(issuer, &keys)
        };
        let http = Client::new(&TrustedRoots::built_in(), Duration::from_secs(1));
        Self(Authenticator::new(
            policy(Kind::Access),
            policy(Kind::Customer),
            Some(policy(Kind::Cart)),
            "grant_type".to_owned(),
            &http,
            &Clock::from_fn(now),
        ))
    }

    async fn authenticate(&self, kind: Kind, token: &str) -> Result<Grant, AuthError> {
        self.authenticate_for(CART, kind, token, now()).await
    }

    /// Authenticates a request for a cart. It has a good access token beside a
    /// customer token, and both beside a cart token.
    async fn authenticate_for(
        &self,
        cart: &str,
        kind: Kind,
        token: &str,
        at: Timestamp,
    ) -> Result<Grant, AuthError> {
        let credential = |this| match this {
            this if this == kind => Credential::Token(token.into()),
            this if this < kind => Credential::Token(good_token(this).into()),
            _ => Credential::Absent,
        };
        let credentials = Credentials {
            access_token: credential(Kind::Access),
            customer_token: credential(Kind::Customer),
            cart_token: credential(Kind::Cart),
            cart_id: Some(cart),
        };
        let soon = Instant::now() + Duration::from_secs(1);
        self.0.authenticate(&credentials, at, soon).await
    }

    async fn assert_accepted(&self, good: &GoodToken) {
        let cart = match good.kind {
            Kind::Access | Kind::Customer => CART,
            Kind::Cart => &good.subject,
        };
        let grant = self
            .authenticate_for(cart, good.kind, &good.token, now())
            .await;
        let grant = grant.unwrap_or_else(|error| panic!("{}: {error:?}", good.name));
        match good.kind {
            Kind::Access => {
                assert_eq!(grant.client(), good.subject, "{}", good.name);
                assert_eq!(grant.name(), "client_credentials", "{}", good.name);
            }
            Kind::Customer => {
                let own: CustomerId = good.subject.parse().unwrap();
                assert_eq!(grant.permit(&[own]), Ok(()), "{}", good.name);
                let other = "another".parse().unwrap();
                assert!(grant.permit(&[other]).is_err(), "{}", good.name);
            }
            Kind::Cart => {
                let permits = |cart: &str| {
                    let ron = [RON.parse().unwrap()];
                    grant.permit_association(&cart.parse().unwrap(), &ron)
                };
                assert_eq!(permits(cart), Ok(()), "{}", good.name);
                let refused = Err(Forbidden::CartTokenRequired);
                assert_eq!(permits("another"), refused, "{}", good.name);
            }
        }
    }

    /// Asserts that this token is refused, not one sent with it. Returns the name of
    /// the fault.
    async fn assert_refused(&self, kind: Kind, name: &str, token: &str) -> &'static str {
        match self.authenticate(kind, token).await {
            Err(AuthError::InvalidToken { kind: of, fault }) => {
                assert_eq!(of, kind.token_kind(), "{name}");
                fault.name()
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn policy(issuer: &TrustedIssuer, keys: &[Value]) -> TokenPolicy {
    TokenPolicy {
        keys: KeySource::Inline(KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()),
        expected: Expected {
            issuer: issuer.issuer.clone(),
            audience: issuer.audience.clone(),
        },
    }
}

#[test]
fn every_case_has_a_unique_name() {
    let good = good().into_iter().map(|good| good.name);
    let hostile = hostile().into_iter().flat_map(|group| group.cases);
    let hostile = hostile.map(|case| case.name);
    let weak = weak_keys().into_iter().map(|key| key.name);
    let names: Vec<String> = good.chain(hostile).chain(weak).collect();
    let mut seen = BTreeSet::new();
    for name in &names {
        assert!(seen.insert(name), "{name}");
    }
    for kind in Kind::ALL {
        assert!(hostile_tokens(kind).count() > 500);
    }
}

#[tokio::test]
async fn every_good_token_is_accepted() {
    for good in good() {
        let mut keys = FIXTURES.issuer(good.kind).public_keys();
        if let Some(only) = &good.only_key {
            keys.retain(|key| key["kid"] == json!(only));
        }
        Verifier::with(good.kind, keys).assert_accepted(&good).await;
    }
}

/// RSA keys without `alg` are for RS256, which every issuer supports.
#[tokio::test]
async fn keys_without_alg_accept_every_good_token_except_ps256() {
    for good in good() {
        let mut keys = FIXTURES.issuer(good.kind).public_keys();
        if let Some(only) = &good.only_key {
            keys.retain(|key| key["kid"] == json!(only));
        }
        for key in &mut keys {
            key.as_object_mut().unwrap().remove("alg");
        }
        let verifier = Verifier::with(good.kind, keys);
        if good.name.contains("PS256") {
            let fault = verifier
                .assert_refused(good.kind, &good.name, &good.token)
                .await;
            assert_eq!(fault, "unknown_key", "{}", good.name);
        } else {
            verifier.assert_accepted(&good).await;
        }
    }
}

#[tokio::test]
async fn every_hostile_token_is_refused_for_the_expected_reason() {
    let verifier = Verifier::new();
    let mut wrong = Vec::new();
    for HostileTokens {
        kind,
        why,
        fault,
        cases,
    } in hostile()
    {
        for HostileToken { name, token } in cases {
            match verifier.authenticate(kind, &token).await {
                Err(AuthError::InvalidToken {
                    kind: of,
                    fault: found,
                }) if of == kind.token_kind() && found.name() == fault => {}
                other => wrong.push(format!("{name}: {other:?}, not {fault}. {why}")),
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The tokens of one kind are not verified with the keys of another, even if the
/// keys have the same ids.
#[tokio::test]
async fn key_ids_that_two_sets_contain_do_not_mix_up_their_keys() {
    for kind in Kind::ALL {
        for other in kind.others() {
            let mut keys = FIXTURES.issuer(kind).public_keys();
            let names = FIXTURES.issuer(other).public_keys();
            for (key, other) in keys.iter_mut().zip(names) {
                key["kid"] = other["kid"].clone();
            }
            let verifier = Verifier::with(kind, keys);
            for HostileToken { name, token } in hostile_tokens(kind) {
                verifier.assert_refused(kind, &name, &token).await;
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_one_kind_is_refused_as_another_even_with_the_same_keys() {
    let keys = Kind::ALL.map(|kind| FIXTURES.issuer(kind).public_keys());
    for kind in Kind::ALL {
        let verifier = Verifier::with(kind, keys.concat());
        for good in good_for_full_sets().filter(|good| good.kind == kind) {
            verifier.assert_accepted(&good).await;
        }
        for good in good_for_full_sets().filter(|good| good.kind != kind) {
            let fault = verifier.assert_refused(kind, &good.name, &good.token).await;
            assert_eq!(fault, "issuer", "{}", good.name);
        }
    }
}

#[tokio::test]
async fn a_good_token_with_one_bit_changed_is_refused() {
    let verifier = Verifier::new();
    for GoodToken {
        name, kind, token, ..
    } in one_of_each()
    {
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            let Some(value) = BASE64URL.iter().position(|letter| *letter == changed[at]) else {
                continue;
            };
            changed[at] = BASE64URL[value ^ (1 << (at % 6))];
            let changed = String::from_utf8(changed).unwrap();
            let name = format!("{name}, changed at {at}");
            verifier.assert_refused(kind, &name, &changed).await;
        }
    }
}

#[tokio::test]
async fn a_good_token_that_is_shortened_or_extended_is_refused() {
    let verifier = Verifier::new();
    for GoodToken {
        name, kind, token, ..
    } in one_of_each()
    {
        for end in 0..token.len() {
            verifier.assert_refused(kind, &name, &token[..end]).await;
            verifier
                .assert_refused(kind, &name, &token[end + 1..])
                .await;
        }
        let dot = token.find('.').unwrap();
        let places = [0, 1, dot, dot + 1, token.len() - 1, token.len()];
        let pieces = [
            "A", "AAAA", "=", "==", ".", " ", "\t", "\r", "\n", "\0", "-", "+", "/", "\"", ",",
            "é", "\u{a0}", "\u{feff}", "%2E", "%00",
        ];
        for (at, piece) in places
            .iter()
            .flat_map(|at| pieces.map(|piece| (*at, piece)))
        {
            let changed = format!("{}{piece}{}", &token[..at], &token[at..]);
            let name = format!("{name} with {piece:?} at {at}");
            verifier.assert_refused(kind, &name, &changed).await;
        }
    }
}

#[tokio::test]
async fn a_good_token_is_refused_30_seconds_after_its_exp() {
    let verifier = Verifier::new();
    for GoodToken {
        name, kind, token, ..
    } in one_of_each()
    {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
        let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let expires = Timestamp::from_millis(claims["exp"].as_u64().unwrap() * 1000);
        let end = expires.plus(CLOCK_SKEW).millis();
        assert_eq!(CLOCK_SKEW, Duration::from_secs(30));
        // The tokens beside it expire at the same time.
        for (at, good) in [
            (end - 1, true),
            (end, false),
            (end + 1, false),
            (u64::MAX, false),
            // More than ten years before `exp`.
            (0, false),
        ] {
            let result = verifier
                .authenticate_for(CART, kind, &token, Timestamp::from_millis(at))
                .await;
            assert_eq!(result.is_ok(), good, "{name} at {at}: {result:?}");
        }
    }
}

/// An issuer may publish such keys by mistake.
#[tokio::test]
async fn weak_keys_verify_nothing_and_do_not_affect_other_keys() {
    let mut wrong = Vec::new();
    for WeakKey {
        name,
        why,
        fault,
        jwk,
        tokens,
    } in weak_keys()
    {
        assert!(tokens.keys().copied().eq(Kind::ALL), "{name}");
        for (kind, token) in tokens {
            let keys = [vec![jwk.clone()], FIXTURES.issuer(kind).public_keys()].concat();
            let verifier = Verifier::with(kind, keys);
            match verifier.authenticate(kind, &token).await {
                Err(AuthError::InvalidToken {
                    kind: of,
                    fault: found,
                }) if of == kind.token_kind() && found.name() == fault => {}
                other => wrong.push(format!("{name}: {other:?}, not {fault}. {why}")),
            }
            for good in good_for_full_sets().filter(|good| good.kind == kind) {
                verifier.assert_accepted(&good).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A world with the keys and the time of the fixtures.
async fn world(access_keys: &str) -> World {
    let Fixtures {
        access,
        customer,
        cart,
        ..
    } = &*FIXTURES;
    let keys = |issuer: &TrustedIssuer| json!({ "keys": issuer.public_keys() }).to_string();
    let (customer_keys, cart_keys) = (keys(customer), keys(cart));
    let variables = [
        ("ACCESS_TOKEN_JWKS", access_keys),
        ("ACCESS_TOKEN_ISSUER", &access.issuer),
        ("ACCESS_TOKEN_AUDIENCE", &access.audience),
        ("CUSTOMER_TOKEN_JWKS", &customer_keys),
        ("CUSTOMER_TOKEN_ISSUER", &customer.issuer),
        ("CUSTOMER_TOKEN_AUDIENCE", &customer.audience),
        ("CART_TOKEN_JWKS", &cart_keys),
        ("CART_TOKEN_ISSUER", &cart.issuer),
        ("CART_TOKEN_AUDIENCE", &cart.audience),
    ];
    World::at(now(), &variables).await
}

/// Sends an access token alone, and other tokens with good ones of the other kinds.
async fn send(world: &World, cart: &str, kind: Kind, token: &str) -> Answer {
    let mut call = world.post(cart);
    for this in Kind::ALL {
        let token = match kind {
            kind if kind == this => token,
            Kind::Access => continue,
            Kind::Customer | Kind::Cart => good_token(this),
        };
        call = match this {
            Kind::Access => call.bearer(token),
            Kind::Customer => call.customer_token(token),
            Kind::Cart => call.cart_token(token),
        };
    }
    call.body(linkage(&[RON])).send().await
}

/// Sends all hostile tokens to the handler, then the good ones. Asserts that all
/// hostile tokens of a kind get the same answer, to the byte.
async fn assert_same_answers(world: &World) {
    for (kind, code, header) in [
        (Kind::Access, "invalid_access_token", "Authorization"),
        (
            Kind::Customer,
            "invalid_customer_token",
            "x-moltin-customer-token",
        ),
        (Kind::Cart, "invalid_cart_token", "x-cart-token"),
    ] {
        let mut first = None;
        for HostileToken { name, token } in hostile_tokens(kind) {
            let answer = send(world, CART, kind, &token).await;
            let source = answer.refused(401, code);
            assert_eq!(source, json!({ "header": header }), "{name}");
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer error=\"invalid_token\""),
                "{name}"
            );
            let first = first.get_or_insert_with(|| answer.clone());
            assert_eq!(answer, *first, "{name}");
        }
    }
    assert!(world.stored().await.is_empty());

    for good in
        good_for_full_sets().filter(|good| good.kind != Kind::Customer || good.subject == RON)
    {
        let cart = match good.kind {
            Kind::Access | Kind::Customer => CART,
            Kind::Cart => &good.subject,
        };
        let answer = send(world, cart, good.kind, &good.token).await;
        assert!(
            [200, 204].contains(&answer.status),
            "{}: {answer:?}",
            good.name
        );
    }
}

#[tokio::test]
async fn every_hostile_token_gets_the_same_answer_and_nothing_is_written() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    assert_same_answers(&world(&keys).await).await;
}

#[tokio::test]
async fn hostile_tokens_make_the_function_fetch_remote_keys_only_once() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    let server = KeyServer::start(&keys).await;
    let world = world(&server.url).await;
    assert_same_answers(&world).await;
    assert_eq!(server.asked(), 2, "at the start and for an unknown key");
}

#[tokio::test]
async fn a_url_in_a_token_is_never_fetched() {
    let untrusted_server = KeyServer::start(&authorities().access.key.jwks().unwrap()).await;
    let world = World::new().await;
    let claims = authorities()
        .access
        .access_token("shop", "client_credentials");
    let claims = URL_SAFE_NO_PAD.decode(claims.unwrap().split('.').nth(1).unwrap());
    let claims = String::from_utf8(claims.unwrap()).unwrap();
    for name in ["jku", "x5u", "kid", "iss", "typ", "jwks_uri"] {
        let mut header = json!({ "alg": "ES256", "kid": "another" });
        header[name] = json!(untrusted_server.url);
        let key = &authorities().access.key;
        let token = key.sign(&header.to_string(), &claims).unwrap();
        let call = world.post("cart-1").bearer(&token).body(linkage(&[RON]));
        call.send().await.refused(401, "invalid_access_token");
    }
    assert_eq!(untrusted_server.asked(), 0);
}

fn assert_contains_no_token(value: &dyn std::fmt::Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        for part in good_for_full_sets()
            .flat_map(|good| good.token.split('.').map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(!text.contains(&part), "{text}");
        }
    }
}

#[tokio::test]
async fn debug_output_of_requests_and_grants_contains_no_token() {
    let token = |kind| one_of_each().find(|good| good.kind == kind).unwrap().token;
    let [access, customer, cart] = Kind::ALL.map(token);
    let bearer = format!("Bearer {access}");
    let path = "/v2/carts/cart-1/relationships/customers";
    for event in [
        json!({
            "version": "2.0", "rawPath": path, "requestContext": { "http": { "method": "POST" } },
            "headers": {
                "authorization": bearer, "x-moltin-customer-token": customer, "x-cart-token": cart,
            },
            "body": access,
        }),
        json!({
            "path": path, "httpMethod": "POST",
            "headers": {
                "Authorization": bearer, "X-Moltin-Customer-Token": customer, "X-Cart-Token": cart,
            },
            "multiValueHeaders": {
                "Authorization": [bearer], "X-Moltin-Customer-Token": [customer, customer],
                "X-Cart-Token": [cart, cart],
            },
        }),
    ] {
        let event = event.to_string();
        let request = Request::parse(&event).unwrap();
        assert_contains_no_token(&request);
        let request = request.route().unwrap();
        assert_contains_no_token(&request);
        let credentials = request.credentials();
        assert_contains_no_token(&credentials);
        assert_contains_no_token(&credentials.access_token);
        assert_eq!(format!("{:?}", credentials.access_token), "Token(_)");
        assert_contains_no_token(&request.operation());
    }

    let verifier = Verifier::new();
    for good in one_of_each() {
        for kind in Kind::ALL {
            assert_contains_no_token(&verifier.authenticate(kind, &good.token).await);
        }
    }
    assert_contains_no_token(&verifier.0);
}

#[tokio::test]
async fn debug_output_of_the_app_and_its_configuration_contains_no_token() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    let server = KeyServer::start(&keys).await;
    for keys in [&keys, &server.url] {
        let world = world(keys).await;
        for good in one_of_each() {
            for kind in Kind::ALL {
                send(&world, CART, kind, &good.token).await;
            }
        }
        assert_contains_no_token(world.app());
        let config = Config::from_lookup(|name| world.env().get(name).cloned()).unwrap();
        assert_contains_no_token(&config.access_tokens);
        assert_contains_no_token(&config);
    }
}
