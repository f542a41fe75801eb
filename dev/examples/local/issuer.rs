//! `POST /oauth/access_token` as Elastic Path answers it, so that its clients work unchanged with `make run`.
//!
//! It gives a token to anyone who asks. So it exists only here, in front of a function that trusts the keys in `.local`.
//!
//! Source: "Authentication", Elastic Path; RFC 6749, sections 3.2, 4.4 and 5.

use std::time::SystemTime;

use anyhow::Result;
use axum::Json;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use dev::tokens::LIFETIME;
use serde_json::json;

use crate::tokens::Tokens;

pub(crate) const PATH: &str = "/oauth/access_token";

/// The longest body that is read.
const MAX_BODY: usize = 16 * 1024;

/// The longest `client_id`. It becomes the token's `sub`, and tokens have at most 4 KiB.
const MAX_CLIENT_ID: usize = 256;

/// What a client asks for.
struct Asked {
    grant: &'static str,
    client_id: String,
}

/// An error of RFC 6749, section 5.2.
struct Refused {
    status: StatusCode,
    error: &'static str,
    description: &'static str,
}

impl Refused {
    fn request(description: &'static str) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            error: "invalid_request",
            description,
        }
    }
}

/// Answers a request with a token or an error.
pub(crate) async fn answer(tokens: &Tokens, request: Request<Body>) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let asked = match to_bytes(body, MAX_BODY).await {
        Ok(body) => asked(&parts.headers, &body),
        Err(_) => Err(Refused::request("The body cannot be read or is too long.")),
    };
    let mut response = match asked {
        Ok(asked) => issued(tokens, &asked)?,
        Err(refused) => {
            let body = json!({ "error": refused.error, "error_description": refused.description });
            (refused.status, Json(body)).into_response()
        }
    };
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, "no-store".parse()?);
    Ok(response)
}

fn issued(tokens: &Tokens, asked: &Asked) -> Result<Response> {
    let Asked { grant, client_id } = asked;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    let token = tokens.access(client_id, grant)?;
    eprintln!(
        "DEVELOPMENT TOKEN issued to {client_id:?} ({grant}), without a check. Only `make run` has {PATH}."
    );
    let body = json!({
        "access_token": token,
        "token_type": "Bearer",
        "expires": (now + LIFETIME).as_secs(),
        "expires_in": LIFETIME.as_secs(),
        "identifier": grant,
    });
    Ok(Json(body).into_response())
}

fn asked(headers: &HeaderMap, body: &[u8]) -> Result<Asked, Refused> {
    let content_type = headers.get(header::CONTENT_TYPE);
    let content_type = content_type.and_then(|value| value.to_str().ok());
    let media_type = content_type.and_then(|value| value.split(';').next());
    let is_form = media_type.is_some_and(|media_type| {
        let media_type = media_type.trim();
        media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
    });
    if !is_form {
        return Err(Refused::request(
            "The content type is not application/x-www-form-urlencoded.",
        ));
    }
    let grant = match &*parameter(body, "grant_type")? {
        "implicit" => "implicit",
        "client_credentials" => "client_credentials",
        "" => return Err(Refused::request("grant_type is missing.")),
        _ => {
            return Err(Refused {
                status: StatusCode::BAD_REQUEST,
                error: "unsupported_grant_type",
                description: "grant_type is neither implicit nor client_credentials.",
            });
        }
    };
    let client_id = parameter(body, "client_id")?;
    if client_id.is_empty() {
        return Err(Refused::request("client_id is missing."));
    }
    let is_printable = client_id.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if !is_printable || client_id.len() > MAX_CLIENT_ID {
        return Err(Refused::request(
            "client_id is not 1 to 256 printable ASCII characters.",
        ));
    }
    Ok(Asked { grant, client_id })
}

/// The value of a parameter. One without a value counts as missing, and is empty.
///
/// # Errors
///
/// If it is repeated.
fn parameter(form: &[u8], name: &str) -> Result<String, Refused> {
    let mut values = form_urlencoded::parse(form).filter(|(key, _)| key == name);
    let value = values.next().map(|(_, value)| value.into_owned());
    if values.next().is_some() {
        return Err(Refused::request("A parameter is repeated."));
    }
    Ok(value.unwrap_or_default())
}
