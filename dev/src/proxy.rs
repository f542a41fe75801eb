//! A proxy between the function and a DynamoDB engine that injects the faults of networks and of DynamoDB.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use axum::body::Bytes;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Barrier, watch};

use crate::dynamodb::Client;

/// What goes wrong with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// DynamoDB refuses it with this code and status 400.
    Refused(&'static str),
    /// DynamoDB refuses it with this code, this message and status 400.
    RefusedFor(&'static str, &'static str),
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
    /// The answer comes at one byte per second.
    Drip,
    /// The answer is 200 with a body that is not JSON.
    Garbage(&'static str),
    /// The answer is the 502 of a load balancer, in HTML.
    Html,
    /// The answer comes after the function has given up the attempt.
    Late,
}

/// A fault, and when it happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    pub fault: Fault,
    /// Whether the engine handles the call before the fault happens.
    pub after_commit: bool,
}

impl Fault {
    /// This fault after the engine has handled the call.
    pub const fn after_commit(self) -> Plan {
        Plan {
            fault: self,
            after_commit: true,
        }
    }
}

/// The engine does not see the call.
impl From<Fault> for Plan {
    fn from(fault: Fault) -> Self {
        Self {
            fault,
            after_commit: false,
        }
    }
}

/// A call of the function.
#[derive(Debug, Clone)]
pub struct Recorded {
    /// The operation, such as `PutItem`.
    pub operation: String,
    pub bytes: Vec<u8>,
}

impl Recorded {
    /// The body as JSON.
    pub fn body(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap()
    }

    /// Returns whether it is for this cart, or of this index.
    pub fn is_for(&self, name: &str) -> bool {
        is_for(&self.bytes, name)
    }
}

/// DynamoDB's id of every call.
pub const REQUEST_ID: &str = "K2VH6V8EDKHPSJ5Q1D5TNTV0VRVV4KQNSO5AEMVJF66Q9ASUAAJG";

/// How much earlier or later than now DynamoDB accepts a signature.
const SIGNATURE_LIFE: Duration = Duration::from_secs(5 * 60);

/// A running proxy.
pub struct Proxy {
    pub endpoint: String,
    shared: Arc<Shared>,
}

struct Shared {
    engine: Client,
    plans: Mutex<Plans>,
    gathering: Mutex<Option<Arc<Barrier>>>,
    /// Which of the next calls are held, by a text in their bodies, and how many.
    holds: Mutex<Vec<(&'static str, usize)>>,
    /// The operations and bodies of the calls that are held.
    held: Mutex<Vec<(String, Vec<u8>)>>,
    calls: AtomicUsize,
    recorded: Mutex<Vec<Recorded>>,
    connections: AtomicUsize,
    /// Each connection by which a call may still reach the engine has a copy.
    open: Arc<()>,
    /// Whether calls are dropped, because their callers gave up before [`Proxy::heal`].
    draining: AtomicBool,
    /// How far DynamoDB's clock is ahead, in seconds, if it compares signatures with it.
    clock: Mutex<Option<i64>>,
    /// Changes when idle connections must close.
    generation: watch::Sender<()>,
}

#[derive(Default)]
struct Plans {
    next: VecDeque<(Option<String>, Plan)>,
    always: Option<Plan>,
}

impl Plans {
    /// Takes the plan for a call with this body.
    fn take(&mut self, body: &[u8]) -> Option<Plan> {
        let next = self.next.iter().position(|(name, _)| {
            let name = name.as_deref();
            name.is_none_or(|name| is_for(body, name))
        });
        let next = next.and_then(|next| self.next.remove(next));
        next.map(|(_, plan)| plan).or(self.always)
    }
}

impl Proxy {
    /// Starts a proxy to the engine at this endpoint, on a free port.
    pub async fn start(engine: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared {
            engine: Client::new(engine),
            plans: Mutex::default(),
            gathering: Mutex::default(),
            holds: Mutex::default(),
            held: Mutex::default(),
            calls: AtomicUsize::new(0),
            recorded: Mutex::default(),
            connections: AtomicUsize::new(0),
            open: Arc::default(),
            draining: AtomicBool::new(false),
            clock: Mutex::default(),
            generation: watch::Sender::new(()),
        });
        tokio::spawn(accept(listener, Arc::clone(&shared)));
        Self { endpoint, shared }
    }

    /// Applies a plan to the next so many calls.
    pub fn next(&self, plan: impl Into<Plan>, times: usize) {
        self.plan(None, plan.into(), times);
    }

    /// Applies a plan to the next so many calls for a cart, or of an index.
    pub fn next_for(&self, name: &str, plan: impl Into<Plan>, times: usize) {
        self.plan(Some(name.to_owned()), plan.into(), times);
    }

