//! What the function needs around it: a database with its table behind the proxy, keys, and the environment that names
//! them. All of it is gone when the program ends.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context as _, Result, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use cart_associations::http::{self, TrustedRoots};
use cart_associations::store::CONNECT_TIMEOUT;
use jsonwebtoken::Algorithm;
use tokio::net::TcpListener;

use crate::proxy::{Plan, Proxy};
use crate::table;
use crate::tokens::{Authority, SigningKey};

const TABLE_NAME: &str = "cart-associations";
const REGION: &str = "local";

/// The surroundings of the function.
pub(crate) struct World {
    client: Client,
    proxy: Proxy,
    faults: AtomicUsize,
    access: Authority,
    customer: Authority,
}

impl World {
    /// Starts the database and the proxy, at ports that are free.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let database = dynoxide::Database::memory()
            .map_err(|error| anyhow!("the database could not be made: {error}"))?;
        tokio::spawn(dynoxide::server::serve_on(listener, database));
        let client = client(&endpoint);
        table::create(&client, TABLE_NAME).await?;
        Ok(Self {
            client,
            proxy: Proxy::start(&endpoint).await,
            faults: AtomicUsize::new(0),
            access: Authority {
                issuer: "https://tokens.example.com/access".to_owned(),
                audience: "carts".to_owned(),
                key: SigningKey::generate("access-tokens", Algorithm::ES256)?,
            },
            customer: Authority {
                issuer: "https://tokens.example.com/customers".to_owned(),
                audience: "carts-customers".to_owned(),
                key: SigningKey::generate("customer-tokens", Algorithm::EdDSA)?,
            },
        })
    }

    /// The environment of the function.
    pub(crate) fn environment(&self) -> Result<[(&'static str, String); 11]> {
        let Self {
            access, customer, ..
        } = self;
        Ok([
            ("TABLE_NAME", TABLE_NAME.to_owned()),
            ("ACCESS_TOKEN_JWKS", access.key.jwks()?),
            ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
            ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
            ("CUSTOMER_TOKEN_JWKS", customer.key.jwks()?),
            ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
            ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
            ("AWS_ENDPOINT_URL_DYNAMODB", self.proxy.endpoint.clone()),
            ("AWS_REGION", REGION.to_owned()),
            ("AWS_ACCESS_KEY_ID", "local".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
        ])
    }

    /// The environment of the traffic: the tokens of the callers.
    pub(crate) fn callers(&self) -> Result<[(&'static str, String); 3]> {
        let back_end = self
            .access
            .access_token("load-back-end", "client_credentials")?;
        let storefront = self.access.access_token("load-storefront", "implicit")?;
        Ok([
            ("BACK_END_TOKEN", back_end),
            ("STOREFRONT_TOKEN", storefront),
            ("RON_TOKEN", self.customer.customer_token("ron")?),
        ])
    }

    /// The next call to the database meets this fault.
    pub(crate) fn plan(&self, plan: Plan) {
        self.proxy.next(plan, 1);
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// How many calls to the database came, and how many of them met faults.
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.proxy.calls(), self.faults.load(Ordering::Relaxed))
    }

    /// The table's partition keys.
    pub(crate) async fn stored(&self) -> Result<BTreeSet<String>> {
        let mut pages = self
            .client
            .scan()
            .table_name(TABLE_NAME)
            .projection_expression("id")
            .consistent_read(true)
            .into_paginator()
            .items()
            .send();
        let mut stored = BTreeSet::new();
        while let Some(item) = pages.next().await {
            let item = item.context("the table could not be read")?;
            let id = item.get("id").and_then(|id| id.as_s().ok());
            stored.insert(id.context("an item has no key")?.clone());
        }
        Ok(stored)
    }
}

fn client(endpoint: &str) -> Client {
    let http = http::Client::new(&TrustedRoots::built_in(), CONNECT_TIMEOUT);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(endpoint)
        .http_client(http.for_sdk())
        .region(Region::new(REGION))
        .build();
    Client::from_conf(config)
}
