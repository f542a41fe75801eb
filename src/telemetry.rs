//! Logs: JSON lines with the keys that AWS Lambda Powertools made usual, one
//! line a request.
//!
//! Never a token, a body, a cart or a customer. What other crates log goes
//! through the same layer, from WARN on: below that they show what they send.

use std::fmt;
use std::future::Future;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use lambda_http::Context;
use serde_json::{Map, Value, json};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{self, Layer, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::clock::Clock;

/// What every line names as its service.
const SERVICE: &str = env!("CARGO_PKG_NAME");

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
        .with_target(env!("CARGO_CRATE_NAME"), level.unwrap_or(LevelFilter::INFO));
    let lines = JsonLines {
        clock,
        function_name: lookup("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_default(),
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(targets))
        .init();
    if level.is_none() {
        tracing::warn!(
            "AWS_LAMBDA_LOG_LEVEL is none of TRACE, DEBUG, INFO, WARN, ERROR, FATAL: INFO is used"
        );
    }
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
        event.record(&mut Fields(&mut line));
        let mut line = Value::Object(line).to_string();
        line.push('\n');
        // There is nobody to tell when standard output is gone.
        let _ = std::io::stdout().lock().write_all(line.as_bytes());
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
