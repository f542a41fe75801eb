//! The Lambda Runtime API, as a function sees it: next, response, error, init
//! error.
//!
//! Source: "Using the Lambda runtime API for custom runtimes", AWS.

use std::collections::HashMap;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use uuid::Uuid;

/// What an invocation ended with.
#[derive(Debug)]
pub(crate) enum Completion {
    /// The function responded.
    Response(Value),
    /// The function reported an error: API Gateway would say 502.
    Error(Value),
}

/// A Runtime API for one function.
pub(crate) struct RuntimeApi {
    /// Host and port, as `AWS_LAMBDA_RUNTIME_API` names them.
    pub(crate) address: String,
    invocations: mpsc::UnboundedSender<Invocation>,
    init_errors: mpsc::UnboundedReceiver<Value>,
    asked: watch::Receiver<bool>,
}

#[derive(Debug)]
struct Invocation {
    event: String,
    deadline_millis: u64,
    complete: oneshot::Sender<Completion>,
}

struct Shared {
    waiting: Mutex<mpsc::UnboundedReceiver<Invocation>>,
    running: Mutex<HashMap<String, oneshot::Sender<Completion>>>,
    init_errors: mpsc::UnboundedSender<Value>,
    asked: watch::Sender<bool>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Self {
        let (invocations, waiting) = mpsc::unbounded_channel();
        let (tell, init_errors) = mpsc::unbounded_channel();
        let (tell_asked, asked) = watch::channel(false);
        let shared = Arc::new(Shared {
            waiting: Mutex::new(waiting),
            running: Mutex::default(),
            init_errors: tell,
            asked: tell_asked,
        });
        let router = Router::new()
            .route("/2018-06-01/runtime/invocation/next", get(next))
            .route(
                "/2018-06-01/runtime/invocation/{id}/response",
                post(response),
            )
            .route("/2018-06-01/runtime/invocation/{id}/error", post(error))
            .route("/2018-06-01/runtime/init/error", post(init_error))
            .with_state(shared);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self {
            address,
            invocations,
            init_errors,
            asked,
        }
    }

    /// Waits until the function asks for its first event: it has started.
    pub(crate) async fn ready(&self) {
        let mut asked = self.asked.clone();
        asked
            .wait_for(|asked| *asked)
            .await
            .expect("the server lives");
    }

    /// Invokes the function and waits for what it answers.
    pub(crate) async fn invoke(&self, event: &str, deadline_millis: u64) -> Completion {
        let (complete, completed) = oneshot::channel();
        let invocation = Invocation {
            event: event.to_owned(),
            deadline_millis,
            complete,
        };
        self.invocations.send(invocation).expect("the server lives");
        completed.await.expect("the function ends its invocations")
    }

    /// The error that the function reported instead of starting.
    pub(crate) async fn init_error(&mut self) -> Value {
        self.init_errors.recv().await.expect("the server lives")
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> ([(HeaderName, String); 4], String) {
    shared.asked.send_replace(true);
    let invocation = shared
        .waiting
        .lock()
        .await
        .recv()
        .await
        .expect("the test lives");
    let id = Uuid::new_v4().to_string();
    shared
        .running
        .lock()
        .await
        .insert(id.clone(), invocation.complete);
    let headers = [
        ("lambda-runtime-aws-request-id", id),
        (
            "lambda-runtime-deadline-ms",
            invocation.deadline_millis.to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:test".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        ),
    ];
    let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
    (headers, invocation.event)
}

async fn response(state: State<Arc<Shared>>, id: Path<String>, body: String) -> StatusCode {
    complete(
        &state,
        &id,
        Completion::Response(serde_json::from_str(&body).unwrap()),
    )
    .await
}

async fn error(state: State<Arc<Shared>>, id: Path<String>, body: String) -> StatusCode {
    complete(
        &state,
        &id,
        Completion::Error(serde_json::from_str(&body).unwrap()),
    )
    .await
}

async fn complete(shared: &Shared, id: &str, completion: Completion) -> StatusCode {
    let Some(complete) = shared.running.lock().await.remove(id) else {
        return StatusCode::BAD_REQUEST;
    };
    // A test that has ended waits for nothing.
    let _ = complete.send(completion);
    StatusCode::ACCEPTED
}

async fn init_error(State(shared): State<Arc<Shared>>, body: String) -> StatusCode {
    shared
        .init_errors
        .send(serde_json::from_str(&body).unwrap())
        .unwrap();
    StatusCode::ACCEPTED
}
