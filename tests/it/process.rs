//! The built function as a process: start, logs, and failed starts.

use dev::environment::Environment;
use dev::proxy::Fault;
use serde_json::{Value, json};

use crate::credentials::problems;
use crate::support::function::Function;
use crate::support::{
    SAMPLE_CART, SAMPLE_CUSTOMER, World, cart_token_variables, closed_url, environment, sample,
};

#[tokio::test]
async fn a_request_logs_one_line_with_the_keys_of_powertools() {
    let world = World::new().await;
    let mut function = Function::start(world.env()).await;
    let mut event = sample("associate-customer-token");
    for (outcome, status, cold_start) in [("created", 200, true), ("unchanged", 204, false)] {
        let line = function.logged(&event).await;
        let expected = json!({
            "level": "INFO",
            "message": "request",
            "service": "cart-associations",
            "function_name": "test",
            "function_version": "1",
            "token_refused": 0,
            "cold_start": cold_start,
            "route": "POST /v2/carts/{cartId}/relationships/customers",
            "status": status,
            "outcome": outcome,
            "caller": "customer",
            "store_attempts": 1,
        });
        assert_logged(&line, &expected);
        assert_eq!(line["timestamp"].as_str().unwrap().len(), 24);
        assert_eq!(line["function_request_id"].as_str().unwrap().len(), 36);
        let trace = line["xray_trace_id"].as_str().unwrap();
        assert!(trace.starts_with("Root=1-"), "{line}");
        let [took, stored] = ["duration_ms", "store_ms"].map(|name| line[name].as_f64().unwrap());
        assert!(took >= stored && stored > 0.0, "{line}");
    }

    let good = event["headers"]["authorization"].clone();
    event["headers"]["authorization"] = json!("Bearer x.y.z");
    let line = function.logged(&event).await;
    let expected = json!({
        "level": "INFO",
        "outcome": "invalid_access_token",
        "cause": "not_compact_jws",
        "caller": "nobody",
        "store_attempts": 0,
        "token_refused": 1,
    });
    assert_logged(&line, &expected);

    event["headers"]["authorization"] = good;
    event["headers"]["x-moltin-customer-token"] = json!("");
    let line = function.logged(&event).await;
    let expected = json!({ "outcome": "invalid_customer_token", "token_refused": 1 });
    assert_logged(&line, &expected);

    // A request without a token says nothing about the configuration of tokens.
    let headers = event["headers"].as_object_mut().unwrap();
    headers.remove("authorization");
    let line = function.logged(&event).await;
    let expected = json!({ "outcome": "access_token_required", "token_refused": 0 });
    assert_logged(&line, &expected);
}

/// Asserts that a log line has these members.
fn assert_logged(line: &Value, expected: &Value) {
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(line[name], *value, "{name}: {line}");
    }
}

