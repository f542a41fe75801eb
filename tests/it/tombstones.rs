//! Tombstones: what they contain, and that they count as absent.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::clock::Timestamp;
use serde_json::{Value, json};

use crate::support::{RON, World};

const HOUR: u64 = 60 * 60;

/// The attributes of a tombstone in place of an association.
const TOMBSTONE: [&str; 6] = [
    "expires_at",
    "id",
    "removal_id",
    "removed_at",
    "removed_by",
    "write_id",
];

/// An item as JSON: numbers are those of the table.
fn json_of(item: &HashMap<String, AttributeValue>) -> Value {
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) => json!(text),
        AttributeValue::N(number) => number.parse().unwrap(),
        other => panic!("{other:?}"),
    };
    item.iter()
        .map(|(name, attribute)| (name.clone(), value(attribute)))
        .collect()
}

/// The item with this key.
async fn item(world: &World, key: &str) -> Value {
    let items = world.items().await;
    let item = items.iter().find(|item| item["id"].as_s().unwrap() == key);
    json_of(item.unwrap_or_else(|| panic!("{key} is not there")))
}

fn names(item: &Value) -> BTreeSet<&str> {
    let members = item.as_object().unwrap();
    members.keys().map(String::as_str).collect()
}

#[tokio::test]
async fn a_removal_leaves_who_removed_it_and_when_for_an_hour() {
    let world = World::new().await;
    for (customers, cart) in [(&[RON][..], "one"), (&[RON, "hermione"], "several")] {
        let key = format!("{cart}#{RON}");
        world.associated(cart, customers).await;
        let before = item(&world, &key).await;
        world.dissociate(cart, customers).send().await.unchanged();

        let tombstone = item(&world, &key).await;
        assert_eq!(names(&tombstone), TOMBSTONE.into());
        assert_eq!(tombstone["write_id"], before["write_id"]);
        assert_eq!(tombstone["removed_by"], "storefront");
        assert!(uuid::Uuid::parse_str(tombstone["removal_id"].as_str().unwrap()).is_ok());
        let (removed, associated) = (&tombstone["removed_at"], &before["associated_at"]);
        assert!(removed.as_str() > associated.as_str(), "{tombstone}");
        let end = tombstone["expires_at"].as_u64().unwrap();
        let began = Timestamp::from_millis((end - HOUR) * 1000);
        assert_eq!(began.to_string()[..19], removed.as_str().unwrap()[..19]);
        assert!(began <= world.now());
    }
}

#[tokio::test]
async fn a_removal_of_nothing_and_one_of_a_tombstone_leave_one_too() {
    let world = World::new().await;
    let mut seen: Vec<Value> = Vec::new();
    for _ in 0..3 {
        world.dissociate("cart-1", &[RON]).send().await.unchanged();
        let tombstone = item(&world, "cart-1#ron").await;
        assert!(!names(&tombstone).contains("write_id"), "{tombstone}");
        for before in &seen {
            assert_ne!(tombstone["removal_id"], before["removal_id"]);
            assert!(tombstone["removed_at"].as_str() > before["removed_at"].as_str());
        }
        seen.push(tombstone);
        world.advance_clock(Duration::from_millis(1));
    }
    let both = world.dissociate("cart-2", &["a", "b"]).send().await;
    both.unchanged();
    let [a, b] = ["cart-2#a", "cart-2#b"].map(|key| item(&world, key));
    assert_eq!(a.await["removal_id"], b.await["removal_id"]);
}

/// Nobody sees a tombstone, not even one that has expired.
#[tokio::test]
async fn a_tombstone_counts_as_absent_everywhere() {
    for lifetime in ["", "30"] {
        let world = World::with(&[("ASSOCIATION_LIFETIME_DAYS", lifetime)]).await;
        for customers in [&[RON][..], &[RON, "hermione"]] {
            for age in [0, HOUR + 60, 30 * 24 * HOUR] {
                let cart = format!("cart-{}-{age}", customers.len());
                let at = world.now().millis() - age * 1000;
                for customer in customers {
                    let tombstone = json!({
                        "id": format!("{cart}#{customer}"),
                        "removed_at": Timestamp::from_millis(at).to_string(),
                        "removed_by": "back-end",
                        "removal_id": "0b8f9a5e-5d9f-4f2e-8c39-1c9b4a7e9f10",
                        "expires_at": at / 1000 + HOUR,
                    });
                    world.plant(&tombstone).await;
                }
                let customers_of = format!("/v2/carts/{cart}/relationships/customers");
                let list = world.get(&customers_of).back_end().send().await;
                assert!(list.listed("customer").0.is_empty());
                let list = world.get(&customers_of).customer(RON).send().await;
                list.refused(403, "not_on_cart");
                let carts = world.get("/v2/carts").customer(RON).send().await;
                assert!(!carts.listed("cart").0.contains(&cart));

                world.associated(&cart, customers).await;
                world.associate(&cart, customers).send().await.unchanged();
                let list = world.get(&customers_of).customer(RON).send().await;
                assert_eq!(list.listed("customer").0.len(), customers.len());
                let association = item(&world, &format!("{cart}#{RON}")).await;
                assert!(!names(&association).contains("removal_id"), "{association}");
            }
        }
    }
}

/// The clocks of two hosts differ by some seconds.
#[tokio::test]
async fn an_item_of_a_clock_that_is_ahead_is_removed_and_replaced() {
    let world = World::new().await;
    for (cart, customers) in [("one", &[RON][..]), ("several", &[RON, "hermione"])] {
        let key = format!("{cart}#{RON}");
        let ahead = world.now().plus(Duration::from_secs(5)).to_string();
        world.put(cart, RON, &ahead, None).await;
        world.dissociate(cart, customers).send().await.unchanged();
        let first = item(&world, &key).await;
        assert!(first["removed_at"].as_str() > Some(&ahead), "{first}");
        world.dissociate(cart, customers).send().await.unchanged();
        let second = item(&world, &key).await;
        assert!(second["removed_at"].as_str() > first["removed_at"].as_str());

        world.associated(cart, customers).await;
        let third = item(&world, &key).await;
        assert!(third["associated_at"].as_str() > second["removed_at"].as_str());
        world.dissociate(cart, customers).send().await.unchanged();
        assert!(world.stored().await.is_empty());
    }
}
