//! What API Gateway does before the function: it answers browsers that ask whether a page may call (CORS), as
//! `template.yaml` configures it, and makes an event of each request.
//!
//! `cargo lambda watch` does both in its own way: its CORS lets everything pass, so that a page would work here and fail
//! where it matters; it does not decode a path, and fails on a body that is not UTF-8. So it gets events alone.
//!
//! Sources: "Configure CORS for HTTP APIs in API Gateway" and "Create AWS Lambda proxy integrations for HTTP APIs in API
//! Gateway", AWS.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::{Context as _, Result, ensure};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{RawPathParams, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header, uri};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::cors::Cors;

/// The routes of the template. Every other path goes to the function too, as from a function URL, so that its own 404 can
/// be seen.
const ROUTES: [&str; 3] = [
    "/v2/carts",
    "/v2/carts/{cartId}/relationships/customers",
    "/v2/customers/{customerId}/relationships/carts",
];

/// The longest body that API Gateway takes.
const MAX_BODY: usize = 10 * 1024 * 1024;

/// Where the API listens: this machine alone.
pub(crate) struct Listeners(Vec<TcpListener>);

impl Listeners {
    /// Takes `port`, or a free one where it is 0, at `127.0.0.1` and, on a machine with IPv6, at `::1`, where
    /// `cargo lambda invoke` looks.
    ///
    /// # Errors
    ///
    /// When the port is taken.
    pub(crate) async fn at(port: u16) -> Result<Self> {
        let first = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
        let port = first.local_addr()?.port();
        let mut listeners = vec![first];
        if TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).await.is_ok() {
            listeners.push(TcpListener::bind((Ipv6Addr::LOCALHOST, port)).await?);
        }
        Ok(Self(listeners))
    }

    /// The port that was taken.
    pub(crate) fn port(&self) -> Result<u16> {
        let first = self.0.first().context("there is a listener")?;
        Ok(first.local_addr()?.port())
    }

    /// Serves until the program ends.
    pub(crate) fn serve(self, router: &Router) {
        for listener in self.0 {
            tokio::spawn(axum::serve(listener, router.clone()).into_future());
        }
    }
}

/// What stands between browsers and the function.
pub(crate) struct Gateway {
    /// Host and port of what runs the function.
    function: uri::Authority,
    origins: Vec<String>,
    cors: Cors,
    client: Client<HttpConnector, Body>,
}

impl Gateway {
    /// A gateway before the function that is run at `port`, for pages of these origins.
    pub(crate) fn new(function: u16, origins: Vec<String>) -> Result<Self> {
        Ok(Self {
            function: format!("127.0.0.1:{function}").parse()?,
            origins,
            cors: Cors::declared()?,
            client: Client::builder(TokioExecutor::new()).build_http(),
        })
    }

    pub(crate) fn router(self) -> Router {
        let mut router = Router::new();
        for route in ROUTES {
            // What is not UTF-8 once it is decoded reaches the function as it came.
            let handler = async move |State(gateway),
                                      parameters: Result<RawPathParams, RawPathParamsRejection>,
                                      request| {
                let matched = parameters.ok().map(|parameters| (route, parameters));
                answer(gateway, matched, request).await
            };
            router = router.route(route, any(handler));
        }
        router
            // For `cargo lambda invoke`.
            .route(
                "/2015-03-31/functions/{function}/invocations",
                post(pass_on),
            )
            .fallback(async |State(gateway), request| answer(gateway, None, request).await)
            .with_state(Arc::new(self))
    }

    /// The origin of a page that may call.
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

    /// The function's answer, with the gateway's CORS headers and no others.
    async fn integration(
        &self,
        route: Option<(&str, RawPathParams)>,
        request: Request,
    ) -> Result<Response> {
        let origin = self.allowed(request.headers()).cloned();
        let event = event(route, request).await?;
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
        let mut response = http_answer(&serde_json::from_slice(&answer)?)?;
        if let Some(origin) = origin {
            let exposed = self.cors.expose_headers.join(",").try_into()?;
            let headers = response.headers_mut();
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
        }
        Ok(response)
    }

