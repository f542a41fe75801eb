//! The function itself: built, then run by `cargo lambda watch`.

use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::Process;
use crate::world::PROJECT;

/// How long the function, which is built by then, may take for its first answer. Most of it is for a `cargo` that waits
/// for another one.
const FIRST_ANSWER: Duration = Duration::from_secs(60);

/// Where `cargo lambda watch` is to listen at `port`: at all addresses, as it does by itself and as
/// `cargo lambda invoke` expects, or at `127.0.0.1` on a machine without IPv6.
///
/// # Errors
///
/// When the port is taken.
pub(crate) fn address(port: u16) -> Result<&'static str> {
    let free = |bound: std::io::Result<TcpListener>| {
        bound.map(drop).with_context(|| {
            format!("the API cannot have port {port} (choose another with API_PORT=…)")
        })
    };
    free(TcpListener::bind((Ipv4Addr::LOCALHOST, port)))?;
    if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
        return Ok("127.0.0.1");
    }
    free(TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)))?;
    Ok("::")
}

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

/// Starts `cargo lambda watch` and returns once the function answers.
pub(crate) async fn start(address: &str, port: u16, env_file: &Path) -> Result<Process> {
    let mut watch = Command::new("cargo-lambda");
    watch.args(["lambda", "watch", "--invoke-address", address]);
    watch.args(["--invoke-port", &port.to_string(), "--env-file"]);
    watch.arg(env_file).current_dir(PROJECT);
    let missing = "cargo-lambda is not on the PATH; `make run` installs it beside the project";
    let mut watch = Process::start(&mut watch, missing)?;
    tokio::select! {
        status = first_answer(port) => {
            // An anonymous request, so the right answer is known.
            let status = status?;
            ensure!(status == 401, "the function answered its first request with {status}, not 401; the reason is above");
            Ok(watch)
        }
        ended = watch.ended() => bail!("cargo lambda watch ended ({}); the reason is above", ended?),
        () = tokio::time::sleep(FIRST_ANSWER) => {
            bail!("the function did not answer within {} s; the reason is above", FIRST_ANSWER.as_secs())
        }
    }
}

/// The status of the answer to a request without tokens, as soon as there is someone to ask.
async fn first_answer(port: u16) -> Result<u16> {
    let mut stream = loop {
        match TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await {
            Ok(stream) => break stream,
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    };
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
