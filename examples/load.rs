//! Load: copies of the built function under mixed traffic and faults, and whether they answered truly.
//!
//! `make load` knows how to start it. It fails when an answer was not what it had to be, when the table disagrees with the
//! answers, when a copy ended, or when one grew.
//!
//! # Layout
//!
//! ```text
//! wrk ──► front (as API Gateway) ──► copies of the function ──► proxy (faults) ──► embedded DynamoDB
//! ```
//!
//! - `load/traffic.lua` tells wrk what to ask for;
//! - `load/front.rs` makes events of requests and has faults happen;
//! - `load/copies.rs` has the processes of the function;
//! - `load/ledger.rs` keeps what was answered, and compares it with the table;
//! - `load/world.rs` has what the function needs around it.
#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::process::{ExitCode, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};

#[path = "load/copies.rs"]
mod copies;
#[path = "load/front.rs"]
mod front;
#[path = "load/ledger.rs"]
mod ledger;
#[path = "../tests/it/support/proxy.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests, which have more faults happen"
)]
mod proxy;
#[path = "../tests/it/support/runtime_api.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests, whose functions also refuse to start"
)]
mod runtime_api;
#[path = "local/table.rs"]
mod table;
#[path = "local/tokens.rs"]
#[allow(
    dead_code,
    reason = "shared with the local world, which keeps its keys in files"
)]
mod tokens;
#[path = "load/world.rs"]
mod world;

use copies::{Copies, Usage};
use front::Front;
use world::World;

/// How long the copies are under load before their memory is first measured: connections are open by then, and most of
/// the code has run.
const WARM_UP: Duration = Duration::from_secs(5);

/// Twice as many as copies, so that a copy that has answered has the next request waiting.
const CONNECTIONS_PER_COPY: u64 = 2;

const TRAFFIC: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/load/traffic.lua");

#[tokio::main]
async fn main() -> ExitCode {
    match until_stopped(load()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Ends `work`, and with it all that it started, at Ctrl-C, at a `kill`, and when the terminal is closed.
async fn until_stopped(work: impl Future<Output = Result<()>>) -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        done = work => return done,
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    bail!("stopped before the end")
}

async fn load() -> Result<()> {
    let duration = Duration::from_secs(setting("LOAD_SECONDS", 30)?);
    let count = setting("LOAD_COPIES", 4)?;
    let connections = count * CONNECTIONS_PER_COPY;
    let world = Arc::new(World::start().await?);
    let front = Front::start(Arc::clone(&world)).await?;
    let mut copies = Copies::start(count, &world, front.runtime_api())?;
    println!(
        "{count} copies, {connections} connections, {} s after {} s of warm-up",
        duration.as_secs(),
        WARM_UP.as_secs()
    );

    let ids = copies.ids();
    let usage = tokio::select! {
        usage = drive(&world, &front, &ids, duration, connections) => usage?,
        ended = copies.one_ended() => bail!("{}", ended?),
    };
    let ledger = front.close().await?;
    let warnings = copies.end().await?;

    let (calls, faults) = world.calls();
    let stored = world.stored().await?;
    let processor = usage.processor().as_secs_f64() * 1000.0;
    println!("\n{usage}");
    println!(
        "processor time of the function: {:.2} ms a request",
        processor / ledger.answers() as f64
    );
    println!("{ledger}");
    for (warning, times) in &warnings {
        println!("logged {times} times: {warning}");
    }
    println!("calls to DynamoDB: {calls}, of which {faults} met a fault");
    println!("associations in the table: {}", stored.len());
    let mut faults = ledger.check(&stored);
    faults.extend(usage.growth());
    for fault in &faults {
        println!("FAULT: {fault}");
    }
    ensure!(faults.is_empty(), "the faults are told above");
    println!("The table agrees with the answers, and no copy grew.");
    Ok(())
}

/// Lets traffic run, and tells what the copies had before, in the middle and after.
async fn drive(
    world: &World,
    front: &Front,
    copies: &[u32],
    duration: Duration,
    connections: u64,
) -> Result<Usage> {
    let mut usage = Usage::default();
    let mut warm_up = wrk(world, front, "warm-up", WARM_UP, connections)?;
    traffic(warm_up.stdout(Stdio::null())).await?;
    usage.measure(copies)?;
    let mut wrk = wrk(world, front, "load", duration, connections)?;
    let half = async {
        tokio::time::sleep(duration / 2).await;
        usage.measure(copies)
    };
    tokio::try_join!(traffic(&mut wrk), half)?;
    usage.measure(copies)?;
    Ok(usage)
}

/// wrk with the traffic of one run, whose carts are named after it.
fn wrk(
    world: &World,
    front: &Front,
    run: &str,
    duration: Duration,
    connections: u64,
) -> Result<Command> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--threads", "2", "--latency", "--timeout", "15s"])
        .args(["--connections", &connections.to_string()])
        .args(["--duration", &format!("{}s", duration.as_secs())])
        .args(["--script", TRAFFIC, front.url(), "--", run])
        .envs(world.callers()?);
    Ok(wrk)
}

async fn traffic(wrk: &mut Command) -> Result<()> {
    let started = copies::owned(wrk).spawn();
    let ended = started.context("wrk could not be started")?.wait().await?;
    ensure!(
        ended.success(),
        "wrk ended with {ended}: requests had no answer"
    );
    Ok(())
}

/// The number in the environment, or else `default`.
fn setting(name: &str, default: u64) -> Result<u64> {
    let number = match std::env::var(name) {
        Ok(text) => text.parse().ok().filter(|number| *number > 0),
        Err(_) => Some(default),
    };
    number.with_context(|| format!("{name} is not a number above 0"))
}
