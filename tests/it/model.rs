//! All that concurrent requests can do to one key, and to two keys in a
//! transaction, within stated bounds: a breadth-first search over every order of
//! their attempts, lost answers and late arrivals, with clocks that say anything.
//!
//! The requests are those of the store: `store::rules` decides what they send and
//! do next, and `expression` evaluates the very conditions and updates that the
//! store sends. A test compares that interpreter with the engine. Each rule that is
//! left out (`Mutation`) has a counterexample.

mod expression;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::ProvideErrorMetadata;
use aws_sdk_dynamodb::types::AttributeValue;
use cart_associations::clock::Timestamp;
use cart_associations::ids::{Party, PartyKind};
use cart_associations::store::rules::{
    self, Change, Item, ItemWrite, Next, Reply, Write, Writer, is_live,
};
use cart_associations::store::{MAX_ROUNDS, WriteOutcome};
use indexmap::{IndexMap, IndexSet};
use uuid::Uuid;

use crate::support::World;

/// The keys: two customers of a cart.
const KEYS: [&str; 2] = ["cart-1#a", "cart-1#b"];

/// The keys of a customer and of an account with the same id.
const NAMESAKES: [&str; 2] = ["cart-1#a", "cart-1#account#a"];

/// The moment from which clocks differ, in milliseconds: 2026-11-23T00:00:00Z.
const BASE: u64 = 1_795_392_000_000;

const SECOND: i64 = 1000;
const HOUR: i64 = 60 * 60 * SECOND;
const DAY: i64 = 24 * HOUR;

/// How long an association lasts, where it does not last for ever.
const LIFETIME: Duration = Duration::from_secs(2 * 24 * 60 * 60);

/// The most rounds of a request that nobody disturbs.
const ROUNDS_ALONE: usize = 3;

/// The most requests, and the most attempts that are lost, in any search.
const MAX_REQUESTS: usize = 4;
const MAX_LOSSES: usize = 2;

/// The request that made what is there at first.
const ANOTHER: usize = 8;

/// A rule that is left out, or replaced by a plainer one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutation {
    /// The rules as they are.
    None,
    /// A removal deletes the item, as before there were tombstones.
    Deletes,
    /// A removal of nothing writes nothing.
    WritesNothingOverNothing,
    /// A put compares timestamps with a tombstone instead of its `removal_id`.
    TimestampsInsteadOfRemovalId,
    /// A put in place of a tombstone has the time of its own clock.
    AssociatedAtMayShrink,
    /// `removed_at` may become smaller.
    RemovedAtMayShrink,
    /// Timestamps may be equal.
    NotStrictly,
    /// The first condition of a put accepts what has expired.
    FirstConditionAcceptsExpired,
    /// What replaces an expired association may meet its tombstone.
    ReplacesTombstoneOfExpired,
    /// What renews an association may meet its tombstone.
    RenewsTombstone,
    /// So may what renews one for ever.
    RenewsTombstoneForEver,
    /// A renewal does not compare the end.
    RenewalMayShorten,
    /// A put goes on although an attempt of it may have been undone.
    PutsAgainAfterLostAttempt,
    /// So does a removal.
    RemovesAgainAfterLostAttempt,
    /// An own `write_id` counts for its key alone.
    JudgesKeyByKey,
    /// Keys that exist are not checked.
    ChecksNothing,
}

/// What must never happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Violation {
    /// A put was answered 200, and created nothing.
    Untrue200,
    /// A put was answered 204, and not all existed or it made one of them itself; or
    /// a removal, and was not done.
    Untrue204,
    /// A put took effect, and not all of its keys exist.
    NotAll,
    /// A late put got past a removal that came after it.
    LatePut,
    /// A late removal took an association that was made after it.
    LateRemoval,
    /// A request took effect twice.
    Twice,
    /// A request that nobody disturbs does not take effect.
    NoEffect,
    /// A tombstone does not last for an hour.
    TombstoneLife,
    /// An association ends earlier than before.
    Shortened,
}

/// What a request of the model can be.
#[derive(Debug, Clone, Copy)]
struct Kind {
    removes: bool,
    keys: &'static [usize],
    /// The associations that it makes end.
    expires: bool,
    /// What its clock says, in milliseconds from the base.
    reading: i64,
}

/// The bounds of a search.
struct Bounds {
    /// What each request can be.
    kinds: Vec<Kind>,
    /// The most requests.
    requests: usize,
    /// The most attempts that are lost, of all requests together.
    losses: u8,
    /// What the keys may have at first.
    initial: Vec<[Option<Item>; 2]>,
}

/// Stand for items and for writes.
type ItemNumber = u16;
type WriteNumber = u16;

/// No item.
const NOTHING: ItemNumber = 0;

