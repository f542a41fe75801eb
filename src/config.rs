//! The configuration: a function of a lookup of environment variables. All faults
//! are reported together.

use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use lambda_http::http::Uri;

use crate::auth::{Expected, KeySet, KeySource, TokenPolicy};
use crate::client::TrustedRoots;

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// The checked configuration.
#[derive(Debug)]
pub struct Config {
    /// `TABLE_NAME`
    pub table_name: String,
    /// `AWS_REGION`
    pub region: String,
    /// `ACCESS_TOKEN_JWKS`, `ACCESS_TOKEN_ISSUER`, `ACCESS_TOKEN_AUDIENCE`
    pub access_tokens: TokenPolicy,
    /// `CUSTOMER_TOKEN_JWKS`, `CUSTOMER_TOKEN_ISSUER`, `CUSTOMER_TOKEN_AUDIENCE`
    pub customer_tokens: TokenPolicy,
    /// `CART_TOKEN_JWKS`, `CART_TOKEN_ISSUER`, `CART_TOKEN_AUDIENCE`
    pub cart_tokens: Option<TokenPolicy>,
    /// `ACCESS_TOKEN_GRANT_CLAIM`
    pub grant_claim: String,
    /// `ASSOCIATION_LIFETIME_DAYS`
    pub association_lifetime: Option<Duration>,
    /// `SSL_CERT_FILE`
    pub trusted_roots: TrustedRoots,
    /// `ERROR_DOCS_URL`
    pub error_docs_url: Option<String>,
}

/// All faults of a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The faults, at least one. Each begins with the variable's name.
    pub faults: Vec<String>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.faults.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// Reads the configuration. An empty value counts as absent.
    ///
    /// # Errors
    ///
    /// All faults at once.
    pub fn from_lookup(lookup: impl Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let mut reader = Reader {
            lookup,
            faults: Vec::new(),
        };
        let table_name = reader.required("TABLE_NAME");
        let region = reader.required("AWS_REGION");
        let access_tokens = reader.token_policy("ACCESS_TOKEN");
        let customer_tokens = reader.token_policy("CUSTOMER_TOKEN");
        let cart_tokens = reader.optional_token_policy("CART_TOKEN");
        reader.check_parties_differ(["ACCESS_TOKEN", "CUSTOMER_TOKEN", "CART_TOKEN"]);
        let grant_claim = reader.optional("ACCESS_TOKEN_GRANT_CLAIM");
        let association_lifetime = reader.lifetime("ASSOCIATION_LIFETIME_DAYS");
        let trusted_roots = reader.trusted_roots("SSL_CERT_FILE");
        let error_docs_url = reader.url("ERROR_DOCS_URL");

        // The SDK reads these, and reports a bad one only when it is used.
        for name in ["AWS_ENDPOINT_URL_DYNAMODB", "AWS_ENDPOINT_URL"] {
            reader.url(name);
        }

        match (table_name, region, access_tokens, customer_tokens) {
            (Some(table_name), Some(region), Some(access_tokens), Some(customer_tokens))
                if reader.faults.is_empty() =>
            {
                Ok(Self {
                    table_name,
                    region,
                    access_tokens,
                    customer_tokens,
                    cart_tokens,
                    grant_claim: grant_claim.unwrap_or_else(|| "grant_type".to_owned()),
                    association_lifetime,
                    trusted_roots,
                    error_docs_url,
                })
            }
            _ => Err(ConfigError {
                faults: reader.faults,
            }),
        }
    }
}

/// Looks variables up and collects their faults.
struct Reader<L> {
    lookup: L,
    faults: Vec<String>,
}

impl<L: Fn(&str) -> Option<String>> Reader<L> {
    fn optional(&self, name: &str) -> Option<String> {
        (self.lookup)(name).filter(|value| !value.trim().is_empty())
    }

