//! Signature Version 4 with the signing key kept.
//!
//! The SDK makes the signing key anew for each request, by four rounds of HMAC,
//! and a map of the headers to sort them: a fifth of the instructions of a warm
//! request. But the key changes with the day, the region and the credentials
//! alone, and all requests to DynamoDB are alike. So what is as ever is signed
//! here: host, content type and the `x-amz-` headers of a first attempt. All else
//! is left to the SDK, and so is everything once its signer has shown that the
//! clock is wrong: it learns from the answers by how much.
//!
//! Source: "Create a signed AWS API request", AWS Identity and Access Management.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::hmac::{self, HMAC_SHA256};
use aws_runtime::auth::sigv4::{SCHEME_ID, SigV4Signer};
use aws_sdk_dynamodb::config::{ConfigBag, Credentials, Region, RuntimeComponents};
use aws_sdk_dynamodb::error::BoxError;
use aws_smithy_runtime_api::client::auth::{
    AuthScheme, AuthSchemeEndpointConfig, AuthSchemeId, Sign,
};
use aws_smithy_runtime_api::client::identity::{Identity, SharedIdentityResolver};
use aws_smithy_runtime_api::client::orchestrator::HttpRequest;
use aws_smithy_runtime_api::client::retries::RequestAttempts;
use aws_smithy_runtime_api::client::runtime_components::GetIdentityResolver;
use lambda_http::http::{HeaderValue, Uri, header};

use crate::clock::Timestamp;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const SERVICE: &str = "dynamodb";
const DATE: &str = "x-amz-date";
const SECURITY_TOKEN: &str = "x-amz-security-token";

/// By how much the SDK's idea of the time may differ from the clock's, which is
/// then right: DynamoDB itself allows for more.
const CLOCK_TOLERANCE: Duration = Duration::from_secs(60);

/// Takes the place of the SDK's scheme of the same name.
#[derive(Debug, Default)]
pub(super) struct SigV4 {
    kept: Mutex<Option<Kept>>,
    clock_is_wrong: AtomicBool,
    sdk: SigV4Signer,
}

/// What the last request was signed with.
struct Kept {
    /// The endpoint, with nothing behind its `/`, and the `Host` that it makes.
    uri: String,
    host: String,
    key: SigningKey,
}

/// The key of a day, a region and a secret.
struct SigningKey {
    secret: String,
    region: String,
    day: String,
    key: hmac::Key,
}

/// The headers that make a request a signed one, beside those that it has.
#[derive(Debug, PartialEq, Eq)]
struct Signature {
    date: String,
    authorization: String,
}

impl SigV4 {
    /// `None` if there is something about the request that is not as ever.
    fn signature(
        &self,
        request: &HttpRequest,
        credentials: &Credentials,
        region: &str,
        now: Timestamp,
    ) -> Option<Signature> {
        let body = request.body().bytes()?;
        if request.method() != "POST" {
            return None;
        }
        let date = now.basic_format();
        let day = &date[..8];
        let secret = credentials.secret_access_key();

        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match &mut *kept {
            Some(kept) if kept.uri == request.uri() => {
                if !kept.key.is_of(secret, region, day) {
                    kept.key = SigningKey::derive(secret, region, day);
                }
                kept
            }
            kept => kept.insert(Kept {
                uri: request.uri().to_owned(),
                host: host(request.uri())?,
                key: SigningKey::derive(secret, region, day),
            }),
        };

        let mut headers = Vec::with_capacity(8);
        headers.extend([("host", kept.host.as_str()), (DATE, &date)]);
        if let Some(token) = credentials.session_token() {
            headers.push((SECURITY_TOKEN, token));
        }
        for (name, value) in request.headers() {
            match name {
                "host" | DATE | SECURITY_TOKEN => return None,
                "content-type" => {}
                _ if name.starts_with("x-amz-") => {}
                _ => continue,
            }
            headers.push((name, value));
        }
        headers.sort_unstable();
        let names: Vec<&str> = headers.iter().map(|(name, _)| *name).collect();
        let are_plain = headers.iter().all(|(_, value)| is_plain(value));
        if !are_plain || names.windows(2).any(|two| two[0] == two[1]) {
            return None;
        }

        let names = names.join(";");
        let mut canonical = String::with_capacity(1024);
        canonical.push_str("POST\n/\n\n");
        for (name, value) in headers {
            canonical.extend([name, ":", value, "\n"]);
        }
        canonical.extend(["\n", &names, "\n", &digits(digest(&SHA256, body).as_ref())]);

        let scope = format!("{day}/{region}/{SERVICE}/aws4_request");
        let canonical = digest(&SHA256, canonical.as_bytes());
        let to_sign = [ALGORITHM, &date, &scope, &digits(canonical.as_ref())].join("\n");
        let signature = hmac::sign(&kept.key.key, to_sign.as_bytes());
        let authorization = format!(
            "{ALGORITHM} Credential={}/{scope}, SignedHeaders={names}, Signature={}",
            credentials.access_key_id(),
            digits(signature.as_ref())
        );
        Some(Signature {
            date,
            authorization,
        })
    }
}

