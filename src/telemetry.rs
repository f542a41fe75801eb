//! Logs and metrics: JSON lines with the keys that AWS Lambda Powertools made
//! usual, one line a request.
//!
//! Never a token, a body, a cart or a customer. What other crates log goes
//! the same way, from WARN on: below that they show what they send, and a release
//! build leaves it out of them (`release_max_level_warn` of `tracing`).
//!
//! Metrics are members of the line that tells of the same thing, declared as
//! such in CloudWatch's Embedded Metric Format: no call, no agent, no second
//! line. Where the log's level leaves a line out, its metrics are written all
//! the same.
//!
//! Source: "Specification: Embedded metric format", Amazon CloudWatch.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use lambda_http::Context;
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::auth::SkippedKey;
use crate::clock::{Clock, Timestamp};

/// The members that mean the same in every line, whoever wrote it.
const TAKEN: [&str; 8] = [
    "timestamp",
    "level",
    "service",
    "function_name",
    "function_version",
    "function_request_id",
    "xray_trace_id",
    "cold_start",
];

/// What every line names as its service.
const SERVICE: &str = env!("CARGO_PKG_NAME");

/// The namespace of the function's own metrics in CloudWatch.
const NAMESPACE: &str = "CartAssociations";

/// Where lines go, once telemetry was begun; without, nothing is told.
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
}

/// What every line of one invocation shares.
#[derive(Debug, Clone, Serialize)]
struct Invocation {
    #[serde(rename = "function_request_id")]
    request_id: String,
    xray_trace_id: Option<String>,
    cold_start: bool,
}

/// The panic that ended the handling of an invocation: its message and place.
/// For the one who catches it, on the same thread.
pub(crate) fn take_panic() -> Option<String> {
    PANIC.take()
}

/// Keeps a panic for the one line of its request. Outside of a request nobody
/// would tell of it, so it is a line of its own.
fn keep_panic(panic: &PanicHookInfo<'_>) {
    let text = panic.to_string();
    if INVOCATION.try_with(|_| ()).is_ok() {
        PANIC.set(Some(text));
    } else {
        tracing::error!(cause = text, "panic");
    }
}

/// Runs the handling of one invocation so that every line it logs names it.
pub async fn within<F: Future>(context: &Context, future: F) -> F::Output {
    static WARM: AtomicBool = AtomicBool::new(false);
    let invocation = Arc::new(Invocation {
        request_id: context.request_id.clone(),
        xray_trace_id: context.xray_trace_id.clone(),
        cold_start: !WARM.swap(true, Ordering::Relaxed),
    });
    INVOCATION.scope(invocation, future).await
}

/// Starts logging to standard output at the level that `AWS_LAMBDA_LOG_LEVEL`
/// sets, INFO by default. A wrong level is told once.
pub fn init(lookup: impl Fn(&str) -> Option<String>, clock: Clock) {
    let wanted = lookup("AWS_LAMBDA_LOG_LEVEL").filter(|level| !level.is_empty());
    let known = wanted.as_deref().map_or(Some(LevelFilter::INFO), level);
    let level = known.unwrap_or(LevelFilter::INFO);
    let output = OUTPUT.get_or_init(|| Output {
        clock,
        function_name: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
        function_version: lookup("AWS_LAMBDA_FUNCTION_VERSION").unwrap_or_default(),
        level,
    });
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), level);
    tracing_subscriber::registry()
        .with(Events(output).with_filter(targets))
        .init();
    std::panic::set_hook(Box::new(keep_panic));
    if known.is_none() {
        tracing::warn!(
            "AWS_LAMBDA_LOG_LEVEL is none of TRACE, DEBUG, INFO, WARN, ERROR, FATAL: INFO is used"
        );
    }
}

/// Tells that keys of a set cannot be used.
pub(crate) fn keys_skipped(key_set: &str, skipped: &[SkippedKey]) {
    for SkippedKey { index, fault } in skipped {
        let cause = format!("key {index} {fault}");
        tracing::warn!(key_set, cause, "a key is left out of the set");
    }
}

/// What is told of a request.
#[derive(Debug, Serialize)]
pub(crate) struct Request<'a> {
    /// One of few, as are `outcome` and `grant`.
    pub(crate) route: &'static str,
    pub(crate) status: u16,
    pub(crate) grant: &'static str,
    #[serde(flatten)]
    pub(crate) cause: Option<Cause<'a>>,
    #[serde(skip)]
    pub(crate) outcome: &'static str,
    #[serde(skip)]
    pub(crate) duration: Duration,
    #[serde(skip)]
    pub(crate) store_time: Duration,
    #[serde(skip)]
    pub(crate) store_attempts: u32,
}

