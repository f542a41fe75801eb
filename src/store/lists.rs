//! The lists, read from the indexes. Index reads are always eventually consistent: they
//! lag behind the table, "within a fraction of a second, under normal conditions"
//! ("Using Global Secondary Indexes in DynamoDB", AWS).
//!
//! A page costs what its own members cost, wherever in the list it is: the query begins
//! at the position and ends when the page is full.
//!
//! No list shows a member twice. An index that lags can show an old copy of a cart that
//! was removed and associated again. On one page, the newer copy counts. On a later page,
//! the old copy is only possible if an earlier page showed a young association: then each
//! member is compared with the table. A cart's list is ordered by id: an id comes once.

use std::collections::HashSet;
use std::time::Duration;

use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use futures_util::future::try_join_all;

use super::rules::{Item, end, id_attribute, is_live, key, string, text};
use super::{Session, StoreError};
use crate::clock::Timestamp;
use crate::ids::{CartId, Party, PartyKind};

/// For how long an index may show an old copy of an association. More than the lag, and
/// than clocks differ.
const MAX_LAG: Duration = Duration::from_secs(60);

/// A member of a list: a cart of a party, or a party of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The cart's or the party's id.
    pub id: String,
    /// When the association was made, in RFC 3339.
    pub associated_at: String,
    /// When it ends, if it does.
    pub expires_at: Option<Timestamp>,
}

/// The place in a party's list after which a page begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The `associated_at` of the last member before it.
    pub associated_at: String,
    /// The id of that member.
    pub id: String,
    /// An earlier page showed an association that was younger than a minute.
    pub follows_young: bool,
}

impl Position {
    /// Returns the position after a page that began after `previous`, if it has members.
    pub fn after(page: &[Member], previous: Option<&Self>, now: Timestamp) -> Option<Self> {
        let last = page.last()?;
        let lag = u64::try_from(MAX_LAG.as_millis()).unwrap_or(u64::MAX);
        let settled = Timestamp::from_millis(now.millis().saturating_sub(lag)).to_string();
        let is_young = |member: &Member| member.associated_at > settled;
        Some(Self {
            associated_at: last.associated_at.clone(),
            id: last.id.clone(),
            follows_young: previous.is_some_and(|previous| previous.follows_young)
                || page.iter().any(is_young),
        })
    }

    fn is_before(&self, member: &Member) -> bool {
        member.associated_at < self.associated_at
            || member.associated_at == self.associated_at && member.id > self.id
    }
}