impl AuthScheme for SigV4 {
    fn scheme_id(&self) -> AuthSchemeId {
        SCHEME_ID
    }

    fn identity_resolver(
        &self,
        resolvers: &dyn GetIdentityResolver,
    ) -> Option<SharedIdentityResolver> {
        resolvers.identity_resolver(SCHEME_ID)
    }

    fn signer(&self) -> &dyn Sign {
        self
    }
}

impl Sign for SigV4 {
    fn sign_http_request(
        &self,
        request: &mut HttpRequest,
        identity: &Identity,
        endpoint: AuthSchemeEndpointConfig<'_>,
        components: &RuntimeComponents,
        config: &ConfigBag,
    ) -> Result<(), BoxError> {
        let now = components.time_source().unwrap_or_default().now().into();
        let is_first = config
            .load::<RequestAttempts>()
            .is_some_and(|attempts| attempts.attempts() == 1);
        let is_usual = is_first && !self.clock_is_wrong.load(Ordering::Relaxed);
        let credentials = identity.data::<Credentials>().filter(|_| is_usual);
        let signed = credentials.and_then(|credentials| {
            let region = match endpoint.get("signingRegion") {
                Some(region) => region.as_string()?,
                None => config.load::<Region>()?.as_ref(),
            };
            let signature = self.signature(request, credentials, region, now)?;
            Some((signature, credentials))
        });
        let Some((signature, credentials)) = signed else {
            let sdk = &self.sdk;
            sdk.sign_http_request(request, identity, endpoint, components, config)?;
            let date = request.headers().get(DATE).unwrap_or_default();
            let is_wrong = !is_about(now, date);
            self.clock_is_wrong.store(is_wrong, Ordering::Relaxed);
            return Ok(());
        };
        let secret = |text: &str| {
            let mut value = HeaderValue::try_from(text)?;
            value.set_sensitive(true);
            Ok::<_, BoxError>(value)
        };
        let headers = request.headers_mut();
        headers.insert(DATE, signature.date);
        if let Some(token) = credentials.session_token() {
            headers.insert(SECURITY_TOKEN, secret(token)?);
        }
        headers.insert(header::AUTHORIZATION, secret(&signature.authorization)?);
        Ok(())
    }
}

impl SigningKey {
    fn derive(secret: &str, region: &str, day: &str) -> Self {
        let start = hmac::Key::new(HMAC_SHA256, format!("AWS4{secret}").as_bytes());
        let key = [day, region, SERVICE, "aws4_request"]
            .into_iter()
            .fold(start, |key, part| {
                let part = hmac::sign(&key, part.as_bytes());
                hmac::Key::new(HMAC_SHA256, part.as_ref())
            });
        Self {
            secret: secret.to_owned(),
            region: region.to_owned(),
            day: day.to_owned(),
            key,
        }
    }

