//! Any bytes as a body. Exactly the valid bodies are accepted, and each customer is
//! read once and in order. For other bodies, each error points to a value that has
//! this fault.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cart_associations::fault::{ErrorCode, Fault, Source};
use cart_associations::request::{CartCustomers, Operation, Request, RequestError};
use cart_associations_fuzz::{customers, is_empty, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// serde_json reads an object with only this member as the JSON in the member's text.
const RAW_VALUE: &[u8] = b"$serde_json::private::RawValue";

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    mutate::json(data, size, max_size, seed)
});

fuzz_target!(|data: &[u8]| {
    let result = read(&STANDARD.encode(data), true);
    match (&result, customers(data)) {
        (Ok(read), Some(expected)) => assert_eq!(*read, expected),
        (Err(faults), None) => check_faults(faults, data),
        (result, expected) => panic!("{result:?} is not {expected:?}"),
    }
    match (clears(data), is_empty(data)) {
        (Ok(()), true) => {}
        (Err(faults), false) => check_faults(&faults, data),
        (result, expected) => panic!("{result:?}, and that it clears is {expected}"),
    }
    if let Ok(text) = std::str::from_utf8(data) {
        assert_eq!(read(text, false), result, "without base64");
    }
});

fn operation(method: &str, body: &str, base64: bool) -> Result<Operation, RequestError> {
    let event = json!({
        "version": "2.0",
        "rawPath": "/v2/carts/cart-1/relationships/customers",
        "requestContext": { "http": { "method": method } },
        "body": body,
        "isBase64Encoded": base64,
    })
    .to_string();
    let request = Request::parse(&event).expect("an event");
    request.route().expect("a route").operation()
}

fn clears(body: &[u8]) -> Result<(), Vec<Fault>> {
    match operation("PATCH", &STANDARD.encode(body), true) {
        Ok(Operation::ClearCart { cart }) => {
            assert_eq!(cart.as_str(), "cart-1");
            Ok(())
        }
        Err(RequestError::Faults(faults)) => Err(faults),
        other => panic!("{other:?}"),
    }
}

fn read(body: &str, base64: bool) -> Result<Vec<String>, Vec<Fault>> {
    match operation("POST", body, base64) {
        Ok(Operation::Associate(CartCustomers { cart, customers })) => {
            assert_eq!(cart.as_str(), "cart-1");
            Ok(customers.iter().map(|id| id.as_str().to_owned()).collect())
        }
        Err(RequestError::Faults(faults)) => Err(faults),
        other => panic!("{other:?}"),
    }
}

/// Asserts that there are faults, and that each points to an existing value that has
/// it.
fn check_faults(faults: &[Fault], body: &[u8]) {
    assert!(!faults.is_empty());
    let is_json = serde_json::from_slice::<&RawValue>(body).is_ok();
    let document = serde_json::from_slice::<Value>(body).ok();
    let has_raw_value = body.windows(RAW_VALUE.len()).any(|part| part == RAW_VALUE);
    if is_json && (document.is_none() || has_raw_value) {
        // JSON that a `Value` cannot represent.
        return;
    }
    for Fault { code, source } in faults {
        let Some(Source::Pointer(pointer)) = source else {
            panic!("{source:?}")
        };
        let value = document.as_ref().map(|document| {
            let value = document.pointer(pointer);
            value.unwrap_or_else(|| panic!("{pointer} points to no value"))
        });
        let has_fault = match code {
            ErrorCode::BodyRequired => body.is_empty(),
            ErrorCode::InvalidEncoding => std::str::from_utf8(body).is_err(),
            ErrorCode::InvalidJson => !is_json,
            ErrorCode::InvalidDocument | ErrorCode::InvalidMember => {
                value.is_some_and(|value| !value.is_object())
            }
            ErrorCode::DataRequired => lacks(value, "data"),
            ErrorCode::TypeRequired => lacks(value, "type"),
            ErrorCode::IdRequired => lacks(value, "id"),
            ErrorCode::InvalidData => value.is_some_and(|value| !value.is_array()),
            ErrorCode::DataEmpty => value == Some(&json!([])),
            ErrorCode::FullReplacementUnsupported => value
                .and_then(Value::as_array)
                .is_some_and(|members| !members.is_empty()),
            ErrorCode::TooManyMembers => value
                .and_then(Value::as_array)
                .is_some_and(|members| members.len() > 100),
            ErrorCode::InvalidType => value.is_some_and(|value| value != "customer"),
            ErrorCode::InvalidId => value
                .is_some_and(|value| !value.as_str().is_some_and(cart_associations_fuzz::is_id)),
            _ => false,
        };
        assert!(has_fault, "{code:?} at {pointer:?}");
    }
}

fn lacks(value: Option<&Value>, name: &str) -> bool {
    value
        .and_then(Value::as_object)
        .is_some_and(|object| !object.contains_key(name))
}
