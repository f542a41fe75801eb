//! The local world: the function under `cargo lambda watch`, an embedded DynamoDB, tokens, and a page to try the API.
//!
//! `make run`, `make dynamodb` and `make token` start it; `make test-page`, `make test-api` and `make test-clients` run a
//! command in a world of its own.
//!
//! # Layout
//!
//! ```text
//! browser ──► page                                  (PAGE_PORT)
//!    │
//!    └──────► gateway ──► cargo lambda watch ──► function ──► embedded DynamoDB
//!            (API_PORT)                                       (DYNAMODB_PORT)
//! ```
//!
//! - `page.rs` serves the page;
//! - `gateway.rs` is a stand-in for API Gateway;
//! - `issuer.rs` gives tokens to Elastic Path's clients;
//! - `function.rs` builds and starts the function;
//! - `world.rs` has what survives a restart.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail, ensure};
use dev::events::Events;
use dev::process::{Process, stop_requested};
use dev::runtime_api::RuntimeApi;
use dev::tokens::{self, Authorities};

mod function;
mod gateway;
mod issuer;
mod page;
mod world;

use gateway::{Gateway, Listeners};

const USAGE: &str = "usage: local run | dynamodb | token --grant GRANT | token --customer CUSTOMER | token --cart CART | with COMMAND…";

/// The customer whose token `with` gives its command.
const CUSTOMER: &str = "ron";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["run"] => until_stopped(run()).await,
        ["dynamodb"] => until_stopped(dynamodb()).await,
        ["token", "--grant", grant] => access_token(grant),
        ["token", "--customer", customer] => customer_token(customer),
        ["token", "--cart", cart] => cart_token(cart),
        ["with", program, ref arguments @ ..] => until_stopped(with(program, arguments)).await,
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

/// Does `work` until it ends or Ctrl-C is pressed. Then everything that it started ends too.
async fn until_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    tokio::select! {
        done = work => done,
        stopped = stop_requested() => {
            eprintln!("Stopped.");
            stopped
        }
    }
}

async fn run() -> Result<()> {
    // Reports a port that is taken before the build rather than after it.
    let api = listen("API_PORT", "the API", 9000).await?;
    let page = listen("PAGE_PORT", "the page", 9080).await?;
    let (api_port, page_port) = (api.port()?, page.port()?);
    let folder = world::folder()?;
    let authorities = Authorities::kept_in(&folder)?;
    let dynamodb_port = port("DYNAMODB_PORT", 8000)?;
    let errors_url = errors_url(page_port);
    let environment =
        world::start_dynamodb(&folder, dynamodb_port, &authorities, Some(errors_url)).await?;
    let env_file = world::write_env_file(&folder, &environment)?;
    world::write_events(&folder, &authorities)?;
    let endpoint = &environment["AWS_ENDPOINT_URL_DYNAMODB"];
    let events = Events::of_table(endpoint, dev::TABLE_NAME).await?;

    function::build().await?;
    eprintln!("Starting the function.");
    let invoke_port = function::free_port()?;
    let mut watch = function::watch(invoke_port, &env_file).await?;
    print_examples(api_port, page_port, &authorities)?;
    serve(api, page, &format!("127.0.0.1:{invoke_port}"), authorities)?;
    tokio::select! {
        ended = watch.ended() => bail!("cargo lambda watch ended ({}); the reason is above", ended?),
        failed = print(events) => failed,
    }
}

