//! The rules of writes: what a request sends to its keys, and what it does next if
//! an item there refuses it. The store sends; nothing here does.
//!
//! A key has no item, an association or a tombstone, which is what a removal leaves
//! for an hour. A write that was given up on can reach DynamoDB minutes later. The
//! conditions see to it that it then does no harm: a late put never gets past a
//! later removal, whatever the clocks say, and a late removal does not touch an
//! association that was made after it, as long as clocks differ by less than the
//! time between the two. They rest on three facts:
//!
//! - An item has a later timestamp (`associated_at` or `removed_at`) than the item
//!   that it replaced, whatever the clocks say.
//! - A removal always leaves a tombstone with a new random `removal_id`, even in
//!   place of nothing or of another tombstone.
//! - AWS refuses a request 15 minutes after it was signed, so no write is later
//!   than the hour that a tombstone lasts.
//!
//! `tests/it/model.rs` explores what concurrent requests can do under these rules,
//! and finds a counterexample for each that is left out.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::primitives::{DateTime, DateTimeFormat};
use aws_sdk_dynamodb::types::AttributeValue;
use uuid::Uuid;

use crate::clock::Timestamp;
use crate::ids::{Party, PartyKind};

/// How long a tombstone lasts.
const TOMBSTONE_LIFETIME: Duration = Duration::from_secs(60 * 60);

/// How long an association lasts beyond its lifetime, so that requests that repeat
/// it renew it once a day and not each time.
const EXTRA_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// How much older than a request an item must be to show that no attempt of the
/// request replaced it.
const CLEARLY_OLDER: Duration = Duration::from_secs(1);

const MILLISECOND: Duration = Duration::from_millis(1);

/// The key has no item.
pub const ABSENT: &str = "attribute_not_exists(id)";

/// The key has an association that has not expired. DynamoDB may take days to
/// delete an expired one ("Using time to live (TTL)", AWS).
pub const LIVE: &str = "attribute_exists(associated_at) AND NOT expires_at <= :now";

/// The key has the expired association that was seen. A tombstone keeps its
/// `write_id`.
pub const EXPIRED: &str =
    "attribute_exists(associated_at) AND write_id = :seen AND expires_at <= :now";

/// The key has the tombstone that was seen.
pub const REMOVED: &str = "removal_id = :seen";

/// The key has the association that was seen, and it ends earlier.
pub const RENEWABLE: &str =
    "attribute_exists(associated_at) AND write_id = :seen AND expires_at < :expires_at";

/// The key has the association that was seen.
pub const SEEN: &str = "attribute_exists(associated_at) AND write_id = :seen";

/// The key has no item, or an earlier one.
pub const EARLIER: &str = "(attribute_not_exists(associated_at) OR associated_at < :removed_at) \
     AND (attribute_not_exists(removed_at) OR removed_at < :removed_at)";

/// Extends an association. The filters of the events tell a renewal from a new
/// association by `renewed_at`.
pub const RENEW: &str = "SET expires_at = :expires_at, renewed_at = :renewed_at";

/// Extends an association for ever.
pub const RENEW_FOR_EVER: &str = "REMOVE expires_at SET renewed_at = :renewed_at";

/// Makes a tombstone of what is there, and takes it out of all indexes.
pub const BURY: &str = "REMOVE cart_id, customer_id, account_id, associated_at, associated_by, \
     renewed_at, acted_by \
     SET removed_at = :removed_at, removed_by = :removed_by, removal_id = :removal_id, \
     expires_at = :expires_at";

/// [`BURY`], by a person who acts for an account.
pub const BURY_AS_PERSON: &str = "REMOVE cart_id, customer_id, account_id, associated_at, \
     associated_by, renewed_at \
     SET removed_at = :removed_at, removed_by = :removed_by, removal_id = :removal_id, \
     expires_at = :expires_at, acted_by = :acted_by";

/// The attributes of an item.
pub type Item = HashMap<String, AttributeValue>;

/// The request that writes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Writer {
    /// Identifies the request. Random.
    pub id: Uuid,
    /// The client that sent it, by its access token.
    pub client: String,
    /// The person who acts for an account: the account token's `sub`.
    pub acted_by: Option<String>,
    /// When it arrived. It stays the same while the request retries.
    pub now: Timestamp,
}

