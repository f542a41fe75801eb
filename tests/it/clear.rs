//! Clearing a relationship: a cart from all its customers, a customer from all
//! their carts.

use std::collections::BTreeSet;
use std::time::Duration;

use cart_associations::ids::{CartId, Party, PartyKind};
use cart_associations::store::{ClearOutcome, StoreError, WriteOutcome};
use dev::proxy::Fault;
use serde_json::{Value, json};

use crate::support::call::Call;
use crate::support::{RON, World, customer_token, linkage};

const CUSTOMERS_OF_CART: &str = "/v2/carts/cart-1/relationships/customers";
const CARTS_OF_RON: &str = "/v2/customers/ron/relationships/carts";

/// A back end's PATCH that clears the list at this path. It has an hour.
fn clear<'w>(world: &'w World, path: &str) -> Call<'w> {
    let deadline = world.now().plus(Duration::from_secs(60 * 60)).millis();
    let call = world.get(path).method("PATCH").back_end();
    call.deadline(deadline).body(linkage(&[]))
}

fn ids(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("c{number:05}")).collect()
}

/// Associates cart-1 with so many customers, and Ron with so many carts.
async fn associate(world: &World, customers: usize, carts: usize) {
    for customers in ids(customers).chunks(100) {
        let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
        let answer = world.associate("cart-1", &customers).send().await;
        answer.created(&customers);
    }
    for cart in ids(carts) {
        world.associated(&cart, &[RON]).await;
    }
}

#[tokio::test]
async fn everything_in_the_list_is_removed_and_nothing_else() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 250, 130).await;
    let of_cart = |key: &String| key.starts_with("cart-1#");
    for (path, is_left, batches) in [(CUSTOMERS_OF_CART, false, 3), (CARTS_OF_RON, true, 2)] {
        let calls = proxy.calls();
        clear(&world, path).send().await.unchanged();
        // One read before and one after.
        assert_eq!(proxy.calls() - calls, batches + 2, "{path}");
        let stored = world.stored().await;
        assert_eq!(stored.len(), if is_left { 0 } else { 130 }, "{path}");
        assert!(!stored.iter().any(of_cart));
        clear(&world, path).send().await.unchanged();
    }
    let items = world.items().await;
    assert_eq!(items.len(), 380);
    let ids = items.iter().map(|item| item["removal_id"].as_s().unwrap());
    assert_eq!(BTreeSet::from_iter(ids).len(), 2, "one for each request");
}

#[tokio::test]
async fn a_clearing_takes_a_write_for_each_hundred_and_a_read_for_each_thousand() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 2500, 0).await;
    proxy.take_recorded();
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    // A retry has the same body, and so has the first read of the second round.
    let calls = proxy.take_recorded().into_iter().map(|call| call.bytes);
    let calls: BTreeSet<_> = calls.collect();
    assert_eq!(calls.len(), 25 + 3);
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_cart_is_cleared_by_back_ends_only() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    let clear = || {
        let call = world.get(CUSTOMERS_OF_CART).method("PATCH");
        call.body(linkage(&[]))
    };
    let bound = clear().back_end().customer_token(&customer_token(RON));
    for call in [clear().customer(RON), clear().grant("implicit"), bound] {
        let source = call.send().await.refused(403, "back_end_required");
        assert_eq!(source, json!({ "header": "Authorization" }));
    }
    clear().send().await.refused(401, "access_token_required");
    assert_eq!(world.stored().await.len(), 1);
    clear().back_end().send().await.unchanged();
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_customers_carts_are_cleared_by_back_ends_and_by_that_customer() {
    let world = World::new().await;
    let clear = || {
        let call = world.get(CARTS_OF_RON).method("PATCH");
        call.body(linkage(&[]))
    };
    let associate = || world.associate("cart-1", &[RON, "hermione"]).send();
    associate().await;
    let refused = clear().customer("hermione").send().await;
    let source = refused.refused(403, "other_customer");
    assert_eq!(source, json!({ "parameter": "customerId" }));
    let nobody = clear().grant("implicit").send().await;
    nobody.refused(403, "customer_token_required");
    assert_eq!(world.stored().await.len(), 2);
    for call in [clear().customer(RON), clear().back_end()] {
        associate().await;
        call.send().await.unchanged();
        let left = BTreeSet::from(["cart-1#hermione".into()]);
        assert_eq!(world.stored().await, left);
    }
}

