//! One token: from the text that a caller sent to verified claims.
//!
//! AWS-LC verifies signatures. The rest is checked here, because no library for
//! JWTs does: they accept headers that carry keys or critical extensions,
//! duplicate members, and missing claims.
//!
//! Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practice).

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::claims::Claims;
use super::keys::{Algorithm, Key};
use crate::clock::{CLOCK_SKEW, Timestamp};
use crate::json::{Object, parsed, text};

/// The longest token that is accepted, in bytes. Entra's tokens with many groups have
/// over 4 KiB. API Gateway limits all headers of a request to 10,240 bytes.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// The furthest ahead that an expiry may be. A later one is a mistake, such as a
/// time in milliseconds, and makes a token that never expires in practice.
pub const MAX_LIFETIME: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Why a token is refused. Only the log shows it, never an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    name: &'static str,
    claim: Option<String>,
}

impl Refusal {
    /// Tokens of this kind are not configured.
    pub(super) const NOT_CONFIGURED: Self = Self::named("not_configured");
    /// The header was sent more than once, is not text, or has no token in it.
    pub(super) const NOT_ONE_TOKEN: Self = Self::named("not_one_token");
    /// Over [`MAX_TOKEN_BYTES`].
    pub(super) const TOO_LONG: Self = Self::named("too_long");
    /// Not three parts of unpadded, canonical base64url.
    pub(super) const NOT_COMPACT_JWS: Self = Self::named("not_compact_jws");
    /// The header or the claims are not a JSON object.
    pub(super) const NOT_JSON_OBJECT: Self = Self::named("not_json_object");
    /// The header or the claims have two members of one name.
    pub(super) const DUPLICATE_MEMBER: Self = Self::named("duplicate_member");
    /// The header has `crit`, or a `typ` of another kind of token.
    pub(super) const REFUSED_HEADER: Self = Self::named("refused_header");
    /// `alg` or `kid` is missing or has the wrong type.
    pub(super) const MALFORMED_HEADER: Self = Self::named("malformed_header");
    /// `alg` is not one of the supported algorithms.
    pub(super) const UNKNOWN_ALGORITHM: Self = Self::named("unknown_algorithm");
    /// The key set has no such key, or that key is for another algorithm.
    pub(super) const UNKNOWN_KEY: Self = Self::named("unknown_key");
    pub(super) const SIGNATURE: Self = Self::named("signature");
    pub(super) const MISSING_CLAIM: Self = Self::named("missing_claim");
    /// A claim has the wrong type or is out of range.
    pub(super) const MALFORMED_CLAIM: Self = Self::named("malformed_claim");
    /// A token with this claim is for something else.
    pub(super) const REFUSED_CLAIM: Self = Self::named("refused_claim");
    pub(super) const EXPIRED: Self = Self::named("expired");
    /// `exp` is more than [`MAX_LIFETIME`] ahead.
    pub(super) const EXPIRES_TOO_LATE: Self = Self::named("expires_too_late");
    pub(super) const NOT_YET_VALID: Self = Self::named("not_yet_valid");
    pub(super) const ISSUER: Self = Self::named("issuer");
    pub(super) const AUDIENCE: Self = Self::named("audience");
    /// A required claim has another value.
    pub(super) const REQUIRED_CLAIM: Self = Self::named("required_claim");
    /// The token also meets the rules of another kind.
    pub(super) const TWO_KINDS: Self = Self::named("two_kinds");
    /// The claim that names somebody is no valid id, or not the cart of the request.
    pub(super) const SUBJECT: Self = Self::named("subject");

    const fn named(name: &'static str) -> Self {
        Self { name, claim: None }
    }

    /// Adds the claim that is missing or wrong.
    pub(super) fn of(mut self, claim: &str) -> Self {
        self.claim = Some(claim.to_owned());
        self
    }

    /// The reason's name in the log.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The claim that is missing or wrong, if it is one.
    pub fn claim(&self) -> Option<&str> {
        self.claim.as_deref()
    }
}

/// The times of a token, in seconds since the epoch.
#[derive(Debug)]
pub(super) struct Times {
    expires: f64,
    not_before: Option<f64>,
}

impl Times {
    /// Reads `exp` and `nbf`: numbers of seconds, which may have a fraction (RFC 7519
    /// section 2).
    pub(super) fn read(claims: &Claims<'_>) -> Result<Self, Refusal> {
        claims.read("iat", parsed::<f64>)?;
        Ok(Self {
            expires: claims.required("exp", parsed)?,
            not_before: claims.read("nbf", parsed)?,
        })
    }

