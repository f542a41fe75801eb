//! The function: built and started by `cargo lambda watch`, or the built executable under the Runtime API of [`dev`].

use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use dev::environment::{self, Environment};
use dev::process::Process;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{ChildStderr, Command};

use crate::output;
use crate::ports::Upstream;

/// How long the function, which is built by then, may take for its first answer. Most of it is for a `cargo` that waits
/// for another `cargo`.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// Builds the function and shows the progress.
pub(crate) async fn build() -> Result<()> {
    if !executable()?.exists() {
        eprintln!("Step 2 of 2: building the function, about a minute with two cores.");
    }
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--bin", dev::FUNCTION]);
    cargo.current_dir(dev::project());
    let missing = "cargo is needed to build the function but is not on the PATH";
    let built = Process::start(&mut cargo, missing)?.ended().await?;
    ensure!(
        built.success(),
        "the function could not be built; the reason is above"
    );
    Ok(())
}

/// A port that is free now. If another program takes it before it is used, its user reports that.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Starts `cargo lambda watch` on `port` and returns when the function answers.
pub(crate) async fn watch(port: u16, env_file: &Path) -> Result<Process> {
    let mut watch = Command::new("cargo-lambda");
    let color = if std::io::stderr().is_terminal() {
        "always"
    } else {
        "never"
    };
    // Its CORS would allow everything; `api_gateway.rs` does as the template says.
    watch
        .args(["lambda", "watch", "--disable-cors"])
        .args(["--package", dev::FUNCTION, "--color", color])
        .args(["--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string()])
        .arg("--env-file")
        .arg(env_file)
        .current_dir(dev::project())
        // Watchexec logs as an error that a program which it has stopped is gone. What it cannot watch ends cargo-lambda.
        .env("RUST_LOG", "warn,watchexec=off")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let missing = "cargo-lambda is not on the PATH; `make run` installs it in .local/";
    let mut watch = Process::start(&mut watch, missing)?;
    let piped = watch.take_stdout().zip(watch.take_stderr());
    let (stdout, stderr) = piped.context("its output is not piped")?;
    tokio::spawn(output::print_logs(stdout));
    tokio::spawn(print_builds(stderr, port));
    tokio::select! {
        status = first_status(port) => {
            let status = status?;
            ensure!(status == 404, "the function answered its first request with {status}, not 404; the reason is above");
        }
        ended = watch.ended() => bail!("cargo lambda watch ended ({}); the reason is above", ended?),
        () = tokio::time::sleep(FIRST_ANSWER) => {
            bail!("the function did not answer within {} s; the reason is above", FIRST_ANSWER.as_secs())
        }
    }
    Ok(watch)
}

/// Prints what cargo writes, and when the function answers that it has built again.
async fn print_builds(stderr: ChildStderr, port: u16) -> Result<()> {
    let mut is_first = true;
    let mut lines = BufReader::new(stderr).lines();
    while let Some(line) = lines.next_line().await? {
        eprintln!("{line}");
        let runs = line.contains("Running") && line.ends_with(&format!("{}`", dev::FUNCTION));
        if runs && !std::mem::take(&mut is_first) {
            tokio::spawn(async move {
                if first_status(port).await.is_ok() {
                    eprintln!("The function was rebuilt and serves again.");
                }
            });
        }
    }
    Ok(())
}

/// The function's executable, `target/debug/cart-associations`, beside the folder `examples` with this program.
fn executable() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent);
    Ok(folder.context("no build folder")?.join(dev::FUNCTION))
}

/// Starts the executable that was built together with this program.
pub(crate) fn start_built(runtime_api: &str, variables: &Environment) -> Result<Process> {
    let executable = executable()?;
    let mut command = std::process::Command::new(&executable);
    environment::set(&mut command, runtime_api, variables).env("AWS_LAMBDA_LOG_LEVEL", "WARN");
    let missing = format!("{} is missing; make builds it", executable.display());
    Process::start(&mut command.into(), &missing)
}

/// The status of the answer to a request for a path that is no route, as soon as something listens on `port`.
async fn first_status(port: u16) -> Result<StatusCode> {
    let function = Upstream::new(&format!("127.0.0.1:{port}"))?;
    loop {
        let request = Request::get("/").body(Body::empty())?;
        match function.send(request).await {
            Ok(answer) => return Ok(answer.status()),
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}
