//! Records the answers and checks whether they were true. All requests for a cart name the same customers, so exactly one
//! of them creates the associations, and only that one may be answered with 200.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Instant;

use serde_json::Value;

/// The number of failures that are listed; more are counted.
const LISTED: usize = 10;

#[derive(Default)]
pub(crate) struct Ledger {
    statuses: BTreeMap<u64, usize>,
    codes: BTreeMap<String, usize>,
    carts: BTreeMap<String, Cart>,
    unexpected: Vec<String>,
}

/// The answers to the allowed requests for a cart.
#[derive(Default)]
struct Cart {
    customers: BTreeSet<String>,
    /// The number of 200s, and when the first request with one began.
    created: usize,
    created_after: Option<Instant>,
    /// The number of 204s, and when the first one came.
    unchanged: usize,
    existed_before: Option<Instant>,
    /// The number of 503s with `outcome_unknown`.
    unknown: usize,
}

impl Ledger {
    /// Enters the answer to a request, which has just come. The request had to be refused with the status `expected`, or
    /// to succeed if there is none.
    pub(crate) fn enter(
        &mut self,
        cart: &str,
        body: &[u8],
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
                    "a request for {cart} was answered with {status} {code}, not refused with {expected}"
                ));
            }
            return;
        }
        let entry = self.carts.entry(cart.to_owned()).or_default();
        let requested = customers(&serde_json::from_slice(body).unwrap_or_default());
        match (status, code) {
            (200, _) if customers(&document) != requested => self.unexpected.push(format!(
                "a 200 for {cart} names other customers than the request"
            )),
            (200, _) => {
                entry.created += 1;
                entry.created_after.get_or_insert(began);
            }
            (204, _) => {
                entry.unchanged += 1;
                entry.existed_before.get_or_insert_with(Instant::now);
            }
            (503, "outcome_unknown") => entry.unknown += 1,
            (503, "store_unavailable") => {}
            _ => self.unexpected.push(format!(
                "a request for {cart} that may succeed was answered with {status} {code}"
            )),
        }
        entry.customers.extend(requested);
    }

    pub(crate) fn answers(&self) -> usize {
        self.statuses.values().sum()
    }

    /// Describes what is wrong, given the partition keys in the table at the end.
    pub(crate) fn check(&self, stored: &BTreeSet<String>) -> Vec<String> {
        let mut failures = Vec::new();
        let mut requested = 0;
        for (name, cart) in &self.carts {
            let is_stored = |customer: &&String| stored.contains(&format!("{name}#{customer}"));
            let found = cart.customers.iter().filter(is_stored).count();
            requested += found;
            failures.extend(
                cart.failure(found)
                    .map(|failure| format!("{name} {failure}")),
            );
        }
        failures.extend_from_slice(&self.unexpected);
        if failures.len() > LISTED {
            let more = failures.len() - LISTED;
            failures.truncate(LISTED);
            failures.push(format!("{more} more"));
        }
        let others = stored.len() - requested;
        if others > 0 {
            failures.push(format!(
                "{others} associations in the table were not requested by anybody who was allowed to"
            ));
        }
        failures
    }
}

impl Cart {
    /// What is wrong with the answers, given how many of the customers are in the table.
    fn failure(&self, found: usize) -> Option<&'static str> {
        let acknowledged = self.created + self.unchanged > 0;
        if acknowledged && found < self.customers.len() {
            return Some("was acknowledged and is not in the table");
        }
        if found > 0 && found < self.customers.len() {
            return Some("is in the table in part");
        }
        if found > 0 && !acknowledged && self.unknown == 0 {
            return Some("is in the table although all requests were said to have failed");
        }
        if let (Some(existed), Some(created)) = (self.existed_before, self.created_after)
            && existed < created
        {
            return Some("was said to exist before anyone created it");
        }
        match self.created {
            // A request that was answered with 503 may have created it.
            0 if self.unknown > 0 || found == 0 => None,
            0 => Some("is in the table, and no request was said to have created it"),
            1 => None,
            _ => Some("was created once, and several requests were said to have created it"),
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

fn customers(document: &Value) -> BTreeSet<String> {
    let members = document["data"].as_array().into_iter().flatten();
    members
        .filter_map(|member| Some(member["id"].as_str()?.to_owned()))
        .collect()
}
