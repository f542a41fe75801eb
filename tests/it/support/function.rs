//! The built function as a process under the Runtime API.

use std::process::{ExitStatus, Stdio};

use dev::environment::{self, Environment};
use dev::runtime_api::RuntimeApi;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

use super::answer::Answer;
use super::description;

pub(crate) struct Function {
    process: Child,
    api: RuntimeApi,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Function {
    /// Starts the function with exactly these environment variables and those that
    /// Lambda sets.
    pub(crate) async fn start(env: &Environment) -> Self {
        let api = RuntimeApi::start().await.unwrap();
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_cart-associations"));
        environment::set(&mut command, &api.address, env)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut process = Command::from(command).kill_on_drop(true).spawn().unwrap();
        let (sender, lines) = mpsc::unbounded_channel();
        let mut stdout = BufReader::new(process.stdout.take().unwrap()).lines();
        tokio::spawn(async move {
            while let Ok(Some(line)) = stdout.next_line().await {
                if sender.send(line).is_err() {
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

    /// Starts the function for so many requests at once.
    pub(crate) async fn start_for(env: &Environment, at_once: usize) -> Self {
        let mut env = env.clone();
        env.insert("AWS_LAMBDA_MAX_CONCURRENCY".to_owned(), at_once.to_string());
        Self::start(&env).await
    }

    /// Waits until the function has started, so that it asks for an event.
    pub(crate) async fn ready(&self) {
        self.api.requested(1).await.unwrap();
    }

    pub(crate) fn threads(&self) -> usize {
        let id = self.process.id().expect("the function runs");
        let threads = std::fs::read_dir(format!("/proc/{id}/task")).unwrap();
        threads.count()
    }

    pub(crate) async fn invoke(&self, event: &Value) -> Answer {
        let answer = Answer::read(&self.respond(event, 0).await);
        description::check(&event.to_string(), &answer);
        answer
    }

    /// Invokes the function and returns the line that it logs.
    pub(crate) async fn logged(&mut self, event: &Value) -> Value {
        self.invoke(event).await;
        self.line().await.1
    }

    /// Invokes the function with a deadline, in milliseconds since the epoch, and returns
    /// its response unchecked.
    pub(crate) async fn respond(&self, event: &Value, deadline_millis: u64) -> Value {
        let event = event.to_string();
        let completed = self.api.invoke(&event, deadline_millis).await.unwrap();
        completed.result.expect("the invocation succeeds")
    }

    /// Invokes the function with a client context that ends the process.
    pub(crate) async fn end_with(&mut self, client_context: &str) -> ExitStatus {
        tokio::select! {
            completed = self.api.invoke_with("{}", client_context) => {
                panic!("the process goes on: {completed:?}")
            }
            exit = self.process.wait() => exit.unwrap(),
        }
    }

    /// Waits for the next line that the function logs. Returns it as text and as
    /// JSON.
    pub(crate) async fn line(&mut self) -> (String, Value) {
        let line = self.lines.recv().await.expect("the function logs a line");
        let parsed = serde_json::from_str(&line).expect("a line is JSON");
        (line, parsed)
    }

    /// Waits for the error that the function reports instead of starting. Returns it
    /// with the exit status.
    pub(crate) async fn init_error(&mut self) -> (Value, ExitStatus) {
        let error = self.api.init_error().await.unwrap();
        (error, self.process.wait().await.unwrap())
    }
}
