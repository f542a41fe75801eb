//! Events of `tracing` as log lines.

use std::fmt;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use super::{Output, invocation};

/// The members of every line. An event's fields do not replace them.
const RESERVED: [&str; 8] = [
    "timestamp",
    "level",
    "service",
    "function_name",
    "function_version",
    "function_request_id",
    "xray_trace_id",
    "cold_start",
];

/// Writes each event as one line.
pub(super) struct Events(pub(super) &'static Output);

impl<S: Subscriber> Layer<S> for Events {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Map::new();
        event.record(&mut Fields(&mut fields));
        for name in RESERVED {
            fields.remove(name);
        }
        let level = event.metadata().level().as_str();
        self.0.write(level, None, invocation().as_deref(), &fields);
    }
}

/// Collects the fields of an event.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn insert(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
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