    /// What runs the function answers this request.
    async fn forward(&self, mut request: Request) -> Result<Response> {
        let mut parts = std::mem::take(request.uri_mut()).into_parts();
        parts.scheme = Some(uri::Scheme::HTTP);
        parts.authority = Some(self.function.clone());
        *request.uri_mut() = Uri::from_parts(parts)?;
        Ok(self.client.request(request).await?.map(Body::new))
    }
}

async fn answer(
    gateway: Arc<Gateway>,
    route: Option<(&str, RawPathParams)>,
    request: Request,
) -> Response {
    let answered = if request.method() == Method::OPTIONS {
        gateway.preflight(request.headers())
    } else {
        gateway.integration(route, request).await
    };
    answered.unwrap_or_else(failed)
}

async fn pass_on(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    gateway.forward(request).await.unwrap_or_else(failed)
}

/// What API Gateway says when a function does not answer.
fn failed(error: anyhow::Error) -> Response {
    eprintln!("error: no answer of the function: {error:#}");
    let message = r#"{"message":"Internal Server Error"}"#;
    (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}

/// The event of payload format 2.0, of which a matched route has its parameters decoded.
async fn event(route: Option<(&str, RawPathParams)>, request: Request) -> Result<Value> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let body = to_bytes(body, MAX_BODY).await?;
    let mut event = json!({
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": parts.uri.query().unwrap_or_default(),
        "headers": joined(&parts.headers),
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "local",
            "domainName": "localhost",
            "domainPrefix": "local",
            "http": {
                "method": parts.method.as_str(),
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "127.0.0.1",
                "userAgent": "",
            },
            "requestId": "local",
            "routeKey": "$default",
            "stage": "$default",
            "time": "",
            "timeEpoch": millis_since_epoch()?,
        },
        "isBase64Encoded": false,
    });
    if let Some((route, parameters)) = route {
        let key = format!("ANY {route}");
        event["routeKey"] = json!(key);
        event["requestContext"]["routeKey"] = json!(key);
        let parameters: BTreeMap<&str, &str> = parameters.iter().collect();
        event["pathParameters"] = json!(parameters);
    }
    match std::str::from_utf8(&body) {
        Ok("") => {}
        Ok(text) => event["body"] = json!(text),
        Err(_) => {
            event["body"] = json!(STANDARD.encode(&body));
            event["isBase64Encoded"] = json!(true);
        }
    }
    Ok(event)
}

fn millis_since_epoch() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    Ok(since.as_millis().try_into()?)
}

/// "Duplicate headers are combined with commas."
fn joined(headers: &HeaderMap) -> BTreeMap<&str, String> {
    let mut joined: BTreeMap<&str, String> = BTreeMap::new();
    for (name, value) in headers {
        let value = String::from_utf8_lossy(value.as_bytes());
        joined
            .entry(name.as_str())
            .and_modify(|values| *values = format!("{values},{value}"))
            .or_insert_with(|| value.clone().into_owned());
    }
    joined
}

/// "If you configure CORS for an API, API Gateway ignores CORS headers returned from your backend integration."
fn http_answer(answer: &Value) -> Result<Response> {
    let status = answer["statusCode"]
        .as_u64()
        .context("an answer has a status")?;
    let mut response = Response::new(Body::from(answer["body"].as_str().unwrap_or("").to_owned()));
    *response.status_mut() = StatusCode::from_u16(status.try_into()?)?;
    for (name, value) in answer["headers"].as_object().into_iter().flatten() {
        let name: HeaderName = name.parse()?;
        if !name.as_str().starts_with("access-control-") {
            let value = value.as_str().context("a header is text")?;
            response.headers_mut().insert(name, value.parse()?);
        }
    }
    Ok(response)
}
