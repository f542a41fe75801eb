//! The function's executable: telemetry, configuration, AWS client, application.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use std::{io, thread};

use aws_config::environment::EnvironmentVariableCredentialsProvider;
use aws_config::identity::IdentityCache;
use aws_config::{BehaviorVersion, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_dynamodb::config::{ProvideCredentials as _, Region};
use cart_associations::app::App;
use cart_associations::client::Client;
use cart_associations::clock::Clock;
use cart_associations::config::{Config, ConfigError};
use cart_associations::store::{self, Store};
use cart_associations::{auth, gateway, init_error, telemetry};
use lambda_runtime::service_fn;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;
use tokio::time::timeout;

/// The time limit for finding credentials outside of the environment. Lambda allows
/// the whole start ten seconds.
const CREDENTIALS_LIMIT: Duration = Duration::from_secs(5);

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
    let client = |limit| Client::new(&config.trusted_roots, limit);
    let mut sdk = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(client(store::CONNECT_TIMEOUT).for_sdk())
        .region(Region::new(config.region.clone()));
    // Lambda sets credentials for the life of the process. Taking them from the
    // environment spares the SDK the preparation of its other providers, which takes
    // as long as the rest of its start.
    let environment = EnvironmentVariableCredentialsProvider::new();
    if let Ok(credentials) = environment.provide_credentials().await {
        sdk = sdk
            .credentials_provider(credentials)
            .identity_cache(IdentityCache::no_cache());
    }
    let sdk = sdk.load().await;
    if lacks_credentials(&sdk).await {
        let problems = vec!["AWS credentials are required".to_owned()];
        return refuse_to_start(&ConfigError { problems }).await;
    }
    let keys = client(auth::KEYS_CONNECT_TIMEOUT);
    let store = Store::new(&sdk, config.table_name.clone());
    let app = Arc::new(App::new(config, store, &keys, clock));
    app.warm_up().await;

    // Each of lambda_runtime's workers has a clone of the handler until it ends.
    let worker = Worker(Arc::default());
    let worker_ended = Arc::clone(&worker.0);
    let handle = service_fn(move |event| {
        let Worker(_) = &worker;
        let app = Arc::clone(&app);
        async move { gateway::handle(&app, event).await }
    });
    let runtime = lambda_runtime::Runtime::new(handle);
    let stopped = tokio::select! {
        biased;
        stopped = runtime.run_concurrent() => stopped,
        () = worker_ended.notified() => Err("a worker ended".into()),
    };
    match stopped {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(cause = error.to_string(), "the runtime stopped");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether no provider of the SDK has credentials. One that takes too long
/// may have some.
async fn lacks_credentials(sdk: &SdkConfig) -> bool {
    let Some(provider) = sdk.credentials_provider() else {
        return true;
    };
    let credentials = timeout(CREDENTIALS_LIMIT, provider.provide_credentials()).await;
    matches!(
        credentials,
        Ok(Err(CredentialsError::CredentialsNotLoaded(_)))
    )
}

/// Notifies when a clone is dropped.
///
/// A worker of lambda_runtime ends with an invocation whose client context it cannot
/// parse, and the others go on: with the last of them ends the process, and until
/// then it is slow. Ending it with the first one lets Lambda start another.
#[derive(Clone)]
struct Worker(Arc<Notify>);

impl Drop for Worker {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

/// Logs why the function does not start, and reports it to Lambda.
async fn refuse_to_start(error: &ConfigError) -> ExitCode {
    tracing::error!(cause = error.to_string(), "the configuration has problems");
    if let Err(error) = init_error::report(error).await {
        tracing::warn!(cause = error.to_string(), "the init error was not reported");
    }
    ExitCode::FAILURE
}
