//! Tokens from other implementations: good ones, which the function must accept,
//! and hostile ones, which it must refuse.
//!
//! They are in `tokens/`, with the keys that signed them. `tokens/make.py` generates
//! them. The clock of these tests stands still, so the tokens never expire.

use std::collections::BTreeMap;
use std::sync::LazyLock;
use std::time::Duration;

use cart_associations::auth::{AuthError, Authenticator, Caller, CartProof, TokenKind};
use cart_associations::clock::{Clock, Timestamp};
use cart_associations::ids::{Party, PartyKind};
use dev::environment::Environment;
use dev::key_server::KeyServer;
use lambda_http::http::{HeaderMap, HeaderValue};
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::credentials::{ONE_TOKEN, authenticator};
use crate::support::answer::Answer;
use crate::support::{RON, World, environment, linkage};

const KINDS: [TokenKind; 4] = [
    TokenKind::Access,
    TokenKind::Party(PartyKind::Customer),
    TokenKind::Party(PartyKind::Account),
    TokenKind::Cart,
];

/// The alphabet of base64url.
const BASE64URL: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// The cart of most requests, and of most cart tokens.
const CART: &str = "cart-1";

#[derive(Deserialize)]
struct Fixtures {
    /// The time of the tests, in seconds since the epoch.
    now: u64,
    /// The issuer of each kind of token.
    issuers: BTreeMap<String, TrustedIssuer>,
}

#[derive(Deserialize)]
struct TrustedIssuer {
    issuer: String,
    audience: String,
    /// The claim that names somebody.
    id_claim: String,
    keys: Vec<Value>,
}

#[derive(Deserialize)]
struct GoodToken {
    name: String,
    #[serde(deserialize_with = "kind")]
    kind: TokenKind,
    subject: String,
    token: String,
    /// The id of the key, if the token is accepted only with a set of that one key.
    only_key: Option<String>,
}

/// Hostile tokens of one kind and one reason, by their names.
#[derive(Deserialize)]
struct Hostile {
    /// A key that allows others than its owner to sign, if that made the tokens.
    jwk: Option<Value>,
    #[serde(deserialize_with = "kind")]
    kind: TokenKind,
    /// The name of the refusal.
    fault: String,
    why: String,
    tokens: BTreeMap<String, String>,
}

fn kind<'de, D: Deserializer<'de>>(name: D) -> Result<TokenKind, D::Error> {
    let name = String::deserialize(name)?;
    let kind = KINDS.into_iter().find(|kind| kind.name() == name);
    Ok(kind.unwrap())
}

static FIXTURES: LazyLock<Fixtures> =
    LazyLock::new(|| serde_json::from_str(include_str!("tokens/keys.json")).unwrap());

fn good() -> Vec<GoodToken> {
    serde_json::from_str(include_str!("tokens/good.json")).unwrap()
}

fn hostile() -> Vec<Hostile> {
    serde_json::from_str(include_str!("tokens/hostile.json")).unwrap()
}

/// The good tokens that are accepted with all keys in the sets.
fn good_for_full_sets() -> impl Iterator<Item = GoodToken> {
    good().into_iter().filter(|good| good.only_key.is_none())
}

/// One good token for each algorithm and kind, all from the same implementation.
fn one_of_each() -> impl Iterator<Item = GoodToken> {
    good_for_full_sets().filter(|good| good.name.ends_with("by PyCryptodome"))
}

/// A good token to send beside another one.
fn good_token(kind: TokenKind) -> String {
    static TOKENS: LazyLock<Vec<GoodToken>> = LazyLock::new(|| good_for_full_sets().collect());
    let mut tokens = TOKENS.iter();
    let first = tokens.find(|good| good.kind == kind);
    first.unwrap().token.clone()
}

fn now() -> Timestamp {
    Timestamp::from_millis(FIXTURES.now * 1000)
}

impl GoodToken {
    /// The keys of its issuer, or the only one with which the token is accepted.
    fn keys(&self) -> Vec<Value> {
        let mut keys = keys_of(self.kind);
        let only = self.only_key.as_deref();
        keys.retain(|key| only.is_none() || key["kid"].as_str() == only);
        keys
    }
}

fn keys_of(kind: TokenKind) -> Vec<Value> {
    FIXTURES.issuers[kind.name()].keys.clone()
}

fn key_set(keys: &[Value]) -> String {
    json!({ "keys": keys }).to_string()
}

