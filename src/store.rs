//! The DynamoDB table. The only user of `aws_sdk_dynamodb`: no layer above sees
//! an error of the SDK.
//!
//! Answers are true under retries. The SDK repeats a write whose answer was lost,
//! and the repeated write then meets its own item. So every request writes its own
//! random id, asks for the item that refused a condition, and treats an item with
//! its own id as its own success. [`rules`] says what follows from any other item.

mod attempts;
mod clear;
mod lists;
pub mod rules;
mod transient;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::error::ConditionalCheckFailedException;
use aws_sdk_dynamodb::types::{CancellationReason, ConditionCheck, Put, TransactWriteItem, Update};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use uuid::Uuid;

use self::attempts::{ATTEMPTS, Attempts, RecordAttempts};
pub use self::clear::ClearOutcome;
pub use self::lists::{Member, Position};
use self::rules::{Change, Item, ItemWrite, Next, Reply, Write, is_live, key, text};
pub use self::rules::{WriteOutcome, Writer};
use self::transient::{CONDITION_FAILED, RetryTransient};
use crate::client;
use crate::clock::Timestamp;
use crate::ids::{CartId, Party};

/// Completes a write: the builders of all kinds have these setters. DynamoDB refuses an
/// empty map of values.
macro_rules! conditional {
    ($builder:expr, $table:expr, $write:expr) => {
        $builder
            .table_name($table)
            .condition_expression($write.condition)
            .set_expression_attribute_values(Some($write.values).filter(|all| !all.is_empty()))
            .return_values_on_condition_check_failure(AllOld)
    };
}

/// The time limit for opening a TCP and TLS connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// The time limit for one attempt, from the first byte sent to the last received.
/// DynamoDB answers in single milliseconds, a transaction of a hundred in some
/// tens. An attempt that takes longer than this is lost, and a request has time
/// for three of them.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(900);

/// The first delay between attempts. The SDK doubles it each time and adds jitter.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);

const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The most attempts of one call to DynamoDB. The time usually ends first.
const MAX_ATTEMPTS: u32 = 8;

/// The most writes that one request sends under new conditions. It needs more than
/// two only while others write the same associations.
pub const MAX_ROUNDS: u8 = 8;

/// The longest time that a request waits for the store.
const MAX_WAIT: Duration = Duration::from_secs(3);

/// The time limit for the warm-up call. Lambda allows the whole start ten
/// seconds; requests have limits of their own and need not wait for a slow start.
const WARM_UP_LIMIT: Duration = Duration::from_millis(500);

/// A key that no item has: neither part of a key is ever empty.
const NO_KEY: &str = "#";

/// The table of associations.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
    /// A permit for each call that may run at the same time. A call above that waits,
    /// before it sends anything.
    calls: Arc<Semaphore>,
}

/// One request's use of the store: until when it may wait, and what it has sent.
#[derive(Debug)]
pub struct Session<'s> {
    store: &'s Store,
    deadline: Instant,
    /// Set by the first call.
    began: Arc<OnceLock<Instant>>,
    /// How long it may wait from its first call on.
    max_wait: Duration,
    attempts: Arc<AtomicU32>,
}

/// Why the store did not do what it was asked.
#[derive(Debug)]
pub enum StoreError {
    /// DynamoDB throttled, failed or was not reached. Nothing was written.
    Unavailable(Failure),
    /// DynamoDB did not answer in time. The write may have been applied.
    OutcomeUnknown(Failure),
    /// DynamoDB refused the request: a bug or a wrong configuration.
    Internal(Failure),
}

/// A failure of DynamoDB, for the log. It names no cart and no party.
#[derive(Debug, Clone)]
pub struct Failure {
    pub description: String,
    /// The id that DynamoDB gave the request, for which AWS Support asks.
    pub request_id: Option<String>,
}

impl StoreError {
    fn unavailable(description: &str) -> Self {
        Self::Unavailable(Failure {
            description: description.to_owned(),
            request_id: None,
        })
    }

