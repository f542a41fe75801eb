//! Key sets from a URL: how they are fetched, cached and refreshed, and what happens
//! while their issuer is down.

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use dev::key_server::{Behaviour, KeyServer};
use dev::tls::CertificateAuthority;
use dev::tokens::{Algorithm, SigningKey};
use lambda_http::http::StatusCode;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::function::Function;
use crate::support::{
    RON, World, authorities, cart_token, closed_url, environment, lasting, linkage, sample,
};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(60 * 60);

/// The key that replaces that of [`authorities`].
static NEXT_KEY: LazyLock<SigningKey> =
    LazyLock::new(|| SigningKey::generate("access-2", Algorithm::ES256).unwrap());

fn keys() -> String {
    authorities().access.key.jwks().unwrap()
}

/// A world whose clock stands still, so that a pause does not end by itself.
async fn world(server: &KeyServer) -> World {
    let now = SystemTime::now().into();
    World::at(now, &[("ACCESS_TOKEN_JWKS", &server.url)]).await
}

/// The claims of an access token that outlasts every test.
fn claims() -> Value {
    json!({
        "iss": authorities().access.issuer, "aud": authorities().access.audience,
        "sub": "back-end", "exp": lasting(), "grant_type": "client_credentials",
    })
}

fn token(key: &SigningKey) -> String {
    let header = serde_json::to_string(&key.header()).unwrap();
    key.sign(&header, &claims().to_string()).unwrap()
}

/// A token with a `kid` that is in no key set.
fn token_with_unknown_key(kid: &str) -> String {
    let header = json!({ "alg": "ES256", "kid": kid }).to_string();
    NEXT_KEY.sign(&header, &claims().to_string()).unwrap()
}

async fn send(world: &World, token: &str) -> Answer {
    let call = world.post("cart-1").bearer(token);
    call.body(linkage(&[RON])).send().await
}

async fn assert_accepted(world: &World, token: &str) {
    let answer = send(world, token).await;
    assert!([200, 204].contains(&answer.status), "{answer:?}");
}

#[tokio::test]
async fn each_key_set_may_have_a_url_and_is_needed_only_for_its_tokens() {
    let access = KeyServer::start(&keys()).await;
    let customer = KeyServer::start(&authorities().customer.key.jwks().unwrap()).await;
    let cart = KeyServer::start("").await;
    let with_cart_tokens = World::with_cart_tokens().await;
    let urls = [
        ("ACCESS_TOKEN_JWKS", &*access.url),
        ("CUSTOMER_TOKEN_JWKS", &*customer.url),
        ("CART_TOKEN_JWKS", &*cart.url),
    ];
    let world = World::on(&urls, &with_cart_tokens).await;
    assert_eq!((access.asked(), customer.asked(), cart.asked()), (1, 1, 1));
    let call = || world.post("cart-1").customer(RON).body(linkage(&[RON]));
    let holder = || call().cart_token(&cart_token("cart-1")).send();
    let answer = holder().await;
    answer.refused(503, "keys_unavailable");
    assert!(answer.header("retry-after").is_some());
    // These two need no key for cart tokens.
    call().send().await.refused(403, "cart_token_required");
    let empty = call().cart_token("").send().await;
    empty.refused(401, "invalid_cart_token");
    assert!(world.stored().await.is_empty());

    cart.serves(&authorities().cart.key.jwks().unwrap());
    world.advance_clock(Duration::from_secs(1));
    holder().await.created(&[RON]);
}

