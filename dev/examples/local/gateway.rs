//! A local stand-in for API Gateway. It answers the CORS requests of browsers as `template.yaml` configures it, and makes
//! an event of every other request.
//!
//! `cargo lambda watch` does both in its own way: its CORS allows everything, so a page could work here and fail in the
//! cloud; it does not decode a path, and fails on a body that is not UTF-8. So it only gets events.
//!
//! Unlike API Gateway, it also answers `/oauth/access_token`.
//!
//! Source: "Configure CORS for HTTP APIs in API Gateway", AWS.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header, uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use dev::api_gateway::{self, Route};
use dev::template::{Cors, Template};
use dev::tokens::Authorities;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use tokio::net::TcpListener;

use crate::issuer;

/// The longest body that API Gateway accepts.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Listeners on a port of this machine, not reachable from others.
pub(crate) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Takes `port`, or a free port if that is 0, at `127.0.0.1` and, on a machine with IPv6, at `::1`, where
    /// `cargo lambda invoke` connects.
    ///
    /// # Errors
    ///
    /// If the port is taken.
    pub(crate) async fn on(port: u16) -> Result<Self> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            listeners.push(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await?);
        }
        Ok(Self(listeners))
    }

    /// The port.
    pub(crate) fn port(&self) -> Result<u16> {
        let first = self.0.first().context("no listener")?;
        Ok(first.local_addr()?.port())
    }

    /// Serves until the program ends.
    pub(crate) fn serve(self, router: &Router) {
        for listener in self.0 {
            tokio::spawn(axum::serve(listener, router.clone()).into_future());
        }
    }
}

/// The gateway.
pub(crate) struct Gateway {
    /// Host and port of what invokes the function.
    invoker: uri::Authority,
    /// The origins of the pages that may call.
    origins: Vec<String>,
    cors: Cors,
    client: Client<HttpConnector, Body>,
    authorities: Arc<Authorities>,
}

impl Gateway {
    /// A gateway for a function that is invoked at `invoker`, host and port, for pages of these origins, and for clients
    /// that get their tokens from these authorities.
    pub(crate) fn new(
        invoker: &str,
        origins: Vec<String>,
        authorities: Arc<Authorities>,
    ) -> Result<Self> {
        Ok(Self {
            invoker: invoker.parse()?,
            origins,
            cors: Cors::declared()?,
            client: Client::builder(TokioExecutor::new()).build_http(),
            authorities,
        })
    }

    pub(crate) fn router(self) -> Router {
        let mut router = Router::new();
        for path in Template::read().paths() {
            let template: Arc<str> = path.into();
            // A path that is not UTF-8 when decoded reaches the function undecoded.
            let handler = async move |State(gateway),
                                      parameters: Result<RawPathParams, RawPathParamsRejection>,
                                      request| {
                let route = parameters.ok().map(|parameters| {
                    let parameters = parameters.iter();
                    let parameters = parameters.map(|(name, value)| (name.into(), value.into()));
                    (&*template, parameters.collect())
                });
                answer(gateway, route, request).await
            };
            router = router.route(path, any(handler));
        }
        router
            // For `cargo lambda invoke`.
            .route(
                "/2015-03-31/functions/{function}/invocations",
                post(pass_on),
            )
            .route(issuer::PATH, post(issue).options(preflight))
            // As from a function URL, so that the function's own 404 can be seen.
            .fallback(async |State(gateway), request| answer(gateway, None, request).await)
            .with_state(Arc::new(self))
    }

    /// The `Origin` of a request, if its page may call.
    fn allowed<'h>(&self, headers: &'h HeaderMap) -> Option<&'h HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        let allowed = self.origins.iter().any(|allowed| allowed == origin);
        allowed.then_some(origin)
    }

    /// The answer to an OPTIONS, which never reaches the function.
    fn preflight(&self, headers: &HeaderMap) -> Result<Response> {
        let mut response = StatusCode::NO_CONTENT.into_response();
        let is_preflight = headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let Some(origin) = self.allowed(headers).filter(|_| is_preflight) else {
            return Ok(response);
        };
        for (name, value) in [
            (header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()),
            (
                header::ACCESS_CONTROL_ALLOW_METHODS,
                self.cors.allow_methods.join(",").try_into()?,
            ),
            (
                header::ACCESS_CONTROL_ALLOW_HEADERS,
                self.cors.allow_headers.join(",").try_into()?,
            ),
            (header::ACCESS_CONTROL_MAX_AGE, self.cors.max_age.into()),
        ] {
            response.headers_mut().insert(name, value);
        }
        Ok(response)
    }

    /// The function's answer, with CORS headers for a page that may call.
    async fn invoke(&self, route: Option<Route<'_>>, request: Request) -> Result<Response> {
        let (parts, body) = request.into_parts();
        let body = to_bytes(body, MAX_BODY).await?;
        let event = api_gateway::event(route, &parts, &body)?;
        let invocation = Request::post("/2015-03-31/functions/_/invocations");
        let invocation = invocation.body(Body::from(event.to_string()))?;
        let answer = self.forward(invocation).await?;
        let status = answer.status();
        let answer = to_bytes(answer.into_body(), usize::MAX).await?;
        ensure!(
            status.is_success(),
            "the function failed: {}",
            String::from_utf8_lossy(&answer)
        );
        let response = api_gateway::response(&serde_json::from_slice(&answer)?)?;
        self.readable(response, &parts.headers)
    }

    /// A response with CORS headers, if the request with `headers` is from a page that may call.
    fn readable(&self, mut response: Response, headers: &HeaderMap) -> Result<Response> {
        if let Some(origin) = self.allowed(headers) {
            let exposed = self.cors.expose_headers.join(",").try_into()?;
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        Ok(response)
    }

    /// The answer to a request for a token.
    async fn issue(&self, request: Request) -> Result<Response> {
        let headers = request.headers().clone();
        let response = issuer::answer(&self.authorities.access, request).await?;
        self.readable(response, &headers)
    }

    /// Sends a request to the invoker.
    async fn forward(&self, mut request: Request) -> Result<Response> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(self.invoker.clone());
        *request.uri_mut() = Uri::from_parts(parts)?;
        Ok(self.client.request(request).await?.map(Body::new))
    }
}

async fn answer(gateway: Arc<Gateway>, route: Option<Route<'_>>, request: Request) -> Response {
    let answered = if request.method() == Method::OPTIONS {
        gateway.preflight(request.headers())
    } else {
        gateway.invoke(route, request).await
    };
    answered.unwrap_or_else(failed)
}

async fn issue(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.issue(request).await.unwrap_or_else(failed)
}

async fn preflight(State(gateway): State<Arc<Gateway>>, headers: HeaderMap) -> Response {
    gateway.preflight(&headers).unwrap_or_else(failed)
}

async fn pass_on(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.forward(request).await.unwrap_or_else(failed)
}

/// What API Gateway answers when a function fails.
fn failed(error: anyhow::Error) -> Response {
    eprintln!("error: the function did not answer: {error:#}");
    let message = r#"{"message":"Internal Server Error"}"#;
    (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}
