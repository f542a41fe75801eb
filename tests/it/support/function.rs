//! The built Lambda as a process under the Runtime API.

use std::collections::BTreeMap;
use std::process::{ExitStatus, Stdio};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::description;
use super::runtime_api::{Completion, RuntimeApi};

/// A running function.
pub(crate) struct Function {
    process: Child,
    api: RuntimeApi,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Function {
    /// Starts the function in this environment and no other.
    pub(crate) async fn start(env: &BTreeMap<String, String>) -> Self {
        let api = RuntimeApi::start().await;
        let mut process = Command::new(env!("CARGO_BIN_EXE_cart-associations"))
            .env_clear()
            .env("AWS_LAMBDA_RUNTIME_API", &api.address)
            .env("AWS_LAMBDA_FUNCTION_NAME", "test")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .envs(env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let (tell, lines) = mpsc::unbounded_channel();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                if tell.send(line).is_err() {
                    break;
                }
            }
        });
        Self {
            process,
            api,
            lines,
        }
    }

    /// Waits until the function has started.
    pub(crate) async fn ready(&self) {
        self.api.ready().await;
    }

    /// Invokes the function without a deadline that it could know.
    pub(crate) async fn invoke(&self, event: &Value) -> Answer {
        self.invoke_until(event, 0).await
    }

    /// Invokes the function with a deadline, in milliseconds since the epoch.
    pub(crate) async fn invoke_until(&self, event: &Value, deadline_millis: u64) -> Answer {
        let event = event.to_string();
        match self.api.invoke(&event, deadline_millis).await {
            Completion::Response(response) => {
                let answer = Answer::read(&response);
                description::hold(&event, &answer);
                answer
            }
            Completion::Error(error) => panic!("the invocation failed: {error}"),
        }
    }

    /// The next line that the function logs, as text and as what it says.
    pub(crate) async fn line(&mut self) -> (String, Value) {
        let line = self.lines.recv().await.expect("the function logs a line");
        let parsed = serde_json::from_str(&line).expect("a line is JSON");
        (line, parsed)
    }

    /// The error that the function reports instead of starting, and how it
    /// exits then.
    pub(crate) async fn refuse(&mut self) -> (Value, ExitStatus) {
        let error = self.api.init_error().await;
        (error, self.process.wait().await.unwrap())
    }
}
