//! The HTTPS client for all that the function calls.

use aws_sdk_dynamodb::config::SharedHttpClient;
use aws_smithy_http_client::{Builder, tls};

/// A client with TLS by rustls and the roots of the platform, or those of the
/// PEM bundle that `SSL_CERT_FILE` names.
pub fn client() -> SharedHttpClient {
    Builder::new()
        .tls_provider(tls::Provider::Rustls(
            tls::rustls_provider::CryptoMode::AwsLc,
        ))
        .build_https()
}
