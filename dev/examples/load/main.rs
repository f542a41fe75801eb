//! The load test: copies of the built function under mixed traffic and faults.
//!
//! `make load` starts it; with `LOAD_COPIES=1 LOAD_AT_ONCE=32`, one copy handles that many requests at once. It fails if an answer is wrong, the table disagrees with the answers, a copy ends, or a copy
//! grows.
//!
//! # Layout
//!
//! ```text
//! wrk ──► gateway ──► copies of the function ──► proxy (faults) ──► embedded DynamoDB
//! ```
//!
//! - `traffic.lua` makes the requests that wrk sends;
//! - `gateway.rs` is a stand-in for API Gateway, and injects the faults;
//! - `copies.rs` has the processes of the function;
//! - `ledger.rs` records the answers and compares them with the table;
//! - `world.rs` has what the function needs.
#![expect(clippy::print_stdout, reason = "it prints its results")]

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use dev::process::{Process, stop_requested};
use tokio::process::Command;

mod copies;
mod gateway;
mod ledger;
mod world;

use copies::{Copies, Measurements};
use gateway::Gateway;
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
    let world = Arc::new(World::start().await?);
    let gateway = Gateway::start(Arc::clone(&world)).await?;
    let mut environment = world.environment()?;
    environment.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), at_once.to_string());
    let mut copies = Copies::start(count, &environment, gateway.runtime_api())?;
    println!(
        "{count} copies that handle {at_once} at once, {connections} connections, {} s after {} s of warm-up",
        duration.as_secs(),
        WARM_UP.as_secs()
    );

    let ids = copies.ids();
    let measurements = tokio::select! {
        measurements = run(&world, &gateway, &ids, duration, connections) => measurements?,
        ended = copies.one_ended() => bail!("{}", ended?),
    };
    let ledger = gateway.close().await?;
    let warnings = copies.end().await?;

    let (calls, faults) = world.calls();
    let stored = world.stored().await?;
    let processor = measurements.processor().as_secs_f64() * 1000.0;
    println!("\n{measurements}");
    println!(
        "processor time of the function: {:.2} ms per request",
        processor / ledger.answers() as f64
    );
    println!("{ledger}");
    for (warning, times) in &warnings {
        println!("logged {times} times: {warning}");
    }
    println!("calls to DynamoDB: {calls}, {faults} of them with a fault");
    println!("associations in the table: {}", stored.len());
    let mut failures = ledger.check(&stored);
    failures.extend(measurements.growth());
    for failure in &failures {
        println!("FAILURE: {failure}");
    }
    ensure!(failures.is_empty(), "the failures are listed above");
    println!("The table agrees with the answers, and no copy grew.");
    Ok(())
}

/// Runs the traffic, and measures the copies after the warm-up, half-way and at the end.
async fn run(
    world: &World,
    gateway: &Gateway,
    copies: &[u32],
    duration: Duration,
    connections: u64,
) -> Result<Measurements> {
    let mut measurements = Measurements::default();
    let mut warm_up = wrk(world, gateway, "warm-up", WARM_UP, connections)?;
    finish(warm_up.stdout(Stdio::null())).await?;
    measurements.measure(copies)?;
    let mut load = wrk(world, gateway, "load", duration, connections)?;
    let half = async {
        tokio::time::sleep(duration / 2).await;
        measurements.measure(copies)
    };
    tokio::try_join!(finish(&mut load), half)?;
    measurements.measure(copies)?;
    Ok(measurements)
}

/// wrk with the traffic of a run. The carts' ids begin with the name of the run.
fn wrk(
    world: &World,
    gateway: &Gateway,
    run: &str,
    duration: Duration,
    connections: u64,
) -> Result<Command> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "2", "--latency", "--timeout", "15s"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .args(["--script", TRAFFIC, gateway.url(), "--", run])
        .envs(world.tokens()?);
    Ok(wrk)
}

async fn finish(wrk: &mut Command) -> Result<()> {
    let mut wrk = Process::start(wrk, "wrk is not on the PATH")?;
    let ended = wrk.ended().await?;
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
