//! A proxy between the function and the engine that does to calls what networks
//! and DynamoDB do to them.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use lambda_http::http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// DynamoDB refuses it with this code and status 400.
    Refused(&'static str),
    /// DynamoDB cancels the transaction for a conflict, or refuses a single
    /// write for one.
    Conflict,
    /// DynamoDB fails with this status.
    Failed(u16),
    /// The connection is reset.
    Reset,
    /// The connection is closed.
    Close,
    /// The answer breaks off in its body.
    Truncated,
    /// The answer never begins.
    Hang,
    /// The answer stops in its body.
    HangInBody,
    /// The answer comes byte by byte, one a second.
    Drip,
    /// The answer is 200 with a body that is not JSON.
    Garbage(&'static str),
    /// The answer is a 502 of something in between.
    Html,
    /// The answer comes after the attempt was given up.
    Late,
}

/// A fault, and whether the engine did before what it was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) fault: Fault,
    pub(crate) after_commit: bool,
}

/// A call: the operation and its body.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    pub(crate) operation: String,
    pub(crate) bytes: Vec<u8>,
}

impl Recorded {
    pub(crate) fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }
}

/// A running proxy.
pub(crate) struct Proxy {
    pub(crate) endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    engine: String,
    client: Client<HttpConnector, Full<bytes::Bytes>>,
    plans: Mutex<Plans>,
    /// Which of the next calls are held, by a text in their bodies, and how many.
    holds: Mutex<Vec<(&'static str, usize)>>,
    /// The operations and bodies of the calls that are held.
    held: Mutex<Vec<(String, Vec<u8>)>>,
    calls: AtomicUsize,
    recorded: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    /// How many connections may yet bring a call to the engine.
    open: AtomicUsize,
    /// Calls that come now were sent long ago, by those who wait no more.
    draining: AtomicBool,
    /// Changes when the connections are to be closed.
    generation: watch::Sender<usize>,
}

#[derive(Default)]
struct Plans {
    next: VecDeque<Plan>,
    always: Option<Plan>,
}

impl Proxy {
    /// A proxy to the engine at this endpoint.
    pub(crate) async fn start(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            client: Client::builder(TokioExecutor::new()).build_http(),
            plans: Mutex::default(),
            holds: Mutex::default(),
            held: Mutex::default(),
            calls: AtomicUsize::new(0),
            recorded: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            draining: AtomicBool::new(false),
            generation: watch::Sender::new(0),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { endpoint, shared }
    }

    /// The next so many calls meet this fault.
    pub(crate) fn next(&self, plan: Plan, times: usize) {
        let mut plans = self.shared.plans.lock().unwrap();
        plans.next.extend(std::iter::repeat_n(plan, times));
    }

    /// All calls meet this fault, from now on.
    pub(crate) fn always(&self, plan: Plan) {
        self.shared.plans.lock().unwrap().always = Some(plan);
    }

    /// The next so many calls that have this text in their bodies are held: their
    /// connections are closed, and they reach the engine when they are delivered.
    pub(crate) fn hold(&self, text: &'static str, times: usize) {
        self.shared.holds.lock().unwrap().push((text, times));
    }

    /// Holds no more calls, and returns how many are held.
    pub(crate) fn release(&self) -> usize {
        self.shared.holds.lock().unwrap().clear();
        self.shared.held.lock().unwrap().len()
    }

    /// Brings all calls that are held to the engine, as late as this. They can be
    /// delivered again. Returns the statuses of the answers, which nobody else gets.
    pub(crate) async fn deliver(&self) -> Vec<u16> {
        let held = self.shared.held.lock().unwrap().clone();
        let mut statuses = Vec::new();
        for (target, body) in held {
            statuses.push(self.shared.forward(&target, body).await.0);
        }
        statuses
    }

    /// No call meets a fault any more. What was sent before and is still under
    /// way never arrives, so that it does not meet what comes after.
    pub(crate) async fn heal(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.close_idle_connections();
        // Connections are accepted in their order: behind this one there is none
        // that was opened before.
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut last = TcpStream::connect(address).await.unwrap();
        let _ = last.read_u8().await;
        while self.shared.open.load(Ordering::SeqCst) > 0 {
            tokio::task::yield_now().await;
        }
        *self.shared.plans.lock().unwrap() = Plans::default();
        self.shared.draining.store(false, Ordering::SeqCst);
    }

    /// How many calls came.
    pub(crate) fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// The calls that came since this was asked last.
    pub(crate) fn take_recorded(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.shared.recorded.lock().unwrap())
    }

    /// How many connections were opened.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection that is idle.
    pub(crate) fn close_idle_connections(&self) {
        self.shared
            .generation
            .send_modify(|generation| *generation += 1);
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // Head and body are written one after the other.
        stream.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let open = Open::new(&shared);
        tokio::spawn(serve(stream, open));
    }
}

