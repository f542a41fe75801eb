//! Events as a storefront causes them: a cart of its own each, an access token, a customer token, both signed with RS256.

use anyhow::Result;
use jsonwebtoken::Algorithm;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::emulator::{Emulator, REGION, TABLE_NAME};
use crate::tokens::{Authority, SigningKey};

const EVENT: &str = include_str!(concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/events/associate-customer-token.json"
));

const CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// Which tokens come with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tokens {
    /// Those that came with all others.
    Seen,
    /// An access token that never came before.
    NewAccess,
    /// Two tokens that never came before.
    New,
}

/// Those whose tokens the function trusts, and who call it.
pub(crate) struct Callers {
    access: Authority,
    customer: Authority,
    access_token: String,
    customer_token: String,
}

impl Callers {
    pub(crate) fn new() -> Result<Self> {
        let access = Authority {
            issuer: "https://tokens.example.com/access".to_owned(),
            audience: "carts".to_owned(),
            key: SigningKey::generate("access-tokens", Algorithm::RS256)?,
        };
        let customer = Authority {
            issuer: "https://tokens.example.com/customers".to_owned(),
            audience: "carts-customers".to_owned(),
            key: SigningKey::generate("customer-tokens", Algorithm::RS256)?,
        };
        let access_token = access.access_token("storefront", "implicit")?;
        let customer_token = customer.customer_token(CUSTOMER)?;
        Ok(Self {
            access,
            customer,
            access_token,
            customer_token,
        })
    }

    /// An event that associates a cart that is in no other.
    pub(crate) fn event(&self, tokens: Tokens) -> Result<String> {
        let unique = json!({ "jti": Uuid::new_v4().to_string() });
        let with = |claims: &[(&str, &str)]| {
            let mut all = unique.clone();
            for (name, value) in claims {
                all[*name] = json!(value);
            }
            all
        };
        let new_access = || {
            self.access
                .token("storefront", &with(&[("grant_type", "implicit")]))
        };
        let new_customer = || self.customer.token(CUSTOMER, &with(&[]));
        let (access, customer) = match tokens {
            Tokens::Seen => (self.access_token.clone(), self.customer_token.clone()),
            Tokens::NewAccess => (new_access()?, self.customer_token.clone()),
            Tokens::New => (new_access()?, new_customer()?),
        };
        let cart = Uuid::new_v4().to_string();
        let path = format!("/v2/carts/{cart}/relationships/customers");
        let mut event: Value = serde_json::from_str(EVENT)?;
        event["headers"]["authorization"] = json!(format!("Bearer {access}"));
        event["headers"]["x-moltin-customer-token"] = json!(customer);
        event["pathParameters"]["cartId"] = json!(cart);
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        Ok(event.to_string())
    }

    /// The environment of all programs; the yardsticks do not look at most of it.
    pub(crate) fn environment(
        &self,
        emulator: &Emulator,
        endpoint: &str,
    ) -> Result<Vec<(&'static str, String)>> {
        let Self {
            access, customer, ..
        } = self;
        Ok(vec![
            ("TABLE_NAME", TABLE_NAME.to_owned()),
            ("ACCESS_TOKEN_JWKS", access.key.jwks()?),
            ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
            ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
            ("CUSTOMER_TOKEN_JWKS", customer.key.jwks()?),
            ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
            ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.to_owned()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
            (
                "SSL_CERT_FILE",
                emulator.roots().to_string_lossy().into_owned(),
            ),
        ])
    }
}
