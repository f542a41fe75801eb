//! Calls that reach the engine only after the function has given them up, and after
//! others have done something else.

use std::collections::BTreeSet;
use std::time::Duration;

use dev::proxy::{Fault, Proxy};
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::{World, engine, lasting_token};

/// In the body of every call.
const ANY: &str = "";

/// In the body of a call that puts an association in place of a tombstone.
const OVER_TOMBSTONE: &str = "\"removal_id = :seen\"";

const ONE: &[&str] = &["a"];
const THREE: &[&str] = &["a", "b", "c"];

/// A function behind a proxy, and one that reaches the same table without it.
struct Late {
    proxy: Proxy,
    slow: World,
    direct: World,
}

impl Late {
    async fn new(variables: &[(&str, &str)]) -> Self {
        let proxy = Proxy::start(engine()).await;
        let direct = World::with(variables).await;
        let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", &*proxy.endpoint);
        let slow = World::on(&[endpoint], &direct).await;
        Self {
            proxy,
            slow,
            direct,
        }
    }

    async fn post(&self, customers: &[&str], status: u64) {
        let answer = self.direct.associate("cart", customers).send().await;
        assert_eq!(answer.status, status, "{answer:?}");
    }

    async fn delete(&self, customers: &[&str]) {
        let answer = self.direct.dissociate("cart", customers).send().await;
        answer.unchanged();
    }

    /// Sends a request and holds all its calls with this text. The answer is that the
    /// outcome is unknown.
    async fn hold(&self, text: &'static str, method: &str, customers: &[&str]) {
        self.proxy.hold(text, usize::MAX);
        // It outlasts associations.
        let token = lasting_token();
        let call = self.slow.associate("cart", customers).method(method);
        let answer = call.bearer(&token).send().await;
        answer.refused(503, "outcome_unknown");
        assert!(self.proxy.release() > 0);
    }

    /// The customers that are associated with the cart.
    async fn stored(&self) -> BTreeSet<String> {
        let stored = self.direct.stored().await;
        let customer = |key: &String| key.strip_prefix("cart#").unwrap().to_owned();
        stored.iter().map(customer).collect()
    }

    /// Waits until exactly these customers are associated with the cart.
    async fn wait_for(&self, customers: &[&str]) {
        while self.stored().await != set(customers) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn set(customers: &[&str]) -> BTreeSet<String> {
    customers.iter().map(|id| (*id).to_owned()).collect()
}

#[tokio::test]
async fn a_late_post_does_not_restore_what_a_delete_removed() {
    for customers in [ONE, THREE] {
        let late = Late::new(&[]).await;
        late.hold(ANY, "POST", customers).await;
        late.delete(customers).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(&[]));

        // It was removed before, so that the calls have seen a tombstone.
        late.hold(OVER_TOMBSTONE, "POST", customers).await;
        late.delete(customers).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(&[]));

        late.post(customers, 200).await;
        late.post(customers, 204).await;
        late.proxy.deliver().await;
        late.post(customers, 204).await;
        late.delete(customers).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(&[]));
    }
}

/// The POST replaces an expired association, which the DELETE removes first.
#[tokio::test]
async fn a_late_post_over_an_expired_association_does_not_restore_it() {
    for customers in [ONE, THREE] {
        let late = Late::new(&[]).await;
        for customer in customers {
            let expired = json!({
                "id": format!("cart#{customer}"),
                "cart_id": "cart",
                "customer_id": customer,
                "associated_at": "2026-01-01T00:00:00.000Z",
                "associated_by": "back-end",
                "write_id": "5c8f0f2e-95b8-4f4b-8f5c-0f7cf3a4c9d2",
                "expires_at": 1_770_000_000,
            });
            late.direct.plant(&expired).await;
        }
        late.hold("write_id = :seen", "POST", customers).await;
        late.delete(customers).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(&[]));
        late.post(customers, 200).await;
    }
}

#[tokio::test]
async fn a_late_delete_does_not_remove_what_was_associated_after_it() {
    for customers in [ONE, THREE] {
        let late = Late::new(&[]).await;
        // Nothing was there.
        late.hold(ANY, "DELETE", customers).await;
        late.post(customers, 200).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(customers));

        // It was removed by another, and associated again.
        late.hold(ANY, "DELETE", customers).await;
        late.delete(customers).await;
        late.post(customers, 200).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(customers));
        late.delete(customers).await;
    }
}

