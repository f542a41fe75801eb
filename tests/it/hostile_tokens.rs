//! Tokens that other implementations made: good ones to be believed, and a corpus
//! of hostile ones to be refused.
//!
//! They are data, in `tokens/`, with the keys that made them; `tokens/make.py`
//! makes them anew. All are looked at as of one moment, so that they never rot.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cart_associations::auth::{
    AuthError, Authenticator, Expected, Forbidden, Grant, KeySet, KeySource, TokenKind, TokenPolicy,
};
use cart_associations::clock::{CLOCK_SKEW, Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::http::{Client, TrustedRoots};
use cart_associations::ids::CustomerId;
use cart_associations::request::{Credential, Credentials, Request};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::key_server::KeyServer;
use crate::support::{RON, World, authorities, linkage};

/// The letters of base64url, in the order of their values.
const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cart of most requests, and of most cart tokens.
const CART: &str = "cart-1";

#[derive(Deserialize)]
struct Fixtures {
    /// When the tokens are looked at, in seconds since the epoch.
    now: u64,
    access: Party,
    customer: Party,
    cart: Party,
}

/// Who issues one kind of token, and for whom.
#[derive(Deserialize)]
struct Party {
    issuer: String,
    audience: String,
    keys: Vec<Pair>,
}

#[derive(Deserialize)]
struct Pair {
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
struct Good {
    name: String,
    kind: Kind,
    subject: String,
    token: String,
    /// The id of the key that must be alone in its set.
    only_key: Option<String>,
}

/// Hostile tokens that the same rule refuses.
#[derive(Deserialize)]
struct Group {
    kind: Kind,
    why: String,
    fault: String,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    token: String,
}

/// A key with which others than its owner can sign, and a token of each kind so
/// signed.
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

fn good() -> Vec<Good> {
    serde_json::from_str(include_str!("tokens/good.json")).unwrap()
}

fn hostile() -> Vec<Group> {
    serde_json::from_str(include_str!("tokens/hostile.json")).unwrap()
}

fn weak_keys() -> Vec<WeakKey> {
    serde_json::from_str(include_str!("tokens/weak_keys.json")).unwrap()
}

fn hostile_tokens(kind: Kind) -> impl Iterator<Item = Case> {
    let groups = hostile()
        .into_iter()
        .filter(move |group| group.kind == kind);
    groups.flat_map(|group| group.cases)
}

/// The good tokens that the usual sets believe.
fn usual() -> impl Iterator<Item = Good> {
    good().into_iter().filter(|good| good.only_key.is_none())
}

/// One good token for each algorithm and kind, all by the same implementation.
fn one_of_each() -> impl Iterator<Item = Good> {
    usual().filter(|good| good.name.ends_with("by OpenSSL"))
}

/// A good token to send beside another one.
fn good_token(kind: Kind) -> &'static str {
    static TOKENS: LazyLock<[String; 3]> = LazyLock::new(|| {
        let token = |kind| usual().find(|good| good.kind == kind).unwrap().token;
        Kind::ALL.map(token)
    });
    &TOKENS[kind as usize]
}

fn now() -> Timestamp {
    Timestamp::from_millis(FIXTURES.now * 1000)
}

impl Fixtures {
    fn party(&self, kind: Kind) -> &Party {
        match kind {
            Kind::Access => &self.access,
            Kind::Customer => &self.customer,
            Kind::Cart => &self.cart,
        }
    }
}

impl Party {
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

/// Checks tokens as the function does, by key sets that a test can change.
struct Doorkeeper(Authenticator);

impl Doorkeeper {
    fn usual() -> Self {
        Self::with(Kind::Access, FIXTURES.access.public_keys())
    }

    /// With another key set for one kind of token.
    fn with(kind: Kind, keys: Vec<Value>) -> Self {
        let policy = |this| {
            let party = FIXTURES.party(this);
            let keys = if this == kind {
                keys.clone()
            } else {
                party.public_keys()
            };
            policy(party, &keys)
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

    async fn sees(&self, kind: Kind, token: &str) -> Result<Grant, AuthError> {
        self.sees_for(CART, kind, token, now()).await
    }

    /// A request for a cart. With a customer token comes a good access token, with a
    /// cart token both others.
    async fn sees_for(
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

    async fn believes(&self, good: &Good) {
        let cart = match good.kind {
            Kind::Access | Kind::Customer => CART,
            Kind::Cart => &good.subject,
        };
        let grant = self.sees_for(cart, good.kind, &good.token, now()).await;
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

    /// Refuses the token, and no other. Returns the fault's name.
    async fn refuses(&self, kind: Kind, name: &str, token: &str) -> &'static str {
        match self.sees(kind, token).await {
            Err(AuthError::InvalidToken { kind: of, fault }) => {
                assert_eq!(of, kind.token_kind(), "{name}");
                fault.name()
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

fn policy(party: &Party, keys: &[Value]) -> TokenPolicy {
    TokenPolicy {
        keys: KeySource::Inline(KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap()),
        expected: Expected {
            issuer: party.issuer.clone(),
            audience: party.audience.clone(),
        },
    }
}

#[test]
fn every_case_has_a_name_of_its_own() {
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
async fn every_good_token_is_believed() {
    for good in good() {
        let mut keys = FIXTURES.party(good.kind).public_keys();
        if let Some(only) = &good.only_key {
            keys.retain(|key| key["kid"] == json!(only));
        }
        Doorkeeper::with(good.kind, keys).believes(&good).await;
    }
}

/// An RSA key without `alg` is one of RS256, which every issuer supports.
#[tokio::test]
async fn every_good_token_but_those_of_ps256_is_believed_by_keys_without_alg() {
    for good in good() {
        let mut keys = FIXTURES.party(good.kind).public_keys();
        if let Some(only) = &good.only_key {
            keys.retain(|key| key["kid"] == json!(only));
        }
        for key in &mut keys {
            key.as_object_mut().unwrap().remove("alg");
        }
        let doorkeeper = Doorkeeper::with(good.kind, keys);
        if good.name.contains("PS256") {
            let fault = doorkeeper.refuses(good.kind, &good.name, &good.token).await;
            assert_eq!(fault, "unknown_key", "{}", good.name);
        } else {
            doorkeeper.believes(&good).await;
        }
    }
}

#[tokio::test]
async fn every_hostile_token_is_refused_for_what_is_wrong_with_it() {
    let doorkeeper = Doorkeeper::usual();
    let mut wrong = Vec::new();
    for Group {
        kind,
        why,
        fault,
        cases,
    } in hostile()
    {
        for Case { name, token } in cases {
            match doorkeeper.sees(kind, &token).await {
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

/// A kind's set knows nothing of another's keys, also where both name them alike.
#[tokio::test]
async fn ids_that_two_sets_have_do_not_confuse_their_keys() {
    for kind in Kind::ALL {
        for other in kind.others() {
            let mut keys = FIXTURES.party(kind).public_keys();
            let names = FIXTURES.party(other).public_keys();
            for (key, other) in keys.iter_mut().zip(names) {
                key["kid"] = other["kid"].clone();
            }
            let doorkeeper = Doorkeeper::with(kind, keys);
            for Case { name, token } in hostile_tokens(kind) {
                doorkeeper.refuses(kind, &name, &token).await;
            }
        }
    }
}

#[tokio::test]
async fn a_token_of_one_kind_is_none_of_another_even_where_they_share_all_keys() {
    let keys = Kind::ALL.map(|kind| FIXTURES.party(kind).public_keys());
    for kind in Kind::ALL {
        let doorkeeper = Doorkeeper::with(kind, keys.concat());
        for good in usual().filter(|good| good.kind == kind) {
            doorkeeper.believes(&good).await;
        }
        for good in usual().filter(|good| good.kind != kind) {
            let fault = doorkeeper.refuses(kind, &good.name, &good.token).await;
            assert_eq!(fault, "issuer", "{}", good.name);
        }
    }
}

#[tokio::test]
async fn no_bit_of_a_good_token_can_be_changed() {
    let doorkeeper = Doorkeeper::usual();
    for Good {
        name, kind, token, ..
    } in one_of_each()
    {
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            let Some(value) = LETTERS.iter().position(|letter| *letter == changed[at]) else {
                continue;
            };
            changed[at] = LETTERS[value ^ (1 << (at % 6))];
            let changed = String::from_utf8(changed).unwrap();
            let name = format!("{name}, changed at {at}");
            doorkeeper.refuses(kind, &name, &changed).await;
        }
    }
}

#[tokio::test]
async fn nothing_can_be_cut_off_a_good_token_or_put_before_after_or_into_it() {
    let doorkeeper = Doorkeeper::usual();
    for Good {
        name, kind, token, ..
    } in one_of_each()
    {
        for end in 0..token.len() {
            doorkeeper.refuses(kind, &name, &token[..end]).await;
            doorkeeper.refuses(kind, &name, &token[end + 1..]).await;
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
            doorkeeper.refuses(kind, &name, &changed).await;
        }
    }
}

#[tokio::test]
async fn a_good_token_ends_half_a_minute_after_its_time() {
    let doorkeeper = Doorkeeper::usual();
    for Good {
        name, kind, token, ..
    } in one_of_each()
    {
        let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap());
        let claims: Value = serde_json::from_slice(&claims.unwrap()).unwrap();
        let expires = Timestamp::from_millis(claims["exp"].as_u64().unwrap() * 1000);
        let end = expires.plus(CLOCK_SKEW).millis();
        assert_eq!(CLOCK_SKEW, Duration::from_secs(30));
        // The tokens beside it end at the same time.
        for (at, good) in [
            (end - 1, true),
            (end, false),
            (end + 1, false),
            (u64::MAX, false),
            // More than ten years ahead of its end.
            (0, false),
        ] {
            let seen = doorkeeper
                .sees_for(CART, kind, &token, Timestamp::from_millis(at))
                .await;
            assert_eq!(seen.is_ok(), good, "{name} at {at}: {seen:?}");
        }
    }
}

/// What an issuer publishes by mistake must not open the door to others.
#[tokio::test]
async fn keys_that_nobody_should_trust_verify_nothing_and_do_not_harm_the_others() {
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
            let keys = [vec![jwk.clone()], FIXTURES.party(kind).public_keys()].concat();
            let doorkeeper = Doorkeeper::with(kind, keys);
            match doorkeeper.sees(kind, &token).await {
                Err(AuthError::InvalidToken {
                    kind: of,
                    fault: found,
                }) if of == kind.token_kind() && found.name() == fault => {}
                other => wrong.push(format!("{name}: {other:?}, not {fault}. {why}")),
            }
            for good in usual().filter(|good| good.kind == kind) {
                doorkeeper.believes(&good).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A world that trusts the keys of the fixtures, at their time.
async fn world(access_keys: &str) -> World {
    let Fixtures {
        access,
        customer,
        cart,
        ..
    } = &*FIXTURES;
    let keys = |party: &Party| json!({ "keys": party.public_keys() }).to_string();
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

async fn send(world: &World, cart: &str, kind: Kind, token: &str) -> Answer {
    let mut call = world.post(cart);
    for this in Kind::ALL
        .into_iter()
        .filter(|this| kind != Kind::Access || *this == kind)
    {
        let token = if this == kind {
            token
        } else {
            good_token(this)
        };
        call = match this {
            Kind::Access => call.bearer(token),
            Kind::Customer => call.customer_token(token),
            Kind::Cart => call.cart_token(token),
        };
    }
    call.body(linkage(&[RON])).send().await
}

/// Sends the whole corpus to the handler, then what is good.
async fn the_answer_is_the_same_to_the_byte(world: &World) {
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
        for Case { name, token } in hostile_tokens(kind) {
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

    for good in usual().filter(|good| good.kind != Kind::Customer || good.subject == RON) {
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
async fn the_answer_to_every_hostile_token_is_the_same_to_the_byte_and_nothing_is_written() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    the_answer_is_the_same_to_the_byte(&world(&keys).await).await;
}

#[tokio::test]
async fn so_it_is_with_keys_from_a_url_which_is_asked_once_more_and_not_again() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    let server = KeyServer::start(&keys).await;
    let world = world(&server.url).await;
    the_answer_is_the_same_to_the_byte(&world).await;
    assert_eq!(server.asked(), 2, "at the start, and for an unknown key");
}

#[tokio::test]
async fn a_url_in_a_token_is_never_asked() {
    let theirs = KeyServer::start(&authorities().access.key.jwks().unwrap()).await;
    let world = World::new().await;
    let claims = authorities()
        .access
        .access_token("shop", "client_credentials");
    let claims = URL_SAFE_NO_PAD.decode(claims.unwrap().split('.').nth(1).unwrap());
    let claims = String::from_utf8(claims.unwrap()).unwrap();
    for name in ["jku", "x5u", "kid", "iss", "typ", "jwks_uri"] {
        let mut header = json!({ "alg": "ES256", "kid": "another" });
        header[name] = json!(theirs.url);
        let key = &authorities().access.key;
        let token = key.sign(&header.to_string(), &claims).unwrap();
        let call = world.post("cart-1").bearer(&token).body(linkage(&[RON]));
        call.send().await.refused(401, "invalid_access_token");
    }
    assert_eq!(theirs.asked(), 0);
}

fn shows_no_token(shown: &dyn std::fmt::Debug) {
    for text in [format!("{shown:?}"), format!("{shown:#?}")] {
        for part in
            usual().flat_map(|good| good.token.split('.').map(str::to_owned).collect::<Vec<_>>())
        {
            assert!(!text.contains(&part), "{text}");
        }
    }
}

#[tokio::test]
async fn debug_of_what_holds_a_token_shows_none() {
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
        shows_no_token(&request);
        let request = request.route().unwrap();
        shows_no_token(&request);
        let credentials = request.credentials();
        shows_no_token(&credentials);
        shows_no_token(&credentials.access_token);
        assert_eq!(format!("{:?}", credentials.access_token), "Token(_)");
        shows_no_token(&request.operation());
    }

    let doorkeeper = Doorkeeper::usual();
    for good in one_of_each() {
        for kind in Kind::ALL {
            shows_no_token(&doorkeeper.sees(kind, &good.token).await);
        }
    }
    shows_no_token(&doorkeeper.0);
}

#[tokio::test]
async fn debug_of_what_saw_tokens_shows_none() {
    let keys = json!({ "keys": FIXTURES.access.public_keys() }).to_string();
    let server = KeyServer::start(&keys).await;
    for keys in [&keys, &server.url] {
        let world = world(keys).await;
        for good in one_of_each() {
            for kind in Kind::ALL {
                send(&world, CART, kind, &good.token).await;
            }
        }
        shows_no_token(world.app());
        let config = Config::from_lookup(|name| world.env().get(name).cloned()).unwrap();
        shows_no_token(&config.access_tokens);
        shows_no_token(&config);
    }
}
