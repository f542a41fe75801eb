//! The path of a request, on one screen.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use lambda_http::{Context, LambdaEvent};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Level;

use crate::association::Associations;
use crate::auth::{AuthError, Authenticator, CartProof};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::error::Error;
use crate::request::{Operation, Request, ResponseOptions};
use crate::response::{self, ErrorDocuments, Outcome, Response};
use crate::store::{Budget, Store, StoreError};
use crate::telemetry::{self, Cause, RequestLine};

/// The time for an invocation without a known deadline.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

/// The time before the deadline that is kept for the response.
const RESPONSE_RESERVE: Duration = Duration::from_millis(500);

/// The function: the state that all requests share.
#[derive(Debug)]
pub struct App {
    authenticator: Authenticator,
    associations: Associations,
    error_documents: ErrorDocuments,
    clock: Clock,
}

/// What is known of a request so far, for its response and its log line.
struct Progress {
    route: &'static str,
    caller: &'static str,
    options: ResponseOptions,
    budget: Budget,
}

impl App {
    /// Creates the function.
    pub fn new(config: Config, store: Store, http: &Client, clock: Clock) -> Self {
        Self {
            authenticator: Authenticator::new(config.tokens, http, &clock),
            associations: Associations::new(store, clock.clone(), config.association_lifetime),
            error_documents: ErrorDocuments::new(config.error_docs_url),
            clock,
        }
    }

    /// Fetches the keys and connects to the store before the first request.
    /// Requests retry what fails here.
    pub async fn warm_up(&self) {
        tokio::join!(self.authenticator.load_keys(), self.associations.warm_up());
    }

    /// Answers any event before its deadline. Every error becomes a response and is
    /// logged once.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Response, Infallible> {
        let (payload, context) = event.into_parts();
        Ok(telemetry::within(&context, self.respond(payload.get(), &context)).await)
    }

    async fn respond(&self, event: &str, context: &Context) -> Response {
        let began = Instant::now();
        let time = self.time_until(context.deadline);
        let deadline = began + time.saturating_sub(RESPONSE_RESERVE);
        let mut progress = Progress {
            route: "none",
            caller: "nobody",
            options: ResponseOptions::default(),
            budget: Budget::until(deadline),
        };
        let answer = AssertUnwindSafe(self.answer(event, &mut progress, deadline)).catch_unwind();
        let result = answer
            .await
            .unwrap_or_else(|_| Err(Error::Panic(telemetry::take_panic().unwrap_or_default())));

        let response = match &result {
            Ok(outcome) => response::success(outcome, progress.options),
            Err(error) => {
                self.error_documents
                    .failure(error, progress.options, &context.request_id)
            }
        };
        log(&progress, &response, result.as_ref().err(), began.elapsed());
        response
    }

    /// The path: event -> request -> auth -> association -> store.
    async fn answer(
        &self,
        event: &str,
        progress: &mut Progress,
        deadline: Instant,
    ) -> Result<Outcome, Error> {
        let request = Request::parse(event)?;
        progress.options = request.response_options();
        let request = request.route()?;
        progress.route = request.route().key;
        let (headers, now) = (request.token_headers(), self.clock.now());
        let caller = self.authenticator.authenticate(&headers, now, deadline);
        let caller = caller.await?;
        progress.caller = caller.name();
        let proof = match request.cart_to_prove() {
            Some(cart) => {
                let proof = self
                    .authenticator
                    .prove_cart(&caller, &headers, cart, now, deadline);
                proof.await?
            }
            None => CartProof::Given,
        };
        let (associations, budget) = (&self.associations, &progress.budget);
        let listed = |member_type, members, page| Outcome::Listed {
            member_type,
            members,
            page,
            path: request.path().into_owned(),
        };
        Ok(match request.operation()? {
            Operation::Associate(body) => {
                let put = associations
                    .associate(&caller, proof, &body, budget)
                    .await?;
                Outcome::Associated(put, body.customers)
            }
            Operation::Dissociate(body) => {
                associations.dissociate(&caller, &body, budget).await?;
                Outcome::Dissociated(body.customers)
            }
            Operation::ClearCart { cart } => {
                Outcome::Cleared(associations.clear_cart(&caller, &cart, budget).await?)
            }
            Operation::ClearCustomer { customer } => {
                let cleared = associations.clear_customer(&caller, &customer, budget);
                Outcome::Cleared(cleared.await?)
            }
            Operation::ListCustomers { cart, page } => {
                let customers = associations
                    .list_customers(&caller, &cart, &page, budget)
                    .await?;
                listed("customer", customers, page)
            }
            Operation::ListOwnCarts { page } => {
                let carts = associations.list_own_carts(&caller, &page, budget).await?;
                listed("cart", carts, page)
            }
            Operation::ListCarts { customer, page } => {
                let carts = associations
                    .list_carts(&caller, &customer, &page, budget)
                    .await?;
                listed("cart", carts, page)
            }
        })
    }

    /// Returns the time left. A deadline in the past means that none is known:
    /// `cargo lambda watch` sends one in 1970.
    fn time_until(&self, deadline_millis: u64) -> Duration {
        let deadline = Timestamp::from_millis(deadline_millis);
        self.clock.now().until(deadline).unwrap_or(DEFAULT_TIME)
    }
}

/// Logs the one line of a request.
fn log(progress: &Progress, response: &Response, error: Option<&Error>, duration: Duration) {
    let (level, cause) = match error {
        None
        | Some(
            Error::Request(_)
            | Error::Forbidden(_)
            | Error::Auth(AuthError::NoAccessToken | AuthError::SeveralParties),
        ) => (Level::INFO, None),
        Some(Error::Auth(AuthError::InvalidToken { refusal, .. })) => {
            (Level::INFO, Some(Cause::Cause(refusal.name())))
        }
        Some(Error::Auth(AuthError::NoKeys { kind, .. })) => {
            (Level::WARN, Some(Cause::KeySet(kind.name())))
        }
        Some(Error::Store(StoreError::Unavailable(cause) | StoreError::OutcomeUnknown(cause))) => {
            (Level::WARN, Some(Cause::Cause(cause)))
        }
        Some(Error::Store(StoreError::Fault(cause)) | Error::Panic(cause)) => {
            (Level::ERROR, Some(Cause::Cause(cause)))
        }
    };
    let claim = match error {
        Some(Error::Auth(AuthError::InvalidToken { refusal, .. })) => refusal.claim(),
        Some(Error::Forbidden(forbidden)) => forbidden.claim(),
        _ => None,
    };
    telemetry::request(
        level,
        &RequestLine {
            route: progress.route,
            status: response.status(),
            outcome: response.outcome(),
            token_refused: matches!(error, Some(Error::Auth(AuthError::InvalidToken { .. }))),
            caller: progress.caller,
            cause,
            claim,
            duration,
            store_time: progress.budget.time_spent(),
            store_attempts: progress.budget.attempts_made(),
        },
    );
}
