//! The templates against the code: what they declare is what the code uses, in
//! both directions. Both are parsed.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};

use cart_associations::api::{ROUTES, Route};
use cart_associations::config::Config;
use dev::proxy::{Proxy, Recorded};
use dev::template::Template;
use serde_json::{Value, json};

use crate::support::call::Call;
use crate::support::{RON, World, engine, environment, linkage_of};

/// The methods that HTTP knows, and that an API could declare.
const METHODS: [&str; 8] = [
    "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "ANY",
];

/// Read by every SDK where the service's own is not set. The template offers
/// the service's own.
const ENDPOINT_OF_ALL_SERVICES: &str = "AWS_ENDPOINT_URL";

/// Of the table that the function uses, the stack's own or another.
const TABLE_ARN: &str =
    "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${Table}";

fn strings<const N: usize>(strings: [&str; N]) -> BTreeSet<String> {
    strings.map(str::to_owned).into()
}

/// The text, or all texts of the list.
pub(crate) fn texts(value: &Value) -> BTreeSet<String> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    match value {
        Value::Array(values) => values.iter().map(text).collect(),
        value => [text(value)].into(),
    }
}

fn declared_routes(template: &Template) -> BTreeSet<String> {
    let routes = template.of_type("AWS::ApiGatewayV2::Route");
    let keys = routes.iter().map(|(_, route)| route["RouteKey"].as_str());
    keys.map(|key| key.unwrap().to_owned()).collect()
}

#[tokio::test]
async fn the_api_has_the_routes_of_the_function_and_nothing_else() {
    let template = Template::read();
    let declared = declared_routes(&template);
    let routes = ROUTES.iter().flat_map(Route::keys);
    assert_eq!(declared, routes.collect());

    let world = World::new().await;
    let paths: BTreeSet<&str> = declared
        .iter()
        .map(|route| route.split_once(' ').unwrap().1)
        .collect();
    for path in paths {
        for method in METHODS {
            let route = format!("{method} {path}");
            let event = json!({
                "version": "2.0",
                "routeKey": route,
                "rawPath": path.replace(['{', '}'], ""),
                "pathParameters": { "cartId": "cart-1", "customerId": RON },
                "requestContext": { "http": { "method": method } },
            });
            let answer = Call::event(world.app(), event).send().await;
            // Without a token, a route that is there goes no further.
            let expected = if declared.contains(&route) { 401 } else { 405 };
            assert_eq!(answer.status, expected, "{route}");
        }
    }
}

#[test]
fn every_route_ends_in_the_alias_that_new_versions_take_over() {
    let template = Template::read();
    for (name, route) in template.of_type("AWS::ApiGatewayV2::Route") {
        assert_eq!(
            route["Target"], "integrations/${ApiIntegration}",
            "{name}: {route}"
        );
        assert_eq!(route["ApiId"], "Api", "{name}");
    }
    let integrations = template.of_type("AWS::ApiGatewayV2::Integration");
    let [(name, integration)] = integrations.as_slice() else {
        panic!("{integrations:?}");
    };
    assert_eq!(*name, "ApiIntegration");
    assert_eq!(integration["IntegrationType"], "AWS_PROXY");
    assert_eq!(integration["PayloadFormatVersion"], "2.0");
    assert_eq!(integration["IntegrationUri"], "Function.Alias");
    let functions = template.of_type("AWS::Serverless::Function");
    let [(name, function)] = functions.as_slice() else {
        panic!("{functions:?}");
    };
    // A route that SAM made of an event would not be among those above.
    assert_eq!(
        (*name, &function["Events"], &function["FunctionUrlConfig"]),
        ("Function", &Value::Null, &Value::Null)
    );
    assert!(function["Timeout"].as_u64().unwrap() < 30);
}

#[test]
fn browsers_may_use_the_routes_and_send_the_headers_that_are_read() {
    let template = Template::read();
    let cors = &template.properties("Api")["CorsConfiguration"];
    let methods = declared_routes(&template)
        .iter()
        .map(|route| route.split_once(' ').unwrap().0.to_owned())
        .collect();
    assert_eq!(texts(&cors["AllowMethods"]), methods);
    assert_eq!(
        cors["AllowOrigins"],
        json!([
            "HasAllowedOrigins",
            "AllowedOrigins",
            ["https://none.invalid"]
        ])
    );
}

