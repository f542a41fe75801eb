//! Any JSON text as an event, through the whole function: every event gets an
//! answer of the contract's table, in time, with a valid document, and nothing
//! is written for those who did not show for it what the contract asks for.
//!
//! Tokens stand in an event as in the samples of `events/`: by name. Time does
//! not pass but where the function waits for it.
#![no_main]

use std::sync::LazyLock;
use std::time::Duration;

use cart_associations::app::App;
use cart_associations::cursor::{self, ListId};
use cart_associations_fuzz::table::{Asked, Table};
use cart_associations_fuzz::{
    ACCESS_TOKENS, CUSTOMER, CUSTOMER_TOKENS, clock, config, http, is_id, mutate, now,
};
use lambda_http::{Context, LambdaEvent};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tokio::time::Instant;

/// Names that stand for a token, for a cursor of the customers of the cart p1,
/// and for a text that nearly fills a body.
const BACK_END: &str = "CLIENT_CREDENTIALS_TOKEN";
const STOREFRONT: &str = "IMPLICIT_TOKEN";
const SIGNED_IN: &str = "CUSTOMER_TOKEN";
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
        .replace(CURSOR, &WORLD.cursor)
        .replace(FILLER, &WORLD.filler);
    // What is no JSON does not get out of the runtime's client.
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
    let asked = WORLD.table.take_asked();

    // Clearing may take all the time that there is.
    let limit = if text.contains("PATCH") { 10 } else { 5 };
    assert!(took < Duration::from_secs(limit), "{took:?}");
    let status = check_answer(&response);
    match asked.as_slice() {
        [] => assert!(
            [400, 401, 403, 404, 405, 406, 413, 415].contains(&status),
            "{response}"
        ),
        asked => check_asked(text, status, &response, asked),
    }
    Corpus::Keep
});

/// What the contract says of every answer. Returns its status.
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
    // What a caller sent is never echoed raw.
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

/// What must be true of an event that came as far as the table.
fn check_asked(text: &str, status: u64, response: &Value, asked: &[Asked]) {
    let last = asked.last().expect("it was asked");
    match status {
        200 | 204 => assert!(!last.failed, "{response} to {asked:?}"),
        // A customer who asks for a cart that they are not on.
        403 => assert!(last.reads && !last.failed, "{response} to {asked:?}"),
        503 => assert!(last.failed, "{response} to {asked:?}"),
        _ => panic!("{response} to {asked:?}"),
    }
    for Asked {
        reads,
        cart,
        customers,
        ..
    } in asked
    {
        assert!(is_id(cart) || (*reads && cart.is_empty()), "{cart:?}");
        assert!(
            *reads || (1..=100).contains(&customers.len()),
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
        if last.reads {
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
    // A customer sees a cart's customers only once they are found to be on it.
    assert!(back_end || !asked[0].customers.is_empty(), "{text}");
    let own = |customer: &String| customer == CUSTOMER;
    assert!(
        back_end || asked.iter().all(|asked| asked.customers.iter().all(own)),
        "{text}"
    );
}
