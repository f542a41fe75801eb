//! The Lambda Runtime API for one function, which may run as several processes.
//!
//! Sources: "Using the Lambda runtime API for custom runtimes" and "Invoke" in the Lambda API reference, AWS.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::routing::{get, post};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use uuid::Uuid;

/// The `Timeout` of the function in the template.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// A running Runtime API. Dropping it ends it.
pub struct RuntimeApi {
    /// Host and port, as in `AWS_LAMBDA_RUNTIME_API`.
    pub address: String,
    shared: Arc<Shared>,
    server: JoinHandle<()>,
}

/// A finished invocation.
#[derive(Debug)]
pub struct Completed {
    /// The response of the function, or the error that it reported: then API Gateway would answer 502.
    pub result: Result<Value, Value>,
    /// The time from the event's being sent to the result's being received.
    pub duration: Duration,
}

/// The requests for an event that came so far.
#[derive(Debug, Clone, Copy)]
struct Requests {
    count: usize,
    last: Instant,
}

struct Invocation {
    event: String,
    deadline_millis: u64,
    client_context: Option<String>,
    completed: oneshot::Sender<Completed>,
}

struct Running {
    since: Instant,
    completed: oneshot::Sender<Completed>,
}

struct Shared {
    queue: mpsc::UnboundedSender<Invocation>,
    queued: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, Running>>,
    requests: watch::Sender<Requests>,
    init_error: watch::Sender<Option<Value>>,
}

impl RuntimeApi {
    /// Starts a Runtime API on a free port.
    pub async fn start() -> Result<Self> {
        let (queue, queued) = mpsc::unbounded_channel();
        let requests = Requests {
            count: 0,
            last: Instant::now(),
        };
        let shared = Arc::new(Shared {
            queue,
            queued: Mutex::new(queued),
            running: Mutex::default(),
            requests: watch::Sender::new(requests),
            init_error: watch::Sender::new(None),
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/{result}",
                post(complete),
            )
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .route(
                "/2015-03-31/functions/{function}/invocations",
                post(invocations),
            )
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            // Ends when it is aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            shared,
            server,
        })
    }

    /// Waits until the function has asked for an event so many times: once after its start, and once after each
    /// invocation. Returns when it last did.
    pub async fn requested(&self, times: usize) -> Result<Instant> {
        let mut requests = self.shared.requests.subscribe();
        let requests = requests.wait_for(|requests| requests.count >= times);
        Ok(requests.await?.last)
    }

    /// Invokes the function with an event and a deadline, in milliseconds since the epoch.
    pub async fn invoke(&self, event: &str, deadline_millis: u64) -> Result<Completed> {
        let event = event.to_owned();
        self.shared.invoke(event, deadline_millis, None).await
    }

    /// Invokes the function with an event and the client context of the caller.
    pub async fn invoke_with(&self, event: &str, client_context: &str) -> Result<Completed> {
        let context = Some(client_context.to_owned());
        self.shared.invoke(event.to_owned(), 0, context).await
    }

    /// Waits for the error that the function reports instead of starting.
    pub async fn init_error(&self) -> Result<Value> {
        let mut error = self.shared.init_error.subscribe();
        let error = error.wait_for(Option::is_some).await?;
        Ok(error.clone().unwrap_or_default())
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

/// The deadline of an invocation that begins now, in milliseconds since the epoch.
pub fn deadline_millis() -> u64 {
    let deadline = SystemTime::now() + TIMEOUT;
    let since_epoch = deadline.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since_epoch.unwrap_or_default().as_millis();
    u64::try_from(millis).unwrap_or(u64::MAX)
}

impl Shared {
    async fn invoke(
        &self,
        event: String,
        deadline_millis: u64,
        client_context: Option<String>,
    ) -> Result<Completed> {
        let (completed, receiver) = oneshot::channel();
        let invocation = Invocation {
            event,
            deadline_millis,
            client_context,
            completed,
        };
        // The queue cannot be closed: `self` has both its ends.
        let _ = self.queue.send(invocation);
        Ok(receiver.await?)
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> (HeaderMap, String) {
    shared.requests.send_modify(|requests| {
        requests.count += 1;
        requests.last = Instant::now();
    });
    let invocation = shared.queued.lock().await.recv().await;
    let invocation = invocation.expect("`shared` has both ends of the queue");
    let id = Uuid::new_v4().to_string();
    let deadline_millis = invocation.deadline_millis.to_string();
    let headers = [
        ("lambda-runtime-aws-request-id", id.clone()),
        ("lambda-runtime-deadline-ms", deadline_millis),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:test".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        ),
    ];
    let context = invocation.client_context;
    let context = context.map(|context| ("lambda-runtime-client-context", context));
    let headers = headers.into_iter().chain(context).map(|(name, value)| {
        let value = HeaderValue::try_from(value).expect("text without control characters");
        (HeaderName::from_static(name), value)
    });
    let headers = headers.collect();
    let running = Running {
        since: Instant::now(),
        completed: invocation.completed,
    };
    shared.running.lock().await.insert(id, running);
    (headers, invocation.event)
}

/// Takes the response of the function, or the error that it reports.
async fn complete(
    State(shared): State<Arc<Shared>>,
    Path((id, result)): Path<(String, String)>,
    body: Bytes,
) -> StatusCode {
    let now = Instant::now();
    let Some(running) = shared.running.lock().await.remove(&id) else {
        return StatusCode::BAD_REQUEST;
    };
    let body = serde_json::from_slice(&body);
    let result = match &*result {
        "response" => body.map_err(|error| json!(format!("the response is not JSON: {error}"))),
        _ => Err(body.unwrap_or_default()),
    };
    // Fails only if the caller has stopped waiting.
    let _ = running.completed.send(Completed {
        result,
        duration: now - running.since,
    });
    StatusCode::ACCEPTED
}

async fn init_error(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let error = serde_json::from_slice(&body).unwrap_or_default();
    shared.init_error.send_replace(Some(error));
    StatusCode::ACCEPTED
}

/// Invokes the function over HTTP.
async fn invocations(State(shared): State<Arc<Shared>>, event: String) -> (StatusCode, String) {
    match shared.invoke(event, deadline_millis(), None).await {
        Ok(Completed {
            result: Ok(response),
            ..
        }) => (StatusCode::OK, response.to_string()),
        Ok(Completed {
            result: Err(error), ..
        }) => (StatusCode::BAD_GATEWAY, error.to_string()),
        Err(error) => (StatusCode::BAD_GATEWAY, error.to_string()),
    }
}
