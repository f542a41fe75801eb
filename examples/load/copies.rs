//! Copies of the built function, each a process, as Lambda runs one for each request that it handles at the same time.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result};
use futures_util::future::select_all;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, ChildStdout, Command};
use tokio::task::JoinSet;

use crate::world::World;

/// By how much a copy may grow after the warm-up: a fifth, or 2 MiB where that is more.
const GROWTH_SHARE: u64 = 5;
const GROWTH_KIB: u64 = 2 * 1024;

/// In what Linux tells processor time in, whatever it counts in itself.
const TICK: Duration = Duration::from_millis(10);

/// How often the function said something that is not at INFO.
pub(crate) type Warnings = BTreeMap<String, usize>;

/// Running copies. Dropping this ends them.
pub(crate) struct Copies {
    running: Vec<Child>,
    logs: JoinSet<Result<Warnings>>,
}

impl Copies {
    /// Starts so many, which ask for work at `runtime_api`.
    pub(crate) fn start(count: u64, world: &World, runtime_api: &str) -> Result<Self> {
        let executable = executable()?;
        let mut running = Vec::new();
        let mut logs = JoinSet::new();
        for _ in 0..count {
            let mut command = Command::new(&executable);
            command
                .env_clear()
                .env("AWS_LAMBDA_RUNTIME_API", runtime_api)
                .env("AWS_LAMBDA_FUNCTION_NAME", "load")
                .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
                .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
                .envs(world.environment()?)
                .stdout(Stdio::piped());
            let mut copy = owned(&mut command).spawn().with_context(|| {
                format!(
                    "{} could not be started; `make load` builds it",
                    executable.display()
                )
            })?;
            let log = copy.stdout.take().context("the log is piped")?;
            logs.spawn(warnings(log));
            running.push(copy);
        }
        Ok(Self { running, logs })
    }

    /// Their process ids.
    pub(crate) fn ids(&self) -> Vec<u32> {
        self.running.iter().filter_map(Child::id).collect()
    }

    /// Waits until one ends by itself, which none should, and says so.
    pub(crate) async fn one_ended(&mut self) -> Result<String> {
        let ends = self.running.iter_mut().map(|copy| Box::pin(copy.wait()));
        let (ended, index, _) = select_all(ends).await;
        Ok(format!("copy {} ended ({})", index + 1, ended?))
    }

    /// Ends them all, and tells what they logged.
    pub(crate) async fn end(mut self) -> Result<Warnings> {
        for copy in &mut self.running {
            copy.kill().await?;
        }
        let mut all = Warnings::new();
        while let Some(warnings) = self.logs.join_next().await {
            for (warning, times) in warnings?? {
                *all.entry(warning).or_default() += times;
            }
        }
        Ok(all)
    }
}

/// Makes this program, and not the terminal, the one that ends what `command` starts: with itself, at the latest.
pub(crate) fn owned(command: &mut Command) -> &mut Command {
    command
        .process_group(0)
        .kill_on_drop(true)
        .stdin(Stdio::null())
}

/// The release build, beside the build that this program is of.
fn executable() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let builds = this.ancestors().nth(3).unwrap_or(Path::new("."));
    Ok(builds.join("release").join(env!("CARGO_PKG_NAME")))
}

async fn warnings(log: ChildStdout) -> Result<Warnings> {
    let mut warnings = Warnings::new();
    let mut lines = BufReader::new(log).lines();
    while let Some(line) = lines.next_line().await? {
        // Nearly all lines are of this level: the others alone are worth being read.
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

/// What the copies used up to several moments: after the warm-up, half-way, at the end.
#[derive(Default)]
pub(crate) struct Usage(Vec<Vec<Measured>>);

struct Measured {
    id: u32,
    /// Resident memory, and the most that it ever was.
    resident_kib: u64,
    peak_kib: u64,
    processor: Duration,
}

impl Usage {
    /// Measures these processes.
    pub(crate) fn measure(&mut self, ids: &[u32]) -> Result<()> {
        let measured: Result<_> = ids.iter().copied().map(Measured::of).collect();
        self.0.push(measured?);
        Ok(())
    }

    /// The processor time of all copies together.
    pub(crate) fn processor(&self) -> Duration {
        let last = self.0.last().into_iter().flatten();
        last.map(|measured| measured.processor).sum()
    }

    /// Which copies grew between the first measurement and the last.
    pub(crate) fn growth(&self) -> Vec<String> {
        let (Some(first), Some(last)) = (self.0.first(), self.0.last()) else {
            return Vec::new();
        };
        first
            .iter()
            .zip(last)
            .filter(|(first, last)| last.resident_kib > most(first.resident_kib))
            .map(|(first, last)| {
                format!(
                    "process {} grew from {} to {} KiB",
                    first.id, first.resident_kib, last.resident_kib
                )
            })
            .collect()
    }
}

/// The most that a copy of this size may grow to.
fn most(resident_kib: u64) -> u64 {
    resident_kib + GROWTH_KIB.max(resident_kib / GROWTH_SHARE)
}

impl fmt::Display for Usage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let title = "resident memory in KiB: after warm-up, half-way, at the end; at most";
        f.write_str(title)?;
        for (copy, last) in self.0.last().into_iter().flatten().enumerate() {
            write!(f, "\n  process {}:", last.id)?;
            for measured in &self.0 {
                write!(f, " {}", measured[copy].resident_kib)?;
            }
            write!(f, "; {}", last.peak_kib)?;
        }
        Ok(())
    }
}

impl Measured {
    fn of(id: u32) -> Result<Self> {
        let status = about(id, "status")?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse().ok()
        };
        let stat = about(id, "stat")?;
        // User and system time are the fields 14 and 15. The name before field 3 may have spaces in it.
        let ticks = || {
            let (_, fields) = stat.rsplit_once(") ")?;
            let mut times = fields.split(' ').skip(11).map(str::parse::<u64>);
            Some(times.next()?.ok()? + times.next()?.ok()?)
        };
        let measured = || {
            Some(Self {
                id,
                resident_kib: kib("VmRSS:")?,
                peak_kib: kib("VmHWM:")?,
                processor: TICK * u32::try_from(ticks()?).ok()?,
            })
        };
        measured().with_context(|| format!("/proc/{id} cannot be understood"))
    }
}

/// A file of the kernel about a process.
fn about(id: u32, file: &str) -> Result<String> {
    let file = format!("/proc/{id}/{file}");
    std::fs::read_to_string(&file).with_context(|| format!("{file} could not be read"))
}
