//! Dissociating carts from customers.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{RON, World, linkage};

#[tokio::test]
async fn present_associations_are_removed_and_absent_ones_count_as_removed() {
    let world = World::new().await;
    world.associated("cart-1", &["a", "b", "c"]).await;
    for customers in [&["a"][..], &["a"], &["a", "b"], &["x", "y"], &["x"]] {
        let call = world.dissociate("cart-1", customers);
        call.send().await.unchanged();
    }
    assert_eq!(world.stored().await, BTreeSet::from(["cart-1#c".into()]));
    world.associated("cart-1", &["a", "c"]).await;
}

#[tokio::test]
async fn a_customer_can_associate_and_remove_only_themselves() {
    let world = World::new().await;
    world.associated("cart-1", &[RON, "hermione"]).await;
    let send = |method, cart, customers: &[&str]| {
        let call = world.post(cart).method(method).customer(RON);
        call.body(linkage(customers)).send()
    };
    for others in [&["hermione"][..], &[RON, "hermione"]] {
        for (method, cart) in [("POST", "cart-2"), ("DELETE", "cart-1")] {
            let refused = send(method, cart, others).await;
            let source = refused.refused(403, "other_customer");
            assert_eq!(source, json!({ "pointer": "/data" }));
        }
    }
    assert_eq!(world.stored().await.len(), 2);
    send("DELETE", "cart-1", &[RON]).await.unchanged();
    let left = BTreeSet::from(["cart-1#hermione".into()]);
    assert_eq!(world.stored().await, left);
}
