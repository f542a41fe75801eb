//! The templates and the page on alarms against the running code: what they name is what
//! it uses and logs. `tests/outside/templates.py` has what can be read from the templates
//! alone.

use std::collections::{BTreeMap, BTreeSet};

use cart_associations::error::ErrorCode;
use dev::proxy::{Proxy, Recorded};
use dev::template::Template;
use serde_json::{Value, json};

use crate::docs::variables;
use crate::support::function::Function;
use crate::support::{RON, World, closed_url, engine, environment, linkage_of, sample};

const ALARMS: &str = include_str!("../../docs/alarms.md");

/// Fields of Lambda's own lines in JSON format.
///
/// Source: "Lambda Telemetry API Event schema reference", AWS.
const OF_LAMBDA: &str = "type record.errorType record.requestId record.status";

/// Of the table that the function uses, the stack's own or another.
const TABLE_ARN: &str =
    "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${Table}";

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

/// The text, or all texts of the list.
fn texts(value: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => [text(value)].into(),
    }
}

#[test]
fn the_environment_is_what_the_function_reads_and_nothing_else() {
    let mut read = variables();
    let template = Template::read();
    let function = template.properties("Function");
    assert_eq!(function["LoggingConfig"]["LogFormat"], "JSON");
    assert_eq!(function["LoggingConfig"]["ApplicationLogLevel"], "LogLevel");
    for name in [
        // Lambda sets it.
        "AWS_REGION",
        // They need a VPC and a layer, which the template does not make.
        "AWS_ENDPOINT_URL",
        "AWS_ENDPOINT_URL_DYNAMODB",
        "SSL_CERT_FILE",
        // It is refused.
        "ACCESS_TOKEN_GRANT_CLAIM",
    ] {
        assert!(read.remove(name), "{name}");
    }
    let declared = function["Environment"]["Variables"].as_object().unwrap();
    assert_eq!(read, declared.keys().cloned().collect());
}

/// Every operation of the store, and each kind of action of a transaction.
async fn recorded(lifetime: Option<&str>) -> Vec<Recorded> {
    let proxy = Proxy::start(engine()).await;
    let mut variables = vec![("AWS_ENDPOINT_URL_DYNAMODB", proxy.endpoint.as_str())];
    variables.extend(lifetime.map(|days| ("ASSOCIATION_LIFETIME_DAYS", days)));
    let world = World::with(&variables).await;
    // Those that made the table.
    proxy.take_recorded();

    for kind in ["customer", "account"] {
        let parties = format!("/v2/carts/cart-1/relationships/{kind}s");
        let carts = format!("/v2/{kind}s/ron/relationships/carts");
        for (method, path, ids, status) in [
            ("POST", &parties, &[RON][..], 200),
            ("POST", &parties, &[RON], 204),
            ("POST", &parties, &["hermione", "harry"], 200),
            ("POST", &parties, &[RON, "luna"], 200),
            ("GET", &parties, &[], 200),
            ("GET", &carts, &[], 200),
            ("DELETE", &parties, &[RON], 204),
            ("DELETE", &parties, &["hermione", "harry"], 204),
            ("PATCH", &parties, &[], 204),
            ("PATCH", &carts, &[], 204),
        ] {
            let call = world.get(path).method(method).back_end();
            let answer = call.body(linkage_of(kind, ids)).send().await;
            assert_eq!(answer.status, status, "{method} {ids:?}");
        }
    }
    world.associate("cart-1", &[RON]).send().await;
    let own = world.get("/v2/carts/cart-1/relationships/customers");
    own.customer(RON).send().await.listed("customer");
    proxy.take_recorded()
}

/// What a transaction is made of: the kind of each action, and its parts.
fn actions(call: &Recorded) -> Vec<(String, Value)> {
    let body = call.body();
    let Some(items) = body["TransactItems"].as_array() else {
        return vec![(call.operation.clone(), body)];
    };
    let actions = items.iter().flat_map(|item| item.as_object().unwrap());
    actions
        .map(|(kind, parts)| (kind.clone(), parts.clone()))
        .collect()
}

