//! Any JSON text as an event of the function. Every event gets an answer of the
//! contract, in time and with a valid document. Nothing is read or written without
//! the tokens that the contract requires.
//!
//! As in `events/`, names in an event are placeholders for tokens. Time only passes
//! while the function waits for it.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use cart_associations::app::App;
use cart_associations::cursor::{self, ListId};
use cart_associations_fuzz::table::{Table, TableCall};
use cart_associations_fuzz::{
    ACCESS_TOKENS, CART, CART_TOKENS, CUSTOMER, CUSTOMER_TOKENS, clock, config, http, is_id,
    mutate, now,
};
use lambda_http::{Context, LambdaEvent};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Placeholders for tokens, for a cursor in the list of the customers of the cart
/// p1, and for a text that nearly fills a body.
const BACK_END: &str = "CLIENT_CREDENTIALS_TOKEN";
const STOREFRONT: &str = "IMPLICIT_TOKEN";
const SIGNED_IN: &str = "CUSTOMER_TOKEN";
const HOLDS_CART: &str = "CART_TOKEN";
const CURSOR: &str = "CURSOR";
const FILLER: &str = "FILLER";

struct World {
    app: App,
    table: Table,
    runtime: Runtime,
    cursor: String,
    filler: String,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    let config = config();
    let table = Table::default();
    let store = runtime.block_on(table.store(config.table_name.clone()));
    let http = http(&config);
    World {
        app: App::new(config, store, &http, clock()),
        table,
        runtime,
        cursor: cursor::encode(
            ListId::CustomersOf(&"p1".parse().expect("an identifier")),
            "ron",
            now(),
        ),
        filler: " ".repeat(65_400),
    }
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    let filled = text
        .replace(BACK_END, ACCESS_TOKENS[0])
        .replace(STOREFRONT, ACCESS_TOKENS[1])
        .replace(SIGNED_IN, CUSTOMER_TOKENS[0])
        .replace(HOLDS_CART, CART_TOKENS[0])
        .replace(CURSOR, &WORLD.cursor)
        .replace(FILLER, &WORLD.filler);
    // The runtime's client only passes JSON to the function.
    let Ok(event) = RawValue::from_string(filled) else {
        return Corpus::Reject;
    };

    let mut context = Context::default();
    "8476a536-e9f4-11e8-9739-2dfe598c3fcd".clone_into(&mut context.request_id);
    let (response, took) = WORLD.runtime.block_on(async {
        let began = Instant::now();
        let Ok(response) = WORLD.app.handle(LambdaEvent::new(event, context)).await;
        (response, began.elapsed())
    });
    let response = serde_json::to_value(&response).expect("an answer is JSON");
    let calls = WORLD.table.take_calls();

    // Clearing may take all the time that there is.
    let limit = if text.contains("PATCH") { 10 } else { 5 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
    let status = check_answer(&response);
    match calls.as_slice() {
        [] => assert!(
            [400, 401, 403, 404, 405, 406, 413, 415].contains(&status),
            "{response}"
        ),
        calls => check_calls(text, status, &response, calls),
    }
    Corpus::Keep
});

/// Checks what the contract requires of every answer. Returns the status.
fn check_answer(response: &Value) -> u64 {
    let status = response["statusCode"].as_u64().expect("a status");
    let headers = &response["headers"];
    assert_eq!(response["isBase64Encoded"], json!(false), "{response}");
    assert_eq!(headers["vary"], "Accept", "{response}");
    let body = response["body"].as_str();
    if status == 204 {
        assert!(body.is_none() && headers["content-type"].is_null());
        return status;
    }
    assert!(
        headers["content-type"] == "application/json"
            || headers["content-type"] == "application/vnd.api+json",
        "{response}"
    );
    let body = body.expect("a body");
    let document: Value = serde_json::from_str(body).expect("a document");
    if status == 200 {
        return status;
    }

    let errors = document["errors"].as_array().expect("errors");
    assert!((1..=100).contains(&errors.len()), "{response}");
    for error in errors {
        assert_eq!(error["status"], status.to_string(), "{response}");
        for name in ["id", "code", "title", "detail"] {
            assert!(
                error[name].as_str().is_some_and(|text| !text.is_empty()),
                "{response}"
            );
        }
    }
    // An error never contains input as it was sent.
    assert!(body.is_ascii(), "{response}");
    for (name, with) in [
        ("www-authenticate", 401),
        ("allow", 405),
        ("retry-after", 503),
    ] {
        assert_eq!(headers[name].is_string(), status == with, "{response}");
    }
    status
}

/// Checks an event for which the function called the table.
fn check_calls(text: &str, status: u64, response: &Value, calls: &[TableCall]) {
    let last = calls.last().expect("a call");
    match status {
        200 | 204 => assert!(!last.failed, "{response} to {calls:?}"),
        // The customer is not on the cart.
        403 => assert!(last.is_read && !last.failed, "{response} to {calls:?}"),
        503 => assert!(last.failed, "{response} to {calls:?}"),
        _ => panic!("{response} to {calls:?}"),
    }
    for TableCall {
        is_read,
        cart,
        customers,
        ..
    } in calls
    {
        assert!(is_id(cart) || (*is_read && cart.is_empty()), "{cart:?}");
        assert!(
            *is_read || (1..=100).contains(&customers.len()),
            "{customers:?}"
        );
        assert!(
            customers.iter().all(|customer| is_id(customer)),
            "{customers:?}"
        );
    }
    if status == 200 {
        let body = response["body"].as_str().expect("a body");
        let document: Value = serde_json::from_str(body).expect("a document");
        if last.is_read {
            let members = document["data"].as_array().expect("members");
            let limit = document["meta"]["page"]["limit"].as_u64();
            assert!(limit.is_some_and(|limit| members.len() as u64 <= limit));
            let id = |member: &Value| member["id"].as_str().is_some_and(is_id);
            assert!(members.iter().all(id), "{document}");
        } else {
            let members: Vec<Value> = last
                .customers
                .iter()
                .map(|id| json!({ "type": "customer", "id": id }))
                .collect();
            assert_eq!(document, json!({ "data": members }));
        }
    }

    let back_end = text.contains(BACK_END);
    let signed_in = text.contains(SIGNED_IN);
    assert!(back_end || text.contains(STOREFRONT), "{text}");
    assert!(back_end || signed_in, "{text}");
    // For a customer, a cart's customers are listed only after a read has shown that
    // the customer is on the cart.
    assert!(back_end || !calls[0].customers.is_empty(), "{text}");
    // A customer is associated only with a cart that they hold.
    let held = |call: &TableCall| call.cart == CART && text.contains(HOLDS_CART);
    assert!(
        back_end || calls.iter().all(|call| !call.associates || held(call)),
        "{text}"
    );
    let own = |customer: &String| customer == CUSTOMER;
    assert!(
        back_end || calls.iter().all(|call| call.customers.iter().all(own)),
        "{text}"
    );
}
