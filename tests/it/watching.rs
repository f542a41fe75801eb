//! What operators look at: alarms, dashboard, saved queries and the gateway's
//! log name metrics and fields that there are.

use std::collections::{BTreeMap, BTreeSet};

use cart_associations::error::ErrorCode;
use serde_json::{Value, json};

use crate::events::sample;
use crate::support::function::Function;
use crate::support::template::Template;
use crate::support::{World, environment};

const NAMESPACE: &str = "CartAssociations";

/// The outcomes of requests that succeed.
const OUTCOMES: [&str; 5] = ["cleared", "created", "listed", "removed", "unchanged"];

/// The operations of DynamoDB that the function calls.
const OPERATIONS: [&str; 6] = [
    "DeleteItem",
    "GetItem",
    "PutItem",
    "Query",
    "TransactWriteItems",
    "UpdateItem",
];

/// The function's own metrics, each with each of its sets of dimensions.
const OWN: [(&str, &[&str]); 6] = [
    ("duration_ms", &["function_name", "outcome", "service"]),
    ("duration_ms", &["function_name", "service", "start"]),
    (
        "key_set_age_seconds",
        &["function_name", "key_set", "service"],
    ),
    ("key_set_failures", &["function_name", "key_set", "service"]),
    ("store_attempts", &["function_name", "service"]),
    ("store_ms", &["function_name", "service"]),
];

/// Those of AWS that are used, as its documentation lists them.
const OF_AWS: [(&str, &str, &[&str]); 16] = [
    ("AWS/ApiGateway", "4xx", &["ApiId"]),
    ("AWS/ApiGateway", "5xx", &["ApiId"]),
    ("AWS/ApiGateway", "Count", &["ApiId"]),
    ("AWS/ApiGateway", "IntegrationLatency", &["ApiId"]),
    ("AWS/ApiGateway", "Latency", &["ApiId"]),
    ("AWS/DynamoDB", "ConsumedReadCapacityUnits", &["TableName"]),
    (
        "AWS/DynamoDB",
        "ConsumedReadCapacityUnits",
        &["GlobalSecondaryIndexName", "TableName"],
    ),
    ("AWS/DynamoDB", "ConsumedWriteCapacityUnits", &["TableName"]),
    (
        "AWS/DynamoDB",
        "ConsumedWriteCapacityUnits",
        &["GlobalSecondaryIndexName", "TableName"],
    ),
    ("AWS/DynamoDB", "SystemErrors", &["Operation", "TableName"]),
    (
        "AWS/DynamoDB",
        "ThrottledRequests",
        &["Operation", "TableName"],
    ),
    ("AWS/Lambda", "ConcurrentExecutions", &["FunctionName"]),
    ("AWS/Lambda", "Duration", &["FunctionName"]),
    ("AWS/Lambda", "Errors", &["FunctionName"]),
    ("AWS/Lambda", "Throttles", &["FunctionName"]),
    (
        "AWS/Lambda",
        "Errors",
        &["ExecutedVersion", "FunctionName", "Resource"],
    ),
];

/// A metric that something refers to. A value is unknown where it is searched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Metric {
    namespace: String,
    name: String,
    dimensions: BTreeMap<String, Option<String>>,
}

impl Metric {
    /// As an alarm names it.
    fn of_alarm(metric: &Value) -> Self {
        let text = |value: &Value| substituted(value.as_str().unwrap());
        let dimensions = metric["Dimensions"].as_array().unwrap().iter();
        Self {
            namespace: text(&metric["Namespace"]),
            name: text(&metric["MetricName"]),
            dimensions: dimensions
                .map(|dimension| (text(&dimension["Name"]), Some(text(&dimension["Value"]))))
                .collect(),
        }
    }

    /// As a widget names it: texts, and settings behind them.
    fn of_widget(metric: &[Value]) -> Self {
        let texts: Vec<&str> = metric.iter().map_while(Value::as_str).collect();
        let [namespace, name, dimensions @ ..] = texts.as_slice() else {
            panic!("{metric:?}");
        };
        assert_eq!(dimensions.len() % 2, 0, "{metric:?}");
        Self {
            namespace: (*namespace).to_owned(),
            name: (*name).to_owned(),
            dimensions: dimensions
                .chunks(2)
                .map(|pair| (pair[0].to_owned(), Some(pair[1].to_owned())))
                .collect(),
        }
    }

