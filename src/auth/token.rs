//! One token: from the text that a caller sent to verified claims.
//!
//! AWS-LC verifies signatures. The rest is checked here, because no library for
//! JWTs does: they accept headers that carry keys or critical extensions,
//! duplicate members, and missing claims.
//!
//! Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practice).

use std::borrow::Cow;
use std::time::Duration;

use serde_json::Value;

use super::keys::{Algorithm, Key};
use crate::clock::{CLOCK_SKEW, Timestamp};
use crate::json::{Object, parsed, text, texts};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// The longest token that is accepted, in bytes. API Gateway limits all headers of
/// a request to 10,240 bytes, enough for two tokens of this length, or three of
/// usual length.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// The furthest ahead that an expiry may be. A later one is a mistake, such as a
/// time in milliseconds, and makes a token that never expires in practice.
pub const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// The issuer and the audience that a token must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The value of `iss`, compared byte by byte (RFC 7519 section 4.1.1).
    pub issuer: String,
    /// A value that `aud` must contain.
    pub audience: String,
}

/// Why a token is refused. Only the log shows it, never an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// The header was sent more than once, or has no token in it.
    NotOneToken,
    /// Over [`MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three parts of unpadded, canonical base64url.
    NotCompactJws,
    /// The header or the claims are not a JSON object.
    NotJsonObject,
    /// The header or the claims have two members of one name.
    DuplicateMember,
    /// The header has `crit`, or a member that carries or points to a key.
    RefusedHeader,
    /// `alg` or `kid` is missing or has the wrong type.
    MalformedHeader,
    /// `alg` is not one of the supported algorithms.
    UnknownAlgorithm,
    /// The key set has no such key, or that key is for another algorithm.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// A required claim is missing.
    MissingClaim,
    /// A claim has the wrong type or is out of range.
    MalformedClaim,
    /// `exp` is in the past.
    Expired,
    /// `exp` is more than [`MAX_LIFETIME`] ahead.
    ExpiresTooLate,
    /// `nbf` is in the future.
    NotYetValid,
    /// `iss` is not the expected one.
    Issuer,
    /// `aud` does not contain the expected one.
    Audience,
    /// `sub` is not a valid id, or not the cart of the request.
    Subject,
}

impl TokenFault {
    /// The fault's name in the log.
    pub fn name(self) -> &'static str {
        match self {
            Self::NotOneToken => "not_one_token",
            Self::TooLong => "too_long",
            Self::NotCompactJws => "not_compact_jws",
            Self::NotJsonObject => "not_json_object",
            Self::DuplicateMember => "duplicate_member",
            Self::RefusedHeader => "refused_header",
            Self::MalformedHeader => "malformed_header",
            Self::UnknownAlgorithm => "unknown_algorithm",
            Self::UnknownKey => "unknown_key",
            Self::Signature => "signature",
            Self::MissingClaim => "missing_claim",
            Self::MalformedClaim => "malformed_claim",
            Self::Expired => "expired",
            Self::ExpiresTooLate => "expires_too_late",
            Self::NotYetValid => "not_yet_valid",
            Self::Issuer => "issuer",
            Self::Audience => "audience",
            Self::Subject => "subject",
        }
    }
}

/// The claims that are used, of a token whose signature, issuer and audience are
/// verified. [`Claims::check_times`] says whether it is valid now.
#[derive(Debug)]
pub(super) struct Claims {
    /// `sub`, never empty.
    pub(super) subject: String,
    /// The claim that names the grant, if it is a string.
    pub(super) grant: Option<String>,
    /// `exp` and `nbf`, in seconds since the epoch.
    expires: f64,
    not_before: Option<f64>,
}

impl Claims {
    /// Checks `exp` and `nbf`.
    pub(super) fn check_times(&self, now: Timestamp) -> Result<(), TokenFault> {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        let now = now.millis() as f64 / 1000.0;
        if self.expires + CLOCK_SKEW.as_secs_f64() <= now {
            return Err(TokenFault::Expired);
        }
        if self.expires - MAX_LIFETIME.as_secs_f64() > now {
            return Err(TokenFault::ExpiresTooLate);
        }
        let too_early = |not_before| not_before - CLOCK_SKEW.as_secs_f64() > now;
        if self.not_before.is_some_and(too_early) {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}

/// A token split into its parts. Nothing in it is verified: only the key that it
/// names may be used, to look that key up.
pub(super) struct UnverifiedToken<'t> {
    signed: &'t str,
    payload: &'t str,
    signature: Vec<u8>,
    unverified_header: Header,
}

struct Header {
    alg: Algorithm,
    kid: Option<String>,
}

impl<'t> UnverifiedToken<'t> {
    /// Splits a token and checks its header.
    pub(super) fn parse(token: &'t str) -> Result<Self, TokenFault> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(TokenFault::NotCompactJws);
        };
        Ok(Self {
            signed: &token[..header.len() + 1 + payload.len()],
            payload,
            signature: decode(signature)?,
            unverified_header: Header::parse(&object(&decode(header)?)?)?,
        })
    }

