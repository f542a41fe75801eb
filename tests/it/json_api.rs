//! The rules of JSON:API 1.1 that concern relationships, each in our own words and
//! with a test.

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::call::Call;
use crate::support::{RON, World, linkage};

const CUSTOMERS: &str = "/v2/carts/cart-1/relationships/customers";

/// A rule, a request that it applies to, and a check of the answer.
struct Rule {
    text: &'static str,
    request: fn(&World) -> Call<'_>,
    holds: fn(&Answer) -> bool,
}

fn list(world: &World) -> Call<'_> {
    world.get(CUSTOMERS).back_end()
}

const RULES: &[Rule] = &[
    Rule {
        text: "a to-many relationship is shown as an array of resource identifiers",
        request: |world| list(world),
        holds: |answer| answer.document()["data"][0]["id"] == json!(RON),
    },
    Rule {
        text: "an empty to-many relationship is an empty array, never null",
        request: |world| {
            world
                .get("/v2/carts/empty/relationships/customers")
                .back_end()
        },
        holds: |answer| answer.document()["data"] == json!([]),
    },
    Rule {
        text: "a resource identifier has a type and an id, both strings, and may have meta",
        request: |world| list(world),
        holds: |answer| {
            let member = &answer.document()["data"][0];
            member["type"] == json!("customer")
                && member["id"].is_string()
                && member["meta"].is_object()
        },
    },
    Rule {
        text: "a relationship's top-level links hold a link to itself",
        request: |world| list(world),
        holds: |answer| answer.document()["links"]["self"] == json!(CUSTOMERS),
    },
    Rule {
        text: "POST adds to a relationship what is not in it yet",
        request: |world| world.associate("cart-1", &["new"]),
        holds: |answer| answer.status == 200 && answer.document() == linkage(&["new"]),
    },
    Rule {
        text: "a POST of a member that is there already succeeds and adds nothing",
        request: |world| world.associate("cart-1", &[RON]),
        holds: |answer| answer.status == 204,
    },
    Rule {
        text: "a DELETE of members that are missing succeeds",
        request: |world| world.dissociate("cart-1", &["nobody", "no-one"]),
        holds: |answer| answer.status == 204,
    },
    Rule {
        text: "a request succeeds or fails as a whole",
        request: |world| {
            let data =
                json!([{ "type": "customer", "id": "good" }, { "type": "cart", "id": "bad" }]);
            world
                .post("cart-1")
                .back_end()
                .body(json!({ "data": data }))
        },
        holds: |answer| answer.status == 400,
    },
    Rule {
        text: "a to-many relationship takes an array, not a single identifier",
        request: |world| {
            world
                .post("cart-1")
                .back_end()
                .body(json!({ "data": { "type": "customer", "id": "x" } }))
        },
        holds: |answer| {
            answer.status == 400 && answer.errors("source") == [json!({ "pointer": "/data" })]
        },
    },
    Rule {
        text: "a content type of JSON:API with an unknown extension is 415",
        request: |world| {
            world
                .associate("cart-1", &["x"])
                .header("content-type", "application/vnd.api+json;ext=\"https://x\"")
        },
        holds: |answer| answer.status == 415,
    },
    Rule {
        text: "an Accept header that has JSON:API only with unknown extensions is 406",
        request: |world| list(world).header("accept", "application/vnd.api+json;ext=\"https://x\""),
        holds: |answer| answer.status == 406,
    },
    Rule {
        text: "an unknown profile in Accept is ignored",
        request: |world| {
            list(world).header("accept", "application/vnd.api+json;profile=\"https://x\"")
        },
        holds: |answer| answer.header("content-type") == Some("application/vnd.api+json"),
    },
    Rule {
        text: "an unknown profile in a content type is ignored",
        request: |world| {
            world.associate("cart-1", &["x"]).header(
                "content-type",
                "application/vnd.api+json;profile=\"https://x https://y\"",
            )
        },
        holds: |answer| answer.status == 200,
    },
    Rule {
        text: "a content type of JSON:API with another parameter is 415",
        request: |world| {
            world
                .associate("cart-1", &["x"])
                .header("content-type", "application/vnd.api+json;charset=utf-8")
        },
        holds: |answer| answer.status == 415,
    },
    Rule {
        text: "filter and fields are 400 if they are not supported",
        request: |world| {
            world
                .get(&format!("{CUSTOMERS}?filter[id]=a&fields[customer]=id"))
                .back_end()
        },
        holds: |answer| {
            answer.status == 400
                && answer.errors("source")
                    == [
                        json!({ "parameter": "filter" }),
                        json!({ "parameter": "fields" }),
                    ]
        },
    },
    Rule {
        text: "a custom parameter whose name is made only of a to z is 400",
        request: |world| world.get(&format!("{CUSTOMERS}?foo=1")).back_end(),
        holds: |answer| {
            answer.status == 400 && answer.errors("source") == [json!({ "parameter": "foo" })]
        },
    },
    Rule {
        text: "a server whose answer depends on Accept has a Vary header",
        request: |world| list(world),
        holds: |answer| answer.header("vary") == Some("Accept"),
    },
    Rule {
        text: "an error document has errors, an array, and no data beside it",
        request: |world| world.get(CUSTOMERS),
        holds: |answer| {
            let document = answer.document();
            document["errors"].is_array() && document.get("data").is_none()
        },
    },
    Rule {
        text: "an error's status is the HTTP status as a string",
        request: |world| world.get(CUSTOMERS),
        holds: |answer| answer.errors("status") == ["401"],
    },
    Rule {
        text: "a pointer of an error's source points to an existing value or the whole document",
        request: |world| world.post("cart-1").back_end().body(json!({})),
        holds: |answer| answer.errors("source") == [json!({ "pointer": "" })],
    },
    Rule {
        text: "an error's source names the query parameter at fault",
        request: |world| world.get(&format!("{CUSTOMERS}?page[limit]=x")).back_end(),
        holds: |answer| answer.errors("source") == [json!({ "parameter": "page[limit]" })],
    },
    Rule {
        text: "include is 400 if it is not supported",
        request: |world| {
            world
                .get(&format!("{CUSTOMERS}?include=customers"))
                .back_end()
        },
        holds: |answer| {
            answer.status == 400 && answer.errors("source") == [json!({ "parameter": "include" })]
        },
    },
    Rule {
        text: "sort is 400 if it is not supported",
        request: |world| world.get(&format!("{CUSTOMERS}?sort=id")).back_end(),
        holds: |answer| {
            answer.status == 400 && answer.errors("source") == [json!({ "parameter": "sort" })]
        },
    },
    Rule {
        text: "the link to the next page is absent on the last",
        request: |world| list(world),
        holds: |answer| answer.document()["links"].get("next").is_none(),
    },
    Rule {
        text: "links of pages keep the parameters of the request",
        request: |world| world.get(&format!("{CUSTOMERS}?page[limit]=1")).back_end(),
        holds: |answer| {
            let links = &answer.document()["links"];
            let keeps = |link: &Value| {
                link.as_str()
                    .is_some_and(|link| link.contains("page%5Blimit%5D=1"))
            };
            keeps(&links["self"]) && keeps(&links["next"])
        },
    },
];

#[tokio::test]
async fn the_rules_for_relationships_hold() {
    for rule in RULES {
        let world = World::new().await;
        world
            .associate("cart-1", &[RON, "zoe"])
            .send()
            .await
            .created(&[RON, "zoe"]);
        let answer = (rule.request)(&world).send().await;
        assert!((rule.holds)(&answer), "{}: {answer:?}", rule.text);
        if answer.status >= 400 {
            assert_eq!(world.stored().await.len(), 2, "{}", rule.text);
        }
    }
}