#[tokio::test]
async fn a_relationship_is_not_replaced() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    for path in [CUSTOMERS_OF_CART, CARTS_OF_RON] {
        let call = || world.get(path).method("PATCH").back_end();
        for data in [
            linkage(&[RON])["data"].clone(),
            json!([{ "type": "cart", "id": "cart-1" }]),
            json!([null]),
            json!(vec![7; 200]),
        ] {
            let answer = call().body(json!({ "data": data })).send().await;
            let source = answer.refused(403, "full_replacement_unsupported");
            assert_eq!(source, json!({ "pointer": "/data" }));
        }
        for (body, code) in [
            (Value::Null, "invalid_document"),
            (json!({}), "data_required"),
            (json!({ "data": null }), "invalid_data"),
            (json!({ "data": {} }), "invalid_data"),
        ] {
            call().body(body).send().await.refused(400, code);
        }
        call().send().await.refused(400, "body_required");
        let text = call().header("content-type", "text/plain").text("x");
        text.send().await.refused(415, "unsupported_media_type");
        let odd = world.get(&path.replace("cart-1", "a%20b").replace("ron", "a%20b"));
        let odd = odd.method("PATCH").back_end().body(linkage(&[]));
        odd.send().await.refused(400, "invalid_id");
        let queried = call().body(linkage(&[])).query("page[limit]=1");
        let answer = queried.send().await;
        answer.refused(400, "unsupported_parameter");
    }
    assert_eq!(world.stored().await.len(), 1);
    let ignored = clear(&world, CUSTOMERS_OF_CART).header("prefer", "return=representation");
    let answer = ignored.send().await;
    answer.unchanged();
    assert_eq!(answer.header("preference-applied"), None);
}

/// What was removed stays removed, and sending it again removes the rest.
#[tokio::test]
async fn a_clearing_that_stops_half_way_is_202_with_its_progress() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 250, 0).await;
    // In the third batch.
    proxy.hold("c00249", usize::MAX);
    let answer = clear(&world, CUSTOMERS_OF_CART).send().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    assert_eq!(answer.document(), json!({ "meta": { "removed": 200 } }));
    assert_eq!(world.stored().await.len(), 50);
    proxy.release();
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    assert!(world.stored().await.is_empty());
}

/// Other requests send a call again if there is no answer within 900 ms.
#[tokio::test]
async fn a_clearing_waits_for_a_slow_call() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 2, 0).await;
    proxy.next(Fault::Late.after_commit(), 2);
    proxy.take_recorded();
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    let calls = proxy.take_recorded();
    let calls: Vec<&str> = calls.iter().map(|call| &*call.operation).collect();
    assert_eq!(calls, ["Query", "TransactWriteItems", "Query"]);
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_clearing_that_removes_nothing_is_503() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 2, 0).await;
    proxy.hold("TransactItems", usize::MAX);
    let answer = clear(&world, CUSTOMERS_OF_CART).send().await;
    answer.refused(503, "outcome_unknown");
    proxy.always(Fault::Refused("ThrottlingException"));
    let answer = clear(&world, CUSTOMERS_OF_CART).send().await;
    answer.refused(503, "store_unavailable");
    proxy.heal().await;
    assert_eq!(world.items().await.len(), 2);
}