    /// The failure that caused it.
    pub fn failure(&self) -> &Failure {
        let (Self::Unavailable(failure) | Self::OutcomeUnknown(failure) | Self::Internal(failure)) =
            self;
        failure
    }

    /// The error of a write, given whether an attempt of it was lost, so that it may have
    /// been applied.
    fn of_write(self, is_lost: bool) -> Self {
        match self {
            Self::Unavailable(failure) | Self::Internal(failure) if is_lost => {
                Self::OutcomeUnknown(failure)
            }
            error => error,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.failure().description)
    }
}

impl Store {
    /// Creates a store on a table. Region, endpoint, credentials and HTTP client
    /// come from `sdk`; time limits and retries are set here.
    pub fn new(sdk: &aws_config::SdkConfig, table: String) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF)
            .with_max_backoff(MAX_BACKOFF);
        // The SDK's default quota for retries is shared by all requests: once used up, a
        // lost answer would stay unresolved. The time of a request bounds its retries.
        let without_quota = RetryPartition::custom("associations")
            .token_bucket(TokenBucket::unlimited())
            .build();
        let config = Builder::from(sdk)
            .timeout_config(timeouts)
            // The attempt timeout ends an attempt that stalls.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries)
            .retry_classifier(RetryTransient)
            .retry_partition(without_quota)
            .interceptor(RecordAttempts)
            .build();
        Self {
            client: Client::from_conf(config),
            table,
            calls: Arc::new(Semaphore::new(client::MAX_CONNECTIONS)),
        }
    }

    /// Reads a key that cannot exist, so that connection, TLS session and code are
    /// ready before the first request. Makes one attempt, for half a second at most.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", text(NO_KEY))
            .customize()
            .config_override(Builder::new().retry_config(RetryConfig::disabled()));
        match tokio::time::timeout(WARM_UP_LIMIT, get.send()).await {
            Ok(result) => result.map(drop).map_err(|error| transient::failed(&error)),
            Err(_) => Err(StoreError::unavailable("the store did not answer in time")),
        }
    }

    /// Begins a request. It waits for the store until `deadline`, but no longer than
    /// three seconds from its first call on.
    pub fn session(&self, deadline: Instant) -> Session<'_> {
        Session {
            store: self,
            deadline,
            began: Arc::default(),
            max_wait: MAX_WAIT,
            attempts: Arc::default(),
        }
    }
}

