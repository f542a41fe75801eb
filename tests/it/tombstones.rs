//! Tombstones: what they contain, and that they count as absent.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::clock::Timestamp;
use cart_associations::ids::{Party, PartyKind};
use cart_associations::store::WriteOutcome;
use dev::proxy::Recorded;
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

fn time(value: &Value) -> u64 {
    let (time, millis) = value.as_str().unwrap().split_at(19);
    assert!(millis.starts_with('.') && millis.ends_with('Z'), "{value}");
    let clock = |text: &str| {
        let numbers = text.split(':').map(|number| number.parse::<u64>().unwrap());
        numbers.fold(0, |sum, number| sum * 60 + number)
    };
    let (_, time) = time.split_once('T').unwrap();
    clock(time)
}

/// A moment so many seconds from now, as the table has it.
fn from_now(world: &World, seconds: u64) -> String {
    world.now().plus(Duration::from_secs(seconds)).to_string()
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
        assert_eq!((end - HOUR) % (24 * HOUR), time(removed), "{tombstone}");
        assert!(end - HOUR <= world.now().seconds());
    }
}

/// The association of an account names the person who made it, and its tombstone the one
/// who removed it, if there is one.
#[tokio::test]
async fn an_account_has_its_own_attribute_and_the_person_who_acts_for_it() {
    let world = World::new().await;
    let session = world.session();
    let writer = |person| world.writer(person);
    for (cart, ids) in [("one", &["acme"][..]), ("several", &["acme", "other"])] {
        let key = format!("{cart}#account#acme");
        let party = |id: &&str| Party::new(PartyKind::Account, id).unwrap();
        let parties: Vec<Party> = ids.iter().map(party).collect();
        let id = cart.parse().unwrap();
        let (ann, bob) = (Some("ann"), Some("bob"));
        for (makes, removes) in [(ann, bob), (ann, None), (None, None)] {
            let put = session.associate(&id, &parties, writer(makes), None).await;
            assert_eq!(put.unwrap(), WriteOutcome::Applied);
            let put = session.associate(&id, &parties, writer(makes), None).await;
            assert_eq!(put.unwrap(), WriteOutcome::Unchanged);
            let association = item(&world, &key).await;
            let always = "account_id associated_at associated_by cart_id id write_id";
            let mut expected = BTreeSet::from_iter(always.split(' '));
            expected.extend(makes.map(|_| "acted_by"));
            assert_eq!(names(&association), expected);
            assert_eq!(association["account_id"], "acme");
            assert_eq!(association["acted_by"].as_str(), makes);
            let is_associated = session.is_associated(&id, &parties[0], world.now());
            assert!(is_associated.await.unwrap());
            let namesake = Party::new(PartyKind::Customer, "acme").unwrap();
            let is_associated = session.is_associated(&id, &namesake, world.now());
            assert!(!is_associated.await.unwrap());

            let removal = session.dissociate(&id, &parties, writer(removes)).await;
            removal.unwrap();
            let tombstone = item(&world, &key).await;
            let mut expected = BTreeSet::from(TOMBSTONE);
            expected.extend(removes.map(|_| "acted_by"));
            assert_eq!(names(&tombstone), expected);
            assert_eq!(tombstone["acted_by"].as_str(), removes);
        }
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
    let (a, b) = (
        item(&world, "cart-2#a").await,
        item(&world, "cart-2#b").await,
    );
    assert_eq!(a["removal_id"], b["removal_id"]);
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
        let ahead = from_now(&world, 5);
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

#[tokio::test]
async fn a_write_takes_one_call_and_two_if_it_replaces_a_tombstone() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    for (cart, customers) in [("one", &[RON][..]), ("several", &[RON, "hermione"])] {
        for (method, status, operations) in [
            ("POST", 200, 1),
            ("POST", 204, 1),
            ("DELETE", 204, 1),
            ("DELETE", 204, 1),
            ("POST", 200, 2),
            ("POST", 204, 1),
        ] {
            // Two requests of one millisecond need a second call.
            world.advance_clock(Duration::from_millis(1));
            proxy.take_recorded();
            let answer = world.associate(cart, customers).method(method).send().await;
            assert_eq!(answer.status, status, "{method} {cart}");
            let calls = proxy.take_recorded();
            assert_eq!(calls.len(), operations, "{method} {cart}: {calls:?}");
            let token = |call: &Recorded| call.body()["ClientRequestToken"].to_string();
            let tokens: BTreeSet<String> = calls.iter().map(token).collect();
            let expected = if customers.len() > 1 { calls.len() } else { 1 };
            assert_eq!(tokens.len(), expected, "{calls:?}");
        }
    }
}