/// Why a request was not served.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cause<'a> {
    /// In words, or by name.
    Cause(&'a str),
    /// The keys of this set could not be had.
    KeySet(&'static str),
}

/// What is counted of a request, beside what is told.
#[derive(Serialize)]
struct RequestMetrics {
    outcome: &'static str,
    /// `cold` or `warm`: `cold_start` as a dimension, which must be a string.
    start: &'static str,
    /// 1 for a request with a refused token, else 0: the average is the share
    /// of such requests.
    token_refused: u8,
    duration_ms: f64,
    store_ms: f64,
    store_attempts: u32,
}

/// Tells of a request that was answered: the one line of it.
pub(crate) fn request(level: Level, request: &Request<'_>) {
    const ANSWERED: Directive = Directive {
        namespace: NAMESPACE,
        dimensions: &[
            &["service", "function_name", "outcome"],
            &["service", "function_name", "start"],
        ],
        metrics: &[Metric::millis("duration_ms")],
    };
    const TOKENS: Directive = Directive {
        namespace: NAMESPACE,
        dimensions: &[
            &["service", "function_name"],
            &["service", "function_name", "function_version"],
        ],
        metrics: &[Metric::count("token_refused")],
    };
    const STORED: Directive = Directive {
        namespace: NAMESPACE,
        dimensions: &[&["service", "function_name"]],
        metrics: &[Metric::millis("store_ms"), Metric::count("store_attempts")],
    };
    let is_cold = invocation().is_some_and(|invocation| invocation.cold_start);
    let metrics = RequestMetrics {
        outcome: request.outcome,
        start: if is_cold { "cold" } else { "warm" },
        token_refused: u8::from(matches!(
            request.outcome,
            "invalid_access_token" | "invalid_customer_token"
        )),
        duration_ms: millis(request.duration),
        store_ms: millis(request.store_time),
        store_attempts: request.store_attempts,
    };
    // A store that was not asked did not take no time.
    let directives: &[Directive] = if request.store_attempts > 0 {
        &[ANSWERED, TOKENS, STORED]
    } else {
        &[ANSWERED, TOKENS]
    };
    tell(level, "request", request, &metrics, directives);
}

/// Tells that a key set could not be refreshed; `age` is that of the keys in use,
/// if there are any.
pub(crate) fn keys_not_refreshed(key_set: &'static str, cause: &str, age: Option<Duration>) {
    #[derive(Serialize)]
    struct Fields<'a> {
        cause: &'a str,
    }
    #[derive(Serialize)]
    struct Metrics {
        key_set: &'static str,
        key_set_failures: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_set_age_seconds: Option<u64>,
    }
    const FAILED: Directive = Directive {
        namespace: NAMESPACE,
        dimensions: &[&["service", "function_name", "key_set"]],
        metrics: &[Metric::count("key_set_failures")],
    };
    const AGED: Directive = Directive {
        namespace: NAMESPACE,
        dimensions: &[&["service", "function_name", "key_set"]],
        metrics: &[Metric {
            name: "key_set_age_seconds",
            unit: "Seconds",
        }],
    };
    let metrics = Metrics {
        key_set,
        key_set_failures: 1,
        key_set_age_seconds: age.map(|age| age.as_secs()),
    };
    let message = "the key set could not be refreshed";
    let directives: &[Directive] = if age.is_some() {
        &[FAILED, AGED]
    } else {
        &[FAILED]
    };
    tell(
        Level::WARN,
        message,
        &Fields { cause },
        &metrics,
        directives,
    );
}

/// Tells those who look closely that the store was not reached ahead of the
/// requests. Those that do not reach it either are told of themselves.
pub(crate) fn store_not_reached(cause: &str) {
    #[derive(Serialize)]
    struct Whole<'a> {
        #[serde(flatten)]
        line: Line<'a>,
        cause: &'a str,
    }
    let level = Level::DEBUG;
    let Some(output) = OUTPUT.get().filter(|output| output.level >= level) else {
        return;
    };
    let message = "the store was not reached ahead of the requests";
    write(&Whole {
        line: output.line(output.clock.now(), level, Some(message)),
        cause,
    });
}

/// Metrics that share their dimensions, which are members of the line too.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: &'static [&'static [&'static str]],
    metrics: &'static [Metric],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

