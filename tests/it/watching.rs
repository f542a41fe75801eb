//! What operators look at: alarms, dashboard, saved queries and the gateway's
//! log name metrics and fields that there are. A page for people is read only
//! for its headings.

use std::collections::{BTreeMap, BTreeSet};

use cart_associations::error::ErrorCode;
use dev::template::Template;
use serde_json::{Value, json};

use crate::support::function::Function;
use crate::support::sample;
use crate::support::{World, closed_url, environment};
use crate::template::texts;

const NAMESPACE: &str = "CartAssociations";

/// The outcomes of requests that succeed.
const OUTCOMES: [&str; 5] = ["cleared", "created", "listed", "removed", "unchanged"];

/// Has a section for each alarm.
const ALARMS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/alarms.md"));

/// The function's own metrics, each with each of its sets of dimensions.
const OWN: [&str; 8] = [
    "duration_ms function_name outcome service",
    "duration_ms function_name service start",
    "key_set_age_seconds function_name key_set service",
    "key_set_failures function_name key_set service",
    "store_attempts function_name service",
    "store_ms function_name service",
    "token_refused function_name service",
    "token_refused function_name function_version service",
];

/// Counted from logs: the metric with its dimension, the log, the filter, and the
/// field that the dimension is taken from.
const COUNTED: [(&str, &str, &str, &str); 2] = [
    (
        "function_exits function_name",
        "FunctionLogGroup",
        r#"{ $.message = "the runtime stopped" }"#,
        "$.function_name",
    ),
    (
        "gateway_throttles ApiId",
        "AccessLogGroup",
        r#"{ $.status = "429" }"#,
        "$.apiId",
    ),
];

/// Fields of Lambda's own lines in JSON format.
///
/// Source: "Lambda Telemetry API Event schema reference", AWS.
const OF_LAMBDA: &str = "type record.errorType record.requestId record.status";

/// Those of AWS that are used, as its documentation lists them.
const OF_AWS: [&str; 18] = [
    "AWS/ApiGateway 4xx ApiId",
    "AWS/ApiGateway 5xx ApiId",
    "AWS/ApiGateway Count ApiId",
    "AWS/ApiGateway IntegrationLatency ApiId",
    "AWS/ApiGateway Latency ApiId",
    "AWS/DynamoDB ConsumedReadCapacityUnits GlobalSecondaryIndexName TableName",
    "AWS/DynamoDB ConsumedReadCapacityUnits TableName",
    "AWS/DynamoDB ConsumedWriteCapacityUnits GlobalSecondaryIndexName TableName",
    "AWS/DynamoDB ConsumedWriteCapacityUnits TableName",
    "AWS/DynamoDB SystemErrors Operation TableName",
    "AWS/DynamoDB ThrottledRequests Operation TableName",
    "AWS/EventBridge/Pipes ExecutionFailed PipeName",
    "AWS/Lambda ConcurrentExecutions FunctionName",
    "AWS/Lambda Duration FunctionName",
    "AWS/Lambda Errors ExecutedVersion FunctionName Resource",
    "AWS/Lambda Errors FunctionName",
    "AWS/Lambda Throttles FunctionName",
    "AWS/SQS ApproximateNumberOfMessagesVisible QueueName",
];