/// A put or a removal of one or more keys, all or none, and how far it is.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Write {
    writer: Writer,
    intent: Intent,
    keys: Vec<Key>,
    /// The ids of a removal's second and later rounds.
    later_ids: Vec<Uuid>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Intent {
    Put { lifetime: Option<Duration> },
    Remove,
}

impl Intent {
    /// What is sent to a key first.
    fn first_action(&self) -> Action {
        match self {
            Self::Put { .. } => Action::Create,
            Self::Remove => Action::Remove,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    /// As [`key`] makes it.
    id: String,
    action: Action,
    /// The `associated_at` or `removed_at` to write: when the request arrived, or
    /// later than what it replaces.
    timestamp: Timestamp,
    /// All attempts so far were puts.
    always_put: bool,
}

/// What is sent to a key.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Action {
    /// Put an association where there is no item.
    Create,
    /// Put one in place of the expired one with this `write_id`.
    ReplaceExpired(String),
    /// Put one in place of the tombstone with this `removal_id`.
    ReplaceTombstone(String),
    /// Check that there is an association.
    Check,
    /// Extend the association with this `write_id`.
    Renew(String),
    /// Leave a tombstone where there is no item, or an earlier one.
    Remove,
}

impl Action {
    fn puts(&self) -> bool {
        matches!(
            self,
            Self::Create | Self::ReplaceExpired(_) | Self::ReplaceTombstone(_)
        )
    }
}

/// A conditional write to one item.
#[derive(Debug, Clone, PartialEq)]
pub struct ItemWrite {
    pub id: String,
    pub change: Change,
    pub condition: &'static str,
    /// The values in condition and update expression.
    pub values: Item,
}

/// What a write changes.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// Put this item in place of any other.
    Put(Item),
    /// Apply this update expression.
    Update(&'static str),
    /// Nothing: the condition is only checked.
    Check,
}

/// What became of one item of a write that was not applied.
#[derive(Debug, Clone)]
pub enum Reply {
    /// The condition was met, or not evaluated.
    Accepted,
    /// The condition failed on this item; `None` if there is none.
    Refused(Option<Item>),
}

/// What a request does after a write that was not applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Send again: the conditions are new ones.
    Send,
    /// Nothing. The request is answered.
    Done(WriteOutcome),
    /// Stop. A lost attempt may have been applied, and undone by others since: to
    /// write again could make one request take effect twice.
    GiveUp,
}

/// The result of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteOutcome {
    /// The request took effect: at least one association is new, or the removal is
    /// done.
    Applied,
    /// All associations existed, made by other requests.
    Unchanged,
}

impl Write {
    /// Makes associations, all or none. `lifetime` is how long they last after they
    /// were last requested; `None` is for ever.
    pub fn put(keys: Vec<String>, writer: Writer, lifetime: Option<Duration>) -> Self {
        Self::new(keys, writer, Intent::Put { lifetime })
    }

    /// Removes associations, all or none. Those that do not exist count as removed.
    pub fn removal(keys: Vec<String>, writer: Writer) -> Self {
        Self::new(keys, writer, Intent::Remove)
    }

    fn new(keys: Vec<String>, writer: Writer, intent: Intent) -> Self {
        let action = intent.first_action();
        let key = |id| Key {
            id,
            action: action.clone(),
            timestamp: writer.now,
            always_put: action.puts(),
        };
        Self {
            keys: keys.into_iter().map(key).collect(),
            writer,
            intent,
            later_ids: Vec::new(),
        }
    }

    /// Returns what to send: one write for each key, in their order.
    pub fn item_writes(&self) -> Vec<ItemWrite> {
        self.keys.iter().map(|key| self.item_write(key)).collect()
    }

