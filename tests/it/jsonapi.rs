//! The rules of JSON:API 1.1: which bodies, queries and media types are read, and which
//! error each of the others gets, where.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::call::{Call, REQUEST_ID};
use crate::support::{RON, World, linkage, sample};

const CUSTOMERS: &str = "/v2/carts/cart-1/relationships/customers";
const JSON: &str = "application/json";
const JSON_API: &str = "application/vnd.api+json";

/// Asserts a 400 with these errors, each a code and its place, separated by commas.
#[track_caller]
fn assert_errors(answer: &Answer, place: &str, errors: &str, input: &str) {
    assert_eq!(answer.status, 400, "{input}");
    let errors = errors.split(", ");
    let errors = errors.map(|error| error.split_once(' ').unwrap_or((error, "")));
    let (codes, places): (Vec<&str>, Vec<&str>) = errors.unzip();
    assert_eq!(answer.codes(), codes, "{input}");
    let places: Vec<Value> = places.iter().map(|name| json!({ place: name })).collect();
    assert_eq!(answer.errors("source"), places, "{input}");
    assert_eq!(answer.errors("id"), vec![REQUEST_ID; places.len()]);
}

/// The rows of a table: an input, and its errors.
fn rows(table: &str) -> impl Iterator<Item = (&str, &str)> {
    let rows = table.trim().lines();
    rows.map(|row| row.trim().split_once(" => ").unwrap())
}

