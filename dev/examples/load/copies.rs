//! Copies of the built function, each a process. Lambda too runs one for each request that it handles at the same time, or
//! on Managed Instances one for many.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

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
    /// Starts so many copies.
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

    /// The process ids.
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

/// What the copies had used after the warm-up, half-way and at the end.
#[derive(Default)]
pub(crate) struct Measurements(Vec<Vec<(u32, Usage)>>);

impl Measurements {
    /// Measures the processes with these ids.
    pub(crate) fn measure(&mut self, ids: &[u32]) -> Result<()> {
        let usages: Result<_> = ids.iter().map(|id| Ok((*id, Usage::of(*id)?))).collect();
        self.0.push(usages?);
        Ok(())
    }

    /// The processor time of all copies together.
    pub(crate) fn processor(&self) -> Duration {
        let last = self.0.last().into_iter().flatten();
        last.map(|(_, usage)| usage.processor).sum()
    }

    /// Describes the copies that grew between the first measurement and the last.
    pub(crate) fn growth(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return Vec::new();
        };
        first
            .iter()
            .zip(last)
            .map(|((id, first), (_, last))| (id, first.resident_kib, last.resident_kib))
            .filter(|(_, first, last)| *last > limit(*first))
            .map(|(id, first, last)| format!("process {id} grew from {first} to {last} KiB"))
            .collect()
    }
}

/// The most resident memory for a copy that had this much after the warm-up.
fn limit(resident_kib: u64) -> u64 {
    resident_kib + GROWTH_KIB.max(resident_kib / GROWTH_SHARE)
}

impl fmt::Display for Measurements {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("resident memory in KiB after the warm-up, half-way, at the end; peak")?;
        for (copy, (id, last)) in self.0.last().into_iter().flatten().enumerate() {
            write!(f, "\n  process {id}:")?;
            for usages in &self.0 {
                write!(f, " {}", usages[copy].1.resident_kib)?;
            }
            write!(f, "; {}", last.peak_kib)?;
        }
        Ok(())
    }
}
