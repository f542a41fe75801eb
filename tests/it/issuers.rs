//! The tokens of common issuers, with the configuration that `deploy/issuers/` has for
//! each. `issuers.json` says where the shape of each token is documented, or that
//! `make test-issuers` got it from the issuer itself.

use std::collections::BTreeMap;

use cart_associations::auth::{AuthError, Caller};
use cart_associations::clock::Clock;
use cart_associations::config::Config;
use dev::environment::Environment;
use dev::template::Template;
use lambda_http::http::HeaderMap;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::credentials::authenticator;
use crate::support::{authorities, environment, lasting};

/// An issuer's tokens under one configuration.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Issuer {
    /// The name of the file in `deploy/issuers/`.
    stage: String,
    #[expect(dead_code, reason = "for readers")]
    sources: Vec<String>,
    /// Environment variables in place of the file's.
    #[serde(default)]
    variables: Environment,
    tokens: Vec<Token>,
}

#[derive(Deserialize)]
struct Token {
    what: String,
    /// Members of the header besides `alg` and `kid`, and in place of `typ`.
    #[serde(default)]
    header: BTreeMap<String, Value>,
    /// Without the times, and without the issuer that the file has.
    claims: BTreeMap<String, Value>,
    /// The claims of the customer token beside it.
    customer_token: Option<BTreeMap<String, Value>>,
    #[serde(flatten)]
    expected: Expected,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(untagged)]
enum Expected {
    Refused {
        refused: String,
        claim: Option<String>,
    },
    Caller {
        caller: String,
        id: Option<String>,
        client: Option<String>,
    },
}

/// The parameters in a file of `deploy/issuers/`.
fn parameters(stage: &str) -> BTreeMap<String, Value> {
    let path = dev::project().join(format!("deploy/issuers/{stage}.yaml"));
    serde_saphyr::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The environment variables that these parameters set, as `deploy/parameters.py` and
/// the template do.
fn variables(stage: &str) -> Environment {
    let declared = Template::read();
    let declared = declared.section("Parameters");
    let variable = |(parameter, value): (String, Value)| {
        assert!(declared.contains_key(&parameter), "{stage}: {parameter}");
        (upper_snake_case(&parameter), text(&value))
    };
    parameters(stage).into_iter().map(variable).collect()
}

fn upper_snake_case(name: &str) -> String {
    let mut snake = String::new();
    for letter in name.chars() {
        if letter.is_uppercase() && !snake.is_empty() {
            snake.push('_');
        }
        snake.push(letter.to_ascii_uppercase());
    }
    snake
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(values) => values.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A function's environment with these variables and none of the tests' own issuers.
fn environment_of(variables: &Environment) -> Environment {
    let mut env = environment(&[]);
    env.retain(|name, _| !name.contains("_TOKEN_"));
    env.extend(variables.clone());
    env
}

fn signed(token: &Token, claims: &BTreeMap<String, Value>, issuer: &str) -> String {
    let mut header = json!({ "typ": "JWT", "alg": "ES256", "kid": "access-1" });
    for (name, value) in &token.header {
        header[name] = value.clone();
    }
    let mut all = json!({ "iss": issuer, "iat": 1_795_000_000, "exp": lasting() });
    for (name, value) in claims {
        all[name] = value.clone();
    }
    let key = &authorities().access.key;
    key.sign(&header.to_string(), &all.to_string()).unwrap()
}

/// What the authenticator said, in the words of the table.
fn outcome(result: Result<Caller, AuthError>, expected: &Expected) -> Expected {
    match result {
        Ok(caller) => Expected::Caller {
            caller: caller.name().to_owned(),
            id: caller.party().ok().map(|party| party.id().to_owned()),
            client: match expected {
                Expected::Caller { client: None, .. } => None,
                _ => Some(caller.client().to_owned()),
            },
        },
        Err(AuthError::InvalidToken { refusal, .. }) => Expected::Refused {
            refused: refusal.name().to_owned(),
            claim: match expected {
                Expected::Refused { claim: None, .. } => None,
                _ => refusal.claim().map(str::to_owned),
            },
        },
        Err(error) => panic!("{error:?}"),
    }
}

#[tokio::test]
async fn the_tokens_of_common_issuers_mean_what_the_page_says() {
    let issuers: Vec<Issuer> = serde_json::from_str(include_str!("issuers.json")).unwrap();
    let keys = authorities().access.key.jwks().unwrap();
    let mut wrong = Vec::new();
    for issuer in issuers {
        let mut variables = variables(&issuer.stage);
        variables.extend(issuer.variables);
        variables.insert("ACCESS_TOKEN_JWKS".to_owned(), keys.clone());
        if variables.contains_key("CUSTOMER_TOKEN_ISSUER") {
            variables.insert("CUSTOMER_TOKEN_JWKS".to_owned(), keys.clone());
        }
        let authenticator = authenticator(&environment_of(&variables), &Clock::system());
        let iss = &variables["ACCESS_TOKEN_ISSUER"];
        for token in issuer.tokens {
            let access = signed(&token, &token.claims, iss);
            let mut headers = HeaderMap::new();
            headers.insert("authorization", format!("Bearer {access}").parse().unwrap());
            if let Some(claims) = &token.customer_token {
                let customer = signed(&token, claims, iss);
                headers.insert("x-moltin-customer-token", customer.parse().unwrap());
            }
            let (now, deadline) = (Clock::system().now(), Instant::now());
            let result = authenticator.authenticate(&headers, now, deadline).await;
            let outcome = outcome(result, &token.expected);
            if outcome != token.expected {
                let what = format!("{}, {}", issuer.stage, token.what);
                wrong.push(format!("{what}: {outcome:?}, not {:?}", token.expected));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The output of the stack in `deploy/cognito.yaml` that is meant for a stage's file.
#[test]
fn the_stack_of_cognito_outputs_the_lines_of_its_example() {
    let stack: Value = serde_saphyr::from_str(include_str!("../../deploy/cognito.yaml")).unwrap();
    let lines = stack["Outputs"]["Stage"]["Value"].as_str().unwrap();
    let pool = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_aBcDeFgHi";
    let lines = lines
        .replace("${Pool.ProviderURL}", pool)
        .replace("${Storefront}", "1h57kf5cpq17m0eml12EXAMPLE")
        .replace("${BackEnd}", "3n4b5urk1ft4fl3mg5eEXAMPLE");
    let lines: BTreeMap<String, Value> = serde_saphyr::from_str(&lines).unwrap();
    assert_eq!(lines, parameters("cognito"));
}

#[test]
fn every_example_is_a_configuration_that_the_function_accepts() {
    let folder = dev::project().join("deploy/issuers");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let stage = path.file_stem().unwrap().to_str().unwrap();
        let env = environment_of(&variables(stage));
        let config = Config::from_lookup(|name| env.get(name).cloned()).unwrap();
        assert!(config.tokens.customer.is_none(), "{stage} has one token");
    }
}
