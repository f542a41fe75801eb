//! The tokens in the headers of a request. They are only found here, not verified.

use lambda_http::http::HeaderMap;

use super::TokenKind;
use super::token::Refusal;

/// Returns the text in the place of a token, if one was sent.
pub(super) fn sent(kind: TokenKind, headers: &HeaderMap) -> Result<Option<&str>, Refusal> {
    let value = sole_value(headers, kind.header())?;
    match (kind, value) {
        (TokenKind::Access, value) => Ok(value.and_then(bearer)),
        (TokenKind::Party(_) | TokenKind::Cart, Some("")) => Err(Refusal::NOT_ONE_TOKEN),
        (TokenKind::Party(_) | TokenKind::Cart, value) => Ok(value),
    }
}

/// Reads `Bearer` in any case, one or more spaces, and the token (RFC 6750 section 2.1).
/// `Bearer:` is accepted too: Elastic Path's Go client sends it.
fn bearer(credentials: &str) -> Option<&str> {
    let (scheme, token) = credentials.split_once(' ')?;
    let scheme = scheme.strip_suffix(':').unwrap_or(scheme);
    let is_bearer = scheme.eq_ignore_ascii_case("bearer");
    is_bearer.then(|| token.trim_start_matches(' '))
}

/// Returns the value of a header, without the white space around it (RFC 9110 section
/// 5.5).
fn sole_value<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, Refusal> {
    let mut values = headers.get_all(name).into_iter();
    let value = match (values.next(), values.next()) {
        (None, _) => return Ok(None),
        (Some(value), None) => std::str::from_utf8(value.as_bytes()),
        (Some(_), Some(_)) => return Err(Refusal::NOT_ONE_TOKEN),
    };
    let value = value.map_err(|_| Refusal::NOT_ONE_TOKEN)?;
    Ok(Some(value.trim_matches([' ', '\t'])))
}
