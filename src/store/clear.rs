//! Clearing a relationship: removing all that an index shows, in batches.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::lists::{MAX_ITEMS_PER_CALL, Pages};
use super::rules::{Write, Writer, text};
use super::{Budget, Store, StoreError};
use crate::ids::{CartId, CustomerId};

/// The most removals in one `TransactWriteItems`.
const BATCH: usize = 100;

/// The time limit for one attempt. A clearing has more time than other requests, and
/// sends the largest transactions: to give up on a slow one and send it again would
/// take longer than to wait for it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// How far a relationship was cleared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClearOutcome {
    /// The index shows nothing else.
    Complete,
    /// Time ran out, or the store failed, after some associations were removed.
    Partial {
        /// How many.
        removed: usize,
        cause: String,
    },
}

impl Store {
    /// Removes all customers from a cart. Takes all the time that the request has.
    pub async fn clear_cart(
        &self,
        cart: &CartId,
        writer: &Writer,
        budget: &Budget,
    ) -> Result<ClearOutcome, StoreError> {
        let store = self.with_attempt_timeout(ATTEMPT_TIMEOUT);
        let query = store
            .index("by_cart")
            .key_condition_expression("cart_id = :cart")
            .expression_attribute_values(":cart", text(cart.as_str()));
        store.clear(query, writer, budget).await
    }

    /// Removes a customer from all carts. Takes all the time that the request has.
    pub async fn clear_customer(
        &self,
        customer: &CustomerId,
        writer: &Writer,
        budget: &Budget,
    ) -> Result<ClearOutcome, StoreError> {
        let store = self.with_attempt_timeout(ATTEMPT_TIMEOUT);
        let query = store
            .index("by_customer")
            .key_condition_expression("customer_id = :customer")
            .expression_attribute_values(":customer", text(customer.as_str()));
        store.clear(query, writer, budget).await
    }

    async fn clear(
        &self,
        query: QueryFluentBuilder,
        writer: &Writer,
        budget: &Budget,
    ) -> Result<ClearOutcome, StoreError> {
        budget.use_all_time();
        let query = query.projection_expression("id");
        let mut removed = 0;
        match self.remove_all(query, writer, &mut removed, budget).await {
            Ok(()) => Ok(ClearOutcome::Complete),
            Err(StoreError::Unavailable(cause) | StoreError::OutcomeUnknown(cause))
                if removed > 0 =>
            {
                Ok(ClearOutcome::Partial { removed, cause })
            }
            Err(error) => Err(error),
        }
    }

    /// The same table with another time limit for attempts.
    fn with_attempt_timeout(&self, limit: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(limit);
        let config = self.client.config().to_builder();
        Self {
            client: Client::from_conf(config.timeout_config(timeouts.build()).build()),
            table: self.table.clone(),
        }
    }

    /// Removes what the query finds, until it finds nothing else, and counts it. The
    /// index lags behind the table, so it may show one item twice, and again after
    /// it was removed. Each is removed once, even if another request has made an
    /// association of it since.
    async fn remove_all(
        &self,
        query: QueryFluentBuilder,
        writer: &Writer,
        removed: &mut usize,
        budget: &Budget,
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        loop {
            let seen_before = seen.len();
            let mut pages = Pages::of(query.clone());
            while let Some(items) = pages.next(MAX_ITEMS_PER_CALL, budget).await? {
                let keys: Vec<String> = items
                    .into_iter()
                    .filter_map(|mut item| match item.remove("id") {
                        Some(AttributeValue::S(id)) if seen.insert(id.clone()) => Some(id),
                        _ => None,
                    })
                    .collect();
                for batch in keys.chunks(BATCH) {
                    let write = Write::removal(batch.to_vec(), writer.clone());
                    self.write(write, budget).await?;
                    *removed += batch.len();
                }
            }
            if seen.len() == seen_before {
                return Ok(());
            }
        }
    }
}
