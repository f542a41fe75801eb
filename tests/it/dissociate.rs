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
async fn a_customer_can_remove_only_themselves_from_a_cart() {
    let world = World::new().await;
    world.associated("cart-1", &[RON, "hermione"]).await;
    let delete = |customers: &[&str]| {
        let call = world.post("cart-1").method("DELETE").customer(RON);
        call.body(linkage(customers))
    };
    for others in [&["hermione"][..], &[RON, "hermione"]] {
        let source = delete(others).send().await.refused(403, "other_customer");
        assert_eq!(source, json!({ "pointer": "/data" }));
    }
    assert_eq!(world.stored().await.len(), 2);
    delete(&[RON]).send().await.unchanged();
    let left = BTreeSet::from(["cart-1#hermione".into()]);
    assert_eq!(world.stored().await, left);
}
