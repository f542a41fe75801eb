//! The benchmark: what the function costs beside four yardsticks, a `lambda_http` function that does nothing and the same
//! job done the usual way in Python, JavaScript and Rust (`dev/yardsticks/`).
//!
//! `make bench` builds or installs all of them and starts it. It prints its tables as it goes and writes them to
//! `dev/figures.md`, `docs/performance.md` and the README, with charts in `docs/`.
//! `make bench-instructions` counts the instructions of a start and of a request. Times are compared as ratios to a
//! yardstick that took turns with the function, because machines differ and are noisy.
//!
//! # Layout
//!
//! ```text
//! this program, as Lambda ──► one of the five, a process ──► store, with and without TLS
//! ```
//!
//! - `store.rs` has the embedded DynamoDB, and one that only waits;
//! - `program.rs` has the processes;
//! - `callers.rs` makes events, with tokens that the function has seen or not;
//! - `times.rs` measures one request at a time, `at_once.rs` many; `instructions.rs` counts;
//! - `report.rs` makes the tables, `charts.rs` the charts.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::process::ExitCode;

use anyhow::{Result, bail};

mod at_once;
mod callers;
mod charts;
mod instructions;
mod program;
mod report;
mod store;
mod times;

use times::Scale;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => times::measure(Scale::FULL).await,
        ["quick"] => times::measure(Scale::QUICK).await,
        ["instructions"] => instructions::check().await,
        _ => bail!("usage: bench [quick | instructions]"),
    }
}