/// A set of requests or keys, as bits.
type Set = u8;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct State {
    items: [ItemNumber; 2],
    /// How many requests have begun.
    begun: u8,
    requests: [Request; MAX_REQUESTS],
    /// Attempts that nobody waits for any more, and that may still arrive: the
    /// request and what it sent.
    late: [Option<(u8, WriteNumber)>; MAX_LOSSES],
    /// How many attempts may yet be lost.
    losses: u8,
    /// For each key, the removals that must not take its association: it was made
    /// after them.
    made_after: [Set; 2],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Request {
    kind: u8,
    phase: Phase,
    /// The requests that had ended when this one began, and may still arrive.
    after: Set,
    /// An attempt was applied.
    was_applied: bool,
    /// An attempt made or removed an association.
    took_effect: bool,
    /// The keys that a removal that began after the end of this request removed.
    removed_later: Set,
}

/// A request that has ended, and of which nothing can arrive any more.
const GONE: Request = Request {
    kind: 0,
    phase: Phase::Ended,
    after: 0,
    was_applied: false,
    took_effect: false,
    removed_later: 0,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Phase {
    Running {
        write: WriteNumber,
        lost: bool,
        round: u8,
    },
    Ended,
}

const fn running(write: WriteNumber, lost: bool, round: u8) -> Phase {
    Phase::Running { write, lost, round }
}

/// What becomes of an attempt.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Answered,
    /// It is applied, and its answer is lost.
    AnswerLost,
    /// It is given up on before it reaches the table.
    Delayed,
}

/// What leads from one state to the next: the numbers are those of kinds, requests,
/// late attempts and keys.
#[derive(Debug, Clone, Copy)]
enum Step {
    Begin(usize, Fate),
    Retry(usize, Fate),
    GiveUp(usize),
    Arrive(usize),
    Expire(usize),
}

/// What one attempt does to the items that it meets.
#[derive(Debug, Clone, Copy)]
struct Attempt {
    is_applied: bool,
    items: [ItemNumber; 2],
    /// The keys that have a new association.
    creates: Set,
    /// The keys that lost their association.
    takes: Set,
    /// Each key of the request has a live association afterwards.
    all_live: bool,
    /// Each key of the request has an association that ends no earlier than it asked for.
    all_last: bool,
    /// No key of the request has an association afterwards.
    all_gone: bool,
    /// A key of the request has an association afterwards that the request made.
    any_own: bool,
    violation: Option<Violation>,
    /// What the request does next if no attempt of it was lost, and if one was.
    next: [(Next, WriteNumber); 2],
}

struct Model<'b> {
    bounds: &'b Bounds,
    mutation: Mutation,
    /// By their attributes as text, since attributes have no hash.
    items: IndexMap<BTreeMap<String, String>, Option<Item>>,
    writes: IndexSet<Write>,
    /// What each request sends at first, by number and kind.
    beginnings: Vec<Vec<WriteNumber>>,
    attempts: HashMap<(WriteNumber, [ItemNumber; 2]), Attempt>,
    alone: HashSet<(WriteNumber, [ItemNumber; 2])>,
    violation: Option<Violation>,
}

impl<'b> Model<'b> {
    fn new(bounds: &'b Bounds, mutation: Mutation) -> Self {
        let mut model = Self {
            bounds,
            mutation,
            items: IndexMap::new(),
            writes: IndexSet::new(),
            beginnings: Vec::new(),
            attempts: HashMap::new(),
            alone: HashSet::new(),
            violation: None,
        };
        assert_eq!(model.item_number(None), NOTHING);
        for number in 0..=bounds.requests {
            let kinds = bounds.kinds.iter();
            let beginnings = kinds.map(|kind| model.begin(number, *kind)).collect();
            model.beginnings.push(beginnings);
        }
        model
    }

    fn item_number(&mut self, item: Option<Item>) -> ItemNumber {
        let attributes = item.iter().flatten();
        let key = attributes
            .map(|(name, value)| (name.clone(), format!("{value:?}")))
            .collect();
        let entry = self.items.entry(key);
        let number = entry.index();
        entry.or_insert(item);
        ItemNumber::try_from(number).expect("few items")
    }

    fn write_number(&mut self, write: Write) -> WriteNumber {
        let (number, _) = self.writes.insert_full(write);
        WriteNumber::try_from(number).expect("few writes")
    }

    fn item(&self, number: ItemNumber) -> Option<&Item> {
        self.items[usize::from(number)].as_ref()
    }

    /// What a request of this number and kind sends at first.
    fn begin(&mut self, number: usize, kind: Kind) -> WriteNumber {
        let keys = kind.keys.iter();
        let keys = keys.map(|key| KEYS[*key].to_owned()).collect();
        let writer = writer(number, kind.reading);
        let lifetime = kind.expires.then_some(LIFETIME);
        self.write_number(if kind.removes {
            Write::removal(keys, writer)
        } else {
            Write::put(keys, writer, lifetime)
        })
    }

