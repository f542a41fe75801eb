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
    AuthError, Authenticator, BackEnds, Caller, CartProof, Expected, KeySet, KeySource,
    RequiredClaims, TokenKind, TokenPolicies, TokenPolicy,
};
use cart_associations::client::{Client, TrustedRoots};
use cart_associations::clock::{CLOCK_SKEW, Clock, Timestamp};
use cart_associations::config::Config;
use cart_associations::ids::{Party, PartyKind};
use dev::key_server::KeyServer;
use lambda_http::http::{HeaderMap, HeaderValue};
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
    account: TrustedIssuer,
    cart: TrustedIssuer,
}

/// The issuer of one kind of token.
#[derive(Deserialize)]
struct TrustedIssuer {
    issuer: String,
    audience: String,
    /// The claim that names somebody.
    id_claim: String,
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
    Account,
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
    let groups = hostile().into_iter();
    let groups = groups.filter(move |group| group.kind == kind);
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
    static TOKENS: LazyLock<[String; 4]> = LazyLock::new(|| {
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
            Kind::Account => &self.account,
            Kind::Cart => &self.cart,
        }
    }
}

impl GoodToken {
    /// The keys of its issuer, or the only one with which the token is accepted.
    fn keys(&self) -> Vec<Value> {
        let mut keys = FIXTURES.issuer(self.kind).public_keys();
        keys.retain(|key| {
            self.only_key
                .as_ref()
                .is_none_or(|only| key["kid"] == **only)
        });
        keys
    }
}

impl TrustedIssuer {
    fn public_keys(&self) -> Vec<Value> {
        self.keys.iter().map(|pair| pair.public.clone()).collect()
    }
}

impl Kind {
    const ALL: [Self; 4] = [Self::Access, Self::Customer, Self::Account, Self::Cart];

    fn others(self) -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(move |kind| *kind != self)
    }

    fn token_kind(self) -> TokenKind {
        match self {
            Self::Access => TokenKind::Access,
            Self::Customer => TokenKind::Party(PartyKind::Customer),
            Self::Account => TokenKind::Party(PartyKind::Account),
            Self::Cart => TokenKind::Cart,
        }
    }
}

/// The function's authenticator with the keys of the fixtures.
struct Verifier(Authenticator);

impl Verifier {
    fn new() -> Self {
        Self::of(policies())
    }

    fn of(policies: TokenPolicies) -> Self {
        let client = Client::new(&TrustedRoots::built_in(), Duration::from_secs(1));
        Self(Authenticator::new(policies, &client, &Clock::from_fn(now)))
    }

    /// A verifier with another key set for one kind of token.
    fn with(kind: Kind, keys: &[Value]) -> Self {
        let mut policies = policies();
        let policy = match kind {
            Kind::Access => Some(&mut policies.access),
            Kind::Customer => policies.customer.as_mut(),
            Kind::Account => policies.account.as_mut(),
            Kind::Cart => policies.cart.as_mut(),
        };
        policy.unwrap().keys = key_source(keys);
        Self::of(policies)
    }

    async fn authenticate(&self, kind: Kind, token: &str) -> Result<Caller, AuthError> {
        let authenticated = self.authenticate_for(CART, kind, token, now()).await;
        authenticated.map(|(caller, _)| caller)
    }

    /// Authenticates a request for a cart. It has a good access token beside another
    /// one, and a good account token beside a cart token.
    async fn authenticate_for(
        &self,
        cart: &str,
        kind: Kind,
        token: &str,
        at: Timestamp,
    ) -> Result<(Caller, CartProof), AuthError> {
        let mut headers = HeaderMap::new();
        let mut send = |kind: Kind, token: &str| {
            let scheme = if kind == Kind::Access { "Bearer " } else { "" };
            let value = header_value(&format!("{scheme}{token}"));
            headers.insert(kind.token_kind().header(), value);
        };
        send(Kind::Access, good_token(Kind::Access));
        if kind == Kind::Cart {
            send(Kind::Account, good_token(Kind::Account));
        }
        send(kind, token);
        let soon = Instant::now() + Duration::from_secs(1);
        let caller = self.0.authenticate(&headers, at, soon).await?;
        let proof = self.0.prove_cart(&caller, &headers, cart, at, soon).await?;
        Ok((caller, proof))
    }

