//! What holds for whatever a caller sends, in each place that a caller controls:
//! an answer of the contract's table, never a 5xx, and what only some get.
//!
//! Each test tries cases that are made at random from a fixed seed: the same in
//! every run. What they are made of is mostly right, so that they get far.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::future::Future;
use std::path::Path;
use std::sync::LazyLock;
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use cart_associations::clock::Timestamp;
use cart_associations::cursor::{self, ListId};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::events;
use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::tokens::Authority;
use crate::support::{RON, World, access_token, authorities, customer_token, linkage};

/// The statuses of the contract, without those that are not the caller's.
const STATUSES: [u64; 10] = [200, 204, 400, 401, 403, 404, 405, 406, 413, 415];

const GOOD_CART: &str = "cart-1";

/// An access token that may act for everybody, signed once for all cases.
static BACK_END: LazyLock<String> = LazyLock::new(|| access_token("client_credentials"));

/// Ron's customer token.
static RONS: LazyLock<String> = LazyLock::new(|| customer_token(RON));

/// Holds a property against so many cases, all of them in one world.
fn hold<S, F>(cases: u32, strategy: &S, property: impl Fn(&'static World, S::Value) -> F)
where
    S: Strategy,
    S::Value: Debug,
    F: Future<Output = ()>,
{
    hold_in(World::new(), cases, strategy, property);
}

/// Holds a property against so many cases, all of them in this world.
fn hold_in<S, F>(
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
    // Lives as long as the process, so that a property may borrow it.
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

/// Sends what a caller made up, and gets an answer that is for callers.
async fn answer(call: Call<'_>) -> Answer {
    let answer = call.send().await;
    assert!(STATUSES.contains(&answer.status), "{answer:?}");
    if answer.status >= 400 {
        // What was sent is never echoed raw.
        assert!(answer.body.as_ref().unwrap().is_ascii(), "{answer:?}");
    }
    answer
}

/// A request that is right in every part.
fn right(world: &World) -> Call<'_> {
    let call = world.post(GOOD_CART).bearer(&BACK_END);
    call.body(linkage(&[RON]))
}

/// An identifier.
fn id() -> impl Strategy<Value = String> {
    prop_oneof![4 => "[A-Za-z0-9_-]{1,12}", 1 => "[A-Za-z0-9_-]{128}"]
}

/// No identifier, and often nearly one.
fn no_id() -> impl Strategy<Value = String> {
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

/// Any text, and often one that means something somewhere.
fn text() -> impl Strategy<Value = String> {
    const TELLING: [&str; 34] = [
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
        3 => select(&TELLING[..]).prop_map(str::to_owned),
        2 => any::<String>(),
        2 => "[ -~]{0,40}",
        1 => (select(&TELLING[..]), any::<String>(), select(&TELLING[..]))
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

/// One change of a JSON value, at a place that `Index` picks.
#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Remove,
    Add(String, Value),
    Repeat,
    /// A text within a text, if the place is one; in front of it, if not.
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

/// Every place of a value, as JSON pointers; the whole is the first.
fn places(value: &Value, pointer: &str, places: &mut Vec<String>) {
    places.push(pointer.to_owned());
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                self::places(member, &format!("{pointer}/{name}"), places);
            }
        }
        Value::Array(members) => {
            for (index, member) in members.iter().enumerate() {
                self::places(member, &format!("{pointer}/{index}"), places);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn apply(value: &mut Value, at: Index, change: Change) {
    let mut pointers = Vec::new();
    places(value, "", &mut pointers);
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
        _ => unreachable!("only these have members"),
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

/// Every sample of `events/`.
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
fn an_event_that_was_changed_anywhere_gets_an_answer() {
    let cases = (select(samples()), vec(change(), 1..5));
    hold(400, &cases, |world, (mut event, changes)| {
        for (at, change) in changes {
            apply(&mut event, at, change);
        }
        async move {
            answer(Call::event(world.app(), event)).await;
        }
    });
}

#[test]
fn any_json_for_an_event_gets_an_answer() {
    hold(150, &any_json(), |world, event| async move {
        let answer = answer(Call::event(world.app(), event)).await;
        assert!([400, 404].contains(&answer.status), "{answer:?}");
    });
}

#[test]
fn a_cart_id_passes_if_and_only_if_it_is_one() {
    let cases = prop_oneof![
        id().prop_map(|id| (id, true)),
        no_id().prop_map(|id| (id, false)),
    ];
    hold(120, &cases, |world, (cart, valid)| async move {
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
    let cart = prop_oneof![id().boxed(), no_id().boxed(), text().boxed()];
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
        select(&["GET", "POST"][..]),
    );
    hold(400, &cases, |world, (paths, parameter, key, method)| {
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
    hold(100, &cases, |world, method| async move {
        let answer = answer(right(world).method(&method)).await;
        if answer.status == 405 {
            let allow: Vec<&str> = answer.header("allow").unwrap().split(", ").collect();
            assert!(!allow.contains(&method.as_str()), "{answer:?} to {method}");
        } else {
            assert!(["GET", "POST", "PATCH", "DELETE"].contains(&method.as_str()));
        }
    });
}

/// A header's name in some case.
fn header_name() -> impl Strategy<Value = String> {
    const NAMES: [&str; 10] = [
        "authorization",
        "x-moltin-customer-token",
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

/// A header's value, near to what some header means.
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
        select(&["associate-client-credentials", "associate-rest-api"][..]),
    );
    hold(250, &cases, |world, (place, headers, name)| {
        let mut event = events::sample(name);
        for (name, value) in headers {
            event[place][name] = value;
        }
        async move {
            answer(Call::event(world.app(), event)).await;
        }
    });
}

/// A body: JSON, nearly what is asked for or anything, or no JSON.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![3 => id().boxed(), 1 => no_id().boxed()].prop_map(Value::from);
    let member = (
        prop_oneof![9 => Just(json!("customer")), 1 => any_json()],
        prop_oneof![9 => id, 1 => any_json()],
        any_json(),
    )
        .prop_map(|(kind, id, meta)| json!({ "type": kind, "id": id, "meta": meta }));
    let members = prop_oneof![
        6 => vec(prop_oneof![9 => member.boxed(), 1 => any_json().boxed()], 0..6),
        1 => vec(id_member(), 95..110),
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

fn id_member() -> impl Strategy<Value = Value> {
    id().prop_map(|id| json!({ "type": "customer", "id": id }))
}

#[test]
fn any_body_gets_an_answer() {
    hold(150, &body(), |world, body| async move {
        let encoded = answer(right(world).base64(&STANDARD.encode(&body))).await;
        let expected = [200, 204, 400, 413];
        assert!(expected.contains(&encoded.status), "{encoded:?}");
        assert_eq!(encoded.status == 413, body.len() > 64 * 1024);
        // The same as text, if it is any, is answered alike.
        if let Ok(text) = String::from_utf8(body) {
            let plain = answer(right(world).text(&text)).await;
            match encoded.status {
                200 | 204 => assert_eq!(plain.status, 204, "{plain:?}"),
                _ => assert_eq!(plain, encoded),
            }
        }
    });
}

#[test]
fn what_is_said_to_be_base64_and_is_not_is_refused() {
    const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    // An `=` may end it sooner.
    let odd = any::<char>().prop_filter("base64", |c| !ALPHABET.contains(*c) && *c != '=');
    let cases = (any::<Index>(), odd);
    hold(100, &cases, |world, (at, odd)| async move {
        let body = STANDARD.encode(linkage(&[RON, "hermione"]).to_string());
        let at = at.index(body.trim_end_matches('=').len());
        let body = format!("{}{odd}{}", &body[..at], &body[at + 1..]);
        let answer = answer(right(world).base64(&body)).await;
        answer.refused(400, "invalid_encoding");
    });
}

#[test]
fn valid_ids_are_accepted_and_come_back_once_each_in_their_order() {
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
    hold(
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
                let call = right_for(world, &cart).header("prefer", "return=representation");
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

/// A request that is right in every part but its body.
fn right_for<'w>(world: &'w World, cart: &str) -> Call<'w> {
    world.post(cart).bearer(&BACK_END)
}

#[test]
fn one_id_outside_the_alphabet_keeps_all_members_out() {
    let cases = (vec(id(), 0..4), no_id(), any::<Index>());
    hold(150, &cases, |world, (mut ids, odd, at)| async move {
        let at = at.index(ids.len() + 1);
        ids.insert(at, odd);
        let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
        let answer = answer(right(world).body(linkage(&ids))).await;
        let source = answer.refused(400, "invalid_id");
        assert_eq!(source["pointer"], format!("/data/{at}/id"));
        assert_eq!(world.stored().await, BTreeSet::new());
    });
}

#[test]
fn any_query_is_ignored_or_has_a_reserved_name() {
    let cases = (text(), any_json(), any_json());
    hold(60, &cases, |world, (raw, single, multi)| {
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

/// A world in which Ron has a few carts, and cart-1 a few customers.
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

/// A request of a list, by a back end or by Ron, without a query.
fn list(path: &str, back_end: bool) -> Value {
    let mut event = json!({
        "version": "2.0",
        "rawPath": path,
        "headers": { "authorization": format!("Bearer {}", *BACK_END) },
        "requestContext": { "http": { "method": "GET" } },
    });
    if !back_end {
        event["headers"]["x-moltin-customer-token"] = json!(*RONS);
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
    hold_in(
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
    let position = prop_oneof![2 => moment_and_id, 2 => id(), 1 => no_id(), 1 => text()];
    // A cursor is good for a day.
    let age = prop_oneof![
        3 => 0..86_000_i64,
        1 => -86_400..172_800_i64,
        1 => any::<i64>(),
    ];
    let cases = (0..LISTS.len(), any::<bool>(), position, age);
    let world = world_with_lists();
    hold_in(
        world,
        200,
        &cases,
        |world, (index, back_end, position, age)| {
            let (cart, customer) = (GOOD_CART.parse().unwrap(), RON.parse().unwrap());
            let list_name = match index {
                0 => ListId::CustomersOf(&cart),
                1 => ListId::OwnCartsOf(&customer),
                _ => ListId::CartsOf(&customer),
            };
            let now = i64::try_from(Timestamp::from(SystemTime::now()).seconds()).unwrap();
            let made_at = u64::try_from(now.saturating_sub(age)).unwrap_or_default();
            let made_at = Timestamp::from_millis(made_at.saturating_mul(1000));
            // Whoever knows how can make one: there is no secret in it.
            let cursor = cursor::encode(list_name, &position, made_at);
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

/// Which of the two tokens of a request.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Access,
    Customer,
}

fn kind() -> impl Strategy<Value = Kind> {
    select(&[Kind::Access, Kind::Customer][..])
}

impl Kind {
    fn authority(self) -> &'static Authority {
        match self {
            Self::Access => &authorities().access,
            Self::Customer => &authorities().customer,
        }
    }

    fn good(self) -> String {
        match self {
            Self::Access => access_token("client_credentials"),
            Self::Customer => customer_token(RON),
        }
    }

    /// A request with this token in its place and all else right.
    fn present(self, world: &'static World, token: &str) -> Call<'static> {
        match self {
            Self::Access => right(world).bearer(token),
            Self::Customer => right(world).customer_token(token),
        }
    }

    /// Refused like every other token that is not right, to the byte.
    fn refused(self, answer: &Answer) {
        let (code, header) = match self {
            Self::Access => ("invalid_access_token", "Authorization"),
            Self::Customer => ("invalid_customer_token", "x-moltin-customer-token"),
        };
        assert_eq!(answer.refused(401, code), json!({ "header": header }));
    }
}

#[test]
fn a_token_with_any_one_byte_changed_is_never_believed() {
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
    hold(400, &cases, |world, (kind, at, edit)| async move {
        let good = kind.good();
        let at = at.index(good.len());
        let (before, after) = good.split_at(at);
        let changed = match edit {
            Edit::Change(new) => format!("{before}{new}{}", &after[1..]),
            Edit::Insert(new) => format!("{before}{new}{after}"),
            Edit::Remove => format!("{before}{}", &after[1..]),
            Edit::End => before.to_owned(),
        };
        // Space around a header's value is not the token's.
        if changed.trim() == good || changed.trim().is_empty() {
            return;
        }
        let answer = answer(kind.present(world, &changed)).await;
        kind.refused(&answer);
    });
}

#[test]
fn any_text_for_a_part_of_a_token_is_refused() {
    let part = prop_oneof![
        2 => text(),
        3 => any_json().prop_map(|json| URL_SAFE_NO_PAD.encode(json.to_string())),
        1 => vec(any::<u8>(), 0..80).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
        1 => vec(any::<u8>(), 3000..4000).prop_map(|bytes| URL_SAFE_NO_PAD.encode(bytes)),
    ];
    let cases = (kind(), 0..3_usize, part);
    hold(300, &cases, |world, (kind, index, part)| async move {
        let good = kind.good();
        let mut parts: Vec<&str> = good.split('.').collect();
        parts[index] = &part;
        let answer = answer(kind.present(world, &parts.join("."))).await;
        kind.refused(&answer);
    });
}

#[test]
fn any_text_for_a_customer_token_is_refused_and_never_taken_for_none() {
    hold(100, &text(), |world, token| async move {
        let answer = answer(right(world).customer_token(&token)).await;
        Kind::Customer.refused(&answer);
    });
}

/// The claims of a good token.
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

/// Whether a header is no header of a token of this kind.
fn is_wrong_header(kind: Kind, header: &Value) -> bool {
    let refused = ["crit", "jwk", "jku", "x5c", "x5u"];
    let right = serde_json::to_value(kind.authority().key.header()).unwrap();
    let is_other_key = header.get("kid").is_some_and(|kid| *kid != right["kid"]);
    header["alg"] != right["alg"]
        || is_other_key
        || refused.iter().any(|name| header.get(name).is_some())
}

/// Whether claims are not those of a token of this kind.
fn are_wrong_claims(kind: Kind, claims: &Value) -> bool {
    let Authority {
        issuer, audience, ..
    } = kind.authority();
    let for_us = match &claims["aud"] {
        Value::Array(audiences) => audiences.contains(&json!(audience)),
        one => one == audience,
    };
    !for_us || claims["iss"] != *issuer || !claims["sub"].is_string() || !claims["exp"].is_number()
}

#[test]
fn a_well_signed_token_is_believed_only_if_what_is_in_it_is_right() {
    let name = [Kind::Access, Kind::Customer].map(Kind::authority);
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
    hold(250, &cases, |world, (kind, changes)| async move {
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
        if is_wrong_header(kind, &header) || are_wrong_claims(kind, &claims) {
            kind.refused(&answer);
        } else {
            // Right, or wrong in its times.
            assert!([200, 204, 401, 403].contains(&answer.status), "{answer:?}");
        }
    });
}
