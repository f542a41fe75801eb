//! Properties of the answers to arbitrary events and bodies: the status is one
//! of the contract and never a 5xx, and invalid input is refused.
//!
//! Each test generates cases from a fixed seed, so they are the same in every run.
//! Most parts of a case are valid, so that many cases pass the first checks.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::{RON, World, sample, sample_names};

/// The statuses of the contract that callers can cause.
const STATUSES: [u64; 10] = [200, 204, 400, 401, 403, 404, 405, 406, 413, 415];

/// Checks a property with this number of cases, all in this world.
fn check<S, F>(
    world: impl Future<Output = World>,
    cases: u32,
    strategy: &S,
    property: impl Fn(&'static World, S::Value) -> F,
) where
    S: Strategy,
    S::Value: Debug,
    F: Future<Output = ()>,
{
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    // Never dropped, so that a property can borrow it.
    let world: &World = Box::leak(Box::new(runtime.block_on(world)));
    let mut runner = TestRunner::new(Config {
        cases,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(20_261_123),
        max_shrink_iters: 500,
        ..Config::default()
    });
    let result = runner.run(strategy, |case| {
        runtime.block_on(property(world, case));
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error}"));
}

/// Sends a request and returns its answer, which must have one of [`STATUSES`].
async fn answer(call: Call<'_>) -> Answer {
    let answer = call.send().await;
    assert!(STATUSES.contains(&answer.status), "{answer:?}");
    if answer.status >= 400 {
        // An error never contains input as it was sent.
        assert!(answer.body.as_ref().unwrap().is_ascii(), "{answer:?}");
    }
    answer
}

/// Any text, often one that has a meaning in some part of a request.
fn text() -> impl Strategy<Value = String> {
    // Words in JSON, because some are control characters.
    const SPECIAL: &str = r#"["", " ", "\u0000", "\r\n", "\ufeff", "%", "%2F", "../", "//", "null",
        "true", "-1", "1e999", "POST", "GET", "$default", "2.0", "1.0", "Bearer", "Bearer ",
        "application/json", "application/json; charset=utf-8", "application/vnd.api+json",
        "application/vnd.api+json; ext=\"a\"", "application/vnd.api+json;q=0",
        "return=representation", "return=minimal, return=representation", "{}", "[]",
        "{\"data\":[]}", "{\"data\":[{\"type\":\"customer\",\"id\":\"ron\"}]}", "a.b.c", "..",
        "/v2/carts/cart-1/relationships/customers"]"#;
    let special = || select(serde_json::from_str::<Vec<String>>(SPECIAL).unwrap());
    prop_oneof![
        3 => special(),
        2 => any::<String>(),
        2 => "[ -~]{0,40}",
        1 => (special(), any::<String>(), special())
            .prop_map(|(a, b, c)| format!("{a}{b}{c}")),
    ]
}

/// Any JSON.
fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        2 => Just(Value::Null),
        2 => any::<bool>().prop_map(Value::from),
        2 => any::<i64>().prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        2 => any::<f64>().prop_map(Value::from),
        5 => text().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let name = prop_oneof![
            select(&["data", "type", "id", "http", "method", "cartId"][..]).prop_map(str::to_owned),
            text(),
        ];
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((name, inner), 0..4).prop_map(|members| members.into_iter().collect()),
        ]
    })
}

/// A change of one place in a JSON value. An `Index` selects the place.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    /// Removes a member of the place. Replaces a place without members.
    Remove(Index),
    Add(String, Value),
    Repeat,
    /// Inserts a text into the text at the place. Replaces a place that is not a
    /// text.
    Splice(Index, String),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        3 => any_json().prop_map(Change::Replace),
        2 => any::<Index>().prop_map(Change::Remove),
        1 => (text(), any_json()).prop_map(|(name, value)| Change::Add(name, value)),
        1 => Just(Change::Repeat),
        3 => (any::<Index>(), text()).prop_map(|(at, text)| Change::Splice(at, text)),
    ];
    (any::<Index>(), change)
}

