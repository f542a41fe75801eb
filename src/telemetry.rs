//! Logs: JSON lines with the keys that AWS Lambda Powertools made usual, one
//! line a request.
//!
//! Never a token, a body, a cart or a customer. What other crates log goes
//! through the same layer, from WARN on: below that they show what they send.

use std::cell::Cell;
use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::panic::PanicHookInfo;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use lambda_http::Context;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::auth::SkippedKey;
use crate::clock::Clock;

/// What every line names as its service.
const SERVICE: &str = env!("CARGO_PKG_NAME");

thread_local! {
    static PANIC: Cell<Option<String>> = const { Cell::new(None) };
}

tokio::task_local! {
    static INVOCATION: Invocation;
}

/// What every line of one invocation shares.
#[derive(Debug, Clone)]
struct Invocation {
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
    let invocation = Invocation {
        request_id: context.request_id.clone(),
        xray_trace_id: context.xray_trace_id.clone(),
        cold_start: !WARM.swap(true, Ordering::Relaxed),
    };
    INVOCATION.scope(invocation, future).await
}

/// Starts logging to standard output at the level that `AWS_LAMBDA_LOG_LEVEL`
/// sets, INFO by default. A wrong level is told once.
pub fn init(lookup: impl Fn(&str) -> Option<String>, clock: Clock) {
    let wanted = lookup("AWS_LAMBDA_LOG_LEVEL").filter(|level| !level.is_empty());
    let level = wanted.as_deref().map_or(Some(LevelFilter::INFO), level);
    let targets = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(METRICS, LevelFilter::INFO)
        .with_target(env!("CARGO_CRATE_NAME"), level.unwrap_or(LevelFilter::INFO));
    let lines = JsonLines {
        clock,
        function_name: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
    std::panic::set_hook(Box::new(keep_panic));
    if level.is_none() {
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

/// Tells that a key set could not be refreshed; `age` is that of the keys in use,
/// if there are any.
pub(crate) fn keys_not_refreshed(key_set: &str, cause: &str, age: Option<Duration>) {
    let age_seconds = age.map(|age| age.as_secs());
    tracing::warn!(
        key_set,
        cause,
        age_seconds,
        "the key set could not be refreshed"
    );
    let metrics = json!({
        "KeySetNotRefreshed": 1,
        "KeySetAge": age_seconds,
    });
    let units = [("KeySetNotRefreshed", "Count"), ("KeySetAge", "Seconds")];
    metric("key_set", key_set, &units, metrics);
}

/// The namespace of the function's own metrics in CloudWatch.
const NAMESPACE: &str = "CartAssociations";

/// Under this target a line is a metric, whatever the level of the log.
const METRICS: &str = "metrics";

/// Writes metrics in CloudWatch's Embedded Metric Format: no call, no agent.
/// Those whose value is null are left out.
///
/// Source: "Specification: Embedded metric format", Amazon CloudWatch.
fn metric(dimension: &str, of: &str, units: &[(&str, &str)], mut values: Value) {
    let metrics: Vec<Value> = units
        .iter()
        .filter(|(name, _)| !values[*name].is_null())
        .map(|(name, unit)| json!({ "Name": name, "Unit": unit }))
        .collect();
    if let Some(values) = values.as_object_mut() {
        values.retain(|_, value| !value.is_null());
    }
    values["service"] = SERVICE.into();
    values[dimension] = of.into();
    values["_aws"] = json!({
        "CloudWatchMetrics": [{
            "Namespace": NAMESPACE,
            "Dimensions": [["service", dimension]],
            "Metrics": metrics,
        }],
    });
    tracing::info!(target: METRICS, values = values.to_string());
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

/// Writes each event as one JSON line in one write.
struct JsonLines {
    clock: Clock,
    function_name: String,
}

impl<S: Subscriber> Layer<S> for JsonLines {
    fn on_event(&self, event: &Event<'_>, _: layer::Context<'_, S>) {
        let mut line = Map::new();
        event.record(&mut Fields(&mut line));
        let line = if event.metadata().target() == METRICS {
            self.metric_line(&line)
        } else {
            self.log_line(event, line)
        };
        let mut line = line.to_string();
        line.push('\n');
        // There is nobody to tell when standard output is gone.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
    }
}

impl JsonLines {
    fn log_line(&self, event: &Event<'_>, mut line: Map<String, Value>) -> Value {
        line.insert("timestamp".to_owned(), self.clock.now().to_string().into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("service".to_owned(), SERVICE.into());
        line.insert(
            "function_name".to_owned(),
            self.function_name.as_str().into(),
        );
        let _ = INVOCATION.try_with(|invocation| {
            line.insert(
                "function_request_id".to_owned(),
                invocation.request_id.as_str().into(),
            );
            line.insert("xray_trace_id".to_owned(), json!(invocation.xray_trace_id));
            line.insert("cold_start".to_owned(), invocation.cold_start.into());
        });
        Value::Object(line)
    }

    fn metric_line(&self, fields: &Map<String, Value>) -> Value {
        let values = fields.get("values").and_then(Value::as_str).unwrap_or("{}");
        let mut line: Value = serde_json::from_str(values).unwrap_or_default();
        line["_aws"]["Timestamp"] = self.clock.now().millis().into();
        line
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
