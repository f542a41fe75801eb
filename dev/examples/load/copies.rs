//! Copies of the built function, each a process. Lambda too runs one for each request that it handles at the same time, or
//! on Managed Instances one for many.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result};
use dev::environment::{self, Environment};
use dev::process::{Process, Usage};
use futures_util::future::select_all;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStdout, Command};
use tokio::task::JoinSet;

/// How much a copy may grow after the warm-up: a fifth, or 2 MiB if that is more.
const GROWTH_SHARE: u64 = 5;
const GROWTH_KIB: u64 = 2 * 1024;

/// Log lines above INFO, and how often each was written.
pub(crate) type Warnings = BTreeMap<String, usize>;

/// Running copies. Dropping this ends them.
pub(crate) struct Copies {
    running: Vec<Process>,
    logs: JoinSet<Result<Warnings>>,
}

impl Copies {
    pub(crate) fn start(count: u64, variables: &Environment, runtime_api: &str) -> Result<Self> {
        let executable = executable()?;
        let missing = format!("{} is missing; `make load` builds it", executable.display());
        let mut running = Vec::new();
        let mut logs = JoinSet::new();
        for _ in 0..count {
            let mut command = std::process::Command::new(&executable);
            environment::set(&mut command, runtime_api, variables).stdout(Stdio::piped());
            let mut copy = Process::start(&mut Command::from(command), &missing)?;
            let log = copy.take_stdout().context("the log is not piped")?;
            logs.spawn(warnings(log));
            running.push(copy);
        }
        Ok(Self { running, logs })
    }

    pub(crate) fn ids(&self) -> Vec<u32> {
        self.running.iter().filter_map(Process::id).collect()
    }

    /// Waits until a copy ends by itself, which none should, and describes that.
    pub(crate) async fn one_ended(&mut self) -> Result<String> {
        let ends = self.running.iter_mut().map(|copy| Box::pin(copy.ended()));
        let (ended, index, _) = select_all(ends).await;
        Ok(format!("copy {} ended ({})", index + 1, ended?))
    }

    /// Ends all copies and returns what they logged.
    pub(crate) async fn end(mut self) -> Result<Warnings> {
        self.running.clear();
        let mut all = Warnings::new();
        while let Some(warnings) = self.logs.join_next().await {
            for (warning, times) in warnings?? {
                *all.entry(warning).or_default() += times;
            }
        }
        Ok(all)
    }
}

/// The release build, beside the build of this program.
fn executable() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let builds = this.ancestors().nth(3).unwrap_or(Path::new("."));
    Ok(builds.join("release").join(dev::FUNCTION))
}

async fn warnings(log: ChildStdout) -> Result<Warnings> {
    let mut warnings = Warnings::new();
    let mut lines = BufReader::new(log).lines();
    while let Some(line) = lines.next_line().await? {
        // Nearly all lines are INFO. Parsing those would cost time.
        if line.contains(r#""level":"INFO""#) {
            continue;
        }
        let line: Value = serde_json::from_str(&line).context("a line of the log is not JSON")?;
        let texts = ["level", "message", "outcome", "cause"].map(|name| line[name].as_str());
        let texts: Vec<&str> = texts.into_iter().flatten().collect();
        *warnings.entry(texts.join(", ")).or_default() += 1;
    }
    Ok(warnings)
}

/// What the processes with these ids have used.
pub(crate) fn usages(ids: &[u32]) -> Result<Vec<Usage>> {
    ids.iter().map(|id| Usage::of(*id)).collect()
}

/// Whether a copy grew too much from one measurement to the other.
pub(crate) fn has_grown(before: Usage, after: Usage) -> bool {
    let most = GROWTH_KIB.max(before.resident_kib / GROWTH_SHARE);
    after.resident_kib > before.resident_kib + most
}
