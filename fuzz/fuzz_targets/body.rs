//! Any bytes as a body: exactly what the contract asks for is accepted, each
//! customer once and in order; of everything else each fault is pointed at.
#![no_main]

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cart_associations::request::{
    BodyFault, BodyFaultKind, CartCustomers, Operation, Request, RequestError,
};
use cart_associations_fuzz::{customers, is_empty, mutate};
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use serde_json::value::RawValue;
use serde_json::{Value, json};

/// The name of a member by which serde_json takes a text for what is in it.
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
        assert_eq!(read(text, false), result, "base64 makes no difference");
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

fn clears(body: &[u8]) -> Result<(), Vec<BodyFault>> {
    match operation("PATCH", &STANDARD.encode(body), true) {
        Ok(Operation::ClearCart { cart }) => {
            assert_eq!(cart.as_str(), "cart-1");
            Ok(())
        }
        Err(RequestError::Body(faults)) => Err(faults),
        other => panic!("{other:?}"),
    }
}

fn read(body: &str, base64: bool) -> Result<Vec<String>, Vec<BodyFault>> {
    match operation("POST", body, base64) {
        Ok(Operation::Associate(CartCustomers { cart, customers })) => {
            assert_eq!(cart.as_str(), "cart-1");
            Ok(customers.iter().map(|id| id.as_str().to_owned()).collect())
        }
        Err(RequestError::Body(faults)) => Err(faults),
        other => panic!("{other:?}"),
    }
}

/// There are faults, and each points at a value that is there and has it.
fn check_faults(faults: &[BodyFault], body: &[u8]) {
    assert!(!faults.is_empty());
    let is_json = serde_json::from_slice::<&RawValue>(body).is_ok();
    let document = serde_json::from_slice::<Value>(body).ok();
    let has_raw_value = body.windows(RAW_VALUE.len()).any(|part| part == RAW_VALUE);
    if is_json && (document.is_none() || has_raw_value) {
        // JSON, but more than fits in a value, or what serde_json takes for it.
        return;
    }
    for BodyFault { pointer, kind } in faults {
        let value = document.as_ref().map(|document| {
            let value = document.pointer(pointer);
            value.unwrap_or_else(|| panic!("{pointer} points at nothing"))
        });
        let there = match kind {
            BodyFaultKind::BodyMissing => body.is_empty(),
            BodyFaultKind::NotUtf8 => std::str::from_utf8(body).is_err(),
            BodyFaultKind::NotJson => !is_json,
            BodyFaultKind::DocumentNotObject | BodyFaultKind::MemberNotObject => {
                value.is_some_and(|value| !value.is_object())
            }
            BodyFaultKind::DataMissing => lacks(value, "data"),
            BodyFaultKind::TypeMissing => lacks(value, "type"),
            BodyFaultKind::IdMissing => lacks(value, "id"),
            BodyFaultKind::DataNotArray => value.is_some_and(|value| !value.is_array()),
            BodyFaultKind::DataEmpty => value == Some(&json!([])),
            BodyFaultKind::DataNotEmpty => value
                .and_then(Value::as_array)
                .is_some_and(|members| !members.is_empty()),
            BodyFaultKind::TooManyMembers => value
                .and_then(Value::as_array)
                .is_some_and(|members| members.len() > 100),
            BodyFaultKind::TypeNotCustomer => value.is_some_and(|value| value != "customer"),
            BodyFaultKind::IdInvalid => value
                .is_some_and(|value| !value.as_str().is_some_and(cart_associations_fuzz::is_id)),
            BodyFaultKind::NotBase64 => false,
        };
        assert!(there, "{kind:?} at {pointer:?}");
    }
}

fn lacks(value: Option<&Value>, name: &str) -> bool {
    value
        .and_then(Value::as_object)
        .is_some_and(|object| !object.contains_key(name))
}
