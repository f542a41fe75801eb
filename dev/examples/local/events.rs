//! Prints the events that a stack with `EventBusName` would send: what the filters of `template.yaml` let through of the
//! table's stream.

use std::time::Duration;

use anyhow::{Context as _, Result};
use dev::TABLE_NAME;
use dev::dynamodb::Client;
use dev::template::Template;
use serde_json::{Value, json};

const PAUSE: Duration = Duration::from_millis(300);

/// Prints each event from now on, until the program ends.
pub(crate) async fn print(endpoint: &str) -> Result<()> {
    let client = Client::new(endpoint);
    let stream = client.enable_stream(TABLE_NAME).await?;
    let mut position = client.end_of_stream(&stream).await?;
    let patterns = patterns()?;
    tokio::spawn(async move {
        loop {
            match client.records(&mut position).await {
                Ok(records) => records
                    .iter()
                    .filter(|record| patterns.iter().any(|pattern| matches(pattern, record)))
                    .for_each(|record| println!("Event: {}", summary(record))),
                Err(error) => return eprintln!("error: events are no longer shown: {error:#}"),
            }
            tokio::time::sleep(PAUSE).await;
        }
    });
    Ok(())
}

/// The patterns of the pipe's filters.
fn patterns() -> Result<Vec<Value>> {
    let template = Template::read();
    let filters =
        &template.properties("EventPipe")["SourceParameters"]["FilterCriteria"]["Filters"];
    let filters = filters.as_array().context("the pipe has no filters")?;
    let pattern = |filter: &Value| {
        let pattern = filter["Pattern"]
            .as_str()
            .context("a filter without a pattern")?;
        Ok(serde_json::from_str(pattern)?)
    };
    filters.iter().map(pattern).collect()
}

/// Whether a record matches a pattern, which says of attributes that they exist or do not.
fn matches(pattern: &Value, record: &Value) -> bool {
    match pattern {
        Value::Object(members) => members
            .iter()
            .all(|(name, pattern)| matches(pattern, &record[name])),
        rule => *rule == json!([{ "exists": !record.is_null() }]),
    }
}

/// The type of the event, and of its detail the cart, the customer and the reason.
fn summary(record: &Value) -> String {
    let [old, new] = ["OldImage", "NewImage"].map(|image| &record["dynamodb"][image]);
    let detail = |item: &Value| json!({ "cart_id": item["cart_id"]["S"], "customer_id": item["customer_id"]["S"] });
    if !new["associated_at"].is_null() {
        return format!("Cart Customer Associated {}", detail(new));
    }
    let end = old["expires_at"]["N"]
        .as_str()
        .and_then(|end| end.parse().ok());
    let time = record["dynamodb"]["ApproximateCreationDateTime"].as_f64();
    let expired = end.is_some_and(|end: f64| Some(end) <= time);
    let mut detail = detail(old);
    detail["reason"] = json!(if expired { "expired" } else { "removed" });
    format!("Cart Customer Dissociated {detail}")
}
