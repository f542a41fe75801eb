//! Answers are correct despite faults between the function and the table: each
//! fault, before and after the write, on one call, on two calls and on all calls,
//! of requests one by one and of all requests at once to one process.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use aws_config::BehaviorVersion;
use aws_credential_types::credential_fn::provide_credentials_fn;
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::Region;
use cart_associations::clock::Timestamp;
use cart_associations::ids::{Party, PartyKind};
use cart_associations::store::{Store, StoreError};
use dev::environment::REGION;
use dev::proxy::{Fault, Plan, Proxy, REQUEST_ID};
use dev::runtime_api::TIMEOUT;
use futures_util::future::join_all;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::support::answer::Answer;
use crate::support::function::Function;
use crate::support::{RON, World, closed_url, engine, tests_for};

tests_for! {
    [one_by_one: 1, all_at_once: 10]
    [
        a_request_succeeds_if_a_fault_happens_once,
        a_request_succeeds_if_a_fault_happens_twice,
        a_lasting_fault_is_503_and_later_requests_succeed
    ]
}

const FAULTS: [Fault; 22] = [
    Fault::Refused("ProvisionedThroughputExceededException"),
    Fault::Refused("ThrottlingException"),
    Fault::Refused("RequestLimitExceeded"),
    Fault::Refused("RequestExpired"),
    Fault::Refused("RequestTimeTooSkewed"),
    SIGNATURE_EXPIRED,
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

/// What DynamoDB can answer to the first call after a freeze.
const SIGNATURE_EXPIRED: Fault = Fault::RefusedFor(
    "InvalidSignatureException",
    "Signature expired: 20261128T020000Z is now earlier than 20261128T021000Z \
     (20261128T021500Z - 5 min.)",
);

/// A request that is sent while a fault lasts, and the cart's customers before it.
/// Where their associations end, a POST renews them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Request {
    method: &'static str,
    cart: &'static str,
    customers: &'static [&'static str],
    before: &'static [&'static str],
    ends: bool,
}

const fn request(
    method: &'static str,
    cart: &'static str,
    customers: &'static [&'static str],
    before: &'static [&'static str],
) -> Request {
    Request {
        method,
        cart,
        customers,
        before,
        ends: false,
    }
}

const ONE: Request = request("POST", "one", &[RON], &[]);
const SEVERAL: Request = request("POST", "several", &["a", "b"], &[]);

const REQUESTS: [Request; 10] = [
    ONE,
    SEVERAL,
    request("POST", "one-of-several-there", &["a", "b"], &["a"]),
    request("POST", "one-there", &[RON], &[RON]),
    request("POST", "one-renewed", &[RON], &[RON]).renewing(),
    request("POST", "several-renewed", &["a", "b"], &["a", "b"]).renewing(),
    request("DELETE", "one-deleted", &[RON], &[RON]),
    request("DELETE", "several-deleted", &["a", "b"], &["a", "b"]),
    request("DELETE", "none-deleted", &["a", "b"], &[]),
    request("GET", "listed", &[RON], &[RON]),
];

impl Request {
    const fn renewing(mut self) -> Self {
        self.ends = true;
        self
    }

    /// The cart's customers after the request.
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

    fn assert_served(self, answer: &Answer, context: &str) {
        assert_eq!(answer.status, self.status(), "{context}");
        if self.method == "GET" {
            assert_eq!(answer.listed("customer").0, self.before, "{context}");
        } else if answer.status == 200 {
            answer.created(self.customers);
        }
    }
}

/// The most calls that the function may make for one request: eight attempts of two
/// calls.
const MOST_CALLS: usize = 8 * 2;

/// A table behind a proxy that injects faults, and functions on it: one that is tested,
/// and one whose associations end.
struct FaultyTable {
    proxy: Proxy,
    world: World,
    expiring: World,
    /// The function's process, if it serves requests at once.
    process: Option<Function>,
}

impl FaultyTable {
    async fn new(at_once: usize) -> Self {
        let (world, proxy) = World::behind_proxy(&[]).await;
        let expiring = World::on(&[("ASSOCIATION_LIFETIME_DAYS", "30")], &world).await;
        let process = match at_once {
            1 => None,
            _ => Some(Function::start_for(world.env(), at_once).await),
        };
        Self {
            proxy,
            world,
            expiring,
            process,
        }
    }

    /// Creates the associations before the requests.
    async fn prepare(&self, requests: &[Request]) {
        for request in requests {
            let world = match request.ends {
                true => &self.expiring,
                false => &self.world,
            };
            for customer in request.before {
                world.associated(request.cart, &[customer]).await;
            }
        }
        self.proxy.take_recorded();
    }

