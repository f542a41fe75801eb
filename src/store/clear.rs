//! Clearing a relationship: removing all that an index shows, in batches.

use std::collections::HashSet;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::lists::{MAX_ITEMS_PER_CALL, Pages};
use super::rules::{Write, Writer, text};
use super::{Budget, Store, StoreError};
use crate::ids::{CartId, CustomerId};

/// The most removals in one `TransactWriteItems`.
const BATCH: usize = 100;

/// How far a relationship was cleared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClearOutcome {
    /// The index shows nothing else.
    Complete,
    /// Time ran out, or the store failed, after some associations were removed.
    Partial {
        /// How many.
        removed: usize,
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
        let query = self
            .index("by_cart")
            .key_condition_expression("cart_id = :cart")
            .expression_attribute_values(":cart", text(cart.as_str()));
        self.clear(query, writer, budget).await
    }

    /// Removes a customer from all carts. Takes all the time that the request has.
    pub async fn clear_customer(
        &self,
        customer: &CustomerId,
        writer: &Writer,
        budget: &Budget,
    ) -> Result<ClearOutcome, StoreError> {
        let query = self
            .index("by_customer")
            .key_condition_expression("customer_id = :customer")
            .expression_attribute_values(":customer", text(customer.as_str()));
        self.clear(query, writer, budget).await
    }

    async fn clear(
        &self,
        query: QueryFluentBuilder,
        writer: &Writer,
        budget: &Budget,
    ) -> Result<ClearOutcome, StoreError> {
        budget.use_all_time();
        let query = query.projection_expression("id");
        let mut removed = HashSet::new();
        match self.remove_all(query, writer, &mut removed, budget).await {
            Ok(()) => Ok(ClearOutcome::Complete),
            Err(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
                if !removed.is_empty() =>
            {
                let removed = removed.len();
                Ok(ClearOutcome::Partial { removed })
            }
            Err(error) => Err(error),
        }
    }

    /// Removes what the query finds, until it finds nothing else. The index lags
    /// behind the table, so it may show again what was removed: that is skipped, and
    /// so is an association that another request has made of it since.
    async fn remove_all(
        &self,
        query: QueryFluentBuilder,
        writer: &Writer,
        removed: &mut HashSet<String>,
        budget: &Budget,
    ) -> Result<(), StoreError> {
        loop {
            let removed_before = removed.len();
            let mut pages = Pages::of(query.clone());
            while let Some(items) = pages.next(MAX_ITEMS_PER_CALL, budget).await? {
                let keys: Vec<String> = items
                    .into_iter()
                    .filter_map(|mut item| match item.remove("id") {
                        Some(AttributeValue::S(id)) if !removed.contains(&id) => Some(id),
                        _ => None,
                    })
                    .collect();
                for batch in keys.chunks(BATCH) {
                    let write = Write::removal(batch.to_vec(), writer.clone());
                    self.write(write, budget).await?;
                    removed.extend(batch.iter().cloned());
                }
            }
            if removed.len() == removed_before {
                return Ok(());
            }
        }
    }
}
