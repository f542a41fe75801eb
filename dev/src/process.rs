//! Programs that are started for this one, and what Linux knows of a process.

use std::io::ErrorKind;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdout, Command};
use tokio::signal::unix::{SignalKind, signal};

/// How long a program may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(5);

/// A running program in a process group of its own, so that Ctrl-C only reaches this program, which then ends the other.
/// Dropping this ends the group and waits for it.
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts a command without standard input. Its output goes where this program's output goes, or where the command
    /// says. If there is no such program, the error is `missing`.
    pub fn start(command: &mut Command, missing: &str) -> Result<Self> {
        let started = command.process_group(0).stdin(Stdio::null()).spawn();
        match started {
            Ok(child) => Ok(Self { child }),
            Err(error) if error.kind() == ErrorKind::NotFound => bail!("{missing}"),
            Err(error) => Err(error).with_context(|| {
                let program = command.as_std().get_program();
                format!("{} could not be started", program.display())
            }),
        }
    }

    /// The process id, while the program runs.
    pub fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// The program's output, if the command has it piped. It can be taken once.
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// The same of what it writes to standard error.
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    pub async fn ended(&mut self) -> Result<ExitStatus> {
        Ok(self.child.wait().await?)
    }

    fn signal(&self, signal: Signal) {
        let Some(group) = self
            .child
            .id()
            .and_then(|id| Pid::from_raw(id.cast_signed()))
        else {
            return;
        };
        // Fails only if the group has ended.
        let _ = kill_process_group(group, signal);
    }

    fn has_ended(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(Some(_)))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.has_ended() {
            return;
        }
        self.signal(Signal::TERM);
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
    }
}

/// Waits for Ctrl-C, SIGTERM, or the terminal's being closed.
pub async fn stop_requested() -> Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hang_up.recv() => {}
    }
    Ok(())
}

/// The memory and the processor time that a process has used.
#[derive(Debug, Clone, Copy)]
pub struct Usage {
    pub resident_kib: u64,
    /// The most resident memory that it has had.
    pub peak_kib: u64,
    /// The time of all its threads on a processor.
    pub processor: Duration,
}

impl Usage {
    pub fn of(id: u32) -> Result<Self> {
        let process = Path::new("/proc").join(id.to_string());
        let status = std::fs::read_to_string(process.join("status"))?;
        let kib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim_end_matches("kB").trim().parse().ok()
        };
        let mut processor = Duration::ZERO;
        for thread in std::fs::read_dir(process.join("task"))? {
            // "Scheduler Statistics", Linux: the first number is the time on a processor in nanoseconds.
            let text = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            let first = text.split(' ').next().and_then(|first| first.parse().ok());
            processor += Duration::from_nanos(first.context("schedstat has no number")?);
        }
        let memory = || Some((kib("VmRSS:")?, kib("VmHWM:")?));
        let (resident_kib, peak_kib) = memory().context("/proc/…/status has no sizes")?;
        Ok(Self {
            resident_kib,
            peak_kib,
            processor,
        })
    }
}
