//! Changes of a table: the events that `deploy/events.yaml` would send, which are what its filters let through of the
//! table's stream. In one line each; `make test-events` tries what AWS makes of the records.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::dynamodb::Client;
use crate::template::Template;

/// The changes of a table, from a moment on.
pub struct Changes {
    client: Client,
    position: Value,
    patterns: Vec<Value>,
}

impl Changes {
    /// Turns the stream of a table of this emulator on, and begins behind its newest record.
    pub async fn of_table(endpoint: &str, table: &str) -> Result<Self> {
        let client = Client::new(endpoint);
        let stream = client.enable_stream(table).await?;
        Ok(Self {
            position: client.end_of_stream(&stream).await?,
            patterns: patterns()?,
            client,
        })
    }

    /// Returns the changes since the last call: type, cart, customer or account, and why an association ended.
    pub async fn next(&mut self) -> Result<Vec<String>> {
        let records = self.client.records(&mut self.position).await?;
        let pass = |record: &&Value| self.patterns.iter().any(|pattern| matches(pattern, record));
        Ok(records.iter().filter(pass).map(summary).collect())
    }
}

/// The patterns of the pipe's filters.
fn patterns() -> Result<Vec<Value>> {
    let template = Template::events();
    let filters =
        &template.properties("EventPipe")["SourceParameters"]["FilterCriteria"]["Filters"];
    let filters = filters.as_array().context("the pipe has no filters")?;
    let pattern = |filter: &Value| {
        let pattern = filter["Pattern"].as_str();
        Ok(serde_json::from_str(
            pattern.context("a filter without a pattern")?,
        )?)
    };
    filters.iter().map(pattern).collect()
}

/// Whether a record matches a pattern, which only says that attributes exist or do not.
fn matches(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(members) => members
            .iter()
            .all(|(name, pattern)| matches(pattern, &record[name])),
        rule => *rule == json!([{ "exists": !record.is_null() }]),
    }
}

fn summary(record: &Value) -> String {
    let change = &record["dynamodb"];
    let (old, new) = (&change["OldImage"], &change["NewImage"]);
    let item = if new["associated_at"].is_null() {
        old
    } else {
        new
    };
    let (kind, party) = match item["account_id"].is_null() {
        true => ("Customer", "customer_id"),
        false => ("Account", "account_id"),
    };
    let mut detail = json!({ "cart_id": item["cart_id"]["S"], party: item[party]["S"] });
    if !new["associated_at"].is_null() {
        return format!("Cart {kind} Associated {detail}");
    }
    let end = old["expires_at"]["N"].as_str();
    let end = end.and_then(|end| end.parse::<f64>().ok());
    let expired =
        end.is_some_and(|end| Some(end) <= change["ApproximateCreationDateTime"].as_f64());
    detail["reason"] = json!(if expired { "expired" } else { "removed" });
    format!("Cart {kind} Dissociated {detail}")
}
