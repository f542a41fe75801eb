//! A server of key sets that can rotate keys, answer with errors or hang, and counts its requests.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{Response, StatusCode, header};
use axum::routing::get;
use axum::serve::Listener;
use futures_util::{StreamExt as _, stream};
use tokio::net::TcpListener;

#[derive(Clone)]
pub enum Behaviour {
    /// Answers 200 with this body.
    Serve(String),
    /// Answers with this status and a key set that must not be used.
    Status(StatusCode, String),
    /// Answers with a redirect to this URL.
    Redirect(String),
    /// Never begins to answer.
    Hang,
    /// Begins to answer with this and never finishes.
    HangInBody(String),
}

pub struct KeyServer {
    pub url: String,
    shared: Arc<Shared>,
}

struct Shared {
    behaviour: Mutex<Behaviour>,
    asked: AtomicUsize,
}

impl KeyServer {
    /// Starts a server of this key set on a free port.
    pub async fn start(keys: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        Self::start_on(listener, url, keys)
    }

    /// Starts a server of this key set on `listener`, reached at `url`.
    pub fn start_on<L>(listener: L, url: String, keys: &str) -> Self
    where
        L: Listener,
        L::Addr: std::fmt::Debug,
    {
        let shared = Arc::new(Shared {
            behaviour: Mutex::new(Behaviour::Serve(keys.to_owned())),
            asked: AtomicUsize::new(0),
        });
        let router = Router::new()
            .route("/keys", get(answer))
            .with_state(Arc::clone(&shared));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { url, shared }
    }

    pub fn does(&self, behaviour: Behaviour) {
        *self.shared.behaviour.lock().unwrap() = behaviour;
    }

    pub fn serves(&self, keys: &str) {
        self.does(Behaviour::Serve(keys.to_owned()));
    }

    pub fn asked(&self) -> usize {
        self.shared.asked.load(Ordering::SeqCst)
    }

    pub async fn until_asked(&self, times: usize) {
        while self.asked() < times {
            tokio::task::yield_now().await;
        }
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response<Body> {
    shared.asked.fetch_add(1, Ordering::SeqCst);
    let behaviour = shared.behaviour.lock().unwrap().clone();
    let response = Response::builder();
    let response = match behaviour {
        Behaviour::Serve(body) => response.body(body.into()),
        Behaviour::Status(status, body) => response.status(status).body(body.into()),
        Behaviour::Redirect(to) => response
            .status(StatusCode::FOUND)
            .header(header::LOCATION, to)
            .body(Body::empty()),
        Behaviour::Hang => std::future::pending().await,
        Behaviour::HangInBody(begin) => {
            let begin = stream::once(async move { Ok::<_, std::io::Error>(Bytes::from(begin)) });
            response.body(Body::from_stream(begin.chain(stream::pending())))
        }
    };
    response.unwrap()
}
