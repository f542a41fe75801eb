//! Associating carts with customers: the answers and the stored items.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use dev::proxy::Proxy;

use crate::support::{RON, World, lasting_token, linkage};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[tokio::test]
async fn the_body_of_a_200_is_exactly_the_specified_one() {
    let world = World::new().await;
    let customer = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";
    let answer = world.associate("cart-1", &[customer]).send().await;
    let expected = format!(r#"{{"data":[{{"type":"customer","id":"{customer}"}}]}}"#);
    assert_eq!(answer.body, Some(expected));
    assert_eq!(answer.header("content-type"), Some("application/json"));
}

#[tokio::test]
async fn several_associations_are_200_if_at_least_one_is_new() {
    let world = World::new().await;
    world.associated("cart-1", &["a", "b"]).await;
    world.associated("cart-1", &["b", "c"]).await;
    let call = world.associate("cart-1", &["c", "a"]);
    call.send().await.unchanged();
    let all = ["cart-1#a", "cart-1#b", "cart-1#c"].map(String::from);
    assert_eq!(world.stored().await, BTreeSet::from(all));
}

#[tokio::test]
async fn a_customer_named_twice_is_associated_once() {
    let world = World::new().await;
    let call = world.associate("cart-2", &[RON, RON]);
    call.send().await.created(&[RON]);
}

#[tokio::test]
async fn a_hundred_customers_fit_into_one_request() {
    let world = World::new().await;
    let ids: Vec<String> = (0..100).map(|id| format!("customer-{id:03}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    world.associated("cart-1", &ids[..50]).await;
    world.associated("cart-1", &ids).await;
    world.associate("cart-1", &ids).send().await.unchanged();
    assert_eq!(world.stored().await.len(), 100);
}

#[tokio::test]
async fn an_item_has_the_attributes_of_the_contract() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    let items = world.items().await;
    let [item] = items.as_slice() else {
        panic!("{items:?}")
    };
    let text = |name: &str| item[name].as_s().unwrap().as_str();
    assert_eq!(text("id"), "cart-1#ron");
    assert_eq!(text("cart_id"), "cart-1");
    assert_eq!(text("customer_id"), RON);
    assert_eq!(text("associated_by"), "storefront");
    assert!(uuid::Uuid::parse_str(text("write_id")).is_ok());
    let at = text("associated_at");
    let shape = (at.len(), &at[10..11], &at[19..20], &at[23..]);
    assert_eq!(shape, (24, "T", ".", "Z"), "{at}");
    assert_eq!(item.len(), 6, "{item:?}");
}

#[tokio::test]
async fn prefer_return_representation_turns_204_into_200() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    for value in [
        "return=representation",
        "respond-async, Return=\"representation\"; x=y",
        "return=representation, return=minimal",
    ] {
        for call in [
            world.associate("cart-1", &[RON]),
            world.dissociate("cart-2", &[RON]),
        ] {
            let answer = call.header("prefer", value).send().await;
            answer.created(&[RON]);
            let applied = answer.header("preference-applied");
            assert_eq!(applied, Some("return=representation"));
        }
    }
    let both = "return=minimal, return=representation";
    for value in ["return=minimal", both, "return", ""] {
        let call = world.associate("cart-1", &[RON]).header("prefer", value);
        call.send().await.unchanged();
    }
}

/// A world whose associations last two days, on its way to the engine through a
/// proxy that counts calls, and a token that outlasts them.
async fn world_with_lifetime() -> (World, Proxy, String) {
    let (world, proxy) = World::behind_proxy(&[("ASSOCIATION_LIFETIME_DAYS", "2")]).await;
    (world, proxy, lasting_token())
}

/// The ends of all items, as days from now.
async fn days_left(world: &World) -> Vec<u64> {
    let end = |item: &HashMap<_, AttributeValue>| {
        let end: u64 = item["expires_at"].as_n().unwrap().parse().unwrap();
        // To the next full day: some moments have passed.
        (end - world.now().seconds()).div_ceil(DAY.as_secs())
    };
    world.items().await.iter().map(end).collect()
}

#[tokio::test]
async fn an_association_with_a_lifetime_expires_a_day_after_it() {
    let (world, _proxy, token) = world_with_lifetime().await;
    let post = async || {
        for (cart, customers) in [("cart-1", &[RON][..]), ("cart-2", &["a", "b"])] {
            let call = world.post(cart).bearer(&token).body(linkage(customers));
            call.send().await.created(customers);
        }
    };
    post().await;
    assert_eq!(days_left(&world).await, [3, 3, 3]);

    world.advance_clock(3 * DAY - Duration::from_secs(60));
    for cart in ["cart-1", "cart-2"] {
        let path = format!("/v2/carts/{cart}/relationships/customers");
        let list = world.get(&path).bearer(&token).send().await;
        assert!(!list.listed("customer").0.is_empty());
    }
    world.advance_clock(Duration::from_secs(60));
    post().await;
    assert_eq!(world.stored().await.len(), 3);
}

/// A repeated POST renews once a day. The others cost one call.
#[tokio::test]
async fn an_association_with_a_lifetime_is_renewed_once_a_day() {
    let (world, proxy, token) = world_with_lifetime().await;
    let post = async |customers: &[&str]| {
        let calls = proxy.calls();
        let call = world.post("cart-1").bearer(&token);
        let answer = call.body(linkage(customers)).send().await;
        (answer.status, proxy.calls() - calls)
    };
    for customers in [&[RON][..], &["a", "b"]] {
        assert_eq!(post(customers).await, (200, 1));
        assert_eq!(post(customers).await, (204, 1));
    }
    world.advance_clock(DAY - Duration::from_secs(60));
    assert_eq!(post(&[RON]).await, (204, 1));
    assert_eq!(post(&["a", "b"]).await, (204, 1));
    world.advance_clock(Duration::from_secs(120));
    assert_eq!(days_left(&world).await, [2, 2, 2]);
    assert_eq!(post(&[RON]).await, (204, 2));
    assert_eq!(post(&["a", "b"]).await, (204, 2));
    assert_eq!(days_left(&world).await, [3, 3, 3]);
    assert_eq!(post(&[RON]).await, (204, 1));
    assert_eq!(post(&["a", "b", RON]).await, (204, 1));
}

/// Of several, those that expired are made again and those that end soon are renewed,
/// while others are made and others stay.
#[tokio::test]
async fn of_several_some_are_new_some_are_renewed_and_some_stay() {
    let (world, _proxy, token) = world_with_lifetime().await;
    let associate = |ids: &[&str]| world.post("cart-1").bearer(&token).body(linkage(ids));
    for (customer, hours) in [("expires", 25), ("renewed", 25), ("stays", 23)] {
        associate(&[customer]).send().await.created(&[customer]);
        world.advance_clock(Duration::from_secs(hours * 60 * 60));
    }
    let all = ["expires", "renewed", "stays", "new"];
    associate(&all).send().await.created(&all);
    assert_eq!(days_left(&world).await, [3; 4]);
    let items = world.items().await.into_iter();
    let mut renewed = items.filter(|item| item.contains_key("renewed_at"));
    assert_eq!(
        renewed.next().unwrap()["customer_id"].as_s().unwrap(),
        "renewed"
    );
    assert_eq!(renewed.next(), None);
    associate(&all).send().await.unchanged();
}

/// An item that was made without a lifetime never ends.
#[tokio::test]
async fn an_association_without_an_end_gets_none_by_a_repeated_post() {
    let world = World::new().await;
    world.associated("cart-1", &[RON]).await;
    let expiring = World::on(&[("ASSOCIATION_LIFETIME_DAYS", "2")], &world).await;
    let call = expiring.associate("cart-1", &[RON]);
    call.send().await.unchanged();
    assert!(!world.items().await[0].contains_key("expires_at"));
}

/// Where no lifetime is configured any more, associations that are asked for again do not
/// end.
#[tokio::test]
async fn an_association_with_an_end_loses_it_by_a_repeated_post_without_a_lifetime() {
    for (customers, all) in [(&[RON][..], &[RON][..]), (&["a", "b"], &["a", "b", "c"])] {
        let (expiring, proxy, token) = world_with_lifetime().await;
        let lasting = World::on(&[("ASSOCIATION_LIFETIME_DAYS", "")], &expiring).await;
        let post = |ids: &[&str]| lasting.post("cart-1").bearer(&token).body(linkage(ids));
        let call = expiring.post("cart-1").bearer(&token);
        let answer = call.body(linkage(customers)).send().await;
        answer.created(customers);
        // Those that end lose their ends while the others are made.
        let answer = post(all).send().await;
        match customers == all {
            true => answer.unchanged(),
            false => answer.created(all),
        }
        for item in lasting.items().await {
            assert!(!item.contains_key("expires_at"), "{item:?}");
            let is_renewed = customers.contains(&item["customer_id"].as_s().unwrap().as_str());
            assert_eq!(item.contains_key("renewed_at"), is_renewed, "{item:?}");
        }
        let calls = proxy.calls();
        post(all).send().await.unchanged();
        assert_eq!(proxy.calls(), calls + 1);
        lasting.advance_clock(30 * DAY);
        post(all).send().await.unchanged();
    }
}