    /// As a search names it: `SEARCH('{Namespace,Dimension} a="b" MetricName="c"', …)`.
    fn of_search(expression: &str) -> Self {
        let search = expression.strip_prefix("SEARCH('{").unwrap();
        let (schema, terms) = search.split_once('}').unwrap();
        let mut schema = schema.split(',');
        let namespace = schema.next().unwrap().to_owned();
        let value = |name: &str| {
            let (_, rest) = terms.split_once(&format!(" {name}=\""))?;
            Some(rest.split_once('"').unwrap().0.to_owned())
        };
        Self {
            namespace,
            name: value("MetricName").unwrap(),
            dimensions: schema.map(|name| (name.to_owned(), value(name))).collect(),
        }
    }

    fn dimension_names(&self) -> Vec<&str> {
        self.dimensions.keys().map(String::as_str).collect()
    }

    /// There is such a metric, and its dimensions can have these values.
    fn check(&self, template: &Template) {
        let dimensions = self.dimension_names();
        let exists = if self.namespace == NAMESPACE {
            OWN.contains(&(self.name.as_str(), &dimensions))
        } else {
            OF_AWS.contains(&(&self.namespace, &self.name, &dimensions))
        };
        assert!(exists, "{self:?}");
        for (name, value) in &self.dimensions {
            let Some(value) = value.as_deref() else {
                continue;
            };
            let is_one = match name.as_str() {
                "service" => value == env!("CARGO_PKG_NAME"),
                "start" => ["cold", "warm"].contains(&value),
                "outcome" => {
                    OUTCOMES.contains(&value)
                        || ErrorCode::ALL.iter().any(|code| code.as_str() == value)
                }
                "key_set" => ["access", "customer"].contains(&value),
                "ApiId" => value == "Api",
                "function_name" | "FunctionName" => value == "Function",
                "Resource" => value == "Function:live",
                "ExecutedVersion" => value == "Function.Version.Version",
                "TableName" => value == "AssociationsTable",
                "Operation" => OPERATIONS.contains(&value),
                "GlobalSecondaryIndexName" => indexes(template).contains(&value),
                _ => false,
            };
            assert!(is_one, "{name} of {self:?}");
        }
    }
}

fn indexes(template: &Template) -> Vec<&str> {
    let table = template.properties("AssociationsTable");
    let indexes = table["GlobalSecondaryIndexes"].as_array().unwrap();
    let names = indexes.iter().map(|index| index["IndexName"].as_str());
    names.collect::<Option<_>>().unwrap()
}

/// The text after `!Sub`: each resource stands as its name.
fn substituted(text: &str) -> String {
    let mut result = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("${") {
        let (name, behind) = after.split_once('}').unwrap();
        result.push_str(before);
        match name.strip_prefix('!') {
            // CloudWatch's own, not CloudFormation's.
            Some(literal) => result.push_str(&format!("${{{literal}}}")),
            None => result.push_str(name),
        }
        rest = behind;
    }
    result + rest
}

fn dashboard(template: &Template) -> Vec<Value> {
    let body = template.properties("Dashboard")["DashboardBody"].as_str();
    let body: Value = serde_json::from_str(&substituted(body.unwrap())).unwrap();
    body["widgets"].as_array().unwrap().clone()
}

fn metrics_of_widgets(widgets: &[Value]) -> BTreeSet<Metric> {
    let mut metrics = BTreeSet::new();
    for metric in widgets
        .iter()
        .filter(|widget| widget["type"] == "metric")
        .flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap())
    {
        let metric = metric.as_array().unwrap();
        metrics.insert(match metric[0]["expression"].as_str() {
            Some(search) => Metric::of_search(search),
            None => Metric::of_widget(metric),
        });
    }
    metrics
}

/// An alarm's metrics, whether it has one or computes with several.
fn metrics_of_alarm(alarm: &Value) -> Vec<Metric> {
    let Some(metrics) = alarm["Metrics"].as_array() else {
        return vec![Metric::of_alarm(alarm)];
    };
    let stats = metrics.iter().map(|metric| &metric["MetricStat"]["Metric"]);
    stats
        .filter(|metric| !metric.is_null())
        .map(Metric::of_alarm)
        .collect()
}

