//! Many processes of the built function write to one table at once. What each
//! was answered is recorded, and the table tells afterwards whether it was true:
//! each writer has a client id of its own, and an item names its maker.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::support::function::Function;
use crate::support::proxy::{Fault, Plan, Proxy};
use crate::support::random::Random;
use crate::support::{World, authorities, engine, linkage};

const WRITERS: usize = 6;

/// What a writer asked for, and what it was answered.
#[derive(Debug)]
struct Answered {
    writer: String,
    customers: BTreeSet<String>,
    status: u64,
}

async fn writers(world: &World) -> Vec<Function> {
    let starts = (0..WRITERS).map(|_| Function::start(world.env()));
    join_all(starts).await
}

/// The event by which a writer ties the cart to customers, or takes it apart
/// from them.
fn event(method: &str, writer: &str, cart: &str, customers: &BTreeSet<String>) -> Value {
    let token = authorities()
        .access
        .access_token(writer, "client_credentials")
        .unwrap();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": format!("/v2/carts/{cart}/relationships/customers"),
        "headers": { "authorization": format!("Bearer {token}") },
        "requestContext": { "http": { "method": method }, "stage": "$default" },
        "body": linkage(&customers).to_string(),
        "isBase64Encoded": false,
    })
}

/// Has every writer ask for its set at the same time.
async fn race(writers: &[Function], cart: &str, sets: Vec<BTreeSet<String>>) -> Vec<Answered> {
    let requests = writers.iter().zip(sets).enumerate();
    join_all(requests.map(|(number, (function, customers))| async move {
        let writer = format!("writer-{number}");
        let answer = function
            .invoke(&event("POST", &writer, cart, &customers))
            .await;
        Answered {
            writer,
            customers,
            status: answer.status,
        }
    }))
    .await
}

/// By whom each customer of the cart was tied to it.
async fn makers(world: &World, cart: &str) -> BTreeMap<String, String> {
    let items = world.items().await;
    let text = |item: &std::collections::HashMap<_, aws_sdk_dynamodb::types::AttributeValue>,
                name: &str| { item[name].as_s().unwrap().clone() };
    items
        .iter()
        .filter(|item| item.contains_key("associated_at") && text(item, "cart_id") == cart)
        .map(|item| (text(item, "customer_id"), text(item, "associated_by")))
        .collect()
}

/// Every answer is true: the union is there, and who was told 200 made something
/// of it, and who was told 204 nothing.
fn check(history: &[Answered], makers: &BTreeMap<String, String>) {
    let asked: BTreeSet<&String> = history
        .iter()
        .flat_map(|answered| &answered.customers)
        .collect();
    assert_eq!(asked, makers.keys().collect(), "{history:?}");
    for answered in history {
        let made = makers.iter().any(|(customer, maker)| {
            *maker == answered.writer && answered.customers.contains(customer)
        });
        assert_eq!(
            answered.status,
            if made { 200 } else { 204 },
            "{history:?}, {makers:?}"
        );
    }
}

#[tokio::test]
async fn of_many_writers_of_one_association_exactly_one_is_told_that_it_is_new() {
    let world = World::new().await;
    let writers = writers(&world).await;
    for round in 0..20 {
        let cart = format!("cart-{round}");
        let sets = vec![BTreeSet::from(["ron".to_owned()]); WRITERS];
        let history = race(&writers, &cart, sets).await;
        let created = history
            .iter()
            .filter(|answered| answered.status == 200)
            .count();
        assert_eq!(created, 1, "{history:?}");
        check(&history, &makers(&world, &cart).await);
    }
}

#[tokio::test]
async fn writers_of_overlapping_sets_end_with_the_union_and_true_answers() {
    let world = World::new().await;
    let writers = writers(&world).await;
    for seed in 0..20 {
        let cart = format!("cart-{seed}");
        let mut random = Random::new(seed);
        let sets = (0..WRITERS).map(|_| random.subset(8)).collect();
        let history = race(&writers, &cart, sets).await;
        check(&history, &makers(&world, &cart).await);
    }
}

#[tokio::test]
async fn answers_are_true_too_when_some_are_lost_on_the_way() {
    let proxy = Proxy::start(engine()).await;
    let world = World::with(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.endpoint)]).await;
    let writers = writers(&world).await;
    for seed in 0..20 {
        let cart = format!("cart-{seed}");
        let mut random = Random::new(seed);
        let sets = (0..WRITERS).map(|_| random.subset(4)).collect();
        for fault in [Fault::Close, Fault::Failed(500), Fault::Truncated] {
            proxy.next(
                Plan {
                    fault,
                    after_commit: true,
                },
                2,
            );
        }
        let history = race(&writers, &cart, sets).await;
        proxy.heal().await;
        check(&history, &makers(&world, &cart).await);
    }
}

