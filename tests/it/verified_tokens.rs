//! The cache of verified tokens: a cached token is still refused once it has expired
//! or its key is gone.

use std::time::Duration;

use dev::key_server::KeyServer;
use dev::tokens::Algorithm;
use dev::tokens::SigningKey;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::{
    RON, World, access_token, authorities, cart_token, customer_token, lasting, linkage,
};

const HOUR: Duration = Duration::from_secs(60 * 60);

async fn send(world: &World, token: &str) -> Answer {
    let call = world.post("cart-1").bearer(token).body(linkage(&[RON]));
    call.send().await
}

/// Sends a token twice: the first time it is verified, the second time it is in the
/// cache.
async fn verify_and_cache(world: &World, token: &str) {
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
async fn a_cached_token_is_refused_once_it_has_expired() {
    let world = World::new().await;
    let token = back_end_token(&json!({}));
    verify_and_cache(&world, &token).await;
    world.advance_clock(9 * HOUR);
    let refused = send(&world, &token).await;
    refused.refused(401, "invalid_access_token");
}

/// Its key is not published any more, or another key has its id.
#[tokio::test]
async fn a_cached_token_is_refused_once_its_key_is_replaced() {
    for (new_id, algorithm) in [("new", Algorithm::ES256), ("old", Algorithm::RS256)] {
        let old = SigningKey::generate("old", algorithm).unwrap();
        let new = SigningKey::generate(new_id, algorithm).unwrap();
        let server = KeyServer::start(&old.jwks().unwrap()).await;
        let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
        let token = signed_by(&old);
        verify_and_cache(&world, &token).await;
        server.serves(&new.jwks().unwrap());
        world.advance_clock(HOUR);
        let refused = send(&world, &token).await;
        refused.refused(401, "invalid_access_token");
        send(&world, &signed_by(&new)).await.unchanged();
    }
}

#[tokio::test]
async fn a_cached_token_stays_valid_when_its_key_is_published_again() {
    let key = SigningKey::generate("the-key", Algorithm::EdDSA).unwrap();
    let server = KeyServer::start(&key.jwks().unwrap()).await;
    let world = World::with(&[("ACCESS_TOKEN_JWKS", &server.url)]).await;
    let token = signed_by(&key);
    verify_and_cache(&world, &token).await;
    world.advance_clock(HOUR);
    send(&world, &token).await.unchanged();
    assert_eq!(server.asked(), 2);
}

#[tokio::test]
async fn a_token_cached_as_one_kind_is_refused_as_another() {
    let world = World::with_cart_tokens().await;
    let (access, customer) = (access_token("implicit"), customer_token(RON));
    let good = [access, customer, cart_token("cart-1")];
    let send = |[access, customer, cart]: &[String; 3]| {
        let call = world.post("cart-1").bearer(access);
        let call = call.customer_token(customer).cart_token(cart);
        call.body(linkage(&[RON])).send()
    };
    send(&good).await.created(&[RON]);
    for (index, kind) in ["access", "customer", "cart"].into_iter().enumerate() {
        let code = format!("invalid_{kind}_token");
        for other in good.iter().filter(|other| **other != good[index]) {
            let mut tokens = good.clone();
            tokens[index].clone_from(other);
            send(&tokens).await.refused(401, &code);
        }
    }
    send(&good).await.unchanged();
}

#[tokio::test]
async fn a_cart_token_cached_for_its_cart_is_refused_for_another_cart() {
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
async fn more_tokens_than_the_cache_holds_are_accepted() {
    let world = World::new().await;
    let first = back_end_token(&json!({}));
    verify_and_cache(&world, &first).await;
    for number in 0..600 {
        let token = back_end_token(&json!({ "jti": number.to_string() }));
        send(&world, &token).await.unchanged();
    }
    send(&world, &first).await.unchanged();
}

/// A token that outlasts every test.
fn signed_by(key: &SigningKey) -> String {
    let claims = json!({
        "iss": authorities().access.issuer, "aud": authorities().access.audience,
        "sub": "back-end", "exp": lasting(), "grant_type": "client_credentials",
    });
    let header = serde_json::to_string(&key.header()).unwrap();
    key.sign(&header, &claims.to_string()).unwrap()
}
