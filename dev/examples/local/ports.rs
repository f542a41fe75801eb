//! Ports that only programs of this machine reach, and that answer only requests which name this machine. Otherwise a page
//! of another site whose name leads here (DNS rebinding) could read development tokens and data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use anyhow::{Context as _, Result};
use axum::body::Body;
use axum::extract::Request;
use axum::http::uri::{Authority, Parts, Scheme};
use axum::http::{HeaderMap, StatusCode, Uri, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::json;
use tokio::net::TcpListener;

/// Listeners on a port of this machine, not reachable from others.
pub(crate) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Takes the port in an environment variable, or `default`, for `what`.
    pub(crate) async fn configured(variable: &str, what: &str, default: u16) -> Result<Self> {
        let port = match std::env::var(variable) {
            Ok(port) => port
                .parse()
                .with_context(|| format!("{variable} is not a port: it is {port:?}"))?,
            Err(_) => default,
        };
        let taken = || format!("{what} cannot listen on port {port} ({variable}=… sets another)");
        Self::on(port).await.with_context(taken)
    }

    /// Takes `port`, or a free port if that is 0, at `127.0.0.1` and, on a machine with IPv6, at `::1`, where
    /// `cargo lambda invoke` connects.
    pub(crate) async fn on(port: u16) -> Result<Self> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            listeners.push(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await?);
        }
        Ok(Self(listeners))
    }

    pub(crate) fn port(&self) -> Result<u16> {
        let first = self.0.first().context("no listener")?;
        Ok(first.local_addr()?.port())
    }

    /// Serves until the program ends.
    pub(crate) fn serve(self, router: Router) {
        let router = router.layer(middleware::from_fn(only_for_this_machine));
        for listener in self.0 {
            tokio::spawn(axum::serve(listener, router.clone()).into_future());
        }
    }
}

/// Refuses a request with another `Host` as API Gateway does: 403.
async fn only_for_this_machine(request: Request, next: Next) -> Response {
    if names_this_machine(request.headers()) {
        return next.run(request).await;
    }
    let message = "Forbidden: this port answers for localhost, 127.0.0.1 and [::1] only.";
    (StatusCode::FORBIDDEN, Json(json!({ "message": message }))).into_response()
}

/// Whether `Host` is `localhost` or a loopback address.
fn names_this_machine(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let Ok(host) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = host.host();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

/// A server that requests are passed on to.
pub(crate) struct Upstream {
    address: Authority,
    client: Client<HttpConnector, Body>,
}

impl Upstream {
    pub(crate) fn new(address: &str) -> Result<Self> {
        Ok(Self {
            address: address.parse()?,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    pub(crate) async fn send(&self, mut request: Request) -> Result<Response> {
        let mut parts: Parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(Scheme::HTTP);
        parts.authority = Some(self.address.clone());
        *request.uri_mut() = Uri::from_parts(parts)?;
        Ok(self.client.request(request).await?.map(Body::new))
    }
}
