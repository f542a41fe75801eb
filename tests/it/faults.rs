//! True answers while everything breaks: each fault between the function and
//! the table, before and after the write, once, twice and for ever.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures_util::{StreamExt as _, stream};

use crate::support::answer::Answer;
use crate::support::proxy::{Fault, Plan, Proxy};
use crate::support::{RON, World, engine};

const FAULTS: [Fault; 19] = [
    Fault::Refused("ProvisionedThroughputExceededException"),
    Fault::Refused("ThrottlingException"),
    Fault::Refused("RequestLimitExceeded"),
    Fault::Conflict,
    Fault::Failed(500),
    Fault::Failed(503),
    Fault::Reset,
    Fault::Close,
    Fault::Truncated,
    Fault::Hang,
    Fault::HangInBody,
    Fault::Drip,
    Fault::Garbage("garbage"),
    Fault::Garbage("{"),
    Fault::Garbage("[]"),
    Fault::Garbage("{\"ConsumedCapacity\":7}"),
    Fault::Garbage("<html>"),
    Fault::Html,
    Fault::Late,
];

/// What is asked for while the fault lasts, and what was there before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    method: &'static str,
    cart: &'static str,
    customers: &'static [&'static str],
    before: &'static [&'static str],
    renews: bool,
}

const fn post(
    cart: &'static str,
    customers: &'static [&'static str],
    before: &'static [&'static str],
) -> Request {
    Request {
        method: "POST",
        cart,
        customers,
        before,
        renews: false,
    }
}

const ONE: Request = post("one", &[RON], &[]);

const REQUESTS: [Request; 10] = [
    ONE,
    post("several", &["a", "b"], &[]),
    post("one-of-several-there", &["a", "b"], &["a"]),
    post("one-there", &[RON], &[RON]),
    Request {
        renews: true,
        ..post("one-renewed", &[RON], &[RON])
    },
    Request {
        renews: true,
        ..post("several-renewed", &["a", "b"], &["a", "b"])
    },
    Request {
        method: "DELETE",
        ..post("one-deleted", &[RON], &[RON])
    },
    Request {
        method: "DELETE",
        ..post("several-deleted", &["a", "b"], &["a", "b"])
    },
    Request {
        method: "DELETE",
        ..post("none-deleted", &["a", "b"], &[])
    },
    Request {
        method: "GET",
        ..post("listed", &[RON], &[RON])
    },
];

impl Request {
    /// The customers that are on the cart when it was served.
    fn after(self) -> &'static [&'static str] {
        match self.method {
            "POST" => self.customers,
            "DELETE" => &[],
            _ => self.before,
        }
    }

    fn status(self) -> u64 {
        match self.method {
            "DELETE" => 204,
            "POST" if self.customers == self.before => 204,
            _ => 200,
        }
    }

    fn was_served(self, answer: &Answer, context: &str) {
        assert_eq!(answer.status, self.status(), "{context}");
        if self.method == "GET" {
            assert_eq!(answer.listed("customer").0, self.before, "{context}");
        } else if answer.status == 200 {
            answer.created(self.customers);
        }
    }
}

/// The most calls that the function may make for one request: eight attempts of
/// each of the calls that finding out what is there takes.
const MOST_CALLS: usize = 8 * 2;

/// Two functions behind a proxy on one table: one whose associations live for
/// ever, one that renews them.
struct Broken {
    proxy: Proxy,
    lasting: World,
    renewing: World,
}

impl Broken {
    async fn new() -> Self {
        let proxy = Proxy::start(engine()).await;
        let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", &*proxy.endpoint);
        let lasting = World::with(&[endpoint]).await;
        let renewing = World::on(&[("ASSOCIATION_LIFETIME_DAYS", "30")], &lasting).await;
        Self {
            proxy,
            lasting,
            renewing,
        }
    }

    fn world(&self, request: Request) -> &World {
        if request.renews {
            &self.renewing
        } else {
            &self.lasting
        }
    }

    /// Makes what was there before, and counts the calls from then on.
    async fn prepare(&self, request: Request) -> usize {
        for customer in request.before {
            let call = self.world(request).associate(request.cart, &[customer]);
            call.send().await.created(&[customer]);
        }
        self.proxy.calls()
    }

    async fn send(&self, request: Request) -> Answer {
        send(self.world(request), request).await
    }

    /// The customers that are stored for the request's cart.
    async fn stored(&self, request: Request) -> BTreeSet<String> {
        let prefix = format!("{}#", request.cart);
        let stored = self.lasting.stored().await.into_iter();
        stored
            .filter_map(|key| Some(key.strip_prefix(&prefix)?.to_owned()))
            .collect()
    }
}

/// Sends the request with a deadline, and sees that it is kept.
async fn send(world: &World, request: Request) -> Answer {
    let deadline = SystemTime::now() + Duration::from_secs(5);
    let millis = deadline.duration_since(UNIX_EPOCH).unwrap().as_millis();
    let call = match request.method {
        // By a customer, whose right to see the list is looked up first.
        "GET" => world
            .get(&format!(
                "/v2/carts/{}/relationships/customers",
                request.cart
            ))
            .customer(RON),
        method => world
            .associate(request.cart, request.customers)
            .method(method),
    };
    let answer = call.deadline(u64::try_from(millis).unwrap()).send().await;
    assert!(SystemTime::now() < deadline, "the answer came too late");
    let text = format!("{answer:?}");
    for internal in [
        "internal detail",
        "Exception",
        "dynamodb",
        "html",
        "DynamoDB",
    ] {
        assert!(!text.contains(internal), "{text}");
    }
    answer
}

