//! Clearing a relationship: a cart from all its customers, a customer from all
//! their carts.

use std::collections::BTreeSet;
use std::time::Duration;

use cart_associations::ids::PartyKind;
use cart_associations::store::ClearOutcome;
use dev::proxy::Fault;
use serde_json::json;

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
async fn a_cart_is_cleared_by_back_ends_only_and_carts_by_their_customer_too() {
    let world = World::new().await;
    let call = |path| world.get(path).method("PATCH").body(linkage(&[]));
    let of_cart = || call(CUSTOMERS_OF_CART);
    let of_ron = || call(CARTS_OF_RON);
    let bound = of_cart().back_end().customer_token(&customer_token(RON));
    let token = json!({ "header": "Authorization" });
    let customer_token = json!({ "header": "x-moltin-customer-token" });
    let path = json!({ "parameter": "customerId" });
    world.associated("cart-1", &[RON, "hermione"]).await;
    for (call, code, source) in [
        (of_cart().customer(RON), "back_end_required", &token),
        (of_cart().grant("implicit"), "back_end_required", &token),
        (bound, "back_end_required", &token),
        (of_ron().customer("hermione"), "other_customer", &path),
        (
            of_ron().grant("implicit"),
            "customer_token_required",
            &customer_token,
        ),
    ] {
        assert_eq!(call.send().await.refused(403, code), *source);
    }
    assert_eq!(world.stored().await.len(), 2);
    for call in [of_ron().customer(RON), of_ron().back_end()] {
        call.send().await.unchanged();
        let left = BTreeSet::from(["cart-1#hermione".into()]);
        assert_eq!(world.stored().await, left);
        world.associated("cart-1", &[RON, "hermione"]).await;
    }
    of_cart().back_end().send().await.unchanged();
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn a_relationship_is_not_replaced() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    for (path, parameter) in [(CUSTOMERS_OF_CART, "cartId"), (CARTS_OF_RON, "customerId")] {
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
        let odd = world.get(&path.replace("cart-1", "a%20b").replace("ron", "a%20b"));
        let odd = odd.method("PATCH").back_end().body(linkage(&[]));
        let source = odd.send().await.refused(400, "invalid_id");
        assert_eq!(source, json!({ "parameter": parameter }));
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
    for code in ["ThrottlingException", "RequestExpired"] {
        proxy.always(Fault::Refused(code));
        let answer = clear(&world, CUSTOMERS_OF_CART).send().await;
        answer.refused(503, "store_unavailable");
    }
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
}

/// The cause is in the log line of the 202.
#[tokio::test]
async fn a_clearing_that_stops_half_way_has_a_cause() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    associate(&world, 150, 0).await;
    let throttled = Fault::Refused("ThrottlingException");
    proxy.next_for("cart-1#c00149", throttled, 8);
    let (cart, session) = ("cart-1".parse().unwrap(), world.session());
    let writer = world.writer(None);
    let cleared = session.clear_cart(&cart, PartyKind::Customer, &writer);
    let cleared = cleared.await.unwrap();
    let ClearOutcome::Partial { removed, cause } = cleared else {
        panic!("{cleared:?}");
    };
    assert_eq!(removed, 100);
    assert_eq!(cause.to_string(), "ThrottlingException, status 400");
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