    async fn assert_accepted(&self, good: &GoodToken) {
        let (name, kind) = (&good.name, &good.kind);
        let (subject, token) = (&good.subject, &good.token);
        let cart = if *kind == Kind::Cart { subject } else { CART };
        let authenticated = self.authenticate_for(cart, *kind, token, now()).await;
        let (caller, proof) = authenticated.unwrap_or_else(|error| panic!("{name}: {error:?}"));
        let party = |kind| Ok(Party::new(kind, subject).unwrap());
        match kind {
            Kind::Access => {
                assert_eq!(caller.client(), subject, "{name}");
                assert_eq!(caller.name(), "back_end", "{name}");
            }
            Kind::Customer => {
                let expected = party(PartyKind::Customer);
                assert_eq!(caller.party().cloned(), expected, "{name}");
                assert_eq!(caller.acted_by(), None, "{name}");
            }
            Kind::Account => {
                let expected = party(PartyKind::Account);
                assert_eq!(caller.party().cloned(), expected, "{name}");
                let member = (!name.contains("no sub")).then_some("member-1");
                assert_eq!(caller.acted_by(), member, "{name}");
            }
            Kind::Cart => {
                assert_eq!(proof, CartProof::Given, "{name}");
                let another = self.authenticate_for("another", *kind, token, now()).await;
                assert!(another.is_err(), "{name}");
            }
        }
    }

    /// Returns whether this token is refused for this reason, or what happens instead.
    async fn is_refused(&self, kind: Kind, token: &str, reason: &str) -> Result<(), String> {
        match self.authenticate(kind, token).await {
            Err(AuthError::InvalidToken { kind: of, refusal })
                if of == kind.token_kind() && refusal.name() == reason =>
            {
                Ok(())
            }
            other => Err(format!("{other:?}, not {reason}.")),
        }
    }

    /// Asserts that this token is refused, not one sent with it. Returns the name of
    /// the refusal.
    async fn assert_refused(&self, kind: Kind, name: &str, token: &str) -> &'static str {
        match self.authenticate(kind, token).await {
            Err(AuthError::InvalidToken { kind: of, refusal }) => {
                assert_eq!(of, kind.token_kind(), "{name}");
                refusal.name()
            }
            other => panic!("{name}: {other:?}"),
        }
    }
}

/// The value of a header, with what stands in for control characters, which HTTP does
/// not allow.
fn header_value(text: &str) -> HeaderValue {
    let value = HeaderValue::from_bytes(text.as_bytes());
    value.unwrap_or_else(|_| HeaderValue::from_bytes(b"\xff").unwrap())
}

fn key_source(keys: &[Value]) -> KeySource {
    KeySource::Inline(KeySet::parse(&json!({ "keys": keys }).to_string()).unwrap())
}

/// The usual configuration of the fixtures' issuers.
fn policies() -> TokenPolicies {
    let policy = |kind| {
        let issuer = FIXTURES.issuer(kind);
        TokenPolicy {
            keys: key_source(&issuer.public_keys()),
            expected: Expected {
                issuer: issuer.issuer.clone(),
                audiences: vec![issuer.audience.clone()],
                claims: RequiredClaims::default(),
            },
        }
    };
    TokenPolicies {
        access: policy(Kind::Access),
        customer: Some(policy(Kind::Customer)),
        account: Some(policy(Kind::Account)),
        cart: Some(policy(Kind::Cart)),
        back_ends: BackEnds {
            claims: vec!["grant_type".to_owned()],
            values: vec!["client_credentials".to_owned()],
        },
        customer_id_claim: FIXTURES.customer.id_claim.clone(),
        account_id_claim: FIXTURES.account.id_claim.clone(),
    }
}

/// Other configurations, which accept the same tokens.
fn configurations() -> Vec<TokenPolicies> {
    let expected = |policies: &mut TokenPolicies, change: fn(&mut Expected)| {
        change(&mut policies.access.expected);
        for policy in [
            &mut policies.customer,
            &mut policies.account,
            &mut policies.cart,
        ] {
            change(&mut policy.as_mut().unwrap().expected);
        }
    };
    let mut more_audiences = policies();
    expected(&mut more_audiences, |expected| {
        expected.audiences.insert(0, "another".to_owned());
        expected.audiences.push("one more".to_owned());
    });
    let mut required_claims = policies();
    expected(&mut required_claims, |expected| {
        let claims = json!({ "iss": ["another", expected.issuer], "token_use": null });
        expected.claims = RequiredClaims::parse(&claims.to_string()).unwrap();
    });
    let mut one_token = policies();
    one_token.customer = None;
    let mut back_ends = policies();
    back_ends.back_ends.claims.push("iss".to_owned());
    let values = &mut back_ends.back_ends.values;
    values.push(FIXTURES.access.issuer.clone());
    vec![more_audiences, required_claims, one_token, back_ends]
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
        let verifier = Verifier::with(good.kind, &good.keys());
        verifier.assert_accepted(&good).await;
    }
}

