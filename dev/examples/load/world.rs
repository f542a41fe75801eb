//! What is around the function: API Gateway, Lambda's Runtime API, an embedded DynamoDB behind the proxy, and issuers of
//! tokens. It makes an event of each request, has the next free copy of the function handle it, injects faults and records
//! the answers.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse as _, Response};
use dev::TABLE_NAME;
use dev::api_gateway::{self, Route};
use dev::dynamodb::{Client, Emulator};
use dev::environment::{Environment, environment};
use dev::proxy::{Fault, Plan, Proxy};
use dev::runtime_api::{self, RuntimeApi};
use dev::tokens::Authorities;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use crate::ledger::Ledger;

/// The header of a request that must be refused, with the status. The function does not see it.
const EXPECTED: &str = "x-load-expected";

/// Of so many requests that may succeed, one gets a fault. It may hit another request that is in flight.
const FAULT_EVERY: usize = 100;

/// Of so many faults, one is slow. Its request waits for a second, the function's time limit for a call.
const SLOW_EVERY: usize = 25;

/// The other faults, in turn, each with whether the call takes effect first.
const QUICK: [(Fault, bool); 10] = [
    (
        Fault::Refused("ProvisionedThroughputExceededException"),
        false,
    ),
    (Fault::Close, true),
    (Fault::Failed(500), false),
    (Fault::Truncated, true),
    (Fault::Conflict, false),
    (Fault::Failed(500), true),
    (Fault::Reset, false),
    (Fault::Html, true),
    (Fault::Refused("ThrottlingException"), false),
    (Fault::Garbage("{"), true),
];

/// The fault for the request with this number, if it gets one.
fn fault(request: usize) -> Option<Plan> {
    if !request.is_multiple_of(FAULT_EVERY) {
        return None;
    }
    let number = request / FAULT_EVERY;
    let (fault, after_commit) = if number.is_multiple_of(SLOW_EVERY) {
        (Fault::Hang, true)
    } else {
        QUICK[number % QUICK.len()]
    };
    Some(Plan {
        fault,
        after_commit,
    })
}

/// The surroundings of the function. All of it ends with the program.
pub(crate) struct World {
    pub(crate) url: String,
    pub(crate) api: RuntimeApi,
    client: Client,
    proxy: Proxy,
    authorities: Authorities,
    ledger: Mutex<Ledger>,
    /// The number of requests so far that may succeed.
    admissible: AtomicUsize,
    in_flight: watch::Sender<usize>,
}

impl World {
    pub(crate) async fn start() -> Result<Arc<Self>> {
        let emulator = Emulator::in_memory()?;
        let client = Client::new(&emulator.endpoint);
        client.create_table(TABLE_NAME).await?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let world = Arc::new(Self {
            url: format!("http://{}", listener.local_addr()?),
            api: RuntimeApi::start().await?,
            client,
            proxy: Proxy::start(&emulator.endpoint).await,
            authorities: Authorities::generate()?,
            ledger: Mutex::default(),
            admissible: AtomicUsize::new(0),
            in_flight: watch::Sender::new(0),
        });
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&world));
        tokio::spawn(axum::serve(listener, router).into_future());
        Ok(world)
    }

    pub(crate) fn environment(&self) -> Result<Environment> {
        environment(&self.authorities, &self.proxy.endpoint, TABLE_NAME)
    }

    /// The environment of wrk: tokens.
    pub(crate) fn tokens(&self) -> Result<[(&'static str, String); 3]> {
        let Authorities {
            access, customer, ..
        } = &self.authorities;
        let back_end = access.access_token("load-back-end", "client_credentials")?;
        let storefront = access.access_token("load-storefront", "implicit")?;
        Ok([
            ("BACK_END_TOKEN", back_end),
            ("STOREFRONT_TOKEN", storefront),
            ("RON_TOKEN", customer.customer_token("ron")?),
        ])
    }

    async fn answer(&self, mut request: Parts, body: &Bytes) -> Result<Response> {
        let expected = request.headers.remove(EXPECTED);
        let expected = expected
            .map(|status| anyhow::Ok(status.to_str()?.parse()?))
            .transpose()?;
        if expected.is_none() {
            // Counts from 1, so that the first request gets no fault.
            let number = self.admissible.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(plan) = fault(number) {
                self.proxy.next(plan, 1);
            }
        }
        let cart = request.uri.path().split('/').nth(3).unwrap_or_default();
        let parameters = [("cartId".to_owned(), cart.to_owned())].into();
        let route: Route<'_> = ("/v2/carts/{cartId}/relationships/customers", parameters);
        let event = api_gateway::event(Some(route), &request, body)?.to_string();
        let began = Instant::now();
        let completed = self.api.invoke(&event, runtime_api::deadline_millis());
        let answer = completed
            .await?
            .result
            .unwrap_or_else(|error| json!({ "statusCode": 502, "body": error.to_string() }));
        self.ledger().enter(cart, body, began, expected, &answer);
        api_gateway::response(&answer)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The ledger, once all requests are answered.
    pub(crate) async fn answers(&self) -> Result<Ledger> {
        let mut in_flight = self.in_flight.subscribe();
        in_flight.wait_for(|count| *count == 0).await?;
        Ok(std::mem::take(&mut *self.ledger()))
    }

    /// The number of calls to DynamoDB, and of those with a fault.
    pub(crate) fn calls(&self) -> (usize, usize) {
        let faults = self.admissible.load(Ordering::Relaxed) / FAULT_EVERY;
        (self.proxy.calls(), faults)
    }

    pub(crate) async fn stored(&self) -> Result<BTreeSet<String>> {
        self.client.keys(TABLE_NAME).await
    }
}

async fn handle(State(world): State<Arc<World>>, request: Parts, body: Bytes) -> Response {
    world.in_flight.send_modify(|count| *count += 1);
    // A task of its own, so that the answer counts even if the caller has closed its connection.
    let answered = tokio::spawn(async move {
        let answer = world.answer(request, &body).await;
        world.in_flight.send_modify(|count| *count -= 1);
        answer
    });
    let answered = answered.await.context("a panic");
    answered.flatten().unwrap_or_else(|error| {
        eprintln!("error: a request got no answer: {error:#}");
        StatusCode::BAD_GATEWAY.into_response()
    })
}
