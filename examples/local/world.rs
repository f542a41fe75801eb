//! What the function needs around it: a database with its table, keys, and the environment that names them.
//!
//! All of it is kept in a folder, the git-ignored `.local`, so that data and keys survive a restart.

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
pub(crate) const SAMPLE_CUSTOMER: &str = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe";

/// The cart of the samples in `events/`.
pub(crate) const SAMPLE_CART: &str = "3f7c1c9e-5d0b-4b57-9a52-7c1f3f0c8a11";

/// Whether the function demands cart tokens: if `CART_TOKENS` is set.
pub(crate) fn demands_cart_tokens() -> bool {
    std::env::var("CART_TOKENS").is_ok_and(|value| !value.is_empty())
}

/// The folder in which all is kept.
pub(crate) fn folder() -> Result<PathBuf> {
    let folder = Path::new(PROJECT).join(".local");
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("{} could not be made", folder.display()))?;
    Ok(folder)
}

/// The authorities whose tokens the function is told to trust. None exists but here.
pub(crate) struct Authorities {
    pub(crate) access: Authority,
    pub(crate) customer: Authority,
    pub(crate) cart: Authority,
}

impl Authorities {
    /// Those whose keys are in this folder; they are made when there are none.
    pub(crate) fn kept_in(folder: &Path) -> Result<Self> {
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
            cart: Authority {
                issuer: "https://tokens.example.com/carts".to_owned(),
                audience: "cart-holders".to_owned(),
                key: key("cart-tokens", Algorithm::ES384)?,
            },
        })
    }
}

/// What the function is told: `AWS_…` and its own settings.
pub(crate) type Environment = Vec<(&'static str, String)>;

/// The function's environment, for a database at `dynamodb` and errors that are explained at `errors`.
pub(crate) fn environment(
    authorities: &Authorities,
    dynamodb: u16,
    errors: Option<String>,
) -> Result<Environment> {
    let Authorities {
        access,
        customer,
        cart,
    } = authorities;
    let mut variables = vec![
        ("TABLE_NAME", TABLE_NAME.to_owned()),
        ("ACCESS_TOKEN_JWKS", access.key.jwks()?),
        ("ACCESS_TOKEN_ISSUER", access.issuer.clone()),
        ("ACCESS_TOKEN_AUDIENCE", access.audience.clone()),
        ("CUSTOMER_TOKEN_JWKS", customer.key.jwks()?),
        ("CUSTOMER_TOKEN_ISSUER", customer.issuer.clone()),
        ("CUSTOMER_TOKEN_AUDIENCE", customer.audience.clone()),
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint(dynamodb)),
        ("AWS_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "local".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "local".to_owned()),
    ];
    variables.extend(errors.map(|url| ("ERROR_DOCS_URL", url)));
    if demands_cart_tokens() {
        variables.extend([
            ("CART_TOKEN_JWKS", cart.key.jwks()?),
            ("CART_TOKEN_ISSUER", cart.issuer.clone()),
            ("CART_TOKEN_AUDIENCE", cart.audience.clone()),
        ]);
    }
    Ok(variables)
}

/// Writes an environment to a file as `cargo lambda watch --env-file` wants it.
pub(crate) fn write_env_file(folder: &Path, environment: &Environment) -> Result<PathBuf> {
    let mut text = String::from("# Written anew by `make run` and `make dynamodb`.\n");
    for (name, value) in environment {
        // cargo-lambda and every shell take what is in single quotes as it is; JSON without quotes is refused.
        writeln!(text, "{name}='{value}'")?;
    }
    let path = folder.join("env");
    std::fs::write(&path, text)
        .with_context(|| format!("{} could not be written", path.display()))?;
    Ok(path)
}

/// Writes the samples of `events/` with tokens in them to `events/` in this folder, for `cargo lambda invoke`.
pub(crate) fn write_events(folder: &Path, authorities: &Authorities) -> Result<()> {
    let Authorities {
        access,
        customer,
        cart,
    } = authorities;
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
        ("CART_TOKEN", cart.cart_token(SAMPLE_CART)?),
    ];
    let filled = folder.join("events");
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

/// Starts the embedded database at `port` of this machine alone, or at a free one where it is 0, with the table in it.
/// It runs until the program ends. Returns the port.
pub(crate) async fn start_dynamodb(folder: &Path, port: u16) -> Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .with_context(|| {
            format!("DynamoDB cannot have port {port} (choose another with DYNAMODB_PORT=…)")
        })?;
    let port = listener.local_addr()?.port();
    let file = folder.join("dynamodb.sqlite");
    let database = dynoxide::Database::new(&file.to_string_lossy())
        .map_err(|error| anyhow!("{} could not be opened: {error}", file.display()))?;
    tokio::spawn(dynoxide::server::serve_on(listener, database));
    table::create(&client(port), TABLE_NAME).await?;
    Ok(port)
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
