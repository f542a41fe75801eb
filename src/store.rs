//! The DynamoDB table. The only user of `aws_sdk_dynamodb`: no layer above sees
//! an error of the SDK.
//!
//! Answers are true under retries. The SDK repeats a put whose answer was lost,
//! and the repeated put then meets its own item. So every request writes its own
//! `write_id`, asks for the item that failed a condition, and treats an item with
//! its own `write_id` as its own success.

mod budget;
mod lists;
mod retry;

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::{
    AttributeValue, CancellationReason, ConditionCheck, Delete, Put as PutAction,
    ReturnValuesOnConditionCheckFailure, TransactWriteItem, Update,
};
use uuid::Uuid;

pub use self::budget::Budget;
use self::budget::RecordAttempts;
pub use self::lists::Member;
use crate::clock::Timestamp;
use crate::http;
use crate::ids::{CartId, CustomerId};

/// The time limit for opening a TCP and TLS connection.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// The time limit for one attempt, from the first byte sent to the last received.
/// DynamoDB answers in single milliseconds, a transaction of a hundred in some
/// tens. An attempt that takes longer than this is lost, and a request has time
/// for three of them.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(900);

/// The first delay between attempts. The SDK doubles it each time and adds jitter.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);

/// The longest delay between attempts.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The most attempts of one call to DynamoDB. The budget usually ends first.
const MAX_ATTEMPTS: u32 = 8;

/// The most rounds of one put. It needs more than two only while others add and
/// remove the same associations.
const MAX_ROUNDS: usize = 8;

/// The time limit for the warm-up call. Lambda allows the whole start ten
/// seconds; requests have limits of their own and need not wait for a slow start.
const WARM_UP_LIMIT: Duration = Duration::from_millis(500);

/// A key that no item has: neither part of a key is ever empty.
const NO_KEY: &str = "#";

/// The conditions of writes. An item that has expired counts as absent, although
/// DynamoDB may take days to remove it ("Using time to live (TTL)", AWS). One is
/// the negation of the other for every item: a comparison with a missing attribute
/// or with another type is false.
const ABSENT: &str = "attribute_not_exists(id) OR expires_at <= :now";
const PRESENT: &str = "attribute_exists(id) AND NOT expires_at <= :now";

/// The table of associations.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

/// The attributes that all items written by one request share.
#[derive(Debug, Clone)]
pub struct WriteMetadata {
    /// When the request arrived.
    pub associated_at: Timestamp,
    /// The client that sent it: the access token's `sub`.
    pub associated_by: String,
    /// Identifies the request; random.
    pub write_id: Uuid,
    /// When the associations expire, if they do.
    pub expires_at: Option<Timestamp>,
}

/// The result of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutOutcome {
    /// At least one association is new.
    Created,
    /// All of them existed, made by other requests.
    Unchanged,
}

/// Why the store did not do what it was asked. Each holds the cause for the log.
#[derive(Debug)]
pub enum StoreError {
    /// DynamoDB throttled, failed or was not reached. Nothing was written.
    Unavailable(String),
    /// DynamoDB did not answer in time. The write may have been applied.
    OutcomeUnknown(String),
    /// DynamoDB refused the request: a bug or a wrong configuration.
    Fault(String),
}

impl StoreError {
    /// The error of a read: its outcome does not matter, since it changes nothing.
    fn of_read(self) -> Self {
        match self {
            Self::OutcomeUnknown(cause) => Self::Unavailable(cause),
            other => other,
        }
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Unavailable(cause) | Self::OutcomeUnknown(cause) | Self::Fault(cause)) = self;
        f.write_str(cause)
    }
}

impl std::error::Error for StoreError {}

/// The state of an item when it was last seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ItemState {
    Absent,
    Present,
}

type Item = HashMap<String, AttributeValue>;

impl Store {
    /// Creates a store on a table. Region, endpoint, credentials and HTTP client
    /// come from `config`; time limits and retries are set here.
    pub fn new(config: &aws_config::SdkConfig, table: String) -> Self {
        let timeouts = TimeoutConfig::builder()
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let retries = RetryConfig::standard()
            .with_max_attempts(MAX_ATTEMPTS)
            .with_initial_backoff(INITIAL_BACKOFF)
            .with_max_backoff(MAX_BACKOFF);
        let config = Builder::from(config)
            .timeout_config(timeouts)
            // The attempt timeout ends an attempt that stalls.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries)
            .retry_classifier(retry::MoreRetries)
            .retry_partition(retry_partition())
            .interceptor(RecordAttempts)
            .build();
        let client = Client::from_conf(config);
        Self { client, table }
    }

