//! The DynamoDB table. The only user of `aws_sdk_dynamodb`: no layer above sees
//! an error of the SDK.
//!
//! Answers are true under retries. The SDK repeats a write whose answer was lost,
//! and the repeated write then meets its own item. So every request writes its own
//! random id, asks for the item that refused a condition, and treats an item with
//! its own id as its own success. [`rules`] says what follows from any other item.

mod budget;
mod clear;
mod lists;
mod retry;
pub mod rules;

use std::fmt;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::{RetryConfig, RetryPartition, TokenBucket};
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::config::{Builder, StalledStreamProtectionConfig};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld;
use aws_sdk_dynamodb::types::{CancellationReason, ConditionCheck, Put, TransactWriteItem, Update};

pub use self::budget::Budget;
use self::budget::RecordAttempts;
pub use self::clear::ClearOutcome;
pub use self::lists::Member;
use self::rules::{Change, ItemWrite, Next, Reply, Write, is_live, text};
pub use self::rules::{WriteOutcome, Writer};
use crate::client;
use crate::clock::Timestamp;
use crate::ids::{CartId, CustomerId, Party, PartyKind};

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

/// The most writes that one request sends under new conditions. It needs more than
/// two only while others write the same associations.
pub const MAX_ROUNDS: u8 = 8;

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
            Ok(Err(error)) => Err(StoreError::Unavailable(client::cause(&error))),
            Err(late) => Err(StoreError::Unavailable(late.to_string())),
        }
    }

    /// Associates a cart with customers, all or none. Associations that exist stay
    /// as they are, but are renewed if they end before `lifetime`, which is how long
    /// an association lasts after it was last requested; `None` is for ever.
    pub async fn put(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        writer: Writer,
        lifetime: Option<Duration>,
        budget: &Budget,
    ) -> Result<WriteOutcome, StoreError> {
        let write = Write::put(keys(cart, customers), writer, lifetime);
        self.write(write, budget).await
    }

    /// Removes the associations of a cart with customers, all or none. Idempotent.
    pub async fn remove(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        writer: Writer,
        budget: &Budget,
    ) -> Result<(), StoreError> {
        let write = Write::removal(keys(cart, customers), writer);
        self.write(write, budget).await.map(drop)
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
            .key("id", text(&key(cart, customer)))
            .projection_expression("associated_at, expires_at")
            .consistent_read(true);
        let got = budget
            .spend(get.send())
            .await
            .map_err(StoreError::of_read)?;
        let got = got.map_err(|error| Budget::failed_read(&error))?;
        Ok(got.item.is_some_and(|item| is_live(&item, now)))
    }

    /// Writes until what was sent is applied, or is known not to be needed.
    async fn write(&self, mut write: Write, budget: &Budget) -> Result<WriteOutcome, StoreError> {
        for _ in 0..MAX_ROUNDS {
            let Some(replies) = self.send(write.item_writes(), budget).await? else {
                return Ok(write.outcome());
            };
            match write.next(&replies, budget.has_lost_attempt()) {
                Next::Send => {}
                Next::Done(outcome) => return Ok(outcome),
                Next::GiveUp => break,
            }
        }
        Err(budget.given_up("others kept changing the same associations".to_owned()))
    }

    /// Sends writes, all or none. Returns `None` if they were applied, and the reply
    /// for each if a condition failed.
    async fn send(
        &self,
        writes: Vec<ItemWrite>,
        budget: &Budget,
    ) -> Result<Option<Vec<Reply>>, StoreError> {
        match <[ItemWrite; 1]>::try_from(writes) {
            Ok([write]) => self.send_one(write, budget).await,
            Err(writes) => self.send_all(writes, budget).await,
        }
    }

    async fn send_one(
        &self,
        write: ItemWrite,
        budget: &Budget,
    ) -> Result<Option<Vec<Reply>>, StoreError> {
        let values = Some(write.values).filter(|values| !values.is_empty());
        let expression = match write.change {
            Change::Put(item) => {
                let put = self
                    .client
                    .put_item()
                    .table_name(&self.table)
                    .set_item(Some(item))
                    .condition_expression(write.condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld);
                let Err(error) = budget.spend(put.send()).await? else {
                    return Ok(None);
                };
                return match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                        Ok(Some(vec![Reply::Refused(failed.item.clone())]))
                    }
                    _ => Err(budget.failed(&error)),
                };
            }
            Change::Update(expression) => Some(expression.to_owned()),
            Change::Check => None,
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", text(&write.id))
            .set_update_expression(expression)
            .condition_expression(write.condition)
            .set_expression_attribute_values(values)
            .return_values_on_condition_check_failure(AllOld);
        let Err(error) = budget.spend(update.send()).await? else {
            return Ok(None);
        };
        match error.as_service_error() {
            Some(UpdateItemError::ConditionalCheckFailedException(failed)) => {
                Ok(Some(vec![Reply::Refused(failed.item.clone())]))
            }
            _ => Err(budget.failed(&error)),
        }
    }

    async fn send_all(
        &self,
        writes: Vec<ItemWrite>,
        budget: &Budget,
    ) -> Result<Option<Vec<Reply>>, StoreError> {
        let actions = writes.into_iter().map(|write| self.action(write)).collect();
        // The SDK gives each call its own `ClientRequestToken`.
        let transaction = self
            .client
            .transact_write_items()
            .set_transact_items(Some(actions));
        let Err(error) = budget.spend(transaction.send()).await? else {
            return Ok(None);
        };
        let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
            error.as_service_error()
        else {
            return Err(budget.failed(&error));
        };
        let reasons = cancelled.cancellation_reasons();
        if let Some(fault) = reasons.iter().find(|reason| is_fault(reason)) {
            let cause = fault.message().unwrap_or_default();
            return Err(StoreError::Fault(format!("transaction refused: {cause}")));
        }
        if !reasons.iter().any(failed_condition) {
            return Err(budget.failed(&error));
        }
        let reply = |reason: &CancellationReason| match failed_condition(reason) {
            true => Reply::Refused(reason.item.clone()),
            false => Reply::Accepted,
        };
        Ok(Some(reasons.iter().map(reply).collect()))
    }

    fn action(&self, write: ItemWrite) -> TransactWriteItem {
        let (id, condition) = (text(&write.id), write.condition);
        let values = Some(write.values).filter(|values| !values.is_empty());
        let action = TransactWriteItem::builder();
        let action = match write.change {
            Change::Put(item) => action.put(
                Put::builder()
                    .table_name(&self.table)
                    .set_item(Some(item))
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld)
                    .build()
                    .expect("table and item are set"),
            ),
            Change::Update(expression) => action.update(
                Update::builder()
                    .table_name(&self.table)
                    .key("id", id)
                    .update_expression(expression)
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld)
                    .build()
                    .expect("table, key and update are set"),
            ),
            Change::Check => action.condition_check(
                ConditionCheck::builder()
                    .table_name(&self.table)
                    .key("id", id)
                    .condition_expression(condition)
                    .set_expression_attribute_values(values)
                    .return_values_on_condition_check_failure(AllOld)
                    .build()
                    .expect("table, key and condition are set"),
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

fn keys(cart: &CartId, customers: &[CustomerId]) -> Vec<String> {
    let key = |customer| key(cart, customer);
    customers.iter().map(key).collect()
}

fn key(cart: &CartId, customer: &CustomerId) -> String {
    format!("{}#{}", cart.as_str(), customer.as_str())
}

#[derive(Debug)]
pub struct Session<'a> {
    store: &'a Store,
    budget: Budget,
}
pub type Position = Member;
impl Store {
    pub fn session(&self, deadline: tokio::time::Instant) -> Session<'_> {
        Session {
            store: self,
            budget: Budget::until(deadline),
        }
    }
}
fn cust(p: &Party) -> CustomerId {
    p.id().parse().unwrap()
}
impl Session<'_> {
    pub fn attempts(&self) -> u32 {
        self.budget.attempts_made()
    }
    pub async fn associate(
        &self,
        cart: &CartId,
        parties: &[Party],
        writer: Writer,
        lifetime: Option<Duration>,
    ) -> Result<WriteOutcome, StoreError> {
        let c: Vec<_> = parties.iter().map(cust).collect();
        self.store
            .put(cart, &c, writer, lifetime, &self.budget)
            .await
    }
    pub async fn dissociate(
        &self,
        cart: &CartId,
        parties: &[Party],
        writer: Writer,
    ) -> Result<(), StoreError> {
        let c: Vec<_> = parties.iter().map(cust).collect();
        self.store.remove(cart, &c, writer, &self.budget).await
    }
    pub async fn is_associated(
        &self,
        cart: &CartId,
        party: &Party,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        self.store
            .is_associated(cart, &cust(party), now, &self.budget)
            .await
    }
    pub async fn parties_of(
        &self,
        cart: &CartId,
        _: PartyKind,
        after: Option<&str>,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Member>, StoreError> {
        let after: Option<CustomerId> = after.map(|a| a.parse().unwrap());
        self.store
            .customers_of(cart, after.as_ref(), count, now, &self.budget)
            .await
    }
    pub async fn carts_of(
        &self,
        party: &Party,
        after: Option<&Position>,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Member>, StoreError> {
        self.store
            .carts_of(&cust(party), after, count, now, &self.budget)
            .await
    }
    pub async fn clear_cart(
        &self,
        cart: &CartId,
        _: PartyKind,
        writer: &Writer,
    ) -> Result<ClearOutcome, StoreError> {
        self.store.clear_cart(cart, writer, &self.budget).await
    }
    pub async fn clear_party(
        &self,
        party: &Party,
        writer: &Writer,
    ) -> Result<ClearOutcome, StoreError> {
        self.store
            .clear_customer(&cust(party), writer, &self.budget)
            .await
    }
}
