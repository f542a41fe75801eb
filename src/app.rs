//! The way of a request, on one screen.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use lambda_http::{Context, LambdaEvent};
use serde_json::value::RawValue;
use tokio::time::Instant;
use tracing::Level;

use crate::association::Associations;
use crate::auth::{AuthError, Authenticator};
use crate::clock::{Clock, Timestamp};
use crate::config::Config;
use crate::error::Error;
use crate::http::Client;
use crate::request::{Manner, Operation, Request};
use crate::response::{self, ErrorDocuments, List, Outcome, Response};
use crate::store::{Budget, Store, StoreError};
use crate::telemetry::{self, Cause};

/// The time for an invocation of which no deadline is known.
const DEFAULT_TIME: Duration = Duration::from_secs(10);

/// What is kept back of the time for sending the answer.
const ANSWER_RESERVE: Duration = Duration::from_millis(200);

/// The function: everything that lives from one request to the next.
#[derive(Debug)]
pub struct App {
    authenticator: Authenticator,
    associations: Associations,
    error_documents: ErrorDocuments,
    clock: Clock,
}

/// What is known of a request while it is on its way, for the log.
#[derive(Debug)]
struct Trail {
    route: &'static str,
    grant: &'static str,
    manner: Manner,
    budget: Budget,
}

impl App {
    /// Puts the function together.
    pub fn new(config: Config, store: Store, http: &Client, clock: Clock) -> Self {
        Self {
            authenticator: Authenticator::new(
                config.access_tokens,
                config.customer_tokens,
                config.grant_claim,
                http,
                &clock,
            ),
            associations: Associations::new(store, clock.clone(), config.association_lifetime),
            error_documents: ErrorDocuments::new(config.error_docs_url),
            clock,
        }
    }

    /// Gets ready for the first request what can be got ready: the keys, and a
    /// connection to the store. What cannot be had is tried again by the
    /// requests.
    pub async fn warm_up(&self) {
        tokio::join!(
            self.authenticator.load_keys(),
            self.associations.reach_store()
        );
    }

    /// Answers an event before its deadline, whatever it is. Every error
    /// becomes a response, and is logged once, here.
    pub async fn handle(&self, event: LambdaEvent<Box<RawValue>>) -> Result<Response, Infallible> {
        let (payload, context) = event.into_parts();
        Ok(telemetry::within(&context, self.respond(payload.get(), &context)).await)
    }

    async fn respond(&self, event: &str, context: &Context) -> Response {
        let began = Instant::now();
        let deadline = began + self.time_until(context.deadline);
        let mut trail = Trail {
            route: "none",
            grant: "none",
            manner: Manner::default(),
            budget: Budget::until(deadline),
        };
        let answer = AssertUnwindSafe(self.answer(event, &mut trail)).catch_unwind();
        let result = tokio::time::timeout_at(deadline - ANSWER_RESERVE, answer)
            .await
            .unwrap_or_else(|_| Ok(Err(out_of_time(&trail.budget))))
            .unwrap_or_else(|_| Err(Error::Panic(telemetry::take_panic().unwrap_or_default())));

        let response = match &result {
            Ok(outcome) => response::success(outcome, trail.manner),
            Err(error) => self
                .error_documents
                .failure(error, trail.manner, &context.request_id),
        };
        log(&trail, &response, &result, began.elapsed());
        response
    }

    /// The way: event -> request -> auth -> association -> store.
    async fn answer(&self, event: &str, trail: &mut Trail) -> Result<Outcome, Error> {
        let request = Request::parse(event)?;
        trail.manner = request.manner();
        let request = request.route()?;
        trail.route = request.name();
        let grant = self
            .authenticator
            .authenticate(&request.credentials(), self.clock.now())
            .await?;
        trail.grant = grant.name();
        let (associations, budget) = (&self.associations, &trail.budget);
        let list = |member_type, listed, page| {
            let path = request.path().into_owned();
            Outcome::Listed(List {
                member_type,
                listed,
                page,
                path,
            })
        };
        Ok(match request.operation()? {
            Operation::Associate(linkage) => {
                let associated = associations.associate(&grant, &linkage, budget).await?;
                Outcome::Associated(associated, linkage.customers)
            }
            Operation::Dissociate(linkage) => {
                associations.dissociate(&grant, &linkage, budget).await?;
                Outcome::Dissociated(linkage.customers)
            }
            Operation::ListCustomers { cart, page } => {
                let listed = associations
                    .list_customers(&grant, &cart, &page, budget)
                    .await?;
                list("customer", listed, page)
            }
            Operation::ListOwnCarts { page } => {
                let listed = associations.list_own_carts(&grant, &page, budget).await?;
                list("cart", listed, page)
            }
            Operation::ListCarts { customer, page } => {
                let listed = associations
                    .list_carts(&grant, &customer, &page, budget)
                    .await?;
                list("cart", listed, page)
            }
        })
    }

    /// How much time is left. A deadline in the past means that none is known:
    /// the one that `cargo lambda watch` sends lies in 1970.
    fn time_until(&self, deadline_millis: u64) -> Duration {
        let deadline = Timestamp::from_millis(deadline_millis);
        self.clock.now().until(deadline).unwrap_or(DEFAULT_TIME)
    }
}

/// What it means that the deadline came near: nothing was changed if the store
/// was never asked.
fn out_of_time(budget: &Budget) -> Error {
    if budget.attempts_made() > 0 {
        return Error::OutOfTime;
    }
    let cause = "the deadline came near before the store was asked".to_owned();
    Error::Store(StoreError::Unavailable(cause))
}

/// The one line of a request: what it was, what it came to, how long it took.
fn log(trail: &Trail, response: &Response, result: &Result<Outcome, Error>, took: Duration) {
    let tell = |level, outcome, cause| {
        let (store_time, store_attempts) =
            (trail.budget.time_spent(), trail.budget.attempts_made());
        telemetry::request(
            level,
            &telemetry::Request {
                route: trail.route,
                status: response.status(),
                grant: trail.grant,
                cause,
                outcome,
                duration: took,
                store_time,
                store_attempts,
            },
        );
    };
    let error = match result {
        Ok(outcome) => return tell(Level::INFO, outcome.name(), None),
        Err(error) => error,
    };
    let code = response::code(error);
    let cause = |cause| Some(Cause::Cause(cause));
    match error {
        Error::Request(_) | Error::Forbidden(_) | Error::Auth(AuthError::NoAccessToken) => {
            tell(Level::INFO, code, None);
        }
        Error::Auth(AuthError::InvalidToken { fault, .. }) => {
            tell(Level::INFO, code, cause(fault.name()));
        }
        Error::Auth(AuthError::NoKeys { kind, .. }) => {
            tell(Level::WARN, code, Some(Cause::KeySet(kind.name())));
        }
        Error::Store(StoreError::Unavailable(why) | StoreError::OutcomeUnknown(why)) => {
            tell(Level::WARN, code, cause(why));
        }
        Error::Store(StoreError::Fault(why)) => tell(Level::ERROR, code, cause(why)),
        Error::OutOfTime => tell(Level::ERROR, code, cause("the deadline came near")),
        Error::Panic(message) => tell(Level::ERROR, code, cause(message)),
    }
}