#[tokio::test]
async fn the_log_line_of_a_request_contains_its_metrics() {
    let declared = |dimensions: Value, metrics: Value| {
        json!({
            "Namespace": "CartAssociations",
            "Dimensions": dimensions,
            "Metrics": metrics,
        })
    };
    let answered = declared(
        json!([
            ["service", "function_name", "outcome"],
            ["service", "function_name", "start"],
        ]),
        json!([{ "Name": "duration_ms", "Unit": "Milliseconds" }]),
    );
    let tokens = declared(
        json!([
            ["service", "function_name"],
            ["service", "function_name", "function_version"]
        ]),
        json!([{ "Name": "token_refused", "Unit": "Count" }]),
    );
    let stored = declared(
        json!([["service", "function_name"]]),
        json!([
            { "Name": "store_ms", "Unit": "Milliseconds" },
            { "Name": "store_attempts", "Unit": "Count" },
        ]),
    );
    let without_store = json!([&answered, &tokens]);
    let with_store = json!([answered, tokens, stored]);
    let world = World::new().await;
    let mut function = Function::start(world.env()).await;
    for (name, outcome, start, expected) in [
        ("associate-customer-token", "created", "cold", &with_store),
        ("associate-customer-token", "unchanged", "warm", &with_store),
        ("bad-body", "invalid_type", "warm", &without_store),
    ] {
        let line = function.logged(&sample(name)).await;
        let logged = json!({ "outcome": outcome, "start": start, "cold_start": start == "cold" });
        assert_logged(&line, &logged);
        assert!(line["_aws"]["Timestamp"].as_u64().unwrap() > 1_700_000_000_000);
        assert_eq!(line["_aws"]["CloudWatchMetrics"], *expected);
        // CloudWatch drops a metric whose value or dimension the line lacks.
        for name in ["service", "function_name", "function_version"] {
            assert!(line[name].is_string(), "{name}: {line}");
        }
        for name in ["duration_ms", "token_refused", "store_ms", "store_attempts"] {
            assert!(line[name].is_number(), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn the_first_request_uses_the_connection_from_the_start() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let before = (proxy.connections(), proxy.calls());
    let function = Function::start(world.env()).await;
    function.ready().await;
    let since = |now: (usize, usize)| (now.0 - before.0, now.1 - before.1);
    assert_eq!(since((proxy.connections(), proxy.calls())), (1, 1));
    let event = sample("associate-client-credentials");
    assert_eq!(function.invoke(&event).await.status, 200);
    assert_eq!(since((proxy.connections(), proxy.calls())), (1, 2));
}

#[tokio::test]
async fn the_function_starts_even_if_the_store_fails() {
    for fault in [
        Fault::Refused("AccessDeniedException"),
        Fault::Failed(500),
        Fault::Reset,
        Fault::Hang,
    ] {
        let (world, proxy) = World::behind_proxy(&[]).await;
        proxy.always(fault);
        let before = proxy.calls();
        let mut function = Function::start(world.env()).await;
        function.ready().await;
        assert_eq!(proxy.calls() - before, 1, "{fault:?}");
        proxy.heal().await;
        let event = sample("associate-client-credentials");
        assert_eq!(function.invoke(&event).await.status, 200, "{fault:?}");
        let (_, line) = function.line().await;
        assert_eq!(line["message"], json!("request"), "{line}");
    }
}

#[tokio::test]
async fn no_log_line_contains_a_token_a_body_or_an_identifier() {
    let world = World::with_cart_tokens().await;
    let mut function = Function::start(world.env()).await;
    for name in [
        "associate-customer-token",
        "associate-cart-token",
        "associate-rest-api",
        "bad-body",
        "refused-other-customer",
        "refused-no-customer-token",
    ] {
        let event = sample(name);
        function.invoke(&event).await;
        let (line, _) = function.line().await;
        let headers = event["headers"].as_object().unwrap().iter();
        let with_token = ["authorization", "x-moltin-customer-token", "x-cart-token"];
        let tokens = headers
            .filter(|(name, _)| with_token.contains(&&*name.to_lowercase()))
            .flat_map(|(_, value)| value.as_str().unwrap().split(['.', ' ']))
            .filter(|part| *part != "Bearer");
        let ids = [SAMPLE_CART, SAMPLE_CUSTOMER, "not an id"];
        for secret in tokens.chain(ids) {
            assert!(!line.contains(secret), "{name}: {line}");
        }
    }
}

#[tokio::test]
async fn a_request_logs_one_line_even_if_the_store_fails() {
    let (world, proxy) = World::behind_proxy(&[]).await;
    let mut function = Function::start(world.env()).await;
    function.ready().await;
    let event = sample("associate-client-credentials");
    for fault in [
        Fault::Failed(500),
        Fault::Refused("ThrottlingException"),
        Fault::Reset,
    ] {
        for plan in [fault.into(), fault.after_commit()] {
            proxy.next(plan, 2);
            assert!(function.invoke(&event).await.status < 300);
            let (_, line) = function.line().await;
            assert_eq!(line["message"], json!("request"), "{line}");
            assert_eq!(line["store_attempts"], json!(3), "{line}");
        }
    }
    proxy.always(Fault::Refused("ThrottlingException"));
    let answer = function.invoke(&event).await;
    answer.refused(503, "store_unavailable");
    let (_, line) = function.line().await;
    assert_eq!(line["level"], "WARN");
    assert_eq!(line["outcome"], "store_unavailable");
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("ThrottlingException"), "{line}");
}

/// The error that the function reports to Lambda instead of starting, and the cause that
/// it logs.
async fn refused_start(env: &Environment) -> [String; 2] {
    let mut function = Function::start(env).await;
    let (error, exit) = function.init_error().await;
    assert!(!exit.success());
    let (_, line) = function.line().await;
    assert_eq!(line["level"], "ERROR");
    [&error["errorMessage"], &line["cause"]].map(|text| text.as_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_start_that_fails_reports_all_problems_together() {
    let secret = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"}]}"#;
    let faulty = environment(&[
        ("ACCESS_TOKEN_JWKS", secret),
        ("CUSTOMER_TOKEN_JWKS", "-----BEGIN PUBLIC KEY-----"),
        ("CART_TOKEN_ISSUER", "https://carts.example.com"),
        ("ASSOCIATION_LIFETIME_DAYS", "3651"),
        ("ERROR_DOCS_URL", "docs"),
        ("AWS_ENDPOINT_URL_DYNAMODB", "https://["),
    ]);
    let mut without_credentials = environment(&[("AWS_EC2_METADATA_DISABLED", "true")]);
    without_credentials.remove("AWS_ACCESS_KEY_ID");
    without_credentials.remove("AWS_SECRET_ACCESS_KEY");
    for (env, problems) in [
        (
            Environment::new(),
            "ACCESS_TOKEN_JWKS is required, ACCESS_TOKEN_ISSUER is required, \
             ACCESS_TOKEN_AUDIENCE is required, TABLE_NAME is required, AWS_REGION is required",
        ),
        (
            faulty,
            "ACCESS_TOKEN_JWKS, CUSTOMER_TOKEN_JWKS, CART_TOKEN_JWKS, CART_TOKEN_AUDIENCE, \
             ASSOCIATION_LIFETIME_DAYS, ERROR_DOCS_URL, AWS_ENDPOINT_URL_DYNAMODB",
        ),
        (without_credentials, "AWS credentials are required"),
    ] {
        for text in refused_start(&env).await {
            for problem in problems.split(", ") {
                assert!(text.contains(problem), "{problem}: {text}");
            }
            assert!(!text.contains("c2VjcmV0"), "{text}");
        }
    }
}

#[test]
fn cart_tokens_need_all_three_variables_or_none() {
    let variables = cart_token_variables();
    let count = variables.len();
    for set in 0..1 << count {
        let given = |index: usize| set & 1 << index != 0;
        // An empty value counts as not set.
        let some = variables.iter().enumerate();
        let some =
            some.map(|(index, (name, value))| (*name, if given(index) { value } else { "" }));
        let missing = (0..count).filter(|index| set != 0 && !given(*index));
        let missing = missing.map(|index| format!("{} is required", variables[index].0));
        let found = problems(&some.collect::<Vec<(&str, &str)>>());
        assert_eq!(found, missing.collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_unknown_log_level_is_logged_once_and_means_info() {
    let env = environment(&[("AWS_LAMBDA_LOG_LEVEL", "LOUD")]);
    let mut function = Function::start(&env).await;
    let (_, warning) = function.line().await;
    assert_eq!(warning["level"], json!("WARN"));
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("AWS_LAMBDA_LOG_LEVEL"), "{warning}");
    for _ in 0..2 {
        let line = function.logged(&json!({})).await;
        let expected = json!({ "level": "INFO", "outcome": "route_not_found" });
        assert_logged(&line, &expected);
    }
}

/// Above DEBUG, the line of the first request is the first, as other tests see.
#[tokio::test]
async fn a_failed_warm_up_is_logged_at_debug() {
    let closed = ("AWS_ENDPOINT_URL_DYNAMODB", &*closed_url());
    let env = environment(&[closed, ("AWS_LAMBDA_LOG_LEVEL", "DEBUG")]);
    let mut function = Function::start(&env).await;
    let (_, line) = function.line().await;
    assert_eq!(line["level"], json!("DEBUG"), "{line}");
    let message = line["message"].as_str().unwrap();
    assert!(message.contains("warm-up"), "{line}");
    assert!(line["cause"].is_string(), "{line}");
}

#[tokio::test]
async fn a_fault_of_ours_is_logged_with_its_cause_and_not_told_to_callers() {
    // Nobody has made its table.
    let mut function = Function::start(&environment(&[])).await;
    let event = sample("associate-client-credentials");
    let answer = function.invoke(&event).await;
    answer.refused(500, "internal_error");
    let (_, line) = function.line().await;
    assert_logged(&line, &json!({ "level": "ERROR", "status": 500 }));
    let cause = line["cause"].as_str().unwrap();
    assert!(cause.contains("ResourceNotFoundException"), "{line}");
    assert!(!answer.body.unwrap().contains("Resource"));
}

#[tokio::test]
async fn at_every_level_the_metrics_of_a_request_are_written_and_above_info_alone() {
    let metrics = "_aws duration_ms function_name function_version level outcome service start \
        store_attempts store_ms timestamp token_refused";
    for level in ["TRACE", "DEBUG", "INFO", "warn", "ERROR", "FATAL"] {
        let env = environment(&[("AWS_LAMBDA_LOG_LEVEL", level)]);
        let mut function = Function::start(&env).await;
        function.invoke(&sample("bad-body")).await;
        let line = loop {
            let (_, line) = function.line().await;
            if line.get("_aws").is_some() {
                break line;
            }
        };
        assert_eq!(line["outcome"], "invalid_type", "{line}");
        // Lambda drops lines below the level of the function.
        if ["TRACE", "DEBUG", "INFO"].contains(&level) {
            assert_eq!(line["level"], "INFO", "{line}");
        } else {
            assert_eq!(line["level"], level.to_uppercase(), "{line}");
            let members = line.as_object().unwrap().keys();
            assert!(members.eq(metrics.split(' ')), "{line}");
        }
    }
}

/// Only principals who may invoke the function itself can send a client context, and
/// `lambda_runtime` parses it.
#[tokio::test]
async fn a_client_context_that_cannot_be_parsed_ends_the_process() {
    let world = World::new().await;
    for at_once in [1, 4] {
        let mut function = Function::start_for(world.env(), at_once).await;
        function.ready().await;
        let exit = function.end_with(r#"{"custom":{"n":1}}"#).await;
        assert!(!exit.success(), "{at_once}");
        let logged = loop {
            let (_, line) = function.line().await;
            if line["message"] == "the runtime stopped" {
                break line;
            }
        };
        assert_eq!(logged["level"], "ERROR", "{logged}");
    }
}
