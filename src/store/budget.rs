//! The time budget of one request for DynamoDB, and what it has used of it.

use std::error::Error;
use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::{BoxError, ProvideErrorMetadata, SdkError};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::StoreError;
use crate::client;

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

/// A permit for each call that may run at the same time in this process. A call
/// above that waits, before it sends anything.
static CALLS: Semaphore = Semaphore::const_new(client::MAX_CONNECTIONS);

/// The time that one request may spend on all its calls to DynamoDB, and counters
/// of what they used.
#[derive(Debug)]
pub struct Budget {
    latest_end: Instant,
    /// Set by the first call.
    end: OnceLock<Instant>,
    spent_micros: AtomicU64,
    running: Mutex<Running>,
    attempts: Arc<Attempts>,
}

/// The calls that run now, and since when there has been one.
#[derive(Debug)]
struct Running {
    calls: u32,
    since: Instant,
}

/// A call that runs until this is dropped.
struct RunningCall<'b>(&'b Budget);

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
            running: Mutex::new(Running {
                calls: 0,
                since: latest_end,
            }),
            attempts: Arc::default(),
        }
    }

    /// Returns the number of attempts sent so far.
    pub fn attempts_made(&self) -> u32 {
        self.attempts.count.load(Ordering::Relaxed)
    }

    /// Returns how long at least one call was running.
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
            let _running = RunningCall::begin(self, began);
            let permitted = async {
                let _permit = CALLS.acquire().await.expect("it is never closed");
                call.await
            };
            let result = tokio::time::timeout_at(end, permitted).await;
            result.map_err(|_| self.given_up("the store did not answer in time".to_owned()))
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        // No panic can leave it inconsistent.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
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
        match self.given_up(client::cause(error)) {
            StoreError::Unavailable(cause) if !is_transient(error) => StoreError::Fault(cause),
            error => error,
        }
    }

    /// Returns the error of a read that failed. Its attempts do not matter, since they
    /// change nothing.
    pub(super) fn failed_read<E>(error: &SdkError<E, HttpResponse>) -> StoreError
    where
        E: Error + ProvideErrorMetadata + 'static,
    {
        let cause = client::cause(error);
        if is_transient(error) {
            StoreError::Unavailable(cause)
        } else {
            StoreError::Fault(cause)
        }
    }
}

/// Returns whether a retry may succeed.
fn is_transient<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ServiceError(context) if context.raw().status().is_client_error() => {
            let code = context.err().code();
            code.is_some_and(|code| TRANSIENT.contains(&code))
        }
        SdkError::ConstructionFailure(_) => false,
        _ => true,
    }
}

impl<'b> RunningCall<'b> {
    fn begin(budget: &'b Budget, now: Instant) -> Self {
        let mut running = budget.running();
        if running.calls == 0 {
            running.since = now;
        }
        running.calls += 1;
        Self(budget)
    }
}

impl Drop for RunningCall<'_> {
    fn drop(&mut self) {
        let Self(budget) = self;
        let mut running = budget.running();
        running.calls -= 1;
        if running.calls == 0 {
            let took = u64::try_from(running.since.elapsed().as_micros()).unwrap_or(u64::MAX);
            budget.spent_micros.fetch_add(took, Ordering::Relaxed);
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
                .is_some_and(|error| client::is_connect_error(error));
            tracing::debug!(refused, not_connected, "an attempt failed");
            if was_sent && !refused && !not_connected {
                attempts.lost.store(true, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_call_above_the_limit_waits_and_is_not_sent() {
        let soon = Budget::until(Instant::now() + Duration::from_millis(10));
        let budget = Budget::until(Instant::now() + Duration::from_secs(60));
        let mut running = Vec::new();
        for _ in 0..client::MAX_CONNECTIONS {
            let mut call = Box::pin(budget.spend(pending::<()>()));
            assert!((&mut call).now_or_never().is_none());
            running.push(call);
        }
        let late = soon.spend(ready(())).await;
        assert!(matches!(late, Err(StoreError::Unavailable(_))), "{late:?}");

        running.pop();
        assert!(budget.spend(ready(())).await.is_ok());
    }

    #[tokio::test]
    async fn the_time_of_calls_at_once_counts_once() {
        let budget = Budget::until(Instant::now() + Duration::from_secs(60));
        let began = Instant::now();
        let sleep = || tokio::time::sleep(Duration::from_millis(20));
        let (one, other) = tokio::join!(budget.spend(sleep()), budget.spend(sleep()));
        assert!(one.is_ok() && other.is_ok());
        assert!(budget.time_spent() <= began.elapsed());
        assert!(budget.time_spent() >= Duration::from_millis(20));
    }
}
