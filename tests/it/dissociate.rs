//! Dissociating carts from customers.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::{RON, World, linkage};

#[tokio::test]
async fn present_associations_are_removed_and_absent_ones_count_as_removed() {
    let world = World::new().await;
    world
        .associate("cart-1", &["a", "b", "c"])
        .send()
        .await
        .created(&["a", "b", "c"]);
    for customers in [&["a"][..], &["a"], &["a", "b"], &["x", "y"], &["x"]] {
        world
            .dissociate("cart-1", customers)
            .send()
            .await
            .unchanged();
    }
    assert_eq!(world.stored().await, BTreeSet::from(["cart-1#c".into()]));
    world
        .associate("cart-1", &["a", "c"])
        .send()
        .await
        .created(&["a", "c"]);
}

#[tokio::test]
async fn prefer_return_representation_returns_the_customers() {
    let world = World::new().await;
    let call = world
        .dissociate("cart-1", &[RON])
        .header("prefer", "return=representation");
    let answer = call.send().await;
    answer.created(&[RON]);
    assert_eq!(
        answer.header("preference-applied"),
        Some("return=representation")
    );
}

#[tokio::test]
async fn a_customer_can_remove_only_themselves_from_a_cart() {
    let world = World::new().await;
    world
        .associate("cart-1", &[RON, "hermione"])
        .send()
        .await
        .created(&[RON, "hermione"]);
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
    assert_eq!(
        world.stored().await,
        BTreeSet::from(["cart-1#hermione".into()])
    );
}

#[tokio::test]
async fn a_bad_delete_is_refused_like_a_bad_post() {
    let world = World::new().await;
    let delete = || world.post("cart-1").method("DELETE");
    delete().send().await.refused(401, "access_token_required");
    delete()
        .back_end()
        .send()
        .await
        .refused(400, "body_required");
    delete()
        .back_end()
        .body(json!({ "data": [] }))
        .send()
        .await
        .refused(400, "data_empty");
    let text = delete()
        .back_end()
        .header("content-type", "text/plain")
        .text("x");
    text.send().await.refused(415, "unsupported_media_type");
    let nobody = delete().grant("implicit").body(linkage(&[RON]));
    nobody.send().await.refused(403, "customer_token_required");
    world
        .dissociate("no cart", &[RON])
        .send()
        .await
        .refused(400, "invalid_id");
}
