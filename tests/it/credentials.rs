//! Who may act for whom: what the tokens of a request permit, in each configuration,
//! and how refused tokens are answered.

use std::time::{Duration, SystemTime};

use cart_associations::auth::{AuthError, Authenticator, Caller};
use cart_associations::client::Client;
use cart_associations::clock::Clock;
use cart_associations::config::Config;
use dev::environment::Environment;
use lambda_http::http::HeaderMap;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::support::call::Call;
use crate::support::function::Function;
use crate::support::{
    RON, World, access_token, account_token, account_token_variables, authorities, cart_token,
    customer_token, environment, linkage,
};

/// The variables of a function without customer tokens.
pub(crate) const ONE_TOKEN: [(&str, &str); 3] = [
    ("CUSTOMER_TOKEN_JWKS", ""),
    ("CUSTOMER_TOKEN_ISSUER", ""),
    ("CUSTOMER_TOKEN_AUDIENCE", ""),
];

/// The header of a customer token or of an account token.
fn header_of(kind: &str) -> &'static str {
    match kind {
        "customer" => "x-moltin-customer-token",
        _ => "ep-account-management-authentication-token",
    }
}

/// The variables of a configuration: the usual one; with account tokens; also without
/// customer tokens; also with another claim for the id of a customer.
fn configuration<'a>(
    name: &str,
    accounts: &'a [(&'static str, String); 4],
) -> Vec<(&'a str, &'a str)> {
    let accounts = accounts.iter().map(|(name, value)| (*name, &**value));
    let uid = [("CUSTOMER_ID_CLAIM", "uid")];
    match name {
        "usual" => vec![],
        "accounts" => accounts.collect(),
        "one_token" => accounts.chain(ONE_TOKEN).collect(),
        "uid" => accounts.chain(ONE_TOKEN).chain(uid).collect(),
        _ => panic!("{name}"),
    }
}

/// The problems of the usual configuration with these variables.
pub(crate) fn problems(variables: &[(&str, &str)]) -> Vec<String> {
    let env = environment(variables);
    let config = Config::from_lookup(|name| env.get(name).cloned());
    config.err().map_or_else(Vec::new, |error| error.problems)
}

/// The authenticator of a function with this environment.
pub(crate) fn authenticator(env: &Environment, clock: &Clock) -> Authenticator {
    let config = Config::from_lookup(|name| env.get(name).cloned()).unwrap();
    let client = Client::new(&config.trusted_roots, Duration::from_secs(1));
    Authenticator::new(config.tokens, &client, clock)
}