/// Collects the JSON pointers of all places in a value, the value itself first.
fn collect_pointers(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    pointers.push(pointer.to_owned());
    let mut member = |name: &str, member| {
        let name = name.replace('~', "~0").replace('/', "~1");
        collect_pointers(member, &format!("{pointer}/{name}"), pointers);
    };
    match value {
        Value::Object(members) => members.iter().for_each(|(name, of)| member(name, of)),
        Value::Array(members) => {
            let members = members.iter().enumerate();
            members.for_each(|(index, of)| member(&index.to_string(), of));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(value: &mut Value, at: Index, change: Change) {
    let mut pointers = Vec::new();
    collect_pointers(value, "", &mut pointers);
    let pointer: &String = at.get(&pointers);
    let place = value.pointer_mut(pointer).unwrap();
    match (change, place) {
        (Change::Replace(new), place) => *place = new,
        (Change::Remove(index), Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(index.index(members.len())).cloned();
            members.remove(&name.unwrap());
        }
        (Change::Remove(index), Value::Array(members)) if !members.is_empty() => {
            members.remove(index.index(members.len()));
        }
        (Change::Remove(_), place) => *place = Value::Null,
        (Change::Repeat, place) => *place = json!([place, place]),
        (Change::Add(name, new), Value::Object(members)) => {
            members.insert(name, new);
        }
        (Change::Add(_, new), Value::Array(members)) => members.push(new),
        (Change::Add(name, new), other) => *other = json!({ name: new, "was": other }),
        (Change::Splice(at, new), place) => {
            *place = json!(splice(place.as_str().unwrap_or_default(), at, &new));
        }
    }
}

fn splice(old: &str, at: Index, new: &str) -> String {
    let at = at.index(old.chars().count() + 1);
    old.chars()
        .take(at)
        .chain(new.chars())
        .chain(old.chars().skip(at))
        .collect()
}

#[test]
fn any_event_gets_an_answer() {
    let samples: Vec<Value> = sample_names().iter().map(|name| sample(name)).collect();
    let changed = (select(samples), vec(change(), 1..5)).prop_map(|(mut event, changes)| {
        for (at, change) in changes {
            apply(&mut event, at, change);
        }
        event
    });
    let events = prop_oneof![9 => changed, 1 => any_json()];
    let world = World::with_account_and_cart_tokens();
    check(world, 600, &events, |world, event| async move {
        answer(Call::event(world.app(), event)).await;
    });
}

/// A body: a document with some changes, or no JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![9 => "[A-Za-z0-9_-]{1,12}", 1 => "[A-Za-z0-9_-]{127,129}"];
    let member = id.prop_map(|id| json!({ "type": "customer", "id": id, "meta": null }));
    let member = member.boxed();
    let members = prop_oneof![6 => vec(member.clone(), 0..6), 1 => vec(member, 95..110)];
    let document = (members, vec(change(), 0..3)).prop_map(|(members, changes)| {
        let mut document = json!({ "data": members, "meta": null });
        for (at, change) in changes {
            apply(&mut document, at, change);
        }
        document.to_string().into_bytes()
    });
    let document = document.boxed();
    let size = prop_oneof![3 => 65_520..65_552_usize, 1 => 65_537..200_000_usize];
    let padded = (document.clone(), size).prop_map(|(mut body, size)| {
        body.resize(body.len().max(size), b' ');
        body
    });
    let broken =
        (document.clone(), any::<Index>(), any::<u8>()).prop_map(|(mut body, at, byte)| {
            *at.get_mut(&mut body) = byte;
            body
        });
    prop_oneof![5 => document, 2 => padded, 3 => broken, 1 => vec(any::<u8>(), 0..200)]
}

/// The customers that a body names, each once and in order; `None` if the function
/// must refuse it. Members that the contract does not mention may be any JSON.
fn customers(body: &[u8]) -> Option<Vec<String>> {
    type Members<'a> = HashMap<String, &'a RawValue>;
    let document: Members<'_> = serde_json::from_slice(body).ok()?;
    let data: Vec<Members<'_>> = serde_json::from_str(document.get("data")?.get()).ok()?;
    let mut customers = Vec::new();
    for member in data {
        let text = |name| serde_json::from_str::<String>(member.get(name)?.get()).ok();
        let safe = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
        let id = text("id").filter(|id| (1..=128).contains(&id.len()) && id.chars().all(safe))?;
        if text("type")? != "customer" {
            return None;
        }
        if !customers.contains(&id) {
            customers.push(id);
        }
    }
    (1..=100).contains(&customers.len()).then_some(customers)
}

#[test]
fn exactly_the_valid_bodies_are_accepted() {
    check(World::new(), 300, &body(), |world, body| async move {
        let request = || world.associate("cart-1", &[RON]);
        let post = || request().header("prefer", "return=representation");
        let encoded = answer(post().base64(&STANDARD.encode(&body))).await;
        let fits = body.len() <= 64 * 1024;
        match customers(&body).filter(|_| fits) {
            Some(customers) => {
                let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
                encoded.created(&customers);
            }
            None => assert_eq!(encoded.status, if fits { 400 } else { 413 }),
        }
        let not_base64 = format!("{}~", STANDARD.encode(&body));
        let not_base64 = answer(post().base64(&not_base64)).await;
        not_base64.refused(400, "invalid_encoding");
        // Each error points to a value that there is.
        if let (400, Ok(document)) = (encoded.status, serde_json::from_slice::<Value>(&body)) {
            for source in encoded.errors("source") {
                let value = document.pointer(source["pointer"].as_str().unwrap());
                assert!(value.is_some(), "{source}: {encoded:?}");
            }
        }
        // PATCH accepts exactly the empty array, which POST refuses.
        let patch = request().method("PATCH");
        let patched = answer(patch.base64(&STANDARD.encode(&body))).await;
        let expected = [204, 400, 403, 413];
        assert!(expected.contains(&patched.status), "{patched:?}");
        let is_empty = encoded.status == 400 && encoded.codes()[0] == "data_empty";
        assert_eq!(patched.status == 204, is_empty, "{patched:?}, {encoded:?}");
        // The same body without base64 gets the same answer.
        if let Ok(text) = String::from_utf8(body) {
            assert_eq!(answer(post().text(&text)).await, encoded);
        }
    });
}
