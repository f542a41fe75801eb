//! The time budget of one request for DynamoDB, and what it has used of it.

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

/// The longest time that a request waits for DynamoDB.
const MAX_BUDGET: Duration = Duration::from_secs(3);

/// The error codes of status 400 after which a retry may succeed: those of "Error
/// handling with DynamoDB", AWS, and those that the SDK treats as throttling.
const TRANSIENT: [&str; 18] = [
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

/// The time that one request may spend on all its calls to DynamoDB, and counters
/// of what they used.
#[derive(Debug)]
pub struct Budget {
    latest_end: Instant,
    /// Set by the first call.
    end: OnceLock<Instant>,
    spent_micros: AtomicU64,
    attempts: Arc<Attempts>,
}

tokio::task_local! {
    /// The attempts of the request whose call is running.
    static ATTEMPTS: Arc<Attempts>;
}

/// The attempts of all calls of one request.
#[derive(Debug, Default)]
struct Attempts {
    count: AtomicU32,
    /// An attempt was sent and has not ended.
    in_flight: AtomicBool,
    /// An attempt ended without an answer that says whether it was applied.
    lost: AtomicBool,
}

impl Budget {
    /// Creates a budget of three seconds from the first call on. It ends at
    /// `latest_end` if that is earlier.
    pub fn until(latest_end: Instant) -> Self {
        Self {
            latest_end,
            end: OnceLock::new(),
            spent_micros: AtomicU64::new(0),
            attempts: Arc::default(),
        }
    }

    /// Returns the number of attempts sent so far.
    pub fn attempts_made(&self) -> u32 {
        self.attempts.count.load(Ordering::Relaxed)
    }

    /// Returns the total duration of all calls.
    pub fn time_spent(&self) -> Duration {
        Duration::from_micros(self.spent_micros.load(Ordering::Relaxed))
    }

    /// Lets the request use all its time, instead of three seconds.
    pub(super) fn use_all_time(&self) {
        self.end.get_or_init(|| self.latest_end);
    }

    /// Returns whether an attempt ended without an answer, so that it may have been
    /// applied.
    pub(super) fn has_lost_attempt(&self) -> bool {
        self.attempts.lost.load(Ordering::Relaxed)
    }

    /// Waits for a call, no longer than until the budget ends.
    pub(super) fn spend<T>(
        &self,
        call: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, StoreError>> {
        // Boxed: the SDK's futures are some kilobytes, copied with each future
        // around them.
        let call = ATTEMPTS.scope(Arc::clone(&self.attempts), Box::pin(call));
        async move {
            let began = Instant::now();
            let end = *self
                .end
                .get_or_init(|| self.latest_end.min(began + MAX_BUDGET));
            // `timeout_at` would poll the call once, which sends it.
            if began >= end {
                return Err(self.given_up("no time is left for the store".to_owned()));
            }
            let result = tokio::time::timeout_at(end, call).await;
            let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
            self.spent_micros.fetch_add(took, Ordering::Relaxed);
            result.map_err(|_| self.given_up("the store did not answer in time".to_owned()))
        }
    }

    /// Returns the error of a request that stops trying: unknown if an attempt may
    /// have been applied.
    pub(super) fn given_up(&self, cause: String) -> StoreError {
        let Attempts {
            in_flight, lost, ..
        } = &*self.attempts;
        if in_flight.load(Ordering::Relaxed) || lost.load(Ordering::Relaxed) {
            StoreError::OutcomeUnknown(cause)
        } else {
            StoreError::Unavailable(cause)
        }
    }

    /// Returns the error of a request whose call failed, given all its attempts.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let cause = http::cause(error);
        let transient = match error {
            SdkError::ServiceError(context) if context.raw().status().is_client_error() => {
                let code = context.err().code();
                code.is_some_and(|code| TRANSIENT.contains(&code))
            }
            SdkError::ConstructionFailure(_) => false,
            _ => true,
        };
        match self.given_up(cause) {
            StoreError::Unavailable(cause) if !transient => StoreError::Fault(cause),
            error => error,
        }
    }
}

/// Records the attempts of the calls that run under a [`Budget`].
#[derive(Debug)]
pub(super) struct RecordAttempts;

impl Intercept for RecordAttempts {
    fn name(&self) -> &'static str {
        "RecordAttempts"
    }

    fn read_before_transmit(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let _ = ATTEMPTS.try_with(|attempts| {
            attempts.count.fetch_add(1, Ordering::Relaxed);
            attempts.in_flight.store(true, Ordering::Relaxed);
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
            let was_sent = attempts.in_flight.swap(false, Ordering::Relaxed);
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
            tracing::debug!(refused, not_connected, "an attempt failed");
            if was_sent && !refused && !not_connected {
                attempts.lost.store(true, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}