/// Authenticates a request with these headers, in the usual configuration with these
/// variables.
async fn authenticate(
    variables: &[(&str, &str)],
    headers: &[(&'static str, &str)],
) -> Result<Caller, AuthError> {
    let authenticator = authenticator(&environment(variables), &Clock::system());
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.append(*name, value.parse().unwrap());
    }
    let now = SystemTime::now().into();
    authenticator.authenticate(&map, now, Instant::now()).await
}

/// Who calls, by an access token with these claims besides the usual ones: the caller,
/// or the refusal or what is lacking, with the claim.
async fn called_by(variables: &[(&str, &str)], claims: &Value) -> String {
    let token = authorities().access.token("me", claims).unwrap();
    let bearer = format!("Bearer {token}");
    shown(authenticate(variables, &[("authorization", &bearer)]).await)
}

fn shown(authenticated: Result<Caller, AuthError>) -> String {
    match authenticated {
        Ok(caller) => match caller.party() {
            Ok(party) => format!("{} {} by {}", caller.name(), party.id(), caller.client()),
            Err(forbidden) => match forbidden.claim() {
                Some(claim) => format!("{} for {claim}", caller.name()),
                None => format!("{} {}", caller.name(), caller.client()),
            },
        },
        Err(AuthError::InvalidToken { kind, refusal }) => {
            let claim = refusal.claim().unwrap_or_default();
            format!("{} {} {claim}", kind.name(), refusal.name())
                .trim_end()
                .to_owned()
        }
        Err(other) => format!("{other:?}"),
    }
}

/// Checks a table of claims and what [`called_by`] says of them.
async fn check(variables: &[(&str, &str)], table: &str) {
    for row in table.trim().lines() {
        let (claims, expected) = row.split_once(" => ").unwrap();
        let claims = serde_json::from_str(claims).unwrap();
        let found = called_by(variables, &claims).await;
        assert_eq!(found, expected, "{variables:?} {claims}");
    }
}

#[tokio::test]
async fn a_token_is_for_one_of_the_configured_audiences() {
    let table = r#"
        {"aud":"carts"} => nobody for grant_type
        {"aud":"shop"} => nobody for grant_type
        {"aud":["x","https://a.example/x"]} => nobody for grant_type
        {"aud":null,"client_id":"shop"} => nobody for grant_type
        {"aud":"carts, shop"} => access audience aud
    "#;
    let list = " carts, shop ,https://a.example/x";
    check(&[("ACCESS_TOKEN_AUDIENCE", list)], table).await;
}

#[tokio::test]
async fn required_claims_have_one_of_their_values_and_its_type() {
    // What is required, and the values that a claim may have; then values that it may not.
    let table = r#"
        "access" => ["access"] => ["Access","access id",["access"],{"access":"access"},null,7]
        ["access","id"] => ["access","id"] => [["access","id"],["id"],"web",null]
        ["web",7,true] => ["web",7,7.0,true] => ["7","true",false,[7],null]
        1 => [1,1.0,10e-1,0.1e1] => ["1",true,10,1.5,-1,[1],null]
        0 => [0,-0.0,0e9] => [false,"0","",null,0.1]
        1e2 => [100,100.00] => [1,10,1000]
        9007199254740993 => [9007199254740993] => [9007199254740992,9007199254740994]
        true => [true] => ["true",1,[true],false,null]
        null => [null] => ["x",false,0,"",[],{}]
    "#;
    for row in table.trim().lines() {
        let mut parts = row.split(" => ");
        let claims = format!(r#"{{"use":{}}}"#, parts.next().unwrap().trim());
        let variables = [("ACCESS_TOKEN_CLAIMS", &*claims)];
        for expected in ["nobody for grant_type", "access required_claim use"] {
            let values: Vec<Value> = serde_json::from_str(parts.next().unwrap()).unwrap();
            for value in values {
                let found = called_by(&variables, &json!({ "use": value })).await;
                assert_eq!(found, expected, "{claims}: {value}");
            }
        }
    }
    let both = r#"{"use":"access","https://a.example/x":null}"#;
    let table = r#"
        {"use":"access"} => nobody for grant_type
        {"use":"access","https://a.example/x":1} => access required_claim https://a.example/x
        {} => access required_claim use
    "#;
    check(&[("ACCESS_TOKEN_CLAIMS", both)], table).await;
}

#[tokio::test]
async fn a_back_end_has_each_of_its_claims() {
    let table = r#"
        {"grant_type":"client_credentials"} => back_end me
        {"grant_type":"client-credentials"} => back_end me
        {"grant_type":["client_credentials"]} => back_end me
        {"grant_type":"CLIENT_CREDENTIALS"} => nobody for grant_type
        {"grant_type":"implicit"} => nobody for grant_type
        {"grant_type":""} => nobody for grant_type
        {"grant_type":true} => nobody for grant_type
        {"grant_type":{"client_credentials":1}} => nobody for grant_type
        {"https://a.example/grant_type":"client_credentials"} => nobody for grant_type
    "#;
    check(&[], table).await;
    let table = r#"
        {"scope":"openid carts:all"} => back_end me
        {"scope":"all"} => back_end me
        {"scope":["openid",7,null,"all"]} => back_end me
        {"scope":"carts:all-but-one"} => nobody for scope
        {"scope":"openid\tall"} => nobody for scope
        {"scope":"openid,all"} => nobody for scope
        {"scope":"All"} => nobody for scope
        {"scope":["openid all"]} => nobody for scope
        {"scope":[["all"]]} => nobody for scope
        {"scope":null} => nobody for scope
        {"grant_type":"client_credentials"} => nobody for scope
    "#;
    let scope = [
        ("BACK_END_CLAIM", "scope"),
        ("BACK_END_VALUES", "carts:all, all"),
    ];
    check(&scope, table).await;
    let table = r#"
        {"azp":"machine","scope":"x carts:all"} => back_end machine
        {"azp":"web","scope":"carts:all"} => nobody for azp
        {"azp":"machine","scope":"x"} => nobody for scope
        {"scope":"machine carts:all"} => nobody for azp
    "#;
    let pinned = [
        ("BACK_END_CLAIM", "azp,scope"),
        ("BACK_END_VALUES", "machine,carts:all"),
    ];
    check(&pinned, table).await;
}

/// serde_json takes an object with this private name for the JSON text in its value.
#[tokio::test]
async fn an_object_does_not_stand_for_a_string() {
    let object = || json!({ "$serde_json::private::RawValue": "\"all\"" });
    let scope = [("BACK_END_CLAIM", "scope"), ("BACK_END_VALUES", "all")];
    for value in [object(), json!([object()])] {
        let claims = json!({ "scope": value });
        assert_eq!(called_by(&scope, &claims).await, "nobody for scope");
        let required = [("ACCESS_TOKEN_CLAIMS", r#"{"scope":"all"}"#)];
        let found = called_by(&required, &claims).await;
        assert_eq!(found, "access required_claim scope");
    }
}

#[tokio::test]
async fn the_client_is_named_by_the_first_of_its_claims() {
    let table = r#"
        {"scope":"all","client_id":"a","azp":"b","sub":null} => back_end a
        {"scope":"all","azp":"b","cid":"c","appid":"d"} => back_end b
        {"scope":"all","client_id":null,"cid":"c","appid":"d"} => back_end c
        {"scope":"all","appid":"d"} => back_end d
        {"scope":"all"} => back_end me
    "#;
    let scope = [("BACK_END_CLAIM", "scope"), ("BACK_END_VALUES", "all")];
    check(&scope, table).await;
}

/// Without customer tokens, the access token names the customer too.
#[tokio::test]
async fn one_token_names_the_customer() {
    let with = |variables: &[(&'static str, &'static str)]| [&ONE_TOKEN[..], variables].concat();
    // Firebase and Supabase name no client: the audience names it.
    let table = r#"
        {"sub":"ron"} => customer ron by carts
        {"sub":"ron","azp":"web"} => customer ron by web
        {"aud":null,"client_id":"carts"} => customer me by carts
        {"sub":"auth0|7","azp":"web"} => nobody for sub
        {"sub":null,"azp":"web"} => nobody for sub
        {"sub":7,"azp":"web"} => nobody for sub
        {"grant_type":"client_credentials"} => back_end me
    "#;
    check(&with(&[]), table).await;
    let table = r#"
        {"sub":"ron@a.example","uid":"ron"} => customer ron by ron@a.example
        {"uid":["ron"]} => nobody for uid
        {} => nobody for uid
    "#;
    check(&with(&[("CUSTOMER_ID_CLAIM", "uid")]), table).await;
    let table = r#"
        {"https://a.example/customer":"ron"} => customer ron by me
        {"customer":"ron"} => nobody for https://a.example/customer
    "#;
    let namespaced = [("CUSTOMER_ID_CLAIM", "https://a.example/customer")];
    check(&with(&namespaced), table).await;
    // A machine without the right is no customer: Okta's `sub` is its `cid`.
    let table = r#"
        {"azp":"machine","sub":"machine"} => nobody for scope
        {"azp":"other","sub":"other","scope":"all"} => nobody for azp
        {"client_id":"x","azp":"x","cid":"me"} => nobody for azp
        {"client_id":"x","appid":"me","scope":"all"} => nobody for azp
        {"azp":"machine","scope":"all"} => back_end machine
    "#;
    let machines = [
        ("BACK_END_CLAIM", "azp,scope"),
        ("BACK_END_VALUES", "machine,all"),
    ];
    check(&with(&machines), table).await;
}

#[tokio::test]
async fn a_customer_or_account_token_binds_every_caller_to_its_party() {
    let accounts = account_token_variables();
    let token = |name: &str| match name {
        "ron" => customer_token(RON),
        "acme" => account_token("acme", "hermione"),
        "itself" => account_token("acme", "acme"),
        "blank" => " \t".to_owned(),
        other => other.to_owned(),
    };
    // A configuration and the tokens of a request; what it acts for, and the person.
    let table = "
        accounts customer:ron => customer ron by storefront
        accounts account:acme => account acme by storefront, hermione
        one_token account:acme => account acme by storefront, hermione
        accounts account:itself => account acme by storefront
        accounts customer:ron account:acme => SeveralParties
        accounts customer:ron account:x => account not_compact_jws
        accounts customer:x account:acme => customer not_compact_jws
        accounts customer: account:acme => customer not_one_token
        accounts customer:blank => customer not_one_token
        accounts account:acme account:acme => account not_one_token
        usual account:acme => account not_configured
        usual account: => account not_configured
        one_token customer:ron => customer not_configured
    ";
    for row in table.trim().lines() {
        let (request, expected) = row.trim().split_once(" => ").unwrap();
        let (variables, tokens) = request.split_once(' ').unwrap();
        let variables = configuration(variables, &accounts);
        let tokens = tokens.split(' ').map(|sent| {
            let (kind, name) = sent.split_once(':').unwrap();
            (header_of(kind), token(name))
        });
        let tokens: Vec<_> = tokens.collect();
        for grant in ["client_credentials", "implicit", "password"] {
            let bearer = format!("Bearer {}", access_token(grant));
            let mut headers = vec![("authorization", &*bearer)];
            headers.extend(tokens.iter().map(|(header, token)| (*header, &**token)));
            let authenticated = authenticate(&variables, &headers).await;
            let caller = authenticated.as_ref().ok();
            let person = caller.and_then(Caller::acted_by);
            let person = person.map(|person| format!(", {person}"));
            let found = shown(authenticated) + &person.unwrap_or_default();
            assert_eq!(found, expected, "{request} with {grant}");
        }
    }
}

/// Both kinds may have one issuer and one audience, if a claim tells them apart.
#[tokio::test]
async fn a_token_that_is_as_good_a_token_of_another_kind_is_refused() {
    let access = &authorities().access;
    let keys = access.key.jwks().unwrap();
    let by_audience = [
        ("CUSTOMER_TOKEN_JWKS", &*keys),
        ("CUSTOMER_TOKEN_ISSUER", &access.issuer),
    ];
    let by_claim = [
        ("CUSTOMER_TOKEN_AUDIENCE", &*access.audience),
        ("ACCESS_TOKEN_CLAIMS", r#"{"use":["access","x"]}"#),
        ("CUSTOMER_TOKEN_CLAIMS", r#"{"use":"id"}"#),
    ];
    let by_claim = [&by_claim[..], &by_audience].concat();
    // The rule that separates two kinds, the claims of a token, and the answer of each kind.
    let table = r#"
        by_audience {"aud":"carts"} => accepted, audience
        by_audience {"aud":"shop"} => audience, accepted
        by_audience {"aud":["carts","x"]} => accepted, audience
        by_audience {"aud":["carts","shop"]} => two_kinds, two_kinds
        by_claim {"use":"access"} => accepted, required_claim
        by_claim {"use":"id"} => required_claim, accepted
        by_claim {} => required_claim, required_claim
    "#;
    for row in table.trim().lines() {
        let (request, expected) = row.trim().split_once(" => ").unwrap();
        let (by, claims) = request.split_once(' ').unwrap();
        let claims = serde_json::from_str(claims).unwrap();
        let token = access.token("ron", &claims).unwrap();
        let (variables, good) = match by {
            "by_audience" => (&by_audience[..], json!({ "use": "access" })),
            _ => (&*by_claim, json!({ "use": "x", "aud": ["carts"] })),
        };
        let good = access.token("me", &good).unwrap();
        let found = |authenticated| match authenticated {
            Err(AuthError::InvalidToken { refusal, .. }) => refusal.name(),
            other => other.map(|_: Caller| "accepted").unwrap(),
        };
        let [bearer, good] = [&token, &good].map(|token| format!("Bearer {token}"));
        let alone = authenticate(variables, &[("authorization", &bearer)]).await;
        let beside = [("authorization", &*good), (header_of("customer"), &token)];
        let beside = authenticate(variables, &beside).await;
        let found = format!("{}, {}", found(alone), found(beside));
        assert_eq!(found, expected, "{request}");
    }
}

#[test]
fn two_kinds_that_could_be_mixed_up_are_a_problem() {
    let same_issuer = |variables: &[(&str, &str)]| {
        let issuer = [("CUSTOMER_TOKEN_ISSUER", "https://auth.example.com")];
        problems(&[variables, &issuer].concat()).len()
    };
    let audience = ("CUSTOMER_TOKEN_AUDIENCE", "x,carts");
    assert_eq!(same_issuer(&[]), 0);
    assert_eq!(same_issuer(&[audience]), 1);
    // The required claims of access tokens and of customer tokens, and the problems.
    let table = r#"
        {"a":1} {"a":2} 0
        {"a":1} {"a":1.0} 1
        {"a":1} {"a":"1"} 0
        {"a":1} {"a":null} 0
        {"a":null} {"a":null} 1
        {"a":1} {"b":2} 1
        {"a":1}  1
        {"a":["x","y"]} {"a":["z","y"]} 1
        {"a":["x","y"],"b":true} {"b":false,"a":"x"} 0
    "#;
    for row in table.trim().lines() {
        let columns: Vec<&str> = row.trim().split(' ').collect();
        let found = same_issuer(&[
            audience,
            ("ACCESS_TOKEN_CLAIMS", columns[0]),
            ("CUSTOMER_TOKEN_CLAIMS", columns[1]),
        ]);
        assert_eq!(found.to_string(), columns[2], "{row}");
    }
    // Each of the six pairs.
    let all = ["ACCESS", "CUSTOMER", "ACCOUNT", "CART"];
    let names = ["JWKS", "ISSUER", "AUDIENCE"].map(|name| {
        let usual = environment(&[])[&format!("ACCESS_TOKEN_{name}")].clone();
        all.map(|kind| (format!("{kind}_TOKEN_{name}"), usual.clone()))
    });
    let variables = names.concat();
    let variables = variables.iter().map(|(name, value)| (&**name, &**value));
    let found = problems(&variables.collect::<Vec<_>>());
    assert_eq!(found.len(), 6, "{found:?}");
    for (index, kind) in all.iter().enumerate() {
        for other in &all[..index] {
            let of = |text: &&String| {
                text.contains(&format!("{kind}_")) && text.contains(&format!("{other}_"))
            };
            assert_eq!(found.iter().filter(of).count(), 1, "{kind} {other}");
        }
    }
}

#[test]
fn a_bad_value_of_a_variable_is_a_problem() {
    let table = r#"
        SSL_CERT_FILE=/no/such/file
        SSL_CERT_FILE=/dev/null
        ACCESS_TOKEN_GRANT_CLAIM=gty
        ACCESS_TOKEN_AUDIENCE=carts,
        ACCESS_TOKEN_AUDIENCE=,
        CUSTOMER_TOKEN_AUDIENCE=a, ,b
        BACK_END_CLAIM=scope,,azp
        BACK_END_VALUES=,all
        BACK_END_VALUES=all,carts write
        ACCESS_TOKEN_CLAIMS=token_use
        ACCESS_TOKEN_CLAIMS=[]
        ACCESS_TOKEN_CLAIMS={}
        ACCESS_TOKEN_CLAIMS={"a":{}}
        ACCESS_TOKEN_CLAIMS={"a":[]}
        ACCESS_TOKEN_CLAIMS={"a":["x",null]}
        ACCESS_TOKEN_CLAIMS={"a":[["x"]]}
        ACCESS_TOKEN_CLAIMS={"a":{"$serde_json::private::RawValue":"1"}}
        ACCESS_TOKEN_CLAIMS={"a":1,"\u0061":1}
        ACCOUNT_ID_CLAIM=account_id
        CUSTOMER_ID_CLAIM=email
        CUSTOMER_ID_CLAIM= aud
        CUSTOMER_ID_CLAIM=client_id
        CUSTOMER_ID_CLAIM=preferred_username
        CUSTOMER_ID_CLAIM=phone_number_verified
        CUSTOMER_ID_CLAIM=updated_at
    "#;
    for row in table.trim().lines() {
        let (name, value) = row.trim().split_once('=').unwrap();
        let found = problems(&[(name, value)]);
        assert_eq!(found.len(), 1, "{row}: {found:?}");
        assert!(found[0].starts_with(name), "{row}: {found:?}");
    }
    for (name, missing) in [
        ("CART_TOKEN_CLAIMS", "CART_TOKEN_JWKS"),
        ("ACCOUNT_TOKEN_CLAIMS", "ACCOUNT_TOKEN_ISSUER"),
    ] {
        let found = problems(&[(name, r#"{"a":1}"#)]);
        let mut starts = found.iter().map(|problem| problem.starts_with(missing));
        assert!(starts.any(|starts| starts), "{found:?}");
    }
    let claims = r#" {"a":null,"b":["x",1,true],"":"x"} "#;
    let good = [
        ("ACCESS_TOKEN_GRANT_CLAIM", " "),
        ("CUSTOMER_ID_CLAIM", "oid"),
        ("ACCOUNT_ID_CLAIM", "sub"),
        ("ACCESS_TOKEN_CLAIMS", claims),
    ];
    assert_eq!(problems(&good), Vec::<String>::new());
}

/// The answer has the code of what is missing, the log the claim of the access token.
#[tokio::test]
async fn the_answer_and_the_log_say_what_is_missing() {
    let accounts = account_token_variables();
    // A configuration, the caller, and whose carts they ask for; the code and the claim.
    let table = "
        usual nobody customers/ron => customer_token_required grant_type
        usual nobody accounts/acme => back_end_required grant_type
        usual customer accounts/ron => back_end_required -
        accounts nobody accounts/acme => account_token_required grant_type
        accounts customer accounts/ron => account_token_required -
        accounts account customers/acme => customer_token_required -
        one_token account customers/acme => other_customer -
        uid nobody customers/ron => back_end_required uid
    ";
    for row in table.trim().lines() {
        let words: Vec<&str> = row.split_whitespace().collect();
        let [variables, caller, party, "=>", code, claim] = words[..] else {
            panic!("{row}");
        };
        let world = World::with(&configuration(variables, &accounts)).await;
        let mut function = Function::start(world.env()).await;
        let call = world.get(&format!("/v2/{party}/relationships/carts"));
        let call = match caller {
            "customer" => call.customer(RON),
            "account" => call.account("acme"),
            _ => call.grant("implicit"),
        };
        call.to(Some(&function)).send().await.refused(403, code);
        let (_, line) = function.line().await;
        let logged = line["claim"].as_str().unwrap_or("-");
        assert_eq!((&line["caller"], logged), (&json!(caller), claim), "{row}");
    }
    let world = World::with_account_tokens().await;
    let both = world.get("/v2/carts").customer(RON).account("acme");
    let source = both.send().await.refused(400, "several_parties");
    let header = "EP-Account-Management-Authentication-Token";
    assert_eq!(source, json!({ "header": header }));
    let answer = world.get("/v2/carts").back_end().send().await;
    let source = answer.refused(403, "customer_token_required");
    assert_eq!(source, json!({ "header": "x-moltin-customer-token" }));
    let text = answer.errors("detail")[0].to_string();
    let instead = "GET /v2/customers/{customerId}/relationships/carts";
    assert!(text.contains(instead), "{text}");

    let mut function = Function::start(world.env()).await;
    let token = authorities().access.token("me", &json!({ "exp": null }));
    let call = world.get("/v2/carts").bearer(&token.unwrap());
    let answer = call.to(Some(&function)).send().await;
    answer.refused(401, "invalid_access_token");
    let (_, line) = function.line().await;
    assert_eq!([&line["cause"], &line["claim"]], ["missing_claim", "exp"]);
}

/// `Bearer:` is what Elastic Path's Go client sends.
#[tokio::test]
async fn the_bearer_scheme_may_be_in_any_case_with_a_colon_and_extra_spaces() {
    let world = World::new().await;
    let token = access_token("client_credentials");
    let call = |value: &str| {
        let call = world.associate("cart-1", &[RON]);
        call.header("authorization", value)
    };
    let [basic, joined] = ["Basic ", "Bearer:"].map(|scheme| format!("{scheme}{token}"));
    let bad = ["", "Bearer", "Bearer  ", "Bearer:", &basic, &joined, &token];
    let bad = bad.map(call).into_iter();
    for call in bad.chain([call("").without_header("authorization")]) {
        let answer = call.customer_token(&customer_token(RON)).send().await;
        let source = answer.refused(401, "access_token_required");
        assert_eq!(source, json!({ "header": "Authorization" }));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    assert!(world.stored().await.is_empty());
    for scheme in ["bearer ", "BEARER ", "Bearer   ", "Bearer: ", "bearer:  "] {
        let answer = call(&format!("{scheme}{token}")).send().await;
        assert!([200, 204].contains(&answer.status), "{scheme}: {answer:?}");
    }
}

/// A POST by Ron's storefront, for himself.
fn rons<'w>(world: &'w World, cart: &str) -> Call<'w> {
    world.post(cart).customer(RON).body(linkage(&[RON]))
}

#[tokio::test]
async fn a_customer_needs_a_cart_token_if_cart_tokens_are_configured() {
    let world = World::with_cart_tokens().await;
    for grant in ["implicit", "client_credentials"] {
        let answer = rons(&world, "cart-1").grant(grant).send().await;
        let source = answer.refused(403, "cart_token_required");
        assert_eq!(source, json!({ "header": "x-cart-token" }));
    }
    // It is reported after all other faults.
    let call = || rons(&world, "cart-1");
    rons(&world, "a b").send().await.refused(400, "invalid_id");
    call().text("{").send().await.refused(400, "invalid_json");
    let others = call().body(linkage(&["hermione"])).send().await;
    others.refused(403, "other_customer");
    assert!(world.stored().await.is_empty());

    let call = || rons(&world, "cart-1").cart_token(&cart_token("cart-1"));
    call().send().await.created(&[RON]);
    call().send().await.unchanged();
}

/// The caller expects a check that does not happen.
#[tokio::test]
async fn a_cart_token_is_refused_if_cart_tokens_are_not_configured() {
    let world = World::new().await;
    for token in ["x", "", &cart_token("cart-1")] {
        let call = rons(&world, "cart-1").cart_token(token);
        call.send().await.refused(401, "invalid_cart_token");
        let back_end = world.associate("cart-2", &[RON]).cart_token(token);
        assert!([200, 204].contains(&back_end.send().await.status));
    }
    assert_eq!(world.stored().await.len(), 1);
}

#[tokio::test]
async fn a_cart_token_is_ignored_where_none_is_needed() {
    let world = World::with_cart_tokens().await;
    let back_end = world.associate("cart-1", &[RON]).cart_token("x");
    back_end.send().await.created(&[RON]);
    for token in ["x", &cart_token("cart-2")] {
        let nobody = world.associate("cart-2", &[RON]).grant("implicit");
        let answer = nobody.cart_token(token).send().await;
        answer.refused(403, "customer_token_required");
    }
    for path in [
        "/v2/carts/cart-1/relationships/customers",
        "/v2/carts",
        "/v2/customers/ron/relationships/carts",
    ] {
        let call = || world.get(path).customer(RON);
        for call in [call(), call().cart_token("x")] {
            assert_eq!(call.send().await.status, 200, "{path}");
        }
    }
    let call = || world.dissociate("cart-1", &[RON]).customer(RON);
    for call in [call(), call().cart_token("x")] {
        call.send().await.unchanged();
    }
    assert!(world.stored().await.is_empty());
}

/// A caller with a token for another cart learns no more than a caller with a forged one,
/// also if something else is wrong.
#[tokio::test]
async fn an_invalid_cart_token_gets_the_same_401_whatever_else_is_wrong() {
    let world = World::with_cart_tokens().await;
    let mut answers = Vec::new();
    for token in ["", " ", "x.y.z", &cart_token("cart-2")] {
        let call = |cart| rons(&world, cart).cart_token(token);
        for call in [
            call("cart-1"),
            call("a b"),
            call("cart-1").grant("client_credentials"),
            call("cart-1").header("accept", "application/vnd.api+json;ext=x"),
            call("cart-1").header("content-type", "text/plain"),
            call("cart-1").text("{"),
            call("cart-1").body(linkage(&["hermione"])),
        ] {
            let answer = call.send().await;
            let source = answer.refused(401, "invalid_cart_token");
            assert_eq!(source, json!({ "header": "x-cart-token" }), "{token}");
            let challenge = Some("Bearer error=\"invalid_token\"");
            assert_eq!(answer.header("www-authenticate"), challenge);
            answers.push(answer.document());
        }
        let call = call("cart-1").customer_token("x");
        call.send().await.refused(401, "invalid_customer_token");
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]));
    assert!(world.stored().await.is_empty());
}
