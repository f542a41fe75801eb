//! Calls that reach the engine only after the function has given them up, and after
//! others have done something else. `model.rs` explores every such order; here the SDK
//! sends the calls, one by one and in transactions, and the engine judges them.

use std::collections::BTreeSet;
use std::time::Duration;

use dev::proxy::{Fault, Proxy};
use serde_json::json;

use crate::support::answer::Answer;
use crate::support::{World, engine, lasting_token};

/// In the body of every call.
const ANY: &str = "";

/// In the body of a call that puts an association in place of a tombstone.
const OVER_TOMBSTONE: &str = "\"removal_id = :seen\"";

/// In the body of a call that puts an association in place of an expired one.
const OVER_EXPIRED: &str = "write_id = :seen";

const NOBODY: &[&str] = &[];
const ONE: &[&str] = &["a"];
const THREE: &[&str] = &["a", "b", "c"];

/// The customers of each scenario, which are in one call or in a transaction.
const ALL: [&[&str]; 2] = [ONE, THREE];

/// For each scenario, nobody.
const NONE: [&[&str]; 2] = [NOBODY; 2];

/// A function behind a proxy, and one that reaches the same table without it. Both get
/// requests for the same customers of a cart.
struct Late {
    customers: &'static [&'static str],
    proxy: Proxy,
    slow: World,
    direct: World,
}

impl Late {
    async fn new(customers: &'static [&'static str], variables: &[(&str, &str)]) -> Self {
        let (slow, proxy) = World::behind_proxy(variables).await;
        let endpoint = ("AWS_ENDPOINT_URL_DYNAMODB", engine());
        let direct = World::on(&[endpoint], &slow).await;
        Self {
            customers,
            proxy,
            slow,
            direct,
        }
    }

    /// Sends requests of others, one after another. Their answers are those of what is
    /// stored. Before "expire", there is nothing.
    async fn act(&self, methods: &str) {
        for method in methods.split_whitespace() {
            if method == "expire" {
                self.put_expired().await;
                continue;
            }
            let is_new = self.direct.stored().await != keys(self.customers);
            let call = self.direct.associate("cart", self.customers);
            let answer = call.method(method).send().await;
            let status = if method == "POST" && is_new { 200 } else { 204 };
            assert_eq!(answer.status, status, "{method}: {answer:?}");
        }
    }

    async fn put_expired(&self) {
        for customer in self.customers {
            let long_ago = "2026-01-01T00:00:00.000Z";
            let put = self.direct.put("cart", customer, long_ago, Some(1));
            put.await;
        }
    }

    /// Sends a request and holds all its calls with this text. The answer is that the
    /// outcome is unknown.
    async fn hold(&self, text: &'static str, method: &str) {
        self.proxy.hold(text, usize::MAX);
        // It outlasts associations.
        let token = lasting_token();
        let call = self.slow.associate("cart", self.customers).method(method);
        let answer = call.bearer(&token).send().await;
        answer.refused(503, "outcome_unknown");
        assert!(self.proxy.release() > 0);
    }

    /// Lets the held calls arrive. Afterwards, exactly these customers are associated
    /// with the cart.
    async fn arrive(&self, expected: &[&str]) {
        self.proxy.deliver().await;
        self.assert_stored(expected).await;
    }

    async fn assert_stored(&self, expected: &[&str]) {
        assert_eq!(self.direct.stored().await, keys(expected));
    }
}

fn keys(customers: &[&str]) -> BTreeSet<String> {
    customers.iter().map(|id| format!("cart#{id}")).collect()
}

#[tokio::test]
async fn a_late_post_does_not_restore_what_a_delete_removed() {
    for (before, calls) in [
        ("", ANY),
        ("POST DELETE", OVER_TOMBSTONE),
        ("expire", OVER_EXPIRED),
    ] {
        arrives_late(before, "POST", calls, "DELETE", NONE).await;
    }
}

