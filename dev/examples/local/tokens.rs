//! The tokens of the callers here, and the environment of a function that accepts them. With `ONE_TOKEN`, the access token
//! of a customer who has signed in names the customer, as most issuers do it; otherwise a second token does, as at Elastic
//! Path.

use std::path::Path;

use anyhow::Result;
use dev::TABLE_NAME;
use dev::environment::{Environment, account_token_variables, cart_token_variables, environment};
use dev::tokens::Authorities;
use serde_json::{Value, json};

const STOREFRONT: &str = "local-storefront";
const BACK_END: &str = "local-back-end";

/// Issues tokens with keys that are kept in a folder.
pub(crate) struct Tokens {
    authorities: Authorities,
    pub(crate) is_one_token: bool,
    pub(crate) demands_cart_tokens: bool,
}

impl Tokens {
    /// With the keys in `folder`. Missing ones are created.
    pub(crate) fn kept_in(folder: &Path) -> Result<Self> {
        Ok(Self {
            authorities: Authorities::kept_in(folder)?,
            is_one_token: is_set("ONE_TOKEN"),
            demands_cart_tokens: is_set("CART_TOKENS"),
        })
    }

    /// An access token for a client, with this grant.
    pub(crate) fn access(&self, client: &str, grant: &str) -> Result<String> {
        let claims = json!({ "client_id": client, "grant_type": grant });
        self.authorities.access.token(client, &claims)
    }

    pub(crate) fn back_end(&self) -> Result<String> {
        self.access(BACK_END, "client_credentials")
    }

    pub(crate) fn storefront(&self) -> Result<String> {
        self.access(STOREFRONT, "implicit")
    }

    /// The token that names a customer who has signed in.
    pub(crate) fn customer(&self, customer: &str) -> Result<String> {
        let Authorities {
            access,
            customer: customers,
            ..
        } = &self.authorities;
        if self.is_one_token {
            access.token(customer, &json!({ "client_id": STOREFRONT }))
        } else {
            customers.customer_token(customer)
        }
    }

    /// The token of a person who buys for an account.
    pub(crate) fn account(&self, account: &str, person: &str) -> Result<String> {
        self.authorities.account.account_token(account, person)
    }

    /// A cart token for the device that holds this cart.
    pub(crate) fn cart(&self, cart: &str) -> Result<String> {
        self.authorities.cart.cart_token(cart)
    }

    /// The headers with the tokens of a customer who has signed in.
    pub(crate) fn of_customer(&self, customer: &str) -> Result<Value> {
        let token = self.customer(customer)?;
        if self.is_one_token {
            return Ok(json!({ "Authorization": format!("Bearer {token}") }));
        }
        let mut headers = self.of_storefront()?;
        headers["x-moltin-customer-token"] = json!(token);
        Ok(headers)
    }

    /// The headers with the tokens of a person who buys for an account.
    pub(crate) fn of_account(&self, account: &str, person: &str) -> Result<Value> {
        let mut headers = self.of_storefront()?;
        headers["EP-Account-Management-Authentication-Token"] =
            json!(self.account(account, person)?);
        Ok(headers)
    }

    /// The headers of a storefront where nobody has signed in.
    pub(crate) fn of_storefront(&self) -> Result<Value> {
        Ok(json!({ "Authorization": format!("Bearer {}", self.storefront()?) }))
    }

    /// The environment of a function that accepts these tokens and whose table is at a DynamoDB endpoint. `errors_url` is
    /// where a page explains errors.
    pub(crate) fn environment(
        &self,
        endpoint: &str,
        errors_url: Option<String>,
    ) -> Result<Environment> {
        let mut environment = environment(&self.authorities, endpoint, TABLE_NAME)?;
        let mut set = |name: &str, value| environment.insert(name.to_owned(), value);
        for (name, value) in account_token_variables(&self.authorities)? {
            set(name, value);
        }
        if let Ok(days) = std::env::var("ASSOCIATION_LIFETIME_DAYS") {
            set("ASSOCIATION_LIFETIME_DAYS", days);
        }
        if let Some(url) = errors_url {
            set("ERROR_DOCS_URL", url);
        }
        if self.demands_cart_tokens {
            for (name, value) in cart_token_variables(&self.authorities)? {
                set(name, value);
            }
        }
        if self.is_one_token {
            environment.retain(|name, _| !name.starts_with("CUSTOMER_TOKEN_"));
        }
        // Variables by which a function trusts another issuer: if one is set here, even to nothing, it replaces that of the
        // local world.
        let of_issuers = [
            "ACCESS_TOKEN_",
            "CUSTOMER_TOKEN_",
            "BACK_END_CLAIM",
            "BACK_END_VALUES",
            "CUSTOMER_ID_CLAIM",
        ];
        let is_of_issuer = |name: &str| of_issuers.iter().any(|begin| name.starts_with(begin));
        environment.extend(std::env::vars().filter(|(name, _)| is_of_issuer(name)));
        Ok(environment)
    }
}

fn is_set(variable: &str) -> bool {
    std::env::var(variable).is_ok_and(|value| !value.is_empty())
}
