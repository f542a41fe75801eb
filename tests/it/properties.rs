//! Properties of the answers to arbitrary input, in each place that a caller
//! controls: the status is one of the contract and never a 5xx, and invalid input is
//! refused.
//!
//! Each test generates cases from a fixed seed, so they are the same in every run.
//! Most parts of a case are valid, so that many cases pass the first checks.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cart_associations::clock::Timestamp;
use cart_associations::cursor;
use dev::tokens::Authority;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::events;
use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::{RON, World, access_token, authorities, cart_token, customer_token, linkage};

/// The statuses of the contract that callers can cause.
const STATUSES: [u64; 10] = [200, 204, 400, 401, 403, 404, 405, 406, 413, 415];

const GOOD_CART: &str = "cart-1";

/// An access token for client_credentials, signed once for all cases.
static BACK_END: LazyLock<String> = LazyLock::new(|| access_token("client_credentials"));

/// Ron's customer token.
static RON_TOKEN: LazyLock<String> = LazyLock::new(|| customer_token(RON));

/// Checks a property with this number of cases, all in one new world.
fn check<S, F>(cases: u32, strategy: &S, property: impl Fn(&'static World, S::Value) -> F)
where
    S: Strategy,
    S::Value: Debug,
    F: Future<Output = ()>,
{
    check_in(World::new(), cases, strategy, property);
}

/// Checks a property with this number of cases, all in this world.
fn check_in<S, F>(
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
    const SPECIAL: [&str; 34] = [
        "",
        " ",
        "\0",
        "\r\n",
        "\u{feff}",
        "%",
        "%2F",
        "../",
        "//",
        "null",
        "true",
        "-1",
        "1e999",
        "POST",
        "GET",
        "$default",
        "2.0",
        "1.0",
        "Bearer",
        "Bearer ",
        "application/json",
        "application/json; charset=utf-8",
        "application/vnd.api+json",
        "application/vnd.api+json; ext=\"a\"",
        "application/vnd.api+json;q=0",
        "return=representation",
        "return=minimal, return=representation",
        "{}",
        "[]",
        "{\"data\":[]}",
        "{\"data\":[{\"type\":\"customer\",\"id\":\"ron\"}]}",
        "a.b.c",
        "..",
        "/v2/carts/cart-1/relationships/customers",
    ];
    prop_oneof![
        3 => select(&SPECIAL[..]).prop_map(str::to_owned),
        2 => any::<String>(),
        2 => "[ -~]{0,40}",
        1 => (select(&SPECIAL[..]), any::<String>(), select(&SPECIAL[..]))
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

/// All samples in `events/`.
fn samples() -> Vec<Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("events");
    let names: BTreeSet<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    names
        .iter()
        .map(|name| events::sample(name.to_str().unwrap()))
        .collect()
}

#[test]
fn a_changed_sample_event_gets_an_answer() {
    let cases = (select(samples()), vec(change(), 1..5));
    check(400, &cases, |world, (mut event, changes)| {
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
    check(150, &any_json(), |world, event| async move {
        let answer = answer(Call::event(world.app(), event)).await;
        assert!([400, 404].contains(&answer.status), "{answer:?}");
    });
}

#[test]
fn a_cart_id_is_accepted_exactly_if_it_is_valid() {
    let cases = prop_oneof![
        id().prop_map(|id| (id, true)),
        invalid_id().prop_map(|id| (id, false)),
    ];
    check(120, &cases, |world, (cart, valid)| async move {
        let call = world.post(&cart).bearer(&BACK_END);
        let answer = answer(call.body(linkage(&[RON]))).await;
        if valid {
            assert!([200, 204].contains(&answer.status), "{answer:?}");
            assert!(world.stored().await.contains(&format!("{cart}#{RON}")));
        } else {
            assert_eq!(answer.refused(400, "invalid_id")["parameter"], "cartId");
        }
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
    const KEYS: [&str; 4] = [
        "ANY /{proxy+}",
        "ANY /v2/carts/{cartId}/relationships/customers",
        "$default",
        "",
    ];
    let parameter = (select(&["proxy", "cartId", "x"][..]), any::<bool>());
    let cases = (
        (path, option::of(stage), option::of(text())),
        option::of(parameter),
        select(&KEYS[..]),
        select(&["GET", "POST", "PATCH"][..]),
    );
    check(400, &cases, |world, (paths, parameter, key, method)| {
        let (path, stage, public_path) = paths;
        let mut event = events::sample("associate-client-credentials");
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
    check(100, &cases, |world, method| async move {
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
    const NAMES: [&str; 11] = [
        "authorization",
        "x-moltin-customer-token",
        "x-cart-token",
        "accept",
        "content-type",
        "prefer",
        "content-length",
        "content-encoding",
        "host",
        "cookie",
        "x-forwarded-for",
    ];
    let known = (select(&NAMES[..]), any::<u32>()).prop_map(|(name, upper)| {
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
    let media_type = (
        select(
            &[
                "application/json",
                "application/vnd.api+json",
                "*/*",
                "text/html",
            ][..],
        ),
        vec(
            prop_oneof![
                select(
                    &[
                        "q=0",
                        "q=1",
                        "charset=utf-8",
                        "ext=\"a,b\"",
                        "profile=x",
                        "a"
                    ][..]
                )
                .prop_map(str::to_owned),
                text(),
            ],
            0..3,
        ),
    )
        .prop_map(|(kind, parameters)| {
            parameters
                .iter()
                .fold(kind.to_owned(), |value, next| format!("{value}; {next}"))
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
    let cases = (
        select(&["headers", "multiValueHeaders"][..]),
        vec((header_name(), value), 1..5),
        select(
            &[
                "associate-client-credentials",
                "associate-rest-api",
                "associate-cart-token",
            ][..],
        ),
    );
    let world = World::with_cart_tokens();
    check_in(world, 250, &cases, |world, (place, headers, name)| {
        let mut event = events::sample(name);
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

#[test]
fn any_body_gets_an_answer() {
    check(150, &body(), |world, body| async move {
        let encoded = answer(valid_request(world).base64(&STANDARD.encode(&body))).await;
        let expected = [200, 204, 400, 413];
        assert!(expected.contains(&encoded.status), "{encoded:?}");
        assert_eq!(encoded.status == 413, body.len() > 64 * 1024);
        // PATCH accepts exactly the empty array, which POST refuses.
        let patch = valid_request(world).method("PATCH");
        let patched = answer(patch.base64(&STANDARD.encode(&body))).await;
        let expected = [204, 400, 403, 413];
        assert!(expected.contains(&patched.status), "{patched:?}");
        let is_empty =
            encoded.status == 400 && encoded.document()["errors"][0]["code"] == "data_empty";
        assert_eq!(patched.status == 204, is_empty, "{patched:?}, {encoded:?}");
        // The same body without base64 gets the same answer.
        if let Ok(text) = String::from_utf8(body) {
            let plain = answer(valid_request(world).text(&text)).await;
            match encoded.status {
                200 | 204 => assert_eq!(plain.status, 204, "{plain:?}"),
                _ => assert_eq!(plain, encoded),
            }
        }
    });
}

#[test]
fn a_body_that_is_not_valid_base64_is_refused() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // `=` is padding.
    let odd = any::<char>().prop_filter("base64", |c| !ALPHABET.contains(*c) && *c != '=');
    let cases = (any::<Index>(), odd);
    check(100, &cases, |world, (at, odd)| async move {
        let body = STANDARD.encode(linkage(&[RON, "hermione"]).to_string());
        let at = at.index(body.trim_end_matches('=').len());
        let body = format!("{}{odd}{}", &body[..at], &body[at + 1..]);
        let answer = answer(valid_request(world).base64(&body)).await;
        answer.refused(400, "invalid_encoding");
    });
}

#[test]
fn valid_ids_are_accepted_and_returned_once_each_in_order() {
    let member = (id(), option::of(any_json()), any::<bool>()).prop_map(|(id, meta, first)| {
        let named = format!(r#""type":"customer","id":"{id}""#);
        let member = match (meta, first) {
            (None, _) => format!("{{{named}}}"),
            (Some(meta), true) => format!(r#"{{"meta":{meta},{named}}}"#),
            (Some(meta), false) => format!(r#"{{{named},"meta":{meta}}}"#),
        };
        (id, member)
    });
    let cases = (
        id(),
        vec(member, 1..12),
        vec(any::<Index>(), 0..6),
        option::of(any_json()),
        any::<bool>(),
        "[ \t\r\n]{0,3}",
    );
    check(
        80,
        &cases,
        |world, (cart, mut members, again, meta, base64, space)| {
            for index in again {
                members.push(index.get(&members).clone());
            }
            let mut expected: Vec<&str> = Vec::new();
            for (id, _) in &members {
                if !expected.contains(&id.as_str()) {
                    expected.push(id);
                }
            }
            let texts: Vec<&str> = members.iter().map(|(_, text)| text.as_str()).collect();
            let data = texts.join(&format!("{space},"));
            let meta = meta.map_or_else(String::new, |meta| format!(r#","meta":{meta}"#));
            let body = format!(r#"{space}{{{space}"data":[{data}]{meta}}}{space}"#);
            let expected = linkage(&expected);
            async move {
                let call = valid_request_without_body(world, &cart)
                    .header("prefer", "return=representation");
                let answer = answer(if base64 {
                    call.base64(&STANDARD.encode(&body))
                } else {
                    call.text(&body)
                })
                .await;
                assert_eq!(answer.status, 200, "{answer:?}");
                assert_eq!(answer.document(), expected);
            }
        },
    );
}

/// A valid request except that it has no body.
fn valid_request_without_body<'w>(world: &'w World, cart: &str) -> Call<'w> {
    world.post(cart).bearer(&BACK_END)
}

#[test]
fn one_invalid_id_refuses_the_whole_body() {
    let cases = (vec(id(), 0..4), invalid_id(), any::<Index>());
    check(150, &cases, |world, (mut ids, odd, at)| async move {
        let at = at.index(ids.len() + 1);
        ids.insert(at, odd);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let answer = answer(valid_request(world).body(linkage(&ids))).await;
        let source = answer.refused(400, "invalid_id");
        assert_eq!(source["pointer"], format!("/data/{at}/id"));
        assert_eq!(world.stored().await, BTreeSet::new());
    });
}

#[test]
fn any_query_of_a_post_is_ignored_or_has_a_reserved_name() {
    let cases = (text(), any_json(), any_json());
    check(60, &cases, |world, (raw, single, multi)| {
        let mut event = events::sample("associate-rest-api");
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
    for (cart, customer) in [
        ("cart-1", RON),
        ("cart-2", RON),
        ("cart-3", RON),
        ("cart-1", "hermione"),
        ("cart-1", "harry"),
    ] {
        let answer = world.associate(cart, &[customer]).send().await;
        answer.created(&[customer]);
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
    const NAMES: [&str; 8] = [
        "page[limit]",
        "page[after]",
        "page[size]",
        "page",
        "sort",
        "include",
        "page[]",
        "x",
    ];
    let name = prop_oneof![9 => select(&NAMES[..]).prop_map(str::to_owned), 1 => text()];
    let value = prop_oneof![
        3 => (0..110_u32).prop_map(|limit| limit.to_string()),
        2 => text(),
        1 => any::<i128>().prop_map(|number| number.to_string()),
        1 => "[A-Za-z0-9_-]{0,600}",
    ];
    let parameters = vec((name, value), 0..4);
    let cases = (select(&LISTS[..]), any::<bool>(), parameters, 0..4_usize);
    let world = world_with_lists();
    check_in(
        world,
        200,
        &cases,
        |world, (path, back_end, parameters, form)| {
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
        },
    );
}

#[test]
fn any_position_in_a_cursor_gets_an_answer() {
    let moment = prop_oneof![1 => Just("2026-11-22T12:00:00.000Z".to_owned()), 1 => text()];
    let moment_and_id = (moment, select(&[" ", " ", ""][..]), id())
        .prop_map(|(moment, between, id)| format!("{moment}{between}{id}"));
    let position = prop_oneof![2 => moment_and_id, 2 => id(), 1 => invalid_id(), 1 => text()];
    // Cursors are valid for a day.
    let age = prop_oneof![
        3 => 0..86_000_i64,
        1 => -86_400..172_800_i64,
        1 => any::<i64>(),
    ];
    let cases = (0..LISTS.len(), any::<bool>(), position, age);
    let world = world_with_lists();
    check_in(
        world,
        200,
        &cases,
        |world, (index, back_end, position, age)| {
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
        },
    );
}

/// The kinds of tokens in a request.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Access,
    Customer,
    Cart,
}

fn kind() -> impl Strategy<Value = Kind> {
    select(&Kind::ALL[..])
}

impl Kind {
    const ALL: [Self; 3] = [Self::Access, Self::Customer, Self::Cart];

    fn authority(self) -> &'static Authority {
        match self {
            Self::Access => &authorities().access,
            Self::Customer => &authorities().customer,
            Self::Cart => &authorities().cart,
        }
    }

    fn good(self) -> String {
        match self {
            Self::Access => access_token("client_credentials"),
            Self::Customer => customer_token(RON),
            Self::Cart => cart_token(GOOD_CART),
        }
    }

    /// A request with this token. Its other parts are valid.
    fn present(self, world: &'static World, token: &str) -> Call<'static> {
        match self {
            Self::Access => valid_request(world).bearer(token),
            Self::Customer => {
                let call = valid_request(world).customer_token(token);
                call.cart_token(&Self::Cart.good())
            }
            Self::Cart => {
                let call = valid_request(world).customer_token(&RON_TOKEN);
                call.cart_token(token)
            }
        }
    }

    /// Asserts that the answer refuses a token of this kind.
    fn refused(self, answer: &Answer) {
        let (code, header) = match self {
            Self::Access => ("invalid_access_token", "Authorization"),
            Self::Customer => ("invalid_customer_token", "x-moltin-customer-token"),
            Self::Cart => ("invalid_cart_token", "x-cart-token"),
        };
        assert_eq!(answer.refused(401, code), json!({ "header": header }));
    }
}

#[test]
fn a_token_with_one_character_changed_is_refused() {
    #[derive(Debug, Clone)]
    enum Edit {
        Change(char),
        Insert(char),
        Remove,
        End,
    }
    let new = prop_oneof![
        4 => "[A-Za-z0-9_-]".prop_map(|c| c.chars().next().unwrap()),
        1 => select("=.+/ ,\0\t".chars().collect::<Vec<_>>()),
        1 => any::<char>(),
    ]
    .boxed();
    let edit = prop_oneof![
        6 => new.clone().prop_map(Edit::Change),
        2 => new.prop_map(Edit::Insert),
        1 => Just(Edit::Remove),
        1 => Just(Edit::End),
    ];
    let cases = (kind(), any::<Index>(), edit);
    let world = World::with_cart_tokens();
    check_in(world, 400, &cases, |world, (kind, at, edit)| async move {
        let good = kind.good();
        let at = at.index(good.len());
        let (before, after) = good.split_at(at);
        let changed = match edit {
            Edit::Change(new) => format!("{before}{new}{}", &after[1..]),
            Edit::Insert(new) => format!("{before}{new}{after}"),
            Edit::Remove => format!("{before}{}", &after[1..]),
            Edit::End => before.to_owned(),
        };
        // White space around a header's value is not part of the token.
        if changed.trim() == good || changed.trim().is_empty() {
            return;
        }
        let answer = answer(kind.present(world, &changed)).await;
        kind.refused(&answer);
    });
}

#[test]
fn any_text_as_a_part_of_a_token_is_refused() {
    let part = prop_oneof![
        2 => text(),
        3 => any_json().prop_map(|json| URL_SAFE_NO_PAD.encode(json.to_string())),
        1 => vec(any::<u8>(), 0..80).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
        1 => vec(any::<u8>(), 3000..4000).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
    ];
    let cases = (kind(), 0..3_usize, part);
    let world = World::with_cart_tokens();
    check_in(
        world,
        300,
        &cases,
        |world, (kind, index, part)| async move {
            let good = kind.good();
            let mut parts: Vec<&str> = good.split('.').collect();
            parts[index] = &part;
            let answer = answer(kind.present(world, &parts.join("."))).await;
            kind.refused(&answer);
        },
    );
}

#[test]
fn any_text_as_a_customer_or_cart_token_is_refused_and_never_ignored() {
    let cases = (select(&[Kind::Customer, Kind::Cart][..]), text());
    let world = World::with_cart_tokens();
    check_in(world, 200, &cases, |world, (kind, token)| async move {
        let answer = answer(kind.present(world, &token)).await;
        kind.refused(&answer);
    });
}

#[test]
fn a_cart_token_is_accepted_only_for_the_cart_that_it_names() {
    let another = prop_oneof![3 => id().boxed(), 1 => invalid_id().boxed(), 1 => text().boxed()];
    let cases = (id(), option::of(another));
    let world = World::with_cart_tokens();
    check_in(world, 100, &cases, |world, (cart, another)| async move {
        let named = another.as_ref().unwrap_or(&cart);
        let call = world.post(&cart).customer(RON).body(linkage(&[RON]));
        let answer = answer(call.cart_token(&cart_token(named))).await;
        if *named == cart {
            assert!([200, 204].contains(&answer.status), "{answer:?}");
        } else {
            Kind::Cart.refused(&answer);
        }
    });
}

/// The claims of a valid token.
fn claims(kind: Kind) -> Value {
    let token = kind.good();
    let claims = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).unwrap()).unwrap()
}

/// The name of a member of a token's header or claims: a known one, or any.
fn member_name() -> impl Strategy<Value = String> {
    const NAMES: [&str; 10] = [
        "alg",
        "kid",
        "crit",
        "jwk",
        "jku",
        "x5c",
        "x5u",
        "nbf",
        "iat",
        "grant_type",
    ];
    let required = select(&["iss", "aud", "sub", "exp"][..]);
    prop_oneof![
        4 => required.prop_map(str::to_owned),
        6 => select(&NAMES[..]).prop_map(str::to_owned),
        1 => text(),
    ]
}

/// Returns whether tokens of this kind must not have this header.
fn is_invalid_header(kind: Kind, header: &Value) -> bool {
    let refused = ["crit", "jwk", "jku", "x5c", "x5u"];
    let valid = serde_json::to_value(kind.authority().key.header()).unwrap();
    let is_other_key = header.get("kid").is_some_and(|kid| *kid != valid["kid"]);
    header["alg"] != valid["alg"]
        || is_other_key
        || refused.iter().any(|name| header.get(name).is_some())
}

/// Returns whether tokens of this kind must not have these claims. Does not check
/// times.
fn are_invalid_claims(kind: Kind, claims: &Value) -> bool {
    let Authority {
        issuer, audience, ..
    } = kind.authority();
    let for_us = match &claims["aud"] {
        Value::Array(audiences) => audiences.contains(&json!(audience)),
        one => one == audience,
    };
    let for_the_cart = kind != Kind::Cart || claims["sub"] == GOOD_CART;
    !for_us
        || !for_the_cart
        || claims["iss"] != *issuer
        || !claims["sub"].is_string()
        || !claims["exp"].is_number()
}

#[test]
fn a_correctly_signed_token_is_accepted_only_with_valid_contents() {
    let name = Kind::ALL.map(Kind::authority);
    let name = name.map(|authority| [authority.issuer.as_str(), authority.audience.as_str()]);
    let name = select(name.concat()).prop_map(str::to_owned).boxed();
    let value = prop_oneof![
        3 => any_json(),
        2 => name.clone().prop_map(Value::from),
        1 => select(vec![0, -1, 1 << 40, i64::MAX, i64::MIN]).prop_map(Value::from),
        1 => vec(prop_oneof![name, text()], 0..3).prop_map(Value::from),
    ];
    let value = option::weighted(0.9, value).boxed();
    let change = (any::<bool>(), member_name(), value);
    let cases = (kind(), vec(change, 1..3));
    let world = World::with_cart_tokens();
    check_in(world, 300, &cases, |world, (kind, changes)| async move {
        let key = &kind.authority().key;
        let mut header = serde_json::to_value(key.header()).unwrap();
        let mut claims = claims(kind);
        for (in_header, name, value) in changes {
            let changed = if in_header { &mut header } else { &mut claims };
            let changed = changed.as_object_mut().unwrap();
            match value {
                Some(value) => changed.insert(name, value),
                None => changed.remove(&name),
            };
        }
        let token = key.sign(&header.to_string(), &claims.to_string()).unwrap();
        let answer = answer(kind.present(world, &token)).await;
        if is_invalid_header(kind, &header) || are_invalid_claims(kind, &claims) {
            kind.refused(&answer);
        } else {
            // Valid, or refused for its times.
            assert!([200, 204, 401, 403].contains(&answer.status), "{answer:?}");
        }
    });
}
