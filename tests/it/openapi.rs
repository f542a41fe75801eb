//! `docs/openapi.yaml` and `docs/errors.md` describe exactly what the code does.
//!
//! These tests try to cause each described error on each operation. In addition,
//! `support/description.rs` compares every answer in all integration tests with the
//! description.

use std::collections::BTreeSet;
use std::time::Duration;

use cart_associations::api::{ROUTES, Route};
use cart_associations::clock::Timestamp;
use cart_associations::cursor::{MAX_CURSOR_LENGTH, encode};
use cart_associations::error::{ErrorCode, MAX_ERRORS};
use cart_associations::ids::MAX_ID_LENGTH;
use cart_associations::jsonapi::body::{MAX_BODY_BYTES, MAX_MEMBERS};
use cart_associations::jsonapi::query::MAX_LIMIT;
use dev::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use crate::credentials::ONE_TOKEN;
use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::description::{
    Described, OTHER, answers, document, object, operations, resolved, strings,
};
use crate::support::{RON, World, authorities, closed_url, engine, linkage, linkage_of};

const ERRORS: &str = include_str!("../../docs/errors.md");

/// The status and the text of all error codes.
fn error_codes() -> BTreeSet<(u64, &'static str)> {
    let described = |code: &ErrorCode| (code.status().as_u16().into(), code.as_str());
    ErrorCode::ALL.iter().map(described).collect()
}

#[test]
fn the_operations_are_the_routes() {
    let routes: BTreeSet<String> = ROUTES.iter().flat_map(Route::keys).collect();
    assert_eq!(operations().into_keys().collect::<BTreeSet<_>>(), routes);
}

#[test]
fn the_error_codes_are_listed() {
    let listed = strings(&document()["components"]["schemas"]["ErrorCode"]["enum"]);
    let codes = error_codes().into_iter().map(|(_, code)| code);
    assert_eq!(listed, codes.collect());
}

#[test]
fn the_described_limits_are_those_of_the_code() {
    let document = document();
    let number = |pointer: &str| {
        let number = document.pointer(pointer).and_then(Value::as_u64);
        usize::try_from(number.expect(pointer)).unwrap()
    };
    for (place, limit) in [
        ("schemas/Id/maxLength", MAX_ID_LENGTH),
        (
            "schemas/CustomerLinkageDocument/properties/data/maxItems",
            MAX_MEMBERS,
        ),
        ("schemas/CustomerList/properties/data/maxItems", MAX_LIMIT),
        ("schemas/CartList/properties/data/maxItems", MAX_LIMIT),
        ("schemas/PageMeta/properties/limit/maximum", MAX_LIMIT),
        (
            "schemas/ErrorDocument/properties/errors/maxItems",
            MAX_ERRORS,
        ),
        // jsonapi.rs requests these limits and their neighbours.
        ("parameters/PageLimit/schema/minimum", 1),
        ("parameters/PageLimit/schema/default", 25),
        ("parameters/PageLimit/schema/maximum", MAX_LIMIT),
        ("parameters/PageAfter/schema/maxLength", MAX_CURSOR_LENGTH),
    ] {
        let pointer = format!("/components/{place}");
        assert_eq!(number(&pointer), limit, "{pointer}");
    }
}

#[test]
fn each_answer_has_both_media_types_or_none_and_names_its_codes() {
    for answer in answers() {
        let context = format!("{} {}", answer.operation, answer.status);
        let content = answer.response.get("content").map(object);
        let media_types = content.map(|content| content.keys().cloned().collect::<Vec<_>>());
        let both = ["application/json", "application/vnd.api+json"].map(str::to_owned);
        let expected = (answer.status != 204).then(|| both.to_vec());
        assert_eq!(media_types, expected, "{context}");
        let description = answer.response["description"].as_str().unwrap();
        for code in &answer.codes {
            let named = format!("`{code}`");
            assert!(description.contains(&named), "{context}: {code}");
        }
        assert_eq!(answer.codes.is_empty(), answer.status < 400, "{context}");
    }
}

