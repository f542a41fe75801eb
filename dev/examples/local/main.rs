//! The local world: the function under `cargo lambda watch`, an embedded DynamoDB, tokens, and pages to try the API.
//!
//! `make run`, `make dynamodb` and `make token` start it; `make test-page`, `make test-api` and `make test-clients` run a
//! command beside one that is theirs alone.
//!
//! # Layout
//!
//! ```text
//! browser ──► page                                      (PAGE_PORT)
//!    │
//!    └──────► api_gateway ──► cargo lambda watch ──► function ──► database
//!              (API_PORT)                                      (DYNAMODB_PORT)
//! ```
//!
//! - `page.rs` serves the pages;
//! - `api_gateway.rs` is a stand-in for API Gateway;
//! - `issuer.rs` gives tokens to Elastic Path's clients;
//! - `function.rs` builds and starts the function;
//! - `database.rs` is the embedded DynamoDB;
//! - `ports.rs` keeps all of them from other machines and other sites' pages;
//! - `tokens.rs` has the callers' tokens, and the function's environment;
//! - `files.rs` has what survives a restart;
//! - `output.rs` prints.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Result, bail, ensure};
use dev::changes::Changes;
use dev::process::{Process, stop_requested};
use dev::runtime_api::RuntimeApi;

mod api_gateway;
mod database;
mod files;
mod function;
mod issuer;
mod output;
mod page;
mod ports;
mod tokens;

use ports::{Listeners, Upstream};
use tokens::Tokens;

const USAGE: &str = "usage: local run | dynamodb | with COMMAND… | token --grant GRANT | token --customer CUSTOMER | \
    token --account ACCOUNT [--person PERSON] | token --cart CART";

/// The customer whose token `with` gives its command, who also buys for the account.
const CUSTOMER: &str = "ron";
const ACCOUNT: &str = "acme";

#[tokio::main]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["run"] => until_stopped(run()).await,
        ["dynamodb"] => until_stopped(dynamodb()).await,
        ["with", program, ref arguments @ ..] => until_stopped(with(program, arguments)).await,
        ["token", ref of @ ..] => token(of),
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
    let api = Listeners::configured("API_PORT", "the API", 9000).await?;
    let page = Listeners::configured("PAGE_PORT", "the page", 9080).await?;
    let database = database::listeners().await?;
    let (api_port, page_port) = (api.port()?, page.port()?);
    let folder = files::folder()?;
    let lock = files::lock(&folder)?;
    if lock.is_none() {
        eprintln!(
            "Another `make run` or `make dynamodb` runs in this folder. This one shares its data."
        );
    }
    let tokens = Tokens::kept_in(&folder)?;
    let endpoint = database::start(&folder, database).await?;
    let environment = tokens.environment(&endpoint, Some(errors_url(page_port)))?;
    let environment = files::write_environment(&folder, &environment)?;
    files::write_samples(&folder, &tokens)?;
    let changes = Changes::of_table(&endpoint, dev::TABLE_NAME).await?;

    function::build().await?;
    eprintln!("Starting the function.");
    let invoke_port = function::free_port()?;
    let mut watch = function::watch(invoke_port, &environment).await?;
    output::print_welcome(api_port, page_port, &tokens)?;
    serve(api, page, &format!("127.0.0.1:{invoke_port}"), tokens)?;
    tokio::select! {
        ended = watch.ended() => bail!("cargo lambda watch ended ({}); the reason is above", ended?),
        failed = output::print_changes(changes) => failed,
    }
}