impl Session<'_> {
    /// Returns how long ago its first call began.
    pub fn time(&self) -> Duration {
        self.began.get().map_or(Duration::ZERO, Instant::elapsed)
    }

    pub fn attempts(&self) -> u32 {
        self.attempts.load(Ordering::Relaxed)
    }

    /// Associates a cart with parties of one kind, all or none. Associations that exist
    /// stay as they are, but are renewed if they end before `lifetime`, which is how long
    /// an association lasts after it was last requested; `None` is for ever.
    pub async fn associate(
        &self,
        cart: &CartId,
        parties: &[Party],
        writer: Writer,
        lifetime: Option<Duration>,
    ) -> Result<WriteOutcome, StoreError> {
        let write = Write::put(keys(cart, parties), writer, lifetime);
        self.write(write).await
    }

    /// Removes the associations of a cart with parties of one kind, all or none.
    /// Idempotent.
    pub async fn dissociate(
        &self,
        cart: &CartId,
        parties: &[Party],
        writer: Writer,
    ) -> Result<(), StoreError> {
        let write = Write::removal(keys(cart, parties), writer);
        self.write(write).await.map(drop)
    }

    /// Returns whether a party is associated with a cart: a consistent read.
    pub async fn is_associated(
        &self,
        cart: &CartId,
        party: &Party,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let key = key(cart.as_str(), party);
        let item = self.get(&key, "associated_at, expires_at").await?;
        Ok(item.is_some_and(|item| is_live(&item, now)))
    }

    async fn get(&self, key: &str, attributes: &str) -> Result<Option<Item>, StoreError> {
        let get = self
            .store
            .client
            .get_item()
            .table_name(&self.store.table)
            .key("id", text(key))
            .projection_expression(attributes)
            .consistent_read(true);
        Ok(self.read(get.send()).await?.item)
    }

    /// Waits for a read. Whether an attempt was lost does not matter, since it changes
    /// nothing.
    async fn read<T, E: Error + ProvideErrorMetadata + 'static>(
        &self,
        call: impl Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    ) -> Result<T, StoreError> {
        let result = self.call(call, &mut false).await?;
        result.map_err(|error| transient::failed(&error))
    }

    /// Waits for a call, no longer than until the end. Sets `is_lost` if an attempt got no
    /// answer.
    fn call<T>(
        &self,
        call: impl Future<Output = T>,
        is_lost: &mut bool,
    ) -> impl Future<Output = Result<T, StoreError>> {
        let attempts = Arc::new(Attempts::counted_in(&self.attempts));
        // Boxed: the SDK's futures are some kilobytes, copied with each future
        // around them.
        let call = ATTEMPTS.scope(Arc::clone(&attempts), Box::pin(call));
        async move {
            let now = Instant::now();
            let began = self.began.get_or_init(|| now);
            let end = began.checked_add(self.max_wait);
            let end = end.map_or(self.deadline, |end| end.min(self.deadline));
            // `timeout_at` would poll the call once, which sends it.
            if now >= end {
                return Err(StoreError::unavailable("no time is left for the store"));
            }
            let permitted = async {
                let permit = self.store.calls.acquire().await;
                let _permit = permit.expect("it is never closed");
                call.await
            };
            let result = tokio::time::timeout_at(end, permitted).await;
            *is_lost |= attempts.is_lost();
            result.map_err(|_| StoreError::unavailable("the store did not answer in time"))
        }
    }

    /// The same request on `store`, which may wait until the deadline.
    fn with_all_time<'s>(&self, store: &'s Store) -> Session<'s> {
        Session {
            store,
            deadline: self.deadline,
            began: Arc::clone(&self.began),
            max_wait: Duration::MAX,
            attempts: Arc::clone(&self.attempts),
        }
    }

    /// Writes until what was sent is applied, or is known not to be needed.
    async fn write(&self, mut write: Write) -> Result<WriteOutcome, StoreError> {
        let mut is_lost = false;
        let mut cause = "others kept changing the same associations";
        for _ in 0..MAX_ROUNDS {
            let sent = self.send(write.item_writes(), &mut is_lost).await;
            let Some(replies) = sent.map_err(|error| error.of_write(is_lost))? else {
                return Ok(write.outcome());
            };
            match write.next(&replies, is_lost, Uuid::new_v4) {
                Next::Send => {}
                Next::Done(outcome) => return Ok(outcome),
                Next::GiveUp => {
                    cause = "an attempt was lost, and may have been undone by others since";
                    break;
                }
            }
        }
        Err(StoreError::unavailable(cause).of_write(is_lost))
    }

    /// Sends writes, all or none. Returns `None` if they were applied, and the reply
    /// for each if a condition failed.
    async fn send(
        &self,
        writes: Vec<ItemWrite>,
        is_lost: &mut bool,
    ) -> Result<Option<Vec<Reply>>, StoreError> {
        let Store { client, table, .. } = self.store;
        let writes = match <[ItemWrite; 1]>::try_from(writes) {
            Ok([write]) => match write.change {
                Change::Put(item) => {
                    let put = client.put_item().set_item(Some(item));
                    let put = conditional!(put, table, write);
                    return replies(self.call(put.send(), is_lost).await?);
                }
                Change::Update(expression) => {
                    let update = client.update_item().key("id", text(&write.id));
                    let update = update.update_expression(expression);
                    let update = conditional!(update, table, write);
                    return replies(self.call(update.send(), is_lost).await?);
                }
                Change::Check => vec![write],
            },
            Err(writes) => writes,
        };
        let actions = writes.into_iter().map(|write| action(table, write));
        // The SDK gives each call its own `ClientRequestToken`.
        let transaction = client
            .transact_write_items()
            .set_transact_items(Some(actions.collect()));
        replies(self.call(transaction.send(), is_lost).await?)
    }
}

