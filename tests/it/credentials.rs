//! What the tokens of a request permit, and how refused tokens are answered.

use serde_json::{Value, json};

use crate::support::call::Call;
use crate::support::{RON, World, access_token, authorities, cart_token, customer_token, linkage};

#[tokio::test]
async fn client_credentials_permit_every_customer() {
    let world = World::new().await;
    for grant in ["client_credentials", "client-credentials"] {
        let call = world
            .post("cart-1")
            .grant(grant)
            .body(linkage(&[grant, "another"]));
        call.send().await.created(&[grant, "another"]);
    }
}

#[tokio::test]
async fn a_customer_token_permits_only_its_customer_with_every_grant() {
    let world = World::new().await;
    for grant in ["implicit", "client_credentials", "password"] {
        let cart = format!("cart-{grant}");
        let call = |customers: &[&str]| {
            let call = world
                .post(&cart)
                .grant(grant)
                .customer_token(&customer_token(RON));
            call.body(linkage(customers))
        };
        for others in [&["hermione"][..], &[RON, "hermione"]] {
            let source = call(others).send().await.refused(403, "other_customer");
            assert_eq!(source, json!({ "pointer": "/data" }));
        }
        call(&[RON]).send().await.created(&[RON]);
    }
    assert_eq!(world.stored().await.len(), 3);
}

#[tokio::test]
async fn another_grant_without_a_customer_token_permits_nothing() {
    let world = World::new().await;
    let not_strings = [
        json!(["client_credentials"]),
        json!({ "client_credentials": 1 }),
        json!(null),
    ];
    let tokens = not_strings.map(|grant| {
        authorities()
            .access
            .token("storefront", &json!({ "grant_type": grant }))
            .unwrap()
    });
    let tokens = tokens
        .into_iter()
        .chain(["implicit", "", "CLIENT_CREDENTIALS"].map(access_token));
    for token in tokens {
        let answer = world
            .post("cart-1")
            .bearer(&token)
            .body(linkage(&[RON]))
            .send()
            .await;
        let source = answer.refused(403, "customer_token_required");
        assert_eq!(source, json!({ "header": "x-moltin-customer-token" }));
    }
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn the_claim_that_names_the_grant_is_configurable() {
    let world = World::with(&[("ACCESS_TOKEN_GRANT_CLAIM", "gty")]).await;
    let claims = json!({ "gty": "client-credentials", "grant_type": "implicit" });
    let token = authorities().access.token("back-end", &claims).unwrap();
    world
        .post("cart-1")
        .bearer(&token)
        .body(linkage(&[RON]))
        .send()
        .await
        .created(&[RON]);
    let usual = world.associate("cart-1", &[RON]).send().await;
    usual.refused(403, "customer_token_required");
}

#[tokio::test]
async fn without_a_bearer_token_the_answer_asks_for_one() {
    let world = World::new().await;
    let call = || {
        world
            .associate("cart-1", &[RON])
            .without_header("authorization")
    };
    let token = access_token("client_credentials");
    let basic = format!("Basic {token}");
    for call in [
        call(),
        call().header("authorization", ""),
        call().header("authorization", "Bearer"),
        call().header("authorization", "Bearer  "),
        call().header("authorization", &basic),
        call().header("authorization", &token),
    ] {
        let answer = call.customer_token(&customer_token(RON)).send().await;
        let source = answer.refused(401, "access_token_required");
        assert_eq!(source, json!({ "header": "Authorization" }));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn the_bearer_scheme_is_case_insensitive_and_allows_extra_spaces() {
    let world = World::new().await;
    let token = access_token("client_credentials");
    for (cart, header) in [("a", "bearer "), ("b", "BEARER "), ("c", "Bearer   ")] {
        let call = world
            .associate(cart, &[RON])
            .header("authorization", &format!("{header}{token}"));
        call.send().await.created(&[RON]);
    }
}

#[tokio::test]
async fn a_customer_token_that_is_sent_is_never_treated_as_absent() {
    let world = World::new().await;
    let access = &authorities().access;
    let customer = &authorities().customer;
    let no_customer = customer.token("not a customer", &json!({})).unwrap();
    let expired = customer.token(RON, &json!({ "exp": 1 })).unwrap();
    let access_token = access.access_token(RON, "client_credentials").unwrap();
    for token in [
        "",
        " ",
        "null",
        "x.y.z",
        &no_customer,
        &expired,
        &access_token,
    ] {
        let answer = world
            .associate("cart-1", &[RON])
            .customer_token(token)
            .send()
            .await;
        let source = answer.refused(401, "invalid_customer_token");
        assert_eq!(
            source,
            json!({ "header": "x-moltin-customer-token" }),
            "{token}"
        );
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\"")
        );
    }
    assert!(world.stored().await.is_empty());
}

/// A POST by Ron's storefront, for himself.
fn rons<'w>(world: &'w World, cart: &str) -> Call<'w> {
    world.post(cart).customer(RON).body(linkage(&[RON]))
}

