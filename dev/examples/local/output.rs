//! What `make run` prints while it runs: one line for each request and each change. With `LOGS=json`, standard output has
//! the function's own lines and nothing else.

use std::fmt::Write as _;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use dev::changes::Changes;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::ChildStdout;

use crate::tokens::Tokens;

/// Prints what the function writes until it ends.
pub(crate) async fn print_logs(stdout: ChildStdout) -> Result<()> {
    let as_json = std::env::var("LOGS").is_ok_and(|logs| logs == "json");
    let mut lines = BufReader::new(stdout).lines();
    while let Some(line) = lines.next_line().await? {
        match serde_json::from_str::<Map<String, Value>>(&line) {
            // The request of `first_status`: `api_gateway.rs` passes on no other for a path that is no route.
            Ok(logged) if logged.get("outcome") == Some(&json!("route_not_found")) => {}
            Ok(logged) if !as_json => println!("{}", one_line(&logged)),
            Ok(_) => println!("{line}"),
            // So a reload may end the function that runs.
            Err(_) if line.contains("command killed") && line.contains("ForceStop") => {}
            Err(_) => eprintln!("{line}"),
        }
    }
    Ok(())
}

/// A line of the function's log as one that people read: `POST /v2/carts/{cartId}/… 200 created 4 ms` for a request,
/// with the cause if it was refused; otherwise level, message and fields.
fn one_line(logged: &Map<String, Value>) -> String {
    /// Members of every line.
    const USUAL: [&str; 10] = [
        "timestamp",
        "level",
        "message",
        "service",
        "function_name",
        "function_version",
        "function_request_id",
        "xray_trace_id",
        "cold_start",
        "_aws",
    ];
    let text = |name: &str| match logged.get(name) {
        Some(Value::String(text)) => text.clone(),
        other => other.map(Value::to_string).unwrap_or_default(),
    };
    let duration = logged.get("duration_ms").and_then(Value::as_f64);
    let mut line = if let Some(duration) = duration {
        let (route, status, outcome) = (text("route"), text("status"), text("outcome"));
        format!("{route} {status} {outcome} {duration:.0} ms")
    } else {
        format!("{} {}", text("level"), text("message"))
    };
    let is_shown = |name: &&String| match duration {
        Some(_) => ["cause", "claim"].contains(&name.as_str()),
        None => !USUAL.contains(&name.as_str()),
    };
    for name in logged.keys().filter(is_shown) {
        // Fails never: it writes to a string.
        let _ = write!(line, " {name}={}", text(name));
    }
    line
}

/// Prints changes as they happen: the events that a deployed stack would send.
pub(crate) async fn print_changes(mut changes: Changes) -> Result<()> {
    loop {
        for change in changes.next().await? {
            eprintln!("  {change}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Prints where to look and three requests to paste. Each run has a cart of its own, so that the answers are as printed,
/// whatever is stored.
pub(crate) fn print_welcome(api_port: u16, page_port: u16, tokens: &Tokens) -> Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let cart = format!("cart-{}", now.as_secs());
    let api = format!("http://localhost:{api_port}");
    let body = |customer: &str| {
        format!(
            r#"-H 'Content-Type: application/json' -d '{{"data":[{{"type":"customer","id":"{customer}"}}]}}'"#
        )
    };
    let (ron, hermione) = (body("ron"), body("hermione"));
    let customer = if tokens.is_one_token {
        r#"-H "Authorization: Bearer $(ONE_TOKEN=1 make -s token CUSTOMER=ron)""#
    } else {
        "-H \"Authorization: Bearer $(make -s token GRANT=implicit)\" \\\n    \
         -H \"x-moltin-customer-token: $(make -s token CUSTOMER=ron)\""
    };
    let cart_token = if tokens.demands_cart_tokens {
        format!(" \\\n    -H \"x-cart-token: $(make -s token CART={cart})\"")
    } else {
        String::new()
    };
    eprintln!(
        r#"
Try it in a browser: http://localhost:{page_port}
Or paste these lines in another terminal, in this folder:

# A back end associates a cart with ron: 200. Again: 204.
curl -i -H "Authorization: Bearer $(make -s token)" \
    {ron} \
    {api}/v2/carts/{cart}/relationships/customers

# Ron's carts, for a storefront where he has signed in: 200.
curl -i {customer} \
    {api}/v2/carts

# He may not act for hermione: 403, and nothing is stored.
curl -i {customer}{cart_token} \
    {hermione} \
    {api}/v2/carts/{cart}/relationships/customers

A saved source file reloads the function in about five seconds.
POST {api}/oauth/access_token gives development tokens to any program here, for Elastic Path's clients.

The API answers on {api} until Ctrl-C. Below is a line for each request, and one for each change.
LOGS=json make run prints the function's own log.
"#
    );
    Ok(())
}
