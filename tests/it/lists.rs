//! Lists of a customer's carts and of a cart's customers, and their pages.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_sdk_dynamodb::types::{DeleteGlobalSecondaryIndexAction, GlobalSecondaryIndexUpdate};
use cart_associations::clock::Timestamp;
use cart_associations::cursor::encode;
use dev::proxy::Fault;
use serde_json::{Value, json};

use crate::support::call::Call;
use crate::support::{RON, World, access_token, engine, lasting_token};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

const RONS_CARTS: &str = "/v2/customers/ron/relationships/carts";
const CUSTOMERS: &str = "/v2/carts/cart-1/relationships/customers";

/// The time `millis` milliseconds after the beginning of a fixed day: 2026-11-21.
fn timestamp(millis: u64) -> String {
    Timestamp::from_millis(1_795_219_200_000 + millis).to_string()
}

/// Creates `count` carts of Ron's. The newest has the highest number.
async fn carts(world: &World, count: u64) {
    for number in 0..count {
        let cart = format!("cart-{number:03}");
        world.put(&cart, RON, &timestamp(number), None).await;
    }
}

/// The first page of a list for a back end, and the link to the next one.
async fn listed(world: &World, path: &str, member_type: &str) -> (Vec<String>, Option<String>) {
    world.get(path).back_end().send().await.listed(member_type)
}

/// Reads a list in pages of `limit`. Returns its members and the number of pages.
async fn all_pages(
    world: &World,
    path: &str,
    member_type: &str,
    limit: usize,
) -> (Vec<String>, usize) {
    let mut members = Vec::new();
    let mut pages = 0;
    let mut next = Some(format!("{path}?page[limit]={limit}"));
    while let Some(link) = next {
        let answer = world.get(&link).back_end().send().await;
        assert_eq!(answer.document()["meta"]["page"]["limit"], json!(limit));
        let (ids, following) = answer.listed(member_type);
        // Every page but the last is full.
        assert!(following.is_none() || ids.len() == limit, "{answer:?}");
        members.extend(ids);
        next = following;
        pages += 1;
    }
    (members, pages)
}

#[tokio::test]
async fn carts_are_listed_newest_first_in_pages_of_any_size() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    carts(&world, 57).await;
    let newest_first = (0..57).rev().map(|number| format!("cart-{number:03}"));
    let newest_first: Vec<String> = newest_first.collect();
    for (limit, pages) in [(1, 57), (7, 9), (19, 3), (25, 3), (57, 1), (100, 1)] {
        let calls = proxy.calls();
        let listed = all_pages(&world, RONS_CARTS, "cart", limit).await;
        assert_eq!(listed, (newest_first.clone(), pages), "by {limit}");
        // A late page costs as little as the first.
        assert_eq!(proxy.calls() - calls, pages, "by {limit}");
    }
    let (ids, next) = listed(&world, RONS_CARTS, "cart").await;
    assert_eq!((&ids[..], next.is_some()), (&newest_first[..25], true));
}

#[tokio::test]
async fn carts_with_the_same_time_are_listed_by_id() {
    let world = World::new().await;
    for number in [3, 1, 4, 0, 5, 9, 2, 6, 8, 7] {
        let (cart, at) = (format!("cart-{number}"), timestamp(number / 5));
        world.put(&cart, RON, &at, None).await;
    }
    let expected = [5, 6, 7, 8, 9, 0, 1, 2, 3, 4].map(|number| format!("cart-{number}"));
    for limit in 1..=11 {
        let (carts, _) = all_pages(&world, RONS_CARTS, "cart", limit).await;
        assert_eq!(carts, expected, "by {limit}");
    }
}

#[tokio::test]
async fn customers_are_listed_by_id_in_pages_of_any_size() {
    let world = World::new().await;
    let by_id: Vec<String> = (0..57).map(|number| format!("c{number:02}")).collect();
    for (number, customer) in by_id.iter().enumerate().rev() {
        let at = timestamp(number as u64);
        world.put("cart-1", customer, &at, None).await;
    }
    world.put("cart-2", "other", &timestamp(0), None).await;
    for limit in [1, 7, 25, 56, 57, 100] {
        let (customers, _) = all_pages(&world, CUSTOMERS, "customer", limit).await;
        assert_eq!(customers, by_id, "by {limit}");
    }
}