/// Prints the events that a deployed stack would send, as they happen.
async fn print(mut events: Events) -> Result<()> {
    loop {
        for event in events.next().await? {
            println!("Event: {event}");
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}

/// Runs a command in a world of its own, which is removed afterwards. The command finds it by environment variables.
async fn with(program: &str, arguments: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (api, page) = (Listeners::on(0).await?, Listeners::on(0).await?);
    let (api_port, page_port) = (api.port()?, page.port()?);
    let authorities = Authorities::kept_in(folder.path())?;
    let errors_url = errors_url(page_port);
    let environment =
        world::start_dynamodb(folder.path(), 0, &authorities, Some(errors_url)).await?;
    world::write_events(folder.path(), &authorities)?;
    let runtime_api = RuntimeApi::start().await?;
    let mut function = function::start_built(&runtime_api.address, &environment)?;
    tokio::select! {
        ready = runtime_api.requested(1) => ready?,
        ended = function.ended() => bail!("the function ended ({}); the reason is above", ended?),
    };
    let Authorities {
        access, customer, ..
    } = &authorities;
    let storefront = access.access_token("local-storefront", "implicit")?;
    let back_end = access.access_token("local-back-end", "client_credentials")?;
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env("API_URL", format!("http://localhost:{api_port}"))
        .env("PAGE_URL", format!("http://localhost:{page_port}"))
        .env("ACCESS_TOKEN", storefront)
        .env("CUSTOMER_TOKEN", customer.customer_token(CUSTOMER)?)
        .env("CUSTOMER", CUSTOMER)
        .env("EVENTS", folder.path().join("events"))
        .env("BACK_END_TOKEN", back_end);
    serve(api, page, &runtime_api.address, authorities)?;
    let missing = format!("{program} is not on the PATH");
    let mut command = Process::start(&mut command, &missing)?;
    tokio::select! {
        ended = command.ended() => ensure!(ended?.success(), "{program} failed; the reason is above"),
        ended = function.ended() => bail!("the function ended ({})", ended?),
    }
    Ok(())
}

/// Serves the page, and the API with a function that is invoked at `invoker`, host and port.
fn serve(api: Listeners, page: Listeners, invoker: &str, authorities: Authorities) -> Result<()> {
    let page_port = page.port()?;
    let authorities = Arc::new(authorities);
    // To browsers these are two origins.
    let page_origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{page_port}"));
    let mut origins = Vec::from(page_origins);
    let others = std::env::var("ALLOWED_ORIGINS").unwrap_or_default();
    let others = others.split(',').filter(|origin| !origin.is_empty());
    origins.extend(others.map(str::to_owned));
    let api_url = format!("http://localhost:{}", api.port()?);
    page.serve(&page::router(&api_url, Arc::clone(&authorities))?);
    api.serve(&Gateway::new(invoker, origins, authorities)?.router());
    Ok(())
}

/// The base of `links.about` in errors: the page explains them.
fn errors_url(page_port: u16) -> String {
    format!("http://localhost:{page_port}/errors.md")
}

async fn listen(variable: &str, what: &str, default: u16) -> Result<Listeners> {
    let port = port(variable, default)?;
    let taken = || format!("{what} cannot listen on port {port} ({variable}=… sets another)");
    Listeners::on(port).await.with_context(taken)
}

async fn dynamodb() -> Result<()> {
    let port = port("DYNAMODB_PORT", 8000)?;
    let folder = world::folder()?;
    let authorities = Authorities::kept_in(&folder)?;
    let environment = world::start_dynamodb(&folder, port, &authorities, None).await?;
    world::write_env_file(&folder, &environment)?;
    world::write_events(&folder, &authorities)?;
    println!(
        "DynamoDB answers on http://127.0.0.1:{port} until Ctrl-C. The function's environment is in .local/env:"
    );
    println!("\n    cargo lambda watch --env-file .local/env");
    std::future::pending().await
}

fn access_token(grant: &str) -> Result<()> {
    let authorities = Authorities::kept_in(&world::folder()?)?;
    let token = authorities.access.access_token("local-client", grant)?;
    println!("{token}");
    Ok(())
}

fn customer_token(customer: &str) -> Result<()> {
    let authorities = Authorities::kept_in(&world::folder()?)?;
    println!("{}", authorities.customer.customer_token(customer)?);
    Ok(())
}

fn cart_token(cart: &str) -> Result<()> {
    let authorities = Authorities::kept_in(&world::folder()?)?;
    println!("{}", authorities.cart.cart_token(cart)?);
    Ok(())
}

/// The port in an environment variable, or `default`.
fn port(name: &str, default: u16) -> Result<u16> {
    match std::env::var(name) {
        Ok(port) => port
            .parse()
            .with_context(|| format!("{name} is not a port: it is {port:?}")),
        Err(_) => Ok(default),
    }
}

/// Prints requests to paste. Each run has a cart of its own, so that the answers are as printed, whatever is stored.
fn print_examples(port: u16, page_port: u16, authorities: &Authorities) -> Result<()> {
    let back_end = authorities
        .access
        .access_token("local-back-end", "client_credentials")?;
    let storefront = authorities
        .access
        .access_token("local-storefront", "implicit")?;
    let hermione = authorities.customer.customer_token("hermione")?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let cart = format!("cart-{}", now.as_secs());
    let proof = if world::demands_cart_tokens() {
        let token = authorities.cart.cart_token(&cart)?;
        format!("  -H 'x-cart-token: {token}' \\\n")
    } else {
        String::new()
    };
    let url = format!("http://localhost:{port}/v2/carts/{cart}/relationships/customers");
    let body = |customer: &str| format!(r#"{{"data":[{{"type":"customer","id":"{customer}"}}]}}"#);

    let hours = tokens::LIFETIME.as_secs() / 3600;
    println!(
        "
The API answers on http://localhost:{port} until Ctrl-C. Try it in a browser: http://localhost:{page_port}

Elastic Path's clients work with it too, see docs/elastic-path.md. FOR THEM, IT GIVES DEVELOPMENT TOKENS TO ANYONE ON THIS
MACHINE: POST http://localhost:{port}/oauth/access_token. A deployed API has no such path.

Or paste these lines in another terminal. Their tokens are valid for {hours} hours.

# A back end (client_credentials) associates the cart with ron: 200 and the association. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {back_end}' \\
  -H 'Content-Type: application/json' \\
  -d '{ron_body}'

# A storefront (implicit) associates it with hermione, who has signed in: 200. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
{proof}  -H 'Content-Type: application/json' \\
  -d '{hermione_body}'

# With hermione's token it cannot associate harry: 403, and nothing is stored.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
{proof}  -H 'Content-Type: application/json' \\
  -d '{harry_body}'

# Hermione's carts, for her on another device: 200, this one first.
curl -i 'http://localhost:{port}/v2/carts' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}'

# The cart's customers: 200, hermione and ron.
curl -i '{url}' \\
  -H 'Authorization: Bearer {back_end}'

# Ron's carts, for a back end: 200, this one first.
curl -i 'http://localhost:{port}/v2/customers/ron/relationships/carts' \\
  -H 'Authorization: Bearer {back_end}'

# A back end removes ron from the cart: 204. The same again: 204.
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
