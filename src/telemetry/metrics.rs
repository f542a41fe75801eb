//! Log lines with metrics: members of the line that CloudWatch's Embedded Metric
//! Format declares as metrics. There is no call, no agent, no second line.
//!
//! If the log level leaves a line out, its metrics are written without it.
//!
//! Source: "Specification: Embedded metric format", Amazon CloudWatch.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;
use tracing::Level;

use super::{OUTPUT, invocation};

/// The metrics' namespace in CloudWatch.
const NAMESPACE: &str = "CartAssociations";

/// The log line of a request, which becomes known while it is served.
#[derive(Debug, Serialize)]
pub(crate) struct RequestLine {
    /// The key of the route, such as `GET /v2/carts`, or `none`.
    pub(crate) route: String,
    pub(crate) status: u16,
    pub(crate) caller: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) cause: Option<String>,
    /// The claim that is missing or wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) claim: Option<String>,
    /// The key set that is not available.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) key_set: Option<&'static str>,
    /// DynamoDB's id of the call that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) store_request_id: Option<String>,
    #[serde(skip)]
    pub(crate) level: Level,
    #[serde(skip)]
    pub(crate) began: Instant,
    #[serde(skip)]
    pub(crate) metrics: RequestMetrics,
}

impl RequestLine {
    pub(crate) fn begin() -> Self {
        Self {
            route: "none".to_owned(),
            status: 0,
            caller: "nobody",
            cause: None,
            claim: None,
            key_set: None,
            store_request_id: None,
            level: Level::INFO,
            began: Instant::now(),
            metrics: RequestMetrics::default(),
        }
    }
}

/// The members of a request's line that are metrics or their dimensions.
#[derive(Debug, Default, Serialize)]
pub(crate) struct RequestMetrics {
    pub(crate) outcome: &'static str,
    /// `cold` or `warm`: `cold_start` as a dimension, which must be a string.
    start: &'static str,
    /// 1 if a token was refused, else 0: the average is the share of such requests.
    pub(crate) token_refused: u8,
    duration_ms: f64,
    /// How long the operation took, if it called the store.
    pub(crate) store_ms: f64,
    pub(crate) store_attempts: u32,
}

/// Completes the line of a request, and writes it.
pub(crate) fn request(line: &mut RequestLine) {
    const ANSWERED: Directive = directive(
        &[
            &["service", "function_name", "outcome"],
            &["service", "function_name", "start"],
        ],
        &[metric("duration_ms", "Milliseconds")],
    );
    const TOKENS: Directive = directive(
        &[
            &["service", "function_name"],
            &["service", "function_name", "function_version"],
        ],
        &[metric("token_refused", "Count")],
    );
    const STORED: Directive = directive(
        &[&["service", "function_name"]],
        &[
            metric("store_ms", "Milliseconds"),
            metric("store_attempts", "Count"),
        ],
    );
    let is_cold = invocation().is_some_and(|invocation| invocation.cold_start);
    line.metrics.start = if is_cold { "cold" } else { "warm" };
    line.metrics.duration_ms = millis(line.began.elapsed());
    // Requests without a store call would lower the average.
    let directives: &[Directive] = if line.metrics.store_attempts > 0 {
        &[ANSWERED, TOKENS, STORED]
    } else {
        &[ANSWERED, TOKENS]
    };
    log(line.level, "request", line, &line.metrics, directives);
}

/// Logs that a key set could not be refreshed. `age` is that of the cached keys, if
/// there are any.
pub(crate) fn key_set_not_refreshed(key_set: &'static str, cause: &str, age: Option<Duration>) {
    #[derive(Serialize)]
    struct Metrics {
        key_set: &'static str,
        key_set_failures: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        key_set_age_seconds: Option<u64>,
    }
    const KEY_SET: &[&[&str]] = &[&["service", "function_name", "key_set"]];
    const FAILED: Directive = directive(KEY_SET, &[metric("key_set_failures", "Count")]);
    const AGED: Directive = directive(KEY_SET, &[metric("key_set_age_seconds", "Seconds")]);
    let metrics = Metrics {
        key_set,
        key_set_failures: 1,
        key_set_age_seconds: age.map(|age| age.as_secs()),
    };
    let directives: &[Directive] = match age {
        Some(_) => &[FAILED, AGED],
        None => &[FAILED],
    };
    let fields = BTreeMap::from([("cause", cause)]);
    let message = "the key set could not be refreshed";
    log(Level::WARN, message, &fields, &metrics, directives);
}

/// Metrics with the same dimensions. Both are members of the line.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive {
    namespace: &'static str,
    dimensions: &'static [&'static [&'static str]],
    metrics: &'static [Metric],
}

const fn directive(
    dimensions: &'static [&'static [&'static str]],
    metrics: &'static [Metric],
) -> Directive {
    Directive {
        namespace: NAMESPACE,
        dimensions,
        metrics,
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metric {
    name: &'static str,
    unit: &'static str,
}

const fn metric(name: &'static str, unit: &'static str) -> Metric {
    Metric { name, unit }
}

/// The member `_aws`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Declaration {
    timestamp: u64,
    cloud_watch_metrics: &'static [Directive],
}

/// Writes a line with metrics, or only its metrics if the log level leaves the line
/// out.
fn log(
    level: Level,
    message: &'static str,
    fields: &impl Serialize,
    metrics: &impl Serialize,
    cloud_watch_metrics: &'static [Directive],
) {
    #[derive(Serialize)]
    struct Metrics<'a, F, M> {
        #[serde(flatten)]
        fields: Option<&'a F>,
        #[serde(flatten)]
        metrics: &'a M,
        #[serde(rename = "_aws")]
        declaration: Declaration,
    }
    let Some(output) = OUTPUT.get() else {
        return;
    };
    let is_logged = output.level >= level;
    let line = Metrics {
        fields: is_logged.then_some(fields),
        metrics,
        declaration: Declaration {
            timestamp: output.clock.now().millis(),
            cloud_watch_metrics,
        },
    };
    if is_logged {
        let invocation = invocation();
        output.write(level.as_str(), Some(message), invocation.as_deref(), &line);
    } else {
        output.write(output.metrics_level, None, None, &line);
    }
}

pub(crate) fn millis(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}