#[tokio::test]
async fn an_empty_list_is_an_empty_array() {
    let world = World::new().await;
    for path in [RONS_CARTS, CUSTOMERS] {
        let answer = world.get(path).back_end().send().await;
        let expected = json!({
            "links": { "self": path }, "data": [], "meta": { "page": { "limit": 25 } },
        });
        assert_eq!((answer.status, answer.document()), (200, expected));
    }
    let own = world.get("/v2/carts").customer(RON).send().await;
    assert_eq!(own.document()["data"], json!([]));
}

#[tokio::test]
async fn a_list_member_has_the_time_of_its_association_and_its_end() {
    let world = World::new().await;
    for end in [None, Some(world.now().plus(DAY).seconds())] {
        world.put("cart-1", RON, &timestamp(7), end).await;
        let mut meta = json!({ "associated_at": timestamp(7) });
        if let Some(end) = end {
            meta["expires_at"] = json!(Timestamp::from_millis(end * 1000).to_string());
        }
        for (path, kind, id) in [
            ("/v2/carts", "cart", "cart-1"),
            (CUSTOMERS, "customer", RON),
        ] {
            let answer = world.get(path).customer(RON).send().await;
            let member = json!({ "type": kind, "id": id, "meta": meta });
            assert_eq!(answer.document()["data"], json!([member]));
        }
    }
}

/// The answers do not show whether a cart exists.
#[tokio::test]
async fn a_customer_lists_their_own_carts_and_the_customers_of_these() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    let list = |customer, path| world.get(path).customer(customer).send();
    assert_eq!(list(RON, RONS_CARTS).await.listed("cart").0, ["cart-1"]);
    assert_eq!(list(RON, CUSTOMERS).await.listed("customer").0, [RON]);
    let not_hers = list("hermione", CUSTOMERS).await;
    not_hers.refused(403, "not_on_cart");
    let not_there = "/v2/carts/cart-2/relationships/customers";
    assert_eq!(list("hermione", not_there).await, not_hers);
}

#[tokio::test]
async fn expired_associations_are_absent_everywhere() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let past = 1_700_000_000;
    // Far more items than fit in a page have expired: before, between and after the
    // others.
    for number in 0..90 {
        let (at, end) = (timestamp(number), (number % 30 != 7).then_some(past));
        let (cart, customer) = (format!("cart-{number:02}"), format!("c{number:02}"));
        world.put(&cart, RON, &at, end).await;
        world.put("cart-1", &customer, &at, end).await;
    }
    for limit in [1, 2, 3, 100] {
        let calls = proxy.calls();
        let (carts, pages) = all_pages(&world, RONS_CARTS, "cart", limit).await;
        assert_eq!(carts, ["cart-67", "cart-37", "cart-07"]);
        let (customers, _) = all_pages(&world, CUSTOMERS, "customer", limit).await;
        assert_eq!(customers, ["c07", "c37", "c67"]);
        // A page skips many in few calls.
        let calls = proxy.calls() - calls;
        assert!(calls <= 2 * pages * 4, "{calls} calls, by {limit}");
    }
    world.put("cart-x", RON, &timestamp(0), Some(past)).await;
    let path = "/v2/carts/cart-x/relationships/customers";
    let rons_view = || world.get(path).customer(RON).send();
    rons_view().await.refused(403, "not_on_cart");
    world.associated("cart-x", &[RON]).await;
    assert_eq!(rons_view().await.listed("customer").0, [RON]);
}

