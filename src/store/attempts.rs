//! The attempts of a call: their number, and whether one without an answer may be applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use aws_sdk_dynamodb::config::interceptors::{
    BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef,
};
use aws_sdk_dynamodb::config::{ConfigBag, Intercept, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;

use super::transient::metadata;
use crate::client;

/// The codes of errors of status 400 after which the call may have been applied. AWS
/// says of them that the connection ended, and not when.
const MAY_BE_APPLIED: [&str; 3] = [
    "RequestAbortedException",
    "RequestTimeout",
    "RequestTimeoutException",
];

tokio::task_local! {
    /// The attempts of the call that is running.
    pub(super) static ATTEMPTS: Arc<Attempts>;
}

/// The attempts of one call, which are sent one after the other.
#[derive(Debug)]
pub(super) struct Attempts {
    /// The attempts of all calls of the request.
    sent: Arc<AtomicU32>,
    /// An attempt was sent and has not ended.
    in_flight: AtomicBool,
    /// An attempt ended without an answer that says whether it was applied.
    lost: AtomicBool,
}

impl Attempts {
    /// No attempts. Those of the call are added to `sent`.
    pub(super) fn counted_in(sent: &Arc<AtomicU32>) -> Self {
        Self {
            sent: Arc::clone(sent),
            in_flight: AtomicBool::new(false),
            lost: AtomicBool::new(false),
        }
    }

    /// Returns whether one of them got no answer, so that it may have been applied.
    pub(super) fn is_lost(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) || self.lost.load(Ordering::Relaxed)
    }
}

/// Records the attempts of the calls for which [`ATTEMPTS`] is set.
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
            attempts.sent.fetch_add(1, Ordering::Relaxed);
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
            let code = error.as_operation_error().and_then(metadata);
            let code = code.map(|error| error.code().unwrap_or_default());
            let refused = code.is_some_and(|code| !MAY_BE_APPLIED.contains(&code))
                && context
                    .response()
                    .is_some_and(|response| response.status().is_client_error());
            let not_connected = error
                .as_connector_error()
                .is_some_and(|error| client::is_connect_error(error));
            tracing::debug!(code, refused, not_connected, "an attempt failed");
            if was_sent && !refused && !not_connected {
                attempts.lost.store(true, Ordering::Relaxed);
            }
        });
        Ok(())
    }
}