#[tokio::test]
async fn a_customer_needs_a_cart_token_if_cart_tokens_are_configured() {
    let world = World::with_cart_tokens().await;
    for grant in ["implicit", "client_credentials"] {
        let answer = rons(&world, "cart-1").grant(grant).send().await;
        let source = answer.refused(403, "cart_token_required");
        assert_eq!(source, json!({ "header": "x-cart-token" }));
    }
    assert!(world.stored().await.is_empty());

    let call = || rons(&world, "cart-1").cart_token(&cart_token("cart-1"));
    call().send().await.created(&[RON]);
    call().send().await.unchanged();
}

#[tokio::test]
async fn a_cart_token_is_ignored_if_cart_tokens_are_not_configured() {
    let world = World::new().await;
    for (cart, token) in [("a", "x"), ("b", ""), ("c", &*cart_token("cart-1"))] {
        let call = rons(&world, cart).cart_token(token);
        call.send().await.created(&[RON]);
    }
}

#[tokio::test]
async fn a_cart_token_is_ignored_without_a_customer_token() {
    let world = World::with_cart_tokens().await;
    world.associate("a", &[RON]).send().await.created(&[RON]);
    let call = world.associate("b", &[RON]).cart_token("x");
    call.send().await.created(&[RON]);
    for token in ["x", &cart_token("c")] {
        let call = world.associate("c", &[RON]).grant("implicit");
        let answer = call.cart_token(token).send().await;
        answer.refused(403, "customer_token_required");
    }
    assert_eq!(world.stored().await.len(), 2);
}

#[tokio::test]
async fn a_cart_token_is_ignored_in_all_requests_but_post() {
    let world = World::with_cart_tokens().await;
    world
        .associate("cart-1", &[RON])
        .send()
        .await
        .created(&[RON]);
    for path in [
        "/v2/carts/cart-1/relationships/customers",
        "/v2/carts",
        "/v2/customers/ron/relationships/carts",
    ] {
        for call in [
            world.get(path).customer(RON),
            world.get(path).customer(RON).cart_token("x"),
        ] {
            assert_eq!(call.send().await.status, 200, "{path}");
        }
    }
    for call in [
        world.dissociate("cart-1", &[RON]).customer(RON),
        world
            .dissociate("cart-1", &[RON])
            .customer(RON)
            .cart_token("x"),
    ] {
        call.send().await.unchanged();
    }
    assert!(world.stored().await.is_empty());
}