#[tokio::test]
async fn paging_during_writes_neither_repeats_nor_misses_associations() {
    let world = World::new().await;
    carts(&world, 30).await;
    let mut all = Vec::new();
    let mut next = Some(format!("{RONS_CARTS}?page[limit]=4"));
    let mut page = 0;
    while let Some(link) = next {
        let (ids, following) = listed(&world, &link, "cart").await;
        all.extend(ids);
        next = following;
        // Add a newer cart and an older one, which later pages include, and once
        // remove the last cart that was listed.
        for (age, at) in [("new", 10_000 + page), ("old", page)] {
            let cart = format!("{age}-{page}");
            world.put(&cart, RON, &timestamp(at), None).await;
        }
        let last = all.last().unwrap();
        if page == 2 {
            world.dissociate(last, &[RON]).send().await.unchanged();
        }
        page += 1;
    }
    let distinct: BTreeSet<&String> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    for number in 0..30 {
        let cart = format!("cart-{number:03}");
        assert!(distinct.contains(&cart), "{cart} is missing");
    }
}

/// The answer of an index in motion: a list of ids and of times.
fn shown(name: &str, items: &[(&str, &str)]) -> Fault {
    let item = |(id, at): &(&str, &str)| json!({ name: { "S": id }, "associated_at": { "S": at } });
    let items: Vec<Value> = items.iter().map(item).collect();
    let answer = json!({ "Items": items, "Count": items.len() }).to_string();
    // The proxy is not told how long its plans last.
    Fault::Garbage(answer.leak())
}

/// The kinds, and the indexes and the attribute of each.
const KINDS: [[&str; 4]; 2] = [
    ["customer", "by_cart", "by_customer", "customer_id"],
    ["account", "accounts_by_cart", "by_account", "account_id"],
];

/// A cart that was removed and associated again can be in an index twice.
#[tokio::test]
async fn no_page_shows_a_member_twice() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let at = [0, 1, 2].map(timestamp);
    let [old, middle, new] = at.each_ref().map(String::as_str);
    let members = async |path: &str| {
        let document = world.get(path).back_end().send().await.document();
        let member = |member: &Value| json!([member["id"], member["meta"]["associated_at"]]);
        let members = document["data"].as_array().unwrap().iter();
        members.map(member).collect::<Value>()
    };
    for [kind, by_cart, by_party, attribute] in KINDS {
        let of_cart = format!("/v2/carts/cart-1/relationships/{kind}s");
        let twice = [("a", old), ("a", new), ("b", old), ("b", old), ("c", old)];
        proxy.next_for(by_cart, shown(attribute, &twice), 3);
        let each_once = json!([["a", old], ["b", old], ["c", old]]);
        assert_eq!(members(&of_cart).await, each_once);
        let first = format!("{of_cart}?page[limit]=1");
        let (_, second) = listed(&world, &first, kind).await;
        assert_eq!(members(&second.unwrap()).await, json!([["b", old]]));

        let of_party = format!("/v2/{kind}s/ron/relationships/carts");
        let twice = [("x", new), ("y", middle), ("x", old)];
        proxy.next_for(by_party, shown("cart_id", &twice), 1);
        let each_once = json!([["x", new], ["y", middle]]);
        assert_eq!(members(&of_party).await, each_once);
    }
}

