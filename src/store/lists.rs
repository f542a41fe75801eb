//! The two lists, read from the two indexes. Index reads are always eventually
//! consistent: they lag behind the table, "within a fraction of a second, under
//! normal conditions" ("Using Global Secondary Indexes in DynamoDB", AWS).
//!
//! A page costs what its own members cost, wherever in the list it is: the query
//! begins at the position and ends when the page is full.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::rules::{Item, is_live, text};
use super::{Budget, Store, StoreError};
use crate::clock::Timestamp;
use crate::ids::{CartId, CustomerId};

/// A member of a list: a cart of a customer, or a customer of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The cart's or the customer's id.
    pub id: String,
    /// When the association was made, in RFC 3339.
    pub associated_at: String,
    pub expires_at: Option<Timestamp>,
}

impl Store {
    pub(super) fn index(&self, name: &str) -> QueryFluentBuilder {
        let query = self.client.query().table_name(&self.table);
        query.index_name(name)
    }

    /// Returns up to `count` customers of a cart, ordered by id, from the first
    /// after `after`.
    pub async fn customers_of(
        &self,
        cart: &CartId,
        after: Option<&CustomerId>,
        count: usize,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Vec<Member>, StoreError> {
        let mut query = self
            .index("by_cart")
            .expression_attribute_values(":cart", text(cart.as_str()));
        query = match after {
            None => query.key_condition_expression("cart_id = :cart"),
            Some(after) => query
                .key_condition_expression("cart_id = :cart AND customer_id > :after")
                .expression_attribute_values(":after", text(after.as_str())),
        };

        let mut members = Vec::new();
        let mut pages = Pages::of(query);
        while members.len() < count
            && let Some(items) = pages.next(count - members.len(), budget).await?
        {
            members.extend(live_members(items, "customer_id", now));
        }
        Ok(members)
    }

    /// Returns up to `count` carts of a customer, the newest association first and
    /// those of one moment by id, from the first after `after`.
    pub async fn carts_of(
        &self,
        customer: &CustomerId,
        after: Option<&Member>,
        count: usize,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Vec<Member>, StoreError> {
        let mut query = self
            .index("by_customer")
            .scan_index_forward(false)
            .expression_attribute_values(":customer", text(customer.as_str()));
        query = match after {
            None => query.key_condition_expression("customer_id = :customer"),
            // DynamoDB promises no order among associations of one moment, so they
            // may be on both sides of the position.
            Some(after) => query
                .key_condition_expression("customer_id = :customer AND associated_at <= :after")
                .expression_attribute_values(":after", text(&after.associated_at)),
        };
        let follows = |member: &Member| {
            after.is_none_or(|after| {
                member.associated_at < after.associated_at || member.id > after.id
            })
        };

        // Plus the one at the position, and one of an earlier moment.
        let limit = count + 2;
        let mut members: Vec<Member> = Vec::new();
        let mut pages = Pages::of(query);
        while !is_settled(&members, count)
            && let Some(items) = pages.next(limit, budget).await?
        {
            members.extend(live_members(items, "cart_id", now).filter(&follows));
        }
        members.sort_by(|one, other| {
            let newest_first = other.associated_at.cmp(&one.associated_at);
            newest_first.then_with(|| one.id.cmp(&other.id))
        });
        members.truncate(count);
        Ok(members)
    }
}

/// Returns whether the first `count` members are final: an older member was read, so
/// all members with the last one's time are known.
fn is_settled(members: &[Member], count: usize) -> bool {
    let moment = |index: usize| members.get(index).map(|member| &member.associated_at);
    match (moment(count - 1), members.last()) {
        (Some(moment), Some(last)) => last.associated_at != *moment,
        _ => false,
    }
}

fn live_members(
    items: Vec<Item>,
    id: &'static str,
    now: Timestamp,
) -> impl Iterator<Item = Member> {
    items
        .into_iter()
        .filter(move |item| is_live(item, now))
        .filter_map(move |mut item| {
            Some(Member {
                id: string(item.remove(id)?)?,
                associated_at: string(item.remove("associated_at")?)?,
                expires_at: None,
            })
        })
}

fn string(value: AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

/// The pages of a query's result, read one by one.
pub(super) struct Pages {
    query: QueryFluentBuilder,
    from: Option<Item>,
    /// The smallest limit of the next call. It grows, so that a list with many
    /// expired items takes few calls.
    min_limit: usize,
    ended: bool,
}

/// The largest limit of one call.
pub(super) const MAX_ITEMS_PER_CALL: usize = 1000;

impl Pages {
    pub(super) fn of(query: QueryFluentBuilder) -> Self {
        Self {
            query,
            from: None,
            min_limit: 0,
            ended: false,
        }
    }

    /// Reads the next items: `limit` of them, or more if earlier pages were not
    /// enough. `None` after the last page.
    pub(super) async fn next(
        &mut self,
        limit: usize,
        budget: &Budget,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let limit = limit.max(self.min_limit).min(MAX_ITEMS_PER_CALL);
        self.min_limit = limit * 4;
        let query = self
            .query
            .clone()
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(self.from.take());
        let answer = budget
            .spend(query.send())
            .await
            .map_err(StoreError::of_read)?;
        let answer = answer.map_err(|error| Budget::failed_read(&error))?;
        self.from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        self.ended = self.from.is_none();
        Ok(Some(answer.items.unwrap_or_default()))
    }
}
