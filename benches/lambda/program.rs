//! The three programs as processes, and what the kernel knows of them.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use bytes::Bytes;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde::Deserialize;

use crate::emulator::Emulator;
use crate::runtime_api::{Moment, RuntimeApi, Took};

/// Where the programs are that times are taken of.
const UNPACKED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/bench");

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// The floor: `lambda_http` with its defaults, and nothing else.
    Nothing,
    /// The same job done the usual way.
    Plain,
    /// The function.
    Function,
}

/// A program that runs. Dropping it ends it.
pub(crate) struct Running {
    process: Child,
    log: ChildStdout,
    api: RuntimeApi,
    /// From the call that started it until it asked for an event.
    pub(crate) start: Took,
}

/// What the kernel knows of a process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) resident_kib: u64,
    pub(crate) peak_kib: u64,
    pub(crate) processor: Duration,
}

impl Program {
    pub(crate) const ALL: [Self; 3] = [Self::Nothing, Self::Plain, Self::Function];

    /// The built program.
    pub(crate) fn executable(self) -> Result<PathBuf> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR"));
        let path = project.join(match self {
            Self::Nothing => "benches/yardsticks/target/floor/nothing",
            Self::Plain => "benches/yardsticks/target/release/plain",
            Self::Function => concat!("target/release/", env!("CARGO_PKG_NAME")),
        });
        ensure!(
            path.exists(),
            "{} is not there; `make bench` builds it",
            path.display()
        );
        Ok(path)
    }

    /// Copies all built programs: Lambda runs what it wrote to its disk from end to end, and the pages of such a file come
    /// together, where those that a linker wrote here and there come one by one.
    pub(crate) fn unpack() -> Result<()> {
        std::fs::create_dir_all(UNPACKED)?;
        for program in Self::ALL {
            let unpacked = program.unpacked();
            // Another file each time, also if the last is in use.
            if unpacked.exists() {
                std::fs::remove_file(&unpacked)?;
            }
            std::fs::copy(program.executable()?, &unpacked)?;
        }
        Ok(())
    }

    /// The copy of the built program.
    pub(crate) fn unpacked(self) -> PathBuf {
        Path::new(UNPACKED).join(match self {
            Self::Nothing => "nothing",
            Self::Plain => "plain",
            Self::Function => "function",
        })
    }

    /// About the size that a zip of it has: that of its one file, deflated.
    pub(crate) fn zipped_bytes(self) -> Result<u64> {
        let mut gzip = Command::new("gzip")
            .args(["-9", "--stdout"])
            .arg(self.executable()?)
            .stdout(Stdio::piped())
            .spawn()
            .context("gzip could not be started")?;
        let output = gzip.stdout.take().context("its output is piped")?;
        let bytes = std::io::copy(&mut { output }, &mut std::io::sink())?;
        ensure!(gzip.wait()?.success(), "gzip failed");
        Ok(bytes)
    }
}

impl Running {
    /// Starts a command with this environment, as Lambda does.
    pub(crate) async fn start(
        mut command: Command,
        environment: &[(&'static str, String)],
        emulator: &Emulator,
    ) -> Result<Self> {
        let mut api = RuntimeApi::start(emulator.task.clone()).await?;
        command
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "bench")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .envs(environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let began = Moment::now(&emulator.task)?;
        let mut process = command
            .spawn()
            .context("the program could not be started")?;
        let log = process.stdout.take().context("the log is piped")?;
        rustix::io::ioctl_fionbio(&log, true)?;
        let ready = api.ready().await;
        let mut running = Self {
            process,
            log,
            api,
            start: Took::default(),
        };
        running.start = began.until(ready?, &emulator.task)?;
        Ok(running)
    }

    /// Sends an event, checks that it was served, and tells how long that took.
    pub(crate) async fn invoke(&mut self, event: String) -> Result<Took> {
        let answer = self.api.invoke(event).await?;
        ensure!(
            is_success(&answer.body),
            "refused: {}",
            String::from_utf8_lossy(&answer.body)
        );
        self.discard_log()?;
        Ok(answer.took)
    }

    /// Makes room for more lines: between invocations, so that who reads them does not take the time of who writes them.
    fn discard_log(&mut self) -> Result<()> {
        match std::io::copy(&mut self.log, &mut std::io::sink()) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// What it has used so far.
    pub(crate) fn usage(&self) -> Result<Usage> {
        let id = self.process.id();
        let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse().ok()
        };
        let mut processor = Duration::ZERO;
        for task in std::fs::read_dir(format!("/proc/{id}/task"))? {
            processor += processor_of(&task?.path())?;
        }
        let memory = || Some((kib("VmRSS:")?, kib("VmHWM:")?));
        let (resident_kib, peak_kib) = memory().context("status has no sizes")?;
        Ok(Usage {
            resident_kib,
            peak_kib,
            processor,
        })
    }

    /// Asks it to end, and waits until it has.
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
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The time on a processor of a task in `/proc`: in nanoseconds, the first field of its `schedstat` ("Scheduler
/// Statistics", Linux).
pub(crate) fn processor_of(task: &Path) -> Result<Duration> {
    let text = std::fs::read_to_string(task.join("schedstat"))?;
    let first = text.split(' ').next().and_then(|first| first.parse().ok());
    Ok(Duration::from_nanos(
        first.context("schedstat has no number")?,
    ))
}

/// Has this program, with all its threads, and all programs that it starts run on one core: what is measured is work,
/// and not how fast the machine wakes another core.
pub(crate) fn share_one_core() -> Result<()> {
    let allowed = sched_getaffinity(None)?;
    let first = (0..CpuSet::MAX_CPU).find(|core| allowed.is_set(*core));
    let mut one = CpuSet::new();
    one.set(first.context("there is no core")?);
    Ok(sched_setaffinity(None, &one)?)
}

fn is_success(answer: &Bytes) -> bool {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Answer {
        status_code: u16,
    }
    serde_json::from_slice::<Answer>(answer).is_ok_and(|answer| answer.status_code < 300)
}
