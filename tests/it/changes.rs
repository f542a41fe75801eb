//! Which changes are events, by the filters of the template, on the stream of the
//! embedded engine. `make test-events` tries them with AWS's own parts.

use std::collections::BTreeSet;
use std::time::Duration;

use dev::changes::Changes;
use serde_json::json;

use crate::support::call::Call;
use crate::support::{RON, World, engine, lasting_token, linkage};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn associated(cart: &str, customer: &str) -> String {
    let detail = json!({ "cart_id": cart, "customer_id": customer });
    format!("Cart Customer Associated {detail}")
}

fn dissociated(cart: &str, customer: &str, reason: &str) -> String {
    let detail = json!({ "cart_id": cart, "customer_id": customer, "reason": reason });
    format!("Cart Customer Dissociated {detail}")
}

async fn changes(world: &World) -> Changes {
    let changes = Changes::of_table(engine(), &world.env()["TABLE_NAME"]);
    changes.await.unwrap()
}

#[tokio::test]
async fn a_change_is_an_event_and_a_repetition_is_none() {
    let world = World::new().await;
    let mut events = changes(&world).await;
    let associate = || world.associate("cart-1", &[RON]).send();
    let dissociate = || world.dissociate("cart-1", &[RON]).send();

    associate().await.created(&[RON]);
    assert_eq!(events.next().await.unwrap(), [associated("cart-1", RON)]);
    associate().await.unchanged();
    assert!(events.next().await.unwrap().is_empty());

    dissociate().await.unchanged();
    let removed = dissociated("cart-1", RON, "removed");
    assert_eq!(events.next().await.unwrap(), [removed]);
    dissociate().await.unchanged();
    world.dissociate("cart-2", &[RON]).send().await.unchanged();
    assert!(events.next().await.unwrap().is_empty());

    associate().await.created(&[RON]);
    assert_eq!(events.next().await.unwrap(), [associated("cart-1", RON)]);

    let all = [RON, "hermione", "harry"];
    world.associate("cart-1", &all).send().await.created(&all);
    let events: BTreeSet<String> = events.next().await.unwrap().into_iter().collect();
    let expected = ["hermione", "harry"].map(|customer| associated("cart-1", customer));
    assert_eq!(events, expected.into());
}

#[tokio::test]
async fn what_was_over_when_it_was_removed_has_expired() {
    let world = World::new().await;
    let mut events = changes(&world).await;
    let end = Some(world.now().seconds() - 60);
    let long_ago = "2026-01-01T00:00:00.000Z";
    world.put("cart-1", RON, long_ago, end).await;
    world.dissociate("cart-1", &[RON]).send().await.unchanged();
    let expired = dissociated("cart-1", RON, "expired");
    let expected = [associated("cart-1", RON), expired];
    assert_eq!(events.next().await.unwrap(), expected);
}

/// Only a renewal sets `renewed_at`, and neither a new association nor a tombstone
/// keeps it.
#[tokio::test]
async fn a_renewal_is_no_event_and_what_comes_after_it_is_one() {
    let world = World::with(&[("ASSOCIATION_LIFETIME_DAYS", "2")]).await;
    let token = lasting_token();
    let mut events = changes(&world).await;
    let post = || world.post("cart-1").bearer(&token).body(linkage(&[RON]));
    let renewed = async || world.items().await[0].contains_key("renewed_at");

    post().send().await.created(&[RON]);
    assert_eq!(events.next().await.unwrap(), [associated("cart-1", RON)]);
    for _ in 0..2 {
        assert!(events.next().await.unwrap().is_empty());
        world.advance_clock(2 * DAY);
        post().send().await.unchanged();
        assert!(renewed().await);
    }
    assert!(events.next().await.unwrap().is_empty());

    let delete = Call::of_cart(world.app(), "DELETE", "cart-1").bearer(&token);
    delete.body(linkage(&[RON])).send().await.unchanged();
    assert!(!renewed().await);
    post().send().await.created(&[RON]);
    assert!(!renewed().await);
    let removed = dissociated("cart-1", RON, "removed");
    let again = associated("cart-1", RON);
    assert_eq!(events.next().await.unwrap(), [removed, again.clone()]);

    world.advance_clock(2 * DAY);
    post().send().await.unchanged();
    world.advance_clock(4 * DAY);
    post().send().await.created(&[RON]);
    assert!(!renewed().await);
    assert_eq!(events.next().await.unwrap(), [again]);
}
