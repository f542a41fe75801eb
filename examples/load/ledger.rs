//! What was answered, and whether it was true. All requests for one cart name the same customers, so that exactly one of
//! them makes something: the only one that is told so.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use serde_json::Value;

/// How many faults are told one by one.
const TOLD: usize = 10;

/// All answers of a run.
#[derive(Default)]
pub(crate) struct Ledger {
    statuses: BTreeMap<u64, usize>,
    codes: BTreeMap<String, usize>,
    carts: BTreeMap<String, Cart>,
    unexpected: Vec<String>,
}

/// What those were answered who were allowed to tie a cart to customers.
#[derive(Default)]
struct Cart {
    customers: BTreeSet<String>,
    /// 200: the caller made it. The first such request began at this moment.
    created: usize,
    created_after: Option<Instant>,
    /// 204: it was there. The first such answer came at this moment.
    unchanged: usize,
    there_before: Option<Instant>,
    /// 503: it may have happened.
    unknown: usize,
}

impl Ledger {
    /// Enters the answer that a request, which began at this moment, has just got. It was to be refused with the status
    /// `expected`, or to succeed if there is none.
    pub(crate) fn enter(
        &mut self,
        cart: &str,
        body: &str,
        began: Instant,
        expected: Option<u64>,
        answer: &Value,
    ) {
        let status = answer["statusCode"].as_u64().unwrap_or_default();
        let document: Value =
            serde_json::from_str(answer["body"].as_str().unwrap_or_default()).unwrap_or_default();
        let code = document["errors"][0]["code"].as_str().unwrap_or_default();
        *self.statuses.entry(status).or_default() += 1;
        if !code.is_empty() {
            *self.codes.entry(code.to_owned()).or_default() += 1;
        }
        if let Some(expected) = expected {
            if status != expected {
                self.unexpected.push(format!(
                    "a request for {cart} that was to be refused with {expected} was answered with {status} {code}"
                ));
            }
            return;
        }
        let entry = self.carts.entry(cart.to_owned()).or_default();
        let asked = customers(&serde_json::from_str(body).unwrap_or_default());
        match (status, code) {
            (200, _) if customers(&document) != asked => self.unexpected.push(format!(
                "a 200 for {cart} names other customers than were asked for"
            )),
            (200, _) => {
                entry.created += 1;
                entry.created_after.get_or_insert(began);
            }
            (204, _) => {
                entry.unchanged += 1;
                entry.there_before.get_or_insert_with(Instant::now);
            }
            (503, "outcome_unknown") => entry.unknown += 1,
            (503, "store_unavailable") => {}
            _ => self.unexpected.push(format!(
                "a request for {cart} that was to succeed was answered with {status} {code}"
            )),
        }
        entry.customers.extend(asked);
    }

    /// How many answers there were.
    pub(crate) fn answers(&self) -> usize {
        self.statuses.values().sum()
    }

    /// What is wrong, given the partition keys that the table holds in the end.
    pub(crate) fn check(&self, stored: &BTreeSet<String>) -> Vec<String> {
        let mut faults = Vec::new();
        let mut asked_for = 0;
        for (name, cart) in &self.carts {
            let is_stored = |customer: &&String| stored.contains(&format!("{name}#{customer}"));
            let there = cart.customers.iter().filter(is_stored).count();
            asked_for += there;
            faults.extend(cart.fault(there).map(|fault| format!("{name} {fault}")));
        }
        faults.extend_from_slice(&self.unexpected);
        if faults.len() > TOLD {
            let more = faults.len() - TOLD;
            faults.truncate(TOLD);
            faults.push(format!("{more} more like these"));
        }
        let others = stored.len() - asked_for;
        if others > 0 {
            faults.push(format!(
                "{others} associations in the table were asked for by nobody who was allowed to"
            ));
        }
        faults
    }
}

impl Cart {
    /// What is not true of the answers, given how many of the customers are in the table.
    fn fault(&self, there: usize) -> Option<&'static str> {
        let acknowledged = self.created + self.unchanged > 0;
        if acknowledged && there < self.customers.len() {
            return Some("was acknowledged and is not in the table");
        }
        if there > 0 && there < self.customers.len() {
            return Some("is in the table in part");
        }
        if there > 0 && !acknowledged && self.unknown == 0 {
            return Some("is in the table, and nobody was told that it may be");
        }
        if let (Some(there), Some(created)) = (self.there_before, self.created_after)
            && there < created
        {
            return Some("was said to be there before anyone made it");
        }
        match self.created {
            // Whoever made it was told 503, if it was made at all.
            0 if self.unknown > 0 || there == 0 => None,
            0 => Some("is in the table, and nobody was told to have made it"),
            1 => None,
            _ => Some("was made once, and more than one were told to have made it"),
        }
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answers:")?;
        for (status, times) in &self.statuses {
            write!(f, " {times} of {status}")?;
        }
        write!(f, "\nerrors:")?;
        for (code, times) in &self.codes {
            write!(f, " {times} {code}")?;
        }
        Ok(())
    }
}

/// The customers that a document names.
fn customers(document: &Value) -> BTreeSet<String> {
    let members = document["data"].as_array().into_iter().flatten();
    members
        .filter_map(|member| Some(member["id"].as_str()?.to_owned()))
        .collect()
}
