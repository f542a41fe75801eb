//! A stand-in for API Gateway: makes an event of each request, has the next free copy of the function handle it, and makes
//! an HTTP response of what the function returns. It also injects faults and records the answers.

use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use dev::api_gateway::{self, Route};
use dev::proxy::{Fault, Plan};
use dev::runtime_api::{self, RuntimeApi};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::world::World;

/// The header of a request that must be refused, with the status. The function does not see it.
const EXPECTED: &str = "x-load-expected";

/// Of so many requests that may succeed, one gets a fault. It may hit another request that is in flight.
const FAULT_EVERY: usize = 100;

/// Of so many faults, one is slow. Its request waits for a second, the function's time limit for a call.
const SLOW_EVERY: usize = 25;

/// The other faults, in turn.
const QUICK: [Plan; 10] = [
    before(Fault::Refused("ProvisionedThroughputExceededException")),
    after(Fault::Close),
    before(Fault::Failed(500)),
    after(Fault::Truncated),
    before(Fault::Conflict),
    after(Fault::Failed(500)),
    before(Fault::Reset),
    after(Fault::Html),
    before(Fault::Refused("ThrottlingException")),
    after(Fault::Garbage("{")),
];

const fn before(fault: Fault) -> Plan {
    Plan {
        fault,
        after_commit: false,
    }
}

const fn after(fault: Fault) -> Plan {
    Plan {
        fault,
        after_commit: true,
    }
}

/// The fault for the request with this number, if it gets one.
fn fault(request: usize) -> Option<Plan> {
    if !request.is_multiple_of(FAULT_EVERY) {
        return None;
    }
    let number = request / FAULT_EVERY;
    Some(if number.is_multiple_of(SLOW_EVERY) {
        after(Fault::Hang)
    } else {
        QUICK[number % QUICK.len()]
    })
}

/// A running gateway.
pub(crate) struct Gateway {
    url: String,
    shared: Arc<Shared>,
    close: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

struct Shared {
    api: RuntimeApi,
    world: Arc<World>,
    ledger: Mutex<Ledger>,
    /// The number of requests so far that may succeed.
    admissible: AtomicUsize,
    in_flight: watch::Sender<usize>,
}

impl Gateway {
    /// Starts on a free port.
    pub(crate) async fn start(world: Arc<World>) -> Result<Self> {
        let shared = Arc::new(Shared {
            api: RuntimeApi::start().await?,
            world,
            ledger: Mutex::default(),
            admissible: AtomicUsize::new(0),
            in_flight: watch::Sender::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let (close, closing) = oneshot::channel();
        let closing = async {
            // Fails if the gateway was dropped: then it closes too.
            let _ = closing.await;
        };
        let server = axum::serve(listener, router).with_graceful_shutdown(closing);
        Ok(Self {
            url,
            shared,
            close,
            server: tokio::spawn(server.into_future()),
        })
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// The address of the Runtime API, for the copies.
    pub(crate) fn runtime_api(&self) -> &str {
        &self.shared.api.address
    }

    /// Closes, waits until the requests in flight are answered, and returns the ledger.
    pub(crate) async fn close(self) -> Result<Ledger> {
        // Fails only if the server has ended.
        let _ = self.close.send(());
        self.server.await??;
        let mut in_flight = self.shared.in_flight.subscribe();
        in_flight.wait_for(|count| *count == 0).await?;
        Ok(std::mem::take(&mut *self.shared.ledger()))
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, mut request: Parts, body: &Bytes) -> Result<Response> {
        let expected = request.headers.remove(EXPECTED);
        let expected = expected.as_ref().map(status).transpose()?;
        if expected.is_none() {
            // Counts from 1, so that the first request gets no fault.
            let number = self.admissible.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(plan) = fault(number) {
                self.world.inject(plan);
            }
        }
        let cart = request.uri.path().split('/').nth(3).unwrap_or_default();
        let parameters = [("cartId".to_owned(), cart.to_owned())].into();
        let route: Route<'_> = ("/v2/carts/{cartId}/relationships/customers", parameters);
        let event = api_gateway::event(Some(route), &request, body)?;
        let began = Instant::now();
        let completed = self
            .api
            .invoke(&event.to_string(), runtime_api::deadline_millis())
            .await?;
        let answer = completed
            .result
            .unwrap_or_else(|error| json!({ "statusCode": 502, "body": error.to_string() }));
        self.ledger().enter(cart, body, began, expected, &answer);
        api_gateway::response(&answer)
    }
}

fn status(header: &HeaderValue) -> Result<u64> {
    let status = header.to_str()?.parse();
    status.with_context(|| format!("{EXPECTED} is not a status"))
}

async fn handle(State(shared): State<Arc<Shared>>, request: Parts, body: Bytes) -> Response {
    shared.in_flight.send_modify(|count| *count += 1);
    // A task of its own, so that the answer counts even if the caller has closed its connection.
    let answered = tokio::spawn(async move {
        let answer = shared.answer(request, &body).await;
        shared.in_flight.send_modify(|count| *count -= 1);
        answer
    });
    match answered.await {
        Ok(Ok(response)) => response,
        Ok(Err(error)) => failed(&error),
        Err(error) => failed(&error.into()),
    }
}

fn failed(error: &anyhow::Error) -> Response {
    eprintln!("error: a request got no answer: {error:#}");
    StatusCode::BAD_GATEWAY.into_response()
}