    /// Sends requests at once. Returns each with its answer and the number of calls
    /// for its cart.
    async fn send_all(&self, requests: &[Request]) -> Vec<(Request, Answer, usize)> {
        let answers = join_all(requests.iter().map(|request| self.send(*request))).await;
        let recorded = self.proxy.take_recorded();
        let calls = |cart| recorded.iter().filter(|call| call.is_for(cart)).count();
        let requests = requests.iter().zip(answers);
        requests
            .map(|(request, answer)| (*request, answer, calls(request.cart)))
            .collect()
    }

    async fn send(&self, request: Request) -> Answer {
        send(&self.world, self.process.as_ref(), request).await
    }

    /// The customers of the request's cart, and whether their associations end.
    async fn stored(&self, request: Request) -> BTreeSet<(String, bool)> {
        let prefix = format!("{}#", request.cart);
        let items = self.world.items().await.into_iter();
        let customers = items.filter_map(|item| {
            let customer = item["id"].as_s().unwrap().strip_prefix(&prefix)?;
            item.get("associated_at")?;
            Some((customer.to_owned(), item.contains_key("expires_at")))
        });
        customers.collect()
    }
}

/// Sends the request with a deadline. Asserts that the answer comes in time and
/// shows no internals.
async fn send(world: &World, process: Option<&Function>, request: Request) -> Answer {
    let deadline = SystemTime::now() + TIMEOUT;
    let (cart, millis) = (request.cart, Timestamp::from(deadline).millis());
    let path = format!("/v2/carts/{cart}/relationships/customers");
    let call = match request.method {
        // For a customer, the function first reads whether they are on the cart.
        "GET" => world.get(&path).customer(RON),
        method => world.associate(cart, request.customers).method(method),
    };
    let call = call.deadline(millis).to(process);
    let answer = call.send().await;
    assert!(SystemTime::now() < deadline, "the answer came too late");
    let text = format!("{answer:?}").to_lowercase();
    for internal in ["internal detail", "exception", "dynamodb", "html"] {
        assert!(!text.contains(internal), "{text}");
    }
    answer
}

fn set(customers: &[&str], ends: bool) -> BTreeSet<(String, bool)> {
    let customers = customers.iter();
    customers.map(|id| ((*id).to_owned(), ends)).collect()
}

/// Returns whether the function knows that nothing was written if every call has
/// this fault.
fn proves_no_write(plan: Plan) -> bool {
    matches!(
        plan.fault,
        Fault::Refused(_) | Fault::RefusedFor(..) | Fault::Conflict
    )
}

/// How many requests all scenarios together may have in flight. They mostly wait, but
/// with many more than these, calls would end by their time limits.
static IN_FLIGHT: Semaphore = Semaphore::const_new(20);

/// The places in flight of a request with a fault that proves that nothing was written.
/// It gets its refusals at once, and a single attempt that ends by its time limit changes
/// what the function knows.
const PLACES_OF_REFUSED: u32 = 4;

/// Runs a scenario with every fault, before and after the write.
async fn for_each_fault<F: Future<Output = ()>>(at_once: usize, scenario: impl Fn(Plan) -> F) {
    let plans = FAULTS.into_iter();
    let plans = plans.flat_map(|fault| [fault.into(), fault.after_commit()]);
    let requests = u32::try_from(at_once).unwrap();
    let scenarios = plans.map(async |plan| {
        let places = match proves_no_write(plan) {
            true => requests.max(PLACES_OF_REFUSED),
            false => requests,
        };
        let _permits = IN_FLIGHT.acquire_many(places).await.unwrap();
        scenario(plan).await;
    });
    join_all(scenarios).await;
}

/// Asserts that each request succeeds if this fault happens to its first calls.
async fn survives(at_once: usize, plan: Plan, times: usize) {
    let table = FaultyTable::new(at_once).await;
    for requests in REQUESTS.chunks(at_once) {
        table.prepare(requests).await;
        for request in requests {
            table.proxy.next_for(request.cart, plan, times);
        }
        let answers = table.send_all(requests).await;
        for (request, answer, calls) in &answers {
            let context = format!("{plan:?} x {times}, {}: {answer:?}", request.cart);
            request.assert_served(answer, &context);
            let stored = table.stored(*request).await;
            assert_eq!(stored, set(request.after(), false), "{context}");
            let expected = times..=MOST_CALLS;
            assert!(expected.contains(calls), "{calls} calls, {context}");
        }
        table.proxy.heal().await;
        for (request, next, _) in table.send_all(requests).await {
            let status = if request.method == "GET" { 200 } else { 204 };
            let context = format!("{plan:?} x {times}, {}", request.cart);
            assert_eq!(next.status, status, "{context}");
        }
    }
}

