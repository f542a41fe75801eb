//! The load test: copies of the built function under mixed traffic and faults.
//!
//! `make load` starts it; with `LOAD_COPIES=1 LOAD_AT_ONCE=32`, one copy handles that many requests at once. It fails if an
//! answer is wrong, the table disagrees with the answers, a copy ends, or a copy grows.
//!
//! # Layout
//!
//! ```text
//! wrk ──► this program, as API Gateway and Lambda ──► copies of the function ──► proxy (faults) ──► embedded DynamoDB
//! ```
//!
//! - `traffic.lua` makes the requests that wrk sends;
//! - `world.rs` has what is around the function, and injects the faults;
//! - `copies.rs` has the processes of the function;
//! - `ledger.rs` records the answers and compares them with the table.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dev::process::{Process, stop_requested};
use tokio::process::Command;

mod copies;
mod ledger;
mod world;

use copies::Copies;
use world::World;

/// How long the copies are under load before their memory is first measured. By then connections are open, and most of
/// the code has run.
const WARM_UP: Duration = Duration::from_secs(5);

/// Two for each request that is handled at once, so that when it is answered the next one is waiting.
const CONNECTIONS_PER_REQUEST: u64 = 2;

const TRAFFIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load/traffic.lua");

#[tokio::main]
async fn main() -> ExitCode {
    let done = tokio::select! {
        done = load() => done,
        stopped = stop_requested() => stopped.and_then(|()| bail!("stopped before the end")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn load() -> Result<()> {
    let duration = Duration::from_secs(setting("LOAD_SECONDS", 30)?);
    let count = setting("LOAD_COPIES", 4)?;
    let at_once = setting("LOAD_AT_ONCE", 1)?;
    let connections = count * at_once * CONNECTIONS_PER_REQUEST;
    let world = World::start().await?;
    let mut environment = world.environment()?;
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), at_once.to_string());
    let mut copies = Copies::start(count, &environment, &world.api.address)?;
    println!(
        "{count} copies that handle {at_once} at once, {connections} connections, {} s after {} s of warm-up",
        duration.as_secs(),
        WARM_UP.as_secs()
    );

    let ids = copies.ids();
    let run = async {
        wrk(&world, "warm-up", WARM_UP, connections).await?;
        let before = copies::usages(&ids)?;
        println!("After the warm-up:");
        wrk(&world, "load", duration, connections).await?;
        anyhow::Ok((before, copies::usages(&ids)?))
    };
    let (before, after) = tokio::select! {
        usages = run => usages?,
        ended = copies.one_ended() => bail!("{}", ended?),
    };
    let ledger = world.answers().await?;
    let warnings = copies.end().await?;

    let (calls, faults) = world.calls();
    let stored = world.stored().await?;
    let mut failures = ledger.check(&stored);
    for (copy, (before, after)) in before.into_iter().zip(&after).enumerate() {
        let (first, last, peak) = (before.resident_kib, after.resident_kib, after.peak_kib);
        let copy = copy + 1;
        println!(
            "copy {copy}: {first} KiB after the warm-up, {last} KiB at the end, peak {peak} KiB"
        );
        if copies::has_grown(before, *after) {
            failures.push(format!("copy {copy} grew"));
        }
    }
    let processor: Duration = after.iter().map(|usage| usage.processor).sum();
    let processor = processor / u32::try_from(ledger.answers())?;
    println!("processor time of the function: {processor:.1?} per request");
    println!("{ledger}");
    for (warning, times) in &warnings {
        println!("logged {times} times: {warning}");
    }
    println!("calls to DynamoDB: {calls}, {faults} of them with a fault");
    println!("associations in the table: {}", stored.len());
    for failure in &failures {
        println!("FAILURE: {failure}");
    }
    ensure!(failures.is_empty(), "the failures are listed above");
    println!("The table agrees with the answers, and no copy grew.");
    Ok(())
}

/// Has wrk send the traffic of a run. The carts' ids begin with the name of the run.
async fn wrk(world: &World, run: &str, duration: Duration, connections: u64) -> Result<()> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "2", "--latency", "--timeout", "15s"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .args(["--script", TRAFFIC, &world.url, "--", run])
        .envs(world.tokens()?);
    let ended = Process::start(&mut wrk, "wrk is not on the PATH")?
        .ended()
        .await?;
    ensure!(
        ended.success(),
        "wrk ended with {ended}: requests had no answer"
    );
    Ok(())
}

/// The number in an environment variable, or `default`.
fn setting(name: &str, default: u64) -> Result<u64> {
    let number = match std::env::var(name) {
        Ok(text) => text.parse().ok().filter(|number| *number > 0),
        Err(_) => Some(default),
    };
    number.with_context(|| format!("{name} is not a number above 0"))
}