/// Returns the reply for each item of a write, if it was refused for its conditions
/// alone.
fn replies<T, E>(
    result: Result<T, SdkError<E, HttpResponse>>,
) -> Result<Option<Vec<Reply>>, StoreError>
where
    E: Error + ProvideErrorMetadata + 'static,
{
    let Err(error) = result else {
        return Ok(None);
    };
    let exception = error.as_service_error().and_then(Error::source);
    if let Some(failed) = exception.and_then(<dyn Error>::downcast_ref) {
        let ConditionalCheckFailedException { item, .. } = failed;
        return Ok(Some(vec![Reply::Refused(item.clone())]));
    }
    let failed = |reason: &CancellationReason| reason.code() == Some(CONDITION_FAILED);
    // With another reason, some conditions were not evaluated.
    let evaluated = |reason: &CancellationReason| {
        failed(reason) || reason.code().is_none_or(|code| code == "None")
    };
    match transient::reasons(&error) {
        Some(reasons) if reasons.iter().any(failed) && reasons.iter().all(evaluated) => {
            let reply = |reason: &CancellationReason| match failed(reason) {
                true => Reply::Refused(reason.item.clone()),
                false => Reply::Accepted,
            };
            Ok(Some(reasons.iter().map(reply).collect()))
        }
        _ => Err(transient::failed(&error)),
    }
}

fn action(table: &str, write: ItemWrite) -> TransactWriteItem {
    const ALL_SET: &str = "table, key or item, update and condition are set";
    let id = text(&write.id);
    let action = TransactWriteItem::builder();
    let action = match write.change {
        Change::Put(item) => {
            let put = conditional!(Put::builder().set_item(Some(item)), table, write);
            action.put(put.build().expect(ALL_SET))
        }
        Change::Update(expression) => {
            let update = Update::builder()
                .key("id", id)
                .update_expression(expression);
            let update = conditional!(update, table, write);
            action.update(update.build().expect(ALL_SET))
        }
        Change::Check => {
            let check = conditional!(ConditionCheck::builder().key("id", id), table, write);
            action.condition_check(check.build().expect(ALL_SET))
        }
    };
    action.build()
}

fn keys(cart: &CartId, parties: &[Party]) -> Vec<String> {
    let key = |party| key(cart.as_str(), party);
    parties.iter().map(key).collect()
}

#[cfg(test)]
mod tests {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
    use aws_sdk_dynamodb::types::error::TransactionCanceledException;
    use aws_smithy_types::body::SdkBody;

    use super::*;

    /// Where one write of a transaction was not evaluated, no condition of it held.
    #[test]
    fn a_transaction_is_refused_for_its_conditions_alone_or_has_failed() {
        let cancelled = |codes: [&str; 2]| {
            let reasons = codes.map(|code| CancellationReason::builder().code(code).build());
            let cancelled = TransactionCanceledException::builder()
                .set_cancellation_reasons(Some(reasons.into()))
                .build();
            let error = TransactWriteItemsError::TransactionCanceledException(cancelled);
            let response = HttpResponse::new(400.try_into().unwrap(), SdkBody::empty());
            replies::<(), _>(Err(SdkError::service_error(error, response)))
        };
        let refused = cancelled([CONDITION_FAILED, "None"]).unwrap().unwrap();
        assert!(matches!(
            refused[..],
            [Reply::Refused(None), Reply::Accepted]
        ));
        for passing in ["TransactionConflict", "ThrottlingError"] {
            let failed = cancelled([CONDITION_FAILED, passing]);
            assert!(
                matches!(failed, Err(StoreError::Unavailable(_))),
                "{passing}"
            );
        }
    }
}