    /// What an attempt does to these items.
    fn attempt(
        &mut self,
        request: usize,
        kind: Kind,
        write: WriteNumber,
        items: [ItemNumber; 2],
    ) -> Attempt {
        if let Some(attempt) = self.attempts.get(&(write, items)) {
            return *attempt;
        }
        let sent = self.writes[usize::from(write)].clone();
        let mut replies = Vec::new();
        let mut after = items;
        let writes = sent.item_writes();
        let new_id = || later_id(&writes[0]);
        for mut item_write in writes.iter().cloned() {
            let key = KEYS.iter().position(|key| *key == item_write.id);
            let key = key.unwrap();
            assert!(kind.keys.contains(&key), "{item_write:?}");
            let old = self.item(items[key]).cloned();
            let condition = self.condition(&mut item_write, kind);
            if expression::holds(&condition, &item_write.values, old.as_ref()) {
                let new = self.written(&item_write, old);
                after[key] = self.item_number(new);
                replies.push(Reply::Accepted);
            } else {
                replies.push(Reply::Refused(old));
            }
        }
        let is_applied = !replies.iter().any(is_refusal);
        if !is_applied {
            after = items;
        }
        let next = [false, true].map(|lost| {
            if is_applied {
                return (Next::Done(sent.outcome()), write);
            }
            let mut sent = sent.clone();
            let (replies, lost) = self.seen(request, kind, replies.clone(), lost);
            (sent.next(&replies, lost, new_id), self.write_number(sent))
        });
        let attempt = self.compared(request, kind, items, after, is_applied, next);
        self.attempts.insert((write, items), attempt);
        attempt
    }

    /// The condition of a write under the mutation, which may change the write too.
    fn condition(&self, write: &mut ItemWrite, kind: Kind) -> String {
        let condition = write.condition;
        let changed = |from: &str, to: &str| {
            assert!(condition.contains(from), "{condition}");
            condition.replace(from, to)
        };
        let mut value = |name: &str, value| write.values.insert(name.to_owned(), value);
        match (self.mutation, condition) {
            (Mutation::TimestampsInsteadOfRemovalId, rules::REMOVED) => {
                if let Change::Put(item) = &write.change {
                    value(":associated_at", item["associated_at"].clone());
                }
                "removed_at < :associated_at".to_owned()
            }
            (Mutation::AssociatedAtMayShrink, rules::REMOVED) => {
                if let Change::Put(item) = &mut write.change {
                    let at = at(kind.reading).to_string();
                    item.insert("associated_at".to_owned(), AttributeValue::S(at));
                }
                condition.to_owned()
            }
            (Mutation::RemovedAtMayShrink, rules::EARLIER) => {
                changed("OR removed_at < :removed_at", "OR attribute_exists(id)")
            }
            (Mutation::NotStrictly, rules::EARLIER) => changed(" < ", " <= "),
            (Mutation::FirstConditionAcceptsExpired, rules::ABSENT) => {
                value(":now", seconds(kind.reading));
                format!("{condition} OR expires_at <= :now")
            }
            (Mutation::ReplacesTombstoneOfExpired, rules::EXPIRED)
            | (Mutation::RenewsTombstone, rules::RENEWABLE)
            | (Mutation::RenewsTombstoneForEver, rules::SEEN) => {
                changed("attribute_exists(associated_at) AND ", "")
            }
            (Mutation::RenewalMayShorten, rules::RENEWABLE) => {
                changed(" AND expires_at < :expires_at", "")
            }
            (Mutation::ChecksNothing, rules::LIVE) => "attribute_not_exists(nothing)".to_owned(),
            _ => condition.to_owned(),
        }
    }

    /// The item that a write leaves under the mutation.
    fn written(&self, write: &ItemWrite, old: Option<Item>) -> Option<Item> {
        match (self.mutation, &write.change) {
            (Mutation::Deletes, Change::Update(rules::BURY)) => None,
            (Mutation::WritesNothingOverNothing, Change::Update(rules::BURY)) if old.is_none() => {
                None
            }
            _ => written(write, old),
        }
    }

    /// What a request sees of the replies under the mutation.
    fn seen(
        &self,
        request: usize,
        kind: Kind,
        mut replies: Vec<Reply>,
        lost: bool,
    ) -> (Vec<Reply>, bool) {
        match self.mutation {
            Mutation::PutsAgainAfterLostAttempt if !kind.removes => (replies, false),
            Mutation::RemovesAgainAfterLostAttempt if kind.removes => (replies, false),
            Mutation::JudgesKeyByKey => {
                let is_own = |reply: &Reply| is_own(reply, request);
                let is_others = |reply: &Reply| is_refusal(reply) && !is_own(reply);
                if replies.iter().any(is_others) {
                    // Its own associations pass for some that existed.
                    for reply in replies.iter_mut().filter(|reply| is_own(reply)) {
                        *reply = Reply::Refused(association(KEYS[0], 0, None));
                    }
                }
                (replies, lost)
            }
            _ => (replies, lost),
        }
    }