#[tokio::test]
async fn each_error_of_a_document_has_its_pointer() {
    let world = World::new().await;
    let empty = [
        ("", "body_required"),
        ("\u{feff}", "body_required"),
        (" ", "invalid_json"),
    ];
    let others = r#"
        { => invalid_json
        {"data":[]} x => invalid_json
        {"data":["\ud800"]} => invalid_member /data/0
        null => invalid_document
        [] => invalid_document
        {} => data_required
        {"data":null} => invalid_data /data
        {"data":{"type":"customer","id":"a"}} => invalid_data /data
        {"data":[]} => data_empty /data
        {"data":[1,null]} => invalid_member /data/0, invalid_member /data/1
        {"data":[{"type":"cart","id":"a"},{"type":"customer","id":"a"}]} => invalid_type /data/0/type
        {"data":[{"type":1,"id":"a b"}]} => invalid_type /data/0/type, invalid_id /data/0/id
        {"data":[{"type":"customer","id":7}]} => invalid_id /data/0/id
        {"data":[{"type":"customer","id":"a"},{}]} => type_required /data/1, id_required /data/1
    "#;
    for (body, errors) in empty.into_iter().chain(rows(others)) {
        let answer = world.post("cart-1").back_end().text(body).send().await;
        assert_errors(&answer, "pointer", errors, body);
    }
    let not_utf8 = world.post("cart-1").back_end().base64("eyJkYXRhIjoi/yJ9");
    let answer = not_utf8.send().await;
    assert_errors(&answer, "pointer", "invalid_encoding", "not UTF-8");
    let ids: Vec<String> = (0..101).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let answer = world.associate("cart-1", &ids).send().await;
    assert_errors(&answer, "pointer", "too_many_members /data", "101 members");
}

/// Each odd member is JSON (RFC 8259) that many parsers refuse.
#[tokio::test]
async fn ignored_members_may_be_any_json() {
    let world = World::new().await;
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    for odd in ["1e999", r#""\ud800""#, &deep] {
        let body =
            format!(r#"{{"meta":{odd},"data":[{{"meta":{odd},"type":"customer","id":"a"}}]}}"#);
        let removed = world.dissociate("cart-1", &[]).text(&body).send().await;
        removed.unchanged();
    }
}

#[tokio::test]
async fn a_hundred_members_are_read_even_if_they_are_repeated() {
    let world = World::new().await;
    let ids: Vec<String> = (0..100).map(|id| id.to_string()).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let twice = [&ids[..], &ids].concat();
    let answer = world.associate("cart-1", &twice).send().await;
    answer.created(&ids);
}

#[tokio::test]
async fn a_body_has_64_kib_at_most_and_may_begin_with_a_byte_order_mark() {
    let world = World::new().await;
    let body = format!("\u{feff}{}", linkage(&["a"]));
    let padded = |length| body.clone() + &" ".repeat(length - body.len());
    let send = |body: &str| world.dissociate("cart-1", &[]).text(body).send();
    send(&padded(64 * 1024)).await.unchanged();
    let over = send(&padded(64 * 1024 + 1)).await;
    over.refused(413, "body_too_large");
}

#[tokio::test]
async fn the_limit_is_25_unless_1_to_100_is_requested() {
    let world = World::new().await;
    let list = |query: &str| world.get(CUSTOMERS).query(query).back_end().send();
    for (query, limit) in [
        ("", 25),
        ("page[limit]=1", 1),
        ("page%5Blimit%5D=100", 100),
        ("utm_source=x&page[limit]=7", 7),
        ("page[offset]=0", 25),
    ] {
        let document = list(query).await.document();
        assert_eq!(document["meta"]["page"]["limit"], limit, "{query}");
    }
    for limit in ["", "0", "101", "-1", "+1", "1.0", "x", &"9".repeat(20)] {
        let answer = list(&format!("page[limit]={limit}")).await;
        let errors = "invalid_page_limit page[limit]";
        assert_errors(&answer, "parameter", errors, limit);
    }
}

#[tokio::test]
async fn all_unsupported_parameters_are_refused_together() {
    let world = World::new().await;
    let list = |query: &str| world.get(CUSTOMERS).query(query).back_end().send();
    let table = "
        page[limit]=1&page[limit]=1 => invalid_page_limit page[limit]
        page[size]=1 => unknown_page_parameter page[size]
        page[offset]=25&page[offset]=0 => unknown_page_parameter page[offset]
        page[offset]= => unknown_page_parameter page[offset]
        page[x]=1&page[limit]=0 => unknown_page_parameter page, invalid_page_limit page[limit]
        page=1 => unknown_page_parameter page
        page[after]=a&page[after]=b => invalid_page_cursor page[after]
        sort=id&include=x => unsupported_parameter sort, unsupported_parameter include
        sort=id&sort=x&sort[a]=b&page[]=1 => unsupported_parameter sort, unknown_page_parameter page
        filter[a]=1&fields[customer]=id => unsupported_parameter filter, unsupported_parameter fields
        foo=1&bar[a]=1&Baz=1&utm_source=x&q1=2&=x&[a]=1 => unsupported_parameter foo, unsupported_parameter bar
    ";
    for (query, errors) in rows(table) {
        assert_errors(&list(query).await, "parameter", errors, query);
    }
    let write = world.dissociate("cart-1", &["a"]);
    let write = write.query("page[limit]=1&include=a").send().await;
    let errors = "unsupported_parameter page, unsupported_parameter include";
    assert_errors(&write, "parameter", errors, "DELETE");
    // A long name is cut. This one has another character than letters where it would be.
    let odd = "a".to_owned() + &"é".repeat(100) + "=1";
    list(&odd).await.listed("customer");
    let long = list(&("a".repeat(1000) + "=1")).await;
    let errors = format!("unsupported_parameter {}", "a".repeat(64));
    assert_errors(&long, "parameter", &errors, "long");
}

#[tokio::test]
async fn json_api_is_served_if_it_is_named() {
    let world = World::new().await;
    let table = r#"
        */* => application/json
        text/html => application/json
        application/json => application/json
        application/vnd.api => application/json
        not a media type;;; => application/json
        application/vnd.api+json;q=0 => application/json
        application/vnd.api+json;ext="x";q=0, */* => application/json
        application/vnd.api+json => application/vnd.api+json
        Application/VND.API+JSON => application/vnd.api+json
        text/html, application/vnd.api+json;q=0.1 => application/vnd.api+json
        application/vnd.api+json; profile="https://a/ b" => application/vnd.api+json
        application/vnd.api+json;ext="https://a", application/vnd.api+json => application/vnd.api+json
    "#;
    for (accept, media_type) in rows(table).chain([("", JSON)]) {
        let list = world.get(CUSTOMERS).header("accept", accept).back_end();
        let answer = list.send().await;
        answer.listed("customer");
        assert_eq!(answer.header("content-type"), Some(media_type), "{accept}");
    }
    for call in [
        world.associate("cart-1", &[RON]),
        world.associate("no cart", &[RON]),
        world.post("cart-1").method("PUT"),
    ] {
        let answer = call.header("accept", JSON_API).send().await;
        assert_eq!(answer.header("content-type"), Some(JSON_API), "{answer:?}");
    }
}

#[tokio::test]
async fn json_api_with_unsupported_parameters_only_is_not_acceptable() {
    let world = World::new().await;
    for accept in [
        "application/vnd.api+json; ext=\"https://jsonapi.org/ext/atomic\"",
        "application/vnd.api+json; charset=utf-8",
        "application/vnd.api+json; a=b, application/json",
        "application/vnd.api+json; a=\",\", application/vnd.api+json; c=d",
    ] {
        let list = world.get(CUSTOMERS).header("accept", accept).back_end();
        let source = list.send().await.refused(406, "not_acceptable");
        assert_eq!(source, json!({ "header": "Accept" }), "{accept}");
    }
}

#[tokio::test]
async fn bodies_are_json_or_json_api_and_not_compressed() {
    let world = World::new().await;
    let send = |header, value: &str| {
        let call = world.dissociate("cart-1", &["a"]).header(header, value);
        call.send()
    };
    for (name, accepted, refused) in [
        (
            "Content-Type",
            &[
                "application/json",
                "application/vnd.api+json",
                "APPLICATION/JSON",
                " application/json ",
                "application/json;charset=utf-8",
                "application/json ; Charset=\"UTF-8\"",
                "application/vnd.api+json; profile=\"https://a/ b\"",
                "application/vnd.api+json;Profile=x",
            ][..],
            &[
                "",
                "json",
                "text/json",
                "text/plain",
                "application/jsonp",
                "application/problem+json",
                "application/json+json",
                "application/x-www-form-urlencoded",
                "application/json; charset=latin1",
                "application/json; charset=utf-8; a=b",
                "application/json; profile=\"https://a\"",
                "application/vnd.api+json; ext=\"https://a\"",
                "application/vnd.api+json; charset=utf-8",
                "application/vnd.api+json; profile=x; a=b",
                "application/json, application/json",
                "application/json; charset",
            ][..],
        ),
        (
            "Content-Encoding",
            &["identity", "Identity", " identity "],
            &["gzip", "br", "", "identity, gzip", "x"],
        ),
    ] {
        for value in accepted {
            send(name, value).await.unchanged();
        }
        for value in refused {
            let source = send(name, value).await;
            let source = source.refused(415, "unsupported_media_type");
            assert_eq!(source, json!({ "header": name }), "{value}");
        }
    }
}

/// Several `Accept` are one list. Several `Content-Type` are an error.
#[tokio::test]
async fn a_header_of_media_types_may_be_sent_twice() {
    let world = World::new().await;
    let send = |name: &str, values: [&str; 2]| {
        let mut event = sample("associate-rest-api");
        event["multiValueHeaders"][name] = json!(values);
        Call::event(world.app(), event).send()
    };
    let accepts = ["application/vnd.api+json; a=b", JSON_API];
    assert_eq!(send("Accept", accepts).await.status, 200);
    let types = send("Content-Type", [JSON, JSON]).await;
    types.refused(415, "unsupported_media_type");
}
