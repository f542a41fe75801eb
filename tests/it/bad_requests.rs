//! Every kind of invalid request in the contract, and the order in which a request
//! is checked.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::support::call::{Call, REQUEST_ID};
use crate::support::{RON, World, linkage};

#[tokio::test]
async fn an_identifier_outside_the_safe_characters_is_400() {
    let world = World::new().await;
    let long = "x".repeat(129);
    for id in ["a b", "a#b", "a.b", "ä", "a%41", "", &long] {
        let answer = world.associate(id, &[RON]).send().await;
        assert_eq!(
            answer.refused(400, "invalid_id"),
            json!({ "parameter": "cartId" }),
            "{id}"
        );
        let answer = world.associate("cart-1", &[id]).send().await;
        assert_eq!(
            answer.refused(400, "invalid_id"),
            json!({ "pointer": "/data/0/id" }),
            "{id}"
        );
    }
    let longest = "x".repeat(128);
    world
        .associate(&longest, &[&longest])
        .send()
        .await
        .created(&[&longest]);
}

#[tokio::test]
async fn a_body_that_is_not_a_linkage_document_is_400() {
    let world = World::new().await;
    for (body, code, pointer) in [
        ("", "body_required", ""),
        ("not json", "invalid_json", ""),
        ("{\"data\":", "invalid_json", ""),
        ("[]", "invalid_document", ""),
        ("null", "invalid_document", ""),
        ("{}", "data_required", ""),
        (r#"{"data":null}"#, "invalid_data", "/data"),
        (
            r#"{"data":{"type":"customer","id":"ron"}}"#,
            "invalid_data",
            "/data",
        ),
        (r#"{"data":[]}"#, "data_empty", "/data"),
        (r#"{"data":["ron"]}"#, "invalid_member", "/data/0"),
        (r#"{"data":[{"id":"ron"}]}"#, "type_required", "/data/0"),
        (
            r#"{"data":[{"type":"customers","id":"ron"}]}"#,
            "invalid_type",
            "/data/0/type",
        ),
        (
            r#"{"data":[{"type":"customer"}]}"#,
            "id_required",
            "/data/0",
        ),
        (
            r#"{"data":[{"type":"customer","id":1}]}"#,
            "invalid_id",
            "/data/0/id",
        ),
    ] {
        let answer = world.post("cart-1").back_end().text(body).send().await;
        assert_eq!(
            answer.refused(400, code),
            json!({ "pointer": pointer }),
            "{body}"
        );
    }
    let no_body = world.post("cart-1").back_end().send().await;
    no_body.refused(400, "body_required");
    let not_utf_8 = world
        .post("cart-1")
        .back_end()
        .base64(&STANDARD.encode(b"{\"data\":\"\xff\"}"));
    not_utf_8.send().await.refused(400, "invalid_encoding");
    let not_base64 = world.post("cart-1").back_end().base64("{}");
    not_base64.send().await.refused(400, "invalid_encoding");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn all_faults_of_a_body_are_reported_together() {
    let world = World::new().await;
    let body = json!({ "data": [
        { "type": "cart", "id": "a b" }, { "type": "customer", "id": RON }, 7, {},
    ]});
    let answer = world.post("cart-1").back_end().body(body).send().await;
    assert_eq!(answer.status, 400);
    assert_eq!(
        answer.codes(),
        [
            "invalid_type",
            "invalid_id",
            "invalid_member",
            "type_required",
            "id_required"
        ]
    );
    let pointers = [
        "/data/0/type",
        "/data/0/id",
        "/data/2",
        "/data/3",
        "/data/3",
    ];
    assert_eq!(
        answer.errors("source"),
        pointers.map(|pointer| json!({ "pointer": pointer }))
    );
    assert_eq!(answer.errors("id"), [REQUEST_ID; 5]);
    assert!(world.stored().await.is_empty());
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

/// JSON:API 1.1, "Query Parameters".
#[tokio::test]
async fn a_query_parameter_with_a_reserved_name_is_400_on_every_route() {
    let world = World::new().await;
    let queries = [
        "include=a",
        "sort=a",
        "filter=a",
        "fields[x]=a",
        "foo=a",
        "page[limit]=1",
    ];
    for query in queries {
        for call in [
            world.associate("cart-1", &[RON]),
            world.dissociate("cart-1", &[RON]),
        ] {
            let name = query.split(['[', '=']).next().unwrap();
            let source = call
                .query(query)
                .send()
                .await
                .refused(400, "unsupported_parameter");
            assert_eq!(source, json!({ "parameter": name }));
        }
    }
    assert!(world.stored().await.is_empty());
    let custom = world
        .associate("cart-1", &[RON])
        .query("utm_source=a&camelCase=b&c3=d");
    custom.send().await.created(&[RON]);
}

#[tokio::test]
async fn more_than_a_hundred_customers_are_400() {
    let world = World::new().await;
    let ids: Vec<String> = (0..101).map(|id| format!("c{id}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = world.associate("cart-1", &ids).send().await;
    assert_eq!(
        answer.refused(400, "too_many_members"),
        json!({ "pointer": "/data" })
    );
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn an_unknown_path_is_404_even_without_a_token() {
    let world = World::new().await;
    let event = |path: &str| {
        json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "headers": {},
            "requestContext": { "http": { "method": "POST" }, "stage": "$default" },
        })
    };
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
        let answer = Call::event(world.app(), event(path)).send().await;
        assert_eq!(
            answer.refused(404, "route_not_found"),
            Value::Null,
            "{path}"
        );
    }
}

#[tokio::test]
async fn an_unsupported_method_is_405_even_without_a_token() {
    let world = World::new().await;
    for method in ["PUT", "patch", "HEAD", "OPTIONS", "post", "TRACE"] {
        let answer = world.post("cart-1").method(method).send().await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(
            answer.header("allow"),
            Some("GET, POST, PATCH, DELETE"),
            "{method}"
        );
    }
}

#[tokio::test]
async fn the_carts_of_a_customer_can_only_be_listed_and_cleared() {
    let world = World::new().await;
    for (path, allow) in [
        ("/v2/carts", "GET"),
        ("/v2/customers/ron/relationships/carts", "GET, PATCH"),
    ] {
        let answer = world.get(path).method("POST").send().await;
        answer.refused(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), Some(allow), "{path}");
    }
}

#[tokio::test]
async fn accept_is_406_if_every_json_api_media_type_has_unknown_parameters() {
    let world = World::new().await;
    let accept = |value: &str| world.associate("cart-1", &[RON]).header("accept", value);
    let refused = accept("application/vnd.api+json; ext=\"https://example.com/x\"")
        .send()
        .await;
    assert_eq!(
        refused.refused(406, "not_acceptable"),
        json!({ "header": "Accept" })
    );
    assert!(world.stored().await.is_empty());
    accept("application/vnd.api+json; a=b, application/vnd.api+json")
        .send()
        .await
        .created(&[RON]);
    accept("text/html").send().await.unchanged();
}

#[tokio::test]
async fn the_answer_is_json_api_if_accept_names_it() {
    let world = World::new().await;
    for cart in ["cart-1", "no cart"] {
        let call = world.associate(cart, &[RON]);
        let answer = call
            .header("accept", "application/vnd.api+json")
            .send()
            .await;
        assert_eq!(
            answer.header("content-type"),
            Some("application/vnd.api+json")
        );
    }
    let bad_method = world
        .post("cart-1")
        .method("PUT")
        .header("accept", "application/vnd.api+json");
    assert_eq!(
        bad_method.send().await.header("content-type"),
        Some("application/vnd.api+json")
    );
}

#[tokio::test]
async fn an_unsupported_content_type_is_415() {
    let world = World::new().await;
    let post = |content_type: &str| {
        world
            .associate("cart-1", &[RON])
            .header("content-type", content_type)
    };
    for content_type in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "application/vnd.api+json; ext=\"https://example.com/x\"",
        "application/vnd.api+json; charset=utf-8",
        "application/vnd.api+json; profile=\"https://example.com/x\"; charset=utf-8",
        "",
        "json",
    ] {
        let answer = post(content_type).send().await;
        let source = answer.refused(415, "unsupported_media_type");
        assert_eq!(
            source,
            json!({ "header": "Content-Type" }),
            "{content_type}"
        );
    }
    assert!(world.stored().await.is_empty());
    post("application/vnd.api+json")
        .send()
        .await
        .created(&[RON]);
    post("application/json; charset=UTF-8")
        .send()
        .await
        .unchanged();
}

#[tokio::test]
async fn a_body_over_64_kib_is_413() {
    let world = World::new().await;
    let padded = |length: usize| {
        let body = linkage(&[RON]).to_string();
        let spaces = " ".repeat(length - body.len());
        body + &spaces
    };
    let over = padded(64 * 1024 + 1);
    world
        .post("cart-1")
        .back_end()
        .text(&over)
        .send()
        .await
        .refused(413, "body_too_large");
    let encoded = STANDARD.encode(&over);
    world
        .post("cart-1")
        .back_end()
        .base64(&encoded)
        .send()
        .await
        .refused(413, "body_too_large");
    let fits = padded(64 * 1024);
    world
        .post("cart-1")
        .back_end()
        .text(&fits)
        .send()
        .await
        .created(&[RON]);
    world
        .post("cart-1")
        .back_end()
        .base64(&STANDARD.encode(&fits))
        .send()
        .await
        .unchanged();
}

/// Each call has the fault that is reported, and faults that are checked later.
#[tokio::test]
async fn a_request_is_checked_in_the_order_of_the_contract() {
    let world = World::new().await;
    let over = "x".repeat(64 * 1024 + 1);
    let bad_path = || {
        world
            .post("no cart")
            .header("content-type", "text/plain")
            .text(&over)
    };
    bad_path()
        .method("PUT")
        .bearer("x")
        .send()
        .await
        .refused(405, "method_not_allowed");
    bad_path()
        .send()
        .await
        .refused(401, "access_token_required");
    bad_path()
        .bearer("x")
        .customer_token("x")
        .send()
        .await
        .refused(401, "invalid_access_token");
    let bad_customer = bad_path().back_end().customer_token("x");
    bad_customer
        .send()
        .await
        .refused(401, "invalid_customer_token");
    bad_path()
        .grant("implicit")
        .send()
        .await
        .refused(400, "invalid_id");
    let bad_type = world
        .post("cart-1")
        .grant("implicit")
        .header("content-type", "text/plain");
    bad_type
        .text(&over)
        .send()
        .await
        .refused(415, "unsupported_media_type");
    let too_large = world.post("cart-1").grant("implicit").text(&over);
    too_large.send().await.refused(413, "body_too_large");
    let bad_body = world.post("cart-1").grant("implicit").text("{}");
    bad_body.send().await.refused(400, "data_required");
    let forbidden = world.post("cart-1").grant("implicit").body(linkage(&[RON]));
    forbidden
        .send()
        .await
        .refused(403, "customer_token_required");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn answers_do_not_echo_the_request() {
    let world = World::new().await;
    let mark = "m4rk";
    for call in [
        world.associate(&format!("{mark} "), &[RON]),
        world.associate("cart-1", &[&format!("{mark}<script>")]),
        world
            .post("cart-1")
            .back_end()
            .body(json!({ "data": [{ "type": mark, mark: mark }] })),
        world.post("cart-1").back_end().text(mark),
        world
            .associate("cart-1", &[RON])
            .header("content-type", mark),
        world
            .associate("cart-1", &[RON])
            .header("accept", "application/vnd.api+json;m4rk=m4rk"),
        world.associate("cart-1", &[RON]).bearer(mark),
        world.associate("cart-1", &[RON]).customer_token(mark),
        world.post("cart-1").customer(RON).body(linkage(&[mark])),
        world.post("cart-1").method(mark),
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
    let world = World::new().await;
    assert_eq!(
        world.post("cart-1").send().await.errors("links"),
        [Value::Null]
    );
}