/// What docs/api.md says of a DELETE that was answered 503.
#[tokio::test]
async fn a_late_delete_removes_what_was_associated_when_it_was_sent() {
    for customers in [ONE, THREE] {
        let late = Late::new(&[]).await;
        late.post(customers, 200).await;
        late.hold(ANY, "DELETE", customers).await;
        late.post(customers, 204).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(&[]));
        late.post(customers, 200).await;
        late.proxy.deliver().await;
        assert_eq!(late.stored().await, set(customers));
    }
}

#[tokio::test]
async fn a_late_renewal_changes_no_tombstone_and_no_other_association() {
    let renewal = "SET expires_at = ";
    for customers in [ONE, THREE] {
        let late = Late::new(&[("ASSOCIATION_LIFETIME_DAYS", "2")]).await;
        late.post(customers, 200).await;
        late.slow.advance_clock(Duration::from_secs(30 * 60 * 60));
        late.hold(renewal, "POST", customers).await;
        late.delete(customers).await;
        let tombstones = late.direct.items().await;
        late.proxy.deliver().await;
        assert_eq!(late.direct.items().await, tombstones);
        late.post(customers, 200).await;
        let associations = late.direct.items().await;
        late.proxy.deliver().await;
        assert_eq!(late.direct.items().await, associations);
    }
}

/// The first call of a request is applied, and its answer is lost. Before the
/// second call, others do something else. No request takes effect twice: the second
/// call of a transaction has the first one's `ClientRequestToken` and its answer.
#[tokio::test]
async fn a_request_whose_effect_was_undone_is_not_repeated() {
    for customers in [ONE, THREE] {
        // Created, removed, created by another, removed again.
        let (late, answer) = overtaken("POST", &[], customers, async |late| {
            late.wait_for(customers).await;
            late.delete(customers).await;
            late.post(customers, 200).await;
            late.delete(customers).await;
        })
        .await;
        match customers {
            ONE => drop(answer.refused(503, "outcome_unknown")),
            _ => answer.created(customers),
        }
        assert_eq!(late.stored().await, set(&[]));

        // Created, and removed: the tombstone shows who created it.
        let (late, answer) = overtaken("POST", &[], customers, async |late| {
            late.wait_for(customers).await;
            late.delete(customers).await;
        })
        .await;
        answer.created(customers);
        assert_eq!(late.stored().await, set(&[]));

        // Removed, and associated again.
        let (late, answer) = overtaken("DELETE", customers, customers, async |late| {
            late.wait_for(&[]).await;
            late.post(customers, 200).await;
        })
        .await;
        match customers {
            ONE => drop(answer.refused(503, "outcome_unknown")),
            _ => answer.unchanged(),
        }
        assert_eq!(late.stored().await, set(customers));
    }
}

/// Sends a request whose first call is applied and gets no answer, and lets others
/// act before its second call. If they were too slow, starts again with a new table.
async fn overtaken(
    method: &str,
    existing: &[&str],
    customers: &[&str],
    others: impl AsyncFn(&Late),
) -> (Late, Answer) {
    loop {
        let late = Late::new(&[]).await;
        if !existing.is_empty() {
            late.post(existing, 200).await;
        }
        late.proxy.next(Fault::Hang.after_commit(), 1);
        let before = late.proxy.calls();
        let act = async {
            others(&late).await;
            late.proxy.calls() - before
        };
        let request = late.slow.associate("cart", customers).method(method);
        let (answer, calls) = tokio::join!(request.send(), act);
        if calls == 1 {
            return (late, answer);
        }
    }
}

/// An old tombstone shows that a lost call was not applied.
#[tokio::test]
async fn a_lost_attempt_does_no_harm_where_what_is_there_is_older() {
    for customers in [ONE, THREE] {
        let late = Late::new(&[]).await;
        let mut tombstone = json!({
            "removed_at": "2026-01-01T00:00:00.000Z",
            "removed_by": "back-end",
            "removal_id": "0b8f9a5e-5d9f-4f2e-8c39-1c9b4a7e9f10",
        });
        for customer in customers {
            tombstone["id"] = Value::from(format!("cart#{customer}"));
            late.direct.plant(&tombstone).await;
        }
        late.proxy.next(Fault::Close, 1);
        let answer = late.slow.associate("cart", customers).send().await;
        answer.created(customers);
    }
}