async fn a_request_succeeds_if_a_fault_happens_once(at_once: usize) {
    for_each_fault(at_once, |plan| survives(at_once, plan, 1)).await;
}

async fn a_request_succeeds_if_a_fault_happens_twice(at_once: usize) {
    for_each_fault(at_once, |plan| survives(at_once, plan, 2)).await;
}

async fn a_lasting_fault_is_503_and_later_requests_succeed(at_once: usize) {
    for_each_fault(at_once, |plan| async move {
        if proves_no_write(plan) && plan.after_commit {
            // Then it proves nothing. DynamoDB does not refuse what it has applied.
            return;
        }
        let table = FaultyTable::new(at_once).await;
        for requests in REQUESTS.chunks(at_once) {
            table.prepare(requests).await;
            table.proxy.always(plan);
            let answers = table.send_all(requests).await;
            table.proxy.heal().await;

            for (request, answer, calls) in answers {
                let context = format!("{plan:?}, {}: {answer:?}", request.cart);
                assert_eq!(answer.status, 503, "{context}");
                assert!(calls <= MOST_CALLS, "{calls} calls, {context}");
                let code = match proves_no_write(plan) || request.method == "GET" {
                    true => "store_unavailable",
                    false => "outcome_unknown",
                };
                answer.refused(503, code);
                let stored = table.stored(request).await;
                if !plan.after_commit {
                    assert_eq!(stored, set(request.before, request.ends), "{context}");
                }
                // The next answer is correct whether or not the write took effect.
                let next = table.send(request).await;
                if request.method == "POST" && stored == set(request.customers, false) {
                    next.unchanged();
                } else {
                    request.assert_served(&next, &context);
                }
                let stored = table.stored(request).await;
                assert_eq!(stored, set(request.after(), false), "{context}");
            }
        }
    })
    .await;
}

/// The function's clock is wrong by more than DynamoDB allows. The `Date` of the first
/// refusal sets it right, for all later calls too.
#[tokio::test]
async fn a_call_that_a_wrong_clock_signed_is_signed_anew() {
    for minutes_ahead in [20, -20] {
        for (index, request) in REQUESTS.iter().enumerate() {
            let table = FaultyTable::new(1).await;
            table.prepare(&[*request]).await;
            table.proxy.set_clock(minutes_ahead * 60);
            let answers = table.send_all(&[*request]).await;
            let (_, answer, calls) = &answers[0];
            request.assert_served(answer, &format!("{minutes_ahead} {index}: {answer:?}"));
            table.world.associated(request.cart, &["z"]).await;
            let later = table.proxy.take_recorded();
            assert_eq!(later.len(), 1, "{later:?}");
            assert!(*calls >= 2, "{calls} calls");
        }
    }
}

/// DynamoDB does not say when the connection ended: the call may have been applied.
#[tokio::test]
async fn a_call_whose_connection_ended_may_have_been_applied() {
    for code in ["RequestTimeoutException", "RequestAbortedException"] {
        let table = FaultyTable::new(1).await;
        let ended = Fault::Refused(code).after_commit();
        table.proxy.next(ended, 1);
        table.send(ONE).await.created(ONE.customers);
        table.proxy.always(ended);
        let answer = table.send(SEVERAL).await;
        answer.refused(503, "outcome_unknown");
    }
}

/// Errors that no retry mends are ours: 500 after one attempt.
#[tokio::test]
async fn a_call_that_is_refused_for_a_fault_of_ours_is_500() {
    let other = "The request signature we calculated does not match the signature you provided.";
    let other_signature = Fault::RefusedFor("InvalidSignatureException", other);
    let codes = [
        "AccessDeniedException",
        "ExpiredTokenException",
        "UnrecognizedClientException",
        "ResourceNotFoundException",
        "ValidationException",
    ];
    for fault in codes
        .map(Fault::Refused)
        .into_iter()
        .chain([other_signature])
    {
        let table = FaultyTable::new(1).await;
        table.proxy.always(fault);
        for request in REQUESTS {
            table.proxy.take_recorded();
            let answer = table.send(request).await;
            answer.refused(500, "internal_error");
            let calls = table.proxy.take_recorded().len();
            // A GET reads the list beside the permission.
            let is_read = request.method == "GET";
            assert!(calls == 1 || is_read && calls == 2, "{fault:?}");
        }
    }
}