/// Half of the writers add the same pair of customers, half remove it. Whatever
/// the order, the pair is there or not there as a whole: a transaction takes
/// effect or none of it does. And it is there for certain once all that is left
/// to do is to add it.
#[tokio::test]
async fn adding_and_removing_at_once_leave_what_some_order_of_them_leaves() {
    let world = World::new().await;
    let writers = writers(&world).await;
    let pair = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    for round in 0..20 {
        let cart = format!("cart-{round}");
        let requests = writers.iter().enumerate().map(|(number, function)| {
            let method = if number % 2 == 0 { "POST" } else { "DELETE" };
            let event = event(method, &format!("writer-{number}"), &cart, &pair);
            async move { (method, function.invoke(&event).await.status) }
        });
        let history = join_all(requests).await;
        let created = history
            .iter()
            .filter(|answered| **answered == ("POST", 200))
            .count();
        assert!(created >= 1, "{history:?}");
        for answered in &history {
            assert!(
                matches!(answered, ("POST", 200 | 204) | ("DELETE", 204)),
                "{history:?}"
            );
        }
        let makers = makers(&world, &cart).await;
        let stored: BTreeSet<String> = makers.keys().cloned().collect();
        assert!(
            stored.is_empty() || stored == pair,
            "{history:?}, {makers:?}"
        );
        // Both items are of one writer, who was told 200.
        let makers: BTreeSet<&String> = makers.values().collect();
        assert!(makers.len() <= 1, "{makers:?}");

        let add = event("POST", "last", &cart, &pair);
        let last = writers[0].invoke(&add).await.status;
        assert_eq!(
            last,
            if stored.is_empty() { 200 } else { 204 },
            "{history:?}"
        );
    }
}

/// Some calls of a race of writers arrive late: after a DELETE that was answered,
/// and once more after a POST that was answered. They change nothing then.
#[tokio::test]
async fn what_arrives_late_changes_nothing() {
    let proxy = Proxy::start(engine()).await;
    let world = World::with(&[("AWS_ENDPOINT_URL_DYNAMODB", &proxy.endpoint)]).await;
    let writers = writers(&world).await;
    for round in 0..10 {
        let cart = format!("cart-{round}");
        let mut random = Random::new(round);
        let sets: Vec<_> = (0..WRITERS).map(|_| random.subset(3)).collect();
        let all = sets.iter().flatten().cloned().collect();
        proxy.hold("", 1 + random.below(6));
        let requests = writers.iter().zip(sets).enumerate();
        let requests = requests.map(|(number, (function, customers))| {
            let method = if number % 2 == 0 { "POST" } else { "DELETE" };
            let writer = format!("writer-{number}");
            let event = event(method, &writer, &cart, &customers);
            async move {
                let status = function.invoke(&event).await.status;
                (method, writer, customers, status)
            }
        });
        let history = join_all(requests).await;
        assert!(proxy.release() > 0);
        let makers = makers(&world, &cart).await;
        for (method, writer, customers, status) in &history {
            let made = makers.iter().any(|(_, maker)| maker == writer);
            match (*method, *status) {
                // Nobody knows, and nobody says so.
                (_, 503) => {}
                ("POST", 200) => {}
                ("POST", 204) => assert!(!made, "{customers:?}, {history:?}, {makers:?}"),
                ("DELETE", 204) => {}
                _ => panic!("{history:?}"),
            }
        }

        let remove = event("DELETE", "last", &cart, &all);
        assert_eq!(writers[0].invoke(&remove).await.status, 204);
        proxy.deliver().await;
        assert_eq!(
            self::makers(&world, &cart).await,
            BTreeMap::new(),
            "{history:?}"
        );
        let add = event("POST", "last", &cart, &all);
        assert_eq!(writers[1].invoke(&add).await.status, 200);
        proxy.deliver().await;
        let makers = self::makers(&world, &cart).await;
        assert_eq!(
            makers.keys().cloned().collect::<BTreeSet<_>>(),
            all,
            "{history:?}"
        );
        assert!(makers.values().all(|maker| maker == "last"), "{makers:?}");
    }
}
