//! What API Gateway does: makes an event of each request, has the next free copy of the function handle it, and makes an
//! HTTP answer of what the function returns. On the way it has faults happen and keeps a ledger of the answers.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use crate::ledger::Ledger;
use crate::proxy::{Fault, Plan};
use crate::runtime_api::{Completion, RuntimeApi};
use crate::world::World;

/// The header by which a request names the status with which it must be refused. The function does not see it.
const EXPECTED: &str = "x-load-expected";

/// The `Timeout` of the template.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Of so many requests that may succeed, one finds its call to DynamoDB, or that of another, met by a fault.
const FAULT_EVERY: usize = 100;

/// Of so many faults, one is slow. It holds up its copy for a second, which is as long as the function waits.
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

/// The fault that comes with this request, if one does.
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

/// A running front.
pub(crate) struct Front {
    url: String,
    shared: Arc<Shared>,
    close: oneshot::Sender<()>,
    server: JoinHandle<std::io::Result<()>>,
}

struct Shared {
    /// Lives as long as the program: a copy asks for work until it is ended.
    api: &'static RuntimeApi,
    world: Arc<World>,
    ledger: Mutex<Ledger>,
    /// How many requests came that may succeed.
    admissible: AtomicUsize,
    under_way: watch::Sender<usize>,
}

impl Front {
    /// Starts at a port that is free.
    pub(crate) async fn start(world: Arc<World>) -> Result<Self> {
        let shared = Arc::new(Shared {
            api: Box::leak(Box::new(RuntimeApi::start().await)),
            world,
            ledger: Mutex::default(),
            admissible: AtomicUsize::new(0),
            under_way: watch::Sender::new(0),
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let router = Router::new()
            .fallback(handle)
            .with_state(Arc::clone(&shared));
        let (close, closing) = oneshot::channel();
        let closing = async {
            // A front that is dropped closes too.
            _ = closing.await;
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

    /// Where the copies ask for work.
    pub(crate) fn runtime_api(&self) -> &str {
        &self.shared.api.address
    }

    /// Takes no more requests, waits until those under way are answered, and hands over the ledger.
    pub(crate) async fn close(self) -> Result<Ledger> {
        _ = self.close.send(());
        self.server.await??;
        self.shared
            .under_way
            .subscribe()
            .wait_for(|count| *count == 0)
            .await?;
        Ok(std::mem::take(&mut *self.shared.ledger()))
    }
}

impl Shared {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request) -> Response {
        let expected = request
            .headers
            .get(EXPECTED)
            .and_then(|status| status.to_str().ok()?.parse().ok());
        if expected.is_none() {
            // From 1 on, for a quick start.
            let number = self.admissible.fetch_add(1, Ordering::Relaxed) + 1;
            if let Some(plan) = fault(number) {
                self.world.plan(plan);
            }
        }
        let began = Instant::now();
        let deadline = SystemTime::now() + TIMEOUT;
        let completion = self
            .api
            .invoke(&request.event().to_string(), millis(deadline))
            .await;
        let answer = match completion {
            Completion::Response(answer) => answer,
            // What API Gateway says then.
            Completion::Error(error) => {
                json!({ "statusCode": 502, "body": error.to_string() })
            }
        };
        self.ledger()
            .enter(request.cart(), &request.body, began, expected, &answer);
        http_answer(&answer)
    }
}

/// What came over HTTP.
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
}

impl Request {
    /// The event of payload format 2.0.
    fn event(&self) -> Value {
        let path = self.uri.path();
        let mut headers: BTreeMap<&str, String> = BTreeMap::new();
        for (name, value) in self.headers.iter().filter(|(name, _)| *name != EXPECTED) {
            let value = String::from_utf8_lossy(value.as_bytes());
            headers
                .entry(name.as_str())
                .and_modify(|values| *values = format!("{values},{value}"))
                .or_insert_with(|| value.clone().into_owned());
        }
        json!({
            "version": "2.0",
            "routeKey": "ANY /v2/carts/{cartId}/relationships/customers",
            "rawPath": path,
            "rawQueryString": self.uri.query().unwrap_or_default(),
            "headers": headers,
            "requestContext": {
                "http": { "method": self.method.as_str(), "path": path, "protocol": "HTTP/1.1" },
                "routeKey": "ANY /v2/carts/{cartId}/relationships/customers",
                "stage": "$default",
            },
            "pathParameters": { "cartId": self.cart() },
            "body": self.body,
            "isBase64Encoded": false,
        })
    }

    /// `…` of `/v2/carts/…/relationships/customers`.
    fn cart(&self) -> &str {
        self.uri.path().split('/').nth(3).unwrap_or_default()
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: String,
) -> Response {
    let request = Request {
        method,
        uri,
        headers,
        body,
    };
    shared.under_way.send_modify(|count| *count += 1);
    // A task of its own: the function goes on, and its answer counts, when the caller has left.
    let answered = tokio::spawn(async move {
        let answer = shared.answer(request).await;
        shared.under_way.send_modify(|count| *count -= 1);
        answer
    });
    answered
        .await
        .unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

fn http_answer(answer: &Value) -> Response {
    let status = answer["statusCode"]
        .as_u64()
        .and_then(|status| u16::try_from(status).ok())
        .unwrap_or(502);
    let mut response = Response::builder().status(status);
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        response = response.header(name, value.as_str().unwrap_or_default());
    }
    let body = answer["body"].as_str().unwrap_or_default().to_owned();
    response
        .body(Body::from(body))
        .unwrap_or_else(|_| StatusCode::BAD_GATEWAY.into_response())
}

fn millis(time: SystemTime) -> u64 {
    let since = time
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
