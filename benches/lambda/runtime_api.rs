//! The Lambda Runtime API for one process, with the time at each end of an invocation, and that of DynamoDB's in between.

use std::net::Ipv4Addr;
use std::ops::Add;
use std::path::{Path, PathBuf};
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

use crate::program::processor_of;

/// How long an invocation may take, as the template has it.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A Runtime API. It ends when this is dropped.
pub(crate) struct RuntimeApi {
    /// Host and port, as `AWS_LAMBDA_RUNTIME_API` names them.
    pub(crate) address: String,
    ready: mpsc::UnboundedReceiver<Instant>,
    events: mpsc::UnboundedSender<String>,
    answers: mpsc::UnboundedReceiver<Result<Answer>>,
    server: JoinHandle<()>,
}

/// What an invocation came to.
pub(crate) struct Answer {
    pub(crate) took: Took,
    pub(crate) body: Bytes,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Took {
    pub(crate) whole: Duration,
    /// How much of it the emulator was on the processor, which it shares with the program.
    pub(crate) emulator: Duration,
}

/// A moment, from which on something takes time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Moment {
    at: Instant,
    emulator: Duration,
}

struct Shared {
    tell_ready: mpsc::UnboundedSender<Instant>,
    events: AsyncMutex<mpsc::UnboundedReceiver<String>>,
    /// The emulator's thread in `/proc`.
    emulator: PathBuf,
    sent: Mutex<Option<Moment>>,
    tell_answer: mpsc::UnboundedSender<Result<Answer>>,
}

impl RuntimeApi {
    /// `emulator` is the thread of the emulator in `/proc`.
    pub(crate) async fn start(emulator: PathBuf) -> Result<Self> {
        let (tell_ready, ready) = mpsc::unbounded_channel();
        let (events, to_send) = mpsc::unbounded_channel();
        let (tell_answer, answers) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared {
            tell_ready,
            events: AsyncMutex::new(to_send),
            emulator,
            sent: Mutex::default(),
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
                answer.context("the server ended")??;
                bail!("an answer came to no question")
            }
            () = tokio::time::sleep(TIMEOUT) => bail!("the function did not get ready in time"),
        };
        ready.context("the server ended")
    }

    /// Sends an event to a process that is ready, and waits for its answer, and until the process is ready again.
    pub(crate) async fn invoke(&mut self, event: String) -> Result<Answer> {
        self.events.send(event)?;
        let answer = tokio::time::timeout(TIMEOUT, self.answers.recv()).await;
        let answer = answer
            .context("no answer in time")?
            .context("the server ended")??;
        self.ready().await?;
        Ok(answer)
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
    *shared.sent() = Moment::now(&shared.emulator).ok();
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
        let now = Instant::now();
        let answer = || {
            let body = body?;
            let sent = self
                .sent()
                .context("it is not known when the event was sent")?;
            let took = sent.until(now, &self.emulator)?;
            Ok(Answer { took, body })
        };
        let _ = self.tell_answer.send(answer());
        StatusCode::ACCEPTED
    }

    fn sent(&self) -> MutexGuard<'_, Option<Moment>> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moment {
    pub(crate) fn now(emulator: &Path) -> Result<Self> {
        let emulator = processor_of(emulator)?;
        let at = Instant::now();
        Ok(Self { at, emulator })
    }

    /// What has been taken, of which `now` is the end.
    pub(crate) fn until(&self, now: Instant, emulator: &Path) -> Result<Took> {
        Ok(Took {
            whole: now - self.at,
            emulator: processor_of(emulator)? - self.emulator,
        })
    }
}

impl Took {
    pub(crate) fn without_emulator(self) -> Duration {
        self.whole.saturating_sub(self.emulator)
    }
}

impl Add for Took {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            whole: self.whole + other.whole,
            emulator: self.emulator + other.emulator,
        }
    }
}
