//! The table. The only user of `aws_sdk_dynamodb`: no layer above sees an error
//! of the SDK.
//!
//! An answer tells what is stored, not what an attempt returned. The SDK
//! repeats a put whose answer was lost, and the repeated put then meets its own
//! item. So every call stamps what it writes with its own `write_id`, asks for
//! the item that failed a condition, and takes an item that carries its
//! `write_id` for its own success.

mod budget;
mod lists;
mod retry;
mod sigv4;
mod user_agent;

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
use self::budget::CountAttempts;
use self::sigv4::SigV4;
use self::user_agent::UserAgent;
use crate::clock::Timestamp;
use crate::ids::{CartId, CustomerId};

/// How long a TCP and TLS connection may take to open.
pub const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);

/// How long one attempt may take from the first byte sent to the last received.
/// DynamoDB answers in single milliseconds, and a transaction of a hundred in
/// some more: what takes this long is lost, and after two such attempts there is
/// time for a third.
const ATTEMPT_TIMEOUT: Duration = Duration::from_millis(900);

/// The first delay before another attempt, doubled with each, all of them
/// jittered by the SDK.
const INITIAL_BACKOFF: Duration = Duration::from_millis(25);

/// The longest such delay.
const MAX_BACKOFF: Duration = Duration::from_millis(500);

/// The most attempts of one call to DynamoDB; its budget ends most calls before.
const MAX_ATTEMPTS: u32 = 8;

/// The most calls in which one request looks for what is there: more only if
/// others keep adding and removing the very same associations.
const MAX_ROUNDS: usize = 8;

/// How long the start waits for the store. Lambda gives it ten seconds; but a
/// store that is this slow is better met by a request, which has its own limit.
const REACH_LIMIT: Duration = Duration::from_millis(500);

/// The key of no item: neither a cart's id nor a customer's is empty.
const NO_KEY: &str = "#";

/// The conditions of writes. An item that has expired and that DynamoDB has not
/// yet removed counts as absent ("Using time to live (TTL)", AWS: removal takes
/// up to a few days). Each of the two holds where the other does not, whatever is
/// stored: a comparison with nothing, or with another type, is false.
const ABSENT: &str = "attribute_not_exists(id) OR expires_at <= :now";
const PRESENT: &str = "attribute_exists(id) AND NOT expires_at <= :now";

/// The table of associations.
#[derive(Debug, Clone)]
pub struct Store {
    client: Client,
    table: String,
}

/// What all items that one call writes have in common.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// When.
    pub associated_at: Timestamp,
    /// By which client.
    pub associated_by: String,
    /// By which call.
    pub write_id: Uuid,
    /// When the items end, if they do.
    pub expires_at: Option<Timestamp>,
}

/// What came of a put.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// At least one item is new.
    Done,
    /// All items were there, made by others.
    AlreadyThere,
}

/// Why the store did not do what it was asked. Holds the cause for the log.
#[derive(Debug)]
pub enum StoreError {
    /// DynamoDB throttled or failed, and for certain nothing was written.
    Unavailable(String),
    /// DynamoDB did not say, in time, whether it was done.
    OutcomeUnknown(String),
    /// DynamoDB refused the request as such: a fault of ours or of the set-up.
    Fault(String),
}

impl StoreError {
    /// The same, of a call that changes nothing whether it was done or not.
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

/// Whether an item is there, as far as a call has seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Absent,
    Present,
}

type Item = HashMap<String, AttributeValue>;

