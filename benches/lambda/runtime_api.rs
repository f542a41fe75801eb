//! The Lambda Runtime API for one process, with the time at each end of an invocation.

use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, Result, anyhow, bail};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode};
use axum::routing::{get, post};
use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::sync::{Mutex as AsyncMutex, mpsc};
use tokio::task::JoinHandle;

/// How long an invocation may take, as the template has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A Runtime API. It ends when this is dropped.
pub(crate) struct RuntimeApi {
    /// Host and port, as `AWS_LAMBDA_RUNTIME_API` names them.
    pub(crate) address: String,
    ready: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Answer>,
    server: JoinHandle<()>,
}

struct Answer {
    /// From when the event left to when the answer was there.
    took: Duration,
    body: Result<Bytes>,
}

struct Shared {
    tell_ready: mpsc::UnboundedSender<Instant>,
    events: AsyncMutex<mpsc::UnboundedReceiver<String>>,
    sent: Mutex<Instant>,
    tell_answer: mpsc::UnboundedSender<Answer>,
}

impl RuntimeApi {
    pub(crate) async fn start() -> Result<Self> {
        let (tell_ready, ready) = mpsc::unbounded_channel();
        let (events, to_send) = mpsc::unbounded_channel();
        let (tell_answer, answers) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            tell_ready,
            events: AsyncMutex::new(to_send),
            sent: Mutex::new(Instant::now()),
            tell_answer,
        });
        let invocation = "/2018-06-01/runtime/invocation";
        let router = Router::new()
            .route(&format!("{invocation}/next"), get(next))
            .route(&format!("{invocation}/{{id}}/response"), post(response))
            .route(&format!("{invocation}/{{id}}/error"), post(error))
            .route("/2018-06-01/runtime/init/error", post(error))
            .with_state(Arc::clone(&shared));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?.to_string();
        let server = tokio::spawn(async move {
            // It ends by being aborted.
            let _ = axum::serve(listener, router).await;
        });
        Ok(Self {
            address,
            ready,
            events,
            answers,
            server,
        })
    }

    /// When the process asked for an event.
    pub(crate) async fn ready(&mut self) -> Result<Instant> {
        let ready = tokio::select! {
            ready = self.ready.recv() => ready,
            answer = self.answers.recv() => {
                answer.context("the server ended")?.body?;
                bail!("an answer came to no question")
            }
            () = tokio::time::sleep(TIMEOUT) => bail!("the function did not get ready in time"),
        };
        ready.context("the server ended")
    }

    /// Sends an event to a process that is ready, tells how long the answer took and what it was, and waits until the
    /// process is ready again.
    pub(crate) async fn invoke(&mut self, event: String) -> Result<(Duration, Bytes)> {
        self.events.send(event)?;
        let answer = tokio::time::timeout(TIMEOUT, self.answers.recv()).await;
        let answer = answer
            .context("no answer in time")?
            .context("the server ended")?;
        let body = answer.body?;
        self.ready().await?;
        Ok((answer.took, body))
    }
}

impl Drop for RuntimeApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn next(State(shared): State<Arc<Shared>>) -> ([(HeaderName, String); 4], String) {
    // The one who measures has gone when nobody listens.
    let _ = shared.tell_ready.send(Instant::now());
    let event = shared.events.lock().await.recv().await.unwrap_or_default();
    let deadline = SystemTime::now() + TIMEOUT;
    let deadline = deadline
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    let headers = [
        (
            "lambda-runtime-aws-request-id",
            "8476a536-e9f4-11e8-9739-2dfe598c3fcd".to_owned(),
        ),
        (
            "lambda-runtime-deadline-ms",
            deadline.as_millis().to_string(),
        ),
        (
            "lambda-runtime-invoked-function-arn",
            "arn:aws:lambda:us-east-1:123456789012:function:bench".to_owned(),
        ),
        (
            "lambda-runtime-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1".to_owned(),
        ),
    ];
    let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
    *shared.sent() = Instant::now();
    (headers, event)
}

async fn response(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    shared.answered(Ok(body))
}

async fn error(State(shared): State<Arc<Shared>>, body: Bytes) -> StatusCode {
    let error = String::from_utf8_lossy(&body);
    shared.answered(Err(anyhow!("the function failed: {error}")))
}

impl Shared {
    fn answered(&self, body: Result<Bytes>) -> StatusCode {
        let took = self.sent().elapsed();
        let _ = self.tell_answer.send(Answer { took, body });
        StatusCode::ACCEPTED
    }

    fn sent(&self) -> MutexGuard<'_, Instant> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
