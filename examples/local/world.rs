//! What the function needs around it: a database with its table, keys, and the environment that names them.
//!
//! All of it is kept in the git-ignored folder `.local`, so that data and keys survive a restart.

use std::fmt::Write as _;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, anyhow};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::{BehaviorVersion, Credentials, Region};
use cart_associations::http::{self, TrustedRoots};
use cart_associations::store::CONNECT_TIMEOUT;
use jsonwebtoken::Algorithm;
use tokio::net::TcpListener;

use crate::table;
use crate::tokens::{Authority, SigningKey};

/// The folder of this project.
pub(crate) const PROJECT: &str = env!("CARGO_MANIFEST_DIR");

const TABLE_NAME: &str = "cart-associations";
const REGION: &str = "local";

/// The customer of the samples in `events/`.
const SAMPLE_CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// The two authorities whose tokens the function is told to trust. Neither exists but here.
pub(crate) struct Authorities {
    pub(crate) access: Authority,
    pub(crate) customer: Authority,
}

impl Authorities {
    /// Those of this project; their keys are made when there are none.
    pub(crate) fn kept() -> Result<Self> {
        let folder = folder()?;
        let key = |name: &str, algorithm| {
            SigningKey::kept_at(&folder.join(name).with_extension("p8"), name, algorithm)
        };
        Ok(Self {
            access: Authority {
                issuer: "https://tokens.example.com/access".to_owned(),
                audience: "carts".to_owned(),
                key: key("access-tokens", Algorithm::ES256)?,
            },
            customer: Authority {
                issuer: "https://tokens.example.com/customers".to_owned(),
                audience: "carts-customers".to_owned(),
                key: key("customer-tokens", Algorithm::EdDSA)?,
            },
        })
    }
}

/// The file with the function's environment, as `cargo lambda watch --env-file` wants it.
pub(crate) fn env_file() -> Result<PathBuf> {
    Ok(folder()?.join("env"))
}

/// Writes [`env_file`] for a database at `port`.
pub(crate) fn write_env_file(authorities: &Authorities, port: u16) -> Result<()> {
    let Authorities { access, customer } = authorities;
    let variables = [
        ("TABLE_NAME", TABLE_NAME.to_owned()),
        ("ACCESS_TOKEN_JWKS", access.key.jwks()?),
        ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
        ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
        ("CUSTOMER_TOKEN_JWKS", customer.key.jwks()?),
        ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
        ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint(port)),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
    ];
    let mut text = String::from("# Written anew by `make run` and `make dynamodb`.\n");
    for (name, value) in variables {
        // cargo-lambda and every shell take what is in single quotes as it is; JSON without quotes is refused.
        writeln!(text, "{name}='{value}'")?;
    }
    let path = env_file()?;
    std::fs::write(&path, text).with_context(|| format!("{} could not be written", path.display()))
}

/// Writes the samples of `events/` with tokens in them to [`folder`]`/events`, for `cargo lambda invoke`.
pub(crate) fn write_events(authorities: &Authorities) -> Result<()> {
    let Authorities { access, customer } = authorities;
    let tokens = [
        (
            "CLIENT_CREDENTIALS_TOKEN",
            access.access_token("local-back-end", "client_credentials")?,
        ),
        (
            "IMPLICIT_TOKEN",
            access.access_token("local-storefront", "implicit")?,
        ),
        ("CUSTOMER_TOKEN", customer.customer_token(SAMPLE_CUSTOMER)?),
    ];
    let filled = folder()?.join("events");
    std::fs::create_dir_all(&filled)?;
    for sample in std::fs::read_dir(Path::new(PROJECT).join("events"))? {
        let sample = sample?;
        let mut event = std::fs::read_to_string(sample.path())?;
        for (placeholder, token) in &tokens {
            event = event.replace(placeholder, token);
        }
        std::fs::write(filled.join(sample.file_name()), event)?;
    }
    Ok(())
}

/// Starts the embedded database at `port` of this machine alone, with the table in it. It runs until the program ends.
pub(crate) async fn start_dynamodb(port: u16) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| {
            format!("DynamoDB cannot have port {port} (choose another with DYNAMODB_PORT=…)")
        })?;
    let file = folder()?.join("dynamodb.sqlite");
    let database = dynoxide::Database::new(&file.to_string_lossy())
        .map_err(|error| anyhow!("{} could not be opened: {error}", file.display()))?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    table::create(&client(port), TABLE_NAME).await
}

fn client(port: u16) -> Client {
    let http = http::Client::new(&TrustedRoots::built_in(), CONNECT_TIMEOUT);
    let config = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(endpoint(port))
        .http_client(http.for_sdk())
        .region(Region::new(REGION))
        .build();
    Client::from_conf(config)
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

fn folder() -> Result<PathBuf> {
    let folder = Path::new(PROJECT).join(".local");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    Ok(folder)
}