fn set(customers: &[&str]) -> BTreeSet<String> {
    customers
        .iter()
        .map(|customer| (*customer).to_owned())
        .collect()
}

/// Whether it is certain that nothing was written when the fault is all there
/// is.
fn refuses(plan: Plan) -> bool {
    matches!(plan.fault, Fault::Refused(_) | Fault::Conflict)
}

/// Runs a scenario for every fault, before and after the write; several at once,
/// for they wait most of the time.
async fn for_all<F: Future<Output = ()>>(scenario: impl Fn(Plan) -> F) {
    let plans = FAULTS.into_iter().flat_map(|fault| {
        [false, true].map(|after_commit| Plan {
            fault,
            after_commit,
        })
    });
    stream::iter(plans.map(scenario))
        .buffer_unordered(12)
        .collect()
        .await
}

async fn survives(plan: Plan, times: usize) {
    let broken = Broken::new().await;
    for request in REQUESTS {
        let before = broken.prepare(request).await;
        broken.proxy.next(plan, times);
        let answer = broken.send(request).await;
        let calls = broken.proxy.calls() - before;
        let context = format!("{plan:?} x {times}, {}: {answer:?}", request.cart);
        request.was_served(&answer, &context);
        assert_eq!(
            broken.stored(request).await,
            set(request.after()),
            "{context}"
        );
        assert!(
            (times..=MOST_CALLS).contains(&calls),
            "{calls} calls, {context}"
        );
        broken.proxy.heal().await;
        let next = broken.send(request).await;
        assert_eq!(
            next.status,
            if request.method == "GET" { 200 } else { 204 },
            "{context}"
        );
    }
}

#[tokio::test]
async fn a_fault_that_happens_once_is_not_noticed() {
    for_all(|plan| survives(plan, 1)).await;
}

#[tokio::test]
async fn a_fault_that_happens_twice_is_not_noticed() {
    for_all(|plan| survives(plan, 2)).await;
}

#[tokio::test]
async fn a_fault_that_lasts_is_503_and_what_follows_is_served() {
    for_all(|plan| async move {
        let broken = Broken::new().await;
        for request in REQUESTS {
            let before = broken.prepare(request).await;
            broken.proxy.always(plan);
            let answer = broken.send(request).await;
            let calls = broken.proxy.calls() - before;
            broken.proxy.heal().await;

            let context = format!("{plan:?}, {}: {answer:?}", request.cart);
            assert_eq!(answer.status, 503, "{context}");
            assert!(calls <= MOST_CALLS, "{calls} calls, {context}");
            let certain = refuses(plan) || request.method == "GET";
            let code = if certain {
                "store_unavailable"
            } else {
                "outcome_unknown"
            };
            assert_eq!(answer.codes(), [code], "{context}");
            let stored = broken.stored(request).await;
            if !plan.after_commit {
                assert_eq!(stored, set(request.before), "{context}");
            }
            // Whatever is there now, the next answer is true of it.
            let next = broken.send(request).await;
            if request.method == "POST" && stored == set(request.customers) {
                next.unchanged();
            } else {
                request.was_served(&next, &context);
            }
            assert_eq!(
                broken.stored(request).await,
                set(request.after()),
                "{context}"
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_store_that_cannot_be_reached_is_503_and_nothing_was_written() {
    let world = World::new().await;
    let env = [("AWS_ENDPOINT_URL_DYNAMODB", "http://127.0.0.1:1")];
    let unreachable = World::on(&env, &world).await;
    let answer = send(&unreachable, ONE).await;
    answer.refused(503, "store_unavailable");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn many_faults_do_not_wear_the_function_out() {
    let broken = Broken::new().await;
    let proxy = &broken.proxy;
    proxy.always(Plan {
        fault: Fault::Refused("ThrottlingException"),
        after_commit: false,
    });
    let calls = (0..20).map(|_| broken.send(ONE));
    for answer in futures_util::future::join_all(calls).await {
        answer.refused(503, "store_unavailable");
    }
    proxy.heal().await;
    proxy.next(
        Plan {
            fault: Fault::Close,
            after_commit: true,
        },
        2,
    );
    broken.send(ONE).await.created(ONE.customers);
}

#[tokio::test]
async fn connections_that_died_while_idle_are_not_noticed() {
    let broken = Broken::new().await;
    let proxy = &broken.proxy;
    broken.send(ONE).await.created(ONE.customers);
    for _ in 0..5 {
        let (calls, connections) = (proxy.calls(), proxy.connections());
        proxy.close_idle_connections();
        broken.send(ONE).await.unchanged();
        assert_eq!(proxy.calls(), calls + 1);
        assert!(proxy.connections() > connections);
    }
}

#[tokio::test]
async fn a_request_without_time_for_the_store_is_503_at_once() {
    let broken = Broken::new().await;
    let proxy = &broken.proxy;
    let calls = proxy.calls();
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_millis();
    let soon = u64::try_from(now).unwrap() + 450;
    let answer = broken
        .lasting
        .associate("cart-1", &[RON])
        .deadline(soon)
        .send()
        .await;
    answer.refused(503, "store_unavailable");
    assert_eq!(proxy.calls(), calls);
}
