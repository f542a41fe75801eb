//! The tokens in the headers of a request. They are only found here, not verified.

use std::fmt;

use lambda_http::http::HeaderMap;

/// An unverified credential.
#[derive(Clone, Copy)]
pub(super) enum Credential<'h> {
    /// The header was not sent, or `Authorization` has no `Bearer` token.
    Absent,
    /// The header was sent more than once, is not text, or has no token in it.
    Malformed,
    /// The text in the place of the token.
    Token(&'h str),
}

impl fmt::Debug for Credential<'_> {
    /// Never shows a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "Absent",
            Self::Malformed => "Malformed",
            Self::Token(_) => "Token(_)",
        })
    }
}

/// Reads `Authorization`: `Bearer` in any case, one or more spaces, and the token (RFC
/// 6750 section 2.1). `Bearer:` is accepted too: Elastic Path's Go client sends it.
pub(super) fn bearer(headers: &HeaderMap) -> Credential<'_> {
    let value = match sole_value(headers, "authorization") {
        Credential::Token(value) => value,
        other => return other,
    };
    match value.split_once(' ') {
        Some((scheme, token))
            if scheme.eq_ignore_ascii_case("bearer") || scheme.eq_ignore_ascii_case("bearer:") =>
        {
            Credential::Token(token.trim_start_matches(' '))
        }
        _ => Credential::Absent,
    }
}

/// Reads a header that has nothing but a token. An empty one is malformed.
pub(super) fn token<'h>(headers: &'h HeaderMap, name: &str) -> Credential<'h> {
    match sole_value(headers, name) {
        Credential::Token("") => Credential::Malformed,
        other => other,
    }
}

/// Returns the value of a header, without the white space around it (RFC 9110 section
/// 5.5).
fn sole_value<'h>(headers: &'h HeaderMap, name: &str) -> Credential<'h> {
    let mut values = headers.get_all(name).into_iter();
    match (values.next(), values.next()) {
        (None, _) => Credential::Absent,
        (Some(value), None) => match std::str::from_utf8(value.as_bytes()) {
            Ok(text) => Credential::Token(text.trim_matches([' ', '\t'])),
            Err(_) => Credential::Malformed,
        },
        (Some(_), Some(_)) => Credential::Malformed,
    }
}