#[test]
fn each_operation_declares_the_tokens_that_it_reads() {
    assert_eq!(document()["security"], json!([{ "accessToken": [] }]));
    for (name, operation) in operations() {
        // Only back ends clear carts.
        let is_back_ends = name.starts_with("PATCH /v2/carts/");
        let has = |kind| !is_back_ends && (name.contains(kind) || name == "GET /v2/carts");
        let expected = [
            (has("/customers"), "x-moltin-customer-token"),
            (
                has("/accounts"),
                "EP-Account-Management-Authentication-Token",
            ),
            (name.starts_with("POST "), "x-cart-token"),
        ];
        let expected = expected.into_iter().filter(|(reads, _)| *reads);
        let expected: BTreeSet<&str> = expected.map(|(_, header)| header).collect();
        let parameters = operation.get("parameters").and_then(Value::as_array);
        let declared: BTreeSet<&str> = parameters
            .into_iter()
            .flatten()
            .map(|parameter| resolved(parameter)["name"].as_str().unwrap())
            .filter(|name| name.to_lowercase().ends_with("-token"))
            .collect();
        assert_eq!(declared, expected, "{name}");
    }
}

const SECOND: Duration = Duration::from_secs(1);

/// In the body of every write, and of no read.
const WRITE: &str = "\"ConditionExpression\"";

/// A world for each cause of an error: a healthy one for faults in a request, one
/// for each fault outside of the function, and others with other tokens.
struct Deployments {
    healthy: World,
    without_table: World,
    throttled: World,
    hanging: World,
    without_keys: World,
    with_cart_tokens: World,
    one_token: World,
}

impl Deployments {
    async fn new() -> Self {
        let healthy = World::with_account_tokens().await;
        let behind = async |proxy: &Proxy| {
            World::on(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.endpoint)], &healthy).await
        };
        let [throttling, hanging] = [Proxy::start(engine()).await, Proxy::start(engine()).await];
        throttling.always(Fault::Refused("ThrottlingException"));
        hanging.hold(WRITE, usize::MAX);
        Self {
            without_table: World::on(&[("TABLE_NAME", "no-such-table")], &healthy).await,
            throttled: behind(&throttling).await,
            hanging: behind(&hanging).await,
            without_keys: World::on(&[("ACCESS_TOKEN_JWKS", &closed_url())], &healthy).await,
            one_token: World::with(&ONE_TOKEN).await,
            with_cart_tokens: World::with_account_and_cart_tokens().await,
            healthy,
        }
    }

    fn for_code(&self, code: &str) -> &World {
        match code {
            "internal_error" => &self.without_table,
            "store_unavailable" => &self.throttled,
            "outcome_unknown" => &self.hanging,
            "keys_unavailable" => &self.without_keys,
            "cart_token_required" | "invalid_cart_token" => &self.with_cart_tokens,
            "back_end_required" => &self.one_token,
            _ => &self.healthy,
        }
    }
}

/// A request for this operation that succeeds in the healthy world. `cart` is the
/// cart or the customer in the path.
fn request<'w>(world: &'w World, operation: &str, cart: &str, query: &str) -> Call<'w> {
    let (method, path) = operation.split_once(' ').unwrap();
    let path = with_parameters(path, cart);
    let call = Call::new(world.app(), method, &format!("{path}{query}"));
    match (method, &*path) {
        ("GET", "/v2/carts") => call.customer(RON),
        ("GET", _) => call.back_end(),
        ("PATCH", _) => call.back_end().body(linkage(&[])),
        _ => call.back_end().body(linkage_of(kind_of(operation), &[RON])),
    }
}

fn with_parameters(path: &str, id: &str) -> String {
    ["{cartId}", "{customerId}", "{accountId}"]
        .iter()
        .fold(path.to_owned(), |path, name| path.replace(name, id))
}

/// The kind of the parties of an operation.
fn kind_of(operation: &str) -> &'static str {
    match operation.contains("/accounts") {
        true => "account",
        false => "customer",
    }
}

/// The request of somebody who acts for a party of the operation's kind.
fn acting_for<'w>(party: &str, operation: &str, call: Call<'w>) -> Call<'w> {
    match kind_of(operation) {
        "account" => call.account(party),
        _ => call.customer(party),
    }
}

