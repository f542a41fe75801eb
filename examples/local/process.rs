//! A program that is started for this one and never outlives it.

use std::io::ErrorKind;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

/// How long a program may take to end after it was asked to.
const PATIENCE: Duration = Duration::from_secs(5);

/// A running program, in a process group of its own: Ctrl-C reaches this program alone, which then ends the other in
/// good order. Dropping this ends the group and waits for it.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `command`, whose output goes where this program's goes.
    ///
    /// # Errors
    ///
    /// When it cannot be started; `missing` says what to do when there is no such program.
    pub(crate) fn start(command: &mut Command, missing: &str) -> Result<Self> {
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

    /// Waits until the program ends by itself.
    pub(crate) async fn ended(&mut self) -> Result<ExitStatus> {
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
        // Fails only when the group is gone, which is what is wanted.
        _ = kill_process_group(group, signal);
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
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if self.has_ended() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.signal(Signal::KILL);
    }
}