/// The resources of a statement of a policy. A table has its name by
/// `!Sub [text, {Table: !If [HasExistingTable, …]}]`.
fn resources(value: &Value) -> Vec<String> {
    let Value::Array(values) = value else {
        return vec![value.as_str().unwrap().to_owned()];
    };
    if values.len() != 2 || !values[1].is_object() {
        return values.iter().flat_map(resources).collect();
    }
    let table = ["HasExistingTable", "ExistingTableName", "AssociationsTable"];
    assert_eq!(values[1], json!({ "Table": table }));
    vec![values[0].as_str().unwrap().to_owned()]
}

/// The action of IAM that an operation, or an action of a transaction, needs.
fn permission(kind: &str) -> String {
    match kind {
        "Put" | "Update" | "Delete" | "Get" => format!("dynamodb:{kind}Item"),
        "ConditionCheck" => "dynamodb:ConditionCheckItem".to_owned(),
        operation => format!("dynamodb:{operation}"),
    }
}

#[tokio::test]
async fn the_function_may_do_what_it_does_and_nothing_else() {
    let mut needed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for lifetime in [None, Some("30")] {
        for call in recorded(lifetime).await {
            for (kind, parts) in actions(&call) {
                // The function reads all indexes, see below.
                let resource = match parts["IndexName"].as_str() {
                    Some(_) => format!("{TABLE_ARN}/index/*"),
                    None => TABLE_ARN.to_owned(),
                };
                let permissions = needed.entry(resource).or_default();
                permissions.insert(permission(&kind));
            }
        }
    }
    for (resource, actions) in [
        ("TableKeyArn", "kms:Decrypt"),
        (
            "FunctionLogGroup.Arn",
            "logs:CreateLogStream logs:PutLogEvents",
        ),
        ("*", "xray:PutTelemetryRecords xray:PutTraceSegments"),
    ] {
        needed.insert(resource.to_owned(), words(actions));
    }

    let template = Template::read();
    assert_eq!(template.properties("Function")["Role"], "FunctionRole.Arn");
    let policies = &template.properties("FunctionRole")["Policies"];
    let statements = policies.as_array().unwrap().iter();
    let statements = statements
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap())
        // A statement under a condition stands in a list: `!If [Condition, …]`.
        .flat_map(|statement| match statement {
            Value::Array(choice) => choice.iter().filter(|one| one.is_object()).collect(),
            statement => vec![statement],
        });
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for statement in statements {
        for resource in resources(&statement["Resource"]) {
            let actions = allowed.entry(resource).or_default();
            actions.extend(texts(&statement["Action"]));
        }
    }
    assert_eq!(allowed, needed);
}

fn key_names(schema: &Value) -> BTreeSet<String> {
    let keys = schema["KeySchema"].as_array().unwrap().iter();
    keys.map(|key| key["AttributeName"].as_str().unwrap().to_owned())
        .collect()
}

/// The names of an object's members.
fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

/// The tests make their tables from the template. What the function uses and the template
/// lacks fails there.
#[tokio::test]
async fn the_table_has_no_index_and_no_attribute_that_is_not_used() {
    let plain = recorded(None).await;
    let template = Template::read();
    let table = template.properties("AssociationsTable");

    let attributes = |calls: Vec<Recorded>| -> BTreeSet<String> {
        let all = calls.iter().flat_map(actions);
        let items = all.filter_map(|(_, parts)| parts.get("Item").map(names));
        items.flatten().collect()
    };
    let queried = plain.iter().flat_map(actions);
    let queried = queried.filter_map(|(_, parts)| parts.get("IndexName").map(texts));
    let queried: BTreeSet<String> = queried.flatten().collect();
    let expiring = attributes(recorded(Some("30")).await);
    let ttl = &table["TimeToLiveSpecification"];
    let added = &expiring - &attributes(plain);
    assert_eq!(added, texts(&ttl["AttributeName"]));
    assert_eq!(ttl["Enabled"], true);

    let indexes = unconditional(&table["GlobalSecondaryIndexes"]);
    let declared = indexes.iter().flat_map(|index| texts(&index["IndexName"]));
    assert_eq!(queried, declared.collect());
    let keys = indexes.iter().copied().chain([table]).flat_map(key_names);
    let defined = table["AttributeDefinitions"].as_array().unwrap().iter();
    let defined = defined.flat_map(|attribute| texts(&attribute["AttributeName"]));
    assert_eq!(BTreeSet::from_iter(defined), keys.collect());
    // The attributes of an item that the lists read.
    for index in indexes {
        let is_of_accounts = index["IndexName"].as_str().unwrap().contains("account");
        let party = if is_of_accounts {
            "account"
        } else {
            "customer"
        };
        let read = words(&format!("associated_at cart_id {party}_id expires_at"));
        let projection = &index["Projection"];
        assert_eq!(projection["ProjectionType"], "INCLUDE");
        let mut projected = texts(&projection["NonKeyAttributes"]);
        assert!(projected.is_disjoint(&key_names(index)));
        projected.extend(key_names(index));
        assert_eq!(projected, read, "{index}");
    }
}