#[test]
fn the_environment_is_what_the_function_reads_and_nothing_else() {
    let env = environment(&[]);
    let asked = RefCell::new(BTreeSet::new());
    Config::from_lookup(|name| {
        asked.borrow_mut().insert(name.to_owned());
        env.get(name).cloned()
    })
    .unwrap();
    let mut read = asked.into_inner();

    let template = Template::read();
    let function = template.properties("Function");
    assert_eq!(function["LoggingConfig"]["LogFormat"], "JSON");
    assert_eq!(function["LoggingConfig"]["ApplicationLogLevel"], "LogLevel");
    // Lambda sets it.
    assert!(read.remove("AWS_REGION"));
    assert!(read.remove(ENDPOINT_OF_ALL_SERVICES));
    // They need a VPC and a layer, which the template does not make.
    for name in ["AWS_ENDPOINT_URL_DYNAMODB", "SSL_CERT_FILE"] {
        assert!(read.remove(name), "{name}");
    }

    // It is refused.
    assert!(read.remove("ACCESS_TOKEN_GRANT_CLAIM"));

    let declared = function["Environment"]["Variables"].as_object().unwrap();
    assert_eq!(read, declared.keys().cloned().collect());
}

#[test]
fn a_wrong_parameter_ends_the_deployment_before_it_begins() {
    let template = Template::read();
    for (name, parameter) in template.section("Parameters") {
        let bounded = match parameter["Type"].as_str().unwrap() {
            "Number" => ["AllowedValues", "MaxValue"],
            _ => ["AllowedValues", "AllowedPattern"],
        };
        assert!(
            bounded.iter().any(|bound| !parameter[bound].is_null()),
            "{name} may be anything"
        );
    }
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
        let send = async |method: &str, path: &str, ids: &[&str]| {
            let call = world.get(path).method(method).back_end();
            call.body(linkage_of(kind, ids)).send().await
        };
        for (ids, status) in [
            (&[RON][..], 200),
            (&[RON], 204),
            (&["hermione", "harry"], 200),
            (&[RON, "luna"], 200),
        ] {
            assert_eq!(send("POST", &parties, ids).await.status, status, "{ids:?}");
        }
        for (path, kind) in [(&parties, kind), (&carts, "cart")] {
            send("POST", &parties.replace("cart-1", "cart-2"), &[RON]).await;
            let mut next = Some(format!("{path}?page[limit]=1"));
            while let Some(path) = next {
                let answer = world.get(&path).back_end().send().await;
                next = answer.listed(kind).1;
            }
        }
        send("DELETE", &parties, &[RON]).await.unchanged();
        send("DELETE", &parties, &["hermione", "harry"])
            .await
            .unchanged();
        send("PATCH", &parties, &[]).await.unchanged();
        send("PATCH", &carts, &[]).await.unchanged();
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
    items
        .iter()
        .flat_map(|item| item.as_object().unwrap())
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

/// The statements of all policies of a role.
fn statements(role: &Value) -> Vec<&Value> {
    assert_eq!(role["ManagedPolicyArns"], Value::Null);
    let policies = role["Policies"].as_array().unwrap().iter();
    policies
        .flat_map(|policy| policy["PolicyDocument"]["Statement"].as_array().unwrap())
        // A statement under a condition stands in a list: `!If [Condition, …]`.
        .flat_map(|statement| match statement {
            Value::Array(choice) => choice.iter().filter(|one| one.is_object()).collect(),
            statement => vec![statement],
        })
        .collect()
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
                needed
                    .entry(resource)
                    .or_default()
                    .insert(permission(&kind));
            }
        }
    }

    let template = Template::read();
    let role = template.properties("FunctionRole");
    assert_eq!(template.properties("Function")["Role"], "FunctionRole.Arn");
    let mut allowed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut others = BTreeMap::new();
    for statement in statements(role) {
        assert_eq!(statement["Effect"], "Allow");
        let actions = texts(&statement["Action"]);
        assert!(
            !actions.iter().any(|action| action.contains('*')),
            "{actions:?}"
        );
        for resource in resources(&statement["Resource"]) {
            if actions.iter().all(|action| action.starts_with("dynamodb:")) {
                allowed.entry(resource).or_default().extend(actions.clone());
            } else {
                others.insert(resource, actions.clone());
            }
        }
    }
    assert_eq!(allowed, needed);
    let expected = BTreeMap::from([
        ("TableKeyArn".to_owned(), strings(["kms:Decrypt"])),
        (
            "FunctionLogGroup.Arn".to_owned(),
            strings(["logs:CreateLogStream", "logs:PutLogEvents"]),
        ),
        (
            "*".to_owned(),
            strings(["xray:PutTelemetryRecords", "xray:PutTraceSegments"]),
        ),
    ]);
    assert_eq!(others, expected);
}

