//! The two lists, from the two indexes. Both lag behind the table: an index is
//! always read "eventually consistent" ("Using Global Secondary Indexes in
//! DynamoDB", AWS: "within a fraction of a second, under normal conditions").
//!
//! A page costs what its own members cost, wherever in the list it lies: the
//! index is entered at the position, and left as soon as the page is full.

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::types::AttributeValue;

use super::{Budget, Item, Store, StoreError, is_live, text};
use crate::association::Member;
use crate::clock::Timestamp;
use crate::ids::{CartId, CustomerId};

impl Store {
    /// Customers of a cart by their ids, from the first that follows `after`: as
    /// many as there are, and no more than `count`.
    pub async fn customers_of(
        &self,
        cart: &CartId,
        after: Option<&CustomerId>,
        count: usize,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Vec<Member>, StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_cart")
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

    /// Carts of a customer, the newest association first and those of one moment
    /// by the cart's id, from the first that follows `after`: as many as there
    /// are, and no more than `count`.
    pub async fn carts_of(
        &self,
        customer: &CustomerId,
        after: Option<&Member>,
        count: usize,
        now: Timestamp,
        budget: &Budget,
    ) -> Result<Vec<Member>, StoreError> {
        let mut query = self
            .client
            .query()
            .table_name(&self.table)
            .index_name("by_customer")
            .scan_index_forward(false)
            .expression_attribute_values(":customer", text(customer.as_str()));
        query = match after {
            None => query.key_condition_expression("customer_id = :customer"),
            // Associations of the same moment may stand on both sides of the
            // position, in no order that DynamoDB promises.
            Some(after) => query
                .key_condition_expression("customer_id = :customer AND associated_at <= :after")
                .expression_attribute_values(":after", text(&after.associated_at)),
        };
        let follows = |member: &Member| {
            after.is_none_or(|after| {
                member.associated_at < after.associated_at || member.id > after.id
            })
        };

        // One that is known and one of a later moment are read too.
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

/// Whether the first `count` members are known for certain: the last that was
/// read is of a later moment in the list than the last of these, so that no more
/// of its moment can come.
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
            })
        })
}

fn string(value: AttributeValue) -> Option<String> {
    match value {
        AttributeValue::S(text) => Some(text),
        _ => None,
    }
}

/// The answers to a query, one after the other.
struct Pages {
    query: QueryFluentBuilder,
    from: Option<Item>,
    /// The fewest items of the next answer: more and more, so that a page that
    /// skips many expired items does not ask for each of them.
    least: usize,
    ended: bool,
}

/// The most items of one answer.
const MOST_ITEMS: usize = 1000;

impl Pages {
    fn of(query: QueryFluentBuilder) -> Self {
        Self {
            query,
            from: None,
            least: 0,
            ended: false,
        }
    }

    /// The next items, `limit` of them or more if the answers before did not
    /// suffice; `None` behind the last.
    async fn next(
        &mut self,
        limit: usize,
        budget: &Budget,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        if self.ended {
            return Ok(None);
        }
        let limit = limit.max(self.least).min(MOST_ITEMS);
        self.least = limit * 4;
        let query = self
            .query
            .clone()
            .limit(i32::try_from(limit).unwrap_or(i32::MAX))
            .set_exclusive_start_key(self.from.take());
        let answer = budget
            .spend(query.send())
            .await
            .map_err(StoreError::of_read)?;
        let answer = answer.map_err(|error| budget.failed(&error).of_read())?;
        self.from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        self.ended = self.from.is_none();
        Ok(Some(answer.items.unwrap_or_default()))
    }
}
