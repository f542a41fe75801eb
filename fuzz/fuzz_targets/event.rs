//! Any JSON text as an event of the function. Every event gets an answer of the
//! contract with a valid document. Nothing is read or written without the tokens
//! that the contract requires, and nothing but what the body names.
//!
//! As in `events/`, names in an event are placeholders for tokens.
#![no_main]

use std::sync::LazyLock;

use cart_associations_fuzz::{
    ACCESS, BACK_END, CART, CUSTOMER, Call, Function, OF_CARTS, OF_CUSTOMERS, fill, is_id, mutate,
    parties,
};
use libfuzzer_sys::{Corpus, fuzz_mutator, fuzz_target};
use serde_json::Value;
use serde_json::value::RawValue;

/// A cursor in the list of the customers of the cart p1.
const CURSOR: &str = "CURSOR";
/// A text that nearly fills a body.
const FILLER: &str = "FILLER";

const FIRST_PAGE: &str = include_str!("../seeds/event/list-customers-first");

static FUNCTION: LazyLock<Function> = LazyLock::new(Function::start);

/// The placeholders, each with what it stands for.
static FILLED: LazyLock<Vec<(&str, String)>> = LazyLock::new(|| {
    let mut filled = FUNCTION.tokens().to_vec();
    filled.push((FILLER, " ".repeat(65_400)));
    let event = RawValue::from_string(fill(FIRST_PAGE, &filled)).expect("JSON");
    let (answer, _) = FUNCTION.answer(event);
    let document = document(&answer).expect("a list");
    let next = document["links"]["next"].as_str().expect("a next page");
    let (_, cursor) = next.rsplit_once('=').expect("a cursor");
    filled.push((CURSOR, cursor.to_owned()));
    filled
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json_lines(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| -> Corpus {
    let Ok(text) = std::str::from_utf8(data) else {
        return Corpus::Reject;
    };
    // The runtime's client only passes JSON to the function.
    let Ok(event) = RawValue::from_string(fill(text, &FILLED)) else {
        return Corpus::Reject;
    };
    let named = serde_json::from_str(event.get()).ok();
    let named = named.and_then(|event| parties(&event));
    let (answer, calls) = FUNCTION.answer(event);
    let status = check_answer(&answer);
    if calls.is_empty() {
        let refused = [400, 401, 403, 404, 405, 406, 413, 415];
        assert!(refused.contains(&status), "{answer}");
    } else {
        check_calls(text, status, &answer, &calls, named);
    }
    Corpus::Keep
});

fn document(answer: &Value) -> Option<Value> {
    serde_json::from_str(answer["body"].as_str()?).ok()
}

/// Checks what the contract requires of every answer. Returns the status.
fn check_answer(answer: &Value) -> u64 {
    let status = answer["statusCode"].as_u64().expect("a status");
    let headers = &answer["headers"];
    assert_eq!(answer["isBase64Encoded"], false, "{answer}");
    assert_eq!(headers["vary"], "Accept", "{answer}");
    if status == 204 {
        assert!(answer["body"].is_null() && headers["content-type"].is_null());
        return status;
    }
    let media_types = ["application/json", "application/vnd.api+json"];
    let media_type = headers["content-type"].as_str();
    assert!(
        media_type.is_some_and(|own| media_types.contains(&own)),
        "{answer}"
    );
    let document = document(answer).expect("a document");
    if status < 400 {
        return status;
    }

    let errors = document["errors"].as_array().expect("errors");
    assert!((1..=100).contains(&errors.len()), "{answer}");
    for error in errors {
        assert_eq!(error["status"], status.to_string(), "{answer}");
        for name in ["id", "code", "title", "detail"] {
            let text = error[name].as_str();
            assert!(text.is_some_and(|text| !text.is_empty()), "{answer}");
        }
    }
    // An error never contains input as it was sent.
    assert!(document.to_string().is_ascii(), "{answer}");
    for (name, with) in [("www-authenticate", 401), ("allow", 405)] {
        assert_eq!(headers[name].is_string(), status == with, "{answer}");
    }
    status
}

/// Checks an event for which the function called the table.
fn check_calls(
    text: &str,
    status: u64,
    answer: &Value,
    calls: &[Call],
    named: Option<Vec<String>>,
) {
    let last = calls.last().expect("a call");
    match status {
        200 | 204 => {}
        // The customer is not on the cart.
        403 => assert!(last.is_read, "{answer} to {calls:?}"),
        _ => panic!("{answer} to {calls:?}"),
    }
    for call in calls {
        assert!(call.carts.iter().all(|cart| is_id(cart)), "{call:?}");
        assert!(call.parties.iter().all(|party| is_id(party)), "{call:?}");
        assert!(
            call.carts.len() <= 100 && call.parties.len() <= 100,
            "{call:?}"
        );
        if call.associates {
            assert_eq!(named.as_ref(), Some(&call.parties), "{text}");
        }
    }
    if status == 200 {
        let document = document(answer).expect("a document");
        let members = document["data"].as_array().expect("members");
        let ids = members
            .iter()
            .map(|member| member["id"].as_str().expect("an id"));
        if last.is_read {
            let limit = document["meta"]["page"]["limit"].as_u64();
            assert!(limit.is_some_and(|limit| members.len() as u64 <= limit));
            assert!(ids.into_iter().all(is_id), "{document}");
        } else {
            assert_eq!(ids.collect::<Vec<_>>(), last.parties, "{document}");
        }
    }

    let back_end = text.contains(BACK_END);
    let signed_in = text.contains(ACCESS.placeholder) && text.contains(OF_CUSTOMERS.placeholder);
    assert!(back_end || signed_in, "{text}");
    // For a customer, a cart's customers are listed only after a read has shown that
    // the customer is on the cart.
    assert!(back_end || !calls[0].parties.is_empty(), "{text}");
    // A customer is associated only with a cart that they hold.
    let holds_cart = text.contains(OF_CARTS.placeholder);
    let held = |call: &Call| holds_cart && call.carts.iter().all(|cart| cart == CART);
    let own = |call: &Call| call.parties.iter().all(|party| party == CUSTOMER);
    for call in calls {
        assert!(back_end || !call.associates || held(call), "{text}");
        assert!(back_end || own(call), "{text}");
    }
}