/// A signature was refused for its time.
#[tokio::test]
async fn a_clearing_signs_anew_what_was_refused_for_its_time() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 2, 0).await;
    let expired = Fault::Refused("RequestExpired");
    for call in ["by_cart", "cart-1#c00000"] {
        proxy.next_for(call, expired, 1);
    }
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    assert!(world.stored().await.is_empty());
    proxy.always(expired);
    let answer = clear(&world, CUSTOMERS_OF_CART).send().await;
    answer.refused(503, "store_unavailable");
}

/// An account and a customer can have the same id. What clears one leaves the other, and
/// says why it ended early.
#[tokio::test]
async fn one_kind_is_cleared_without_the_other() {
    for (kind, other) in [
        (PartyKind::Customer, PartyKind::Account),
        (PartyKind::Account, PartyKind::Customer),
    ] {
        let (world, proxy) = World::behind_proxy(&[]).await;
        let writer = || world.writer(None);
        let cart: CartId = "cart-1".parse().unwrap();
        for kind in [kind, other] {
            for ids in ids(150).chunks(100) {
                let parties = ids.iter().map(|id| Party::new(kind, id).unwrap());
                let parties: Vec<Party> = parties.collect();
                let session = world.session();
                let put = session.associate(&cart, &parties, writer(), None).await;
                assert_eq!(put.unwrap(), WriteOutcome::Applied);
            }
        }
        let last = match kind {
            PartyKind::Customer => "cart-1#c00149",
            PartyKind::Account => "cart-1#account#c00149",
        };
        let throttled = Fault::Refused("ThrottlingException");
        proxy.next_for(last, throttled, 8);
        let clear_cart = async || {
            let session = world.session();
            session.clear_cart(&cart, kind, &writer()).await.unwrap()
        };
        let cleared = clear_cart().await;
        let ClearOutcome::Partial { removed, cause } = cleared else {
            panic!("{cleared:?}");
        };
        assert_eq!(removed, 100);
        assert!(matches!(cause, StoreError::Unavailable(_)), "{cause:?}");
        let failure = cause.failure();
        assert_eq!(failure.description, "ThrottlingException, status 400");
        assert!(failure.request_id.is_some());

        let one = Party::new(kind, "c00149").unwrap();
        let cleared = world.session().clear_party(&one, &writer()).await.unwrap();
        assert!(matches!(cleared, ClearOutcome::Complete), "{cleared:?}");
        assert_eq!(world.stored().await.len(), 150 + 49);
        let cleared = clear_cart().await;
        assert!(matches!(cleared, ClearOutcome::Complete), "{cleared:?}");
        assert_eq!(world.stored().await.len(), 150);
        let session = world.session();
        let left = session.parties_of(&cart, other, None, 200, world.now());
        assert_eq!(left.await.unwrap().len(), 150);
    }
}

/// An index lags behind the table. It can show an item at an old and a new place,
/// and what was removed.
#[tokio::test]
async fn an_association_that_the_index_shows_twice_is_removed_once() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    proxy.always(Fault::Garbage(
        r#"{"Items":[{"id":{"S":"cart-1#ron"}},{"id":{"S":"cart-1#ron"}}],"Count":2}"#,
    ));
    proxy.take_recorded();
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    let calls = proxy.take_recorded();
    let calls: Vec<&str> = calls.iter().map(|call| &*call.operation).collect();
    assert_eq!(calls, ["Query", "UpdateItem", "Query"]);
}

#[tokio::test]
async fn expired_associations_and_those_of_any_clock_are_removed() {
    let world = World::new().await;
    let ahead = world.now().plus(Duration::from_secs(5)).to_string();
    world.put("cart-1", "a", &ahead, None).await;
    let long_ago = "2026-01-01T00:00:00.000Z";
    world.put("cart-1", "b", long_ago, Some(1)).await;
    world.associated("cart-1", &["c"]).await;
    clear(&world, CUSTOMERS_OF_CART).send().await.unchanged();
    assert!(world.stored().await.is_empty());
}