/// The environment of a function that trusts the issuers of the fixtures, with these
/// variables besides.
fn trusting(variables: &[(&str, &str)]) -> Environment {
    let mut env = environment(&[]);
    for (kind, issuer) in &FIXTURES.issuers {
        let kind = kind.to_uppercase();
        env.insert(format!("{kind}_TOKEN_JWKS"), key_set(&issuer.keys));
        env.insert(format!("{kind}_TOKEN_ISSUER"), issuer.issuer.clone());
        env.insert(format!("{kind}_TOKEN_AUDIENCE"), issuer.audience.clone());
    }
    let account = &FIXTURES.issuers["account"];
    env.insert("ACCOUNT_ID_CLAIM".to_owned(), account.id_claim.clone());
    let variables = variables.iter();
    env.extend(variables.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
    env
}

/// The function's authenticator, which trusts the issuers of the fixtures.
struct Verifier(Authenticator);

impl Verifier {
    fn with(variables: &[(&str, &str)]) -> Self {
        let env = trusting(variables);
        Self(authenticator(&env, &Clock::from_fn(now)))
    }

    /// A verifier with another key set for one kind of token.
    fn with_keys(kind: TokenKind, keys: &[Value]) -> Self {
        let name = format!("{}_TOKEN_JWKS", kind.name().to_uppercase());
        Self::with(&[(&name, &key_set(keys))])
    }

    /// Authenticates a request for a cart. It has a good access token beside another
    /// one, and a good account token beside a cart token.
    async fn authenticate_for(
        &self,
        cart: &str,
        kind: TokenKind,
        token: &str,
        at: Timestamp,
    ) -> Result<(Caller, CartProof), AuthError> {
        let mut headers = HeaderMap::new();
        let mut send = |kind: TokenKind, token: &str| {
            let is_access = kind == TokenKind::Access;
            let scheme = if is_access { "Bearer " } else { "" };
            let value = header_value(&format!("{scheme}{token}"));
            headers.insert(kind.header(), value);
        };
        send(TokenKind::Access, &good_token(TokenKind::Access));
        if kind == TokenKind::Cart {
            let account = TokenKind::Party(PartyKind::Account);
            send(account, &good_token(account));
        }
        send(kind, token);
        let soon = Instant::now() + Duration::from_secs(1);
        let caller = self.0.authenticate(&headers, at, soon).await?;
        let proof = self.0.prove_cart(&caller, &headers, cart, at, soon).await?;
        Ok((caller, proof))
    }

    async fn assert_accepted(&self, good: &GoodToken) {
        let (name, kind, subject) = (&*good.name, good.kind, &*good.subject);
        let is_of_cart = kind == TokenKind::Cart;
        let cart = if is_of_cart { subject } else { CART };
        let authenticate = |cart| self.authenticate_for(cart, kind, &good.token, now());
        let authenticated = authenticate(cart).await;
        let (caller, proof) = authenticated.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        match kind {
            TokenKind::Access => {
                assert_eq!(caller.client(), subject, "{name}");
                assert_eq!(caller.name(), "back_end", "{name}");
            }
            TokenKind::Party(kind) => {
                let party = Party::new(kind, subject).unwrap();
                assert_eq!(caller.party(), Ok(&party), "{name}");
                let has_member = kind == PartyKind::Account && !name.contains("no sub");
                let member = has_member.then_some("member-1");
                assert_eq!(caller.acted_by(), member, "{name}");
            }
            TokenKind::Cart => {
                assert_eq!(proof, CartProof::Given, "{name}");
                assert!(authenticate("another").await.is_err(), "{name}");
            }
        }
    }

    /// Returns why this token is refused, or what happens instead: it is accepted, or one
    /// beside it is refused.
    async fn refusal(&self, kind: TokenKind, token: &str) -> Result<&'static str, String> {
        match self.authenticate_for(CART, kind, token, now()).await {
            Err(AuthError::InvalidToken { kind: of, refusal }) if of == kind => Ok(refusal.name()),
            other => Err(format!("{other:?}")),
        }
    }
}

/// The value of a header, with what stands in for control characters, which HTTP does
/// not allow.
fn header_value(text: &str) -> HeaderValue {
    let value = HeaderValue::from_bytes(text.as_bytes());
    value.unwrap_or_else(|_| HeaderValue::from_bytes(b"\xff").unwrap())
}