    fn is_of(&self, secret: &str, region: &str, day: &str) -> bool {
        self.secret == secret && self.region == region && self.day == day
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("uri", &self.uri)
            .finish_non_exhaustive()
    }
}

/// The `Host` that hyper makes of a URI, which leaves out the port that is the
/// scheme's. `None` of one with a path, a query or a user.
fn host(uri: &str) -> Option<String> {
    let uri: Uri = uri.parse().ok()?;
    let (host, authority) = (uri.host()?, uri.authority()?.as_str());
    if uri.path_and_query()? != "/" || authority.contains('@') {
        return None;
    }
    let is_usual = matches!(
        (uri.scheme_str()?, uri.port_u16()),
        ("http", Some(80)) | ("https", Some(443))
    );
    Some(if is_usual { host } else { authority }.to_owned())
}

/// Whether a date of `x-amz-date` is that of the clock.
fn is_about(now: Timestamp, date: &str) -> bool {
    let tolerance = u64::try_from(CLOCK_TOLERANCE.as_millis()).unwrap_or_default();
    let earliest = Timestamp::from_millis(now.millis().saturating_sub(tolerance));
    let latest = now.plus(CLOCK_TOLERANCE);
    // The order of the text is the order of time.
    (earliest.basic_format().as_str()..=latest.basic_format().as_str()).contains(&date)
}

/// Whether a header's value is its own canonical form: without spaces that are
/// trimmed or folded.
fn is_plain(value: &str) -> bool {
    value.trim() == value && !value.contains("  ")
}