#[tokio::test]
async fn requests_do_not_wait_for_the_refresh_of_valid_keys() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    let token = token(&authorities().access.key);
    world.advance_clock(7 * MINUTE);
    assert_accepted(&world, &token).await;
    assert_eq!(server.asked(), 1);
    world.advance_clock(2 * MINUTE);
    // A request that waited for the refresh would not be answered.
    server.does(Behaviour::Hang);
    assert_accepted(&world, &token).await;
    server.until_asked(2).await;
    assert_accepted(&world, &token).await;
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_refresh_in_the_background_replaces_the_keys() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    server.serves(&NEXT_KEY.jwks().unwrap());
    world.advance_clock(9 * MINUTE);
    assert_accepted(&world, &token(&authorities().access.key)).await;
    server.until_asked(2).await;
    // The old keys stay in use until the new ones have arrived.
    while send(&world, &token(&authorities().access.key)).await.status != 401 {
        tokio::task::yield_now().await;
    }
    assert_accepted(&world, &token(&NEXT_KEY)).await;
    // One more for the key id that is no longer known.
    assert_eq!(server.asked(), 3);
}

/// The set that may have the key could not be fetched, so nobody knows whether the token
/// is valid.
#[tokio::test]
async fn a_token_with_a_new_key_is_503_until_its_key_was_fetched() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    let (old, new) = (token(&authorities().access.key), token(&NEXT_KEY));
    let mut asked = 1;
    for pause in [100, 200, 400].map(Duration::from_millis) {
        server.does(Behaviour::Status(StatusCode::BAD_GATEWAY, keys()));
        for number in 0..20 {
            let answer = send(&world, &token_with_unknown_key(&number.to_string())).await;
            answer.refused(503, "keys_unavailable");
            assert_eq!(answer.header("retry-after"), Some("1"));
            assert_accepted(&world, &old).await;
        }
        asked += 1;
        assert_eq!(server.asked(), asked, "one fetch for 20 unknown keys");
        world.advance_clock(pause);
    }
    server.serves(&NEXT_KEY.jwks().unwrap());
    assert_accepted(&world, &new).await;
    assert_eq!(server.asked(), asked + 1);

    // A fetch that succeeded uses up the minute.
    for key in [&old, &token_with_unknown_key("another")] {
        send(&world, key).await.refused(401, "invalid_access_token");
    }
    server.does(Behaviour::Status(StatusCode::BAD_GATEWAY, keys()));
    world.advance_clock(MINUTE);
    send(&world, &old).await.refused(503, "keys_unavailable");
    assert_accepted(&world, &new).await;
    assert_eq!(server.asked(), asked + 2);
}

#[tokio::test]
async fn unknown_key_ids_cause_one_fetch_a_minute() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    for minute in 0..3 {
        for number in 0..20 {
            let token = token_with_unknown_key(&format!("{minute}-{number}"));
            let answer = send(&world, &token).await;
            answer.refused(401, "invalid_access_token");
        }
        assert_eq!(server.asked(), 2 + minute);
        assert_accepted(&world, &token(&authorities().access.key)).await;
        world.advance_clock(MINUTE);
    }
}

/// On several threads, as where one process handles many requests at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_unknown_key_ids_cause_one_fetch() {
    let server = KeyServer::start(&keys()).await;
    let world = Arc::new(world(&server).await);
    for round in 0..100 {
        let key = SigningKey::generate(&format!("next-{round}"), Algorithm::ES256).unwrap();
        server.serves(&key.jwks().unwrap());
        world.advance_clock(MINUTE);
        let asked = server.asked();
        // All of them get the new key, including those that waited for the fetch of
        // another. The cart's id is refused, so that the store is not called.
        let token = token(&key);
        let calls = (0..8).map(|_| {
            let (world, token) = (Arc::clone(&world), token.clone());
            tokio::spawn(async move { world.post("-.-").bearer(&token).send().await })
        });
        for call in calls.collect::<Vec<_>>() {
            call.await.unwrap().refused(400, "invalid_id");
        }
        assert_eq!(server.asked(), asked + 1);
    }
}

#[tokio::test]
async fn a_known_key_id_with_another_algorithm_causes_no_fetch() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    let header = json!({ "alg": "RS256", "kid": "access-1" }).to_string();
    let token = NEXT_KEY.sign(&header, &claims().to_string()).unwrap();
    for token in [&*token, "x.y.z"] {
        let answer = send(&world, token).await;
        answer.refused(401, "invalid_access_token");
    }
    assert_eq!(server.asked(), 1);
}