    /// What the change from some items to others means.
    fn compared(
        &self,
        request: usize,
        kind: Kind,
        before: [ItemNumber; 2],
        after: [ItemNumber; 2],
        is_applied: bool,
        next: [(Next, WriteNumber); 2],
    ) -> Attempt {
        let mut attempt = Attempt {
            is_applied,
            items: after,
            creates: 0,
            takes: 0,
            all_live: true,
            all_last: true,
            all_gone: true,
            any_own: false,
            violation: None,
            next,
        };
        for key in kind.keys {
            let (old, new) = (self.item(before[*key]), self.item(after[*key]));
            let (old_owner, new_owner) = (old.and_then(owner), new.and_then(owner));
            if let Some(made_by) = new_owner
                && old_owner != Some(made_by)
            {
                attempt.creates |= bit(*key);
            }
            if old_owner.is_some() && new_owner.is_none() {
                attempt.takes |= bit(*key);
            }
            if new_owner.is_some() && new_owner == old_owner && end(new) < end(old) {
                attempt.violation = Some(Violation::Shortened);
            }
            if let Some(removed_at) = new.and_then(|new| new.get("removed_at"))
                && before != after
            {
                let began = end(new).saturating_mul(1000) - HOUR as u64;
                let removed_at = removed_at.as_s().unwrap();
                if Timestamp::from_millis(began).to_string()[..19] != removed_at[..19] {
                    attempt.violation = Some(Violation::TombstoneLife);
                }
            }
            attempt.all_live &= new.is_some_and(|new| is_live(new, at(kind.reading)));
            let asked_for = match kind.expires {
                true => at(kind.reading).plus(LIFETIME).seconds(),
                false => u64::MAX,
            };
            attempt.all_last &= end(new) >= asked_for;
            attempt.all_gone &= new_owner.is_none();
            attempt.any_own |= new_owner == Some(id_of(request));
        }
        attempt
    }

    fn kind(&self, request: Request) -> Kind {
        self.bounds.kinds[usize::from(request.kind)]
    }

    fn violated(&mut self, violation: Violation) {
        self.violation.get_or_insert(violation);
    }

    /// Lets an attempt reach the table, and sees that it may do what it does.
    fn apply(&mut self, state: &mut State, number: usize, write: WriteNumber) -> Attempt {
        let kind = self.kind(state.requests[number]);
        let attempt = self.attempt(number, kind, write, state.items);
        if !attempt.is_applied {
            return attempt;
        }
        state.items = attempt.items;
        if let Some(violation) = attempt.violation {
            self.violated(violation);
        }
        if attempt.creates != 0 && !attempt.all_live {
            self.violated(Violation::NotAll);
        }
        let request = state.requests[number];
        if attempt.creates & request.removed_later != 0 {
            self.violated(Violation::LatePut);
        }
        for key in kind.keys {
            if attempt.creates & bit(*key) != 0 {
                let earlier = state.requests.iter().enumerate().filter(|(index, other)| {
                    request.after & bit(*index) != 0 && self.kind(**other).reading < kind.reading
                });
                state.made_after[*key] = earlier.map(|(index, _)| bit(index)).sum();
            }
            if attempt.takes & bit(*key) != 0 && state.made_after[*key] & bit(number) != 0 {
                self.violated(Violation::LateRemoval);
            }
        }
        if kind.removes {
            for (index, other) in state.requests.iter_mut().enumerate() {
                if request.after & bit(index) != 0 {
                    other.removed_later |= kind.keys.iter().map(|key| bit(*key)).sum::<Set>();
                }
            }
        }
        let request = &mut state.requests[number];
        request.was_applied = true;
        if attempt.creates | attempt.takes != 0 {
            if request.took_effect {
                self.violated(Violation::Twice);
            }
            request.took_effect = true;
        }
        attempt
    }

    /// Sends the next attempt of a running request. `None` if this fate makes no
    /// difference, or is out of bounds.
    fn send(&mut self, mut state: State, number: usize, fate: Fate) -> Option<State> {
        let Phase::Running { write, lost, round } = state.requests[number].phase else {
            return None;
        };
        let phase = match fate {
            Fate::Answered => {
                let attempt = self.apply(&mut state, number, write);
                let (next, write) = attempt.next[usize::from(lost)];
                match next {
                    Next::Send if round + 1 < MAX_ROUNDS => running(write, lost, round + 1),
                    Next::Send | Next::GiveUp => Phase::Ended,
                    Next::Done(outcome) => {
                        let request = state.requests[number];
                        match (self.kind(request).removes, outcome) {
                            (false, WriteOutcome::Applied) if !request.was_applied => {
                                self.violated(Violation::Untrue200);
                            }
                            (false, WriteOutcome::Unchanged)
                                if !attempt.all_live || attempt.any_own =>
                            {
                                self.violated(Violation::Untrue204);
                            }
                            (true, _) if !request.was_applied => {
                                self.violated(Violation::Untrue204);
                            }
                            _ => {}
                        }
                        Phase::Ended
                    }
                }
            }
            Fate::AnswerLost => {
                state.losses -= 1;
                if !self.apply(&mut state, number, write).is_applied {
                    return None;
                }
                running(write, true, round)
            }
            Fate::Delayed => {
                state.losses -= 1;
                let place = state.late.iter_mut().find(|late| late.is_none());
                *place.expect("as many as losses") = Some((number as u8, write));
                state.late.sort_unstable();
                running(write, true, round)
            }
        };
        state.requests[number].phase = phase;
        Some(state)
    }