#[test]
fn code_deploy_moves_the_alias_of_this_function_and_no_other() {
    let template = Template::read();
    let preference = &template.properties("Function")["DeploymentPreference"];
    assert_eq!(preference["Role"], "DeploymentRole.Arn");
    let mut allowed = BTreeMap::new();
    for statement in statements(template.properties("DeploymentRole")) {
        assert_eq!(statement["Effect"], "Allow");
        allowed.insert(texts(&statement["Resource"]), texts(&statement["Action"]));
    }
    let expected = BTreeMap::from([
        (
            strings(["Function.Arn", "${Function.Arn}:*"]),
            strings([
                "lambda:GetAlias",
                "lambda:GetProvisionedConcurrencyConfig",
                "lambda:UpdateAlias",
            ]),
        ),
        // It only reads, and cannot know how many alarms there are.
        (strings(["*"]), strings(["cloudwatch:DescribeAlarms"])),
    ]);
    assert_eq!(allowed, expected);
}

#[test]
fn the_pipe_reads_the_stream_and_sends_events_and_nothing_else() {
    let template = Template::events();
    let pipe = template.properties("EventPipe");
    assert_eq!(pipe["RoleArn"], "EventPipeRole.Arn");
    let letters = &pipe["SourceParameters"]["DynamoDBStreamParameters"]["DeadLetterConfig"]["Arn"];
    let mut needed = vec![
        (
            pipe["Source"].clone(),
            strings([
                "dynamodb:DescribeStream",
                "dynamodb:GetRecords",
                "dynamodb:GetShardIterator",
                "dynamodb:ListStreams",
            ]),
        ),
        (json!("TableKeyArn"), strings(["kms:Decrypt"])),
        (
            pipe["Enrichment"].clone(),
            strings(["states:StartSyncExecution"]),
        ),
        (pipe["Target"].clone(), strings(["events:PutEvents"])),
        (letters.clone(), strings(["sqs:SendMessage"])),
    ];
    for statement in statements(template.properties("EventPipeRole")) {
        assert_eq!(statement["Effect"], "Allow");
        let allowed = (statement["Resource"].clone(), texts(&statement["Action"]));
        assert_eq!(allowed, needed.remove(0));
    }
    assert!(needed.is_empty());
    assert_eq!(
        template.properties("EventDetailsRole")["Policies"],
        Value::Null
    );
}

#[test]
fn the_table_has_a_stream_only_if_somebody_reads_it() {
    let template = Template::read();
    let conditions = template.section("Conditions");
    assert_eq!(
        conditions["HasStream"],
        json!(["HasReplica", ["TableStream", "true"]])
    );
    let table = template.properties("AssociationsTable");
    assert_eq!(table["StreamSpecification"][0], "HasStream");
}

/// A resource whose name is fixed cannot be replaced, and another stream
/// replaces the pipe.
#[test]
fn what_makes_the_events_can_be_replaced() {
    let template = Template::events();
    for (name, resource) in template.section("Resources") {
        let properties = resource["Properties"].as_object().unwrap();
        for property in ["Name", "StateMachineName", "QueueName", "RoleName"] {
            assert!(!properties.contains_key(property), "{property} of {name}");
        }
    }
}

#[test]
fn a_service_assumes_a_role_for_this_account_alone() {
    let (template, events) = (Template::read(), Template::events());
    let mut roles = template.of_type("AWS::IAM::Role");
    roles.extend(events.of_type("AWS::IAM::Role"));
    assert_eq!(roles.len(), 4);
    for (name, role) in roles {
        let trust = &role["AssumeRolePolicyDocument"]["Statement"];
        let [statement] = trust.as_array().unwrap().as_slice() else {
            panic!("{name}: {trust}");
        };
        let condition = json!({ "StringEquals": { "aws:SourceAccount": "AWS::AccountId" } });
        assert_eq!(statement["Condition"], condition, "{name}");
        let bounded = json!([
            "HasPermissionsBoundary",
            "PermissionsBoundaryArn",
            "AWS::NoValue"
        ]);
        assert_eq!(role["PermissionsBoundary"], bounded, "{name}");
    }
}

fn key_names(schema: &Value) -> BTreeSet<String> {
    let keys = schema["KeySchema"].as_array().unwrap().iter();
    keys.map(|key| key["AttributeName"].as_str().unwrap().to_owned())
        .collect()
}

fn names(object: &Value) -> BTreeSet<String> {
    object.as_object().unwrap().keys().cloned().collect()
}