#[tokio::test]
async fn keys_are_used_for_a_day_while_their_issuer_is_down() {
    let server = KeyServer::start(&keys()).await;
    let world = world(&server).await;
    let token = token(&authorities().access.key);
    server.does(Behaviour::Status(StatusCode::BAD_GATEWAY, keys()));
    for _ in 0..23 {
        world.advance_clock(HOUR);
        assert_accepted(&world, &token).await;
    }
    world.advance_clock(HOUR);
    send(&world, &token).await.refused(503, "keys_unavailable");
    server.serves(&keys());
    world.advance_clock(MINUTE);
    assert_accepted(&world, &token).await;
}

/// The function remembers tokens that it has verified.
#[tokio::test]
async fn a_token_is_refused_once_its_key_is_replaced_under_the_same_id() {
    for algorithm in [Algorithm::ES256, Algorithm::RS256] {
        let [old, new] = [Algorithm::ES256, algorithm]
            .map(|algorithm| SigningKey::generate("the-key", algorithm).unwrap());
        let server = KeyServer::start(&old.jwks().unwrap()).await;
        let world = world(&server).await;
        assert_accepted(&world, &token(&old)).await;
        server.serves(&new.jwks().unwrap());
        world.advance_clock(HOUR);
        let refused = send(&world, &token(&old)).await;
        refused.refused(401, "invalid_access_token");
        assert_accepted(&world, &token(&new)).await;
    }
}

#[tokio::test]
async fn a_url_in_a_token_is_never_fetched() {
    let untrusted = KeyServer::start(&NEXT_KEY.jwks().unwrap()).await;
    let world = World::new().await;
    for name in ["jku", "x5u", "kid", "iss", "typ", "jwks_uri"] {
        let mut header = json!({ "alg": "ES256", "kid": "another" });
        header[name] = json!(untrusted.url);
        let token = NEXT_KEY.sign(&header.to_string(), &claims().to_string());
        let answer = send(&world, &token.unwrap()).await;
        answer.refused(401, "invalid_access_token");
    }
    assert_eq!(untrusted.asked(), 0);
}

