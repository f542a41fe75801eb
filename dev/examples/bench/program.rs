//! The three programs as processes.

use std::io::ErrorKind;
use std::ops::Add;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dev::environment::{self, Environment};
use dev::process::{Usage, processor_time};
use dev::runtime_api::{self, RuntimeApi, TIMEOUT};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;
use tokio::time::timeout;

use crate::emulator::Emulator;

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A function with `lambda_http` and its defaults that does nothing.
    Nothing,
    /// The same job done the usual way.
    Plain,
    /// The function.
    Function,
}

/// A running program. Dropping it ends it.
pub(crate) struct Running {
    process: Child,
    log: ChildStdout,
    api: RuntimeApi,
    invocations: usize,
    emulator: PathBuf,
    /// From the call that started it to its first request for an event.
    pub(crate) start: Elapsed,
}

/// How long something took.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Elapsed {
    pub(crate) whole: Duration,
    /// The emulator's time on the processor, which it shares with the program.
    pub(crate) emulator: Duration,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Plain, Self::Function];

    /// The built program.
    pub(crate) fn executable(self) -> Result<PathBuf> {
        let path = dev::project().join(match self {
            Self::Nothing => "dev/yardsticks/target/floor/nothing",
            Self::Plain => "dev/yardsticks/target/release/plain",
            Self::Function => "target/release/cart-associations",
        });
        ensure!(
            path.exists(),
            "{} is missing; `make bench` builds it",
            path.display()
        );
        Ok(path)
    }

    /// Copies all built programs. Lambda writes a function's file to its disk in one go, so that its pages are read
    /// together. A linker writes them in no order, and they are read one by one.
    pub(crate) fn copy_all() -> Result<()> {
        std::fs::create_dir_all(copies())?;
        for program in Self::ALL {
            let copy = program.copy();
            // A new file each time, also while the last one runs.
            if copy.exists() {
                std::fs::remove_file(&copy)?;
            }
            std::fs::copy(program.executable()?, &copy)?;
        }
        Ok(())
    }

    /// The copy of the built program.
    pub(crate) fn copy(self) -> PathBuf {
        copies().join(match self {
            Self::Nothing => "nothing",
            Self::Plain => "plain",
            Self::Function => "function",
        })
    }

    /// The size of its file, deflated: about that of its zip.
    pub(crate) fn zipped_bytes(self) -> Result<u64> {
        let mut gzip = Command::new("gzip")
            .args(["-9", "--stdout"])
            .arg(self.executable()?)
            .stdout(Stdio::piped())
            .spawn()
            .context("gzip could not be started")?;
        let output = gzip.stdout.take().context("the output is not piped")?;
        let bytes = std::io::copy(&mut { output }, &mut std::io::sink())?;
        ensure!(gzip.wait()?.success(), "gzip failed");
        Ok(bytes)
    }
}

fn copies() -> PathBuf {
    dev::project().join("target/bench")
}

impl Running {
    /// Starts a command with this environment, as Lambda does, and waits until it asks for an event.
    pub(crate) async fn start(
        mut command: Command,
        variables: &Environment,
        emulator: &Emulator,
    ) -> Result<Self> {
        let api = RuntimeApi::start().await?;
        environment::set(&mut command, &api.address, variables)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let emulator = emulator.thread.clone();
        let emulator_before = processor_time(&emulator)?;
        let began = Instant::now();
        let mut process = command
            .spawn()
            .context("the program could not be started")?;
        let log = process.stdout.take().context("the log is not piped")?;
        rustix::io::ioctl_fionbio(&log, true)?;
        let ready = tokio::select! {
            ready = ready(&api, 1) => ready?,
            error = api.init_error() => bail!("the program did not start: {}", error?),
        };
        let start = Elapsed {
            whole: ready - began,
            emulator: processor_time(&emulator)? - emulator_before,
        };
        Ok(Self {
            process,
            log,
            api,
            invocations: 0,
            emulator,
            start,
        })
    }

    /// Sends an event, checks that the answer is a success, and waits until the program asks for the next event. Returns
    /// how long the answer took.
    pub(crate) async fn invoke(&mut self, event: &str) -> Result<Elapsed> {
        let emulator_before = processor_time(&self.emulator)?;
        let completed = self.api.invoke(event, runtime_api::deadline_millis());
        let completed = timeout(TIMEOUT, completed).await;
        let completed = completed.context("no answer in time")??;
        match &completed.result {
            Ok(answer) => ensure!(is_success(answer), "refused: {answer}"),
            Err(error) => bail!("the program failed: {error}"),
        }
        self.invocations += 1;
        ready(&self.api, 1 + self.invocations).await?;
        self.discard_log()?;
        Ok(Elapsed {
            whole: completed.duration,
            emulator: processor_time(&self.emulator)? - emulator_before,
        })
    }

    /// Empties the pipe of the log, between invocations, so that reading takes none of their time.
    fn discard_log(&mut self) -> Result<()> {
        match std::io::copy(&mut self.log, &mut std::io::sink()) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        Usage::of(self.process.id())
    }

    /// Sends SIGTERM and waits until it has ended.
    pub(crate) fn terminate(&mut self) -> Result<()> {
        let id = i32::try_from(self.process.id())?;
        let id = rustix::process::Pid::from_raw(id).context("a process has an id")?;
        rustix::process::kill_process(id, rustix::process::Signal::TERM)?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

pub(crate) async fn ready(api: &RuntimeApi, times: usize) -> Result<Instant> {
    let ready = timeout(TIMEOUT, api.requested(times)).await;
    ready.context("the program did not get ready in time")?
}

pub(crate) fn is_success(answer: &Value) -> bool {
    answer["statusCode"]
        .as_u64()
        .is_some_and(|status| status < 300)
}

/// The cores on which this program may run.
pub(crate) fn cores() -> Result<Vec<usize>> {
    let allowed = sched_getaffinity(None)?;
    let cores = (0..CpuSet::MAX_CPU).filter(|core| allowed.is_set(*core));
    Ok(cores.collect())
}

/// Limits this thread, and all threads and programs that it starts from now on, to these cores.
pub(crate) fn use_cores(cores: &[usize]) -> Result<()> {
    let mut set = CpuSet::new();
    for core in cores {
        set.set(*core);
    }
    Ok(sched_setaffinity(None, &set)?)
}

impl Elapsed {
    pub(crate) fn without_emulator(self) -> Duration {
        self.whole.saturating_sub(self.emulator)
    }
}

impl Add for Elapsed {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            whole: self.whole + other.whole,
            emulator: self.emulator + other.emulator,
        }
    }
}
