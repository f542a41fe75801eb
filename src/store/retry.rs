//! Which answers of DynamoDB are worth another attempt, beyond those that the
//! SDK knows.

use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::error::ProvideErrorMetadata as _;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;

/// Repeats what lost against a concurrent write or was throttled inside a
/// transaction. The SDK does neither by itself: to it a cancelled transaction
/// is final.
///
/// Source: "Transaction conflict handling in DynamoDB", and "TransactWriteItems"
/// in the API reference (cancellation reasons), AWS.
#[derive(Debug)]
pub(super) struct Conflicts;

impl ClassifyRetry for Conflicts {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let Some(error) = error.as_operation_error() else {
            return RetryAction::NoActionIndicated;
        };
        let is_conflict = if let Some(error) = error.downcast_ref::<TransactWriteItemsError>() {
            is_transaction_conflict(error)
        } else {
            let code = None
                .or_else(|| error.downcast_ref::<PutItemError>()?.code())
                .or_else(|| error.downcast_ref::<UpdateItemError>()?.code());
            matches!(
                code,
                Some("TransactionConflictException" | "ReplicatedWriteConflictException")
            )
        };
        if is_conflict {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "transaction conflicts"
    }
}

fn is_transaction_conflict(error: &TransactWriteItemsError) -> bool {
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