    /// Checks `exp` and `nbf`.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        let now = now.millis() as f64 / 1000.0;
        if self.expires + CLOCK_SKEW.as_secs_f64() <= now {
            return Err(Refusal::EXPIRED.of("exp"));
        }
        if self.expires - MAX_LIFETIME.as_secs_f64() > now {
            return Err(Refusal::EXPIRES_TOO_LATE.of("exp"));
        }
        let too_early = |not_before| not_before - CLOCK_SKEW.as_secs_f64() > now;
        if self.not_before.is_some_and(too_early) {
            return Err(Refusal::NOT_YET_VALID.of("nbf"));
        }
        Ok(())
    }
}

/// A token split into its parts. Nothing in it is verified: only the key that it
/// names may be used, to look that key up.
pub(super) struct UnverifiedToken<'t> {
    signed: &'t str,
    payload: Vec<u8>,
    signature: Vec<u8>,
    pub(super) alg: Algorithm,
    pub(super) kid: Option<String>,
}

impl<'t> UnverifiedToken<'t> {
    /// Splits a token and checks its header.
    pub(super) fn parse(token: &'t str) -> Result<Self, Refusal> {
        let parts: Vec<&str> = token.splitn(4, '.').collect();
        let [header, payload, signature] = parts[..] else {
            return Err(Refusal::NOT_COMPACT_JWS);
        };
        let signed = &token[..header.len() + 1 + payload.len()];
        let signature = decode(signature)?;
        let (alg, kid) = read_header(&object(&decode(header)?)?)?;
        Ok(Self {
            signed,
            payload: decode(payload)?,
            signature,
            alg,
            kid,
        })
    }

    /// Verifies the signature with a key, and returns the claims.
    pub(super) fn verify(&self, key: &Key) -> Result<Claims<'_>, Refusal> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(Refusal::SIGNATURE);
        }
        let claims = Claims(object(&self.payload)?);
        // `cnf` binds a token to a key, whose proof nobody checks here (RFC 9449 section
        // 6). `events` marks logout and security event tokens, which have the issuer,
        // audience and subject of an ID token (RFC 8417 section 2.2, RFC 8725 section
        // 3.11).
        for refused in ["cnf", "events"] {
            if claims.get(refused).is_some() {
                return Err(Refusal::REFUSED_CLAIM.of(refused));
            }
        }
        Ok(claims)
    }
}

/// Reads `alg` and `kid`.
fn read_header(header: &Object<'_>) -> Result<(Algorithm, Option<String>), Refusal> {
    // No extension is supported (RFC 7515 section 4.1.11). Members that carry or point
    // to a key (`jwk`, `jku`, `x5c`, `x5u`) are ignored: the key comes from the
    // configured set.
    if header.get("crit").is_some() {
        return Err(Refusal::REFUSED_HEADER);
    }
    let member = |name| header.get(name).filter(|value| value.get() != "null");
    let typ = member("typ");
    if typ.is_some() && !text(typ).is_some_and(|typ| is_accepted_type(&typ)) {
        return Err(Refusal::REFUSED_HEADER);
    }
    let kid = match member("kid") {
        None => None,
        kid => Some(text(kid).ok_or(Refusal::MALFORMED_HEADER)?.into_owned()),
    };
    let alg = text(header.get("alg")).ok_or(Refusal::MALFORMED_HEADER)?;
    let alg = Algorithm::named(&alg).ok_or(Refusal::UNKNOWN_ALGORITHM)?;
    Ok((alg, kid.filter(|kid| !kid.is_empty())))
}

/// Returns whether `typ` is that of a JWT or of an access token (RFC 7519 section 5.1,
/// RFC 9068 section 2.1). It is a media type, so case does not matter, and
/// `application/` may be left out (RFC 7515 section 4.1.9).
fn is_accepted_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let subtype = typ.strip_prefix("application/").unwrap_or(&typ);
    ["jwt", "at+jwt"].contains(&subtype)
}

/// Decodes unpadded base64url, and refuses set bits after the last byte, so that a
/// value has one encoding only.
fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    if part.is_empty() {
        return Err(Refusal::NOT_COMPACT_JWS);
    }
    let decoded = URL_SAFE_NO_PAD.decode(part);
    decoded.map_err(|_| Refusal::NOT_COMPACT_JWS)
}

/// Parses a JSON object. Refuses duplicate members, of which readers take
/// different ones (RFC 7515 section 4, RFC 7519 section 4), and everything else
/// that some readers refuse: lone surrogates, huge numbers and deep nesting, also
/// in members that are not used.
fn object(json: &[u8]) -> Result<Object<'_>, Refusal> {
    let is_strict = serde_json::from_slice::<Value>(json).is_ok();
    let object = serde_json::from_slice::<Object<'_>>(json).ok();
    let object = object
        .filter(|_| is_strict)
        .ok_or(Refusal::NOT_JSON_OBJECT)?;
    if object.has_duplicates() {
        return Err(Refusal::DUPLICATE_MEMBER);
    }
    Ok(object)
}
