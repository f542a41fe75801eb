//! Bad requests: what the answer says, and the order in which a request is checked.
//! `jsonapi.rs` has the tables of bodies, queries and media types that are refused, and
//! `openapi.rs` causes each error on each route.

use serde_json::{Value, json};

use crate::support::call::Call;
use crate::support::{RON, World, linkage};

#[tokio::test]
async fn an_identifier_outside_the_safe_characters_is_400() {
    let world = World::new().await;
    let long = "x".repeat(129);
    let long_if_encoded = "x".repeat(128) + "é";
    let odd = [
        "", " ", "a b", "a#b", "a.b", "a/b", "a%41", "a%2Fb", "a\n", "a\0", "ä", "ａ",
    ];
    for id in odd.into_iter().chain([&*long, &long_if_encoded]) {
        let answer = world.associate(id, &[RON]).send().await;
        let source = answer.refused(400, "invalid_id");
        assert_eq!(source, json!({ "parameter": "cartId" }), "{id}");
        let answer = world.associate("cart-1", &[id]).send().await;
        let source = answer.refused(400, "invalid_id");
        assert_eq!(source, json!({ "pointer": "/data/0/id" }), "{id}");
    }
    let longest = "x".repeat(128);
    for id in ["a", "Az09_-", &longest] {
        world.associated(id, &[id]).await;
    }
}

#[tokio::test]
async fn no_response_has_more_than_a_hundred_errors() {
    let world = World::new().await;
    let names = (0..120).map(|number| {
        let letters = [number / 26, number % 26].map(|letter| char::from(b'a' + letter));
        format!("x{}{}=1", letters[0], letters[1])
    });
    let query = names.collect::<Vec<_>>().join("&");
    let own = world.get(&format!("/v2/carts?{query}")).customer(RON);
    let answer = own.send().await;
    assert_eq!(answer.codes(), ["unsupported_parameter"; 100]);

    let body = json!({ "data": vec![7; 30_000] });
    let answer = world.post("cart-1").back_end().body(body).send().await;
    assert_eq!(answer.codes(), ["invalid_member"; 100]);
}

#[tokio::test]
async fn an_unknown_path_is_404_even_without_a_token() {
    let world = World::new().await;
    for path in [
        "",
        "/",
        "/v2",
        "/v1/carts/a/relationships/customers",
        "/v2/carts/a/relationships",
        "/v2/carts/a/relationships/customers/",
        "/v2/carts/a/relationships/customers/b",
        "/v2/carts/a/b/relationships/customers",
        "//v2/carts/a/relationships/customers",
        "/V2/carts/a/relationships/customers",
        "/x/v2/carts/a/relationships/customers",
        "v2/carts/a/relationships/customers",
    ] {
        let answer = Call::new(world.app(), "POST", path).send().await;
        let source = answer.refused(404, "route_not_found");
        assert_eq!(source, Value::Null, "{path}");
    }
}

/// Each call has the fault that is reported, and faults that are checked later.
#[tokio::test]
async fn a_request_is_checked_in_the_order_of_the_contract() {
    let world = World::new().await;
    let over = "x".repeat(64 * 1024 + 1);
    let bad_path = || {
        let call = world.post("no cart").header("content-type", "text/plain");
        call.text(&over)
    };
    let post = || world.post("cart-1").grant("implicit");
    let bad_method = bad_path().method("PUT").bearer("x");
    let bad_access = bad_path().bearer("x").customer_token("x");
    let bad_customer = bad_path().back_end().customer_token("x");
    let bad_type = post().header("content-type", "text/plain").text(&over);
    for (call, status, code) in [
        (bad_method, 405, "method_not_allowed"),
        (bad_path(), 401, "access_token_required"),
        (bad_access, 401, "invalid_access_token"),
        (bad_customer, 401, "invalid_customer_token"),
        (bad_path().grant("implicit"), 400, "invalid_id"),
        (bad_type, 415, "unsupported_media_type"),
        (post().text(&over), 413, "body_too_large"),
        (post().text("{}"), 400, "data_required"),
        (post().body(linkage(&[RON])), 403, "customer_token_required"),
    ] {
        call.send().await.refused(status, code);
    }
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn answers_do_not_echo_the_request() {
    let world = World::new().await;
    let mark = "m4rk";
    let good = || world.associate("cart-1", &[RON]);
    let post = || world.post("cart-1");
    let member = json!({ "data": [{ "type": mark, mark: mark }] });
    for call in [
        world.associate(&format!("{mark} "), &[RON]),
        world.associate("cart-1", &[&format!("{mark}<script>")]),
        post().back_end().body(member),
        post().back_end().text(mark),
        good().header("content-type", mark),
        good().header("accept", "application/vnd.api+json;m4rk=m4rk"),
        good().bearer(mark),
        good().customer_token(mark),
        post().customer(RON).body(linkage(&[mark])),
        post().method(mark),
    ] {
        let answer = call.send().await;
        assert!(answer.status >= 400, "{answer:?}");
        assert!(!format!("{answer:?}").contains(mark), "{answer:?}");
    }
}

#[tokio::test]
async fn errors_link_to_their_documentation_if_it_is_configured() {
    let world = World::with(&[("ERROR_DOCS_URL", "https://docs.example.com/errors")]).await;
    let answer = world.post("cart-1").send().await;
    let about = "https://docs.example.com/errors#access_token_required";
    assert_eq!(answer.errors("links"), [json!({ "about": about })]);
    let answer = World::new().await.post("cart-1").send().await;
    assert_eq!(answer.errors("links"), [Value::Null]);
}
