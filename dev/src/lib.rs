//! Everything around the function: what `make run`, the integration tests, the load test and the benchmark share.
//!
//! Nothing here uses the function's own code, so it can disagree with it, and neither has to be built for the other.
//!
//! # Layout
//!
//! What Lambda and API Gateway do:
//! - [`environment`] sets the function's environment variables;
//! - [`runtime_api`] sends events to the function;
//! - [`api_gateway`] makes events of HTTP requests.
//!
//! What the function calls:
//! - [`dynamodb`] is the embedded DynamoDB and the table of `template.yaml`;
//! - [`proxy`] injects faults in front of it;
//! - [`key_server`] serves key sets, with faults of its own;
//! - [`tls`] (a feature, because `make run` does without) has certificates for them.
//!
//! The rest:
//! - [`tokens`] makes keys and tokens;
//! - [`template`] reads `template.yaml`;
//! - [`changes`] has the events that it makes of changes to the table;
//! - [`process`] runs programs and measures them;
//! - [`random`] makes pseudo-random numbers.
//!
//! The programs are in `examples/`: `local` (`make run`, `make token` and others), `load` (`make load`) and `bench`
//! (`make bench`, `make bench-instructions`), which measures the function beside those in `yardsticks/` and writes
//! `figures.md`. They are examples because `cargo lambda watch` has no default route in a workspace with two binaries.

use std::path::Path;

pub mod api_gateway;
pub mod changes;
pub mod dynamodb;
pub mod environment;
pub mod key_server;
pub mod process;
pub mod proxy;
pub mod random;
pub mod runtime_api;
pub mod template;
#[cfg(feature = "tls")]
pub mod tls;
pub mod tokens;

/// The name of the function's executable.
pub const FUNCTION: &str = "cart-associations";

/// The name of the table in the local world, the load test and the benchmark.
pub const TABLE_NAME: &str = "cart-associations";

/// The folder of the project.
pub fn project() -> &'static Path {
    let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    crate_folder.parent().expect("this crate is in a folder")
}