    fn plan(&self, name: Option<String>, plan: Plan, times: usize) {
        let planned = std::iter::repeat_n((name, plan), times);
        self.shared.plans.lock().unwrap().next.extend(planned);
    }

    /// Handles calls from now on only by so many at once: each waits until the others have come.
    pub fn gather(&self, calls: usize) {
        *self.shared.gathering.lock().unwrap() = Some(Arc::new(Barrier::new(calls)));
    }

    /// Applies a plan to all calls from now on.
    pub fn always(&self, plan: impl Into<Plan>) {
        self.shared.plans.lock().unwrap().always = Some(plan.into());
    }

    /// Sets DynamoDB's clock, which is so many seconds ahead. It then refuses signatures of other times, and its answers
    /// have a `Date`.
    pub fn set_clock(&self, seconds_ahead: i64) {
        *self.shared.clock.lock().unwrap() = Some(seconds_ahead);
    }

    /// Holds the next `times` calls whose bodies contain this text: their connections are closed, and they reach the
    /// engine only when [`deliver`](Self::deliver) sends them.
    pub fn hold(&self, text: &'static str, times: usize) {
        self.shared.holds.lock().unwrap().push((text, times));
    }

    /// Stops holding calls. Returns how many are held.
    pub fn release(&self) -> usize {
        self.shared.holds.lock().unwrap().clear();
        self.shared.held.lock().unwrap().len()
    }

    /// Sends all held calls to the engine, late. Can be called again.
    pub async fn deliver(&self) {
        let held = self.shared.held.lock().unwrap().clone();
        for (target, body) in held {
            self.shared.forward(&target, body).await;
        }
    }

    /// Ends all faults. Calls that were sent before and are still in flight are dropped, so that they do not reach the
    /// engine later.
    pub async fn heal(&self) {
        self.shared.draining.store(true, Ordering::SeqCst);
        self.close_idle_connections();
        // Connections are accepted in order, so all earlier ones have been accepted when this one is.
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut last = TcpStream::connect(address).await.unwrap();
        let _ = last.read_u8().await;
        while Arc::strong_count(&self.shared.open) > 1 {
            tokio::task::yield_now().await;
        }
        *self.shared.plans.lock().unwrap() = Plans::default();
        *self.shared.gathering.lock().unwrap() = None;
        self.shared.draining.store(false, Ordering::SeqCst);
    }

    /// The number of calls so far.
    pub fn calls(&self) -> usize {
        self.shared.calls.load(Ordering::SeqCst)
    }

    /// The calls since this was last called.
    pub fn take_recorded(&self) -> Vec<Recorded> {
        std::mem::take(&mut self.shared.recorded.lock().unwrap())
    }

    /// The number of connections that were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Closes every connection that is idle.
    pub fn close_idle_connections(&self) {
        self.shared.generation.send_replace(());
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        // The head and the body of an answer are two writes.
        stream.set_nodelay(true).unwrap();
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let open = Arc::clone(&shared.open);
        tokio::spawn(serve(stream, Arc::clone(&shared), open));
    }
}

/// Serves one connection. Returning closes it.
async fn serve(mut stream: TcpStream, shared: Arc<Shared>, open: Arc<()>) -> Option<()> {
    let mut generation = shared.generation.subscribe();
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
        let gathering = shared.gathering.lock().unwrap().clone();
        if let Some(gathering) = gathering {
            gathering.wait().await;
        }
        let plan = shared.plans.lock().unwrap().take(&body);
        let Some(plan) = plan else {
            let clock = *shared.clock.lock().unwrap();
            let now = clock.map(service_time);
            let refused = now.and_then(|now| refused_time(headers.get("x-amz-date")?, now));
            let (status, answer) = match refused {
                Some(message) => (400, refusal("InvalidSignatureException", &message)),
                None => shared.forward(&target, body).await,
            };
            let date = now.map(|now| format!("\r\ndate: {}", httpdate::fmt_http_date(now)));
            let headers = format!("{KEEP_ALIVE}{}", date.unwrap_or_default());
            send(&mut stream, &headers, status, &answer).await?;
            continue;
        };
        let transaction = target.ends_with("TransactWriteItems");
        let answer = match plan.after_commit {
            true => shared.forward(&target, body).await,
            false => (200, Bytes::from_static(b"{\"ConsumedCapacity\":{}}")),
        };
        drop(open);
        plan.fault.answer(stream, transaction, answer).await;
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

    async fn forward(&self, target: &str, body: Vec<u8>) -> (u16, Bytes) {
        let (status, answer) = self.engine.send(target, body.into()).await.unwrap();
        (status.as_u16(), answer)
    }
}

