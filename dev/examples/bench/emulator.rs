//! The embedded DynamoDB, with the table, also behind TLS.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use axum::serve::Listener as _;
use dev::TABLE_NAME;
use dev::dynamodb::{self, Client};
use dev::tls::CertificateAuthority;
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;

/// A running emulator, which ends with the program.
pub(crate) struct Emulator {
    pub(crate) plain_endpoint: String,
    pub(crate) tls_endpoint: String,
    authority: CertificateAuthority,
    client: Client,
    /// Its thread in `/proc`.
    pub(crate) thread: PathBuf,
}

impl Emulator {
    /// Starts the emulator with an empty table.
    pub(crate) async fn start() -> Result<Self> {
        let emulator = dynamodb::Emulator::in_memory()?;
        let client = Client::new(&emulator.endpoint);
        client.create_table(TABLE_NAME).await?;
        let authority = CertificateAuthority::generate();
        let mut tls = authority.listen().await;
        let tls_port = tls.port();
        let address = emulator.endpoint.strip_prefix("http://");
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
            plain_endpoint: emulator.endpoint,
            tls_endpoint: format!("https://localhost:{tls_port}"),
            authority,
            client,
            thread: emulator.thread,
        })
    }

    /// The PEM bundle with the root certificate of the TLS endpoint.
    pub(crate) fn roots(&self) -> PathBuf {
        self.authority.pem_file.path().to_owned()
    }

    /// The number of items in the table.
    pub(crate) async fn items(&self) -> Result<usize> {
        Ok(self.client.keys(TABLE_NAME).await?.len())
    }
}
