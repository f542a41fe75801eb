//! A local stand-in for API Gateway. It answers the CORS requests of browsers as `template.yaml` configures it, and makes
//! an event of every other request.
//!
//! `cargo lambda watch` does both in its own way: its CORS allows everything, so a page could work here and fail in the
//! cloud; it does not decode a path, and fails on a body that is not UTF-8. So it only gets events.
//!
//! Unlike API Gateway, it also answers `/oauth/access_token`.
//!
//! Source: "Configure CORS for HTTP APIs in API Gateway", AWS.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, ensure};
use axum::body::{Body, to_bytes};
use axum::extract::rejection::RawPathParamsRejection;
use axum::extract::{DefaultBodyLimit, RawPathParams, Request, State};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{any, post};
use axum::{Json, Router};
use dev::api_gateway::{self, Route};
use dev::template::{Cors, Template};
use serde_json::json;
use tower_http::cors::CorsLayer;

use crate::issuer;
use crate::ports::Upstream;
use crate::tokens::Tokens;

const MAX_BODY: usize = 10 * 1024 * 1024;

/// The API for a function that `invoker` invokes, for pages of these origins.
pub(crate) fn router(invoker: Upstream, origins: &[String], tokens: Arc<Tokens>) -> Result<Router> {
    let mut router = Router::new();
    for path in Template::read().paths() {
        let template: Arc<str> = path.into();
        // A path that is not UTF-8 when decoded reaches the function undecoded.
        let handler = async move |State(invoker),
                                  parameters: Result<RawPathParams, RawPathParamsRejection>,
                                  request| {
            let route = parameters.ok().map(|parameters| {
                let parameters = parameters.iter();
                let parameters = parameters.map(|(name, value)| (name.into(), value.into()));
                (&*template, parameters.collect())
            });
            answer(invoker, route, request).await
        };
        router = router.route(path, any(handler));
    }
    let issue = async move |asked| issuer::answer(&tokens, asked).unwrap_or_else(failed);
    Ok(router
        .route(
            issuer::PATH,
            post(issue).layer(DefaultBodyLimit::max(issuer::MAX_BODY)),
        )
        .fallback(not_found)
        .layer(cors(origins)?)
        .layer(middleware::from_fn(answer_options))
        // For `cargo lambda invoke`.
        .route(
            "/2015-03-31/functions/{function}/invocations",
            post(pass_on),
        )
        .with_state(Arc::new(invoker)))
}

/// CORS as the template configures it. It answers every OPTIONS, which so never reaches the function.
fn cors(origins: &[String]) -> Result<CorsLayer> {
    let declared = Cors::declared()?;
    Ok(CorsLayer::new()
        .allow_origin(parsed::<HeaderValue>(origins)?)
        .allow_methods(parsed::<Method>(&declared.allow_methods)?)
        .allow_headers(parsed(&declared.allow_headers)?)
        .expose_headers(parsed(&declared.expose_headers)?)
        .max_age(Duration::from_secs(declared.max_age.into()))
        .vary([]))
}

fn parsed<T: FromStr<Err: std::error::Error + Send + Sync + 'static>>(
    texts: &[String],
) -> Result<Vec<T>> {
    Ok(texts
        .iter()
        .map(|text| text.parse())
        .collect::<Result<_, _>>()?)
}

/// The status of an answer to OPTIONS is 204.
async fn answer_options(request: Request, next: Next) -> Response {
    let is_options = request.method() == Method::OPTIONS;
    let mut response = next.run(request).await;
    if is_options {
        *response.status_mut() = StatusCode::NO_CONTENT;
    }
    response
}

async fn answer(invoker: Arc<Upstream>, route: Option<Route<'_>>, request: Request) -> Response {
    let invoked = invoke(&invoker, route, request).await;
    invoked.unwrap_or_else(failed)
}

async fn invoke(
    invoker: &Upstream,
    route: Option<Route<'_>>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, MAX_BODY).await?;
    let event = api_gateway::event(route, &parts, &body)?;
    let invocation = Request::post("/2015-03-31/functions/_/invocations");
    let invocation = invocation.body(Body::from(event.to_string()))?;
    let answer = invoker.send(invocation).await?;
    let status = answer.status();
    let answer = to_bytes(answer.into_body(), usize::MAX).await?;
    ensure!(
        status.is_success(),
        "the function failed: {}",
        String::from_utf8_lossy(&answer)
    );
    api_gateway::response(&serde_json::from_slice(&answer)?)
}

/// What API Gateway answers if no route matches ("Create routes for HTTP APIs in API Gateway", AWS). Another method of a
/// route's path reaches the function all the same, as from a function URL, so that its 405 can be seen.
async fn not_found(method: Method, uri: Uri) -> Response {
    eprintln!("{method} {} 404 by API Gateway: no route", uri.path());
    let message = Json(json!({ "message": "Not Found" }));
    (StatusCode::NOT_FOUND, message).into_response()
}

async fn pass_on(State(invoker): State<Arc<Upstream>>, request: Request) -> Response {
    invoker.send(request).await.unwrap_or_else(failed)
}

/// What API Gateway answers when a function fails.
fn failed(error: anyhow::Error) -> Response {
    eprintln!("error: the function did not answer: {error:#}");
    let message = r#"{"message":"Internal Server Error"}"#;
    (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
}
