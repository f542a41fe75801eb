//! Counts instructions under valgrind. Counts hardly vary, so they can be limited.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use tempfile::NamedTempFile;

use crate::callers::{Callers, Kind};
use crate::program::{Program, Running};
use crate::store::Store;

/// The most instructions for a warm request whose tokens were seen before.
const MOST: u64 = 730_000;

const WARM_UP: u64 = 50;
const COUNTED: u64 = 250;

/// Prints the counts and checks the limit.
pub(crate) async fn check() -> Result<()> {
    let store = Store::emulator().await?;
    let callers = Callers::new()?;
    let count = async |requests, kind| count(requests, kind, &store, &callers).await;
    // The first request belongs to it: a process that is ended without one has done more or less of its start.
    let start = count(1, Kind::Usual).await?;
    println!("start and first request: {start} instructions");
    let request = async |kind| -> Result<u64> {
        let few = count(WARM_UP, kind).await?;
        let many = count(WARM_UP + COUNTED, kind).await?;
        Ok((many - few) / COUNTED)
    };
    let usual = request(Kind::Usual).await?;
    println!("request, tokens seen before: {usual} instructions, at most {MOST}");
    let new_access_token = request(Kind::NewAccessToken).await?;
    println!("request, new RS256 access token: {new_access_token} instructions");
    ensure!(
        usual <= MOST,
        "a request whose tokens were seen before takes more than {MOST} instructions"
    );
    Ok(())
}

/// The instructions of a start and so many requests.
async fn count(requests: u64, kind: Kind, store: &Store, callers: &Callers) -> Result<u64> {
    let log = NamedTempFile::new()?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg("--cachegrind-out-file=/dev/null")
        .arg(format!("--log-file={}", log.path().display()))
        .arg(Program::Function.built()?);
    let environment = callers.environment(store, &store.http)?;
    let mut running = Running::spawn(command, &environment, Stdio::piped())
        .await
        .context("valgrind is needed; on Debian, apt-get install valgrind")?;
    running.until_ready(1).await?;
    for _ in 0..requests {
        running.invoke(&callers.event(kind)?).await?;
    }
    running.terminate()?;
    let log = std::fs::read_to_string(log.path())?;
    let count = log.lines().find_map(|line| line.split_once(" refs:"));
    let (_, count) = count.with_context(|| format!("valgrind did not count: {log}"))?;
    Ok(count.trim().replace(',', "").parse()?)
}
