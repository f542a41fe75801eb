//! The HTTPS client for DynamoDB and for key sets.
//!
//! TLS is rustls with compiled-in roots. The SDK's own client reads the platform's
//! roots at every start, which takes longer than the rest of the start. It accepts
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
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::{CaptureConnection, HttpConnector, capture_connection};
use hyper_util::client::legacy::{Client as HyperClient, Error as ClientError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use lambda_http::http::request::Builder;
use lambda_http::http::{Response, Uri};
use lambda_http::tower::Service;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

/// The most calls that use a [`Client`] at the same time, and the most idle
/// connections that one keeps. HTTP/1.1 needs a connection for each call.
///
/// At 3 ms a call this is 40,000 calls a second, far more than one process can
/// make, so only a slow store meets it. All of them can be opened within the time
/// limit for one, and leave most of the 1,024 files that Lambda allows.
pub const MAX_CONNECTIONS: usize = 128;

pub(crate) type BoxError = Box<dyn Error + Send + Sync>;

#[derive(Debug, Clone)]
pub struct TrustedRoots(Arc<RootCertStore>);

impl TrustedRoots {
    /// Mozilla's root certificates, as of the build.
    pub fn built_in() -> Self {
        let roots = webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect();
        Self(Arc::new(roots))
    }

    /// The certificates of a PEM bundle, and no others. The error is a sentence for the
    /// operator.
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

/// An HTTP/1.1 client with a pool of connections, which its clones share.
#[derive(Clone)]
pub struct Client(HyperClient<Connector, SdkBody>);

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client(_)")
    }
}

impl Client {
    /// Creates a client. `connect_limit` is the time limit for opening a
    /// connection, TLS included.
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
        let connector = Connector {
            https,
            limit: connect_limit,
        };
        let pool = HyperClient::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(MAX_CONNECTIONS)
            .build(connector);
        Self(pool)
    }

    /// Returns the client for the SDK's configuration. It ignores the SDK's connect
    /// timeout and uses its own.
    pub fn for_sdk(&self) -> SharedHttpClient {
        let connector = SharedHttpConnector::new(self.clone());
        http_client_fn(move |_, _| connector.clone())
    }

    /// Sends a request without a body.
    pub(crate) async fn send(&self, request: Builder) -> Result<Response<SdkBody>, BoxError> {
        let response = self.0.request(request.body(SdkBody::empty())?).await?;
        Ok(response.map(SdkBody::from_body_1_x))
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
        let response = self.0.request(request);
        HttpConnectorFuture::new(async move {
            // An I/O error: the SDK retries it on another connection.
            let response = response
                .await
                .map_err(|error| ConnectorError::io(error.into()))?;
            HttpResponse::try_from(response.map(SdkBody::from_body_1_x))
                .map_err(|error| ConnectorError::other(error.into(), None))
        })
    }
}

/// Describes a request's connection to the SDK, so that it can close the
/// connection after a transient error.
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

/// Returns whether an error means that there was no connection, so that nothing
/// was sent.
pub(crate) fn is_connect_error(error: &(dyn Error + 'static)) -> bool {
    chain(error)
        .filter_map(|error| error.downcast_ref())
        .any(ClientError::is_connect)
}

/// Formats an error and its sources in one line. Not for the SDK's errors: some show
/// the request, which names carts and customers.
pub(crate) fn cause(error: &(dyn Error + 'static)) -> String {
    let texts: Vec<String> = chain(error).map(ToString::to_string).collect();
    texts.join(": ")
}

/// Iterates over an error and its sources.
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

/// Opens connections, with a time limit.
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
