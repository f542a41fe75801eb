//! The configuration: a function of a lookup of environment variables. All problems
//! are reported together.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use lambda_http::http::Uri;

use crate::auth::{
    BackEnds, Expected, KeySet, KeySource, RequiredClaims, TokenPolicies, TokenPolicy,
};
use crate::client::TrustedRoots;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Claims that must not be the id of a customer or account: those that are not about a
/// person, and those that users can change (OpenID Connect Core section 5.1).
const NO_IDS: &str = "iss aud exp nbf iat jti azp client_id cid appid \
    name given_name family_name middle_name nickname preferred_username profile picture website \
    email email_verified gender birthdate zoneinfo locale phone_number phone_number_verified address \
    updated_at";

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    /// `TABLE_NAME`
    pub table_name: String,
    /// `AWS_REGION`
    pub region: String,
    /// `ACCESS_TOKEN_…`, `CUSTOMER_TOKEN_…`, `ACCOUNT_TOKEN_…`, `CART_TOKEN_…`,
    /// `BACK_END_CLAIM`, `BACK_END_VALUES`, `CUSTOMER_ID_CLAIM`, `ACCOUNT_ID_CLAIM`
    pub tokens: TokenPolicies,
    /// `ASSOCIATION_LIFETIME_DAYS`
    pub association_lifetime: Option<Duration>,
    /// `SSL_CERT_FILE`
    pub trusted_roots: TrustedRoots,
    /// `ERROR_DOCS_URL`
    pub error_docs_url: Option<String>,
}

/// All problems of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The problems, at least one. Each begins with the variable's name.
    pub problems: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration. An empty value counts as absent.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            lookup,
            problems: Vec::new(),
        };
        let config = Self {
            table_name: reader.required("TABLE_NAME"),
            region: reader.required("AWS_REGION"),
            tokens: reader.token_policies(),
            association_lifetime: reader.lifetime("ASSOCIATION_LIFETIME_DAYS"),
            trusted_roots: reader.trusted_roots("SSL_CERT_FILE"),
            error_docs_url: reader.url("ERROR_DOCS_URL"),
        };
        // The SDK reads these, and reports a bad one only when it is used.
        for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
            reader.url(name);
        }
        let problems = reader.problems;
        if problems.is_empty() {
            Ok(config)
        } else {
            Err(ConfigError { problems })
        }
    }
}

/// Looks variables up and collects their problems. In place of a value that is missing or
/// bad it returns another one, so that all problems are found: with a problem, there is no
/// configuration.
struct Reader<L> {
    lookup: L,
    problems: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn required(&mut self, name: &str) -> String {
        self.optional(name).unwrap_or_else(|| {
            self.problems.push(format!("{name} is required"));
            String::new()
        })
    }

    /// Reports the problem with a variable, if there is one.
    fn reported<T>(&mut self, name: &str, value: Result<T, impl fmt::Display>) -> Option<T> {
        let report = |problem| self.problems.push(format!("{name} {problem}"));
        value.map_err(report).ok()
    }

    fn token_policies(&mut self) -> TokenPolicies {
        if self.optional("ACCESS_TOKEN_GRANT_CLAIM").is_some() {
            self.problems.push(
                "ACCESS_TOKEN_GRANT_CLAIM is replaced by BACK_END_CLAIM and BACK_END_VALUES"
                    .to_owned(),
            );
        }
        let access = self.token_policy("ACCESS_TOKEN");
        let customer = self.optional_token_policy("CUSTOMER_TOKEN");
        let account = self.optional_token_policy("ACCOUNT_TOKEN");
        let cart = self.optional_token_policy("CART_TOKEN");
        let account_id_claim = self.id_claim("ACCOUNT_ID_CLAIM");
        if account.is_none() && account_id_claim != "sub" {
            self.problems
                .push("ACCOUNT_ID_CLAIM needs ACCOUNT_TOKEN_JWKS and its like".to_owned());
        }
        self.check_kinds_are_apart(&[
            ("ACCESS_TOKEN", Some(&access)),
            ("CUSTOMER_TOKEN", customer.as_ref()),
            ("ACCOUNT_TOKEN", account.as_ref()),
            ("CART_TOKEN", cart.as_ref()),
        ]);
        TokenPolicies {
            access,
            customer,
            account,
            cart,
            back_ends: BackEnds {
                claims: self.list("BACK_END_CLAIM", &["grant_type"]),
                values: self.back_end_values("BACK_END_VALUES"),
            },
            customer_id_claim: self.id_claim("CUSTOMER_ID_CLAIM"),
            account_id_claim,
        }
    }

    fn token_policy(&mut self, prefix: &str) -> TokenPolicy {
        let keys = self.key_source(&format!("{prefix}_JWKS"));
        let issuer = self.required(&format!("{prefix}_ISSUER"));
        let audiences = format!("{prefix}_AUDIENCE");
        self.required(&audiences);
        let audiences = self.list(&audiences, &[]);
        let claims = self.required_claims(&format!("{prefix}_CLAIMS"));
        let expected = Expected {
            issuer,
            audiences,
            claims,
        };
        TokenPolicy { keys, expected }
    }

    /// Reads a policy if any of its variables is set.
    fn optional_token_policy(&mut self, prefix: &str) -> Option<TokenPolicy> {
        let names = ["JWKS", "ISSUER", "AUDIENCE", "CLAIMS"];
        let is_set = |name| self.optional(&format!("{prefix}_{name}")).is_some();
        let is_any_set = names.into_iter().any(is_set);
        is_any_set.then(|| self.token_policy(prefix))
    }