/// Configurations that accept the same tokens.
fn configurations() -> [Environment; 5] {
    let each = |name: &str, value: fn(&TrustedIssuer) -> String| {
        let issuers = FIXTURES.issuers.iter();
        let variable = |(kind, issuer): (&String, &TrustedIssuer)| {
            (
                format!("{}_TOKEN_{name}", kind.to_uppercase()),
                value(issuer),
            )
        };
        let mut env = trusting(&[]);
        env.extend(issuers.map(variable));
        env
    };
    let access = &FIXTURES.issuers["access"].issuer;
    let back_ends = [
        ("BACK_END_CLAIM", "grant_type,iss"),
        ("BACK_END_VALUES", &format!("client_credentials,{access}")),
    ];
    [
        trusting(&[]),
        trusting(&ONE_TOKEN),
        trusting(&back_ends),
        each("AUDIENCE", |of| format!("another,{},one more", of.audience)),
        each("CLAIMS", |of| {
            json!({ "iss": ["another", of.issuer], "token_use": null }).to_string()
        }),
    ]
}

/// RSA keys without `alg` are for RS256, which every issuer supports.
#[tokio::test]
async fn every_good_token_is_accepted_and_without_alg_in_the_keys_all_but_ps256() {
    for good in good() {
        let mut keys = good.keys();
        let verifier = Verifier::with_keys(good.kind, &keys);
        verifier.assert_accepted(&good).await;
        for key in &mut keys {
            key.as_object_mut().unwrap().remove("alg");
        }
        let verifier = Verifier::with_keys(good.kind, &keys);
        if good.name.contains("PS256") {
            let refusal = verifier.refusal(good.kind, &good.token).await;
            assert_eq!(refusal, Ok("unknown_key"), "{}", good.name);
        } else {
            verifier.assert_accepted(&good).await;
        }
    }
}