/// The answer is also the same if something else is wrong: a caller with a token for
/// another cart learns no more than a caller with a forged one.
#[tokio::test]
async fn every_invalid_cart_token_gets_the_same_401() {
    let world = World::with_cart_tokens().await;
    let (access, cart) = (&authorities().access, &authorities().cart);
    let token = |claims: Value| cart.token("cart-1", &claims).unwrap();
    let good = token(json!({}));
    let mut answers = Vec::new();
    for (name, token) in [
        ("empty", String::new()),
        ("blank", " ".to_owned()),
        ("no token", "x.y.z".to_owned()),
        ("another signature", format!("{}A", &good[..good.len() - 2])),
        ("expired", token(json!({ "exp": 1_700_000_000 }))),
        ("another issuer", token(json!({ "iss": access.issuer }))),
        ("another audience", token(json!({ "aud": access.audience }))),
        ("no subject", token(json!({ "sub": null }))),
        ("another cart", cart_token("cart-2")),
        ("the cart in capitals", cart_token("CART-1")),
        ("a part of the cart", cart_token("cart-")),
        ("no cart", cart_token("a b")),
        ("a customer", cart_token(RON)),
        ("an access token", access_token("client_credentials")),
        ("a customer token", customer_token(RON)),
    ] {
        let call = || rons(&world, "cart-1").cart_token(&token);
        for call in [
            call(),
            call().grant("client_credentials"),
            call().header("accept", "application/vnd.api+json;ext=x"),
            call().header("content-type", "text/plain"),
            call().text("{"),
            call().body(linkage(&["hermione"])),
        ] {
            let answer = call.send().await;
            let source = answer.refused(401, "invalid_cart_token");
            assert_eq!(source, json!({ "header": "x-cart-token" }), "{name}");
            assert_eq!(
                answer.header("www-authenticate"),
                Some("Bearer error=\"invalid_token\"")
            );
            answers.push((answer.status, answer.document()));
        }
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    // The token is refused before the invalid id in the path, unless it names that id.
    let answer = rons(&world, "a b").cart_token(&good).send().await;
    answer.refused(401, "invalid_cart_token");
    let same = rons(&world, "a b").cart_token(&cart_token("a b"));
    same.send().await.refused(400, "invalid_id");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_missing_cart_token_is_reported_after_all_other_faults() {
    let world = World::with_cart_tokens().await;
    let call = || rons(&world, "cart-1");
    rons(&world, "a b").send().await.refused(400, "invalid_id");
    call().text("{").send().await.refused(400, "invalid_json");
    let others = call().body(linkage(&["hermione"])).send().await;
    others.refused(403, "other_customer");
    call().send().await.refused(403, "cart_token_required");
}

#[tokio::test]
async fn tokens_are_verified_in_order_access_customer_cart() {
    let world = World::with_cart_tokens().await;
    let call = || rons(&world, "cart-1").cart_token("x");
    let both = call().bearer("x").customer_token("x").send().await;
    both.refused(401, "invalid_access_token");
    let customer = call().customer_token("x").send().await;
    customer.refused(401, "invalid_customer_token");
    call().send().await.refused(401, "invalid_cart_token");
}

/// Includes claims and headers that JWT libraries accept and the function must
/// refuse.
#[tokio::test]
async fn every_invalid_access_token_gets_the_same_401() {
    let world = World::new().await;
    let access = &authorities().access;
    let claims = |claims: Value| access.token("back-end", &with_grant(claims)).unwrap();
    let header = |name: &str, value: Value| token_with_header(name, value);
    let good = access_token("client_credentials");
    let long = "x".repeat(5000);
    let mut answers = Vec::new();
    for (name, token) in [
        ("no token", "x".to_owned()),
        ("two parts", good.rsplit_once('.').unwrap().0.to_owned()),
        ("four parts", format!("{good}.x")),
        (
            "no signature",
            format!("{}.", good.rsplit_once('.').unwrap().0),
        ),
        ("padding", format!("{good}=")),
        ("another signature", format!("{}A", &good[..good.len() - 2])),
        ("white space", good.replace('.', ". ")),
        ("too long", claims(json!({ "padding": long }))),
        ("expired", claims(json!({ "exp": 1_700_000_000 }))),
        ("exp missing", claims(json!({ "exp": null }))),
        ("exp as text", claims(json!({ "exp": "1900000000" }))),
        (
            "exp far ahead",
            claims(json!({ "exp": 253_402_300_800_u64 })),
        ),
        (
            "exp in milliseconds",
            claims(json!({ "exp": 1_800_000_000_000_u64 })),
        ),
        ("exp at the end of i64", claims(json!({ "exp": i64::MAX }))),
        ("not yet valid", claims(json!({ "nbf": 1_990_000_000 }))),
        ("nbf as text", claims(json!({ "nbf": "0" }))),
        ("iss missing", claims(json!({ "iss": null }))),
        (
            "iss another",
            claims(json!({ "iss": "https://auth.example.com/" })),
        ),
        ("iss as array", claims(json!({ "iss": [access.issuer] }))),
        ("aud missing", claims(json!({ "aud": null }))),
        ("aud another", claims(json!({ "aud": "cart" }))),
        ("aud others", claims(json!({ "aud": ["a", "b"] }))),
        ("aud empty", claims(json!({ "aud": [] }))),
        (
            "aud with a number",
            claims(json!({ "aud": [access.audience, 7] })),
        ),
        ("sub missing", claims(json!({ "sub": null }))),
        ("sub empty", claims(json!({ "sub": "" }))),
        ("sub as number", claims(json!({ "sub": 7 }))),
        ("crit", header("crit", json!(["x"]))),
        ("jku", header("jku", json!("https://example.com/jwks"))),
        ("jwk", header("jwk", json!({ "kty": "oct" }))),
        ("x5u", header("x5u", json!("https://example.com/x"))),
        ("x5c", header("x5c", json!(["x"]))),
        ("unknown kid", header("kid", json!("another"))),
        ("kid as number", header("kid", json!(7))),
        ("alg none", header("alg", json!("none"))),
        ("alg HS256", header("alg", json!("HS256"))),
        ("alg of another key", header("alg", json!("EdDSA"))),
        ("a customer token", customer_token(RON)),
    ] {
        let answer = world
            .associate("cart-1", &[RON])
            .bearer(&token)
            .send()
            .await;
        let source = answer.refused(401, "invalid_access_token");
        assert_eq!(source, json!({ "header": "Authorization" }), "{name}");
        assert_eq!(
            answer.header("www-authenticate"),
            Some("Bearer error=\"invalid_token\"")
        );
        answers.push(answer);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]));
    assert!(world.stored().await.is_empty());
}

