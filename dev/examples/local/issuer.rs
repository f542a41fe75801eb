//! `POST /oauth/access_token` as Elastic Path answers it, so that its clients work unchanged with `make run`.
//!
//! It gives a token to anyone who asks. So it exists only here, in front of a function that trusts the keys in `.local`.
//!
//! Source: "Authentication", Elastic Path; RFC 6749, sections 3.2, 4.4 and 5.

use std::time::SystemTime;

use anyhow::Result;
use axum::Json;
use axum::extract::Form;
use axum::extract::rejection::FormRejection;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use dev::tokens::LIFETIME;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::tokens::Tokens;

pub(crate) const PATH: &str = "/oauth/access_token";

pub(crate) const MAX_BODY: usize = 16 * 1024;

/// The longest `client_id`. It becomes the token's `sub`, and tokens have at most 8 KiB.
const MAX_CLIENT_ID: usize = 256;

/// What a client asks for. A parameter without a value counts as missing.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    grant_type: String,
    client_id: String,
}

/// Answers a request with a token or an error of RFC 6749, section 5.2.
pub(crate) fn answer(
    tokens: &Tokens,
    asked: Result<Form<Asked>, FormRejection>,
) -> Result<Response> {
    let checked = asked
        .map_err(|rejection| ("invalid_request", rejection.body_text()))
        .and_then(|Form(asked)| checked(asked).map_err(|(error, why)| (error, why.to_owned())));
    let (status, body) = match checked {
        Ok(asked) => (StatusCode::OK, issued(tokens, &asked)?),
        Err((error, description)) => (
            StatusCode::BAD_REQUEST,
            json!({ "error": error, "error_description": description }),
        ),
    };
    Ok((status, [(header::CACHE_CONTROL, "no-store")], Json(body)).into_response())
}

fn checked(asked: Asked) -> Result<Asked, (&'static str, &'static str)> {
    let is_printable = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    match asked.grant_type.as_str() {
        "" => Err(("invalid_request", "grant_type is missing.")),
        "implicit" | "client_credentials" => match asked.client_id.len() {
            1..=MAX_CLIENT_ID if is_printable(&asked.client_id) => Ok(asked),
            _ => Err((
                "invalid_request",
                "client_id is not 1 to 256 printable ASCII characters.",
            )),
        },
        _ => Err((
            "unsupported_grant_type",
            "grant_type is neither implicit nor client_credentials.",
        )),
    }
}

fn issued(tokens: &Tokens, asked: &Asked) -> Result<Value> {
    let Asked {
        grant_type,
        client_id,
    } = asked;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    eprintln!(
        "DEVELOPMENT TOKEN issued to {client_id:?} ({grant_type}), without a check. Only `make run` has {PATH}."
    );
    Ok(json!({
        "access_token": tokens.access(client_id, grant_type)?,
        "token_type": "Bearer",
        "expires": (now + LIFETIME).as_secs(),
        "expires_in": LIFETIME.as_secs(),
        "identifier": grant_type,
    }))
}
