//! Events of a storefront's requests, with an access token and a customer token that are signed with RS256.

use anyhow::Result;
use dev::TABLE_NAME;
use dev::environment::{Environment, REGION, environment};
use dev::tokens::Authorities;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::store::Store;

const EVENT: &str = include_str!("../../../events/associate-customer-token.json");

const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new association, with the tokens of all other requests.
    Usual,
    NewAccessToken,
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

    pub(crate) fn event(&self, kind: Kind) -> Result<String> {
        let Authorities {
            access, customer, ..
        } = &self.authorities;
        let unique = Uuid::new_v4().to_string();
        let has_new_token = matches!(kind, Kind::NewAccessToken | Kind::NewTokens);
        let access_token = if has_new_token {
            let claims = json!({ "grant_type": "implicit", "jti": unique });
            access.token("storefront", &claims)?
        } else {
            self.access_token.clone()
        };
        let customer_token = if kind == Kind::NewTokens {
            customer.token(CUSTOMER, &json!({ "jti": unique }))?
        } else {
            self.customer_token.clone()
        };
        let cart = if kind == Kind::Repeated {
            &self.repeated_cart
        } else {
            &unique
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

    /// The environment of all programs, whose table is at this endpoint of the store. The yardsticks ignore most of it.
    pub(crate) fn environment(&self, store: &Store, endpoint: &str) -> Result<Environment> {
        let mut environment = environment(&self.authorities, endpoint, TABLE_NAME)?;
        let roots = store.authority.pem_file.path().to_string_lossy();
        environment.extend(
            [
                // The roots that Rust, boto3 and Node.js trust.
                ("SSL_CERT_FILE", &*roots),
                ("AWS_CA_BUNDLE", &roots),
                ("NODE_EXTRA_CA_CERTS", &roots),
                // Lambda sets both names of the region, and boto3 reads this one.
                ("AWS_DEFAULT_REGION", REGION),
                // The SDK says on standard error that it will not support Node.js 20 for long.
                ("AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED", "true"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        Ok(environment)
    }
}