    fn item_write(&self, key: &Key) -> ItemWrite {
        let now = || (":now", seconds(self.writer.now));
        let seen = |id: &String| (":seen", text(id));
        let (change, condition, values) = match &key.action {
            Action::Create => (Change::Put(self.association(key)), ABSENT, vec![]),
            Action::ReplaceExpired(write_id) => {
                let values = vec![seen(write_id), now()];
                (Change::Put(self.association(key)), EXPIRED, values)
            }
            Action::ReplaceTombstone(removal_id) => {
                let values = vec![seen(removal_id)];
                (Change::Put(self.association(key)), REMOVED, values)
            }
            Action::Check => (Change::Check, LIVE, vec![now()]),
            Action::Renew(write_id) => {
                let renewed_at = text(&self.writer.now.to_string());
                let mut values = vec![seen(write_id), (":renewed_at", renewed_at)];
                match self.expires_at() {
                    Some(end) => {
                        values.push((":expires_at", seconds(end)));
                        (Change::Update(RENEW), RENEWABLE, values)
                    }
                    None => (Change::Update(RENEW_FOR_EVER), SEEN, values),
                }
            }
            Action::Remove => {
                let mut values = self.tombstone(key);
                match &self.writer.acted_by {
                    Some(person) => {
                        values.push((":acted_by", text(person)));
                        (Change::Update(BURY_AS_PERSON), EARLIER, values)
                    }
                    None => (Change::Update(BURY), EARLIER, values),
                }
            }
        };
        ItemWrite {
            id: key.id.clone(),
            change,
            condition,
            values: attributes(values),
        }
    }

    fn association(&self, key: &Key) -> Item {
        let (cart, party) = key.id.split_once('#').unwrap_or_default();
        let (kind, party) = match party.split_once('#') {
            None => (PartyKind::Customer, party),
            Some((_, account)) => (PartyKind::Account, account),
        };
        let mut item = attributes(vec![
            ("id", text(&key.id)),
            ("cart_id", text(cart)),
            (id_attribute(kind), text(party)),
            ("associated_at", text(&key.timestamp.to_string())),
            ("associated_by", text(&self.writer.client)),
            ("write_id", text(&self.id().to_string())),
        ]);
        if let Some(end) = self.expires_at() {
            item.insert("expires_at".to_owned(), seconds(end));
        }
        if let Some(person) = &self.writer.acted_by {
            item.insert("acted_by".to_owned(), text(person));
        }
        item
    }

    /// The values of [`BURY`].
    fn tombstone(&self, key: &Key) -> Vec<(&'static str, AttributeValue)> {
        let end = key.timestamp.plus(TOMBSTONE_LIFETIME);
        vec![
            (":removed_at", text(&key.timestamp.to_string())),
            (":removed_by", text(&self.writer.client)),
            (":removal_id", text(&self.id().to_string())),
            (":expires_at", seconds(end)),
        ]
    }

    /// The `write_id` or `removal_id`. A removal has another one in each round: a put
    /// that has seen an earlier tombstone of it must not meet it again.
    fn id(&self) -> Uuid {
        *self.later_ids.last().unwrap_or(&self.writer.id)
    }

    /// The end of new and of renewed associations, if they have one.
    fn expires_at(&self) -> Option<Timestamp> {
        self.earliest_end().map(|end| end.plus(EXTRA_LIFETIME))
    }

    /// The end below which an association is renewed.
    fn earliest_end(&self) -> Option<Timestamp> {
        match self.intent {
            Intent::Put { lifetime } => Some(self.writer.now.plus(lifetime?)),
            Intent::Remove => None,
        }
    }

    /// The outcome if what was sent is applied.
    pub fn outcome(&self) -> WriteOutcome {
        let changes = |key: &Key| key.action.puts() || key.action == Action::Remove;
        if self.keys.iter().any(changes) {
            WriteOutcome::Applied
        } else {
            WriteOutcome::Unchanged
        }
    }

    /// Decides what to do after a write that was not applied, given the reply for
    /// each key. `lost` says that an attempt of the request got no answer, so that
    /// it may have been applied. `new_id` makes the next id of a removal.
    pub fn next(&mut self, replies: &[Reply], lost: bool, new_id: impl FnOnce() -> Uuid) -> Next {
        // One of its own items means that all were written: they are all or none.
        if replies.iter().any(|reply| self.is_own(reply)) {
            return Next::Done(WriteOutcome::Applied);
        }
        // A lost attempt may have been applied, and undone by others since. One key
        // that rules it out does so for all.
        let mut is_safe = !lost;
        for (key, reply) in self.keys.iter_mut().zip(replies) {
            key.always_put &= key.action.puts();
            is_safe |= key.always_put && reply.rules_out_second_put(self.writer.now);
        }
        let mut takes_effect = false;
        for index in 0..self.keys.len() {
            if let Some(Reply::Refused(old)) = replies.get(index) {
                takes_effect |= self.choose_action(index, old.as_ref());
            }
        }
        if self.keys.iter().all(|key| key.action == Action::Check) {
            return Next::Done(WriteOutcome::Unchanged);
        }
        takes_effect |= self.keys.iter().any(|key| key.action.puts());
        if takes_effect && !is_safe {
            return Next::GiveUp;
        }
        if self.intent == Intent::Remove {
            self.later_ids.push(new_id());
        }
        Next::Send
    }

