//! The function itself: built, then run by `cargo lambda watch`.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::Process;
use crate::world::{Environment, PROJECT};

/// How long the function, which is built by then, may take for its first answer. Most of it is for a `cargo` that waits
/// for another one.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

const NO_CARGO_LAMBDA: &str =
    "cargo-lambda is not on the PATH; `make run` installs it beside the project";

/// Builds the function, its progress in sight.
pub(crate) async fn build() -> Result<()> {
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--bin", env!("CARGO_PKG_NAME")]);
    cargo.current_dir(PROJECT);
    let missing = "cargo is needed to build the function but is not on the PATH";
    let built = Process::start(&mut cargo, missing)?.ended().await?;
    ensure!(
        built.success(),
        "the function could not be built; the reason is above"
    );
    Ok(())
}

/// A port of this machine that is free right now. Another program may take it before it is used; then what wants it says
/// so.
pub(crate) fn free_port() -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?.port())
}

/// Starts `cargo lambda watch` at `port` of this machine and returns once the function answers.
pub(crate) async fn watch(port: u16, env_file: &Path) -> Result<Process> {
    let mut watch = emulator(port);
    watch.arg("--env-file").arg(env_file);
    let mut watch = Process::start(&mut watch, NO_CARGO_LAMBDA)?;
    until_it_answers(port, &mut watch).await?;
    Ok(watch)
}

/// Starts the function that was built together with this program, and what invokes it at `port` of this machine, and
/// returns once it answers. It is not built a second time: `cargo lambda watch` would, without what the tests add to the
/// features of the dependencies.
pub(crate) async fn run_built(port: u16, environment: Environment) -> Result<[Process; 2]> {
    let built = built()?;
    let mut emulator = emulator(port);
    emulator.arg("--only-lambda-apis").env("RUST_LOG", "error");
    let mut emulator = Process::start(&mut emulator, NO_CARGO_LAMBDA)?;
    let mut function = Command::new(&built);
    // One function and no name: `_` to the emulator.
    function
        .env(
            "AWS_LAMBDA_RUNTIME_API",
            format!("http://127.0.0.1:{port}/.rt"),
        )
        .env("AWS_LAMBDA_FUNCTION_NAME", "_")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_LOG_LEVEL", "WARN")
        .envs(environment);
    connected(port, &mut emulator).await?;
    let missing = format!("{} is missing; make builds it", built.display());
    let mut function = Process::start(&mut function, &missing)?;
    until_it_answers(port, &mut function).await?;
    // In the order in which they are to end.
    Ok([function, emulator])
}

/// `target/debug/cart-associations`, beside `examples/local`.
fn built() -> Result<PathBuf> {
    let this = std::env::current_exe()?;
    let folder = this.parent().and_then(Path::parent);
    let folder = folder.context("an example is in a folder of the build's")?;
    Ok(folder.join(env!("CARGO_PKG_NAME")))
}

/// `cargo lambda watch` at `port` of this machine, without its CORS, which would let everything pass.
fn emulator(port: u16) -> Command {
    let mut watch = Command::new("cargo-lambda");
    watch.args(["lambda", "watch", "--disable-cors"]);
    watch.args([
        "--invoke-address",
        "127.0.0.1",
        "--invoke-port",
        &port.to_string(),
    ]);
    watch.current_dir(PROJECT);
    watch
}

/// Waits for the first answer of the function, which `process` must bring about.
async fn until_it_answers(port: u16, process: &mut Process) -> Result<()> {
    tokio::select! {
        status = first_answer(port) => {
            // An anonymous request, so the right answer is known.
            let status = status?;
            ensure!(status == 401, "the function answered its first request with {status}, not 401; the reason is above");
            Ok(())
        }
        ended = process.ended() => bail!("the function ended ({}); the reason is above", ended?),
        () = tokio::time::sleep(FIRST_ANSWER) => {
            bail!("the function did not answer within {} s; the reason is above", FIRST_ANSWER.as_secs())
        }
    }
}

/// A connection to the emulator, as soon as it listens.
async fn connected(port: u16, emulator: &mut Process) -> Result<TcpStream> {
    tokio::select! {
        stream = connection(port) => Ok(stream),
        ended = emulator.ended() => bail!("cargo lambda watch ended ({}); the reason is above", ended?),
        () = tokio::time::sleep(FIRST_ANSWER) => bail!("cargo lambda watch does not listen"),
    }
}

async fn connection(port: u16) -> TcpStream {
    loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(stream) => return stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The status of the answer to a request without tokens, as soon as there is someone to ask.
async fn first_answer(port: u16) -> Result<u16> {
    let mut stream = connection(port).await;
    let request = "POST /v2/carts/first/relationships/customers HTTP/1.1\r\n\
        Host: localhost\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).await?;
    line.split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .context("the first request got no answer; the reason is above")
}