impl Store {
    /// `config` is what the environment says of region, endpoint and
    /// credentials; times and retries are set here.
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
            // An attempt that stalls ends with its time.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .retry_config(retries)
            .retry_classifier(retry::MoreRetries)
            .retry_partition(retry_partition())
            .push_auth_scheme(SigV4::default())
            .interceptor(UserAgent::default())
            .interceptor(CountAttempts)
            .build();
        let client = Client::from_conf(config);
        Self { client, table }
    }

    /// Asks for an item that cannot be, once what a first call takes is there:
    /// a connection with its handshake, credentials, pages of code. It needs no
    /// other permission than the requests do, and reads nothing.
    pub async fn reach(&self) -> Result<(), StoreError> {
        let get = self
            .client
            .get_item()
            .table_name(&self.table)
            .key("id", text(NO_KEY))
            .customize()
            // A store in trouble is not asked twice for nothing.
            .config_override(Builder::new().retry_config(RetryConfig::disabled()));
        match tokio::time::timeout(REACH_LIMIT, get.send()).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(StoreError::Unavailable(budget::cause(&error))),
            Err(late) => Err(StoreError::Unavailable(late.to_string())),
        }
    }

    /// Makes the associations of a cart with customers, all of them or none:
    /// one by a `PutItem`, several by one `TransactWriteItems`.
    ///
    /// Those that are there already stay, with a new `expires_at` if the stamp
    /// has one.
    pub async fn put(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        stamp: &Stamp,
        budget: &Budget,
    ) -> Result<Put, StoreError> {
        match customers {
            [customer] => self.put_one(cart, customer, stamp, budget).await,
            _ => self.put_all(cart, customers, stamp, budget).await,
        }
    }

    /// Removes the associations of a cart with customers, all of them or none: one
    /// by a `DeleteItem`, several by one `TransactWriteItems`. Those that are not
    /// there count as removed, so doing it again does no harm.
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

    /// Whether a customer is on a cart, read consistently.
    pub async fn is_there(
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
        let got = got.map_err(|error| budget.failed(&error).of_read())?;
        Ok(got.item.is_some_and(|item| is_live(&item, now)))
    }

    async fn put_one(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        stamp: &Stamp,
        budget: &Budget,
    ) -> Result<Put, StoreError> {
        for _ in 0..MAX_ROUNDS {
            let put = self
                .client
                .put_item()
                .table_name(&self.table)
                .set_item(Some(item(cart, customer, stamp)))
                .condition_expression(ABSENT)
                .expression_attribute_values(":now", seconds(stamp.associated_at))
                .return_values_on_condition_check_failure(
                    ReturnValuesOnConditionCheckFailure::AllOld,
                );
            match budget.spend(put.send()).await? {
                Ok(_) => return Ok(Put::Done),
                Err(error) => match error.as_service_error() {
                    Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                        if is_own(failed.item(), stamp) {
                            return Ok(Put::Done);
                        }
                    }
                    _ => return Err(budget.failed(&error)),
                },
            }
            match self.renew(cart, customer, stamp, budget).await? {
                Seen::Present => return Ok(Put::AlreadyThere),
                // Removed since: there is something to make after all.
                Seen::Absent => {}
            }
        }
        Err(contended(budget))
    }

    /// Gives an item that is there the stamp's `expires_at`, if it has one.
    async fn renew(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        stamp: &Stamp,
        budget: &Budget,
    ) -> Result<Seen, StoreError> {
        let Some(expires_at) = stamp.expires_at else {
            return Ok(Seen::Present);
        };
        let update = self
            .client
            .update_item()
            .table_name(&self.table)
            .key("id", key(cart, customer))
            .update_expression("SET expires_at = :expires_at")
            .condition_expression(PRESENT)
            .expression_attribute_values(":now", seconds(stamp.associated_at))
            .expression_attribute_values(":expires_at", seconds(expires_at));
        match budget.spend(update.send()).await? {
            Ok(_) => Ok(Seen::Present),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(_)) => Ok(Seen::Absent),
                _ => Err(budget.failed(&error)),
            },
        }
    }

    /// Tries with what it has seen so far, and learns from a cancelled
    /// transaction which items are there. What is there is checked again in the
    /// transaction that adds the others, so that all of them are there at one
    /// moment.
    async fn put_all(
        &self,
        cart: &CartId,
        customers: &[CustomerId],
        stamp: &Stamp,
        budget: &Budget,
    ) -> Result<Put, StoreError> {
        let mut seen = vec![Seen::Absent; customers.len()];
        for _ in 0..MAX_ROUNDS {
            let actions = customers
                .iter()
                .zip(&seen)
                .map(|(customer, seen)| self.action(cart, customer, *seen, stamp))
                .collect();
            let transaction = self
                .client
                .transact_write_items()
                .set_transact_items(Some(actions));
            let Err(error) = budget.spend(transaction.send()).await? else {
                return Ok(outcome(&seen));
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) =
                error.as_service_error()
            else {
                return Err(budget.failed(&error));
            };
            let reasons = cancelled.cancellation_reasons();
            if reasons
                .iter()
                .any(|reason| failed_condition(reason) && is_own(reason.item(), stamp))
            {
                return Ok(Put::Done);
            }
            if let Some(fault) = reasons.iter().find(|reason| is_fault(reason)) {
                let cause = fault.message().unwrap_or_default();
                return Err(StoreError::Fault(format!("transaction refused: {cause}")));
            }
            let before = seen.clone();
            for (seen, reason) in seen.iter_mut().zip(reasons) {
                if failed_condition(reason) {
                    *seen = match *seen {
                        Seen::Absent => Seen::Present,
                        Seen::Present => Seen::Absent,
                    };
                }
            }
            if seen == before {
                return Err(budget.failed(&error));
            }
            if stamp.expires_at.is_none() && outcome(&seen) == Put::AlreadyThere {
                return Ok(Put::AlreadyThere);
            }
        }
        Err(contended(budget))
    }

    fn action(
        &self,
        cart: &CartId,
        customer: &CustomerId,
        seen: Seen,
        stamp: &Stamp,
    ) -> TransactWriteItem {
        let now = seconds(stamp.associated_at);
        let action = TransactWriteItem::builder();
        let action = match (seen, stamp.expires_at) {
            (Seen::Absent, _) => action.put(
                PutAction::builder()
                    .table_name(&self.table)
                    .set_item(Some(item(cart, customer, stamp)))
                    .condition_expression(ABSENT)
                    .expression_attribute_values(":now", now)
                    .return_values_on_condition_check_failure(
                        ReturnValuesOnConditionCheckFailure::AllOld,
                    )
                    .build()
                    .expect("table and item are set"),
            ),
            (Seen::Present, None) => action.condition_check(
                ConditionCheck::builder()
                    .table_name(&self.table)
                    .key("id", key(cart, customer))
                    .condition_expression(PRESENT)
                    .expression_attribute_values(":now", now)
                    .build()
                    .expect("table, key and condition are set"),
            ),
            (Seen::Present, Some(expires_at)) => action.update(
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

/// No quota of retries beside the budget: one that others have used up would
/// leave an answer that was lost unresolved.
fn retry_partition() -> RetryPartition {
    RetryPartition::custom("associations")
        .token_bucket(TokenBucket::unlimited())
        .build()
}

/// What a transaction has come to when it went through on what was seen.
fn outcome(seen: &[Seen]) -> Put {
    if seen.contains(&Seen::Absent) {
        Put::Done
    } else {
        Put::AlreadyThere
    }
}

fn failed_condition(reason: &CancellationReason) -> bool {
    reason.code() == Some("ConditionalCheckFailed")
}

/// Whether an action was refused as such ("TransactWriteItems", AWS, lists the
/// reasons for cancellation).
fn is_fault(reason: &CancellationReason) -> bool {
    const PASSING: [&str; 5] = [
        "None",
        "ConditionalCheckFailed",
        "ProvisionedThroughputExceeded",
        "ThrottlingError",
        "TransactionConflict",
    ];
    reason.code().is_some_and(|code| !PASSING.contains(&code))
}

fn contended(budget: &Budget) -> StoreError {
    budget.given_up("others kept changing the same associations".to_owned())
}

/// Whether an item has not expired: the same as the condition [`PRESENT`].
fn is_live(item: &Item, now: Timestamp) -> bool {
    let expires_at = item
        .get("expires_at")
        .and_then(|value| value.as_n().ok()?.parse::<f64>().ok());
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 9999")]
    let now = now.seconds() as f64;
    expires_at.is_none_or(|expires_at| expires_at > now)
}

fn is_own(old: Option<&Item>, stamp: &Stamp) -> bool {
    old.and_then(|item| item.get("write_id")?.as_s().ok())
        .is_some_and(|write_id| *write_id == stamp.write_id.to_string())
}

fn item(cart: &CartId, customer: &CustomerId, stamp: &Stamp) -> Item {
    let mut item = HashMap::from([
        ("id".to_owned(), key(cart, customer)),
        ("cart_id".to_owned(), text(cart.as_str())),
        ("customer_id".to_owned(), text(customer.as_str())),
        (
            "associated_at".to_owned(),
            text(&stamp.associated_at.to_string()),
        ),
        ("associated_by".to_owned(), text(&stamp.associated_by)),
        ("write_id".to_owned(), text(&stamp.write_id.to_string())),
    ]);
    if let Some(expires_at) = stamp.expires_at {
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
