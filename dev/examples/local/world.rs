//! What is kept in a folder, the git-ignored `.local`, so that it survives a restart: data, keys, and for cargo-lambda the
//! function's environment and sample events.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dev::TABLE_NAME;
use dev::dynamodb::{Client, Emulator};
use dev::environment::{Environment, cart_token_variables, environment};
use dev::tokens::Authorities;

/// The customer in the samples of `events/`.
pub(crate) const SAMPLE_CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// The cart in the samples of `events/`.
pub(crate) const SAMPLE_CART: &str = "3f7c1c9e-5d0b-4b57-9a52-7c1f3f0c8a11";

/// Whether the function demands cart tokens: if `CART_TOKENS` is set.
pub(crate) fn demands_cart_tokens() -> bool {
    std::env::var("CART_TOKENS").is_ok_and(|value| !value.is_empty())
}

/// The folder.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = dev::project().join(".local");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} could not be created", folder.display()))?;
    Ok(folder)
}

/// Starts the embedded DynamoDB on `port`, or on a free port if that is 0, with the table and its stream. Returns the
/// function's environment; `errors_url` is where the page explains errors, if there is a page. With `DYNAMODB_ENDPOINT`,
/// that DynamoDB is used instead.
pub(crate) async fn start_dynamodb(
    folder: &Path,
    port: u16,
    authorities: &Authorities,
    errors_url: Option<String>,
) -> Result<Environment> {
    let endpoint = match std::env::var("DYNAMODB_ENDPOINT") {
        Ok(endpoint) => endpoint,
        Err(_) => Emulator::with_file(port, &folder.join("dynamodb.sqlite"))?.endpoint,
    };
    let client = Client::new(&endpoint);
    client.create_table(TABLE_NAME).await?;
    client.enable_stream(TABLE_NAME).await?;
    let mut environment = environment(authorities, &endpoint, TABLE_NAME)?;
    let lifetime = std::env::var("ASSOCIATION_LIFETIME_DAYS").ok();
    environment.extend(lifetime.map(|days| ("ASSOCIATION_LIFETIME_DAYS".to_owned(), days)));
    environment.extend(errors_url.map(|url| ("ERROR_DOCS_URL".to_owned(), url)));
    if demands_cart_tokens() {
        let variables = cart_token_variables(authorities)?;
        environment.extend(variables.map(|(name, value)| (name.to_owned(), value)));
    }
    environment.extend(std::env::vars().filter(|(name, _)| is_of_tokens(name)));
    Ok(environment)
}

/// Whether a variable configures tokens. One that is set, even to nothing, replaces the local world's, for a function that
/// trusts another issuer.
fn is_of_tokens(variable: &str) -> bool {
    let kind = variable.split_once("_TOKEN_").map(|(kind, _)| kind);
    matches!(kind, Some("ACCESS" | "CUSTOMER" | "ACCOUNT" | "CART"))
        || variable.starts_with("BACK_END_") && variable != "BACK_END_TOKEN"
        || variable.ends_with("_ID_CLAIM")
}

/// Writes an environment to a file for `cargo lambda watch --env-file`.
pub(crate) fn write_env_file(folder: &Path, environment: &Environment) -> Result<PathBuf> {
    let mut text = String::from("# Written by `make run` and `make dynamodb`.\n");
    for (name, value) in environment {
        // cargo-lambda and shells read text in single quotes as it is. cargo-lambda refuses JSON without quotes.
        writeln!(text, "{name}='{value}'")?;
    }
    let path = folder.join("env");
    std::fs::write(&path, text)
        .with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}

/// Writes the samples of `events/`, with valid tokens, to `events/` in this folder, for `cargo lambda invoke`.
pub(crate) fn write_events(folder: &Path, authorities: &Authorities) -> Result<()> {
    let Authorities {
        access,
        customer,
        cart,
    } = authorities;
    let tokens = [
        (
            "CLIENT_CREDENTIALS_TOKEN",
            access.access_token("local-back-end", "client_credentials")?,
        ),
        (
            "IMPLICIT_TOKEN",
            access.access_token("local-storefront", "implicit")?,
        ),
        ("CUSTOMER_TOKEN", customer.customer_token(SAMPLE_CUSTOMER)?),
        ("CART_TOKEN", cart.cart_token(SAMPLE_CART)?),
    ];
    let copies = folder.join("events");
    std::fs::create_dir_all(&copies)?;
    for sample in std::fs::read_dir(dev::project().join("events"))? {
        let sample = sample?;
        let mut event = std::fs::read_to_string(sample.path())?;
        for (placeholder, token) in &tokens {
            event = event.replace(placeholder, token);
        }
        std::fs::write(copies.join(sample.file_name()), event)?;
    }
    Ok(())
}