    /// The id of the key that the token names, if any.
    pub(super) fn kid(&self) -> Option<&str> {
        self.unverified_header.kid.as_deref()
    }

    /// The algorithm that the token names.
    pub(super) fn alg(&self) -> Algorithm {
        self.unverified_header.alg
    }

    /// Verifies the signature with a key, then the claims. `grant_claim` is the
    /// name of the claim that names the grant, for tokens that have one.
    pub(super) fn verify(
        &self,
        key: &Key,
        expected: &Expected,
        grant_claim: Option<&str>,
        now: Timestamp,
    ) -> Result<Claims, TokenFault> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(TokenFault::Signature);
        }

        let json = decode(self.payload)?;
        let payload = object(&json)?;
        let mut claims = Claims {
            subject: String::new(),
            grant: grant_claim.and_then(|name| text(payload.get(name)).map(Cow::into_owned)),
            expires: numeric_date(&payload, "exp")?.ok_or(TokenFault::MissingClaim)?,
            not_before: numeric_date(&payload, "nbf")?,
        };
        claims.check_times(now)?;
        numeric_date(&payload, "iat")?;
        check_parties(&payload, expected)?;
        claims.subject = required_text(&payload, "sub")?.into_owned();
        if claims.subject.is_empty() {
            return Err(TokenFault::MalformedClaim);
        }
        Ok(claims)
    }
}

impl Header {
    fn parse(header: &Object<'_>) -> Result<Self, TokenFault> {
        // No extension is supported (`crit`, RFC 7515 section 4.1.11), and a token
        // must not bring the key that verifies it (RFC 8725 section 2.9).
        for refused in ["crit", "jwk", "jku", "x5c", "x5u"] {
            if header.get(refused).is_some() {
                return Err(TokenFault::RefusedHeader);
            }
        }
        let kid = match header.get("kid") {
            None => None,
            kid => Some(text(kid).ok_or(TokenFault::MalformedHeader)?.into_owned()),
        };
        let alg = text(header.get("alg")).ok_or(TokenFault::MalformedHeader)?;
        let alg = Algorithm::named(&alg).ok_or(TokenFault::UnknownAlgorithm)?;
        Ok(Self { alg, kid })
    }
}

fn check_parties(claims: &Object<'_>, expected: &Expected) -> Result<(), TokenFault> {
    if required_text(claims, "iss")? != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    let audience = claims.get("aud").ok_or(TokenFault::MissingClaim)?;
    let audiences = match text(Some(audience)) {
        Some(audience) => vec![audience],
        None => texts(Some(audience)).ok_or(TokenFault::MalformedClaim)?,
    };
    if !audiences.contains(&expected.audience.as_str().into()) {
        return Err(TokenFault::Audience);
    }
    Ok(())
}

/// Reads a NumericDate (RFC 7519 section 2): seconds, which may have a fraction.
fn numeric_date(claims: &Object<'_>, name: &str) -> Result<Option<f64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        seconds => parsed(seconds).map(Some).ok_or(TokenFault::MalformedClaim),
    }
}

fn required_text<'c>(claims: &Object<'c>, name: &str) -> Result<Cow<'c, str>, TokenFault> {
    let value = claims.get(name).ok_or(TokenFault::MissingClaim)?;
    text(Some(value)).ok_or(TokenFault::MalformedClaim)
}

/// Decodes unpadded base64url, and refuses set bits after the last byte, so that a
/// value has one encoding only.
fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    if part.is_empty() {
        return Err(TokenFault::NotCompactJws);
    }
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenFault::NotCompactJws)
}

/// Parses a JSON object. Refuses duplicate members, of which readers take
/// different ones (RFC 7515 section 4, RFC 7519 section 4), and everything else
/// that some readers refuse: lone surrogates, huge numbers and deep nesting, also
/// in members that are not used.
fn object(json: &[u8]) -> Result<Object<'_>, TokenFault> {
    let is_strict = serde_json::from_slice::<Value>(json).is_ok();
    let object = serde_json::from_slice::<Object<'_>>(json).ok();
    let object = object
        .filter(|_| is_strict)
        .ok_or(TokenFault::NotJsonObject)?;
    if object.has_duplicates() {
        return Err(TokenFault::DuplicateMember);
    }
    Ok(object)
}
