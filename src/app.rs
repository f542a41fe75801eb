//! The path of a request: caller, operation, response, one log line.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use lambda_http::http::{HeaderMap, HeaderValue, Request, Response, header};
use lambda_http::{Body, Context, RequestExt as _};

use crate::api::{self, Answer, ApiRequest};
use crate::auth::Authenticator;
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::error::{self, Error, ErrorCode};
use crate::jsonapi::media_type;
use crate::store::Store;
use crate::telemetry::{self, RequestLine};

/// The time for an invocation without a known deadline.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

/// The time before the deadline that is kept for the response.
const RESPONSE_RESERVE: Duration = Duration::from_millis(500);

/// The function: an HTTP service, and the state that all requests share.
#[derive(Debug)]
pub struct App {
    authenticator: Authenticator,
    store: Store,
    clock: Clock,
    association_lifetime: Option<Duration>,
    error_docs_url: Option<String>,
}

impl App {
    pub fn new(config: Config, store: Store, client: &Client, clock: Clock) -> Self {
        Self {
            authenticator: Authenticator::new(config.tokens, client, &clock),
            store,
            clock,
            association_lifetime: config.association_lifetime,
            error_docs_url: config.error_docs_url,
        }
    }

    /// Fetches the keys and connects to the store before the first request.
    /// Requests retry what fails here, and log their own failures.
    pub async fn warm_up(&self) {
        let ((), connected) = tokio::join!(self.authenticator.load_keys(), self.store.warm_up());
        if let Err(error) = connected {
            tracing::debug!(cause = error.to_string(), "the warm-up of the store failed");
        }
    }

    /// Answers a request before the deadline of its [`Context`], if it has one. Every
    /// error becomes a response and is logged once.
    pub async fn handle(&self, request: Request<Body>) -> Response<Body> {
        let mut line = RequestLine::begin();
        let result = AssertUnwindSafe(self.answer(&request, &mut line)).catch_unwind();
        let result = result
            .await
            .unwrap_or_else(|_| Err(Error::Panic(telemetry::take_panic().unwrap_or_default())));
        let context = request.lambda_context_ref();
        let request_id = context.map_or("", |context| &context.request_id);
        self.respond(result, line, request.headers(), request_id)
    }

    /// Answers an event that is no request.
    pub fn refuse_unreadable(&self, context: &Context) -> Response<Body> {
        let result = Err(ErrorCode::UnreadableEvent.into());
        let (line, no_headers) = (RequestLine::begin(), HeaderMap::new());
        self.respond(result, line, &no_headers, &context.request_id)
    }

    async fn answer(
        &self,
        request: &Request<Body>,
        line: &mut RequestLine,
    ) -> Result<Answer, Error> {
        let now = self.clock.now();
        let time = time_left(request.lambda_context_ref(), now);
        let deadline = line.began + time.saturating_sub(RESPONSE_RESERVE);

        let matched = api::find(request.method(), request.uri().path())?;
        line.route = matched.key.clone();
        let caller = self
            .authenticator
            .authenticate(request.headers(), now, deadline);
        let caller = caller.await?;
        line.caller = caller.name();

        let store = self.store.session(deadline);
        let request = ApiRequest {
            http: request,
            matched: &matched,
            caller: &caller,
            authenticator: &self.authenticator,
            store: &store,
            lifetime: self.association_lifetime,
            now,
            deadline,
        };
        let answer = (matched.operation)(&request).await;
        line.metrics.store_attempts = store.attempts();
        line.metrics.store_ms = telemetry::millis(store.time());
        answer
    }

    /// Completes the response and logs the request.
    fn respond(
        &self,
        result: Result<Answer, Error>,
        mut line: RequestLine,
        request_headers: &HeaderMap,
        request_id: &str,
    ) -> Response<Body> {
        let mut response = match result {
            Ok(answer) => {
                line.metrics.outcome = answer.outcome;
                if let Some(failure) = &answer.failure {
                    error::log_failure(&mut line, failure);
                }
                answer.response
            }
            Err(error) => error.answer(&mut line, request_id, self.error_docs_url.as_deref()),
        };
        let has_body = !response.body().is_empty();
        let headers = response.headers_mut();
        if has_body {
            let media_type = media_type::accepted(request_headers).answer_type;
            headers.insert(header::CONTENT_TYPE, media_type);
        }
        headers.insert(header::VARY, HeaderValue::from_static("Accept"));
        // Whose list it is depends on a header that caches do not look at.
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        line.status = response.status().as_u16();
        telemetry::request(&mut line);
        response
    }
}

/// Returns the time left. A deadline in the past means that none is known: `cargo
/// lambda watch` sends one in 1970.
fn time_left(context: Option<&Context>, now: Timestamp) -> Duration {
    let deadline = context.map(|context| Timestamp::from_millis(context.deadline));
    let left = deadline.and_then(|deadline| now.until(deadline));
    left.unwrap_or(DEFAULT_TIME)
}