#[tokio::test]
async fn every_hostile_token_is_refused_for_the_expected_reason() {
    let mut wrong = Vec::new();
    for env in configurations() {
        let has_customers = !env["CUSTOMER_TOKEN_JWKS"].is_empty();
        let verifier = Verifier(authenticator(&env, &Clock::from_fn(now)));
        let is_unconfigured = |kind: TokenKind| kind.name() == "customer" && !has_customers;
        // They are in the caches after that, and some of them are hostile as another kind.
        for good in good_for_full_sets().filter(|good| !is_unconfigured(good.kind)) {
            verifier.assert_accepted(&good).await;
        }
        for hostile in hostile() {
            let Hostile { kind, why, .. } = hostile;
            for (name, token) in hostile.tokens {
                let expected = match kind {
                    kind if is_unconfigured(kind) => "not_configured",
                    _ if header_value(&token) != *token => "not_one_token",
                    _ => &hostile.fault,
                };
                let refusal = verifier.refusal(kind, &token).await;
                if refusal.as_deref() != Ok(expected) {
                    wrong.push(format!("{name}: {refusal:?}, not {expected}. {why}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn a_good_token_with_any_change_is_refused() {
    const PIECES: [&str; 17] = [
        "A", "AAAA", "=", "==", ".", " ", "\t", "-", "+", "/", "\"", ",", "é", "\u{a0}",
        "\u{feff}", "%2E", "%00",
    ];
    let verifier = Verifier::with(&[]);
    for good in one_of_each() {
        let token = &*good.token;
        let mut changed = Vec::new();
        for end in 1..token.len() {
            changed.extend([token[..end].to_owned(), token[end..].to_owned()]);
        }
        for (at, letter) in token.bytes().enumerate() {
            // One bit of what the letter encodes.
            if let Some(value) = BASE64URL.iter().position(|other| *other == letter) {
                let other = char::from(BASE64URL[value ^ (1 << (at % 6))]);
                changed.push(format!("{}{other}{}", &token[..at], &token[at + 1..]));
            }
        }
        let dot = token.find('.').unwrap();
        for at in [0, 1, dot, dot + 1, token.len() - 1, token.len()] {
            changed.extend(PIECES.map(|piece| format!("{}{piece}{}", &token[..at], &token[at..])));
        }
        // HTTP does not count white space around a value.
        changed.retain(|changed| changed.trim_matches([' ', '\t']) != token);
        for changed in changed {
            let refusal = verifier.refusal(good.kind, &changed).await;
            assert!(refusal.is_ok(), "{}: {changed:?}: {refusal:?}", good.name);
        }
    }
}

#[tokio::test]
async fn a_good_token_that_was_verified_is_refused_30_seconds_after_its_exp() {
    let verifier = Verifier::with(&[]);
    // They all expire an hour after the time of the tests.
    let end = now().millis() + (60 * 60 + 30) * 1000;
    // The last time is more than ten years before `exp`.
    let times = [(end - 1, true), (end, false), (u64::MAX, false), (0, false)];
    for good in one_of_each() {
        for (at, is_good) in times {
            let then = Timestamp::from_millis(at);
            let result = verifier.authenticate_for(CART, good.kind, &good.token, then);
            let result = result.await;
            assert_eq!(result.is_ok(), is_good, "{} at {at}: {result:?}", good.name);
        }
    }
}

/// An issuer may publish such keys by mistake.
#[tokio::test]
async fn weak_keys_verify_nothing_and_do_not_affect_other_keys() {
    let tokens = include_str!("tokens/weak_keys.json");
    for weak in serde_json::from_str::<Vec<Hostile>>(tokens).unwrap() {
        let keys = [vec![weak.jwk.unwrap()], keys_of(weak.kind)].concat();
        let verifier = Verifier::with_keys(weak.kind, &keys);
        for (name, token) in &weak.tokens {
            let refusal = verifier.refusal(weak.kind, token).await;
            assert_eq!(refusal, Ok(&*weak.fault), "{name}: {}", weak.why);
        }
        for good in good_for_full_sets().filter(|good| good.kind == weak.kind) {
            verifier.assert_accepted(&good).await;
        }
    }
}

/// A world with the keys and the time of the fixtures.
async fn world(access_keys: &str) -> World {
    let env = trusting(&[("ACCESS_TOKEN_JWKS", access_keys)]);
    let variables = env
        .iter()
        .filter(|(name, _)| name.contains("TOKEN") || name.contains("CLAIM"));
    let variables = variables.map(|(name, value)| (&**name, &**value));
    World::at(now(), &variables.collect::<Vec<_>>()).await
}

/// Sends an access token alone, and other tokens with good ones: an access token, and a
/// customer token beside a cart token.
async fn send(world: &World, cart: &str, kind: TokenKind, token: &str) -> Answer {
    let mut call = world.post(cart).body(linkage(&[RON]));
    call = match kind {
        TokenKind::Access => call.bearer(token),
        _ => call.bearer(&good_token(TokenKind::Access)),
    };
    if kind == TokenKind::Cart {
        let customer = TokenKind::Party(PartyKind::Customer);
        call = call.customer_token(&good_token(customer));
    }
    if kind != TokenKind::Access {
        call = call.header(kind.header(), token);
    }
    call.send().await
}

/// All hostile tokens of a kind get the same answer, to the byte. The key server is asked
/// at the start, and once for unknown keys.
#[tokio::test]
async fn every_hostile_token_gets_the_same_answer_and_nothing_is_written() {
    let server = KeyServer::start(&key_set(&keys_of(TokenKind::Access))).await;
    let world = world(&server.url).await;
    let challenge = Some("Bearer error=\"invalid_token\"");
    for kind in KINDS {
        let mut answers = Vec::new();
        let of_kind = hostile().into_iter().filter(|hostile| hostile.kind == kind);
        for (name, token) in of_kind.flat_map(|hostile| hostile.tokens) {
            let answer = send(&world, CART, kind, &token).await;
            let source = answer.refused(401, &format!("invalid_{}_token", kind.name()));
            assert_eq!(source, json!({ "header": kind.header() }), "{name}");
            assert_eq!(answer.header("www-authenticate"), challenge, "{name}");
            answers.push(answer);
        }
        assert!(answers.len() > 500);
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
    assert!(world.stored().await.is_empty());

    for good in good_for_full_sets() {
        let (cart, status) = match good.kind {
            TokenKind::Access => (CART, [200, 204]),
            TokenKind::Party(PartyKind::Customer) if good.subject == RON => (CART, [200, 403]),
            TokenKind::Party(_) => (CART, [403, 403]),
            TokenKind::Cart => (&*good.subject, [200, 204]),
        };
        let answer = send(&world, cart, good.kind, &good.token).await;
        assert!(status.contains(&answer.status), "{}: {answer:?}", good.name);
    }
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn debug_output_contains_no_token() {
    // One key set comes from a URL, the others are in the configuration.
    let server = KeyServer::start(&key_set(&keys_of(TokenKind::Access))).await;
    let verifier = Verifier::with(&[("ACCESS_TOKEN_JWKS", &server.url)]);
    let mut authenticated = Vec::new();
    for good in one_of_each() {
        for kind in KINDS {
            let result = verifier.authenticate_for(CART, kind, &good.token, now());
            authenticated.push(result.await);
        }
    }
    let text = format!("{authenticated:?} {:?}", verifier.0);
    for good in good_for_full_sets() {
        for part in good.token.split('.') {
            assert!(!text.contains(part), "{text}");
        }
    }
}