fn codes() -> impl Iterator<Item = &'static str> {
    ErrorCode::ALL.iter().map(|code| code.as_str())
}

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

    /// As a query of Metrics Insights names it:
    /// `SELECT SUM(Name) FROM SCHEMA("Namespace", Dimension, …) WHERE …`.
    fn of_query(expression: &str) -> Self {
        let query = expression.strip_prefix("SELECT ").unwrap();
        let (name, query) = query.split_once(" FROM SCHEMA(").unwrap();
        let (_, name) = name.strip_suffix(')').unwrap().split_once('(').unwrap();
        let (schema, condition) = query.split_once(") WHERE ").unwrap();
        let mut schema = schema.split(", ");
        let namespace = schema.next().unwrap().trim_matches('"').to_owned();
        let (only, value) = condition.trim().split_once(" = ").unwrap();
        let value = value.trim_matches('\'').to_owned();
        Self {
            namespace,
            name: name.to_owned(),
            dimensions: schema
                .map(|name| (name.to_owned(), (name == only).then(|| value.clone())))
                .collect(),
        }
    }

    /// The name, without this project's namespace, and the dimensions in their
    /// order.
    fn signature(&self) -> String {
        let mut words: Vec<&str> = vec![&self.namespace, &self.name];
        words.extend(self.dimensions.keys().map(String::as_str));
        words.retain(|word| *word != NAMESPACE);
        words.join(" ")
    }

    /// There is such a metric, and its dimensions can have these values.
    fn check(&self) {
        let signature = self.signature();
        let known = OWN.iter().chain(&OF_AWS).copied();
        let mut known = known.chain(COUNTED.map(|one| one.0));
        assert!(known.any(|known| known == signature), "{signature}");
        for (name, value) in &self.dimensions {
            let Some(value) = value.as_deref() else {
                continue;
            };
            let is_one = match name.as_str() {
                "service" => value == env!("CARGO_PKG_NAME"),
                "start" => ["cold", "warm"].contains(&value),
                "outcome" => codes().chain(OUTCOMES).any(|outcome| outcome == value),
                "key_set" => ["access", "customer"].contains(&value),
                "ApiId" => ["Api", "ApiId"].contains(&value),
                "function_name" | "FunctionName" => ["Function", "FunctionName"].contains(&value),
                "Resource" => value == "Function:live",
                "ExecutedVersion" | "function_version" => value == "Function.Version.Version",
                "TableName" => value == "TableName",
                "PipeName" => value == "EventPipe",
                "QueueName" => value == "EventDeadLetters.QueueName",
                _ => false,
            };
            assert!(is_one, "{name} of {self:?}");
        }
    }
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

/// The templates with alarms for the API, and those of the events.
fn templates() -> [Template; 3] {
    [Template::read(), Template::watching(), Template::events()]
}

/// Each alarm: its name and its properties.
fn alarms(templates: &[Template]) -> Vec<(&str, &Value)> {
    let of = |template| Template::of_type(template, "AWS::CloudWatch::Alarm");
    templates.iter().flat_map(of).collect()
}

fn dashboard(template: &Template) -> Vec<Value> {
    let body = template.properties("Dashboard")["DashboardBody"].as_str();
    let body: Value = serde_json::from_str(&substituted(body.unwrap())).unwrap();
    body["widgets"].as_array().unwrap().clone()
}

fn metrics_of_widgets(widgets: &[Value]) -> BTreeSet<Metric> {
    let mut metrics = BTreeSet::new();
    let widgets = widgets.iter().filter(|widget| widget["type"] == "metric");
    let shown = widgets.flat_map(|widget| widget["properties"]["metrics"].as_array().unwrap());
    for metric in shown {
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
    let [computed, others @ ..] = metrics.as_slice() else {
        panic!("{alarm}");
    };
    let expression = substituted(computed["Expression"].as_str().unwrap());
    if others.is_empty() {
        return vec![Metric::of_query(&expression)];
    }
    let metrics = others.iter().map(|metric| {
        let id = metric["Id"].as_str().unwrap();
        assert!(expression.contains(id), "{id} in {expression}");
        Metric::of_alarm(&metric["MetricStat"]["Metric"])
    });
    metrics.collect()
}

#[test]
fn every_alarm_watches_what_there_is() {
    let templates = templates();
    for (name, alarm) in alarms(&templates) {
        let metrics = metrics_of_alarm(alarm);
        assert!(!metrics.is_empty(), "{name}");
        for metric in metrics {
            metric.check();
        }
        assert_eq!(alarm["TreatMissingData"], "notBreaching", "{name}");
    }
}

/// What the page says about an alarm.
fn section_of(alarm: &str) -> &'static str {
    let heading = format!("\n### {alarm}\n");
    let (_, section) = ALARMS.split_once(&heading).expect(alarm);
    section.split("\n#").next().unwrap()
}