fn with_grant(mut claims: Value) -> Value {
    claims["grant_type"] = json!("client_credentials");
    claims
}

/// A correctly signed token that is valid except for one member of its header.
fn token_with_header(name: &str, value: Value) -> String {
    let access = &authorities().access;
    let good = access
        .access_token("back-end", "client_credentials")
        .unwrap();
    let (signed, _) = good.rsplit_once('.').unwrap();
    let (header, claims) = signed.split_once('.').unwrap();
    let mut header: Value = serde_json::from_slice(&decode(header)).unwrap();
    header[name] = value;
    access
        .key
        .sign(
            &header.to_string(),
            &String::from_utf8(decode(claims)).unwrap(),
        )
        .unwrap()
}

fn decode(part: &str) -> Vec<u8> {
    use base64::Engine as _;
    base64::engine::general_purpose::URL_SAFE_NO_PAD
        .decode(part)
        .unwrap()
}

#[tokio::test]
async fn a_token_with_a_duplicate_member_is_refused() {
    let world = World::new().await;
    let key = &authorities().access.key;
    let header = r#"{"alg":"ES256","kid":"access-1"}"#;
    let claims = r#""iss":"https://auth.example.com","aud":"carts","sub":"a","exp":2000000000,"grant_type":"client_credentials""#;
    let token = |header: &str, claims: &str| key.sign(header, &format!("{{{claims}}}")).unwrap();
    let call = |token: &str| world.post("cart-1").bearer(token).body(linkage(&[RON]));
    for token in [
        token(header, &format!(r#"{claims},"sub":"b""#)),
        token(header, &format!(r#""grant_type":"implicit",{claims}"#)),
        token(
            r#"{"alg":"ES256","kid":"access-1","kid":"access-1"}"#,
            claims,
        ),
        token(r#"{"alg":"none","alg":"ES256","kid":"access-1"}"#, claims),
    ] {
        call(&token)
            .send()
            .await
            .refused(401, "invalid_access_token");
    }
    call(&token(header, claims)).send().await.created(&[RON]);
}

#[tokio::test]
async fn exp_and_nbf_tolerate_30_seconds_of_clock_skew() {
    let world = World::new().await;
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let call = |claims: Value| {
        let token = authorities()
            .access
            .token("back-end", &with_grant(claims))
            .unwrap();
        world
            .post("cart-1")
            .bearer(&token)
            .body(linkage(&[RON]))
            .send()
    };
    for (claims, good) in [
        (json!({ "exp": now - 20 }), true),
        (json!({ "exp": now as f64 - 20.5 }), true),
        (json!({ "exp": now - 31 }), false),
        (json!({ "nbf": now + 20 }), true),
        (json!({ "nbf": now + 60 }), false),
    ] {
        let answer = call(claims.clone()).await;
        assert_eq!(answer.status < 300, good, "{claims}: {answer:?}");
    }
}