/// A request that is answered with this error code, if the operation has it.
fn request_with_error<'w>(deployments: &'w Deployments, operation: &str, code: &str) -> Call<'w> {
    let world = deployments.for_code(code);
    let good = request(world, operation, RON, "");
    let without_customer = request(world, operation, RON, "");
    let without_customer = without_customer.without_header("x-moltin-customer-token");
    let queried = |query: &str| request(world, operation, RON, "").query(query);
    let member = |member: Value| json!({ "data": [member] });
    let many: Vec<String> = (0..=MAX_MEMBERS).map(|id| format!("c{id}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    match code {
        "access_token_required" => good.without_header("authorization"),
        "invalid_access_token" => good.bearer("x"),
        "invalid_customer_token" => good.customer_token(""),
        "customer_token_required" => without_customer.grant("implicit"),
        "account_token_required" => good.grant("implicit"),
        "invalid_account_token" => good.account_token(""),
        "several_parties" => good.customer(RON).account("acme"),
        "cart_token_required" => acting_for(RON, operation, good),
        "invalid_cart_token" => acting_for(RON, operation, good).cart_token(""),
        "other_customer" | "other_account" | "not_on_cart" => {
            acting_for("hermione", operation, good)
        }
        "invalid_id" => request(world, operation, "a b", ""),
        "invalid_page_limit" => queried("page[limit]=0"),
        "invalid_page_cursor" => queried("page[after]=x"),
        "unknown_page_parameter" => queried("page[size]=1"),
        "unsupported_parameter" => queried("sort=id"),
        "not_acceptable" => good.header("accept", "application/vnd.api+json;a=b"),
        "unsupported_media_type" => good.header("content-type", "text/plain"),
        "body_too_large" => good.text(&"x".repeat(MAX_BODY_BYTES + 1)),
        "body_required" => good.text(""),
        "invalid_encoding" => good.base64("/w=="),
        "invalid_json" => good.text("{"),
        "invalid_document" => good.text("[]"),
        "data_required" => good.text("{}"),
        "invalid_data" => good.body(json!({ "data": {} })),
        "data_empty" => good.body(linkage(&[])),
        "full_replacement_unsupported" => good.body(linkage(&[RON])),
        "back_end_required" => without_customer.bearer(&machine_token()),
        "too_many_members" => good.body(linkage_of(kind_of(operation), &many)),
        "invalid_member" => good.body(member(json!(7))),
        "type_required" => good.body(member(json!({ "id": RON }))),
        "invalid_type" => good.body(member(json!({ "type": "cart", "id": RON }))),
        "id_required" => good.body(member(json!({ "type": kind_of(operation) }))),
        "outcome_unknown" => good.deadline(world.now().plus(SECOND).millis()),
        "internal_error" | "store_unavailable" | "keys_unavailable" => good,
        other => panic!("no request causes {other}"),
    }
}

/// The access token of a machine without the right of a back end.
fn machine_token() -> String {
    let claims = json!({ "client_id": "machine" });
    authorities().access.token("machine", &claims).unwrap()
}

/// Each described error occurs. That no other does, [`Call::send`] checks.
#[tokio::test]
async fn exactly_the_described_errors_occur() {
    let deployments = Deployments::new().await;
    let described = |operation: &str| -> BTreeSet<&str> {
        let answers = answers().into_iter();
        let answers = answers.filter(|answer| answer.operation == operation);
        answers.flat_map(|answer| answer.codes).collect()
    };
    let all = strings(&document()["components"]["schemas"]["ErrorCode"]["enum"]);
    let faults = &all - &described(OTHER);
    for operation in operations().keys() {
        let mut answered = BTreeSet::new();
        for fault in &faults {
            // Something to clear.
            deployments.healthy.associate(RON, &[RON]).send().await;
            let accounts = "POST /v2/carts/{cartId}/relationships/accounts";
            let account = request(&deployments.healthy, accounts, RON, "");
            account.send().await;
            // Not every operation has every fault. For example, the body of a GET is
            // ignored.
            let call = request_with_error(&deployments, operation, fault);
            let answer = call.send().await;
            if answer.status >= 400 {
                answered.extend(answer.codes());
            }
        }
        for code in described(operation) {
            assert!(answered.contains(code), "{operation} {code}");
        }
    }
}

#[test]
fn the_examples_of_errors_have_the_texts_of_their_codes() {
    for (name, example) in object(&document()["components"]["examples"]) {
        for error in example["value"]["errors"].as_array().into_iter().flatten() {
            let mut all = ErrorCode::ALL.iter();
            let code = all.find(|code| error["code"] == json!(code.as_str()));
            let code = code.expect(name);
            assert_eq!(error["title"], json!(code.title()), "{name}");
            assert_eq!(error["detail"], json!(code.detail()), "{name}");
        }
    }
}