/// After a page with a young association, an old copy of it is compared with the table.
#[tokio::test]
async fn no_later_page_shows_a_member_again() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    for [kind, _, by_party, attribute] in KINDS {
        let of_account = if kind == "account" { "account#" } else { "" };
        let [old, older, oldest] = [3, 2, 1].map(timestamp);
        let young = world.now().to_string();
        for (cart, at) in [("x", &young), ("y", &older), ("z", &oldest)] {
            let mut item = json!({ "id": format!("{cart}#{of_account}ron"), "cart_id": cart });
            item[attribute] = json!(RON);
            item["associated_at"] = json!(at);
            world.plant(&item).await;
        }
        let list = async |path: &str| listed(&world, path, "cart").await;
        let first = format!("/v2/{kind}s/ron/relationships/carts?page[limit]=1");
        let (carts, second) = list(&first).await;
        assert_eq!(carts, ["x"]);
        let second = second.unwrap();
        let in_motion = shown("cart_id", &[("x", &old), ("y", &older)]);
        proxy.next_for(by_party, in_motion, 1);
        proxy.take_recorded();
        assert_eq!(list(&second).await, (vec!["y".to_owned()], None));
        let calls = proxy.take_recorded();
        let reads = calls.iter().filter(|call| call.operation == "GetItem");
        let reads = reads.map(|call| call.body()["ConsistentRead"].clone());
        let reads = Vec::from_iter(reads);
        assert_eq!((calls.len(), reads), (3, vec![json!(true); 2]));

        // All later pages follow the young one.
        let (carts, third) = list(&second).await;
        assert_eq!(carts, ["y"]);
        proxy.take_recorded();
        assert_eq!(list(&third.unwrap()).await.0, ["z"]);
        assert_eq!(proxy.take_recorded().len(), 2);

        // A minute later, the index shows the association where it is.
        world.advance_clock(Duration::from_secs(60));
        let (_, second) = list(&first).await;
        proxy.take_recorded();
        assert_eq!(list(&second.unwrap()).await.0, ["y"]);
        assert_eq!(proxy.take_recorded().len(), 1);
    }
}

/// A table of the previous version serves customers as before.
#[tokio::test]
async fn a_table_without_the_indexes_of_accounts_serves_customers() {
    let world = World::new().await;
    let (client, table) = world.table();
    for index in ["accounts_by_cart", "by_account"] {
        let delete = DeleteGlobalSecondaryIndexAction::builder().index_name(index);
        let update = GlobalSecondaryIndexUpdate::builder().delete(delete.build().unwrap());
        let deleted = client.update_table().table_name(table);
        let deleted = deleted.global_secondary_index_updates(update.build());
        deleted.send().await.unwrap();
    }
    world.associated("x", &[RON]).await;
    assert_eq!(listed(&world, RONS_CARTS, "cart").await.0, ["x"]);
    let accounts = || {
        let path = "/v2/accounts/acme/relationships/carts";
        world.get(path).back_end().send()
    };
    accounts().await.refused(500, "internal_error");

    // They can be added to a table that has data.
    let engine = dev::dynamodb::Client::new(engine());
    engine.create_table(table).await.unwrap();
    assert!(accounts().await.listed("cart").0.is_empty());
    assert_eq!(listed(&world, RONS_CARTS, "cart").await.0, ["x"]);
}

#[tokio::test]
async fn a_cursor_is_valid_only_for_its_list() {
    let world = World::new().await;
    for customer in [RON, "hermione"] {
        for number in 0..3 {
            let cart = format!("cart-{number}");
            world.put(&cart, customer, &timestamp(number), None).await;
        }
    }
    let own = async |customer, query: &str| {
        let call = world.get(&format!("/v2/carts{query}"));
        call.customer(customer).send().await
    };
    let cursor = |link: Option<String>| {
        let link = link.unwrap();
        let (_, cursor) = link.split_once("page%5Bafter%5D=").unwrap();
        cursor.to_owned()
    };
    let rons = cursor(own(RON, "?page[limit]=1").await.listed("cart").1);
    let of_cart = listed(&world, &format!("{CUSTOMERS}?page[limit]=1"), "customer").await;
    let of_cart = cursor(of_cart.1);
    let rons_query = format!("?page[after]={rons}");
    own(RON, &rons_query).await.listed("cart");

    let source = json!({ "parameter": "page[after]" });
    // The digest uses no secret, so anybody can make a cursor with any position.
    let now = Timestamp::from(SystemTime::now());
    let [rons_at, customers_at] =
        ["carts#ron", "customers#cart-1"].map(|list| move |position| encode(list, position, now));
    for (path, cursor) in [
        (RONS_CARTS, &*rons),
        ("/v2/customers/hermione/relationships/carts", &rons),
        (CUSTOMERS, &rons),
        (RONS_CARTS, &of_cart),
        ("/v2/carts/cart-2/relationships/customers", &of_cart),
        (CUSTOMERS, "e30"),
        (RONS_CARTS, &rons_at("")),
        (RONS_CARTS, &rons_at(" ")),
        (RONS_CARTS, &rons_at(" cart-1")),
        (RONS_CARTS, &rons_at("cart-1")),
        (CUSTOMERS, &customers_at("")),
        (CUSTOMERS, &customers_at("a b")),
    ] {
        let link = format!("{path}?page[after]={cursor}");
        let answer = world.get(&link).back_end().send().await;
        assert_eq!(answer.refused(400, "invalid_page_cursor"), source, "{link}");
    }
    // Any text may be the time.
    for time in ["2026", "\u{0}\u{fffd}  ", &"é".repeat(150)] {
        for end in ["cart-1", "cart-1 young"] {
            let cursor = encode("carts#ron", &format!("{time} {end}"), now);
            let link = format!("{RONS_CARTS}?page[after]={cursor}");
            listed(&world, &link, "cart").await;
        }
    }
    let others = own("hermione", &rons_query).await;
    others.refused(400, "invalid_page_cursor");

    // The lifetime of a cursor, and the clock skew.
    world.advance_clock(DAY + Duration::from_secs(30));
    let link = format!("{CUSTOMERS}?page[after]={of_cart}");
    let old = world.get(&link).bearer(&lasting_token()).send().await;
    old.refused(400, "invalid_page_cursor");
}

