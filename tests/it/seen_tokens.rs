//! Tokens that were verified before: not verified again, and refused all the
//! same when their time or their key is over.

use std::time::Duration;

use axum::http::StatusCode;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::key_server::{Behaviour, KeyServer};
use crate::support::tokens::SigningKey;
use crate::support::{RON, World, access_token, authorities, cart_token, customer_token, linkage};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn send(world: &World, token: &str) -> Answer {
    let call = world.post("cart-1").bearer(token).body(linkage(&[RON]));
    call.send().await
}

/// Sends a token until it has been verified and seen again.
async fn is_seen(world: &World, token: &str) {
    send(world, token).await.created(&[RON]);
    send(world, token).await.unchanged();
}

fn back_end_token(claims: &Value) -> String {
    let mut all = json!({ "grant_type": "client_credentials" });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    authorities().access.token("back-end", &all).unwrap()
}

#[tokio::test]
async fn a_token_is_refused_when_it_has_expired_however_often_it_was_seen() {
    let world = World::new().await;
    let token = back_end_token(&json!({}));
    is_seen(&world, &token).await;
    world.pass(9 * HOUR);
    let refused = send(&world, &token).await;
    refused.refused(401, "invalid_access_token");
}

#[tokio::test]
async fn a_token_is_refused_when_its_key_is_no_longer_published() {
    let old = SigningKey::generate("old", Algorithm::ES256).unwrap();
    let new = SigningKey::generate("new", Algorithm::ES256).unwrap();
    let server = KeyServer::start(&old.jwks().unwrap()).await;
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
    let token = signed_by(&old);
    is_seen(&world, &token).await;
    server.serves(&new.jwks().unwrap());
    world.pass(HOUR);
    let refused = send(&world, &token).await;
    refused.refused(401, "invalid_access_token");
    send(&world, &signed_by(&new)).await.unchanged();
}

#[tokio::test]
async fn a_token_is_refused_when_another_key_has_the_id_of_its_key() {
    let old = SigningKey::generate("the-key", Algorithm::RS256).unwrap();
    let new = SigningKey::generate("the-key", Algorithm::RS256).unwrap();
    let server = KeyServer::start(&old.jwks().unwrap()).await;
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
    let token = signed_by(&old);
    is_seen(&world, &token).await;
    server.serves(&new.jwks().unwrap());
    world.pass(HOUR);
    let refused = send(&world, &token).await;
    refused.refused(401, "invalid_access_token");
    send(&world, &signed_by(&new)).await.unchanged();
}

#[tokio::test]
async fn a_token_goes_on_being_good_when_its_key_is_published_anew() {
    let key = SigningKey::generate("the-key", Algorithm::EdDSA).unwrap();
    let server = KeyServer::start(&key.jwks().unwrap()).await;
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
    let token = signed_by(&key);
    is_seen(&world, &token).await;
    world.pass(HOUR);
    send(&world, &token).await.unchanged();
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_token_is_not_believed_without_keys_that_are_good() {
    let key = SigningKey::generate("the-key", Algorithm::ES384).unwrap();
    let server = KeyServer::start(&key.jwks().unwrap()).await;
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
    let token = signed_by(&key);
    is_seen(&world, &token).await;
    server.does(Behaviour::Status(StatusCode::BAD_GATEWAY, String::new()));
    world.pass(25 * HOUR);
    send(&world, &token).await.refused(503, "keys_unavailable");
}

#[tokio::test]
async fn a_token_that_was_seen_as_one_kind_does_not_pass_for_another() {
    let world = World::with_cart_tokens().await;
    let good = [
        access_token("implicit"),
        customer_token(RON),
        cart_token("cart-1"),
    ];
    let send = |[access, customer, cart]: &[String; 3]| {
        let call = world.post("cart-1").bearer(access);
        let call = call.customer_token(customer).cart_token(cart);
        call.body(linkage(&[RON])).send()
    };
    send(&good).await.created(&[RON]);
    let codes = [
        "invalid_access_token",
        "invalid_customer_token",
        "invalid_cart_token",
    ];
    for (index, code) in codes.into_iter().enumerate() {
        for other in good.iter().filter(|other| **other != good[index]) {
            let mut tokens = good.clone();
            tokens[index].clone_from(other);
            send(&tokens).await.refused(401, code);
        }
    }
    send(&good).await.unchanged();
}

#[tokio::test]
async fn a_cart_token_that_was_seen_for_its_cart_does_not_pass_for_another_cart() {
    let world = World::with_cart_tokens().await;
    let token = cart_token("cart-1");
    let send = |cart: &str| {
        let call = world.post(cart).customer(RON).cart_token(&token);
        call.body(linkage(&[RON])).send()
    };
    send("cart-1").await.created(&[RON]);
    send("cart-2").await.refused(401, "invalid_cart_token");
    send("cart-1").await.unchanged();
}

#[tokio::test]
async fn a_token_like_one_that_was_seen_is_verified() {
    let world = World::new().await;
    let token = back_end_token(&json!({}));
    is_seen(&world, &token).await;
    let other = back_end_token(&json!({ "jti": "another" }));
    let parts = |token: &str| -> Vec<String> { token.split('.').map(str::to_owned).collect() };
    let (token, other) = (parts(&token), parts(&other));
    for forged in [
        [&token[0], &other[1], &token[2]],
        [&token[0], &token[1], &other[2]],
    ] {
        let refused = send(&world, &forged.map(String::as_str).join(".")).await;
        refused.refused(401, "invalid_access_token");
    }
}

#[tokio::test]
async fn more_tokens_than_are_kept_are_served_all_the_same() {
    let world = World::new().await;
    let first = back_end_token(&json!({}));
    is_seen(&world, &first).await;
    for number in 0..600 {
        let token = back_end_token(&json!({ "jti": number.to_string() }));
        send(&world, &token).await.unchanged();
    }
    send(&world, &first).await.unchanged();
}

/// A token that is good for longer than any test lets pass.
fn signed_by(key: &SigningKey) -> String {
    let claims = json!({
        "iss": authorities().access.issuer, "aud": authorities().access.audience,
        "sub": "back-end", "exp": 2_000_000_000, "grant_type": "client_credentials",
    });
    let header = serde_json::to_string(&key.header()).unwrap();
    key.sign(&header, &claims.to_string()).unwrap()
}