    fn required(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name);
        if value.is_none() {
            self.faults.push(format!("{name} is required"));
        }
        value
    }

    fn token_policy(&mut self, prefix: &str) -> Option<TokenPolicy> {
        let keys = self.key_source(&format!("{prefix}_JWKS"));
        let issuer = self.required(&format!("{prefix}_ISSUER"));
        let audience = self.required(&format!("{prefix}_AUDIENCE"));
        let (issuer, audience) = (issuer?, audience?);
        Some(TokenPolicy {
            keys: keys?,
            expected: Expected { issuer, audience },
        })
    }

    /// Reads a policy of which all variables are set or none.
    fn optional_token_policy(&mut self, prefix: &str) -> Option<TokenPolicy> {
        let names = ["JWKS", "ISSUER", "AUDIENCE"].map(|name| format!("{prefix}_{name}"));
        let is_set = names.map(|name| self.optional(&name).is_some());
        if is_set.contains(&true) {
            self.token_policy(prefix)
        } else {
            None
        }
    }

    /// Checks that no two kinds of tokens have the same issuer and audience, so that
    /// a token of one kind cannot pass for one of another.
    fn check_parties_differ(&mut self, prefixes: [&str; 3]) {
        let parties = prefixes.map(|prefix| {
            let read = |name| self.optional(&format!("{prefix}_{name}"));
            read("ISSUER").zip(read("AUDIENCE"))
        });
        for (index, prefix) in prefixes.iter().enumerate() {
            for (other, pair) in prefixes.iter().zip(&parties).take(index) {
                if pair.is_some() && *pair == parties[index] {
                    self.faults.push(format!(
                        "{prefix}_ISSUER, {prefix}_AUDIENCE must differ from {other}_ISSUER, \
                         {other}_AUDIENCE, so that one kind of token cannot pass for the other"
                    ));
                }
            }
        }
    }

    fn key_source(&mut self, name: &str) -> Option<KeySource> {
        let value = self.required(name)?;
        let source = if value.trim_start().starts_with('{') {
            KeySet::parse(&value)
                .map(KeySource::Inline)
                .map_err(|error| error.to_string())
        } else {
            key_set_url(value.trim()).map(KeySource::Url)
        };
        source
            .map_err(|fault| self.faults.push(format!("{name} {fault}")))
            .ok()
    }

    fn trusted_roots(&mut self, name: &str) -> TrustedRoots {
        let Some(path) = self.optional(name) else {
            return TrustedRoots::built_in();
        };
        TrustedRoots::from_pem_file(Path::new(&path)).unwrap_or_else(|fault| {
            self.faults.push(format!("{name} {fault}"));
            TrustedRoots::built_in()
        })
    }

    fn lifetime(&mut self, name: &str) -> Option<Duration> {
        let value = self.optional(name)?;
        match value.trim().parse() {
            Ok(days @ 1..=3650) => Some(Duration::from_secs(days * SECONDS_A_DAY)),
            _ => {
                self.faults
                    .push(format!("{name} must be a whole number from 1 to 3650"));
                None
            }
        }
    }

    fn url(&mut self, name: &str) -> Option<String> {
        let value = self.optional(name)?;
        let url = value.parse::<Uri>().ok();
        let is_web = url.is_some_and(|url| {
            matches!(url.scheme_str(), Some("http" | "https"))
                && url.host().is_some_and(|host| !host.is_empty())
        });
        if !is_web {
            self.faults
                .push(format!("{name} must be an http:// or https:// URL"));
            return None;
        }
        Some(value)
    }
}

/// Parses the URL of a key set. It must be `https`, so that nobody can change the
/// keys on the way, or `http` on this machine.
fn key_set_url(value: &str) -> Result<Uri, String> {
    const FAULT: &str = "must be a JWK Set (JSON that begins with {) or the https:// URL of one \
                         (http:// for loopback hosts only)";
    let url: Uri = value.parse().map_err(|_| FAULT)?;
    let authority = url.authority().ok_or(FAULT)?;
    if authority.as_str().contains('@') {
        return Err("must not have a user or a password in its URL".to_owned());
    }
    match url.scheme_str() {
        Some("https") => Ok(url),
        Some("http") if is_loopback(authority.host()) => Ok(url),
        _ => Err(FAULT.to_owned()),
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
    fn a_key_set_has_an_https_or_a_loopback_url() {
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
    }

    #[test]
    fn a_key_set_has_no_other_url() {
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
