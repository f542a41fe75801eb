//! What the function needs: an embedded DynamoDB behind the proxy, and tokens. All of it ends with the program.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::Result;
use dev::TABLE_NAME;
use dev::dynamodb::{Client, Emulator};
use dev::environment::{Environment, environment};
use dev::proxy::{Plan, Proxy};
use dev::tokens::Authorities;

/// The surroundings of the function.
pub(crate) struct World {
    client: Client,
    proxy: Proxy,
    faults: AtomicUsize,
    authorities: Authorities,
}

impl World {
    /// Starts the emulator and the proxy on free ports.
    pub(crate) async fn start() -> Result<Self> {
        let emulator = Emulator::in_memory()?;
        let client = Client::new(&emulator.endpoint);
        client.create_table(TABLE_NAME).await?;
        Ok(Self {
            client,
            proxy: Proxy::start(&emulator.endpoint).await,
            faults: AtomicUsize::new(0),
            authorities: Authorities::generate()?,
        })
    }

    /// The environment of the function.
    pub(crate) fn environment(&self) -> Result<Environment> {
        environment(&self.authorities, &self.proxy.endpoint, TABLE_NAME)
    }

    /// The environment of wrk: tokens.
    pub(crate) fn tokens(&self) -> Result<[(&'static str, String); 3]> {
        let Authorities {
            access, customer, ..
        } = &self.authorities;
        let back_end = access.access_token("load-back-end", "client_credentials")?;
        let storefront = access.access_token("load-storefront", "implicit")?;
        Ok([
            ("BACK_END_TOKEN", back_end),
            ("STOREFRONT_TOKEN", storefront),
            ("RON_TOKEN", customer.customer_token("ron")?),
        ])
    }

    /// Injects a fault into the next call to DynamoDB.
    pub(crate) fn inject(&self, plan: Plan) {
        self.proxy.next(plan, 1);
        self.faults.fetch_add(1, Ordering::Relaxed);
    }

    /// The number of calls to DynamoDB, and of those with a fault.
    pub(crate) fn calls(&self) -> (usize, usize) {
        (self.proxy.calls(), self.faults.load(Ordering::Relaxed))
    }

    /// The table's partition keys.
    pub(crate) async fn stored(&self) -> Result<BTreeSet<String>> {
        self.client.keys(TABLE_NAME).await
    }
}
