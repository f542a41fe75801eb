//! Clearing a relationship: removing all that an index shows, in batches.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::timeout::TimeoutConfig;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;

use super::lists::{MAX_ITEMS_PER_CALL, Pages};
use super::rules::{Write, Writer, string};
use super::{Session, Store, StoreError};
use crate::ids::{CartId, Party, PartyKind};

/// The most removals in one `TransactWriteItems`.
const BATCH: usize = 100;

/// The time limit for one attempt. A clearing has more time than other requests, and
/// sends the largest transactions: to give up on a slow one and send it again would
/// take longer than to wait for it.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);

/// How far a relationship was cleared.
#[derive(Debug)]
pub enum ClearOutcome {
    /// The index shows nothing else.
    Complete,
    /// Some associations were removed before the clearing ended early.
    Partial { removed: usize, cause: StoreError },
}

impl Session<'_> {
    /// Removes all parties of one kind from a cart. Takes all the time that the request
    /// has.
    pub async fn clear_cart(
        &self,
        cart: &CartId,
        kind: PartyKind,
        writer: &Writer,
    ) -> Result<ClearOutcome, StoreError> {
        self.clear(writer, |session| session.query_parties(cart, kind, None))
            .await
    }

    /// Removes a party from all carts. Takes all the time that the request has.
    pub async fn clear_party(
        &self,
        party: &Party,
        writer: &Writer,
    ) -> Result<ClearOutcome, StoreError> {
        self.clear(writer, |session| session.query_carts(party, None))
            .await
    }

    async fn clear(
        &self,
        writer: &Writer,
        query: impl Fn(&Session<'_>) -> QueryFluentBuilder,
    ) -> Result<ClearOutcome, StoreError> {
        let store = self.store.with_attempt_timeout(ATTEMPT_TIMEOUT);
        let session = self.with_all_time(&store);
        let query = query(&session).projection_expression("id");
        let mut removed = 0;
        match session.remove_all(query, writer, &mut removed).await {
            Ok(()) => Ok(ClearOutcome::Complete),
            Err(cause @ (StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)))
                if removed > 0 =>
            {
                Ok(ClearOutcome::Partial { removed, cause })
            }
            Err(error) => Err(error),
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
    ) -> Result<(), StoreError> {
        let mut seen = HashSet::new();
        loop {
            let seen_before = seen.len();
            let mut pages = Pages::of(query.clone());
            while let Some(items) = pages.next(MAX_ITEMS_PER_CALL, self).await? {
                let ids = items.iter().filter_map(|item| string(item, "id"));
                let new_ids = ids.filter(|id| seen.insert(id.to_string()));
                let keys: Vec<String> = new_ids.map(str::to_owned).collect();
                for batch in keys.chunks(BATCH) {
                    let write = Write::removal(batch.to_vec(), writer.clone());
                    self.write(write).await?;
                    *removed += batch.len();
                }
            }
            if seen.len() == seen_before {
                return Ok(());
            }
        }
    }
}

impl Store {
    /// The same table with another time limit for attempts.
    fn with_attempt_timeout(&self, limit: Duration) -> Self {
        let timeouts = TimeoutConfig::builder().operation_attempt_timeout(limit);
        let config = self.client.config().to_builder();
        Self {
            client: Client::from_conf(config.timeout_config(timeouts.build()).build()),
            ..self.clone()
        }
    }
}