/// The links of a list lead back to it, whatever prefix its path has.
#[tokio::test]
async fn links_include_the_stage_or_base_path() {
    let world = World::new().await;
    carts(&world, 3).await;
    let token = access_token("client_credentials");
    let query = "page[limit]=2&X=<script>";
    let http_api = |prefix: &str, stage: &str| {
        json!({
            "version": "2.0", "routeKey": "ANY /v2/customers/{customerId}/relationships/carts",
            "rawPath": format!("{prefix}{RONS_CARTS}"), "rawQueryString": query,
            "headers": { "authorization": format!("Bearer {token}") },
            "pathParameters": { "customerId": RON },
            "requestContext": { "http": { "method": "GET" }, "stage": stage },
        })
    };
    let rest_api = |prefix: &str| {
        json!({
            "resource": "/v2/customers/{customerId}/relationships/carts", "path": RONS_CARTS,
            "httpMethod": "GET", "headers": { "Authorization": format!("Bearer {token}") },
            "queryStringParameters": { "page[limit]": "2", "X": "<script>" },
            "multiValueQueryStringParameters": { "page[limit]": ["2"], "X": ["<script>"] },
            "pathParameters": { "customerId": RON },
            "requestContext": { "path": format!("{prefix}{RONS_CARTS}"), "stage": "prod" },
        })
    };
    for (prefix, event) in [
        ("", http_api("", "$default")),
        ("/prod", http_api("/prod", "prod")),
        ("/shop/api", http_api("/shop/api", "$default")),
        ("/base", {
            // A custom domain: the raw path does not contain its base path.
            let mut event = http_api("/prod", "prod");
            event["requestContext"]["http"]["path"] = json!(format!("/base{RONS_CARTS}"));
            event
        }),
        ("/prod", rest_api("/prod")),
        ("/shop", rest_api("/shop")),
    ] {
        let answer = Call::event(world.app(), event).send().await;
        let (ids, next) = answer.listed("cart");
        assert_eq!(ids.len(), 2);
        let this = format!("{prefix}{RONS_CARTS}?page%5Blimit%5D=2");
        assert_eq!(answer.document()["links"]["self"], json!(this));
        let next = next.unwrap();
        let this = format!("{this}&page%5Bafter%5D=");
        assert!(next.starts_with(&this), "{next}");
        let next = next.strip_prefix(prefix).unwrap();
        let rest = world.get(next).back_end().send().await;
        assert_eq!(rest.listed("cart"), (vec!["cart-000".to_owned()], None));
        assert_eq!(rest.document()["links"]["self"], next);
    }
}
