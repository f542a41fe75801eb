//! What the programs call instead of DynamoDB, over http and over TLS.

use std::future::IntoFuture as _;
use std::net::Ipv4Addr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use axum::Router;
use axum::http::header::CONTENT_TYPE;
use axum::serve::{Listener as _, ListenerExt as _};
use dev::TABLE_NAME;
use dev::dynamodb::{Client, Emulator};
use dev::tls::CertificateAuthority;
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// A running store. It ends with this program.
pub(crate) struct Store {
    pub(crate) http: String,
    pub(crate) https: String,
    pub(crate) authority: CertificateAuthority,
}

impl Store {
    pub(crate) async fn emulator() -> Result<Self> {
        let emulator = Emulator::in_memory()?;
        let client = Client::new(&emulator.endpoint);
        client.create_table(TABLE_NAME).await?;
        Self::with_tls(emulator.endpoint).await
    }

    /// Answers every call with success after `time`, and takes hardly any time on a processor.
    pub(crate) async fn answers_after(time: Duration) -> Result<Self> {
        let router = Router::new().fallback(async move || {
            sleep(time).await;
            ([(CONTENT_TYPE, "application/x-amz-json-1.0")], "{}")
        });
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let listener = listener.tap_io(|stream| {
            // Fails only if the connection is closed already.
            let _ = stream.set_nodelay(true);
        });
        tokio::spawn(axum::serve(listener, router).into_future());
        Self::with_tls(endpoint).await
    }

    async fn with_tls(http: String) -> Result<Self> {
        let authority = CertificateAuthority::generate();
        let mut tls = authority.listen().await;
        let https = format!("https://localhost:{}", tls.port());
        let address = http.strip_prefix("http://");
        let address = address.context("the endpoint is not http")?.to_owned();
        tokio::spawn(async move {
            loop {
                let (mut outer, _) = tls.accept().await;
                let address = address.clone();
                tokio::spawn(async move {
                    let Ok(mut inner) = TcpStream::connect(address).await else {
                        return;
                    };
                    let _ = inner.set_nodelay(true);
                    // Fails when a process ends without closing its connection.
                    let _ = copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
        Ok(Self {
            http,
            https,
            authority,
        })
    }

    /// The number of items in the table of the embedded DynamoDB.
    pub(crate) async fn items(&self) -> Result<usize> {
        Ok(Client::new(&self.http).keys(TABLE_NAME).await?.len())
    }
}