#[tokio::test]
async fn each_described_success_occurs() {
    let world = World::new().await;
    for Described {
        operation, status, ..
    } in answers()
    {
        let plain = |cart| request(&world, &operation, cart, "");
        let prefer = |cart| plain(cart).header("prefer", "return=representation");
        let answer = match (status, operation.split_once(' ').unwrap_or_default().0) {
            (400.., _) => continue,
            (200, "GET" | "POST") => plain("new").send().await,
            (200, "DELETE") => prefer("new").send().await,
            (204, "DELETE" | "PATCH") => plain("gone").send().await,
            (202, "PATCH") => partly_cleared(&world, &operation).await,
            (204, "POST") => {
                assert_eq!(plain("again").send().await.status, 200);
                plain("again").send().await
            }
            _ => panic!("no request for {operation} causes {status}"),
        };
        assert_eq!(answer.status, status, "{operation}: {answer:?}");
    }
}

/// Clears a relationship whose second batch does not reach the store.
async fn partly_cleared(world: &World, operation: &str) -> Answer {
    let proxy = Proxy::start(engine()).await;
    let slow = World::on(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.endpoint)], world).await;
    let ids: Vec<String> = (0..100).map(|id| format!("a{id}")).collect();
    let ids = ids.iter().map(String::as_str);
    let kind = kind_of(operation);
    // The lists have "last" last: parties by their ids, carts by their age.
    for id in ["last"].into_iter().chain(ids) {
        let (cart, party) = match operation.contains("{cartId}") {
            true => ("many", id),
            false => (id, "many"),
        };
        let post = world.get(&format!("/v2/carts/{cart}/relationships/{kind}s"));
        let post = post.method("POST").back_end();
        let post = post.body(linkage_of(kind, &[party]));
        assert_eq!(post.send().await.status, 200);
        world.advance_clock(Duration::from_millis(1));
    }
    proxy.hold("last", usize::MAX);
    let answer = request(&slow, operation, "many", "").send().await;
    assert_eq!(answer.document(), json!({ "meta": { "removed": 100 } }));
    answer
}

/// Those of HTTP, one that an API could declare, and names that are no methods.
const METHODS: &str = "DELETE GET HEAD OPTIONS PATCH POST PUT TRACE ANY get patch post";

#[tokio::test]
async fn the_described_answers_without_an_operation_occur() {
    let world = World::new().await;
    for (path, item) in object(&document()["paths"]) {
        let path = with_parameters(path, RON);
        let methods = object(item).keys().map(|name| name.to_uppercase());
        let mut described: BTreeSet<String> = methods.collect();
        described.remove("PARAMETERS");
        let others = METHODS.split(' ').filter(|name| !described.contains(*name));
        for method in others {
            let answer = Call::new(world.app(), method, &path).send().await;
            answer.refused(405, "method_not_allowed");
            let allowed = answer.header("allow").unwrap().split(", ");
            let allowed = allowed.map(str::to_owned).collect();
            assert_eq!(described, allowed, "{method} {path}");
        }

        let answer = world.get(&format!("{path}/more")).send().await;
        answer.refused(404, "route_not_found");
    }
    let answer = Call::event(world.app(), Value::Null).send().await;
    answer.refused(400, "unreadable_event");
}

#[test]
fn the_shortest_cursor_fits_its_description() {
    let schema = &document()["components"]["parameters"]["PageAfter"]["schema"];
    let cursor = encode("customers#cart-1", "a", Timestamp::from_millis(0));
    assert!(jsonschema::is_valid(schema, &json!(cursor)), "{cursor}");
}

/// The heading of each code, under that of its status, is the anchor to which
/// `links.about` of an error leads.
#[test]
fn each_error_code_has_a_section_in_errors_md() {
    let mut all = error_codes();
    for chapter in ERRORS.split("\n## ").skip(1) {
        let (title, sections) = chapter.split_once('\n').unwrap();
        let headings = sections.lines();
        for code in headings.filter_map(|line| line.strip_prefix("### ")) {
            let explained = all.extract_if(.., |(_, known)| *known == code).next();
            let (status, _) = explained.expect(code);
            assert!(title.contains(&status.to_string()), "{code} under {title}");
        }
    }
    assert_eq!(all, BTreeSet::new());
}