/// The members of a list, whether they depend on a condition or not.
fn unconditional(list: &Value) -> Vec<&Value> {
    let members = list.as_array().unwrap().iter();
    let choices = members.map(|member| member.as_array().map_or(member, |choice| &choice[1]));
    choices.collect()
}

/// The codes that alarms are about: failures and refused tokens.
#[test]
fn the_codes_that_notify_people_are_on_the_page() {
    let notify = |code: &&ErrorCode| {
        let refused = code.as_str().starts_with("invalid_") && code.as_str().ends_with("_token");
        refused || code.status().is_server_error()
    };
    for code in ErrorCode::ALL.iter().filter(notify) {
        let code = format!("`{}`", code.as_str());
        assert!(ALARMS.contains(&code), "{code}");
    }
}

/// The words of a query that name neither a command, a function nor a text.
fn fields_of_query(query: &str) -> BTreeSet<String> {
    const OF_THE_LANGUAGE: &str = "and as asc bin by count desc fields filter in ispresent like \
        limit max not or pct requests sort stats";
    // What stands between quotes is a text, and between slashes a pattern.
    let unquoted = query.replace(['\'', '/'], "\"");
    let unquoted: String = unquoted.split('"').step_by(2).collect();
    let all = unquoted.split(|c: char| !c.is_ascii_alphanumeric() && !"_@.".contains(c));
    let is_word = |word: &&str| !word.is_empty() && word.parse::<u32>().is_err();
    let all: Vec<&str> = all.filter(is_word).collect();
    let aliases = all.windows(2).filter(|pair| pair[0] == "as");
    let aliases = aliases.map(|pair| pair[1].to_owned()).collect();
    let names: BTreeSet<String> = all.iter().map(|word| (*word).to_owned()).collect();
    &(&names - &aliases) - &words(OF_THE_LANGUAGE)
}

#[tokio::test]
async fn the_saved_queries_ask_for_fields_that_the_lines_have() {
    let world = World::new().await;
    // The last, where DynamoDB's answer to a call that failed has it.
    let fields = ["@timestamp", "@message", "store_request_id"].into_iter();
    let fields = fields.chain(OF_LAMBDA.split(' ')).map(str::to_owned);
    let mut fields: BTreeSet<String> = fields.collect();
    let event = sample("associate-client-credentials");
    let strict = environment(&[("ACCESS_TOKEN_CLAIMS", r#"{"tenant":"shop"}"#)]);
    let keyless = environment(&[("ACCESS_TOKEN_JWKS", &closed_url())]);
    for (env, last) in [
        (world.env(), "request"),
        (&strict, "request"),
        (&keyless, "the key set could not be refreshed"),
    ] {
        let mut function = Function::start(env).await;
        function.invoke(&event).await;
        loop {
            let (_, line) = function.line().await;
            fields.extend(names(&line));
            if line["message"] == last {
                break;
            }
        }
    }

    let template = Template::watching();
    let saved = template.of_type("AWS::Logs::QueryDefinition");
    assert_eq!(saved.len(), 4);
    let main = Template::read();
    let settings = &main.properties("ApiStage")["AccessLogSettings"];
    let format = serde_json::from_str(settings["Format"].as_str().unwrap());
    let of_the_gateway = names(&format.unwrap());
    for (name, query) in saved {
        let group = query["LogGroupNames"][0].as_str();
        let fields = match group.unwrap() {
            "AccessLogGroup" => &of_the_gateway,
            "FunctionLogGroup" => &fields,
            group => panic!("{group}"),
        };
        let asked = fields_of_query(query["QueryString"].as_str().unwrap());
        assert!(!asked.is_empty());
        let context = format!("{asked:?} in {name}, of {fields:?}");
        assert!(asked.is_subset(fields), "{context}");
    }
}
