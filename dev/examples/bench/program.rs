//! The programs as processes.

use std::io::ErrorKind;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dev::environment::{self, Environment};
use dev::process::Usage;
use dev::runtime_api::{self, RuntimeApi, TIMEOUT};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use tempfile::NamedTempFile;
use tokio::time::timeout;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Program {
    /// A function with `lambda_http` and its defaults that does nothing.
    Nothing,
    /// The same job done the usual way, in Python.
    Python,
    /// The same in JavaScript.
    Node,
    /// The same in Rust.
    Plain,
    Function,
}

impl Program {
    pub(crate) const ALL: [Self; 5] = [
        Self::Nothing,
        Self::Python,
        Self::Node,
        Self::Plain,
        Self::Function,
    ];
    pub(crate) const WORKING: [Self; 4] = [Self::Python, Self::Node, Self::Plain, Self::Function];

    /// Its name in tables and charts.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Nothing => "does nothing",
            Self::Python => "Python",
            Self::Node => "Node.js",
            Self::Plain => "plain",
            Self::Function => "function",
        }
    }

    /// What was built, or installed from a package registry.
    pub(crate) fn built(self) -> Result<PathBuf> {
        let path = dev::project().join(match self {
            Self::Nothing => "dev/yardsticks/target/floor/nothing",
            Self::Python => ".local/yardsticks/python/package",
            Self::Node => ".local/yardsticks/node",
            Self::Plain => "dev/yardsticks/target/release/plain",
            Self::Function => "target/release/cart-associations",
        });
        ensure!(
            path.exists(),
            "{} is missing; `make bench` makes it",
            path.display()
        );
        Ok(path)
    }

    /// Copies all programs, each to what its zip has. Lambda writes a function's file to its disk in one go, so that its
    /// pages are read together. A linker writes them in no order, and they are read one by one.
    pub(crate) fn copy_all() -> Result<()> {
        let copies = copies();
        // New files each time, also while the last ones run.
        if copies.exists() {
            std::fs::remove_dir_all(&copies)?;
        }
        std::fs::create_dir_all(&copies)?;
        for program in Self::ALL {
            let scripts = program.scripts();
            for source in [Some(program.built()?), scripts].into_iter().flatten() {
                let mut cp = Command::new("cp");
                cp.arg("-rT").args([&source, &program.copy()]);
                ensure!(cp.status()?.success(), "cp failed");
            }
        }
        Ok(())
    }

    fn copy(self) -> PathBuf {
        copies().join(self.name())
    }

    /// The folder of its source, if that is not compiled.
    fn scripts(self) -> Option<PathBuf> {
        let folder = match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Nothing | Self::Plain | Self::Function => return None,
        };
        Some(dev::project().join("dev/yardsticks").join(folder))
    }

    pub(crate) fn command(self) -> Result<Command> {
        let (interpreter, script) = match self {
            Self::Python => (python(), "bootstrap.py"),
            Self::Node => (node()?, "bootstrap.mjs"),
            Self::Nothing | Self::Plain | Self::Function => return Ok(Command::new(self.copy())),
        };
        let mut command = Command::new(interpreter);
        command.arg(self.copy().join(script));
        Ok(command)
    }

    pub(crate) fn zipped_bytes(self) -> Result<u64> {
        const ZIP: &str = "\
            import pathlib, sys, zipfile\n\
            path = pathlib.Path(sys.argv[1])\n\
            with zipfile.ZipFile(sys.argv[2], 'w', zipfile.ZIP_DEFLATED, compresslevel=9) as zip:\n \
                for file in [path, *path.rglob('*')]: zip.write(file, file.relative_to(path.parent))";
        let zip = NamedTempFile::new()?;
        let mut python = Command::new(python());
        python.args(["-c", ZIP]).args([&*self.copy(), zip.path()]);
        ensure!(python.status()?.success(), "Python could not write a zip");
        Ok(zip.as_file().metadata()?.len())
    }
}

fn copies() -> PathBuf {
    dev::project().join("target/bench")
}

/// The Python with which the packages were installed.
pub(crate) fn python() -> PathBuf {
    dev::project().join(".local/yardsticks/python/bin/python3")
}

/// Node.js, wherever it is: programs run without `PATH`.
pub(crate) fn node() -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join("node"));
    let mut found = found.filter(|file| file.exists());
    found.next().context("node is missing")
}

/// A running program. Dropping it ends it.
pub(crate) struct Running {
    process: Child,
    began: Instant,
    log: Option<ChildStdout>,
    api: RuntimeApi,
    invocations: usize,
}

impl Running {
    /// Starts a command with this environment, as Lambda does. If the log is a pipe, it is emptied between invocations, so
    /// that reading takes none of their time.
    pub(crate) async fn spawn(
        mut command: Command,
        variables: &Environment,
        log: Stdio,
    ) -> Result<Self> {
        let api = RuntimeApi::start().await?;
        environment::set(&mut command, &api.address, variables)
            .stdin(Stdio::null())
            .stdout(log);
        let began = Instant::now();
        let mut process = command
            .spawn()
            .context("the program could not be started")?;
        let log = process.stdout.take();
        if let Some(log) = &log {
            rustix::io::ioctl_fionbio(log, true)?;
        }
        Ok(Self {
            process,
            began,
            log,
            api,
            invocations: 0,
        })
    }

    /// Waits until it has asked for so many events, and returns how long after its start it did.
    pub(crate) async fn until_ready(&self, times: usize) -> Result<Duration> {
        let ready = async {
            tokio::select! {
                ready = self.api.requested(times) => ready,
                error = self.api.init_error() => bail!("the program did not start: {}", error?),
            }
        };
        let ready = timeout(TIMEOUT, ready).await;
        Ok(ready.context("the program did not get ready in time")?? - self.began)
    }

    /// Sends an event and checks that the answer is a success. Returns how long it took.
    pub(crate) async fn answer(&self, event: &str) -> Result<Duration> {
        let completed = self.api.invoke(event, runtime_api::deadline_millis());
        let completed = timeout(TIMEOUT, completed).await;
        let completed = completed.context("no answer in time")??;
        match completed.result {
            Ok(answer) => {
                let status = answer["statusCode"].as_u64();
                ensure!(matches!(status, Some(..300)), "refused: {answer}");
            }
            Err(error) => bail!("the program failed: {error}"),
        }
        Ok(completed.duration)
    }

    /// Like [`answer`](Self::answer), and waits until the program asks for the next event.
    pub(crate) async fn invoke(&mut self, event: &str) -> Result<Duration> {
        let duration = self.answer(event).await?;
        self.invocations += 1;
        self.until_ready(1 + self.invocations).await?;
        let log = self.log.as_mut().context("the log is not piped")?;
        match std::io::copy(log, &mut std::io::sink()) {
            Err(error) if error.kind() != ErrorKind::WouldBlock => Err(error.into()),
            _ => Ok(duration),
        }
    }

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
