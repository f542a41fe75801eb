//! How often a request waits for the store: once, but for two kinds of requests.

use std::time::Duration;

use cart_associations::client::MAX_CONNECTIONS;
use dev::proxy::{Fault, Proxy};
use futures_util::future::join_all;

use crate::support::{RON, World};

const CUSTOMERS_OF_CART_1: &str = "/v2/carts/cart-1/relationships/customers";

async fn behind_proxy() -> (Proxy, World) {
    let (world, proxy) = World::behind_proxy(&[]).await;
    world.associate("cart-1", &[RON]).send().await;
    world.associate("cart-1", &["a", "b"]).send().await;
    proxy.take_recorded();
    (proxy, world)
}

/// The store answers no call of a request before all of them have come. So a request
/// that makes so many calls, and gets an answer, has waited once.
#[tokio::test]
async fn every_request_but_two_kinds_waits_once() {
    let (proxy, world) = behind_proxy().await;
    let [one, several] = [&[RON][..], &["a", "b"]];
    let customers = || world.get(CUSTOMERS_OF_CART_1);
    let carts = world.get("/v2/customers/ron/relationships/carts");
    // With the status of the answer, and the number of calls.
    let requests = [
        (world.associate("cart-2", one), 200, 1),
        (world.associate("cart-1", one), 204, 1),
        (world.associate("cart-3", several), 200, 1),
        (world.associate("cart-1", several), 204, 1),
        (customers().back_end(), 200, 1),
        (customers().customer(RON), 200, 2),
        (customers().customer("stranger"), 403, 2),
        (world.get("/v2/carts").customer(RON), 200, 1),
        (carts.back_end(), 200, 1),
        (world.dissociate("cart-1", one), 204, 1),
        (world.dissociate("cart-1", one), 204, 1),
        (world.dissociate("cart-1", several), 204, 1),
        (world.dissociate("cart-1", several), 204, 1),
    ];
    for (number, (request, status, calls)) in requests.into_iter().enumerate() {
        // Two removals of one millisecond take a second call.
        world.advance_clock(Duration::from_millis(1));
        proxy.gather(calls);
        assert_eq!(request.send().await.status, status, "request {number}");
        assert_eq!(proxy.take_recorded().len(), calls, "request {number}");
    }

    proxy.gather(1);
    let lifetime = [("ASSOCIATION_LIFETIME_DAYS", "30")];
    let renewing = World::on(&lifetime, &world).await;
    renewing.associate("cart-5", &[RON]).send().await;
    proxy.take_recorded();
    let repeated = renewing.associate("cart-5", &[RON]).send().await;
    repeated.unchanged();
    assert_eq!(proxy.take_recorded().len(), 1);

    // The two that wait twice: some of several exist already, and a cart that was
    // removed within the hour. The store says so, and the second call expects that. Two
    // transactions never have the same token.
    world.associate("cart-4", &["a"]).send().await;
    proxy.take_recorded();
    for again in [
        world.associate("cart-4", several),
        world.associate("cart-1", one),
        world.associate("cart-1", several),
    ] {
        assert_eq!(again.send().await.status, 200);
        let calls = proxy.take_recorded();
        assert_eq!(calls.len(), 2, "{calls:?}");
        let [first, second] = [0, 1].map(|call| calls[call].body()["ClientRequestToken"].take());
        assert!(first.is_null() || first != second, "{calls:?}");
    }
}

#[tokio::test]
async fn a_stranger_learns_nothing_of_a_list_that_fails() {
    let (proxy, world) = behind_proxy().await;
    let list = |customer| world.get(CUSTOMERS_OF_CART_1).customer(customer).send();
    for (fault, status) in [
        (Fault::Refused("AccessDeniedException"), 500),
        (Fault::Failed(500), 503),
        (Fault::Hang, 503),
    ] {
        proxy.next_for("by_cart", fault, 16);
        list("stranger").await.refused(403, "not_on_cart");
        assert_eq!(list(RON).await.status, status, "{fault:?}");
        proxy.heal().await;
    }
}

#[tokio::test]
async fn nobody_is_shown_a_list_before_it_is_known_that_they_are_on_the_cart() {
    let (proxy, world) = behind_proxy().await;
    let plan = Fault::Failed(500);
    proxy.next_for("cart-1#ron", plan, 8);
    let answer = world.get(CUSTOMERS_OF_CART_1).customer(RON).send().await;
    answer.refused(503, "store_unavailable");
}

#[tokio::test]
async fn a_call_above_the_limit_waits_and_is_not_sent() {
    let (proxy, world) = behind_proxy().await;
    proxy.always(Fault::Hang);
    let before = proxy.calls();
    let list = |cart: &str| {
        let path = format!("/v2/carts/{cart}/relationships/customers");
        world.get(&path).back_end()
    };
    let running = (0..MAX_CONNECTIONS).map(|_| list("cart-1").send());
    let late = async {
        while proxy.calls() - before < MAX_CONNECTIONS {
            tokio::task::yield_now().await;
        }
        let soon = world.now().millis() + 600;
        let late = list("late").deadline(soon).send().await;
        late.refused(503, "store_unavailable");
        proxy.heal().await;
    };
    let (answers, ()) = tokio::join!(join_all(running), late);
    assert!(answers.iter().all(|answer| answer.status == 200));
    let calls = proxy.take_recorded();
    assert!(!calls.iter().any(|call| call.is_for("late")), "{calls:?}");
    list("late").send().await.listed("customer");
}