    /// The state after a step; `None` if it is not possible.
    fn after(&mut self, state: &State, step: Step) -> Option<State> {
        let mut state = self.stepped(*state, step)?;
        // What nobody can tell any more makes no difference.
        let may_arrive: Set = state
            .late
            .iter()
            .flatten()
            .fold(0, |set, (number, _)| set | bit((*number).into()));
        for (index, request) in state.requests.iter_mut().enumerate() {
            request.after &= may_arrive;
            if request.phase == Phase::Ended && may_arrive & bit(index) == 0 {
                *request = GONE;
            }
        }
        for key in 0..state.items.len() {
            state.made_after[key] &= may_arrive;
            if self.item(state.items[key]).and_then(owner).is_none() {
                state.made_after[key] = 0;
            }
        }
        Some(state)
    }

    fn stepped(&mut self, mut state: State, step: Step) -> Option<State> {
        match step {
            Step::Begin(kind, fate) => {
                let number = usize::from(state.begun);
                let write = self.beginnings[number][kind];
                let ended = state.requests[..number].iter().enumerate();
                let after = ended.map(|(index, request)| match request.phase {
                    Phase::Ended => bit(index),
                    Phase::Running { .. } => 0,
                });
                let after = after.sum();
                state.begun += 1;
                state.requests[number] = Request {
                    kind: kind as u8,
                    phase: running(write, false, 0),
                    after,
                    ..GONE
                };
                self.send(state, number, fate)
            }
            Step::Retry(number, fate) => self.send(state, number, fate),
            Step::GiveUp(number) => {
                state.requests[number].phase = Phase::Ended;
                Some(state)
            }
            Step::Arrive(index) => {
                let (number, write) = state.late[index].take()?;
                state.late.sort_unstable();
                let attempt = self.apply(&mut state, number.into(), write);
                // What is refused changes nothing.
                attempt.is_applied.then_some(state)
            }
            Step::Expire(key) => {
                state.items[key] = NOTHING;
                Some(state)
            }
        }
    }

    /// What may happen next.
    fn steps(&self, state: &State) -> Vec<Step> {
        const FATES: [Fate; 3] = [Fate::Answered, Fate::AnswerLost, Fate::Delayed];
        let fates = &FATES[..if state.losses > 0 { 3 } else { 1 }];
        let mut steps = Vec::new();
        if usize::from(state.begun) < self.bounds.requests {
            for kind in 0..self.bounds.kinds.len() {
                steps.extend(fates.iter().map(|fate| Step::Begin(kind, *fate)));
            }
        }
        for (number, request) in state.requests.iter().enumerate() {
            if let Phase::Running { lost, .. } = request.phase {
                steps.extend(fates.iter().map(|fate| Step::Retry(number, *fate)));
                if lost {
                    steps.push(Step::GiveUp(number));
                }
            }
        }
        let may_arrive = |index: &usize| state.late[*index].is_some();
        steps.extend((0..MAX_LOSSES).filter(may_arrive).map(Step::Arrive));
        // DynamoDB's clock is another one.
        let expires = |key: &usize| end(self.item(state.items[*key])) <= at(2 * SECOND).seconds();
        steps.extend((0..state.items.len()).filter(expires).map(Step::Expire));
        steps
    }

    /// Sees that each request would take effect from here on if nobody disturbed it:
    /// those that run and lost no attempt, and any new one.
    fn check_progress(&mut self, state: &State) {
        for (number, request) in state.requests.iter().enumerate() {
            if let Phase::Running { write, lost, .. } = request.phase
                && !lost
            {
                self.check_alone(number, self.kind(*request), write, state.items);
            }
        }
        let new = self.bounds.requests;
        for (index, kind) in self.bounds.kinds.iter().enumerate() {
            let write = self.beginnings[new][index];
            self.check_alone(new, *kind, write, state.items);
        }
    }

    fn check_alone(
        &mut self,
        number: usize,
        kind: Kind,
        mut write: WriteNumber,
        items: [ItemNumber; 2],
    ) {
        if !self.alone.insert((write, items)) {
            return;
        }
        for _ in 0..ROUNDS_ALONE {
            let attempt = self.attempt(number, kind, write, items);
            let (next, next_write) = attempt.next[0];
            if let Next::Done(_) = next {
                let done = if kind.removes {
                    attempt.all_gone
                } else {
                    attempt.all_live && attempt.all_last
                };
                if !done {
                    self.violated(Violation::NoEffect);
                }
                return;
            }
            write = next_write;
        }
        self.violated(Violation::NoEffect);
    }
}

