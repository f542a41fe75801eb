//! The HTTPS client for all that the function calls: DynamoDB and the issuers'
//! key sets.
//!
//! TLS is rustls with roots that are compiled in. The SDK's own client reads the
//! platform's roots at every start, also for an endpoint without TLS, which
//! takes longer than all the rest of the start together; and it can be given
//! other roots as PEM only.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_runtime_api::client::connection::{CaptureSmithyConnection, ConnectionMetadata};
use aws_smithy_runtime_api::client::http::{
    HttpConnector as SdkConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn,
};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_runtime_api::client::result::ConnectorError;
use aws_smithy_types::body::SdkBody;
use http_body_util::{BodyExt as _, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client as HyperClient, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lambda_http::http::{Request, StatusCode, Uri, header};
use lambda_http::tower::Service;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

type BoxError = Box<dyn Error + Send + Sync>;

/// The certificates by which servers are believed.
#[derive(Debug, Clone)]
pub struct TrustedRoots(Arc<RootCertStore>);

impl TrustedRoots {
    /// Mozilla's, as of the build.
    pub fn built_in() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self(Arc::new(roots))
    }

    /// Those of a PEM bundle alone.
    ///
    /// # Errors
    ///
    /// A sentence, if the file cannot be read or has no certificate in it.
    pub fn from_pem_file(path: &Path) -> Result<Self, String> {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| format!("cannot be read as a PEM bundle: {error}"))?;
        let mut roots = RootCertStore::empty();
        let (usable, _) = roots.add_parsable_certificates(certificates);
        if usable == 0 {
            return Err("has no usable certificate".to_owned());
        }
        Ok(Self(Arc::new(roots)))
    }
}

/// An HTTP/1.1 client with a pool of connections. Clones share the pool.
#[derive(Clone)]
pub struct Client {
    connector: Connector,
    pool: HyperClient<Connector, SdkBody>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(_)")
    }
}

/// Why nothing was got.
#[derive(Debug)]
pub enum GetError {
    /// No answer, or none in time.
    NoAnswer(BoxError),
    /// An answer of another status than 200. No redirect is followed.
    Status(StatusCode),
    /// The body was too long, did not end in time, or broke off.
    Body(BoxError),
}

impl fmt::Display for GetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAnswer(error) => write!(f, "no answer: {}", cause(&**error)),
            Self::Status(status) => write!(f, "status {}", status.as_u16()),
            Self::Body(error) => write!(f, "no body: {}", cause(&**error)),
        }
    }
}

impl Error for GetError {}

impl Client {
    /// A client that opens a connection, TLS included, within `connect_limit`.
    pub fn new(roots: &TrustedRoots, connect_limit: Duration) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("the provider has suites for the default versions")
            .with_root_certificates(Arc::clone(&roots.0))
            .with_no_client_auth();
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        let https = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        Self::with_connector(Connector {
            https,
            limit: connect_limit,
        })
    }

    /// A client with connections of its own, which trusts the same servers.
    pub fn with_connect_limit(&self, limit: Duration) -> Self {
        let https = self.connector.https.clone();
        Self::with_connector(Connector { https, limit })
    }

    fn with_connector(connector: Connector) -> Self {
        let pool = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .build(connector.clone());
        Self { connector, pool }
    }

    /// The client as the SDK takes it. Time limits of the SDK's on connecting
    /// do not count: the client has its own.
    pub fn for_sdk(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// Gets what is at `uri`: so many bytes at the most, with `limit` for the
    /// answer to begin and again for it to end.
    pub async fn get(
        &self,
        uri: &Uri,
        max_bytes: usize,
        limit: Duration,
    ) -> Result<Vec<u8>, GetError> {
        let request = Request::get(uri)
            .header(header::ACCEPT, "application/jwk-set+json, application/json")
            .header(
                header::USER_AGENT,
                concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION")),
            )
            .body(SdkBody::empty())
            .map_err(|error| GetError::NoAnswer(error.into()))?;
        let response = tokio::time::timeout(limit, self.pool.request(request))
            .await
            .map_err(|error| GetError::NoAnswer(error.into()))?
            .map_err(|error| GetError::NoAnswer(error.into()))?;
        if response.status() != StatusCode::OK {
            return Err(GetError::Status(response.status()));
        }
        let body = Limited::new(response.into_body(), max_bytes).collect();
        let body = tokio::time::timeout(limit, body)
            .await
            .map_err(|error| GetError::Body(error.into()))?
            .map_err(GetError::Body)?;
        Ok(body.to_bytes().into())
    }
}

impl SdkConnector for Client {
    fn call(&self, request: HttpRequest) -> HttpConnectorFuture {
        let mut request = match request.try_into_http1x() {
            Ok(request) => request,
            Err(error) => {
                return HttpConnectorFuture::ready(Err(ConnectorError::user(error.into())));
            }
        };
        let connection = capture_connection(&mut request);
        if let Some(capture) = request.extensions().get::<CaptureSmithyConnection>() {
            capture.set_connection_retriever(move || metadata(&connection));
        }
        let response = self.pool.request(request);
        HttpConnectorFuture::new(async move {
            // Whatever goes wrong with a connection may go right with another.
            let response = response
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// What the SDK is told of the connection that a request went by: how to close
/// it, which it does after an answer that another connection may not give.
fn metadata(connection: &CaptureConnection) -> Option<ConnectionMetadata> {
    connection.connection_metadata().as_ref()?;
    let connection = connection.clone();
    let close = move || {
        if let Some(connection) = connection.connection_metadata().as_ref() {
            connection.poison();
        }
    };
    Some(
        ConnectionMetadata::builder()
            .proxied(false)
            .poison_fn(close)
            .build(),
    )
}

/// Whether an error says that there was no connection, so that nothing was sent.
pub(crate) fn is_connect_error(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref::<ClientError>())
        .any(ClientError::is_connect)
}

/// An error and what caused it, in one line.
fn cause(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// An error, what caused it, what caused that, and so on.
pub(crate) fn chain<'e>(
    error: &'e (dyn Error + 'static),
) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    let mut next = Some(error);
    std::iter::from_fn(move || {
        let error = next?;
        next = error.source();
        Some(error)
    })
}

/// Opens connections within a time limit.
#[derive(Clone)]
struct Connector {
    https: HttpsConnector<HttpConnector>,
    limit: Duration,
}

impl Service<Uri> for Connector {
    type Response = <HttpsConnector<HttpConnector> as Service<Uri>>::Response;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.https.poll_ready(context)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connected = tokio::time::timeout(self.limit, self.https.call(uri));
        Box::pin(async move {
            connected
                .await
                .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "not connected in time"))?
        })
    }
}
