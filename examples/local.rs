//! The local world, for development only: the function under `cargo lambda watch`, an embedded DynamoDB, and tokens.
//!
//! `make` knows how to start it: `make run`, `make dynamodb`, `make token`.
//!
//! # Layout
//!
//! - `function.rs` builds and starts the function;
//! - `world.rs` has what the function needs around it;
//! - `table.rs` and `tokens.rs` make the table and the tokens, for the integration tests as well;
//! - `process.rs` sees to it that nothing is left running.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

#[path = "local/function.rs"]
mod function;
#[path = "local/process.rs"]
mod process;
#[path = "local/table.rs"]
mod table;
#[path = "local/tokens.rs"]
mod tokens;
#[path = "local/world.rs"]
mod world;

use world::Authorities;

const USAGE: &str = "usage: local run | dynamodb | token --grant GRANT | token --customer CUSTOMER";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["run"] => until_stopped(run()).await,
        ["dynamodb"] => until_stopped(dynamodb()).await,
        ["token", "--grant", grant] => access_token(grant),
        ["token", "--customer", customer] => customer_token(customer),
        _ => Err(anyhow::anyhow!(USAGE)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends `work`, and with it all that it started, at Ctrl-C, at a `kill`, and when the terminal is closed.
async fn until_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        done = work => return done,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    eprintln!("Stopped.");
    Ok(())
}

async fn run() -> Result<()> {
    let api_port = port("API_PORT", 9000)?;
    let dynamodb_port = port("DYNAMODB_PORT", 8000)?;
    // A taken port is better told before the build than after it.
    let address = function::address(api_port)?;
    let authorities = start_world(dynamodb_port).await?;
    eprintln!("Building the function. The first time this takes minutes.");
    function::build().await?;
    eprintln!("Starting the function.");
    let mut watch = function::start(address, api_port, &world::env_file()?).await?;
    print_examples(api_port, &authorities)?;
    let ended = watch.ended().await?;
    bail!("cargo lambda watch ended ({ended}); the reason is above")
}

async fn dynamodb() -> Result<()> {
    let port = port("DYNAMODB_PORT", 8000)?;
    start_world(port).await?;
    println!(
        "DynamoDB answers on http://127.0.0.1:{port}, until Ctrl-C. The function's environment is in .local/env:"
    );
    println!("\n    cargo lambda watch --env-file .local/env");
    std::future::pending().await
}

async fn start_world(dynamodb_port: u16) -> Result<Authorities> {
    world::start_dynamodb(dynamodb_port).await?;
    let authorities = Authorities::kept()?;
    world::write_env_file(&authorities, dynamodb_port)?;
    world::write_events(&authorities)?;
    Ok(authorities)
}

fn access_token(grant: &str) -> Result<()> {
    println!(
        "{}",
        Authorities::kept()?
            .access
            .access_token("local-client", grant)?
    );
    Ok(())
}

fn customer_token(customer: &str) -> Result<()> {
    println!(
        "{}",
        Authorities::kept()?.customer.customer_token(customer)?
    );
    Ok(())
}

/// The port that the environment names, or else `default`.
fn port(name: &str, default: u16) -> Result<u16> {
    match std::env::var(name) {
        Ok(port) => port
            .parse()
            .with_context(|| format!("{name} is not a port: it is {port:?}")),
        Err(_) => Ok(default),
    }
}

/// Prints requests to paste. Each run has a cart of its own, so that the answers are those told, whatever is stored.
fn print_examples(port: u16, authorities: &Authorities) -> Result<()> {
    let back_end = authorities
        .access
        .access_token("local-back-end", "client_credentials")?;
    let storefront = authorities
        .access
        .access_token("local-storefront", "implicit")?;
    let hermione = authorities.customer.customer_token("hermione")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let cart = format!("cart-{}", now.as_secs());
    let url = format!("http://localhost:{port}/v2/carts/{cart}/relationships/customers");
    let body = |customer: &str| format!(r#"{{"data":[{{"type":"customer","id":"{customer}"}}]}}"#);

    let hours = tokens::LIFETIME.as_secs() / 3600;
    println!(
        "
The API answers on http://localhost:{port}, until Ctrl-C. Paste these lines in another terminal; their tokens are good
for {hours} hours.

# A back end (client_credentials) ties the cart to ron: 200 and the association. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {back_end}' \\
  -H 'Content-Type: application/json' \\
  -d '{ron_body}'

# A storefront (implicit) does it for hermione, who has signed in: 200. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
  -H 'Content-Type: application/json' \\
  -d '{hermione_body}'

# It may not do it for harry with hermione's token: 403, and nothing is stored.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
  -H 'Content-Type: application/json' \\
  -d '{harry_body}'

# Hermione, on another device, finds the cart: 200 and her carts, this one first.
curl -i 'http://localhost:{port}/v2/carts' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}'

# Who is on the cart: 200, hermione and ron.
curl -i '{url}' \\
  -H 'Authorization: Bearer {back_end}'

# Ron's carts, for a back end: 200, this one first.
curl -i 'http://localhost:{port}/v2/customers/ron/relationships/carts' \\
  -H 'Authorization: Bearer {back_end}'

# Ron is taken off the cart: 204. The same again: 204.
curl -i -X DELETE '{url}' \\
  -H 'Authorization: Bearer {back_end}' \\
  -H 'Content-Type: application/json' \\
  -d '{ron_body}'
",
        ron_body = body("ron"),
        hermione_body = body("hermione"),
        harry_body = body("harry"),
    );
    Ok(())
}
