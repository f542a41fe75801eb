//! The shapes of Lambda events: the samples in `events/`, with their table in
//! `docs/development.md`, and what else API Gateway, function URLs and `cargo lambda
//! watch` send for the same request.

use lambda_http::Body;
use lambda_http::http::Request;
use serde_json::{Value, json};

use crate::docs::rows;
use crate::support::call::Call;
use crate::support::{RON, World, access_token, customer_token, linkage, sample, sample_names};

/// The table of samples: each with the status of its answer, and the codes if that
/// is an error, when all are sent in this order to one cart.
fn samples() -> Vec<(&'static str, u64, Vec<&'static str>)> {
    let rows = rows(include_str!("../../docs/development.md"), "Sample events");
    let sample = |row: &'static str| {
        let [name, _, answer] = row.trim_matches('|').split('|').collect::<Vec<_>>()[..] else {
            panic!("not three columns: {row}");
        };
        let mut answer = answer.split_whitespace().map(|text| text.trim_matches('`'));
        let status = answer.next().unwrap().parse().unwrap();
        (name.trim_matches([' ', '`']), status, answer.collect())
    };
    rows.into_iter().map(sample).collect()
}

#[tokio::test]
async fn every_sample_gets_the_documented_answer() {
    let world = World::with_account_tokens().await;
    let mut left = sample_names();
    for (name, status, codes) in samples() {
        assert!(left.remove(name), "{name}");
        let answer = Call::event(world.app(), sample(name)).send().await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
        if status >= 400 {
            assert_eq!(answer.codes(), codes, "{name}");
        }
    }
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn a_sample_with_a_customer_token_needs_a_cart_token_if_they_are_configured() {
    let world = World::with_cart_tokens().await;
    for (token, status) in [("customer", 403), ("cart", 200)] {
        let name = format!("associate-{token}-token");
        let answer = Call::event(world.app(), sample(&name)).send().await;
        assert_eq!(answer.status, status, "{name}: {answer:?}");
    }
}

/// A sample with one value replaced, or removed if the new value is null.
fn changed(name: &str, pointer: &str, value: Value) -> Value {
    let mut event = sample(name);
    let (parent, member) = pointer.rsplit_once('/').unwrap();
    let parent = event.pointer_mut(parent).unwrap().as_object_mut().unwrap();
    if value.is_null() {
        parent.remove(member);
    } else {
        parent.insert(member.to_owned(), value);
    }
    event
}

#[tokio::test]
async fn the_route_is_found_in_every_shape_of_an_event() {
    let world = World::new().await;
    let http_api = "associate-client-credentials";
    let named_stage = "associate-several-named-stage";
    let rest_api = "associate-rest-api";
    let path = "/v2/carts/cart-1/relationships/customers";
    for event in [
        // Without path parameters, the path decides.
        changed(http_api, "/pathParameters", Value::Null),
        changed(named_stage, "/pathParameters", Value::Null),
        changed(rest_api, "/pathParameters", Value::Null),
        changed(http_api, "/routeKey", json!("$default")),
        // With path parameters, the gateway has matched the route and the path may
        // have any base path.
        changed(http_api, "/rawPath", json!(format!("/shop/api{path}"))),
        changed(rest_api, "/path", json!(format!("/shop{path}"))),
        // A greedy proxy parameter is the path without stage and base path.
        {
            let mut event = changed(http_api, "/routeKey", json!("ANY /{proxy+}"));
            event["pathParameters"] = json!({ "proxy": &path[1..] });
            event["rawPath"] = json!(format!("/base{path}"));
            event
        },
        // A stage may have the same name as a path segment.
        {
            let mut event = changed(named_stage, "/pathParameters", Value::Null);
            event["requestContext"]["stage"] = json!("v2");
            event["rawPath"] = json!(format!("/v2{path}"));
            event
        },
    ] {
        let answer = Call::event(world.app(), event.clone()).send().await;
        assert!([200, 204].contains(&answer.status), "{answer:?} to {event}");
    }
}

#[tokio::test]
async fn a_token_that_is_sent_twice_is_refused() {
    let world = World::with_cart_tokens().await;
    let twice = |name: &str, change: fn(&mut Value)| {
        let mut event = sample(name);
        change(&mut event);
        Call::event(world.app(), event).send()
    };
    let answer = twice("associate-rest-api", |event| {
        let token = event["headers"]["Authorization"].clone();
        event["multiValueHeaders"]["Authorization"] = json!([token, token]);
    });
    answer.await.refused(401, "invalid_access_token");
    let answer = twice("associate-customer-token", |event| {
        event["headers"]["X-Moltin-Customer-Token"] = json!(customer_token("other"));
    });
    answer.await.refused(401, "invalid_customer_token");
    let answer = twice("associate-cart-token", |event| {
        event["headers"]["X-Cart-Token"] = event["headers"]["x-cart-token"].clone();
    });
    answer.await.refused(401, "invalid_cart_token");
    let answer = twice("associate-client-credentials", |event| {
        let token = event["headers"]["authorization"].as_str().unwrap();
        event["headers"]["authorization"] = json!(format!("{token},{token}"));
    });
    answer.await.refused(401, "invalid_access_token");
    assert!(world.stored().await.is_empty());
}

/// Version 1.9.2 sends fields of several kinds of events.
#[tokio::test]
async fn an_event_from_cargo_lambda_watch_is_served() {
    let world = World::new().await;
    let token = access_token("client_credentials");
    let event = json!({
        "type": null, "methodArn": null, "httpMethod": "GET", "identitySource": null,
        "authorizationToken": null, "resource": null, "version": "2.0", "routeKey": "$default",
        "rawPath": "/v2/carts/cart-1/relationships/customers", "rawQueryString": null,
        "headers": {
            "host": "localhost:9000", "accept": "*/*", "content-length": "44",
            "content-type": "application/json", "authorization": format!("Bearer {token}"),
        },
        "pathParameters": { "cartId": "cart-1" },
        "requestContext": {
            "routeKey": "$default", "accountId": null, "stage": "$default", "apiId": null,
            "domainName": "localhost", "domainPrefix": "_", "timeEpoch": 1_795_389_654,
            "http": { "method": "POST", "path": "/v2/carts/cart-1/relationships/customers" },
        },
        "stageVariables": {}, "body": linkage(&["ron"]).to_string(), "isBase64Encoded": false,
    });
    let answer = Call::event(world.app(), event).send().await;
    answer.created(&["ron"]);
}

#[tokio::test]
async fn unused_fields_of_an_event_may_have_any_value() {
    let world = World::new().await;
    let mut event = sample("associate-client-credentials");
    event["headers"]["content-length"] = json!(72);
    event["cookies"] = Value::Null;
    event["queryStringParameters"] = json!({});
    event["requestContext"]["authorizer"] = json!({ "anything": [1] });
    event["requestContext"]["timeEpoch"] = json!("never");
    event["stageVariables"] = json!(7);
    assert_eq!(Call::event(world.app(), event).send().await.status, 200);
}

/// cargo-lambda refuses answers of format 2.0 without `cookies`. REST APIs allow
/// only five members in an answer.
#[tokio::test]
async fn an_answer_has_the_members_of_its_payload_format() {
    let world = World::new().await;
    for name in ["associate-client-credentials", "bad-method"] {
        let answer = Call::event(world.app(), sample(name)).respond().await;
        assert_eq!(answer["cookies"], json!([]), "{name}");
    }
    let call = Call::event(world.app(), sample("associate-rest-api"));
    let answer = call.respond().await;
    let known = "statusCode headers multiValueHeaders body isBase64Encoded";
    for member in answer.as_object().unwrap().keys() {
        assert!(known.split(' ').any(|known| known == member), "{member}");
    }
}

#[tokio::test]
async fn an_event_that_is_not_from_an_api_gets_an_answer() {
    let world = World::new().await;
    let changed = |pointer, value| changed("associate-client-credentials", pointer, value);
    let odd_types = json!({ "rawPath": 7, "requestContext": [], "headers": "x", "body": {} });
    for (event, status) in [
        (json!({}), 404),
        (json!(null), 400),
        (json!("text"), 400),
        (json!(7), 400),
        (json!({ "Records": [{ "eventSource": "aws:sqs" }] }), 404),
        (odd_types, 404),
        (changed("/headers", Value::Null), 401),
        (changed("/headers", json!([])), 401),
        (changed("/headers/authorization", json!(7)), 401),
        (changed("/body", json!(7)), 400),
        (changed("/headers/host", json!("a b:c/ü")), 200),
        (changed("/headers/host", json!("\u{0}")), 204),
        (changed("/headers/host", json!("")), 204),
        (changed("/headers/x-forwarded-proto", json!("1:")), 204),
        (changed("/rawQueryString", json!("%%%=\u{0}&#")), 204),
        (changed("/requestContext/http/method", json!("")), 405),
        (changed("/requestContext/http/method", json!("P Ö")), 405),
        (changed("/isBase64Encoded", json!(true)), 400),
    ] {
        let answer = Call::event(world.app(), event.clone()).send().await;
        assert_eq!(answer.status, status, "{answer:?} to {event}");
    }
}

/// Behind the events, the function is an ordinary HTTP service.
#[tokio::test]
async fn a_request_without_an_event_is_answered() {
    let world = World::new().await;
    let request = |method: &str, query: &str| {
        Request::builder()
            .method(method)
            .uri(format!("/v2/carts/cart-1/relationships/customers{query}"))
            .header(
                "authorization",
                format!("Bearer {}", access_token("client_credentials")),
            )
    };
    let post = request("POST", "").body(Body::Text(linkage(&[RON]).to_string()));
    let created = world.app().handle(post.unwrap()).await;
    assert_eq!(created.status(), 200);
    let get = request("GET", "?page[limit]=1").body(Body::Empty);
    let listed = world.app().handle(get.unwrap()).await;
    let document: Value = serde_json::from_slice(listed.body()).unwrap();
    assert_eq!(document["data"][0]["id"], RON);
    let this = "/v2/carts/cart-1/relationships/customers?page%5Blimit%5D=1";
    assert_eq!(document["links"]["self"], this);
}