/// Without credentials, no request is sent: a fault of ours, unless they could not be
/// fetched now.
#[tokio::test]
async fn missing_credentials_are_a_fault_of_ours() {
    let cases: [(fn() -> CredentialsError, bool); 3] = [
        (|| CredentialsError::not_loaded("none"), true),
        (|| CredentialsError::invalid_configuration("a loop"), true),
        (|| CredentialsError::provider_error("503"), false),
    ];
    for (error, is_ours) in cases {
        let provider = provide_credentials_fn(move || async move { Err(error()) });
        let sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .credentials_provider(provider)
            .region(Region::new(REGION))
            .endpoint_url(engine())
            .load()
            .await;
        let store = Store::new(&sdk, "table".to_owned());
        let session = store.session(Instant::now() + Duration::from_secs(60));
        let ron = Party::new(PartyKind::Customer, RON).unwrap();
        let cart = "cart-1".parse().unwrap();
        let read = session.is_associated(&cart, &ron, Timestamp::from_millis(0));
        let failed = read.await.unwrap_err();
        let internal = matches!(failed, StoreError::Internal(_));
        assert_eq!(internal, is_ours, "{failed:?}");
        let description = &failed.failure().description;
        assert!(description.contains("credentials"), "{description}");
    }
}

/// The log names the error and DynamoDB's id of the call, and nothing of its message.
#[tokio::test]
async fn a_failure_is_described_by_its_code_and_its_request_id() {
    let table = FaultyTable::new(1).await;
    let party = |id: &&str| Party::new(PartyKind::Customer, id).unwrap();
    let throttled = "ThrottlingException, status 400";
    let canceled = "TransactionCanceledException, status 400: TransactionConflict, None";
    let unreadable = "an unreadable answer, status 200";
    for (fault, customers, expected) in [
        (Fault::Refused("ThrottlingException"), &["a"][..], throttled),
        (Fault::Conflict, &["a", "b"], canceled),
        (Fault::Garbage("[]"), &["a"], unreadable),
        (Fault::Close, &["a"], "no answer"),
    ] {
        table.proxy.always(fault);
        let session = table.world.session();
        let writer = table.world.writer(None);
        let cart = "cart-1".parse().unwrap();
        let customers: Vec<Party> = customers.iter().map(party).collect();
        let put = session.associate(&cart, &customers, writer, None);
        let failed = put.await.unwrap_err();
        let failure = failed.failure();
        assert_eq!(failure.description, expected);
        let id = (fault != Fault::Close).then_some(REQUEST_ID);
        assert_eq!(failure.request_id.as_deref(), id);
        assert_eq!(session.attempts(), 8);
    }
}

#[tokio::test]
async fn an_unreachable_store_is_503_and_nothing_is_written() {
    let world = World::new().await;
    let env = [("AWS_ENDPOINT_URL_DYNAMODB", &*closed_url())];
    let unreachable = World::on(&env, &world).await;
    let answer = send(&unreachable, None, ONE).await;
    answer.refused(503, "store_unavailable");
    assert!(world.stored().await.is_empty());
}

#[tokio::test]
async fn many_faults_do_not_use_up_later_retries() {
    let table = FaultyTable::new(1).await;
    let proxy = &table.proxy;
    proxy.always(Fault::Refused("ThrottlingException"));
    let calls = (0..20).map(|_| table.send(ONE));
    for answer in join_all(calls).await {
        answer.refused(503, "store_unavailable");
    }
    proxy.heal().await;
    proxy.next(Fault::Close.after_commit(), 2);
    table.send(ONE).await.created(ONE.customers);
}

#[tokio::test]
async fn a_request_succeeds_if_idle_connections_were_closed() {
    let table = FaultyTable::new(1).await;
    let proxy = &table.proxy;
    table.send(ONE).await.created(ONE.customers);
    for _ in 0..5 {
        let (calls, connections) = (proxy.calls(), proxy.connections());
        proxy.close_idle_connections();
        table.send(ONE).await.unchanged();
        assert_eq!(proxy.calls(), calls + 1);
        assert!(proxy.connections() > connections);
    }
}

#[tokio::test]
async fn a_request_without_enough_time_for_the_store_is_503_at_once() {
    let table = FaultyTable::new(1).await;
    let proxy = &table.proxy;
    let calls = proxy.calls();
    let soon = table.world.now().millis() + 450;
    let call = table.world.associate("cart-1", &[RON]);
    let answer = call.deadline(soon).send().await;
    answer.refused(503, "store_unavailable");
    assert_eq!(proxy.calls(), calls);
}