impl Session<'_> {
    /// Returns up to `count` parties of a cart, ordered by id, from the first after
    /// `after`.
    pub async fn parties_of(
        &self,
        cart: &CartId,
        kind: PartyKind,
        after: Option<&str>,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Member>, StoreError> {
        let id = id_attribute(kind);
        let mut members: Vec<Member> = Vec::new();
        let mut pages = Pages::of(self.query_parties(cart, kind, after));
        while members.len() < count
            && let Some(items) = pages.next(count - members.len(), self).await?
        {
            for member in live_members(items, id, now) {
                let last = members.last().map(|last| &*last.id).or(after);
                if last.is_none_or(|last| *member.id > *last) {
                    members.push(member);
                }
            }
        }
        members.truncate(count);
        Ok(members)
    }

    /// Returns up to `count` carts of a party, the newest association first and those of
    /// one moment by id, from the first after `after`.
    pub async fn carts_of(
        &self,
        party: &Party,
        after: Option<&Position>,
        count: usize,
        now: Timestamp,
    ) -> Result<Vec<Member>, StoreError> {
        // DynamoDB promises no order among associations of one moment, so they may be on
        // both sides of the position.
        let until = after.map(|after| &*after.associated_at);
        // Plus the one at the position, and one of an earlier moment.
        let limit = count + 2;
        let mut members: Vec<Member> = Vec::new();
        let mut seen = HashSet::new();
        let mut pages = Pages::of(self.query_carts(party, until));
        while !is_settled(&members, count)
            && let Some(items) = pages.next(limit, self).await?
        {
            let mut more: Vec<Member> = live_members(items, "cart_id", now)
                .filter(|member| after.is_none_or(|after| after.is_before(member)))
                .filter(|member| seen.insert(member.id.clone()))
                .collect();
            if after.is_some_and(|after| after.follows_young) {
                more = self.without_old_copies(party, more).await?;
            }
            members.extend(more);
        }
        members.sort_by(|one, other| {
            let newest_first = other.associated_at.cmp(&one.associated_at);
            newest_first.then_with(|| one.id.cmp(&other.id))
        });
        members.truncate(count);
        Ok(members)
    }

    /// Returns those members that are in the table as the index shows them.
    async fn without_old_copies(
        &self,
        party: &Party,
        members: Vec<Member>,
    ) -> Result<Vec<Member>, StoreError> {
        let read = members.into_iter().map(|member| async {
            let stored = self.get(&key(&member.id, party), "associated_at").await?;
            let is_current = stored
                .is_some_and(|item| string(&item, "associated_at") == Some(&member.associated_at));
            Ok(is_current.then_some(member))
        });
        Ok(try_join_all(read).await?.into_iter().flatten().collect())
    }

    pub(super) fn query_parties(
        &self,
        cart: &CartId,
        kind: PartyKind,
        after: Option<&str>,
    ) -> QueryFluentBuilder {
        let index = match kind {
            PartyKind::Customer => "by_cart",
            PartyKind::Account => "accounts_by_cart",
        };
        let after = after.map(|after| (id_attribute(kind), ">", after));
        self.query(index, ("cart_id", cart.as_str()), after)
    }

    pub(super) fn query_carts(&self, party: &Party, until: Option<&str>) -> QueryFluentBuilder {
        let index = match party.kind() {
            PartyKind::Customer => "by_customer",
            PartyKind::Account => "by_account",
        };
        let until = until.map(|until| ("associated_at", "<=", until));
        let partition = (id_attribute(party.kind()), party.id());
        let query = self.query(index, partition, until);
        query.scan_index_forward(false)
    }

    fn query(
        &self,
        index: &str,
        (name, value): (&str, &str),
        range: Option<(&str, &str, &str)>,
    ) -> QueryFluentBuilder {
        let query = self.store.client.query().table_name(&self.store.table);
        let query = query.index_name(index);
        let query = query.expression_attribute_values(":of", text(value));
        match range {
            None => query.key_condition_expression(format!("{name} = :of")),
            Some((range, comparison, limit)) => query
                .key_condition_expression(format!("{name} = :of AND {range} {comparison} :limit"))
                .expression_attribute_values(":limit", text(limit)),
        }
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
        .filter_map(move |item| {
            let end = Some(end(&item)).filter(|end| end.is_finite());
            Some(Member {
                id: string(&item, id)?.to_owned(),
                associated_at: string(&item, "associated_at")?.to_owned(),
                expires_at: end.map(|end| Timestamp::from_millis((end * 1000.0) as u64)),
            })
        })
}

/// The pages of a query's result, read one by one.
pub(super) struct Pages {
    /// Reads the next page; `None` after the last one.
    query: Option<QueryFluentBuilder>,
    /// The smallest limit of the next call. It grows, so that a list with many
    /// expired items takes few calls.
    min_limit: usize,
}

/// The largest limit of one call.
pub(super) const MAX_ITEMS_PER_CALL: usize = 1000;

impl Pages {
    pub(super) fn of(query: QueryFluentBuilder) -> Self {
        let query = Some(query);
        Self {
            query,
            min_limit: 0,
        }
    }

    /// Reads the next items: `limit` of them, or more if earlier pages were not
    /// enough. `None` after the last page.
    pub(super) async fn next(
        &mut self,
        limit: usize,
        session: &Session<'_>,
    ) -> Result<Option<Vec<Item>>, StoreError> {
        let Some(query) = self.query.take() else {
            return Ok(None);
        };
        let limit = limit.max(self.min_limit).min(MAX_ITEMS_PER_CALL);
        self.min_limit = limit * 4;
        let query = query.limit(i32::try_from(limit).unwrap_or(i32::MAX));
        let answer = session.read(query.clone().send()).await?;
        let from = answer.last_evaluated_key.filter(|key| !key.is_empty());
        self.query = from.map(|from| query.set_exclusive_start_key(Some(from)));
        Ok(Some(answer.items.unwrap_or_default()))
    }
}
