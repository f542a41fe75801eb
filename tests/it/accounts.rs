//! Accounts: the same routes and the same guarantees as for customers, and what keeps
//! the two apart.

use std::collections::BTreeSet;

use serde_json::json;

use crate::support::call::Call;
use crate::support::{RON, World, account_token, cart_token, linkage, linkage_of};

const ACME: &str = "acme";

async fn world() -> World {
    World::with_account_tokens().await
}

fn accounts_of(cart: &str) -> String {
    format!("/v2/carts/{cart}/relationships/accounts")
}

fn carts_of(account: &str) -> String {
    format!("/v2/accounts/{account}/relationships/carts")
}

/// A request for a cart's accounts, without tokens.
fn write<'w>(world: &'w World, method: &str, cart: &str, accounts: &[&str]) -> Call<'w> {
    let call = world.get(&accounts_of(cart)).method(method);
    call.body(linkage_of("account", accounts))
}

#[tokio::test]
async fn an_account_is_associated_listed_and_removed_like_a_customer() {
    let world = world().await;
    let accounts = accounts_of("cart-1");
    let post = || write(&world, "POST", "cart-1", &[ACME]);

    let created = post().account(ACME).send().await;
    assert_eq!(created.document(), linkage_of("account", &[ACME]));
    post().account(ACME).send().await.unchanged();
    post().back_end().send().await.unchanged();

    let listed = world.get(&accounts).account(ACME).send().await;
    assert_eq!(listed.listed("account").0, [ACME]);
    for path in ["/v2/carts", &carts_of(ACME)] {
        let listed = world.get(path).account(ACME).send().await;
        assert_eq!(listed.listed("cart").0, ["cart-1"], "{path}");
    }

    let delete = || write(&world, "DELETE", "cart-1", &[ACME]);
    delete().account(ACME).send().await.unchanged();
    delete().account(ACME).send().await.unchanged();
    let listed = world.get(&accounts).back_end().send().await;
    assert_eq!(listed.listed("account").0, Vec::<String>::new());
}

#[tokio::test]
async fn a_customer_and_an_account_of_one_id_never_meet() {
    let world = world().await;
    let both = [ACME, "globex"];
    for cart in ["cart-1", "cart-2"] {
        write(&world, "POST", cart, &both).back_end().send().await;
        world.associated(cart, &[ACME]).await;
        world.dissociate(cart, &[ACME]).send().await.unchanged();
        world.associated(cart, &[ACME]).await;
    }
    let customers = "/v2/carts/cart-1/relationships/customers";
    let carts_of_customer = "/v2/customers/acme/relationships/carts";
    let carts = ["cart-2", "cart-1"];
    for (path, kind, expected) in [
        (customers, "customer", &[ACME][..]),
        (&accounts_of("cart-1"), "account", &both),
        (carts_of_customer, "cart", &carts),
        (&carts_of(ACME), "cart", &carts),
    ] {
        let listed = world.get(path).back_end().send().await;
        assert_eq!(listed.listed(kind).0, expected, "{path}");
    }
    let clear = |path: &str| world.get(path).method("PATCH").body(linkage(&[]));
    let mine = clear(&carts_of(ACME)).account(ACME);
    mine.send().await.unchanged();
    let remaining = [
        "cart-1#account#globex",
        "cart-1#acme",
        "cart-2#account#globex",
        "cart-2#acme",
    ];
    assert_eq!(Vec::from_iter(world.stored().await), remaining);

    let not_mine = clear(&accounts_of("cart-1")).account("globex");
    not_mine.send().await.refused(403, "back_end_required");
    let any = clear(&accounts_of("cart-1")).back_end();
    any.send().await.unchanged();
    clear(customers).back_end().send().await.unchanged();
    let remaining = ["cart-2#account#globex", "cart-2#acme"];
    assert_eq!(Vec::from_iter(world.stored().await), remaining);
    let carts = clear(carts_of_customer).back_end();
    carts.send().await.unchanged();
    let remaining = ["cart-2#account#globex"];
    assert_eq!(Vec::from_iter(world.stored().await), remaining);
}

#[tokio::test]
async fn a_caller_for_one_party_may_do_nothing_for_another() {
    let world = world().await;
    for method in ["POST", "DELETE"] {
        let theirs = write(&world, method, "cart-1", &[RON]).customer(RON);
        theirs.send().await.refused(403, "account_token_required");
        let other = write(&world, method, "cart-1", &["globex"]).account(ACME);
        let source = other.send().await.refused(403, "other_account");
        assert_eq!(source, json!({ "pointer": "/data" }));
        let call = write(&world, method, "cart-1", &[]).body(linkage(&[ACME]));
        call.back_end().send().await.refused(400, "invalid_type");
    }
    let other = world.get(&carts_of("globex")).account(ACME).send().await;
    let source = other.refused(403, "other_account");
    assert_eq!(source, json!({ "parameter": "accountId" }));
    assert_eq!(world.items().await.len(), 0);
}

#[tokio::test]
async fn an_account_must_hold_the_cart_if_cart_tokens_are_configured() {
    let world = World::with_account_and_cart_tokens().await;
    let post = || write(&world, "POST", "cart-1", &[ACME]).account(ACME);
    post().send().await.refused(403, "cart_token_required");
    let other = post().cart_token(&cart_token("cart-2"));
    other.send().await.refused(401, "invalid_cart_token");
    assert_eq!(world.items().await.len(), 0);
    let held = post().cart_token(&cart_token("cart-1"));
    assert_eq!(held.send().await.status, 200);
}

/// The person who acted is on the association, and on its tombstone.
#[tokio::test]
async fn the_person_who_acts_for_an_account_is_kept() {
    let world = world().await;
    let association = "account_id associated_at associated_by cart_id id write_id";
    let tombstone = "expires_at id removal_id removed_at removed_by write_id";
    for (method, person, attributes) in [
        ("POST", Some("ann"), association),
        ("DELETE", Some("bob"), tombstone),
        ("POST", Some("cleo"), association),
        // A back end that acts for nobody in particular.
        ("DELETE", None, tombstone),
        ("POST", None, association),
    ] {
        let call = write(&world, method, "cart-1", &[ACME]);
        let call = match person {
            None => call.back_end(),
            Some(person) => {
                let token = account_token(ACME, person);
                call.grant("implicit").account_token(&token)
            }
        };
        assert!(call.send().await.status < 300);
        let items = world.items().await;
        let [item] = items.as_slice() else {
            panic!("{items:?}")
        };
        let text = |name| item.get(name).map(|value| value.as_s().unwrap().as_str());
        assert_eq!(text("acted_by"), person, "{method}");
        assert!(text("account_id").is_none_or(|account| account == ACME));
        let names = item.keys().map(String::as_str);
        let mut expected = BTreeSet::from_iter(attributes.split(' '));
        expected.extend(person.map(|_| "acted_by"));
        assert_eq!(BTreeSet::from_iter(names), expected, "{method}");
    }
}
