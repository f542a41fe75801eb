//! The function's environment: what Lambda and the template set in the cloud.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::Result;

use crate::tokens::Authorities;

/// The region that the function and its credentials are for. Emulators accept any.
pub const REGION: &str = "us-east-1";

pub type Environment = BTreeMap<String, String>;

/// The variables for a function that trusts `authorities` and whose table is at a DynamoDB endpoint.
pub fn environment(
    authorities: &Authorities,
    endpoint: &str,
    table_name: &str,
) -> Result<Environment> {
    let Authorities {
        access, customer, ..
    } = authorities;
    let variables = [
        ("TABLE_NAME", table_name.to_owned()),
        ("ACCESS_TOKEN_JWKS", access.key.jwks()?),
        ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
        ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
        ("CUSTOMER_TOKEN_JWKS", customer.key.jwks()?),
        ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
        ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.to_owned()),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
    ];
    Ok(variables
        .map(|(name, value)| (name.to_owned(), value))
        .into())
}

/// The variables that make a function demand cart tokens from `authorities`.
pub fn cart_token_variables(authorities: &Authorities) -> Result<[(&'static str, String); 3]> {
    let Authorities { cart, .. } = authorities;
    Ok([
        ("CART_TOKEN_JWKS", cart.key.jwks()?),
        ("CART_TOKEN_ISSUER", cart.issuer.clone()),
        ("CART_TOKEN_AUDIENCE", cart.audience.clone()),
    ])
}

/// The variables that make a function accept account tokens from `authorities`.
pub fn account_token_variables(authorities: &Authorities) -> Result<[(&'static str, String); 4]> {
    let Authorities { account, .. } = authorities;
    Ok([
        ("ACCOUNT_TOKEN_JWKS", account.key.jwks()?),
        ("ACCOUNT_TOKEN_ISSUER", account.issuer.clone()),
        ("ACCOUNT_TOKEN_AUDIENCE", account.audience.clone()),
        ("ACCOUNT_ID_CLAIM", "account_id".to_owned()),
    ])
}

/// Gives a command the environment of a Lambda function: these variables, those that Lambda sets, and no others.
/// `runtime_api` is host and port.
pub fn set<'c>(
    command: &'c mut Command,
    runtime_api: &str,
    environment: &Environment,
) -> &'c mut Command {
    command
        .env_clear()
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
        .env("AWS_LAMBDA_FUNCTION_NAME", "test")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .envs(environment)
}
