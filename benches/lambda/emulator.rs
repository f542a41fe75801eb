//! DynamoDB: the embedded emulator, on a thread of its own, with the function's table in it.

use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use axum::serve::Listener as _;
use cart_associations::http::{self, TrustedRoots};
use cart_associations::store::CONNECT_TIMEOUT;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::table;
use crate::tls::Authority;

pub(crate) const TABLE_NAME: &str = "cart-associations";
pub(crate) const REGION: &str = "local";

/// A running emulator. It lives as long as the program.
pub(crate) struct Emulator {
    pub(crate) plain_endpoint: String,
    pub(crate) tls_endpoint: String,
    authority: Authority,
    /// Its thread in `/proc`.
    pub(crate) task: PathBuf,
}

impl Emulator {
    /// Starts it with an empty table.
    pub(crate) async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let listener = listener.into_std()?;
        let authority = Authority::new();
        let mut tls = authority.listen().await;
        let tls_port = tls.local_addr()?.port();
        let database = dynoxide::Database::memory()
            .map_err(|error| anyhow!("the database could not be made: {error}"))?;
        let own = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (tell, told) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let id = rustix::thread::gettid().as_raw_nonzero();
            let _ = tell.send(PathBuf::from(format!("/proc/self/task/{id}")));
            own.block_on(async {
                let listener = TcpListener::from_std(listener).expect("it listens already");
                dynoxide::server::serve_on(listener, database).await;
            });
        });
        tokio::spawn(async move {
            loop {
                let (mut outer, _) = tls.accept().await;
                tokio::spawn(async move {
                    let Ok(mut inner) = TcpStream::connect(address).await else {
                        return;
                    };
                    let _ = inner.set_nodelay(true);
                    // One side went away, as it does when its process ends.
                    let _ = copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        let plain_endpoint = format!("http://{address}");
        table::create(&client(&plain_endpoint), TABLE_NAME).await?;
        Ok(Self {
            plain_endpoint,
            tls_endpoint: format!("https://localhost:{tls_port}"),
            authority,
            task: told.recv()?,
        })
    }

    /// The bundle with the certificate of the authority that made the emulator's.
    pub(crate) fn roots(&self) -> PathBuf {
        self.authority.pem_file.path().to_owned()
    }

    /// How many items are in the table.
    pub(crate) async fn items(&self) -> Result<u64> {
        let mut pages = client(&self.plain_endpoint)
            .scan()
            .table_name(TABLE_NAME)
            .select(aws_sdk_dynamodb::types::Select::Count)
            .into_paginator()
            .send();
        let mut items = 0;
        while let Some(page) = pages.next().await {
            let count = page.context("the table could not be read")?.count;
            items += u64::try_from(count)?;
        }
        Ok(items)
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
