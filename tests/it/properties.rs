//! Properties of the answers to arbitrary input, in each place that a caller
//! controls: the status is one of the contract and never a 5xx, and invalid input is
//! refused.
//!
//! Each test generates cases from a fixed seed, so they are the same in every run.
//! Most parts of a case are valid, so that many cases pass the first checks.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cart_associations::clock::Timestamp;
use cart_associations::cursor;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::{RON, World, access_token, customer_token, linkage, sample, sample_names};

/// The statuses of the contract that callers can cause.
const STATUSES: [u64; 10] = [200, 204, 400, 401, 403, 404, 405, 406, 413, 415];

const GOOD_CART: &str = "cart-1";

/// An access token for client_credentials, signed once for all cases.
static BACK_END: LazyLock<String> = LazyLock::new(|| access_token("client_credentials"));

/// Ron's customer token.
static RON_TOKEN: LazyLock<String> = LazyLock::new(|| customer_token(RON));

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

/// A valid request.
fn valid_request(world: &World) -> Call<'_> {
    let call = world.post(GOOD_CART).bearer(&BACK_END);
    call.body(linkage(&[RON]))
}

/// An identifier.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[A-Za-z0-9_-]{1,12}", 1 => "[A-Za-z0-9_-]{128}"]
}

/// An invalid identifier, often with only one invalid character.
fn invalid_id() -> impl Strategy<Value = String> {
    let odd = prop_oneof![
        any::<char>(),
        select(
            "#/%.+ \0\n\r\t\u{7f}é\u{ff21}\u{200b}\"\\:,;=~!"
                .chars()
                .collect::<Vec<_>>()
        ),
    ]
    .prop_filter("in the alphabet", |c| {
        !c.is_ascii_alphanumeric() && !"_-".contains(*c)
    });
    prop_oneof![
        6 => ("[A-Za-z0-9_-]{0,20}", odd, "[A-Za-z0-9_-]{0,20}")
            .prop_map(|(before, odd, after)| format!("{before}{odd}{after}")),
        1 => Just(String::new()),
        1 => "[A-Za-z0-9_-]{129,300}",
    ]
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
    Remove,
    Add(String, Value),
    Repeat,
    /// Inserts a text into the text at the place. Replaces a place that is not a
    /// text.
    Splice(Index, String),
}

fn change() -> impl Strategy<Value = (Index, Change)> {
    let change = prop_oneof![
        3 => any_json().prop_map(Change::Replace),
        2 => Just(Change::Remove),
        1 => (text(), any_json()).prop_map(|(name, value)| Change::Add(name, value)),
        1 => Just(Change::Repeat),
        3 => (any::<Index>(), text()).prop_map(|(at, text)| Change::Splice(at, text)),
    ];
    (any::<Index>(), change)
}