#[tokio::test]
async fn the_table_has_the_keys_indexes_and_attributes_that_are_used_and_no_other() {
    let plain = recorded(None).await;
    let expiring = recorded(Some("30")).await;
    let items = |calls: &[Recorded]| {
        let all = calls.iter().flat_map(actions);
        let items: Vec<Value> = all
            .filter_map(|(_, parts)| parts.get("Item").cloned())
            .collect();
        assert!(!items.is_empty());
        items
    };
    let template = Template::read();
    let table = template.properties("AssociationsTable");

    let mut keys = BTreeSet::new();
    let mut queries: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (_, parts) in plain.iter().chain(&expiring).flat_map(actions) {
        if let Some(key) = parts.get("Key") {
            keys.insert(names(key));
        }
        if let Some(index) = parts["IndexName"].as_str() {
            let condition = parts["KeyConditionExpression"].as_str().unwrap();
            let words = condition.split(|c: char| !c.is_ascii_alphanumeric() && !"_:".contains(c));
            let attributes =
                words.filter(|word| !word.is_empty() && !word.starts_with(':') && *word != "AND");
            let index = queries.entry(index.to_owned()).or_default();
            index.extend(attributes.map(str::to_owned));
        }
    }
    assert_eq!(keys, [key_names(table)].into());
    let indexes = unconditional(&table["GlobalSecondaryIndexes"]);
    let declared: BTreeMap<String, BTreeSet<String>> = indexes
        .iter()
        .map(|index| {
            let name = index["IndexName"].as_str().unwrap().to_owned();
            (name, key_names(index))
        })
        .collect();
    assert_eq!(queries, declared);

    let key_attributes: BTreeSet<String> = declared
        .into_values()
        .flatten()
        .chain(key_names(table))
        .collect();
    let mut defined = BTreeSet::new();
    for attribute in table["AttributeDefinitions"].as_array().unwrap() {
        let name = attribute["AttributeName"].as_str().unwrap();
        let kind = attribute["AttributeType"].as_str().unwrap();
        for item in items(&plain) {
            if let Some(value) = item.get(name) {
                assert_eq!(names(value), strings([kind]), "{name}");
            }
        }
        defined.insert(name.to_owned());
    }
    assert_eq!(defined, key_attributes);

    let written = names(&items(&plain)[0]);
    let with_expiry = names(&items(&expiring)[0]);
    let ttl = &table["TimeToLiveSpecification"];
    let added: Vec<&String> = with_expiry.difference(&written).collect();
    assert_eq!(added, [ttl["AttributeName"].as_str().unwrap()]);
    assert_eq!(ttl["Enabled"], true);

    // The attributes of an item that the lists read.
    for index in indexes {
        let name = index["IndexName"].as_str().unwrap();
        let party = match name.contains("account") {
            true => "account_id",
            false => "customer_id",
        };
        let read = strings(["associated_at", "cart_id", party, "expires_at"]);
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
    members
        .map(|member| match member {
            Value::Array(choice) => &choice[1],
            member => member,
        })
        .collect()
}

#[test]
fn the_table_outlives_mistakes() {
    let template = Template::read();
    let resource = &template.section("Resources")["AssociationsTable"];
    assert_eq!(resource["Type"], "AWS::DynamoDB::GlobalTable");
    assert_eq!(resource["DeletionPolicy"], "Retain");
    assert_eq!(resource["UpdateReplacePolicy"], "Retain");
    let table = &resource["Properties"];
    assert_eq!(table["BillingMode"], "PAY_PER_REQUEST");
    assert_eq!(table["SSESpecification"]["SSEEnabled"], true);
    assert_eq!(
        template.section("Conditions")["IsProd"],
        json!(["Stage", "prod"])
    );
    let replicas = unconditional(&table["Replicas"]);
    let regions: Vec<&Value> = replicas.iter().map(|replica| &replica["Region"]).collect();
    assert_eq!(regions, ["AWS::Region", "ReplicaRegion"]);
    for replica in replicas {
        let protection = &replica["DeletionProtectionEnabled"];
        assert_eq!(*protection, json!(["IsProd", true, false]));
        let recovery = &replica["PointInTimeRecoverySpecification"];
        assert_eq!(recovery["PointInTimeRecoveryEnabled"], true);
    }
}

#[test]
fn what_costs_money_is_off_by_default() {
    let template = Template::read();
    for (name, default) in [
        ("Tracing", "PassThrough"),
        ("ProvisionedConcurrency", ""),
        ("WarmWriteUnits", ""),
        ("ReplicaRegion", ""),
        ("TableStream", "false"),
    ] {
        assert_eq!(
            template.section("Parameters")[name]["Default"],
            default,
            "{name}"
        );
    }
    assert_eq!(template.properties("Function")["Tracing"], "Tracing");
}

/// A flood of forged tokens is paid for, see docs/costs.md. The smallest
/// accounts have a burst of 1,250 for all APIs of a region.
#[test]
fn a_route_takes_little_by_default() {
    let template = Template::read();
    let default = |name: &str| template.section("Parameters")[name]["Default"].as_u64();
    assert!(default("ThrottlingRate").unwrap() <= 100);
    assert!(default("ThrottlingBurst").unwrap() <= 1250 / 5);
}
