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
const METHODS: &str = "DELETE GET HEAD OPTIONS PATCH POST PUT ANY";

/// Read by every SDK where the service's own is not set. The template offers
/// the service's own.
const ENDPOINT_OF_ALL_SERVICES: &str = "AWS_ENDPOINT_URL";

/// Of the table that the function uses, the stack's own or another.
const TABLE_ARN: &str =
    "arn:${AWS::Partition}:dynamodb:${AWS::Region}:${AWS::AccountId}:table/${Table}";

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
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
    let paths = declared
        .iter()
        .map(|route| route.split_once(' ').unwrap().1);
    for path in BTreeSet::from_iter(paths) {
        for method in METHODS.split(' ') {
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
        let target = &route["Target"];
        assert_eq!(target, "integrations/${ApiIntegration}", "{name}");
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
    assert_eq!(*name, "Function");
    assert_eq!(function["Events"], Value::Null);
    assert_eq!(function["FunctionUrlConfig"], Value::Null);
    assert!(function["Timeout"].as_u64().unwrap() < 30);
}

#[test]
fn browsers_may_use_the_routes_and_send_the_headers_that_are_read() {
    let template = Template::read();
    let cors = &template.properties("Api")["CorsConfiguration"];
    let routes = declared_routes(&template);
    let methods = routes.iter().map(|route| route.split_once(' ').unwrap().0);
    let methods = methods.map(str::to_owned).collect();
    assert_eq!(texts(&cors["AllowMethods"]), methods);
    let none = ["https://none.invalid"];
    let origins = json!(["HasAllowedOrigins", "AllowedOrigins", none]);
    assert_eq!(cors["AllowOrigins"], origins);
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
        let is_bounded = bounded.iter().any(|bound| !parameter[bound].is_null());
        assert!(is_bounded, "{name} may be anything");
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
        for (method, path, ids) in [
            ("DELETE", &parties, &[RON][..]),
            ("DELETE", &parties, &["hermione", "harry"]),
            ("PATCH", &parties, &[]),
            ("PATCH", &carts, &[]),
        ] {
            send(method, path, ids).await.unchanged();
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
                let permissions = needed.entry(resource).or_default();
                permissions.insert(permission(&kind));
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
        let is_exact = actions.iter().all(|action| !action.contains('*'));
        assert!(is_exact, "{actions:?}");
        for resource in resources(&statement["Resource"]) {
            if actions.iter().all(|action| action.starts_with("dynamodb:")) {
                allowed.entry(resource).or_default().extend(actions.clone());
            } else {
                others.insert(resource, actions.clone());
            }
        }
    }
    assert_eq!(allowed, needed);
    let expected = [
        ("TableKeyArn", "kms:Decrypt"),
        (
            "FunctionLogGroup.Arn",
            "logs:CreateLogStream logs:PutLogEvents",
        ),
        ("*", "xray:PutTelemetryRecords xray:PutTraceSegments"),
    ];
    let expected = expected.map(|(resource, actions)| (resource.to_owned(), words(actions)));
    assert_eq!(others, expected.into());
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
    let alias = "lambda:GetAlias lambda:GetProvisionedConcurrencyConfig lambda:UpdateAlias";
    let expected = BTreeMap::from([
        (words("Function.Arn ${Function.Arn}:*"), words(alias)),
        // It only reads, and cannot know how many alarms there are.
        (words("*"), words("cloudwatch:DescribeAlarms")),
    ]);
    assert_eq!(allowed, expected);
}

#[test]
fn the_pipe_reads_the_stream_and_sends_events_and_nothing_else() {
    let template = Template::events();
    let pipe = template.properties("EventPipe");
    assert_eq!(pipe["RoleArn"], "EventPipeRole.Arn");
    let letters = &pipe["SourceParameters"]["DynamoDBStreamParameters"]["DeadLetterConfig"]["Arn"];
    let read = "dynamodb:DescribeStream dynamodb:GetRecords dynamodb:GetShardIterator \
        dynamodb:ListStreams";
    let key = json!("TableKeyArn");
    let needed = [
        (&pipe["Source"], read),
        (&key, "kms:Decrypt"),
        (&pipe["Enrichment"], "states:StartSyncExecution"),
        (&pipe["Target"], "events:PutEvents"),
        (letters, "sqs:SendMessage"),
    ];
    let statements = statements(template.properties("EventPipeRole"));
    let allowed = statements.into_iter().map(|statement| {
        assert_eq!(statement["Effect"], "Allow");
        (&statement["Resource"], texts(&statement["Action"]))
    });
    let needed = needed.map(|(resource, actions)| (resource, words(actions)));
    assert_eq!(allowed.collect::<Vec<_>>(), needed);
    let details = template.properties("EventDetailsRole");
    assert_eq!(details["Policies"], Value::Null);
}

#[test]
fn the_table_has_a_stream_only_if_somebody_reads_it() {
    let template = Template::read();
    let condition = &template.section("Conditions")["HasStream"];
    let expected = json!(["HasReplica", ["TableStream", "true"]]);
    assert_eq!(*condition, expected);
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
        let (is_bounded, boundary) = ("HasPermissionsBoundary", "PermissionsBoundaryArn");
        let bounded = json!([is_bounded, boundary, "AWS::NoValue"]);
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
        let items = all.filter_map(|(_, parts)| parts.get("Item").cloned());
        let items: Vec<Value> = items.collect();
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
    let declared = indexes.iter().map(|index| {
        let name = index["IndexName"].as_str().unwrap().to_owned();
        (name, key_names(index))
    });
    assert_eq!(queries, declared.collect());

    let key_attributes = queries.into_values().flatten();
    let key_attributes: BTreeSet<String> = key_attributes.chain(key_names(table)).collect();
    let mut defined = BTreeSet::new();
    for attribute in table["AttributeDefinitions"].as_array().unwrap() {
        let name = attribute["AttributeName"].as_str().unwrap();
        let kind = attribute["AttributeType"].as_str().unwrap();
        for item in items(&plain) {
            if let Some(value) = item.get(name) {
                assert_eq!(names(value), words(kind), "{name}");
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
        let party = if name.contains("account") {
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
    let condition = &template.section("Conditions")["IsProd"];
    assert_eq!(*condition, json!(["Stage", "prod"]));
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
        let parameter = &template.section("Parameters")[name];
        assert_eq!(parameter["Default"], default, "{name}");
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