#[test]
fn every_alarm_watches_what_there_is() {
    let template = Template::read();
    let alarms = template.of_type("AWS::CloudWatch::Alarm");
    assert!(!alarms.is_empty());
    for (name, alarm) in alarms {
        let metrics = metrics_of_alarm(alarm);
        assert!(!metrics.is_empty(), "{name}");
        for metric in metrics {
            metric.check(&template);
        }
        let told = json!(["HasAlarmTopic", ["AlarmTopicArn"], "AWS::NoValue"]);
        assert_eq!(
            (&alarm["AlarmActions"], &alarm["OKActions"]),
            (&told, &told),
            "{name}"
        );
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
        assert!(alarm["AlarmDescription"].is_string(), "{name}");
    }
}

#[test]
fn the_table_is_watched_for_every_operation() {
    let template = Template::read();
    for (name, metric) in [
        ("TableThrottlesAlarm", "ThrottledRequests"),
        ("TableErrorsAlarm", "SystemErrors"),
    ] {
        let alarm = template.properties(name);
        let watched = metrics_of_alarm(alarm);
        assert!(watched.iter().all(|one| one.name == metric), "{watched:?}");
        let operations = watched
            .iter()
            .map(|metric| metric.dimensions["Operation"].clone().unwrap());
        assert_eq!(
            operations.collect::<BTreeSet<_>>(),
            OPERATIONS.map(str::to_owned).into()
        );
        // And every one of them counts.
        let ids = alarm["Metrics"].as_array().unwrap().iter();
        let computed = alarm["Metrics"][0]["Expression"].as_str().unwrap();
        for id in ids.skip(1).map(|metric| metric["Id"].as_str().unwrap()) {
            assert!(
                computed.contains(&format!("FILL({id}, 0)")),
                "{id} in {computed}"
            );
        }
    }
}

#[test]
fn a_new_version_goes_back_on_alarms_that_there_are() {
    let template = Template::read();
    let function = template.properties("Function");
    assert_eq!(function["AutoPublishAlias"], "live");
    // Else a changed parameter makes no new version.
    assert_eq!(function["VersionDescription"], "Release");
    assert!(
        function["Description"]
            .as_str()
            .unwrap()
            .contains("${Release}")
    );
    let replaced = &template.of_type("AWS::Serverless::Function");
    assert_eq!(replaced.len(), 1);
    assert_eq!(
        template.section("Resources")["Function"]["UpdateReplacePolicy"],
        "Retain"
    );
    let preference = &function["DeploymentPreference"];
    assert_eq!(preference["Type"], "Deployment");
    let default = &template.section("Parameters")["Deployment"]["Default"];
    assert_eq!(default, "Canary10Percent5Minutes");
    let alarms: Vec<&str> = template
        .of_type("AWS::CloudWatch::Alarm")
        .iter()
        .map(|(name, _)| *name)
        .collect();
    let rolling_back = preference["Alarms"].as_array().unwrap();
    assert!(!rolling_back.is_empty());
    for alarm in rolling_back {
        assert!(alarms.contains(&alarm.as_str().unwrap()), "{alarm}");
    }
}

#[test]
fn the_dashboard_shows_metrics_that_there_are_and_every_one_of_our_own() {
    let template = Template::read();
    let widgets = dashboard(&template);
    let metrics = metrics_of_widgets(&widgets);
    for metric in &metrics {
        metric.check(&template);
    }
    let shown: BTreeSet<(&str, Vec<&str>)> = metrics
        .iter()
        .filter(|metric| metric.namespace == NAMESPACE)
        .map(|metric| (metric.name.as_str(), metric.dimension_names()))
        .collect();
    assert_eq!(
        shown,
        OWN.map(|(name, dimensions)| (name, dimensions.to_vec()))
            .into()
    );

    let alarms: BTreeSet<String> = template
        .of_type("AWS::CloudWatch::Alarm")
        .iter()
        .map(|(name, _)| format!("{name}.Arn"))
        .collect();
    let listed = widgets.iter().filter(|widget| widget["type"] == "alarm");
    let listed = listed.flat_map(|widget| widget["properties"]["alarms"].as_array().unwrap());
    let listed = listed.map(|alarm| alarm.as_str().unwrap().to_owned());
    assert_eq!(listed.collect::<BTreeSet<_>>(), alarms);
}