/// Runs a command beside an API and a database of its own, which are removed afterwards. The command finds them by
/// environment variables.
async fn with(program: &str, arguments: &[&str]) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let (api, page) = (Listeners::on(0).await?, Listeners::on(0).await?);
    let (api_port, page_port) = (api.port()?, page.port()?);
    let tokens = Tokens::kept_in(folder.path())?;
    let endpoint = database::start(folder.path(), Listeners::on(0).await?).await?;
    let environment = tokens.environment(&endpoint, Some(errors_url(page_port)))?;
    files::write_samples(folder.path(), &tokens)?;
    let runtime_api = RuntimeApi::start().await?;
    let mut function = function::start_built(&runtime_api.address, &environment)?;
    tokio::select! {
        ready = runtime_api.requested(1) => ready?,
        ended = function.ended() => bail!("the function ended ({}); the reason is above", ended?),
    };
    let mut command = tokio::process::Command::new(program);
    command
        .args(arguments)
        .env("API_URL", format!("http://localhost:{api_port}"))
        .env("PAGE_URL", format!("http://localhost:{page_port}"))
        .env("DYNAMODB_URL", &endpoint)
        .env("ACCESS_TOKEN", tokens.storefront()?)
        .env("CUSTOMER_TOKEN", tokens.customer(CUSTOMER)?)
        .env("CUSTOMER", CUSTOMER)
        .env("ACCOUNT_TOKEN", tokens.account(ACCOUNT, CUSTOMER)?)
        .env("ACCOUNT", ACCOUNT)
        .env("EVENTS", folder.path().join("events"))
        .env("BACK_END_TOKEN", tokens.back_end()?);
    serve(api, page, &runtime_api.address, tokens)?;
    let missing = format!("{program} is not on the PATH");
    let mut command = Process::start(&mut command, &missing)?;
    tokio::select! {
        ended = command.ended() => ensure!(ended?.success(), "{program} failed; the reason is above"),
        ended = function.ended() => bail!("the function ended ({})", ended?),
    }
    Ok(())
}

/// Serves the pages, and the API with a function that is invoked at `invoker`, host and port.
fn serve(api: Listeners, page: Listeners, invoker: &str, tokens: Tokens) -> Result<()> {
    let page_port = page.port()?;
    let tokens = Arc::new(tokens);
    // To browsers these are two origins.
    let page_origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{page_port}"));
    let mut origins = Vec::from(page_origins);
    let others = std::env::var("ALLOWED_ORIGINS").unwrap_or_default();
    let others = others.split(',').filter(|origin| !origin.is_empty());
    origins.extend(others.map(str::to_owned));
    let api_url = format!("http://localhost:{}", api.port()?);
    page.serve(page::router(&api_url, Arc::clone(&tokens))?);
    api.serve(api_gateway::router(
        Upstream::new(invoker)?,
        &origins,
        tokens,
    )?);
    Ok(())
}

/// The base of `links.about` in errors: a page explains them.
fn errors_url(page_port: u16) -> String {
    format!("http://localhost:{page_port}/errors.md")
}

async fn dynamodb() -> Result<()> {
    let listeners = database::listeners().await?;
    let folder = files::folder()?;
    let _lock = files::lock(&folder)?;
    let tokens = Tokens::kept_in(&folder)?;
    let endpoint = database::start(&folder, listeners).await?;
    files::write_environment(&folder, &tokens.environment(&endpoint, None)?)?;
    files::write_samples(&folder, &tokens)?;
    println!(
        "DynamoDB answers on {endpoint} until Ctrl-C. The function's environment is in .local/env:"
    );
    println!("\n    cargo lambda watch --package cart-associations --env-file .local/env");
    std::future::pending().await
}

/// Prints a token alone, so that it fits in `$(…)`.
fn token(of: &[&str]) -> Result<()> {
    let tokens = Tokens::kept_in(&files::folder()?)?;
    let token = match *of {
        ["--grant", grant] => tokens.access("local-client", grant),
        ["--customer", customer] => tokens.customer(customer),
        ["--account", account] => tokens.account(account, CUSTOMER),
        ["--account", account, "--person", person] => tokens.account(account, person),
        ["--cart", cart] => tokens.cart(cart),
        _ => bail!(USAGE),
    };
    println!("{}", token?);
    Ok(())
}