    /// Reads a key that cannot exist, so that connection, TLS session and code are
    /// ready before the first request.
    ///
    /// # Errors
    ///
    /// [`StoreError::Unavailable`], after one attempt or half a second.
    pub async fn warm_up(&self) -> Result<(), StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", text(NO_KEY))
            .customize()
            .config_override(Builder::new().retry_config(RetryConfig::disabled()));
        match tokio::time::timeout(WARM_UP_LIMIT, get.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(StoreError::Unavailable(http::cause(&error))),
            Err(late) => Err(StoreError::Unavailable(late.to_string())),
        }
    }

    /// Associates a cart with customers, all or none: one with a `PutItem`,
    /// several with a `TransactWriteItems`.
    ///
    /// Associations that exist stay as they are, except that they get the new
    /// `expires_at`, if there is one.
    pub async fn put(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        metadata: &WriteMetadata,
        budget: &Budget,
    ) -> Result<PutOutcome, StoreError> {
        match customers {
            [customer] => self.put_one(cart, customer, metadata, budget).await,
            _ => self.put_all(cart, customers, metadata, budget).await,
        }
    }

    /// Removes the associations of a cart with customers, all or none: one with a
    /// `DeleteItem`, several with a `TransactWriteItems`. Idempotent.
    pub async fn delete(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        budget: &Budget,
    ) -> Result<(), StoreError> {
        if let [customer] = customers {
            let delete = self
                .client
                .delete_item()
                .table_name(&self.table)
                .key("id", key(cart, customer));
            let deleted = budget.spend(delete.send()).await?;
            return deleted.map(drop).map_err(|error| budget.failed(&error));
        }
        let actions = customers.iter().map(|customer| {
            let delete = Delete::builder()
                .table_name(&self.table)
                .key("id", key(cart, customer))
                .build()
                .expect("table and key are set");
            TransactWriteItem::builder().delete(delete).build()
        });
        let transaction = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions.collect()));
        let deleted = budget.spend(transaction.send()).await?;
        deleted.map(drop).map_err(|error| budget.failed(&error))
    }

    /// Returns whether a customer is associated with a cart: a consistent read.
    pub async fn is_associated(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<bool, StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", key(cart, customer))
            .projection_expression("id, expires_at")
            .consistent_read(true);
        let got = budget
            .spend(get.send())
            .await
            .map_err(StoreError::of_read)?;
        let got = got.map_err(|error| Budget::failed_read(&error))?;
        Ok(got.item.is_some_and(|item| is_live(&item, now)))
    }

    async fn put_one(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        metadata: &WriteMetadata,
        budget: &Budget,
    ) -> Result<PutOutcome, StoreError> {
        for _ in 0..MAX_ROUNDS {
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(item(cart, customer, metadata)))
                .condition_expression(ABSENT)
                .expression_attribute_values(":now", seconds(metadata.associated_at))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            match budget.spend(put.send()).await? {
                Ok(_) => return Ok(PutOutcome::Created),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                        if is_own(failed.item(), metadata) {
                            return Ok(PutOutcome::Created);
                        }
                    }
                    _ => return Err(budget.failed(&error)),
                },
            }
            match self.renew(cart, customer, metadata, budget).await? {
                ItemState::Present => return Ok(PutOutcome::Unchanged),
                // Removed since the put.
                ItemState::Absent => {}
            }
        }
        Err(contended(budget))
    }

    /// Sets the new `expires_at`, if there is one, on an item that exists.
    async fn renew(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        metadata: &WriteMetadata,
        budget: &Budget,
    ) -> Result<ItemState, StoreError> {
        let Some(expires_at) = metadata.expires_at else {
            return Ok(ItemState::Present);
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", key(cart, customer))
            .update_expression("SET expires_at = :expires_at")
            .condition_expression(PRESENT)
            .expression_attribute_values(":now", seconds(metadata.associated_at))
            .expression_attribute_values(":expires_at", seconds(expires_at));
        match budget.spend(update.send()).await? {
            Ok(_) => Ok(ItemState::Present),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(ItemState::Absent),
                _ => Err(budget.failed(&error)),
            },
        }
    }

    /// Puts the items that are absent and checks those that exist, in one
    /// transaction, so that all of them exist at one moment. A cancelled transaction
    /// says which items were not in the expected state; the next round expects that.
    async fn put_all(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        metadata: &WriteMetadata,
        budget: &Budget,
    ) -> Result<PutOutcome, StoreError> {
        let mut states = vec![ItemState::Absent; customers.len()];
        for _ in 0..MAX_ROUNDS {
            let actions = customers
                .iter()
                .zip(&states)
                .map(|(customer, state)| self.action(cart, customer, *state, metadata))
                .collect();
            let transaction = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions));
            let Err(error) = budget.spend(transaction.send()).await? else {
                return Ok(outcome(&states));
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(budget.failed(&error));
            };
            let reasons = cancelled.cancellation_reasons();
            if reasons
                .iter()
                .any(|reason| failed_condition(reason) && is_own(reason.item(), metadata))
            {
                return Ok(PutOutcome::Created);
            }
            if let Some(fault) = reasons.iter().find(|reason| is_fault(reason)) {
                let cause = fault.message().unwrap_or_default();
                return Err(StoreError::Fault(format!("transaction refused: {cause}")));
            }
            let before = states.clone();
            for (state, reason) in states.iter_mut().zip(reasons) {
                if failed_condition(reason) {
                    *state = match *state {
                        ItemState::Absent => ItemState::Present,
                        ItemState::Present => ItemState::Absent,
                    };
                }
            }
            if states == before {
                return Err(budget.failed(&error));
            }
            if metadata.expires_at.is_none() && outcome(&states) == PutOutcome::Unchanged {
                return Ok(PutOutcome::Unchanged);
            }
        }
        Err(contended(budget))
    }

    fn action(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        state: ItemState,
        metadata: &WriteMetadata,
    ) -> TransactWriteItem {
        let now = seconds(metadata.associated_at);
        let action = TransactWriteItem::builder();
        let action = match (state, metadata.expires_at) {
            (ItemState::Absent, _) => action.put(
                PutAction::builder()
                    .table_name(&self.table)
                    .set_item(Some(item(cart, customer, metadata)))
                    .condition_expression(ABSENT)
                    .expression_attribute_values(":now", now)
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    )
                    .build()
                    .expect("table and item are set"),
            ),
            (ItemState::Present, None) => action.condition_check(
                ConditionCheck::builder()
                    .table_name(&self.table)
                    .key("id", key(cart, customer))
                    .condition_expression(PRESENT)
                    .expression_attribute_values(":now", now)
                    .build()
                    .expect("table, key and condition are set"),
            ),
            (ItemState::Present, Some(expires_at)) => action.update(
                Update::builder()
                    .table_name(&self.table)
                    .key("id", key(cart, customer))
                    .update_expression("SET expires_at = :expires_at")
                    .condition_expression(PRESENT)
                    .expression_attribute_values(":now", now)
                    .expression_attribute_values(":expires_at", seconds(expires_at))
                    .build()
                    .expect("table, key and update are set"),
            ),
        };
        action.build()
    }
}

