//! What the environment says. Configuration is a function of a lookup; all
//! faults come back together.

use std::fmt;
use std::time::Duration;

use crate::auth::{Expected, KeySet, TokenPolicy};

const SECONDS_A_DAY: u64 = 24 * 60 * 60;

/// Everything that is set from outside, checked.
#[derive(Debug)]
pub struct Config {
    /// `TABLE_NAME`
    pub table_name: String,
    /// `ACCESS_TOKEN_JWKS`, `ACCESS_TOKEN_ISSUER`, `ACCESS_TOKEN_AUDIENCE`
    pub access_tokens: TokenPolicy,
    /// `CUSTOMER_TOKEN_JWKS`, `CUSTOMER_TOKEN_ISSUER`, `CUSTOMER_TOKEN_AUDIENCE`
    pub customer_tokens: TokenPolicy,
    /// `ACCESS_TOKEN_GRANT_CLAIM`
    pub grant_claim: String,
    /// `ASSOCIATION_LIFETIME_DAYS`
    pub association_lifetime: Option<Duration>,
    /// `ERROR_DOCS_URL`
    pub error_docs_url: Option<String>,
}

/// Every fault of a configuration; displays as one line a fault.
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
    /// Reads the configuration. An empty value counts as none.
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
        let access_tokens = reader.token_policy("ACCESS_TOKEN");
        let customer_tokens = reader.token_policy("CUSTOMER_TOKEN");
        let grant_claim = reader.optional("ACCESS_TOKEN_GRANT_CLAIM");
        let association_lifetime = reader.lifetime("ASSOCIATION_LIFETIME_DAYS");
        let error_docs_url = reader.url("ERROR_DOCS_URL");

        if let (Some(access), Some(customer)) = (&access_tokens, &customer_tokens)
            && access.expected == customer.expected
        {
            reader.faults.push(
                "CUSTOMER_TOKEN_ISSUER, CUSTOMER_TOKEN_AUDIENCE must differ from the pair of the \
                 access token, so that one kind of token cannot pass for the other"
                    .to_owned(),
            );
        }
        match (table_name, access_tokens, customer_tokens) {
            (Some(table_name), Some(access_tokens), Some(customer_tokens))
                if reader.faults.is_empty() =>
            {
                Ok(Self {
                    table_name,
                    access_tokens,
                    customer_tokens,
                    grant_claim: grant_claim.unwrap_or_else(|| "grant_type".to_owned()),
                    association_lifetime,
                    error_docs_url,
                })
            }
            _ => Err(ConfigError {
                faults: reader.faults,
            }),
        }
    }
}

/// Looks variables up and gathers what is wrong with them.
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
        let keys = self.key_set(&format!("{prefix}_JWKS"));
        let issuer = self.required(&format!("{prefix}_ISSUER"));
        let audience = self.required(&format!("{prefix}_AUDIENCE"));
        let (issuer, audience) = (issuer?, audience?);
        Some(TokenPolicy {
            keys: keys?,
            expected: Expected { issuer, audience },
        })
    }

    fn key_set(&mut self, name: &str) -> Option<KeySet> {
        let value = self.required(name)?;
        if !value.trim_start().starts_with('{') {
            self.faults.push(format!(
                "{name} must be a JWK Set: JSON that begins with {{"
            ));
            return None;
        }
        KeySet::parse(&value)
            .map_err(|error| self.faults.push(format!("{name} {error}")))
            .ok()
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
        if !value.starts_with("https://") && !value.starts_with("http://") {
            self.faults
                .push(format!("{name} must be an http:// or https:// URL"));
            return None;
        }
        Some(value)
    }
}
