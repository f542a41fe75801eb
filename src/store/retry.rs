//! Retries beyond those of the SDK.

use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;

/// Retries unreadable answers, conflicts with concurrent writes, and throttling
/// inside a transaction. For the SDK, a cancelled transaction is final, and so is
/// a response with status 200, whatever its body.
///
/// Source: "Transaction conflict handling in DynamoDB", and "TransactWriteItems"
/// in the API reference (cancellation reasons), AWS.
#[derive(Debug)]
pub(super) struct MoreRetries;

impl ClassifyRetry for MoreRetries {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        // Status 200 with a body that cannot be parsed.
        if context
            .response()
            .is_some_and(|response| response.status().is_success())
        {
            return RetryAction::transient_error();
        }
        let Some(error) = error.as_operation_error() else {
            return RetryAction::NoActionIndicated;
        };
        let is_transient_error =
            if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
                is_transient(error)
            } else {
                let code = None
                    .or_else(|| error.downcast_ref::<PutItemError>()?.code())
                    .or_else(|| error.downcast_ref::<UpdateItemError>()?.code())
                    .or_else(|| error.downcast_ref::<GetItemError>()?.code())
                    .or_else(|| error.downcast_ref::<QueryError>()?.code());
                matches!(
                    code,
                    Some("TransactionConflictException" | "ReplicatedWriteConflictException")
                )
            };
        if is_transient_error {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "MoreRetries"
    }
}

fn is_transient(error: &TransactWriteItemsError) -> bool {
    let TransactWriteItemsError::TransactionCanceledException(cancelled) = error else {
        return error.code() == Some("TransactionInProgressException");
    };
    cancelled.cancellation_reasons().iter().any(|reason| {
        matches!(
            reason.code(),
            Some("TransactionConflict" | "ThrottlingError" | "ProvisionedThroughputExceeded")
        )
    })
}
