//! What one request may spend on the store, and what it has spent.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use tokio::time::Instant;

use super::StoreError;
use crate::http;

/// The most that a request may wait for the store.
const MOST: Duration = Duration::from_secs(3);

/// What is kept back of a request's time for what comes after the store.
const RESERVE: Duration = Duration::from_millis(500);

/// The codes of refusals that another try may not meet: those of "Error
/// handling with DynamoDB", AWS, and those that the SDK takes for throttling.
const PASSING: [&str; 18] = [
    "BandwidthLimitExceeded",
    "LimitExceededException",
    "PriorRequestNotComplete",
    "ProvisionedThroughputExceeded",
    "ProvisionedThroughputExceededException",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "RequestTimeout",
    "RequestTimeoutException",
    "SlowDown",
    "ThrottledException",
    "Throttling",
    "ThrottlingException",
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// The time that one request may spend on all its calls to the store, and the
/// count of what they took.
#[derive(Debug)]
pub struct Budget {
    deadline: Instant,
    /// Set by the first call: what came before is not the store's.
    ends: OnceLock<Instant>,
    spent_micros: AtomicU64,
    attempts: Arc<Attempts>,
}

tokio::task_local! {
    /// Those of the budget that the call under way is spent from.
    static ATTEMPTS: Arc<Attempts>;
}

/// The attempts of all calls that were spent from one budget.
#[derive(Debug, Default)]
struct Attempts {
    count: AtomicU32,
    /// An attempt has been sent, and has not ended.
    under_way: AtomicBool,
    /// An attempt ended so that DynamoDB may have done what it was asked.
    unresolved: AtomicBool,
}

impl Budget {
    /// The budget of a request that must be answered by `deadline`.
    pub fn until(deadline: Instant) -> Self {
        Self {
            deadline,
            ends: OnceLock::new(),
            spent_micros: AtomicU64::new(0),
            attempts: Arc::default(),
        }
    }

    /// How many attempts were made.
    pub fn attempts_made(&self) -> u32 {
        self.attempts.count.load(Ordering::Relaxed)
    }

    /// How long all calls took together.
    pub fn time_spent(&self) -> Duration {
        Duration::from_micros(self.spent_micros.load(Ordering::Relaxed))
    }

    /// Waits for a call until the budget ends.
    pub(super) fn spend<T>(
        &self,
        call: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // Some kilobytes, which else would be moved with each future around it.
        let call = ATTEMPTS.scope(Arc::clone(&self.attempts), Box::pin(call));
        async move {
            let began = Instant::now();
            let ends = *self.ends.get_or_init(|| {
                let latest = self.deadline.checked_sub(RESERVE).unwrap_or(began);
                latest.min(began + MOST)
            });
            // Asked even so, a call would be sent before it is told that it is late.
            if began >= ends {
                return Err(self.given_up("no time is left for the store".to_owned()));
            }
            let result = tokio::time::timeout_at(ends, call).await;
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.spent_micros.fetch_add(took, Ordering::Relaxed);
            result.map_err(|_| self.given_up("the store did not answer in time".to_owned()))
        }
    }

    /// What it means for the caller that there will be no other try.
    pub(super) fn given_up(&self, cause: String) -> StoreError {
        let Attempts {
            under_way,
            unresolved,
            ..
        } = &*self.attempts;
        if under_way.load(Ordering::Relaxed) || unresolved.load(Ordering::Relaxed) {
            StoreError::OutcomeUnknown(cause)
        } else {
            StoreError::Unavailable(cause)
        }
    }

    /// What a call's last error means for the caller, given all its attempts.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let cause = cause(error);
        let passing = match error {
            SdkError::ServiceError(context) if context.raw().status().is_client_error() => {
                let code = context.err().code();
                code.is_some_and(|code| PASSING.contains(&code))
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        };
        match self.given_up(cause) {
            StoreError::Unavailable(cause) if !passing => StoreError::Fault(cause),
            error => error,
        }
    }
}

/// The error and what caused it, in one line.
///
/// Not all of it: some of the SDK's errors show the request that they failed
/// for, and that names carts and customers. A text with a structure in it is
/// left out.
pub(super) fn cause(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = http::chain(error)
        .map(ToString::to_string)
        .filter(|text| !text.contains('{'))
        .collect();
    texts.join(": ")
}

/// Counts the attempts of the calls that a [`Budget`] is spent on, and no others.
#[derive(Debug)]
pub(super) struct CountAttempts;

impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = ATTEMPTS.try_with(|attempts| {
            attempts.count.fetch_add(1, Ordering::Relaxed);
            attempts.under_way.store(true, Ordering::Relaxed);
        });
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = ATTEMPTS.try_with(|attempts| {
            let was_sent = attempts.under_way.swap(false, Ordering::Relaxed);
            let Some(Err(error)) = context.output_or_error() else {
                return;
            };
            let refused = error.is_operation_error()
                && context
                    .response()
                    .is_some_and(|response| response.status().is_client_error());
            let not_connected = error
                .as_connector_error()
                .is_some_and(|error| http::is_connect_error(error));
            if was_sent && !refused && !not_connected {
                attempts.unresolved.store(true, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}