impl Fault {
    /// Answers a call and closes its connection. `status` and `answer` are those of a call without a fault.
    async fn answer(
        self,
        mut stream: TcpStream,
        transaction: bool,
        (status, answer): (u16, Bytes),
    ) -> Option<()> {
        let (status, answer) = match self {
            Self::Refused(code) => (400, refusal(code, DETAIL)),
            Self::RefusedFor(code, message) => (400, refusal(code, message)),
            Self::Conflict if transaction => (400, transaction_conflict()),
            Self::Conflict => (400, refusal("TransactionConflictException", DETAIL)),
            Self::Failed(status) => (status, refusal("InternalServerError", DETAIL)),
            Self::Garbage(body) => (200, body.into()),
            Self::Html => (502, "<html>Bad Gateway</html>".into()),
            Self::Late => {
                tokio::time::sleep(Duration::from_millis(1500)).await;
                (status, answer)
            }
            Self::Reset => return stream.set_zero_linger().ok(),
            Self::Close => return Some(()),
            Self::Hang => return until_closed(stream).await,
            Self::Truncated | Self::HangInBody => {
                send_head(&mut stream, CLOSE, status, answer.len() + 10).await?;
                stream.write_all(&answer).await.ok()?;
                return match self {
                    Self::Truncated => Some(()),
                    _ => until_closed(stream).await,
                };
            }
            Self::Drip => {
                send_head(&mut stream, CLOSE, status, answer.len()).await?;
                for byte in answer {
                    stream.write_all(&[byte]).await.ok()?;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                return Some(());
            }
        };
        send(&mut stream, CLOSE, status, &answer).await
    }
}

/// Returns whether the body of a call names this cart, or the key of an item of it.
fn is_for(body: &[u8], cart: &str) -> bool {
    let body = String::from_utf8_lossy(body);
    ["\"", "#"]
        .iter()
        .any(|end| body.contains(&format!("\"{cart}{end}")))
}

/// The time of a clock that is so many seconds ahead.
fn service_time(seconds_ahead: i64) -> SystemTime {
    let now = SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let ahead = now.checked_add_signed(seconds_ahead).unwrap();
    SystemTime::UNIX_EPOCH + Duration::from_secs(ahead)
}

/// Returns why a signature of this time is refused now, if it is.
fn refused_time(signed: &str, now: SystemTime) -> Option<String> {
    let times = [now - SIGNATURE_LIFE, now, now + SIGNATURE_LIFE];
    let [earliest, now, latest] = times.map(amz_date);
    if *signed < *earliest {
        let text = format!("{signed} is now earlier than {earliest} ({now} - 5 min.)");
        Some(format!("Signature expired: {text}"))
    } else if *signed > *latest {
        let text = format!("{signed} is still later than {latest} ({now} + 5 min.)");
        Some(format!("Signature not yet current: {text}"))
    } else {
        None
    }
}

/// A time as `x-amz-date` has it, such as 20261122T120000Z.
fn amz_date(time: SystemTime) -> String {
    const MONTHS: &str = "JanFebMarAprMayJunJulAugSepOctNovDec";
    // Sun, 22 Nov 2026 12:00:00 GMT
    let date = httpdate::fmt_http_date(time);
    let month = MONTHS.find(&date[8..11]).unwrap() / 3 + 1;
    let time = date[17..25].replace(':', "");
    format!("{}{month:02}{}T{time}Z", &date[12..16], &date[5..7])
}

/// What no caller may see.
const DETAIL: &str = "internal detail of the engine";

fn refusal(code: &str, message: &str) -> Bytes {
    let kind = format!("com.amazonaws.dynamodb.v20120810#{code}");
    let refusal = json!({ "__type": kind, "message": message });
    refusal.to_string().into()
}

fn transaction_conflict() -> Bytes {
    let conflict = json!({
        "__type": "com.amazonaws.dynamodb.v20120810#TransactionCanceledException",
        "Message": DETAIL,
        "CancellationReasons": [
            { "Code": "TransactionConflict", "Message": "Transaction is ongoing for the item" },
            { "Code": "None" },
        ],
    });
    conflict.to_string().into()
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

/// What the head of an answer says about its connection. Without it, a call could be sent while the connection is being
/// closed, and would be lost rightly.
const KEEP_ALIVE: &str = "connection: keep-alive";
const CLOSE: &str = "connection: close";

async fn send(stream: &mut TcpStream, headers: &str, status: u16, body: &[u8]) -> Option<()> {
    send_head(stream, headers, status, body.len()).await?;
    stream.write_all(body).await.ok()
}

async fn send_head(
    stream: &mut TcpStream,
    headers: &str,
    status: u16,
    length: usize,
) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\ncontent-type: application/x-amz-json-1.0\r\n\
         x-amzn-requestid: {REQUEST_ID}\r\ncontent-length: {length}\r\n{headers}\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.ok()
}

async fn until_closed(mut stream: TcpStream) -> Option<()> {
    stream.read_u8().await.ok().map(|_| ())
}
