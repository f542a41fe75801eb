//! The function's executable: telemetry, configuration, AWS client, application.

use std::process::ExitCode;
use std::sync::Arc;
use std::{io, thread};

use aws_config::BehaviorVersion;
use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_sdk_dynamodb::config::{ProvideCredentials as _, Region};
use cart_associations::app::App;
use cart_associations::client::Client;
use cart_associations::clock::Clock;
use cart_associations::config::{Config, ConfigError};
use cart_associations::store::{self, Store};
use cart_associations::{auth, init_error, telemetry};
use lambda_runtime::service_fn;
use tokio::runtime::{Builder, Runtime};

fn main() -> ExitCode {
    let lookup = |name: &str| std::env::var(name).ok();
    match runtime(lookup) {
        Ok(runtime) => runtime.block_on(run(lookup)),
        Err(error) => {
            eprintln!("no runtime: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Creates a runtime: on all cores if Lambda sends several invocations at once
/// ("Lambda Managed Instances runtimes", AWS), else on this thread alone, where an
/// invocation costs less.
fn runtime(lookup: impl Fn(&str) -> Option<String>) -> io::Result<Runtime> {
    let at_once = lookup("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|number| number.parse().ok());
    // Counting the cores reads files of cgroups, which takes a fiftieth of a start.
    let has_cores = || thread::available_parallelism().is_ok_and(|cores| cores.get() > 1);
    let mut runtime = match at_once {
        Some(2_u32..) if has_cores() => Builder::new_multi_thread(),
        Some(_) | None => Builder::new_current_thread(),
    };
    // These threads look up names, which takes a millisecond.
    runtime.max_blocking_threads(4).enable_all().build()
}

async fn run(lookup: impl Fn(&str) -> Option<String>) -> ExitCode {
    let clock = Clock::system();
    telemetry::init(&lookup, clock.clone());
    if lookup("AWS_LAMBDA_RUNTIME_API").is_none() {
        tracing::error!(
            "this program runs under the Lambda Runtime API; `make run` starts it under one"
        );
        return ExitCode::FAILURE;
    }
    let config = match Config::from_lookup(&lookup) {
        Ok(config) => config,
        Err(error) => return refuse_to_start(&error).await,
    };
    let http = Client::new(&config.trusted_roots, store::CONNECT_TIMEOUT);
    let mut sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http.for_sdk())
        .region(Region::new(config.region.clone()));
    // Lambda sets credentials for the life of the process. Taking them from the
    // environment spares the SDK the preparation of its other providers, which takes
    // as long as the rest of its start.
    let credentials = EnvironmentVariableCredentialsProvider::new();
    if let Ok(credentials) = credentials.provide_credentials().await {
        sdk = sdk
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache());
    }
    let sdk = sdk.load().await;
    let keys = http.with_connect_limit(auth::KEYS_CONNECT_TIMEOUT);
    let store = Store::new(&sdk, config.table_name.clone());
    let app = Arc::new(App::new(config, store, &keys, clock));
    app.warm_up().await;

    let handle = service_fn(move |event| {
        let app = Arc::clone(&app);
        async move { app.handle(event).await }
    });
    match lambda_runtime::Runtime::new(handle).run_concurrent().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = error.to_string(), "the runtime stopped");
            ExitCode::FAILURE
        }
    }
}

/// Logs why the function does not start, and reports it to Lambda.
async fn refuse_to_start(error: &ConfigError) -> ExitCode {
    tracing::error!(cause = error.to_string(), "the configuration has faults");
    if let Err(error) = init_error::report(error).await {
        tracing::warn!(cause = error.to_string(), "the init error was not reported");
    }
    ExitCode::FAILURE
}