/// RSA keys without `alg` are for RS256, which every issuer supports.
#[tokio::test]
async fn keys_without_alg_accept_every_good_token_except_ps256() {
    for good in good() {
        let mut keys = good.keys();
        for key in &mut keys {
            key.as_object_mut().unwrap().remove("alg");
        }
        let verifier = Verifier::with(good.kind, &keys);
        if good.name.contains("PS256") {
            let refused = verifier.assert_refused(good.kind, &good.name, &good.token);
            assert_eq!(refused.await, "unknown_key", "{}", good.name);
        } else {
            verifier.assert_accepted(&good).await;
        }
    }
}

#[tokio::test]
async fn every_hostile_token_is_refused_for_the_expected_reason() {
    let mut wrong = Vec::new();
    for policies in configurations().into_iter().chain([policies()]) {
        let has_customers = policies.customer.is_some();
        let verifier = Verifier::of(policies);
        let good = good_for_full_sets().filter(|good| has_customers || good.kind != Kind::Customer);
        for good in good {
            verifier.assert_accepted(&good).await;
        }
        for group in hostile() {
            for HostileToken { name, token } in group.cases {
                let expected = match group.kind {
                    Kind::Customer if !has_customers => "not_configured",
                    _ if header_value(&token) != token => "not_one_token",
                    _ => &group.fault,
                };
                let refused = verifier.is_refused(group.kind, &token, expected).await;
                wrong.extend(
                    refused
                        .err()
                        .map(|why| format!("{name}: {why} {}", group.why)),
                );
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
            let verifier = Verifier::with(kind, &keys);
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
        let verifier = Verifier::with(kind, &keys.concat());
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
    for good in one_of_each() {
        let (name, kind, token) = (good.name, good.kind, good.token);
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
    for good in one_of_each() {
        let (name, kind, token) = (good.name, good.kind, good.token);
        for end in 1..token.len() {
            verifier.assert_refused(kind, &name, &token[..end]).await;
            verifier.assert_refused(kind, &name, &token[end..]).await;
        }
        let dot = token.find('.').unwrap();
        let places = [0, 1, dot, dot + 1, token.len() - 1, token.len()];
        let pieces = [
            "A", "AAAA", "=", "==", ".", " ", "\t", "-", "+", "/", "\"", ",", "é", "\u{a0}",
            "\u{feff}", "%2E", "%00",
        ];
        for (at, piece) in places
            .iter()
            .flat_map(|at| pieces.map(|piece| (*at, piece)))
        {
            let changed = format!("{}{piece}{}", &token[..at], &token[at..]);
            let name = format!("{name} with {piece:?} at {at}");
            // HTTP does not count white space around a value.
            if changed.trim_matches([' ', '\t']) != token {
                verifier.assert_refused(kind, &name, &changed).await;
            }
        }
    }
}

#[tokio::test]
async fn a_good_token_is_refused_30_seconds_after_its_exp() {
    let verifier = Verifier::new();
    for good in one_of_each() {
        let (name, kind, token) = (good.name, good.kind, good.token);
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
            let then = Timestamp::from_millis(at);
            let result = verifier.authenticate_for(CART, kind, &token, then).await;
            assert_eq!(result.is_ok(), good, "{name} at {at}: {result:?}");
        }
    }
}

/// An issuer may publish such keys by mistake.
#[tokio::test]
async fn weak_keys_verify_nothing_and_do_not_affect_other_keys() {
    let mut wrong = Vec::new();
    for weak in weak_keys() {
        let name = weak.name;
        assert!(weak.tokens.keys().copied().eq(Kind::ALL), "{name}");
        for (kind, token) in weak.tokens {
            let keys = [vec![weak.jwk.clone()], FIXTURES.issuer(kind).public_keys()].concat();
            let verifier = Verifier::with(kind, &keys);
            let refused = verifier.is_refused(kind, &token, &weak.fault).await;
            wrong.extend(
                refused
                    .err()
                    .map(|why| format!("{name}: {why} {}", weak.why)),
            );
            for good in good_for_full_sets().filter(|good| good.kind == kind) {
                verifier.assert_accepted(&good).await;
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A world with the keys and the time of the fixtures.
async fn world(access_keys: &str) -> World {
    let id_claim = FIXTURES.account.id_claim.clone();
    let mut variables = vec![("ACCOUNT_ID_CLAIM".to_owned(), id_claim)];
    for kind in Kind::ALL {
        let prefix = kind.token_kind().name().to_uppercase();
        let issuer = FIXTURES.issuer(kind);
        let keys = match kind {
            Kind::Access => access_keys.to_owned(),
            _ => json!({ "keys": issuer.public_keys() }).to_string(),
        };
        variables.push((format!("{prefix}_TOKEN_JWKS"), keys));
        variables.push((format!("{prefix}_TOKEN_ISSUER"), issuer.issuer.clone()));
        variables.push((format!("{prefix}_TOKEN_AUDIENCE"), issuer.audience.clone()));
    }
    let variables = variables.iter().map(|(name, value)| (&**name, &**value));
    World::at(now(), &variables.collect::<Vec<_>>()).await
}

/// Sends an access token alone, and other tokens with good ones: an access token, and a
/// customer token beside a cart token.
async fn send(world: &World, cart: &str, kind: Kind, token: &str) -> Answer {
    let mut call = world.post(cart).body(linkage(&[RON]));
    call = match kind {
        Kind::Access => call.bearer(token),
        _ => call.bearer(good_token(Kind::Access)),
    };
    if kind == Kind::Cart {
        call = call.customer_token(good_token(Kind::Customer));
    }
    if kind != Kind::Access {
        call = call.header(kind.token_kind().header(), token);
    }
    call.send().await
}

/// Sends all hostile tokens to the handler, then the good ones. Asserts that all
/// hostile tokens of a kind get the same answer, to the byte.
async fn assert_same_answers(world: &World) {
    let challenge = Some("Bearer error=\"invalid_token\"");
    for (kind, header) in [
        (Kind::Access, "Authorization"),
        (Kind::Customer, "x-moltin-customer-token"),
        (Kind::Account, "EP-Account-Management-Authentication-Token"),
        (Kind::Cart, "x-cart-token"),
    ] {
        let code = format!("invalid_{}_token", kind.token_kind().name());
        let mut first = None;
        for HostileToken { name, token } in hostile_tokens(kind) {
            let answer = send(world, CART, kind, &token).await;
            let source = answer.refused(401, &code);
            assert_eq!(source, json!({ "header": header }), "{name}");
            assert_eq!(answer.header("www-authenticate"), challenge, "{name}");
            let first = first.get_or_insert_with(|| answer.clone());
            assert_eq!(answer, *first, "{name}");
        }
    }
    assert!(world.stored().await.is_empty());

    for good in good_for_full_sets() {
        let (cart, status) = match good.kind {
            Kind::Access => (CART, [200, 204]),
            Kind::Customer if good.subject == RON => (CART, [200, 403]),
            Kind::Customer | Kind::Account => (CART, [403, 403]),
            Kind::Cart => (&*good.subject, [200, 204]),
        };
        let answer = send(world, cart, good.kind, &good.token).await;
        assert!(status.contains(&answer.status), "{}: {answer:?}", good.name);
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
    let access = &authorities().access;
    let claims = access.access_token("shop", "client_credentials");
    let claims = URL_SAFE_NO_PAD.decode(claims.unwrap().split('.').nth(1).unwrap());
    let claims = String::from_utf8(claims.unwrap()).unwrap();
    for name in ["jku", "x5u", "kid", "iss", "typ", "jwks_uri"] {
        let mut header = json!({ "alg": "ES256", "kid": "another" });
        header[name] = json!(untrusted_server.url);
        let token = access.key.sign(&header.to_string(), &claims).unwrap();
        let call = world.post("cart-1").bearer(&token).body(linkage(&[RON]));
        call.send().await.refused(401, "invalid_access_token");
    }
    assert_eq!(untrusted_server.asked(), 0);
}

fn assert_contains_no_token(value: &dyn std::fmt::Debug) {
    for text in [format!("{value:?}"), format!("{value:#?}")] {
        for good in good_for_full_sets() {
            for part in good.token.split('.') {
                assert!(!text.contains(part), "{text}");
            }
        }
    }
}

#[tokio::test]
async fn debug_output_of_callers_contains_no_token() {
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
        assert_contains_no_token(&config.tokens);
        assert_contains_no_token(&config);
    }
}