/// A partition without a retry quota. The SDK's default quota is shared by all
/// requests: once used up, a lost answer would stay unresolved. The budget bounds
/// the retries of each request.
fn retry_partition() -> RetryPartition {
    RetryPartition::custom("associations")
        .token_bucket(TokenBucket::unlimited())
        .build()
}

/// The outcome of a transaction that succeeded on items in these states.
fn outcome(states: &[ItemState]) -> PutOutcome {
    if states.contains(&ItemState::Absent) {
        PutOutcome::Created
    } else {
        PutOutcome::Unchanged
    }
}

fn failed_condition(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Returns whether a reason means that the action itself is invalid
/// ("TransactWriteItems", AWS, lists the reasons for cancellation).
fn is_fault(reason: &CancellationReason) -> bool {
    const TRANSIENT: [&str; 5] = [
        "None",
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    ];
    reason.code().is_some_and(|code| !TRANSIENT.contains(&code))
}

fn contended(budget: &Budget) -> StoreError {
    budget.given_up("others kept changing the same associations".to_owned())
}

/// Returns whether an item has not expired: the condition [`PRESENT`] in Rust.
fn is_live(item: &Item, now: Timestamp) -> bool {
    let expires_at = item
        .get("expires_at")
        .and_then(|value| value.as_n().ok()?.parse::<f64>().ok());
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 9999")]
    let now = now.seconds() as f64;
    expires_at.is_none_or(|expires_at| expires_at > now)
}

fn is_own(old: Option<&Item>, metadata: &WriteMetadata) -> bool {
    old.and_then(|item| item.get("write_id")?.as_s().ok())
        .is_some_and(|write_id| *write_id == metadata.write_id.to_string())
}

fn item(cart: &CartId, customer: &CustomerId, metadata: &WriteMetadata) -> Item {
    let mut item = HashMap::from([
        ("id".to_owned(), key(cart, customer)),
        ("cart_id".to_owned(), text(cart.as_str())),
        ("customer_id".to_owned(), text(customer.as_str())),
        (
            "associated_at".to_owned(),
            text(&metadata.associated_at.to_string()),
        ),
        ("associated_by".to_owned(), text(&metadata.associated_by)),
        ("write_id".to_owned(), text(&metadata.write_id.to_string())),
    ]);
    if let Some(expires_at) = metadata.expires_at {
        item.insert("expires_at".to_owned(), seconds(expires_at));
    }
    item
}

fn key(cart: &CartId, customer: &CustomerId) -> AttributeValue {
    AttributeValue::S(format!("{}#{}", cart.as_str(), customer.as_str()))
}

fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn seconds(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.seconds().to_string())
}
