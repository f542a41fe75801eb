//! Many requests at once in one process, as on Lambda Managed Instances.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;

use dev::proxy::{Fault, Proxy};
use futures_util::future::{Either, join_all, select};

use crate::support::call::Call;
use crate::support::function::Function;
use crate::support::{CLOCK, RON, World};

/// A back end's request to the process that associates a cart with a customer.
fn associate<'w>(world: &'w World, function: &'w Function, cart: &str) -> Call<'w> {
    world.associate(cart, &[RON]).to(Some(function))
}

fn carts(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("cart-{number}")).collect()
}

/// A table behind a proxy, and a process that serves so many requests at once.
async fn behind_proxy(at_once: usize) -> (Proxy, World, Function) {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let function = Function::start_for(world.env(), at_once).await;
    function.ready().await;
    (proxy, world, function)
}

/// The store answers no call of the first round before all of them have come.
/// Connections are opened when they are needed, and used again.
#[tokio::test]
async fn requests_wait_for_the_store_at_the_same_time_and_use_connections_again() {
    const AT_ONCE: usize = 16;
    let (proxy, world, function) = behind_proxy(AT_ONCE).await;
    let before = proxy.connections();
    proxy.gather(AT_ONCE);
    let carts = carts(AT_ONCE);
    for status in [200, 204, 204, 204, 204] {
        let answers = carts.iter().map(async |cart| {
            let answer = associate(&world, &function, cart).send().await;
            assert_eq!(answer.status, status, "{answer:?}");
        });
        join_all(answers).await;
        proxy.gather(1);
    }
    // A call that begins before another has returned its connection opens one.
    let opened = proxy.connections() - before;
    assert!((AT_ONCE - 1..2 * AT_ONCE).contains(&opened), "{opened}");
}

#[tokio::test]
async fn more_threads_than_one_run_only_if_requests_come_at_once() {
    let world = World::new().await;
    let has_cores = std::thread::available_parallelism().unwrap().get() > 1;
    for at_once in ["1", "0", "", "two", "2"] {
        let mut env = world.env().clone();
        let name = "AWS_LAMBDA_MAX_CONCURRENCY".to_owned();
        env.insert(name, at_once.to_owned());
        let function = Function::start(&env).await;
        function.ready().await;
        let is_single = at_once != "2" || !has_cores;
        assert_eq!(function.threads() == 1, is_single, "{at_once}");
    }
}

/// Good and bad requests at once, some of which meet faults of the store. Each line
/// of the log is about one request.
#[tokio::test]
async fn the_log_lines_of_requests_at_once_are_not_mixed() {
    const AT_ONCE: usize = 16;
    let (proxy, world, mut function) = behind_proxy(AT_ONCE).await;
    let (mut calls, mut expected) = (Vec::new(), Vec::new());
    for (number, cart) in carts(AT_ONCE).iter().enumerate() {
        let call = associate(&world, &function, cart);
        let (call, outcome, attempts) = match number % 4 {
            0 => (call, "created", 1),
            1 => {
                proxy.next_for(cart, Fault::Failed(500), 2);
                (call, "created", 3)
            }
            2 => (call.text("{"), "invalid_json", 0),
            _ => (call.bearer("x.y.z"), "invalid_access_token", 0),
        };
        calls.push(call.send());
        expected.push((outcome.to_owned(), attempts));
    }
    let answers = join_all(calls).await;
    let mut logged = Vec::new();
    let mut lines = BTreeMap::new();
    let mut cold_starts = 0;
    for _ in &answers {
        let (_, line) = function.line().await;
        let outcome = line["outcome"].as_str().unwrap().to_owned();
        logged.push((outcome, line["store_attempts"].as_u64().unwrap()));
        cold_starts += u32::from(line["cold_start"] == true);
        assert_eq!(line["start"] == "cold", line["cold_start"] == true);
        let id = line["function_request_id"].as_str().unwrap().to_owned();
        lines.insert(id, line);
    }
    assert_eq!(cold_starts, 1);
    assert_eq!(lines.len(), AT_ONCE, "each has an id of its own");
    for (answer, (outcome, _)) in answers.iter().zip(&expected) {
        // Only an error has the request's id.
        if answer.status != 200 {
            answer.refused(answer.status, outcome);
            let id = answer.errors("id")[0].take();
            assert_eq!(lines[id.as_str().unwrap()]["outcome"], **outcome);
        }
    }
    logged.sort_unstable();
    expected.sort_unstable();
    assert_eq!(logged, expected);
}

#[tokio::test]
async fn a_request_that_hangs_holds_up_no_other() {
    const AT_ONCE: usize = 8;
    let (proxy, world, function) = behind_proxy(AT_ONCE).await;
    proxy.next_for("hangs", Fault::Hang, 8);
    let hanging = pin!(associate(&world, &function, "hangs").send());
    let carts = carts(AT_ONCE - 1);
    let others = pin!(async {
        for _ in 0..3 {
            let answers = carts.iter().map(async |cart| {
                let answer = associate(&world, &function, cart).send().await;
                assert!([200, 204].contains(&answer.status), "{answer:?}");
            });
            join_all(answers).await;
        }
    });
    let Either::Right(((), hanging)) = select(hanging, others).await else {
        panic!("the others were held up");
    };
    hanging.await.refused(503, "outcome_unknown");
}

/// The clock of every second request panics while the request is served.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_panic_ends_one_request() {
    let world = Arc::new(World::new().await);
    let carts = carts(40);
    let requests = carts.iter().cloned().enumerate().map(|(number, cart)| {
        let world = Arc::clone(&world);
        let readings = if number % 2 == 0 { u32::MAX } else { 0 };
        tokio::spawn(CLOCK.scope(Cell::new(readings), async move {
            world.associate(&cart, &[RON]).send().await
        }))
    });
    let requests: Vec<_> = requests.collect();
    for (number, request) in requests.into_iter().enumerate() {
        let answer = request.await.unwrap();
        if number % 2 == 0 {
            answer.created(&[RON]);
        } else {
            answer.refused(500, "internal_error");
        }
    }
    assert_eq!(world.stored().await.len(), carts.len() / 2);
}
