//! Events of a storefront's requests, with an access token and a customer token that are signed with RS256.

use std::path::Path;

use anyhow::Result;
use dev::TABLE_NAME;
use dev::environment::{Environment, REGION, environment};
use dev::tokens::Authorities;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::emulator::Emulator;

const EVENT: &str = include_str!("../../../events/associate-customer-token.json");

/// The customer in the event.
const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// The variables with the roots that a program trusts: of Rust, of boto3, of Node.js.
pub(crate) const ROOTS: [&str; 3] = ["SSL_CERT_FILE", "AWS_CA_BUNDLE", "NODE_EXTRA_CA_CERTS"];

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new association, with the tokens of all other requests.
    Usual,
    /// A new association, with a new access token.
    NewAccessToken,
    /// A new association, with two new tokens.
    NewTokens,
    /// The same association each time, with the tokens of all other requests.
    Repeated,
}

/// The callers, and the authorities that issue their tokens.
pub(crate) struct Callers {
    authorities: Authorities,
    access_token: String,
    customer_token: String,
    repeated_cart: String,
}

impl Callers {
    pub(crate) fn new() -> Result<Self> {
        let authorities = Authorities::generate_rs256()?;
        let Authorities {
            access, customer, ..
        } = &authorities;
        Ok(Self {
            access_token: access.access_token("storefront", "implicit")?,
            customer_token: customer.customer_token(CUSTOMER)?,
            repeated_cart: Uuid::new_v4().to_string(),
            authorities,
        })
    }

    /// An event.
    pub(crate) fn event(&self, kind: Kind) -> Result<String> {
        let Authorities {
            access, customer, ..
        } = &self.authorities;
        let unique = Uuid::new_v4().to_string();
        let access_token = match kind {
            Kind::NewAccessToken | Kind::NewTokens => {
                let claims = json!({ "grant_type": "implicit", "jti": unique });
                access.token("storefront", &claims)?
            }
            Kind::Usual | Kind::Repeated => self.access_token.clone(),
        };
        let customer_token = match kind {
            Kind::NewTokens => customer.token(CUSTOMER, &json!({ "jti": unique }))?,
            Kind::Usual | Kind::NewAccessToken | Kind::Repeated => self.customer_token.clone(),
        };
        let cart = match kind {
            Kind::Repeated => &self.repeated_cart,
            Kind::Usual | Kind::NewAccessToken | Kind::NewTokens => &unique,
        };
        let path = format!("/v2/carts/{cart}/relationships/customers");
        let mut event: Value = serde_json::from_str(EVENT)?;
        event["headers"]["authorization"] = json!(format!("Bearer {access_token}"));
        event["headers"]["x-moltin-customer-token"] = json!(customer_token);
        event["pathParameters"]["cartId"] = json!(cart);
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        Ok(event.to_string())
    }

    /// The environment of all programs. The yardsticks ignore most of it.
    pub(crate) fn environment(&self, emulator: &Emulator, endpoint: &str) -> Result<Environment> {
        self.environment_with(&emulator.roots(), endpoint)
    }

    /// The environment of programs that trust this PEM bundle.
    pub(crate) fn environment_with(&self, roots: &Path, endpoint: &str) -> Result<Environment> {
        let mut environment = environment(&self.authorities, endpoint, TABLE_NAME)?;
        let roots = roots.to_string_lossy().into_owned();
        for name in ROOTS {
            environment.insert(name.to_owned(), roots.clone());
        }
        // Lambda sets both names of the region, and boto3 reads this one.
        environment.insert("AWS_DEFAULT_REGION".to_owned(), REGION.to_owned());
        // The SDK says on standard error that it will not support Node.js 20 for long.
        let quiet = "AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED";
        environment.insert(quiet.to_owned(), "true".to_owned());
        Ok(environment)
    }
}
