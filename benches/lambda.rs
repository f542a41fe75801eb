//! What the function costs, beside two yardsticks: a `lambda_http` function that does nothing, and the same job done the
//! usual way (`yardsticks/`).
//!
//! `make bench` builds all three and runs this: it prints its table as it goes and writes it to `benches/figures.md`.
//! `make bench-instructions` counts the instructions of a request and compares them with `benches/instructions.json`.
//! Times are told as ratios to a yardstick that ran in turn with the function: machines differ, and are noisy.
//!
//! # Layout
//!
//! ```text
//! this program, as Lambda ──► one of the three, a process ──► embedded DynamoDB, with and without TLS
//! ```
//!
//! - `lambda/emulator.rs` has the database and its certificate;
//! - `lambda/runtime_api.rs` is the Runtime API, with the time at each end of an invocation;
//! - `lambda/program.rs` has the processes, and what the kernel knows of them;
//! - `lambda/callers.rs` makes events, with tokens that were seen and tokens that were not;
//! - `lambda/times.rs` measures, `lambda/instructions.rs` counts, `lambda/report.rs` writes down.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::ExitCode;

use anyhow::{Result, bail};

#[path = "lambda/callers.rs"]
mod callers;
#[path = "lambda/emulator.rs"]
mod emulator;
#[path = "lambda/instructions.rs"]
mod instructions;
#[path = "lambda/program.rs"]
mod program;
#[path = "lambda/report.rs"]
mod report;
#[path = "lambda/runtime_api.rs"]
mod runtime_api;
#[path = "../examples/local/table.rs"]
mod table;
#[path = "lambda/times.rs"]
mod times;
#[path = "../tests/it/support/tls.rs"]
mod tls;
#[path = "../examples/local/tokens.rs"]
#[allow(
    dead_code,
    reason = "shared with the local world, which keeps its keys in files"
)]
mod tokens;

use times::Extent;

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    match run().await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [] => times::measure(Extent::FULL).await?,
        ["quick"] => times::measure(Extent::QUICK).await?,
        ["instructions"] => return instructions::compare().await,
        ["instructions", "write"] => instructions::write().await?,
        ["profile", requests] => instructions::profile(requests.parse()?).await?,
        _ => bail!("usage: [quick | instructions [write] | profile REQUESTS]"),
    }
    Ok(ExitCode::SUCCESS)
}
