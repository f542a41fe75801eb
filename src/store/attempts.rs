//! What one request may spend on the store, and what it has spent.

use std::error::Error;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
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

/// The codes of refusals that another try may not meet ("Error handling with
/// DynamoDB", AWS).
const PASSING: [&str; 9] = [
    "ProvisionedThroughputExceededException",
    "ProvisionedThroughputExceeded",
    "ReplicatedWriteConflictException",
    "RequestLimitExceeded",
    "ThrottlingException",
    "Throttling",
    "TransactionCanceledException",
    "TransactionConflictException",
    "TransactionInProgressException",
];

/// The time that one request may spend on all its calls to the store, and the
/// count of what they took.
#[derive(Debug)]
pub struct Budget {
    ends: Instant,
    spent_micros: AtomicU64,
    attempts: Arc<Attempts>,
}

/// Counts the attempts of the calls that it intercepts.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    count: AtomicU32,
    /// An attempt ended so that DynamoDB may have done what it was asked.
    unresolved: AtomicBool,
}

impl Budget {
    /// A budget of so much time from now.
    pub fn new(time: Duration) -> Self {
        Self {
            ends: Instant::now() + time,
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

    /// What counts the attempts of a call.
    pub(super) fn attempts(&self) -> CountAttempts {
        CountAttempts(Arc::clone(&self.attempts))
    }

    /// Waits for a call until the budget ends.
    pub(super) async fn spend<T>(&self, call: impl Future<Output = T>) -> Result<T, StoreError> {
        let began = Instant::now();
        let result = tokio::time::timeout_at(self.ends, call).await;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.spent_micros.fetch_add(took, Ordering::Relaxed);
        result.map_err(|_| {
            let attempts = self.attempts_made();
            StoreError::OutcomeUnknown(format!(
                "no answer within the budget, in {attempts} attempts"
            ))
        })
    }

    /// What a call's last error means for the caller, given all its attempts.
    pub(super) fn failed<E>(&self, error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        // Not as the SDK renders it: that shows bodies, which name carts and
        // customers.
        let cause = http::cause(error);
        if self.attempts.unresolved.load(Ordering::Relaxed) {
            return StoreError::OutcomeUnknown(cause);
        }
        match error {
            SdkError::ServiceError(context) => match context.err().code() {
                Some(code) if PASSING.contains(&code) => StoreError::Unavailable(cause),
                _ => StoreError::Fault(cause),
            },
            SdkError::ConstructionFailure(_) => StoreError::Fault(cause),
            _ => StoreError::Unavailable(cause),
        }
    }
}

/// An [`Attempts`] as the SDK takes it.
#[derive(Debug)]
pub(super) struct CountAttempts(Arc<Attempts>);

impl Intercept for CountAttempts {
    fn name(&self) -> &'static str {
        "CountAttempts"
    }

    fn read_before_attempt(
        &self,
        _: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn read_after_attempt(
        &self,
        context: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let Some(Err(error)) = context.output_or_error() else {
            return Ok(());
        };
        let refused = error.is_operation_error()
            && context
                .response()
                .is_some_and(|response| response.status().is_client_error());
        let never_sent = error
            .as_connector_error()
            .is_some_and(|error| http::is_connect_error(error));
        if !refused && !never_sent {
            self.0.unresolved.store(true, Ordering::Relaxed);
        }
        Ok(())
    }
}
