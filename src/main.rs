//! The Lambda's executable: telemetry, configuration, AWS client, application.

use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use cart_associations::app::App;
use cart_associations::clock::Clock;
use cart_associations::config::{Config, ConfigError};
use cart_associations::http::Client;
use cart_associations::store::{self, Store};
use cart_associations::{auth, init_error, telemetry};
use lambda_runtime::{Runtime, service_fn};

/// What Lambda gives every function of region and credentials. Where it is all
/// there, the SDK need not make ready for the other places where it would look
/// then: that takes as long as the rest of its start.
const SESSION: [&str; 3] = ["AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"];

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let lookup = |name: &str| std::env::var(name).ok();
    let clock = Clock::system();
    telemetry::init(lookup, clock.clone());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_none() {
        tracing::error!(
            "this program runs under the Lambda Runtime API; `make run` starts it under one"
        );
        return ExitCode::FAILURE;
    }
    let config = match Config::from_lookup(lookup) {
        Ok(config) => config,
        Err(error) => return refuse_to_start(&error).await,
    };
    let http = Client::new(&config.trusted_roots, store::CONNECT_TIMEOUT);
    let mut sdk = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http.for_sdk());
    if SESSION
        .iter()
        .all(|name| lookup(name).is_some_and(|value| !value.is_empty()))
    {
        sdk = sdk
            .region(EnvironmentVariableRegionProvider::new())
            .credentials_provider(EnvironmentVariableCredentialsProvider::new());
    }
    let sdk = sdk.load().await;
    if sdk.region().is_none() {
        return refuse_to_start(&ConfigError::one("AWS_REGION is required")).await;
    }
    let keys = http.with_connect_limit(auth::KEYS_CONNECT_TIMEOUT);
    let store = Store::new(&sdk, config.table_name.clone());
    let app = App::new(config, store, &keys, clock);
    app.warm_up().await;

    let handle = service_fn(|event| app.handle(event));
    match Runtime::new(handle).run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = error.to_string(), "the runtime stopped");
            ExitCode::FAILURE
        }
    }
}

/// Tells the operator, in the log and through Lambda, why there is nothing to
/// invoke.
async fn refuse_to_start(error: &ConfigError) -> ExitCode {
    tracing::error!(cause = error.to_string(), "the configuration is not usable");
    if let Err(error) = init_error::report(error).await {
        tracing::warn!(cause = error.to_string(), "Lambda was not told");
    }
    ExitCode::FAILURE
}