/// None of these answers is a key set that may be used, even if it contains keys.
#[tokio::test]
async fn a_request_is_503_until_keys_have_been_fetched() {
    let padding = " ".repeat(256 * 1024);
    let elsewhere = KeyServer::start(&keys()).await;
    let serve = |text: &str| Behaviour::Serve(text.to_owned());
    let status = |status| Behaviour::Status(status, keys());
    for (name, behaviour) in [
        ("500", status(StatusCode::INTERNAL_SERVER_ERROR)),
        ("404", status(StatusCode::NOT_FOUND)),
        ("206", status(StatusCode::PARTIAL_CONTENT)),
        ("redirect", Behaviour::Redirect(elsewhere.url.clone())),
        ("garbage", serve("<html>")),
        ("no keys", serve(r#"{"keys":[]}"#)),
        (
            "no usable key",
            serve(r#"{"keys":[{"kty":"oct","k":"AA"}]}"#),
        ),
        ("too long", Behaviour::Serve(keys() + &padding)),
        ("hangs", Behaviour::Hang),
        ("hangs in the body", Behaviour::HangInBody(keys())),
    ] {
        let server = KeyServer::start("").await;
        server.does(behaviour);
        let world = world(&server).await;
        let token = token(&authorities().access.key);
        let answer = send(&world, &token).await;
        answer.refused(503, "keys_unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"), "{name}");
        // There is no pause between the start and the first request.
        assert_eq!(server.asked(), 2, "{name}");
        world.advance_clock(Duration::from_secs(1));
        server.serves(&keys());
        assert_accepted(&world, &token).await;
    }
    assert_eq!(elsewhere.asked(), 0);
}

/// The key server has a second to begin its response and another to end it, which
/// is longer than this request has.
#[tokio::test]
async fn keys_that_do_not_arrive_before_the_deadline_are_unavailable() {
    let server = KeyServer::start("").await;
    let world = world(&server).await;
    server.does(Behaviour::HangInBody(keys()));
    world.advance_clock(Duration::from_secs(1));
    let token = token(&authorities().access.key);
    let call = world.associate("cart-1", &[RON]).bearer(&token);
    let answer = call.deadline(world.now().plus(Duration::from_secs(1)).millis());
    let answer = answer.send().await;
    answer.refused(503, "keys_unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn fetches_from_a_key_server_that_is_down_become_rarer() {
    let server = KeyServer::start("").await;
    let world = world(&server).await;
    let token = token(&authorities().access.key);
    for _ in 0..600 {
        send(&world, &token).await.refused(503, "keys_unavailable");
        world.advance_clock(Duration::from_secs(1));
    }
    // 0.1 s, doubled up to a minute, in ten minutes.
    assert!((10..=20).contains(&server.asked()), "{}", server.asked());
}

#[tokio::test]
async fn the_built_function_starts_without_keys_and_logs_why() {
    let mut function = Function::start(&environment(&[("ACCESS_TOKEN_JWKS", &closed_url())])).await;
    let (_, line) = function.line().await;
    assert_eq!([&line["level"], &line["key_set"]], ["WARN", "access"]);
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.starts_with("no response"), "{line}");
    // It has no age.
    let declared = json!([{
        "Namespace": "CartAssociations",
        "Dimensions": [["service", "function_name", "key_set"]],
        "Metrics": [{ "Name": "key_set_failures", "Unit": "Count" }],
    }]);
    assert_eq!(line["_aws"]["CloudWatchMetrics"], declared);
    assert_eq!(line["key_set_failures"], json!(1));
    let time = line["_aws"]["Timestamp"].as_u64();
    assert!(time.unwrap() > 1_700_000_000_000);

    let event = sample("associate-client-credentials");
    let answer = function.invoke(&event).await;
    answer.refused(503, "keys_unavailable");
}

#[tokio::test]
async fn skipped_keys_are_logged_once() {
    let mut set: Value = serde_json::from_str(&keys()).unwrap();
    let listed = set["keys"].as_array_mut().unwrap();
    listed.push(json!({ "kty": "oct", "k": "c2VjcmV0" }));
    let server = KeyServer::start(&set.to_string()).await;
    for source in [&set.to_string(), &server.url] {
        let env = environment(&[("ACCESS_TOKEN_JWKS", source)]);
        let mut function = Function::start(&env).await;
        let (text, line) = function.line().await;
        assert_eq!([&line["level"], &line["key_set"]], ["WARN", "access"]);
        let skipped = "key 1 has an unknown or refused type";
        assert!(
            line["cause"].as_str().unwrap().starts_with(skipped),
            "{line}"
        );
        assert!(!text.contains("c2VjcmV0"));
        // The next line is that of the request.
        function.invoke(&json!({})).await;
        assert_eq!(function.line().await.1["outcome"], "route_not_found");
    }
}

#[tokio::test]
async fn a_key_server_is_verified_with_the_configured_roots() {
    let authority = CertificateAuthority::generate();
    let listener = authority.listen().await;
    let port = listener.port();
    let url = format!("https://localhost:{port}/keys");
    let server = KeyServer::start_on(listener, url, &keys());
    let token = token(&authorities().access.key);

    // The built-in roots do not contain this authority.
    let world = world(&server).await;
    send(&world, &token).await.refused(503, "keys_unavailable");
    assert_eq!(server.asked(), 0);

    let roots = authority.pem_file.path().to_str().unwrap();
    let roots = ("SSL_CERT_FILE", roots);
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url), roots]).await;
    assert_accepted(&world, &token).await;
    assert_eq!(server.asked(), 1);
}