/// SHA-256, or an HMAC of it, as signatures have it.
fn digits(digest: &[u8]) -> String {
    let mut text = vec![0; 2 * digest.len()];
    hex::encode_to_slice(digest, &mut text).expect("there are two digits a byte");
    String::from_utf8(text).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use aws_sigv4::http_request::{SignableBody, SignableRequest, SigningSettings, sign};
    use aws_sigv4::sign::v4::SigningParams;
    use aws_smithy_types::body::SdkBody;
    use bytes::Bytes;
    use http_body_util::Full;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_392_061_050);
    const HEADERS: [(&str, &str); 4] = [
        ("content-type", "application/x-amz-json-1.0"),
        ("x-amz-target", "DynamoDB_20120810.PutItem"),
        ("amz-sdk-request", "attempt=1; max=8"),
        (
            "x-amzn-trace-id",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
        ),
    ];

    fn request(method: &str, uri: &str, headers: &[(&'static str, &'static str)]) -> HttpRequest {
        let mut request = HttpRequest::new(SdkBody::from(r#"{"TableName":"cart-associations"}"#));
        request.set_method(method).unwrap();
        request.set_uri(uri).unwrap();
        for (name, value) in headers {
            request.headers_mut().append(*name, *value);
        }
        request
    }

    fn credentials(secret: &str, token: Option<&str>) -> Credentials {
        Credentials::new(
            "AKIDEXAMPLE",
            secret,
            token.map(str::to_owned),
            None,
            "test",
        )
    }

    /// What AWS's own signer makes of the headers that have to be signed.
    fn reference(
        request: &HttpRequest,
        credentials: &Credentials,
        region: &str,
        now: Timestamp,
    ) -> Signature {
        let identity = credentials.clone().into();
        let params = SigningParams::builder()
            .identity(&identity)
            .region(region)
            .name(SERVICE)
            .time(UNIX_EPOCH + Duration::from_millis(now.millis()))
            .settings(SigningSettings::default())
            .build()
            .unwrap()
            .into();
        let headers = request.headers().iter();
        let headers =
            headers.filter(|(name, _)| *name == "content-type" || name.starts_with("x-amz-"));
        let body = SignableBody::Bytes(request.body().bytes().unwrap());
        let signable =
            SignableRequest::new(request.method(), request.uri(), headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        let header = |wanted: &str| {
            let mut headers = instructions.headers();
            let (_, value) = headers.find(|(name, _)| *name == wanted).unwrap();
            value.to_owned()
        };
        Signature {
            date: header("x-amz-date"),
            authorization: header("authorization"),
        }
    }

    #[test]
    fn what_is_as_ever_is_signed_as_aws_signs_it() {
        let scheme = SigV4::default();
        let (first, second) = (credentials("first", None), credentials("second", None));
        let temporary = credentials("first", Some("session/token=="));
        let uri = "https://dynamodb.us-east-1.amazonaws.com/";
        let tomorrow = NOW.plus(Duration::from_secs(24 * 60 * 60));
        // One scheme for all: what it keeps of the one must not do for the next.
        for (uri, credentials, region, now) in [
            (uri, &first, "us-east-1", NOW),
            (uri, &first, "us-east-1", NOW.plus(Duration::from_secs(1))),
            (uri, &first, "us-east-1", tomorrow),
            (uri, &first, "eu-central-1", tomorrow),
            (uri, &second, "eu-central-1", tomorrow),
            (uri, &temporary, "eu-central-1", tomorrow),
            ("http://127.0.0.1:8000", &first, "local", NOW),
            ("http://localhost:80/", &first, "local", NOW),
            ("https://localhost:443/", &first, "local", NOW),
            ("https://[::1]:80/", &first, "local", NOW),
            (uri, &first, "us-east-1", NOW),
        ] {
            let request = request("POST", uri, &HEADERS);
            let signature = scheme.signature(&request, credentials, region, now);
            let reference = reference(&request, credentials, region, now);
            assert_eq!(signature, Some(reference), "{uri} {credentials:?} {region}");
        }
    }

    #[test]
    fn what_is_not_as_ever_is_left_to_the_sdk() {
        let scheme = SigV4::default();
        let credentials = credentials("secret", Some("token"));
        let endpoint = "https://dynamodb.us-east-1.amazonaws.com/";
        let with = |name, value| request("POST", endpoint, &[(name, value)]);
        let mut streamed = request("POST", endpoint, &[]);
        *streamed.body_mut() = SdkBody::from_body_1_x(Full::new(Bytes::new()));
        for request in [
            request("GET", endpoint, &HEADERS),
            request("POST", &format!("{endpoint}path"), &HEADERS),
            request("POST", &format!("{endpoint}?query"), &HEADERS),
            request("POST", "https://user@localhost/", &HEADERS),
            request(
                "POST",
                endpoint,
                &[("x-amz-meta", "1"), ("x-amz-meta", "2")],
            ),
            with("content-type", " spaced"),
            with("x-amz-meta", "two  spaces"),
            with("host", "example.com"),
            with("x-amz-date", "20261123T000101Z"),
            with("x-amz-security-token", "token"),
            streamed,
        ] {
            let signature = scheme.signature(&request, &credentials, "us-east-1", NOW);
            assert_eq!(signature, None, "{request:?}");
        }
    }

    #[test]
    fn the_sdk_knows_better_what_time_it_is_if_it_is_minutes_off() {
        for (seconds, is_right) in [(0, true), (59, true), (62, false), (3600, false)] {
            let other = NOW.plus(Duration::from_secs(seconds));
            assert_eq!(is_about(NOW, &other.basic_format()), is_right, "{seconds}");
            assert_eq!(is_about(other, &NOW.basic_format()), is_right, "{seconds}");
        }
        assert!(!is_about(NOW, ""));
    }

    #[test]
    fn secrets_are_not_shown() {
        let scheme = SigV4::default();
        let credentials = credentials("sesame", None);
        let request = request("POST", "http://localhost/", &HEADERS);
        assert!(
            scheme
                .signature(&request, &credentials, "local", NOW)
                .is_some()
        );
        assert!(!format!("{scheme:?}").contains("sesame"));
    }
}