#[test]
fn every_alarm_notifies_somebody_and_links_to_its_section() {
    let templates = templates();
    let mut topics = BTreeSet::new();
    for (name, alarm) in alarms(&templates) {
        let condition = alarm["AlarmActions"][0].as_str().unwrap();
        let topic = match condition {
            "HasPageTopic" => "PageTopicArn",
            "HasTicketTopic" => "TicketTopicArn",
            other => panic!("{name}: {other}"),
        };
        topics.insert(topic);
        let notified = json!([condition, [topic], "AWS::NoValue"]);
        assert_eq!(alarm["AlarmActions"], notified, "{name}");
        assert_eq!(alarm["OKActions"], notified, "{name}");
        let link = format!("${{RunbookUrl}}#{}", name.to_lowercase());
        let description = alarm["AlarmDescription"].as_str().unwrap();
        assert!(description.ends_with(&link), "{name}: {description}");
        section_of(name);
    }
    assert_eq!(topics, ["PageTopicArn", "TicketTopicArn"].into());
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

#[test]
fn the_table_is_watched_for_every_operation() {
    let template = Template::watching();
    for (name, metric) in [
        ("TableThrottlesAlarm", "ThrottledRequests"),
        ("TableErrorsAlarm", "SystemErrors"),
    ] {
        let watched = metrics_of_alarm(template.properties(name));
        assert_eq!(watched.len(), 1);
        assert_eq!(watched[0].name, metric);
        assert_eq!(watched[0].dimensions["Operation"], None);
    }
}

#[test]
fn what_no_metric_says_is_counted_from_the_logs() {
    let template = Template::watching();
    let filters = template.of_type("AWS::Logs::MetricFilter");
    assert_eq!(filters.len(), COUNTED.len());
    for ((_, filter), (signature, log, pattern, field)) in filters.into_iter().zip(COUNTED) {
        let (name, dimension) = signature.split_once(' ').unwrap();
        assert_eq!(filter["LogGroupName"], log);
        assert_eq!(filter["FilterPattern"], pattern);
        let metric = json!([{
            "MetricNamespace": NAMESPACE,
            "MetricName": name,
            "MetricValue": "1",
            "Unit": "Count",
            "Dimensions": [{ "Key": dimension, "Value": field }],
        }]);
        assert_eq!(filter["MetricTransformations"], metric);
    }
    let format = access_log_format(&Template::read());
    assert_eq!(format["apiId"], "$context.apiId");
    assert_eq!(format["status"], "$context.status");
}

#[test]
fn a_new_version_goes_back_on_alarms_that_there_are() {
    let template = Template::read();
    let function = template.properties("Function");
    assert_eq!(function["AutoPublishAlias"], "live");
    // Else a changed parameter makes no new version.
    assert_eq!(function["VersionDescription"], "Release");
    let description = function["Description"].as_str().unwrap();
    assert!(description.contains("${Release}"));
    assert_eq!(template.of_type("AWS::Serverless::Function").len(), 1);
    let policy = &template.section("Resources")["Function"]["UpdateReplacePolicy"];
    assert_eq!(policy, "Retain");
    let preference = &function["DeploymentPreference"];
    assert_eq!(preference["Type"], "Deployment");
    assert_eq!(preference["Enabled"], "RollBackOnAlarms");
    let parameters = template.section("Parameters");
    assert_eq!(parameters["RollBackOnAlarms"]["Default"], "true");
    let rollout = &parameters["Deployment"]["Default"];
    assert_eq!(rollout, "Canary10Percent5Minutes");
    // Those of this template, and no other: it must not need the nested one.
    let alarms = template.of_type("AWS::CloudWatch::Alarm").into_iter();
    let alarms: BTreeSet<String> = alarms.map(|(name, _)| name.to_owned()).collect();
    assert!(alarms.contains("NewVersionErrorsAlarm"));
    assert!(alarms.contains("NewVersionRefusalsAlarm"));
    assert_eq!(texts(&preference["Alarms"]), alarms);
}

#[test]
fn the_dashboard_shows_metrics_that_there_are_and_every_one_of_our_own() {
    let template = Template::watching();
    let widgets = dashboard(&template);
    let metrics = metrics_of_widgets(&widgets);
    for metric in &metrics {
        metric.check();
    }
    // A widget of a log scans all of it at each refresh.
    for widget in &widgets {
        let kind = widget["type"].as_str().unwrap();
        assert!(["metric", "alarm"].contains(&kind), "{kind}");
    }
    let shown: BTreeSet<String> = metrics
        .iter()
        .filter(|metric| metric.namespace == NAMESPACE && metric.name != "gateway_throttles")
        .map(Metric::signature)
        .collect();
    assert_eq!(shown, OWN.map(str::to_owned).into());

    // The main stack hands over those that revert a rollout.
    let main = Template::read();
    let handed = &main.properties("WatchingStack")["Parameters"]["RollbackAlarms"];
    assert_eq!(handed[0], r#"", ""#);
    let arns = |template: &Template| -> BTreeSet<String> {
        let alarms = template.of_type("AWS::CloudWatch::Alarm").into_iter();
        alarms.map(|(name, _)| format!("{name}.Arn")).collect()
    };
    assert_eq!(texts(&handed[1]), arns(&main));
    let mut expected = arns(&template);
    expected.insert("RollbackAlarms".to_owned());
    let listed = widgets.iter().find(|widget| widget["type"] == "alarm");
    assert_eq!(texts(&listed.unwrap()["properties"]["alarms"]), expected);
}

/// A row is 24 columns wide, and no widget covers another.
#[test]
fn the_widgets_of_the_dashboard_have_places_of_their_own() {
    let mut taken = BTreeSet::new();
    for widget in dashboard(&Template::watching()) {
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
    const OF_THE_LANGUAGE: &str = "and as asc bin by count desc fields filter in ispresent like \
        limit max not or pct requests sort stats";
    let of_the_language: Vec<&str> = OF_THE_LANGUAGE.split(' ').collect();
    let mut names: BTreeSet<String> = BTreeSet::new();
    let mut aliases = BTreeSet::new();
    // What stands between quotes is a text, and between slashes a pattern.
    let unquoted = query.replace(['\'', '/'], "\"");
    let unquoted: String = unquoted.split('"').step_by(2).collect();
    let mut before = "";
    for word in unquoted.split(|c: char| !c.is_ascii_alphanumeric() && !"_@.".contains(c)) {
        let is_number = word.bytes().all(|byte| byte.is_ascii_digit());
        if before == "as" {
            aliases.insert(word.to_owned());
        } else if !is_number && !of_the_language.contains(&word) {
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
    // The last, where DynamoDB's answer to a call that failed has it.
    let fields = ["@timestamp", "@message", "store_request_id"].into_iter();
    let fields = fields.chain(OF_LAMBDA.split(' ')).map(str::to_owned);
    let mut fields: BTreeSet<String> = fields.collect();
    let mut refused = sample("associate-client-credentials");
    refused["headers"]["authorization"] = json!("Bearer x.y.z");
    for event in [sample("associate-client-credentials"), refused] {
        function.invoke(&event).await;
        let (_, line) = function.line().await;
        fields.extend(line.as_object().unwrap().keys().cloned());
    }
    let strict = environment(&[("ACCESS_TOKEN_CLAIMS", r#"{"tenant":"shop"}"#)]);
    let mut function = Function::start(&strict).await;
    let event = sample("associate-client-credentials");
    function.invoke(&event).await;
    let (_, line) = function.line().await;
    fields.extend(line.as_object().unwrap().keys().cloned());
    let keyless = environment(&[("ACCESS_TOKEN_JWKS", &closed_url())]);
    let mut function = Function::start(&keyless).await;
    loop {
        let (_, line) = function.line().await;
        fields.extend(line.as_object().unwrap().keys().cloned());
        if line["message"] == "the key set could not be refreshed" {
            break;
        }
    }

    let template = Template::watching();
    let saved = template.of_type("AWS::Logs::QueryDefinition");
    assert_eq!(saved.len(), 4);
    let of_the_gateway = access_log_format(&Template::read()).into_keys().collect();
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

/// What the gateway's log calls its fields, and what they are.
fn access_log_format(template: &Template) -> BTreeMap<String, String> {
    let settings = &template.properties("ApiStage")["AccessLogSettings"];
    serde_json::from_str(settings["Format"].as_str().unwrap()).unwrap()
}

#[test]
fn the_gateway_logs_what_helps_and_nothing_that_was_sent() {
    let template = Template::read();
    let stage = template.properties("ApiStage");
    let format = access_log_format(&template);
    let logged: BTreeSet<&str> = format
        .values()
        .map(|value| value.strip_prefix("$context.").unwrap())
        .collect();
    // No path, because anyone who knows a cart id can act on the cart; no header, no address.
    let expected = "apiId error.message integration.requestId integration.status \
        integrationErrorMessage integrationLatency requestId requestTime responseLatency \
        responseLength routeKey status";
    assert_eq!(logged, expected.split(' ').collect());
    let settings = &stage["DefaultRouteSettings"];
    assert_eq!(settings["ThrottlingRateLimit"], "ThrottlingRate");
    assert_eq!(settings["ThrottlingBurstLimit"], "ThrottlingBurst");
}