/// Collects the JSON pointers of all places in a value, the value itself first.
fn collect_pointers(value: &Value, pointer: &str, pointers: &mut Vec<String>) {
    pointers.push(pointer.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                self::collect_pointers(member, &format!("{pointer}/{name}"), pointers);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                self::collect_pointers(member, &format!("{pointer}/{index}"), pointers);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(value: &mut Value, at: Index, change: Change) {
    let mut pointers = Vec::new();
    collect_pointers(value, "", &mut pointers);
    let pointer: &String = at.get(&pointers);
    let place = value.pointer_mut(pointer).unwrap();
    match change {
        Change::Replace(new) => *place = new,
        Change::Remove => remove(value, pointer),
        Change::Repeat => *place = json!([place, place]),
        Change::Add(name, new) => match place {
            Value::Object(members) => {
                members.insert(name, new);
            }
            Value::Array(members) => members.push(new),
            other => *other = json!({ name: new, "was": other }),
        },
        Change::Splice(at, new) => {
            *place = json!(splice(place.as_str().unwrap_or_default(), at, &new));
        }
    }
}

fn remove(value: &mut Value, pointer: &str) {
    let Some((parent, name)) = pointer.rsplit_once('/') else {
        *value = Value::Null;
        return;
    };
    match value.pointer_mut(parent).unwrap() {
        Value::Object(members) => {
            members.remove(&name.replace("~1", "/").replace("~0", "~"));
        }
        Value::Array(members) => {
            members.remove(name.parse().unwrap());
        }
        _ => unreachable!("only objects and arrays have members"),
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
fn a_changed_sample_event_gets_an_answer() {
    let samples: Vec<Value> = sample_names().iter().map(|name| sample(name)).collect();
    let cases = (select(samples), vec(change(), 1..5));
    check(World::new(), 400, &cases, |world, (mut event, changes)| {
        for (at, change) in changes {
            apply(&mut event, at, change);
        }
        async move {
            answer(Call::event(world.app(), event)).await;
        }
    });
}

#[test]
fn any_json_as_an_event_gets_an_answer() {
    check(World::new(), 150, &any_json(), |world, event| async move {
        let answer = answer(Call::event(world.app(), event)).await;
        assert!([400, 404].contains(&answer.status), "{answer:?}");
    });
}

#[test]
fn any_path_gets_an_answer() {
    let segment = prop_oneof![
        4 => select(&["v2", "carts", "cart-1", "relationships", "customers", "prod", ""][..])
            .prop_map(str::to_owned),
        1 => text(),
    ];
    let cart = prop_oneof![id().boxed(), invalid_id().boxed(), text().boxed()];
    let near = (select(&["", "/prod"][..]), cart)
        .prop_map(|(stage, cart)| format!("{stage}/v2/carts/{cart}/relationships/customers"));
    let near = near.boxed();
    let path = prop_oneof![
        2 => vec(segment, 0..9).prop_map(|segments| segments.join("/")),
        3 => near.clone(),
        3 => (near, any::<Index>(), text()).prop_map(|(path, at, new)| splice(&path, at, &new)),
        1 => text(),
    ];
    let stage = prop_oneof![2 => Just("prod".to_owned()), 1 => text()];
    const OF_CART: &str = "ANY /v2/carts/{cartId}/relationships/customers";
    const KEYS: [&str; 4] = ["ANY /{proxy+}", OF_CART, "$default", ""];
    let parameter = (select(&["proxy", "cartId", "x"][..]), any::<bool>());
    let cases = (
        (path, option::of(stage), option::of(text())),
        option::of(parameter),
        select(&KEYS[..]),
        select(&["GET", "POST", "PATCH"][..]),
    );
    check(World::new(), 400, &cases, |world, case| {
        let ((path, stage, public_path), parameter, key, method) = case;
        let mut event = sample("associate-client-credentials");
        if let Some((name, is_id)) = parameter {
            let value = if is_id { GOOD_CART } else { &path };
            event["pathParameters"] = json!({ name: value });
        }
        event["rawPath"] = json!(path);
        event["routeKey"] = json!(key);
        event["requestContext"]["http"]["path"] = json!(public_path.unwrap_or(path));
        event["requestContext"]["http"]["method"] = json!(method);
        event["requestContext"]["stage"] = json!(stage);
        async move {
            let answer = answer(Call::event(world.app(), event)).await;
            let expected = [200, 204, 400, 403, 404, 405];
            assert!(expected.contains(&answer.status), "{answer:?}");
        }
    });
}

#[test]
fn any_method_gets_an_answer() {
    const METHODS: [&str; 12] = [
        "GET", "HEAD", "PUT", "PATCH", "OPTIONS", "TRACE", "CONNECT", "QUERY", "post", "Post",
        "POST ", "",
    ];
    let cases = prop_oneof![select(&METHODS[..]).prop_map(str::to_owned), text()];
    check(World::new(), 100, &cases, |world, method| async move {
        let answer = answer(valid_request(world).method(&method)).await;
        if answer.status == 405 {
            let allow: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
            assert!(!allow.contains(&method.as_str()), "{answer:?} to {method}");
        } else {
            assert!(["GET", "POST", "PATCH", "DELETE"].contains(&method.as_str()));
        }
    });
}

/// The name of a header in any case.
fn header_name() -> impl Strategy<Value = String> {
    const NAMES: &str = "authorization x-moltin-customer-token x-cart-token accept content-type \
        prefer content-length content-encoding host cookie x-forwarded-for";
    let names: Vec<&str> = NAMES.split(' ').collect();
    let known = (select(names), any::<u32>()).prop_map(|(name, upper)| {
        name.chars()
            .enumerate()
            .map(|(index, c)| match upper >> (index % 32) & 1 {
                0 => c,
                _ => c.to_ascii_uppercase(),
            })
            .collect()
    });
    prop_oneof![9 => known, 1 => text()]
}

/// The value of a header, often nearly a valid one.
fn header_value() -> impl Strategy<Value = String> {
    let words = |words: &'static str| select(words.split(' ').collect::<Vec<_>>());
    let media_types = words("application/json application/vnd.api+json */* text/html");
    let parameters = words("q=0 q=1 charset=utf-8 ext=\"a,b\" profile=x a");
    let parameter = prop_oneof![parameters.prop_map(str::to_owned), text()];
    let media_type = (media_types, vec(parameter, 0..3));
    let media_type = media_type.prop_map(|(kind, parameters)| {
        let parts = [vec![kind.to_owned()], parameters].concat();
        parts.join("; ")
    });
    let bearer = (text(), text()).prop_map(|(space, token)| format!("Bearer{space} {token}"));
    prop_oneof![
        2 => vec(media_type, 1..4).prop_map(|list| list.join(", ")),
        1 => bearer,
        2 => text(),
        1 => (any::<Index>(), text())
            .prop_map(|(at, new)| splice(&format!("Bearer {}", *BACK_END), at, &new)),
    ]
}

#[test]
fn any_header_gets_an_answer() {
    let value = prop_oneof![
        8 => header_value().prop_map(Value::from),
        2 => vec(header_value(), 0..3).prop_map(Value::from),
        1 => any_json(),
    ];
    let samples = ["client-credentials", "rest-api", "cart-token"];
    let cases = (
        select(&["headers", "multiValueHeaders"][..]),
        vec((header_name(), value), 1..5),
        select(samples.map(|name| format!("associate-{name}")).to_vec()),
    );
    let world = World::with_cart_tokens();
    check(world, 250, &cases, |world, (place, headers, name)| {
        let mut event = sample(&name);
        for (name, value) in headers {
            event[place][name] = value;
        }
        async move {
            answer(Call::event(world.app(), event)).await;
        }
    });
}

/// A body: a document that is valid or nearly so, other JSON, or no JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![3 => id().boxed(), 1 => invalid_id().boxed()].prop_map(Value::from);
    let member = (
        prop_oneof![9 => Just(json!("customer")), 1 => any_json()],
        prop_oneof![9 => id, 1 => any_json()],
        any_json(),
    )
        .prop_map(|(kind, id, meta)| json!({ "type": kind, "id": id, "meta": meta }));
    let members = prop_oneof![
        6 => vec(prop_oneof![9 => member.boxed(), 1 => any_json().boxed()], 0..6),
        1 => vec(valid_member(), 95..110),
    ];
    let document =
        (members, any_json(), option::weighted(0.3, change())).prop_map(|(data, meta, change)| {
            let mut document = json!({ "data": data, "meta": meta });
            if let Some((at, change)) = change {
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
    prop_oneof![
        4 => document,
        2 => padded,
        3 => broken,
        1 => any_json().prop_map(|json| json.to_string().into_bytes()),
        1 => text().prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..200),
    ]
}

fn valid_member() -> impl Strategy<Value = Value> {
    id().prop_map(|id| json!({ "type": "customer", "id": id }))
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
        let post = || valid_request(world).header("prefer", "return=representation");
        let encoded = answer(post().base64(&STANDARD.encode(&body))).await;
        let fits = body.len() <= 64 * 1024;
        match customers(&body).filter(|_| fits) {
            Some(customers) => {
                let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
                encoded.created(&customers);
            }
            None => assert_eq!(encoded.status, if fits { 400 } else { 413 }),
        }
        // Each error points to a value that there is.
        if let (400, Ok(document)) = (encoded.status, serde_json::from_slice::<Value>(&body)) {
            for source in encoded.errors("source") {
                let value = document.pointer(source["pointer"].as_str().unwrap());
                assert!(value.is_some(), "{source}: {encoded:?}");
            }
        }
        // PATCH accepts exactly the empty array, which POST refuses.
        let patch = valid_request(world).method("PATCH");
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

#[test]
fn a_body_that_is_not_valid_base64_is_refused() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // `=` is padding.
    let odd = any::<char>().prop_filter("base64", |c| !ALPHABET.contains(*c) && *c != '=');
    let cases = (any::<Index>(), odd);
    check(World::new(), 100, &cases, |world, (at, odd)| async move {
        let body = STANDARD.encode(linkage(&[RON, "hermione"]).to_string());
        let at = at.index(body.trim_end_matches('=').len());
        let body = format!("{}{odd}{}", &body[..at], &body[at + 1..]);
        let answer = answer(valid_request(world).base64(&body)).await;
        answer.refused(400, "invalid_encoding");
    });
}

#[test]
fn any_query_of_a_post_is_ignored_or_has_a_reserved_name() {
    let cases = (text(), any_json(), any_json());
    check(World::new(), 60, &cases, |world, (raw, single, multi)| {
        let mut event = sample("associate-rest-api");
        event["rawQueryString"] = json!(raw);
        event["queryStringParameters"] = single;
        event["multiValueQueryStringParameters"] = multi;
        async move {
            let answer = answer(Call::event(world.app(), event)).await;
            if answer.status == 400 {
                let codes = answer.codes();
                assert!(codes.iter().all(|code| code == "unsupported_parameter"));
            } else {
                assert!([200, 204].contains(&answer.status), "{answer:?}");
            }
        }
    });
}

/// A world in which Ron has several carts and cart-1 has several customers.
async fn world_with_lists() -> World {
    let world = World::new().await;
    world
        .associated("cart-1", &[RON, "hermione", "harry"])
        .await;
    for cart in ["cart-2", "cart-3"] {
        world.associated(cart, &[RON]).await;
    }
    world
}

const LISTS: [&str; 3] = [
    "/v2/carts/cart-1/relationships/customers",
    "/v2/carts",
    "/v2/customers/ron/relationships/carts",
];

/// A request for a list, by a back end or for Ron, without a query.
fn list(path: &str, back_end: bool) -> Value {
    let mut event = json!({
        "version": "2.0",
        "rawPath": path,
        "headers": { "authorization": format!("Bearer {}", *BACK_END) },
        "requestContext": { "http": { "method": "GET" } },
    });
    if !back_end {
        event["headers"]["x-moltin-customer-token"] = json!(*RON_TOKEN);
    }
    event
}

#[test]
fn any_query_of_a_list_gets_an_answer() {
    const NAMES: &str = "page[limit] page[after] page[size] page sort include page[] x";
    let names: Vec<&str> = NAMES.split(' ').collect();
    let name = prop_oneof![9 => select(names).prop_map(str::to_owned), 1 => text()];
    let value = prop_oneof![
        3 => (0..110_u32).prop_map(|limit| limit.to_string()),
        2 => text(),
        1 => any::<i128>().prop_map(|number| number.to_string()),
        1 => "[A-Za-z0-9_-]{0,600}",
    ];
    let parameters = vec((name, value), 0..4);
    let cases = (select(&LISTS[..]), any::<bool>(), parameters, 0..4_usize);
    let world = world_with_lists();
    check(world, 200, &cases, |world, case| {
        let (path, back_end, parameters, form) = case;
        let joined = |between: &str| {
            let pairs = parameters.iter();
            let pairs: Vec<String> = pairs
                .map(|(name, value)| format!("{name}={value}"))
                .collect();
            pairs.join(between)
        };
        let lists = |(name, value): &(String, String)| (name.clone(), json!([value, value]));
        let parameter = match form {
            0 => ("rawQueryString", json!(joined("&"))),
            1 => ("rawQueryString", json!(joined("%26"))),
            2 => (
                "queryStringParameters",
                parameters.iter().cloned().collect(),
            ),
            _ => (
                "multiValueQueryStringParameters",
                parameters.iter().map(lists).collect(),
            ),
        };
        let mut event = list(path, back_end);
        event[parameter.0] = parameter.1;
        async move {
            let answer = answer(Call::event(world.app(), event)).await;
            let expected = [200, 400, 403];
            assert!(expected.contains(&answer.status), "{answer:?}");
        }
    });
}

#[test]
fn any_position_in_a_cursor_gets_an_answer() {
    let moment = prop_oneof![1 => Just("2026-11-22T12:00:00.000Z".to_owned()), 1 => text()];
    let moment_and_id = (moment, select(&[" ", " ", ""][..]), id())
        .prop_map(|(moment, between, id)| format!("{moment}{between}{id}"));
    let position = prop_oneof![2 => moment_and_id, 2 => id(), 1 => invalid_id(), 1 => text()];
    // Cursors are valid for a day.
    let age = prop_oneof![3 => 0..86_000_i64, 1 => -86_400..172_800_i64, 1 => any::<i64>()];
    let cases = (0..LISTS.len(), any::<bool>(), position, age);
    let world = world_with_lists();
    check(world, 200, &cases, |world, case| {
        let (index, back_end, position, age) = case;
        let list_name = match index {
            0 => format!("customers#{GOOD_CART}"),
            1 => format!("own-carts#{RON}"),
            _ => format!("carts#{RON}"),
        };
        let now = i64::try_from(Timestamp::from(SystemTime::now()).seconds()).unwrap();
        let made_at = u64::try_from(now.saturating_sub(age)).unwrap_or_default();
        let made_at = Timestamp::from_millis(made_at.saturating_mul(1000));
        // A cursor contains no secret, so anybody can make one.
        let cursor = cursor::encode(&list_name, &position, made_at);
        let mut event = list(LISTS[index], back_end);
        event["rawQueryString"] = json!(format!("page[after]={cursor}"));
        async move {
            let answer = answer(Call::event(world.app(), event)).await;
            let expected = [200, 400, 403];
            assert!(expected.contains(&answer.status), "{answer:?}");
        }
    });
}
