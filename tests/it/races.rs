//! Several writers write to one table at the same time: through as many processes of
//! the built function, and through one process that serves all of them at once. The
//! tests record each answer and compare it with the table afterwards: each writer
//! has its own client id, and an item contains the client id of its writer.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use dev::proxy::Fault;
use dev::random::Random;
use futures_util::future::join_all;

use crate::support::function::Function;
use crate::support::{World, authorities, tests_for};

const WRITERS: usize = 8;

tests_for! {
    [one_writer_per_process: 1, all_writers_in_one_process: 8]
    [
        answers_are_correct_even_if_answers_of_the_store_are_lost,
        concurrent_posts_and_deletes_have_the_effect_of_some_order
    ]
}

/// A writer's request, and the status of its answer.
#[derive(Debug)]
struct Write {
    method: &'static str,
    writer: String,
    customers: BTreeSet<String>,
    status: u64,
}

/// The process of each writer.
async fn writers(world: &World, at_once: usize) -> Vec<Arc<Function>> {
    let starts = (0..WRITERS / at_once).map(|_| Function::start_for(world.env(), at_once));
    let processes = join_all(starts).await.into_iter().map(Arc::new);
    processes
        .flat_map(|process| std::iter::repeat_n(process, at_once))
        .collect()
}

/// Sends a writer's request for customers of a cart. Returns the status of the answer.
async fn send(
    world: &World,
    process: &Function,
    (method, writer): (&str, &str),
    cart: &str,
    customers: &BTreeSet<String>,
) -> u64 {
    let access = &authorities().access;
    let token = access.access_token(writer, "client_credentials").unwrap();
    let customers: Vec<&str> = customers.iter().map(String::as_str).collect();
    let call = world.associate(cart, &customers).method(method);
    let call = call.bearer(&token).to(Some(process));
    call.send().await.status
}

/// Lets all writers send requests for their sets of customers at the same time, with
/// these methods by turns.
async fn race(
    world: &World,
    writers: &[Arc<Function>],
    cart: &str,
    methods: [&'static str; 2],
    sets: Vec<BTreeSet<String>>,
) -> Vec<Write> {
    let requests = writers.iter().zip(sets).enumerate();
    join_all(requests.map(|(number, (function, customers))| async move {
        let (method, writer) = (methods[number % 2], format!("writer-{number}"));
        let status = send(world, function, (method, &writer), cart, &customers).await;
        Write {
            method,
            writer,
            customers,
            status,
        }
    }))
    .await
}

/// The writer of each association of a cart, by customer.
async fn associated_by(world: &World, cart: &str) -> BTreeMap<String, String> {
    let items = world.items().await;
    let text = |item: &HashMap<_, AttributeValue>, name| item[name].as_s().unwrap().clone();
    items
        .iter()
        .filter(|item| item.contains_key("associated_at") && text(item, "cart_id") == cart)
        .map(|item| (text(item, "customer_id"), text(item, "associated_by")))
        .collect()
}

/// Asserts that the union is stored and every answer is correct: 200 if the writer
/// created an association, 204 if not.
fn check(history: &[Write], associated_by: &BTreeMap<String, String>) {
    let union: BTreeSet<&String> = history.iter().flat_map(|write| &write.customers).collect();
    assert_eq!(union, associated_by.keys().collect(), "{history:?}");
    for write in history {
        let created = associated_by.iter().any(|(customer, writer)| {
            *writer == write.writer && write.customers.contains(customer)
        });
        let status = if created { 200 } else { 204 };
        assert_eq!(write.status, status, "{history:?}, {associated_by:?}");
    }
}

/// All writers associate a cart with random sets of customers: of one, of many, and of
/// some while answers of the store are lost.
async fn answers_are_correct_even_if_answers_of_the_store_are_lost(at_once: usize) {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let writers = writers(&world, at_once).await;
    let faults = [Fault::Close, Fault::Failed(500), Fault::Truncated];
    for (customers, faults) in [(1, &[][..]), (8, &[]), (4, &faults)] {
        for seed in 0..20 {
            let cart = format!("cart-{customers}-{seed}");
            let mut random = Random::new(seed);
            let sets = (0..WRITERS).map(|_| random.subset(customers)).collect();
            for fault in faults {
                proxy.next(fault.after_commit(), 2);
            }
            let history = race(&world, &writers, &cart, ["POST"; 2], sets).await;
            proxy.heal().await;
            check(&history, &associated_by(&world, &cart).await);
        }
    }
}

/// Half of the writers add the same pair of customers, half remove it. In every
/// order, both customers are stored or neither is, because each request is one
/// transaction. A last POST stores both.
async fn concurrent_posts_and_deletes_have_the_effect_of_some_order(at_once: usize) {
    let world = World::new().await;
    let writers = writers(&world, at_once).await;
    let pair = BTreeSet::from(["a".to_owned(), "b".to_owned()]);
    for round in 0..20 {
        let cart = format!("cart-{round}");
        let sets = vec![pair.clone(); WRITERS];
        let history = race(&world, &writers, &cart, ["POST", "DELETE"], sets).await;
        let answers = history.iter().map(|write| (write.method, write.status));
        let answers = BTreeSet::from_iter(answers);
        assert!(answers.contains(&("POST", 200)), "{history:?}");
        let possible = [("POST", 200), ("POST", 204), ("DELETE", 204)];
        assert!(answers.is_subset(&possible.into()), "{history:?}");
        let associated_by = associated_by(&world, &cart).await;
        let stored: BTreeSet<String> = associated_by.keys().cloned().collect();
        let is_whole = stored.is_empty() || stored == pair;
        assert!(is_whole, "{history:?}, {associated_by:?}");
        // The same writer created both items.
        let clients: BTreeSet<&String> = associated_by.values().collect();
        assert!(clients.len() <= 1, "{clients:?}");

        let last = send(&world, &writers[0], ("POST", "last"), &cart, &pair).await;
        let expected = if stored.is_empty() { 200 } else { 204 };
        assert_eq!(last, expected, "{history:?}");
    }
}
