//! Logs and metrics: JSON lines with the keys of AWS Lambda Powertools, one line per
//! request.
//!
//! No line has a token, a body, or the id of a cart, customer or account. Other crates
//! log at WARN or above only: their DEBUG events show requests.

mod events;
mod metrics;

use std::cell::Cell;
use std::future::Future;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use lambda_http::Context;
use serde::Serialize;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

pub(crate) use self::metrics::{RequestLine, key_set_not_refreshed, millis, request};
use crate::clock::{Clock, Timestamp};

const SERVICE: &str = env!("CARGO_PKG_NAME");

/// The destination of lines. Nothing is logged before [`init`].
static OUTPUT: OnceLock<Output> = OnceLock::new();

thread_local! {
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

tokio::task_local! {
    static INVOCATION: Arc<Invocation>;
}

/// What all lines of a process share.
#[derive(Debug)]
struct Output {
    clock: Clock,
    function_name: String,
    function_version: String,
    level: LevelFilter,
    /// The level of lines that have only metrics: Lambda drops lines below its own
    /// level, and lines without one ("Log-level filtering", AWS).
    metrics_level: &'static str,
}

/// What all lines of one invocation share.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Invocation {
    #[serde(rename = "function_request_id")]
    request_id: String,
    xray_trace_id: Option<String>,
    cold_start: bool,
}

impl Output {
    /// Writes a line with one system call.
    fn write(
        &self,
        level: &'static str,
        message: Option<&'static str>,
        invocation: Option<&Invocation>,
        fields: &impl Serialize,
    ) {
        #[derive(Serialize)]
        struct Line<'a, F> {
            timestamp: Timestamp,
            level: &'static str,
            #[serde(skip_serializing_if = "Option::is_none")]
            message: Option<&'static str>,
            service: &'static str,
            function_name: &'a str,
            function_version: &'a str,
            #[serde(flatten)]
            invocation: Option<&'a Invocation>,
            #[serde(flatten)]
            fields: &'a F,
        }
        let line = Line {
            timestamp: self.clock.now(),
            level,
            message,
            service: SERVICE,
            function_name: &self.function_name,
            function_version: &self.function_version,
            invocation,
            fields,
        };
        let mut text = Vec::with_capacity(1024);
        if serde_json::to_writer(&mut text, &line).is_ok() {
            text.push(b'\n');
            // Nowhere to report a failure of standard output.
            let _ = std::io::stdout().lock().write_all(&text);
        }
    }
}

/// Starts logging to standard output. `AWS_LAMBDA_LOG_LEVEL` sets the level, INFO by
/// default; a wrong value is logged as a warning.
pub fn init(lookup: impl Fn(&str) -> Option<String>, clock: Clock) {
    let configured = lookup("AWS_LAMBDA_LOG_LEVEL").filter(|level| !level.is_empty());
    let parsed = configured
        .as_deref()
        .map_or(Some(DEFAULT_LEVEL), parse_level);
    let (metrics_level, level) = parsed.unwrap_or(DEFAULT_LEVEL);
    let output = OUTPUT.get_or_init(|| Output {
        clock,
        function_name: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        function_version: lookup("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default(),
        level,
        metrics_level,
    });
    let targets = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target(env!("CARGO_CRATE_NAME"), level);
    tracing_subscriber::registry()
        .with(events::Events(output).with_filter(targets))
        .init();
    std::panic::set_hook(Box::new(keep_panic));
    if parsed.is_none() {
        tracing::warn!(
            "AWS_LAMBDA_LOG_LEVEL is none of TRACE, DEBUG, INFO, WARN, ERROR, FATAL: INFO is used"
        );
    }
}

const DEFAULT_LEVEL: (&str, LevelFilter) = ("INFO", LevelFilter::INFO);

/// Parses a level name of Lambda ("Configuring advanced logging controls", AWS).
/// Nothing is logged at FATAL.
fn parse_level(name: &str) -> Option<(&'static str, LevelFilter)> {
    [
        ("TRACE", LevelFilter::TRACE),
        ("DEBUG", LevelFilter::DEBUG),
        DEFAULT_LEVEL,
        ("WARN", LevelFilter::WARN),
        ("ERROR", LevelFilter::ERROR),
        ("FATAL", LevelFilter::OFF),
    ]
    .into_iter()
    .find(|(known, _)| known.eq_ignore_ascii_case(name))
}

impl Invocation {
    /// Of the first invocation of a process, `cold_start` is true.
    pub(crate) fn of(context: &Context) -> Self {
        static WARM: AtomicBool = AtomicBool::new(false);
        Self {
            request_id: context.request_id.clone(),
            xray_trace_id: context.xray_trace_id.clone(),
            cold_start: !WARM.swap(true, Ordering::Relaxed),
        }
    }
}

/// Runs the handling of an invocation, whose id all lines then have.
pub(crate) async fn within<F: Future>(invocation: Invocation, future: F) -> F::Output {
    let logged = async {
        let _unclaimed = LogUnclaimedPanic;
        future.await
    };
    INVOCATION.scope(Arc::new(invocation), logged).await
}

/// Logs a panic that ends the handling of an invocation, since no line of a request
/// has it.
struct LogUnclaimedPanic;

impl Drop for LogUnclaimedPanic {
    fn drop(&mut self) {
        if let Some(cause) = take_panic() {
            tracing::error!(cause, "panic");
        }
    }
}

fn invocation() -> Option<Arc<Invocation>> {
    INVOCATION.try_with(Arc::clone).ok()
}

/// Returns the message and place of the panic that was caught on this thread.
pub(crate) fn take_panic() -> Option<String> {
    PANIC.take()
}

/// Keeps a panic for the line of its request. Outside of a request, logs it.
fn keep_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.to_string();
    if invocation().is_some() {
        PANIC.set(Some(text));
    } else {
        tracing::error!(cause = text, "panic");
    }
}