impl Metric {
    const fn millis(name: &'static str) -> Self {
        let unit = "Milliseconds";
        Self { name, unit }
    }

    const fn count(name: &'static str) -> Self {
        let unit = "Count";
        Self { name, unit }
    }
}

/// What makes metrics of members of a line.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Declaration {
    timestamp: u64,
    cloud_watch_metrics: &'static [Directive],
}

/// What every line begins with.
#[derive(Serialize)]
struct Line<'a> {
    timestamp: Timestamp,
    level: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'static str>,
    service: &'static str,
    function_name: &'a str,
    function_version: &'a str,
}

/// Writes a line with metrics in it, or its metrics alone if the log leaves such
/// a line out.
fn tell(
    level: Level,
    message: &'static str,
    fields: &impl Serialize,
    metrics: &impl Serialize,
    directives: &'static [Directive],
) {
    #[derive(Serialize)]
    struct Whole<'a, F, M> {
        #[serde(flatten)]
        line: Line<'a>,
        #[serde(flatten)]
        invocation: Option<&'a Invocation>,
        #[serde(flatten)]
        fields: &'a F,
        #[serde(flatten)]
        metrics: &'a M,
        #[serde(rename = "_aws")]
        declaration: Declaration,
    }
    /// Of the log's own level: Lambda leaves out what is below it, or of none
    /// ("Log-level filtering", AWS).
    #[derive(Serialize)]
    struct MetricsAlone<'a, M> {
        #[serde(flatten)]
        line: Line<'a>,
        #[serde(flatten)]
        metrics: &'a M,
        #[serde(rename = "_aws")]
        declaration: Declaration,
    }
    let Some(output) = OUTPUT.get() else {
        return;
    };
    let now = output.clock.now();
    let declaration = Declaration {
        timestamp: now.millis(),
        cloud_watch_metrics: directives,
    };
    if let Some(least) = output.level.into_level()
        && least < level
    {
        return write(&MetricsAlone {
            line: output.line(now, least, None),
            metrics,
            declaration,
        });
    }
    write(&Whole {
        line: output.line(now, level, Some(message)),
        invocation: invocation().as_deref(),
        fields,
        metrics,
        declaration,
    });
}

impl Output {
    fn line(&self, timestamp: Timestamp, level: Level, message: Option<&'static str>) -> Line<'_> {
        Line {
            timestamp,
            level: level.as_str(),
            message,
            service: SERVICE,
            function_name: &self.function_name,
            function_version: &self.function_version,
        }
    }
}

/// The invocation at hand, if one is.
fn invocation() -> Option<Arc<Invocation>> {
    INVOCATION.try_with(Arc::clone).ok()
}

/// Writes a line in one piece.
fn write(line: &impl Serialize) {
    let mut text = Vec::with_capacity(1024);
    if serde_json::to_writer(&mut text, line).is_ok() {
        text.push(b'\n');
        // There is nobody to tell when standard output is gone.
        let _ = std::io::stdout().lock().write_all(&text);
    }
}

fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// The levels that Lambda knows ("Configuring advanced logging controls", AWS).
fn level(name: &str) -> Option<LevelFilter> {
    match name.to_ascii_uppercase().as_str() {
        "TRACE" => Some(LevelFilter::TRACE),
        "DEBUG" => Some(LevelFilter::DEBUG),
        "INFO" => Some(LevelFilter::INFO),
        "WARN" => Some(LevelFilter::WARN),
        "ERROR" | "FATAL" => Some(LevelFilter::ERROR),
        _ => None,
    }
}

/// Writes each event of `tracing` as one line: what is not told of requests and
/// key sets, and what other crates tell.
struct Events(&'static Output);

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        #[derive(Serialize)]
        struct Whole<'a> {
            #[serde(flatten)]
            line: Line<'a>,
            #[serde(flatten)]
            invocation: Option<&'a Invocation>,
            #[serde(flatten)]
            fields: Map<String, Value>,
        }
        let Self(output) = self;
        let mut fields = Map::new();
        event.record(&mut Fields(&mut fields));
        for taken in TAKEN {
            fields.remove(taken);
        }
        write(&Whole {
            line: output.line(output.clock.now(), *event.metadata().level(), None),
            invocation: invocation().as_deref(),
            fields,
        });
    }
}

/// Puts an event's own fields beside the others.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.insert(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.insert(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.insert(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.insert(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.insert(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.insert(field, format!("{value:?}"));
    }
}
