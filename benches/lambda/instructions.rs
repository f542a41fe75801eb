//! Counts the instructions of a start and of a warm request under valgrind: figures that hardly vary, so that they can be
//! checked.

use std::collections::BTreeMap;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::callers::{Callers, Tokens};
use crate::emulator::Emulator;
use crate::program::{Program, Running};

/// The figures that are checked in.
const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.json");

/// By how much a count may differ from that of the file.
const TOLERANCE: f64 = 0.02;

/// The most that a request may take whose tokens were seen before, whatever the file says.
const MOST: u64 = 700_000;

/// Requests before counting, and those counted.
const WARM_UP: u64 = 50;
const COUNTED: u64 = 250;

/// The counts, and the compiler that made the program: another makes another count.
#[derive(Debug, Serialize, Deserialize)]
struct Counts {
    rustc: String,
    instructions: BTreeMap<String, u64>,
}

/// Counts, compares with the file, and says what differs.
pub(crate) async fn compare() -> Result<ExitCode> {
    let now = count().await?;
    let before: Counts = serde_json::from_str(&std::fs::read_to_string(FILE)?)
        .with_context(|| format!("{FILE} cannot be read"))?;
    let comparable = now.rustc == before.rustc;
    if !comparable {
        println!(
            "not compared: built by {}, not by {}",
            now.rustc, before.rustc
        );
    }
    let (mut passed, mut failed) = (0, 0);
    for (name, count) in &now.instructions {
        let was = before.instructions.get(name).copied().unwrap_or_default();
        let change = *count as f64 / was as f64 - 1.0;
        println!(
            "{name}: {count} instructions, {was} checked in ({:+.2} %)",
            change * 100.0
        );
        if comparable && change.abs() <= TOLERANCE {
            passed += 1;
        } else if comparable {
            failed += 1;
        }
    }
    if failed > 0 {
        println!("if that is meant, `make bench-instructions-write` makes these the figures");
    }
    if now.instructions[name(Tokens::Seen)] <= MOST {
        passed += 1;
    } else {
        println!("a request whose tokens were seen before must not take more than {MOST}");
        failed += 1;
    }
    println!("{passed} passed, {failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Counts, and writes the file.
pub(crate) async fn write() -> Result<()> {
    let counts = count().await?;
    let mut text = serde_json::to_string_pretty(&counts)?;
    text.push('\n');
    print!("{text}");
    Ok(std::fs::write(FILE, text)?)
}

/// Leaves a profile by function, of a start and of so many requests, for `callgrind_annotate`.
pub(crate) async fn profile(requests: u64) -> Result<()> {
    let emulator = Emulator::start().await?;
    let callers = Callers::new()?;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/target/callgrind.out");
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--log-file=/dev/null"])
        .arg(format!("--callgrind-out-file={file}"))
        .arg(Program::Function.executable()?);
    run(command, requests, Tokens::Seen, &emulator, &callers).await?;
    println!("{file}");
    Ok(())
}

async fn count() -> Result<Counts> {
    let emulator = Emulator::start().await?;
    let callers = Callers::new()?;
    let mut instructions = BTreeMap::new();
    let count = async |requests, tokens| count_run(requests, tokens, &emulator, &callers).await;
    // A start alone would end now before and now after what the program does while it waits for its first event.
    let first = count(1, Tokens::Seen).await?;
    instructions.insert("start and first request".to_owned(), first);
    for tokens in [Tokens::Seen, Tokens::NewAccess] {
        let few = count(WARM_UP, tokens).await?;
        let many = count(WARM_UP + COUNTED, tokens).await?;
        instructions.insert(name(tokens).to_owned(), (many - few) / COUNTED);
    }
    let rustc = Command::new("rustc").arg("--version").output()?;
    let rustc = String::from_utf8(rustc.stdout)?.trim().to_owned();
    Ok(Counts {
        rustc,
        instructions,
    })
}

fn name(tokens: Tokens) -> &'static str {
    match tokens {
        Tokens::Seen => "request, tokens seen before",
        Tokens::NewAccess => "request, new RS256 access token",
        Tokens::New => "request, two new RS256 tokens",
    }
}

/// The instructions of a whole run with so many requests.
async fn count_run(
    requests: u64,
    tokens: Tokens,
    emulator: &Emulator,
    callers: &Callers,
) -> Result<u64> {
    let log = NamedTempFile::new()?;
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=cachegrind", "--cache-sim=no"])
        .arg("--cachegrind-out-file=/dev/null")
        .arg(format!("--log-file={}", log.path().display()))
        .arg(Program::Function.executable()?);
    run(command, requests, tokens, emulator, callers).await?;
    let log = std::fs::read_to_string(log.path())?;
    let count = log.lines().find_map(|line| line.split_once(" refs:"));
    let (_, count) = count.with_context(|| format!("valgrind did not count: {log}"))?;
    Ok(count.trim().replace(',', "").parse()?)
}

/// A whole run under valgrind.
async fn run(
    valgrind: Command,
    requests: u64,
    tokens: Tokens,
    emulator: &Emulator,
    callers: &Callers,
) -> Result<()> {
    let environment = callers.environment(emulator, &emulator.plain_endpoint)?;
    let mut running = Running::start(valgrind, &environment, emulator)
        .await
        .context("valgrind is needed; on Debian, apt-get install valgrind")?;
    for _ in 0..requests {
        running.invoke(callers.event(tokens)?).await?;
    }
    running.terminate()
}
