//! Which failures of DynamoDB pass, and how they are described in the log.

use std::error::Error;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_runtime::retries::classifiers::{THROTTLING_ERRORS, TRANSIENT_ERRORS};
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::interceptors::InterceptorContext;
use aws_sdk_dynamodb::config::retry::{ClassifyRetry, RetryAction};
use aws_sdk_dynamodb::error::{ErrorMetadata, ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::operation::RequestId as _;
use aws_sdk_dynamodb::operation::get_item::GetItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::query::QueryError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::CancellationReason;
use aws_sdk_dynamodb::types::error::TransactionCanceledException;
use aws_smithy_runtime_api::client::interceptors::context::Error as OperationError;

use super::{Failure, StoreError};
use crate::client;

/// The codes of errors that pass, besides those that the SDK knows.
const MORE_TRANSIENT_ERRORS: [&str; 8] = [
    // "Error handling with DynamoDB", AWS.
    "ReplicatedWriteConflictException",
    // "Transaction conflict handling in DynamoDB", AWS: a transaction is writing the item.
    "TransactionConflictException",
    // "TransactWriteItems", AWS: reasons why a transaction was cancelled.
    "ProvisionedThroughputExceeded",
    "ThrottlingError",
    "TransactionConflict",
    // "Common Error Types", AWS.
    "RequestAbortedException",
    // The same, and `ServiceClockSkewInterceptor` of the SDK: signed too early or too late.
    "RequestExpired",
    "RequestTimeTooSkewed",
];

/// The reason of a write in a transaction whose condition failed.
pub(super) const CONDITION_FAILED: &str = "ConditionalCheckFailed";

/// Returns whether an error of status 400 passes.
///
/// All others are ours. Among them are `ExpiredTokenException` and
/// `UnrecognizedClientException`, though AWS calls the second one retryable: a retry
/// has the same credentials, and an operator must see it. So must a key of KMS that is
/// disabled or denied, which is `AccessDeniedException`.
fn is_transient(error: &ErrorMetadata) -> bool {
    let Some(code) = error.code() else {
        return false;
    };
    THROTTLING_ERRORS.contains(&code)
        || TRANSIENT_ERRORS.contains(&code)
        || MORE_TRANSIENT_ERRORS.contains(&code)
        || code == "InvalidSignatureException" && is_signature_time(error.message())
}

/// Returns whether a signature was refused for its time. A wrong secret has the same
/// code. After a freeze, the time is right again in the next attempt. If the clock is
/// wrong, the SDK signs the next attempt by the `Date` of the refusal.
///
/// The texts are those in aws-sdk-go issue 859 and aws-sdk-js-v3 issue 7605.
fn is_signature_time(message: Option<&str>) -> bool {
    message.is_some_and(|message| {
        message.contains("Signature expired")
            || message.contains("is now earlier than")
            || message.contains("not yet current")
    })
}

/// Returns the reasons for which a transaction was cancelled.
pub(super) fn reasons<E>(error: &SdkError<E, HttpResponse>) -> Option<&[CancellationReason]>
where
    E: Error + 'static,
{
    let exception: &TransactionCanceledException =
        error.as_service_error()?.source()?.downcast_ref()?;
    Some(exception.cancellation_reasons())
}

/// Returns whether a reason for which a transaction was cancelled is ours.
fn is_ours(reason: &CancellationReason) -> bool {
    let code = reason.code().unwrap_or("None");
    code != "None" && code != CONDITION_FAILED && !passes(reason)
}

/// Returns whether a reason for which a transaction was cancelled passes.
fn passes(reason: &CancellationReason) -> bool {
    let code = reason.code();
    code.is_some_and(|code| MORE_TRANSIENT_ERRORS.contains(&code))
}

/// Returns the error of a call that failed for good, if nothing was applied.
pub(super) fn failed<E>(error: &SdkError<E, HttpResponse>) -> StoreError
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let mut failure = describe(error);
    let is_permanent = match error {
        SdkError::ServiceError(context) if context.raw().status().is_client_error() => {
            match reasons(error) {
                Some(reasons) => {
                    let mut codes: Vec<&str> = reasons.iter().filter_map(|r| r.code()).collect();
                    codes.dedup();
                    failure.description += &format!(": {}", codes.join(", "));
                    reasons.iter().any(is_ours)
                }
                None => !is_transient(context.err().meta()),
            }
        }
        SdkError::ConstructionFailure(_) => true,
        // Credentials that cannot be had now may be there soon, but not without a source.
        _ => client::chain(error).any(|error| {
            matches!(
                error.downcast_ref(),
                Some(
                    CredentialsError::CredentialsNotLoaded(_)
                        | CredentialsError::InvalidConfiguration(_)
                )
            )
        }),
    };
    match is_permanent {
        true => StoreError::Internal(failure),
        false => StoreError::Unavailable(failure),
    }
}

/// Describes an error of the SDK without its message and its body, which can name carts
/// and customers.
fn describe<E>(error: &SdkError<E, HttpResponse>) -> Failure
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let what = match error {
        SdkError::ServiceError(context) if !context.raw().status().is_success() => {
            context.err().code().unwrap_or("an error without a code")
        }
        SdkError::ServiceError(_) | SdkError::ResponseError(_) => "an unreadable answer",
        SdkError::TimeoutError(_) => "no answer in time",
        SdkError::DispatchFailure(_) if client::is_connect_error(error) => "no connection",
        SdkError::DispatchFailure(_) => "no answer",
        _ => "no request could be made",
    };
    let mut description = what.to_owned();
    if let Some(response) = error.raw_response() {
        description += &format!(", status {}", response.status());
    } else {
        for error in client::chain(error) {
            if error.is::<CredentialsError>() {
                description += ", the credentials could not be loaded";
            } else if let Some(error) = error.downcast_ref::<io::Error>() {
                // A text of the operating system or of TLS.
                description += &format!(", {error}");
            }
        }
    }
    Failure {
        description,
        request_id: error.request_id().map(str::to_owned),
    }
}

/// Returns the code and the message of an error of an operation that the store uses.
pub(super) fn metadata(error: &OperationError) -> Option<&ErrorMetadata> {
    None.or_else(|| Some(error.downcast_ref::<PutItemError>()?.meta()))
        .or_else(|| Some(error.downcast_ref::<UpdateItemError>()?.meta()))
        .or_else(|| Some(error.downcast_ref::<TransactWriteItemsError>()?.meta()))
        .or_else(|| Some(error.downcast_ref::<GetItemError>()?.meta()))
        .or_else(|| Some(error.downcast_ref::<QueryError>()?.meta()))
}

/// Retries what passes. For the SDK alone, a cancelled transaction is final, and so are
/// most of [`MORE_TRANSIENT_ERRORS`] and a response with status 200, whatever its body.
#[derive(Debug)]
pub(super) struct RetryTransient;

impl ClassifyRetry for RetryTransient {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let Some(Err(error)) = context.output_or_error() else {
            return RetryAction::NoActionIndicated;
        };
        let response = context.response();
        let is_unreadable = response.is_some_and(|response| response.status().is_success());
        let passes = error.as_operation_error().is_some_and(|error| {
            if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.downcast_ref()
            {
                return cancelled.cancellation_reasons().iter().any(passes);
            }
            metadata(error).is_some_and(is_transient)
        });
        if is_unreadable || passes {
            RetryAction::transient_error()
        } else {
            RetryAction::NoActionIndicated
        }
    }

    fn name(&self) -> &'static str {
        "RetryTransient"
    }
}