#[tokio::test]
async fn a_late_delete_does_not_remove_what_was_associated_after_it() {
    for (before, after) in [("", "POST"), ("POST", "DELETE POST")] {
        arrives_late(before, "DELETE", ANY, after, ALL).await;
    }
}

/// What docs/api.md says of a DELETE that was answered 503.
#[tokio::test]
async fn a_late_delete_removes_what_was_associated_when_it_was_sent() {
    arrives_late("POST", "DELETE", ANY, "POST", NONE).await;
}

/// Lets calls of a request arrive after what others have done `after` it. Then exactly the
/// expected associations are there. Whenever the calls arrive again, they change nothing.
async fn arrives_late(
    before: &str,
    method: &str,
    calls: &'static str,
    after: &str,
    expected: [&[&str]; 2],
) {
    for (customers, expected) in ALL.into_iter().zip(expected) {
        let late = Late::new(customers, &[]).await;
        late.act(before).await;
        late.hold(calls, method).await;
        late.act(after).await;
        late.arrive(expected).await;
        late.act("POST").await;
        late.arrive(customers).await;
        late.act("DELETE").await;
        late.arrive(NOBODY).await;
    }
}

#[tokio::test]
async fn a_late_renewal_changes_no_tombstone_and_no_other_association() {
    for customers in ALL {
        let late = Late::new(customers, &[("ASSOCIATION_LIFETIME_DAYS", "2")]).await;
        late.act("POST").await;
        late.slow.advance_clock(Duration::from_secs(30 * 60 * 60));
        late.hold("SET expires_at = ", "POST").await;
        late.act("DELETE").await;
        let tombstones = late.direct.items().await;
        late.proxy.deliver().await;
        assert_eq!(late.direct.items().await, tombstones);
        late.act("POST").await;
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
    // The request, what others do after its effect, whether the outcome of a single call
    // is unknown, and the associations afterwards.
    for (method, others, unknown, expected) in [
        // Created, removed, created by another, removed again.
        ("POST", "DELETE POST DELETE", true, NONE),
        // Created, and removed: the tombstone shows who created it.
        ("POST", "DELETE", false, NONE),
        // Removed, and associated again.
        ("DELETE", "POST", true, ALL),
    ] {
        for (customers, expected) in ALL.into_iter().zip(expected) {
            let (late, answer) = overtaken(method, customers, others).await;
            match method {
                _ if unknown && customers == ONE => drop(answer.refused(503, "outcome_unknown")),
                "POST" => answer.created(customers),
                _ => answer.unchanged(),
            }
            late.assert_stored(expected).await;
        }
    }
}

/// Sends a request whose first call is applied and gets no answer, and lets others
/// act before its second call. If they were too slow, starts again with a new table.
/// A DELETE has associations to remove.
async fn overtaken(
    method: &str,
    customers: &'static [&'static str],
    others: &str,
) -> (Late, Answer) {
    loop {
        let late = Late::new(customers, &[]).await;
        let (before, after) = match method {
            "DELETE" => ("POST", NOBODY),
            _ => ("", customers),
        };
        late.act(before).await;
        late.proxy.next(Fault::Hang.after_commit(), 1);
        let calls = late.proxy.calls();
        let act = async {
            while late.direct.stored().await != keys(after) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            late.act(others).await;
            late.proxy.calls() - calls
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
    for customers in ALL {
        let late = Late::new(customers, &[]).await;
        for key in keys(customers) {
            let tombstone = json!({
                "id": key,
                "removed_at": "2026-01-01T00:00:00.000Z",
                "removed_by": "back-end",
                "removal_id": "0b8f9a5e-5d9f-4f2e-8c39-1c9b4a7e9f10",
            });
            late.direct.plant(&tombstone).await;
        }
        late.proxy.next(Fault::Close, 1);
        let call = late.slow.associate("cart", customers);
        call.send().await.created(customers);
    }
}