/// Visits all states within the bounds, those that take fewer steps first, until one
/// violates what must hold. Returns how many it visited, and the violation with the
/// steps that lead to it.
fn explore(bounds: &Bounds, mutation: Mutation) -> (usize, Option<(Violation, Vec<Step>)>) {
    let mut model = Model::new(bounds, mutation);
    // Each state with its predecessor, and the step from there.
    let mut states: IndexMap<State, Option<(usize, Step)>> = IndexMap::new();
    for items in &bounds.initial {
        let state = State {
            items: items.clone().map(|item| model.item_number(item)),
            begun: 0,
            requests: [GONE; MAX_REQUESTS],
            late: [None; MAX_LOSSES],
            losses: bounds.losses,
            made_after: [0; 2],
        };
        states.insert(state, None);
    }
    let mut index = 0;
    while let Some((&state, _)) = states.get_index(index) {
        model.check_progress(&state);
        for step in model.steps(&state) {
            let next = model.after(&state, step);
            if let Some(violation) = model.violation {
                let mut steps = vec![step];
                while let Some((before, step)) = states[index] {
                    steps.push(step);
                    index = before;
                }
                steps.reverse();
                return (states.len(), Some((violation, steps)));
            }
            if let Some(next) = next {
                states.entry(next).or_insert(Some((index, step)));
            }
        }
        index += 1;
    }
    (states.len(), None)
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(BASE.saturating_add_signed(millis))
}

fn bit(index: usize) -> Set {
    1 << index
}

/// The id of a request.
fn id_of(request: usize) -> Uuid {
    Uuid::from_u128((request as u128) << 64)
}

/// The id of a removal's next round.
fn later_id(removal: &ItemWrite) -> Uuid {
    let id = removal.values[":removal_id"].as_s().unwrap();
    Uuid::from_u128(id.parse::<Uuid>().unwrap().as_u128() + 1)
}

/// The item that a write leaves if its condition holds.
fn written(write: &ItemWrite, old: Option<Item>) -> Option<Item> {
    match &write.change {
        Change::Check => old,
        Change::Put(item) => Some(item.clone()),
        Change::Update(expression) => {
            let mut item = old.unwrap_or_default();
            item.insert("id".to_owned(), AttributeValue::S(write.id.clone()));
            expression::update(&mut item, expression, &write.values);
            Some(item)
        }
    }
}

fn is_refusal(reply: &Reply) -> bool {
    matches!(reply, Reply::Refused(_))
}

/// Returns whether the item that refused a condition has the `write_id` of a request.
fn is_own(reply: &Reply, request: usize) -> bool {
    let Reply::Refused(Some(old)) = reply else {
        return false;
    };
    let write_id = old.get("write_id").and_then(|id| id.as_s().ok());
    write_id == Some(&id_of(request).to_string())
}

/// The `write_id` of an association; `None` for a tombstone.
fn owner(item: &Item) -> Option<Uuid> {
    item.get("associated_at")?;
    item["write_id"].as_s().unwrap().parse().ok()
}

/// The second in which an item ends; the last one is never.
fn end(item: Option<&Item>) -> u64 {
    let end = item.and_then(|item| item.get("expires_at"));
    end.map_or(u64::MAX, |end| end.as_n().unwrap().parse().unwrap())
}

/// A request, and what its clock says.
fn writer(request: usize, reading: i64) -> Writer {
    Writer {
        id: id_of(request),
        client: "back-end".to_owned(),
        acted_by: None,
        now: at(reading),
    }
}

/// An association that none of the model's requests made.
fn association(key: &str, made: i64, ends: Option<i64>) -> Option<Item> {
    let put = Write::put(vec![key.to_owned()], writer(ANOTHER, made), None);
    let mut item = written(&put.item_writes()[0], None)?;
    let end = ends.map(|ends| ("expires_at".to_owned(), seconds(ends)));
    item.extend(end);
    Some(item)
}

/// A tombstone that none of the model's requests left.
fn tombstone(key: &str, removed: i64) -> Option<Item> {
    let removal = Write::removal(vec![key.to_owned()], writer(ANOTHER, removed));
    written(&removal.item_writes()[0], association(key, removed, None))
}

fn seconds(millis: i64) -> AttributeValue {
    AttributeValue::N(at(millis).seconds().to_string())
}

/// What one key can have at first: nothing; an association that lasts, one that a
/// fast clock made, one that expired, one that expires now; a tombstone that lasts,
/// one of a fast clock, one that expired.
fn starts(key: &str, expires: bool) -> Vec<Option<Item>> {
    let end = expires.then_some(DAY);
    vec![
        None,
        association(key, -10 * SECOND, end),
        association(key, SECOND + 500, end),
        association(key, -3 * DAY, Some(-SECOND)),
        association(key, -3 * DAY, Some(SECOND)),
        tombstone(key, -10 * SECOND),
        tombstone(key, SECOND + 500),
        tombstone(key, -HOUR - SECOND),
    ]
}