/// A connection that may yet bring a call to the engine.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Serves one connection until it ends. `None` ends it too.
async fn serve(mut stream: TcpStream, open: Open) -> Option<()> {
    let shared = &open.0;
    let mut generation = shared.generation.subscribe();
    generation.mark_unchanged();
    loop {
        if shared.draining.load(Ordering::SeqCst) {
            return None;
        }
        let (headers, body) = tokio::select! {
            biased;
            _ = generation.changed() => return None,
            call = read_call(&mut stream) => call?,
        };
        shared.calls.fetch_add(1, Ordering::SeqCst);
        let target = headers.get("x-amz-target")?.clone();
        shared.record(&target, &body);
        if shared.holds(&body) {
            shared.held.lock().unwrap().push((target, body));
            return None;
        }
        let plan = {
            let mut plans = shared.plans.lock().unwrap();
            plans.next.pop_front().or(plans.always)
        };
        let Some(plan) = plan else {
            let (status, answer) = shared.forward(&target, body).await;
            send(&mut stream, status, &answer).await?;
            continue;
        };
        let transaction = target.ends_with("TransactWriteItems");
        let committed = if plan.after_commit {
            Some(shared.forward(&target, body).await)
        } else {
            None
        };
        drop(open);
        plan.fault.answer(stream, transaction, committed).await;
        return None;
    }
}

impl Shared {
    fn holds(&self, body: &[u8]) -> bool {
        let body = String::from_utf8_lossy(body);
        let mut holds = self.holds.lock().unwrap();
        let hold = holds
            .iter_mut()
            .find(|(text, times)| *times > 0 && body.contains(text));
        hold.map(|(_, times)| *times -= 1).is_some()
    }

    fn record(&self, target: &str, body: &[u8]) {
        let (_, operation) = target.split_once('.').unwrap();
        self.recorded.lock().unwrap().push(Recorded {
            operation: operation.to_owned(),
            bytes: body.to_owned(),
        });
    }

    async fn forward(&self, target: &str, body: Vec<u8>) -> (u16, Vec<u8>) {
        const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 \
            Credential=test/20261122/us-east-1/dynamodb/aws4_request, SignedHeaders=host, Signature=0";
        let request = Request::post(&self.engine)
            .header("x-amz-target", target)
            .header("content-type", "application/x-amz-json-1.0")
            .header("authorization", AUTHORIZATION)
            .header("x-amz-date", "20261122T120000Z")
            .body(Full::from(body))
            .unwrap();
        let response = self.client.request(request).await.unwrap();
        let status = response.status().as_u16();
        let answer = response.into_body().collect().await.unwrap().to_bytes();
        (status, answer.into())
    }
}

impl Fault {
    /// Answers a call and ends its connection. `committed` is the engine's
    /// answer, if it was asked.
    async fn answer(
        self,
        mut stream: TcpStream,
        transaction: bool,
        committed: Option<(u16, Vec<u8>)>,
    ) -> Option<()> {
        let (status, answer) = committed.unwrap_or((200, b"{\"ConsumedCapacity\":{}}".to_vec()));
        match self {
            Self::Refused(code) => send(&mut stream, 400, &refusal(code)).await,
            Self::Conflict if transaction => send(&mut stream, 400, &transaction_conflict()).await,
            Self::Conflict => {
                send(&mut stream, 400, &refusal("TransactionConflictException")).await
            }
            Self::Failed(status) => {
                send(&mut stream, status, &refusal("InternalServerError")).await
            }
            Self::Reset => stream.set_zero_linger().ok(),
            Self::Close => Some(()),
            Self::Truncated => {
                send_head(&mut stream, status, answer.len() + 10).await?;
                stream.write_all(&answer).await.ok()
            }
            Self::Hang => until_closed(stream).await,
            Self::HangInBody => {
                send_head(&mut stream, status, answer.len() + 10).await?;
                stream.write_all(&answer).await.ok()?;
                until_closed(stream).await
            }
            Self::Drip => {
                send_head(&mut stream, status, answer.len()).await?;
                for byte in answer {
                    stream.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                None
            }
            Self::Garbage(body) => send(&mut stream, 200, body.as_bytes()).await,
            Self::Html => send(&mut stream, 502, b"<html>Bad Gateway</html>").await,
            Self::Late => {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                send(&mut stream, status, &answer).await
            }
        }
    }
}

fn refusal(code: &str) -> Vec<u8> {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let message = "internal detail of the engine";
    json!({ "__type": kind, "message": message })
        .to_string()
        .into_bytes()
}

fn transaction_conflict() -> Vec<u8> {
    let answer: Value = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": "internal detail of the engine",
        "CancellationReasons": [
            { "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" },
            { "Code": "None" },
        ],
    });
    answer.to_string().into_bytes()
}

/// Reads one call: its headers and its body.
async fn read_call(stream: &mut TcpStream) -> Option<(BTreeMap<String, String>, Vec<u8>)> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
    }
    let head = String::from_utf8(head).unwrap();
    let mut headers = BTreeMap::new();
    for (name, value) in head.lines().filter_map(|line| line.split_once(": ")) {
        let other = headers.insert(name.to_lowercase(), value.to_owned());
        assert_eq!(other, None, "{name} is there twice");
    }
    let length = headers.get("content-length")?.parse().unwrap();
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.ok()?;
    Some((headers, body))
}

async fn send(stream: &mut TcpStream, status: u16, body: &[u8]) -> Option<()> {
    send_head(stream, status, body.len()).await?;
    stream.write_all(body).await.ok()
}

async fn send_head(stream: &mut TcpStream, status: u16, length: usize) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\n\
         content-length: {length}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()
}

async fn until_closed(mut stream: TcpStream) -> Option<()> {
    stream.read_u8().await.ok().map(|_| ())
}