    /// Chooses a key's next action by the item that refused the last one. Returns
    /// whether a removal moves past an association.
    fn choose_action(&mut self, index: usize, old: Option<&Item>) -> bool {
        let earliest_end = self.earliest_end();
        let key = &mut self.keys[index];
        let Some(old) = old else {
            key.action = self.intent.first_action();
            return false;
        };
        key.timestamp = key.timestamp.max(timestamp(old).plus(MILLISECOND));
        if self.intent == Intent::Remove {
            return is_association(old);
        }
        let own = |name| string(old, name).unwrap_or_default().to_owned();
        key.action = if !is_association(old) {
            Action::ReplaceTombstone(own("removal_id"))
        } else if !is_live(old, self.writer.now) {
            Action::ReplaceExpired(own("write_id"))
        } else if end(old) < earliest_end.map_or(f64::INFINITY, |end| end.seconds() as f64) {
            Action::Renew(own("write_id"))
        } else {
            Action::Check
        };
        false
    }

    fn is_own(&self, reply: &Reply) -> bool {
        let name = match self.intent {
            Intent::Put { .. } => "write_id",
            Intent::Remove => "removal_id",
        };
        let Reply::Refused(Some(old)) = reply else {
            return false;
        };
        let id = string(old, name).and_then(|id| id.parse::<Uuid>().ok());
        id.is_some_and(|id| id == self.writer.id || self.later_ids.contains(&id))
    }
}

impl Reply {
    /// Returns whether a request that so far would have put an association here
    /// cannot do so twice: an item shows that no attempt was applied, or the next
    /// one has the same condition, which fails if one was. The item is not the
    /// request's own.
    fn rules_out_second_put(&self, now: Timestamp) -> bool {
        match self {
            Self::Accepted | Self::Refused(None) => true,
            Self::Refused(Some(old)) => timestamp(old).plus(CLEARLY_OLDER) <= now,
        }
    }
}

/// Returns the partition key of an association: `cartId#customerId` or
/// `cartId#account#accountId`. Neither id can contain `#`.
pub fn key(cart: &str, party: &Party) -> String {
    match party.kind() {
        PartyKind::Customer => format!("{cart}#{}", party.id()),
        PartyKind::Account => format!("{cart}#account#{}", party.id()),
    }
}

/// Returns the attribute that has a party's id. Each kind has its own, so that the
/// indexes of one kind hold nothing of the other.
pub(super) fn id_attribute(kind: PartyKind) -> &'static str {
    match kind {
        PartyKind::Customer => "customer_id",
        PartyKind::Account => "account_id",
    }
}

/// Returns whether an item is an association that has not expired: the condition
/// [`LIVE`] in Rust.
pub fn is_live(item: &Item, now: Timestamp) -> bool {
    is_association(item) && end(item) > now.seconds() as f64
}

fn is_association(item: &Item) -> bool {
    item.contains_key("associated_at")
}

/// Returns the second in which an item ends; infinity is never.
pub(super) fn end(item: &Item) -> f64 {
    item.get("expires_at")
        .and_then(|value| value.as_n().ok()?.parse().ok())
        .unwrap_or(f64::INFINITY)
}

/// Returns when an item was written, by the clock of the request that wrote it.
fn timestamp(item: &Item) -> Timestamp {
    ["associated_at", "removed_at"]
        .iter()
        .filter_map(|name| {
            let time = DateTime::from_str(string(item, name)?, DateTimeFormat::DateTime).ok()?;
            let millis = u64::try_from(time.to_millis().ok()?).ok()?;
            Some(Timestamp::from_millis(millis))
        })
        .max()
        .unwrap_or(Timestamp::from_millis(0))
}

pub(super) fn string<'i>(item: &'i Item, name: &str) -> Option<&'i str> {
    Some(item.get(name)?.as_s().ok()?)
}

fn attributes(attributes: Vec<(&str, AttributeValue)>) -> Item {
    attributes
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

fn seconds(time: Timestamp) -> AttributeValue {
    AttributeValue::N(time.seconds().to_string())
}
