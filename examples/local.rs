//! The local world, for development only: the function under `cargo lambda watch`, an embedded DynamoDB, tokens, and a
//! page to try the API.
//!
//! `make` knows how to start it: `make run`, `make dynamodb`, `make token`; and `make test-page`, `make test-api`,
//! `make test-clients` for a command that needs a world of its own.
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
//! - `gateway.rs` does what API Gateway does, for browsers as `cors.rs` reads in the template;
//! - `function.rs` builds and starts the function;
//! - `world.rs` has what the function needs around it;
//! - `table.rs` and `tokens.rs` make the table and the tokens, for the integration tests as well;
//! - `process.rs` sees to it that nothing is left running.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::signal::unix::{SignalKind, signal};

#[path = "local/cors.rs"]
mod cors;
#[path = "local/function.rs"]
mod function;
#[path = "local/gateway.rs"]
mod gateway;
#[path = "local/page.rs"]
mod page;
#[path = "local/process.rs"]
mod process;
#[path = "local/table.rs"]
mod table;
#[path = "local/tokens.rs"]
mod tokens;
#[path = "local/world.rs"]
mod world;

use gateway::{Gateway, Listeners};
use process::Process;
use world::Authorities;

const USAGE: &str = "usage: local run | dynamodb | token --grant GRANT | token --customer CUSTOMER | token --cart CART | with COMMAND…";

/// The customer whose token a command gets that runs `with` a world.
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
    let dynamodb_port = port("DYNAMODB_PORT", 8000)?;
    // A taken port is better told before the build than after it.
    let api = listen("API_PORT", "the API", 9000).await?;
    let page = listen("PAGE_PORT", "the page", 9080).await?;
    let (api_port, page_port) = (api.port()?, page.port()?);
    let folder = world::folder()?;
    world::start_dynamodb(&folder, dynamodb_port).await?;
    let authorities = Authorities::kept_in(&folder)?;
    world::write_events(&folder, &authorities)?;
    let environment = world::environment(&authorities, dynamodb_port, Some(errors_url(page_port)))?;
    let env_file = world::write_env_file(&folder, &environment)?;

    eprintln!("Building the function. The first time this takes minutes.");
    function::build().await?;
    eprintln!("Starting the function.");
    let inner_port = function::free_port()?;
    let mut watch = function::watch(inner_port, &env_file).await?;
    print_examples(api_port, page_port, &authorities)?;
    serve(api, page, inner_port, authorities)?;
    let ended = watch.ended().await?;
    bail!("cargo lambda watch ended ({ended}); the reason is above")
}

/// Runs a command with a world of its own, of which nothing is left, and tells it the way by its environment.
async fn with(program: &str, arguments: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (api, page) = (Listeners::at(0).await?, Listeners::at(0).await?);
    let (api_port, page_port) = (api.port()?, page.port()?);
    let dynamodb_port = world::start_dynamodb(folder.path(), 0).await?;
    let authorities = Authorities::kept_in(folder.path())?;
    let environment = world::environment(&authorities, dynamodb_port, Some(errors_url(page_port)))?;
    let inner_port = function::free_port()?;
    let mut function = function::run_built(inner_port, environment).await?;
    let Authorities {
        access, customer, ..
    } = &authorities;
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env("API_URL", format!("http://localhost:{api_port}"))
        .env("PAGE_URL", format!("http://localhost:{page_port}"))
        .env(
            "ACCESS_TOKEN",
            access.access_token("local-storefront", "implicit")?,
        )
        .env("CUSTOMER_TOKEN", customer.customer_token(CUSTOMER)?)
        .env("CUSTOMER", CUSTOMER)
        .env(
            "BACK_END_TOKEN",
            access.access_token("local-back-end", "client_credentials")?,
        );
    serve(api, page, inner_port, authorities)?;
    let missing = format!("{program} is not on the PATH");
    let mut command = Process::start(&mut command, &missing)?;
    let [function, emulator] = &mut function;
    tokio::select! {
        ended = command.ended() => ensure!(ended?.success(), "{program} failed; the reason is above"),
        ended = emulator.ended() => bail!("cargo lambda watch ended ({})", ended?),
        ended = function.ended() => bail!("the function ended ({})", ended?),
    }
    Ok(())
}

/// Serves the API, whose function is run at `inner_port`, and the page.
fn serve(api: Listeners, page: Listeners, inner_port: u16, authorities: Authorities) -> Result<()> {
    let page_port = page.port()?;
    // One page to people, two origins to browsers.
    let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{page_port}"));
    let api_url = format!("http://localhost:{}", api.port()?);
    page.serve(&page::router(&api_url, authorities)?);
    api.serve(&Gateway::new(inner_port, origins.into())?.router());
    Ok(())
}

/// The base of `links.about`: the page has it.
fn errors_url(page_port: u16) -> String {
    format!("http://localhost:{page_port}/errors.md")
}

async fn listen(variable: &str, what: &str, default: u16) -> Result<Listeners> {
    let port = port(variable, default)?;
    let taken = || format!("{what} cannot have port {port} (choose another with {variable}=…)");
    Listeners::at(port).await.with_context(taken)
}

async fn dynamodb() -> Result<()> {
    let port = port("DYNAMODB_PORT", 8000)?;
    let folder = world::folder()?;
    world::start_dynamodb(&folder, port).await?;
    let authorities = Authorities::kept_in(&folder)?;
    world::write_events(&folder, &authorities)?;
    world::write_env_file(&folder, &world::environment(&authorities, port, None)?)?;
    println!(
        "DynamoDB answers on http://127.0.0.1:{port}, until Ctrl-C. The function's environment is in .local/env:"
    );
    println!("\n    cargo lambda watch --env-file .local/env");
    std::future::pending().await
}

fn access_token(grant: &str) -> Result<()> {
    println!(
        "{}",
        Authorities::kept_in(&world::folder()?)?
            .access
            .access_token("local-client", grant)?
    );
    Ok(())
}

fn customer_token(customer: &str) -> Result<()> {
    println!(
        "{}",
        Authorities::kept_in(&world::folder()?)?
            .customer
            .customer_token(customer)?
    );
    Ok(())
}

fn cart_token(cart: &str) -> Result<()> {
    println!(
        "{}",
        Authorities::kept_in(&world::folder()?)?
            .cart
            .cart_token(cart)?
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
The API answers on http://localhost:{port}, until Ctrl-C. Try it in a browser: http://localhost:{page_port}

Or paste these lines in another terminal; their tokens are good for {hours} hours.

# A back end (client_credentials) ties the cart to ron: 200 and the association. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {back_end}' \\
  -H 'Content-Type: application/json' \\
  -d '{ron_body}'

# A storefront (implicit) does it for hermione, who has signed in: 200. The same again: 204.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
{proof}  -H 'Content-Type: application/json' \\
  -d '{hermione_body}'

# It may not do it for harry with hermione's token: 403, and nothing is stored.
curl -i '{url}' \\
  -H 'Authorization: Bearer {storefront}' \\
  -H 'x-moltin-customer-token: {hermione}' \\
{proof}  -H 'Content-Type: application/json' \\
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