/// Puts and removals of these keys. `expires` says which associations are made.
fn kinds(keys: &[&'static [usize]], readings: &[i64], expires: &[bool]) -> Vec<Kind> {
    let puts = expires.iter().map(|expires| (false, *expires));
    let intents: Vec<_> = puts.chain([(true, false)]).collect();
    let mut kinds = Vec::new();
    for keys in keys {
        for reading in readings {
            kinds.extend(intents.iter().map(|(removes, expires)| Kind {
                removes: *removes,
                keys,
                expires: *expires,
                reading: *reading,
            }));
        }
    }
    kinds
}

/// Searches of one key: each request may put or remove it.
fn one_key(requests: usize, readings: &[i64], expires: bool) -> Bounds {
    let starts = starts(KEYS[0], expires).into_iter();
    Bounds {
        kinds: kinds(&[&[0]], readings, &[expires]),
        requests,
        losses: 2,
        initial: starts.map(|item| [item, None]).collect(),
    }
}

/// One key, where some requests come from functions without a lifetime.
fn lifetime_taken_away(requests: usize) -> Bounds {
    let mut bounds = one_key(requests, &[0], true);
    bounds.kinds = kinds(&[&[0]], &[0], &[true, false]);
    bounds
}

/// Searches of two keys: each request may put or remove both, or the second.
fn two_keys(requests: usize, losses: u8, readings: &[i64], expires: bool) -> Bounds {
    let end = expires.then_some(DAY);
    let [one, other] = KEYS;
    let initial = vec![
        [None, None],
        [association(one, -10 * SECOND, end), None],
        [None, association(other, -10 * SECOND, end)],
        [None, association(other, -3 * DAY, Some(SECOND))],
        [
            tombstone(one, -10 * SECOND),
            association(other, SECOND + 500, end),
        ],
        [
            association(one, -3 * DAY, Some(-SECOND)),
            tombstone(other, 0),
        ],
    ];
    Bounds {
        kinds: kinds(&[&[0, 1], &[1]], readings, &[expires]),
        requests,
        losses,
        initial,
    }
}

/// Four requests for one key that has nothing or an association, with one clock.
fn four_requests() -> Bounds {
    let mut bounds = one_key(4, &[0], false);
    bounds.initial.truncate(2);
    bounds
}

/// Explores everything within the bounds. `states` shows that it is no less than
/// before.
fn assert_holds(bounds: &Bounds, states: usize) {
    let (visited, violation) = explore(bounds, Mutation::None);
    assert_eq!(violation.map(|found| format!("{found:?}")), None);
    assert_eq!(visited, states);
}

#[test]
fn one_key_holds_with_clocks_a_second_apart() {
    assert_holds(&one_key(3, &[0, SECOND], false), 459_014);
}

#[test]
fn one_key_holds_with_clocks_two_hours_apart() {
    assert_holds(&one_key(3, &[0, 2 * HOUR], false), 406_130);
}

#[test]
fn one_key_holds_with_a_lifetime() {
    assert_holds(&one_key(3, &[0, SECOND], true), 574_328);
}

#[test]
fn one_key_holds_with_a_lifetime_that_is_taken_away() {
    assert_holds(&lifetime_taken_away(3), 349_027);
}

#[test]
fn one_key_holds_with_four_requests() {
    assert_holds(&four_requests(), 178_308);
}

#[test]
fn two_keys_hold_with_clocks_a_second_apart() {
    assert_holds(&two_keys(2, 2, &[0, SECOND], false), 78_220);
    assert_holds(&two_keys(2, 2, &[0, SECOND], true), 87_921);
}

#[test]
fn two_keys_hold_with_three_requests() {
    assert_holds(&two_keys(3, 1, &[0], false), 159_460);
    assert_holds(&two_keys(3, 1, &[0], true), 172_417);
}

/// Without a rule, a few requests break a guarantee. The searches with the fewest
/// requests that show it.
#[test]
fn every_rule_is_needed() {
    use {Mutation as M, Violation as V};
    let one_key_of_two = &one_key(2, &[0, SECOND], false);
    let one_key_of_three = &one_key(3, &[0, SECOND], false);
    let hours_apart = &one_key(2, &[0, 2 * HOUR], false);
    let with_lifetime = &one_key(2, &[0, SECOND], true);
    let without_lifetime = &lifetime_taken_away(2);
    let four_requests = &four_requests();
    let two_keys_of_three = &two_keys(3, 1, &[0], false);
    let two_keys_of_two = &two_keys(2, 1, &[0], false);
    for (mutation, expected, bounds) in [
        (M::Deletes, V::Twice, one_key_of_two),
        (M::WritesNothingOverNothing, V::LatePut, one_key_of_two),
        (M::TimestampsInsteadOfRemovalId, V::LatePut, one_key_of_two),
        (M::AssociatedAtMayShrink, V::Twice, one_key_of_two),
        (M::NotStrictly, V::LateRemoval, one_key_of_two),
        (M::RemovesAgainAfterLostAttempt, V::Twice, one_key_of_two),
        (M::RemovedAtMayShrink, V::Twice, one_key_of_three),
        (M::FirstConditionAcceptsExpired, V::LatePut, hours_apart),
        (M::ReplacesTombstoneOfExpired, V::LatePut, hours_apart),
        (M::RenewsTombstone, V::NoEffect, with_lifetime),
        (M::RenewalMayShorten, V::Shortened, with_lifetime),
        (M::RenewsTombstoneForEver, V::NoEffect, without_lifetime),
        (M::PutsAgainAfterLostAttempt, V::Twice, four_requests),
        (M::JudgesKeyByKey, V::Untrue204, two_keys_of_three),
        (M::ChecksNothing, V::NoEffect, two_keys_of_two),
    ] {
        let (_, found) = explore(bounds, mutation);
        let found = found.map(|(violation, steps)| {
            let begins = steps.iter().filter(|step| matches!(step, Step::Begin(..)));
            (violation, begins.count())
        });
        assert_eq!(found, Some((expected, bounds.requests)), "{mutation:?}");
    }
}

/// What a request sends to a key, at first and after it met each of these items.
fn all_writes(key: &str, items: &[Option<Item>]) -> Vec<ItemWrite> {
    let keys = || vec![key.to_owned()];
    let person = || Writer {
        acted_by: Some("person".to_owned()),
        ..writer(0, 0)
    };
    let mut writes: Vec<ItemWrite> = Vec::new();
    let mut add = |write: &Write| {
        let [write] = write.item_writes().try_into().unwrap();
        if !writes.contains(&write) {
            writes.push(write);
        }
    };
    for first in [
        Write::put(keys(), writer(0, 0), None),
        Write::put(keys(), person(), Some(LIFETIME)),
        Write::removal(keys(), writer(0, 0)),
        Write::removal(keys(), person()),
    ] {
        add(&first);
        for item in items {
            let mut next = first.clone();
            let new_id = || later_id(&first.item_writes()[0]);
            next.next(&[Reply::Refused(item.clone())], false, new_id);
            add(&next);
        }
    }
    writes
}

/// Sends a write to the engine. Returns whether its condition held.
async fn send(client: &Client, table: &str, write: ItemWrite) -> bool {
    fn held<T>(sent: Result<T, impl ProvideErrorMetadata>) -> bool {
        match sent.err().as_ref().map(ProvideErrorMetadata::code) {
            None => true,
            Some(code) => {
                assert_eq!(code, Some("ConditionalCheckFailedException"));
                false
            }
        }
    }
    let values = Some(write.values).filter(|values| !values.is_empty());
    let expression = match write.change {
        Change::Put(item) => {
            let put = client.put_item().table_name(table).set_item(Some(item));
            let put = put.condition_expression(write.condition);
            return held(put.set_expression_attribute_values(values).send().await);
        }
        Change::Update(expression) => Some(expression.to_owned()),
        Change::Check => None,
    };
    let update = client.update_item().table_name(table);
    let update = update.key("id", AttributeValue::S(write.id));
    let update = update.condition_expression(write.condition);
    let update = update.set_update_expression(expression);
    held(update.set_expression_attribute_values(values).send().await)
}

/// The model's interpreter of expressions and the engine agree on every write of the
/// store and on every item that it may meet. A write to the key of a customer leaves the
/// account with the same id as it is, and the other way round.
#[tokio::test]
async fn the_interpreter_agrees_with_the_engine() {
    let kinds = [PartyKind::Customer, PartyKind::Account];
    let keys = kinds.map(|kind| rules::key("cart-1", &Party::new(kind, "a").unwrap()));
    assert_eq!(keys, NAMESAKES);
    let world = World::new().await;
    let (client, table) = world.table();
    let (mut accepted, mut refused) = (0, 0);
    for [key, namesake] in [NAMESAKES, [NAMESAKES[1], NAMESAKES[0]]] {
        let other = association(namesake, 0, Some(DAY));
        let put = client.put_item().table_name(table).set_item(other.clone());
        put.send().await.unwrap();
        let mut items = starts(key, true);
        items.extend(starts(key, false));
        for write in all_writes(key, &items) {
            for item in &items {
                let delete = client.delete_item().table_name(table);
                let delete = delete.key("id", AttributeValue::S(key.to_owned()));
                delete.send().await.unwrap();
                if let Some(item) = item {
                    let put = client.put_item().table_name(table);
                    let put = put.set_item(Some(item.clone()));
                    put.send().await.unwrap();
                }
                let holds = expression::holds(write.condition, &write.values, item.as_ref());
                let sent = send(client, table, write.clone()).await;
                assert_eq!(sent, holds, "{write:?} {item:?}");
                let left = match holds {
                    true => written(&write, item.clone()),
                    false => item.clone(),
                };
                let items = world.items().await.into_iter();
                let is_own = |item: &Item| item["id"].as_s().unwrap() == key;
                let (items, others): (Vec<Item>, Vec<Item>) = items.partition(is_own);
                assert_eq!(items.into_iter().next(), left, "{write:?} {item:?}");
                assert_eq!(others.into_iter().next(), other);
                *(if holds { &mut accepted } else { &mut refused }) += 1;
            }
        }
    }
    assert!(accepted > 100 && refused > 100, "{accepted} {refused}");
}
