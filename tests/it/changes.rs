//! The events that `make run` prints of changes. `make test-events` tries those of a
//! deployment, with AWS's own parts.

use dev::changes::Changes;
use serde_json::json;

use crate::support::{RON, World, engine};

#[tokio::test]
async fn a_change_is_an_event_and_a_repetition_is_none() {
    let world = World::new().await;
    let table = &world.env()["TABLE_NAME"];
    let mut events = Changes::of_table(engine(), table).await.unwrap();
    let associated = |detail| format!("Cart Customer Associated {detail}");
    let dissociated = |detail| format!("Cart Customer Dissociated {detail}");
    let cart = json!({ "cart_id": "cart-1", "customer_id": RON });
    let ended = |reason| {
        let mut detail = cart.clone();
        detail["reason"] = json!(reason);
        dissociated(detail)
    };

    for _ in 0..2 {
        world.associate("cart-1", &[RON]).send().await;
    }
    assert_eq!(events.next().await.unwrap(), [associated(cart.clone())]);
    for _ in 0..2 {
        world.dissociate("cart-1", &[RON]).send().await.unchanged();
    }
    assert_eq!(events.next().await.unwrap(), [ended("removed")]);

    let end = Some(world.now().seconds() - 60);
    let long_ago = "2026-01-01T00:00:00.000Z";
    world.put("cart-1", RON, long_ago, end).await;
    world.dissociate("cart-1", &[RON]).send().await.unchanged();
    let expected = [associated(cart.clone()), ended("expired")];
    assert_eq!(events.next().await.unwrap(), expected);
}