    fn required_claims(&mut self, name: &str) -> RequiredClaims {
        let json = self.optional(name);
        let claims = json.map(|json| self.reported(name, RequiredClaims::parse(&json)));
        claims.flatten().unwrap_or_default()
    }

    /// Checks that no token can pass for one of another kind.
    fn check_kinds_are_apart(&mut self, kinds: &[(&str, Option<&TokenPolicy>)]) {
        for (index, (name, policy)) in kinds.iter().enumerate() {
            for (other_name, other) in &kinds[..index] {
                // A missing issuer is reported elsewhere.
                if let (Some(policy), Some(other)) = (policy, other)
                    && !policy.expected.issuer.is_empty()
                    && !policy.expected.is_apart_from(&other.expected)
                {
                    self.problems.push(format!(
                        "{name}_ISSUER, {name}_AUDIENCE must differ from {other_name}_ISSUER, \
                         {other_name}_AUDIENCE, or {name}_CLAIMS and {other_name}_CLAIMS must have \
                         a claim with values that exclude each other, so that one kind of token \
                         cannot pass for the other"
                    ));
                }
            }
        }
    }

    /// Reads values that are separated by commas.
    fn list(&mut self, name: &str, default: &[&str]) -> Vec<String> {
        let Some(value) = self.optional(name) else {
            return default.iter().map(|&value| value.to_owned()).collect();
        };
        let values: Vec<String> = value
            .split(',')
            .map(|value| value.trim().to_owned())
            .collect();
        if values.iter().any(String::is_empty) {
            self.problems.push(format!(
                "{name} must not have an empty value between its commas"
            ));
        }
        values
    }

    fn back_end_values(&mut self, name: &str) -> Vec<String> {
        let values = self.list(name, &["client_credentials", "client-credentials"]);
        // A string claim is compared word by word, so no token could have such a value.
        if values.iter().any(|value| value.contains(' ')) {
            self.problems
                .push(format!("{name} must not have a value with a space"));
        }
        values
    }

    fn id_claim(&mut self, name: &str) -> String {
        let claim = self.optional(name);
        let claim = claim.map_or_else(|| "sub".to_owned(), |claim| claim.trim().to_owned());
        if NO_IDS.split(' ').any(|name| name == claim) {
            self.problems.push(format!(
                "{name} must not be {claim}: it does not identify a person, or users can change it"
            ));
        }
        claim
    }

    fn key_source(&mut self, name: &str) -> KeySource {
        let value = self.required(name);
        let source = match value.trim() {
            "" => None,
            json if json.starts_with('{') => {
                let keys = self.reported(name, KeySet::parse(json));
                keys.map(KeySource::Inline)
            }
            url => self.reported(name, key_set_url(url)).map(KeySource::Url),
        };
        source.unwrap_or_else(|| KeySource::Inline(KeySet::default()))
    }

    fn trusted_roots(&mut self, name: &str) -> TrustedRoots {
        let path = self.optional(name);
        let roots = path.map(|path| TrustedRoots::from_pem_file(Path::new(&path)));
        roots
            .and_then(|roots| self.reported(name, roots))
            .unwrap_or_else(TrustedRoots::built_in)
    }

    fn lifetime(&mut self, name: &str) -> Option<Duration> {
        let value = self.optional(name)?;
        let days = match value.trim().parse() {
            Ok(days @ 1..=3650) => Ok(Duration::from_secs(days * SECONDS_A_DAY)),
            _ => Err("must be a whole number from 1 to 3650"),
        };
        self.reported(name, days)
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        let is_web = value.parse::<Uri>().is_ok_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        let url = is_web.then_some(value);
        self.reported(name, url.ok_or("must be an http:// or https:// URL"))
    }
}

/// Parses the URL of a key set. It must be `https`, so that nobody can change the
/// keys on the way, or `http` on this machine.
fn key_set_url(value: &str) -> Result<Uri, String> {
    const PROBLEM: &str = "must be a JWK Set (JSON that begins with {) or the https:// URL of one \
                         (http:// for loopback hosts only)";
    let url: Uri = value.parse().map_err(|_| PROBLEM)?;
    let authority = url.authority().ok_or(PROBLEM)?;
    if authority.as_str().contains('@') {
        return Err("must not have a user or a password in its URL".to_owned());
    }
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if is_loopback(authority.host()) => Ok(url),
        _ => Err(PROBLEM.to_owned()),
    }
}

fn is_loopback(host: &str) -> bool {
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || address
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_set_has_an_https_or_a_loopback_url_and_no_other() {
        for url in [
            "https://auth.example.com/.well-known/jwks.json",
            "https://auth.example.com:8443/keys?a=b",
            "http://localhost:8080/keys",
            "http://LOCALHOST/keys",
            "http://127.0.0.1/keys",
            "http://127.8.7.6:1/keys",
            "http://[::1]:8080/keys",
        ] {
            assert_eq!(
                key_set_url(url).map(|url| url.to_string()),
                Ok(url.to_owned())
            );
        }
        for url in [
            "keys.json",
            "/keys.json",
            "auth.example.com/keys",
            "ftp://auth.example.com/keys",
            "http://auth.example.com/keys",
            "http://localhost.example.com/keys",
            "http://127.0.0.1.example.com/keys",
            "http://128.0.0.1/keys",
            "http://0.0.0.0/keys",
            "http://[::2]/keys",
            "http://127.0.0.1@auth.example.com/keys",
            "https://user:password@auth.example.com/keys",
            "https://",
        ] {
            assert!(key_set_url(url).is_err(), "{url}");
        }
    }
}