/// A row is 24 columns wide, and no widget covers another.
#[test]
fn the_widgets_of_the_dashboard_have_places_of_their_own() {
    let mut taken = BTreeSet::new();
    for widget in dashboard(&Template::read()) {
        let of = |name: &str| widget[name].as_u64().unwrap();
        for x in of("x")..of("x") + of("width") {
            for y in of("y")..of("y") + of("height") {
                assert!(x < 24 && taken.insert((x, y)), "{widget}");
            }
        }
    }
}

/// The words of a query that name neither a command, a function nor a text.
fn fields_of_query(query: &str) -> BTreeSet<String> {
    const OF_THE_LANGUAGE: [&str; 20] = [
        "SOURCE",
        "and",
        "as",
        "asc",
        "by",
        "count",
        "desc",
        "fields",
        "filter",
        "in",
        "ispresent",
        "limit",
        "max",
        "not",
        "or",
        "pct",
        "requests",
        "sort",
        "stats",
        "bin",
    ];
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    // What stands between quotes is a text.
    let unquoted = query.replace('\'', "\"");
    let unquoted: String = unquoted.split('"').step_by(2).collect();
    let mut before = "";
    for word in unquoted.split(|c: char| !c.is_ascii_alphanumeric() && !"_@".contains(c)) {
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        if before == "as" {
            aliases.insert(word.to_owned());
        } else if !is_number && !OF_THE_LANGUAGE.contains(&word) {
            names.insert(word.to_owned());
        }
        before = word;
    }
    &names - &aliases
}

#[tokio::test]
async fn the_saved_queries_ask_for_fields_that_the_lines_have() {
    let world = World::new().await;
    let mut function = Function::start(world.env()).await;
    let mut fields = BTreeSet::from(["@timestamp".to_owned()]);
    let mut refused = sample("associate-client-credentials");
    refused["headers"]["authorization"] = json!("Bearer x.y.z");
    for event in [sample("associate-client-credentials"), refused] {
        function.invoke(&event).await;
        let (_, line) = function.line().await;
        fields.extend(line.as_object().unwrap().keys().cloned());
    }
    // Nobody has keys at this address.
    let keyless = environment(&[("ACCESS_TOKEN_JWKS", "http://127.0.0.1:9/keys")]);
    let mut function = Function::start(&keyless).await;
    loop {
        let (_, line) = function.line().await;
        fields.extend(line.as_object().unwrap().keys().cloned());
        if line["message"] == "the key set could not be refreshed" {
            break;
        }
    }

    let template = Template::read();
    let saved = template.of_type("AWS::Logs::QueryDefinition");
    assert_eq!(saved.len(), 3);
    let mut queries: Vec<String> = Vec::new();
    for (name, query) in saved {
        assert_eq!(
            query["LogGroupNames"],
            json!(["FunctionLogGroup"]),
            "{name}"
        );
        queries.push(query["QueryString"].as_str().unwrap().to_owned());
    }
    for widget in dashboard(&template) {
        if widget["type"] == "log" {
            let query = widget["properties"]["query"].as_str().unwrap();
            let query = query.strip_prefix("SOURCE 'FunctionLogGroup' |").unwrap();
            queries.push(query.to_owned());
        }
    }
    for query in queries {
        let asked = fields_of_query(&query);
        assert!(!asked.is_empty());
        assert!(
            asked.is_subset(&fields),
            "{asked:?} in {query}, of {fields:?}"
        );
    }
}

#[test]
fn the_gateway_logs_what_helps_and_nothing_that_was_sent() {
    let template = Template::read();
    let stage = template.properties("ApiStage");
    let format = stage["AccessLogSettings"]["Format"].as_str().unwrap();
    let format: BTreeMap<String, String> = serde_json::from_str(format).unwrap();
    let logged: BTreeSet<&str> = format
        .values()
        .map(|value| value.strip_prefix("$context.").unwrap())
        .collect();
    // No path, because a cart id lets whoever knows it act; no header, no address.
    let expected = [
        "error.message",
        "integration.requestId",
        "integration.status",
        "integrationErrorMessage",
        "integrationLatency",
        "requestId",
        "requestTime",
        "responseLatency",
        "responseLength",
        "routeKey",
        "status",
    ];
    assert_eq!(logged, expected.into());
    let settings = &stage["DefaultRouteSettings"];
    assert_eq!(settings["ThrottlingRateLimit"], "ThrottlingRate");
    assert_eq!(settings["ThrottlingBurstLimit"], "ThrottlingBurst");
}
