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

macro_rules! reasons {
    ($($(#[$doc:meta])* $reason:ident $name:literal;)+) => {
        /// Why a token is refused.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(super) enum Reason {
            $($(#[$doc])* $reason,)+
        }

        impl Reason {
            fn name(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)+
                }
            }
        }
    };
}

reasons! {
    /// Tokens of this kind are not configured.
    NotConfigured "not_configured";
    /// The header was sent more than once, is not text, or has no token in it.
    NotOneToken "not_one_token";
    /// Over [`MAX_TOKEN_BYTES`].
    TooLong "too_long";
    /// Not three parts of unpadded, canonical base64url.
    NotCompactJws "not_compact_jws";
    /// The header or the claims are not a JSON object.
    NotJsonObject "not_json_object";
    /// The header or the claims have two members of one name.
    DuplicateMember "duplicate_member";
    /// The header has `crit`, or a `typ` of another kind of token.
    RefusedHeader "refused_header";
    /// `alg` or `kid` is missing or has the wrong type.
    MalformedHeader "malformed_header";
    /// `alg` is not one of the supported algorithms.
    UnknownAlgorithm "unknown_algorithm";
    /// The key set has no such key, or that key is for another algorithm.
    UnknownKey "unknown_key";
    Signature "signature";
    MissingClaim "missing_claim";
    /// A claim has the wrong type or is out of range.
    MalformedClaim "malformed_claim";
    /// A token with this claim is for something else.
    RefusedClaim "refused_claim";
    Expired "expired";
    /// `exp` is more than [`MAX_LIFETIME`] ahead.
    ExpiresTooLate "expires_too_late";
    NotYetValid "not_yet_valid";
    Issuer "issuer";
    Audience "audience";
    /// A required claim has another value.
    RequiredClaim "required_claim";
    /// The token is as good a token of another kind.
    TwoKinds "two_kinds";
    /// The claim that names somebody is no valid id, or not the cart of the request.
    Subject "subject";
}

/// Why a token is refused. Only the log shows it, never an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    reason: Reason,
    claim: Option<String>,
}

impl Refusal {
    pub(super) fn of(reason: Reason, claim: &str) -> Self {
        let claim = Some(claim.to_owned());
        Self { reason, claim }
    }

    /// The reason's name in the log.
    pub fn name(&self) -> &'static str {
        self.reason.name()
    }

    /// The claim that is missing or wrong, if it is one.
    pub fn claim(&self) -> Option<&str> {
        self.claim.as_deref()
    }
}

impl From<Reason> for Refusal {
    fn from(reason: Reason) -> Self {
        let claim = None;
        Self { reason, claim }
    }
}

/// The times of a token, in seconds since the epoch.
#[derive(Debug)]
pub(super) struct Times {
    expires: f64,
    not_before: Option<f64>,
}

impl Times {
    /// Reads `exp` and `nbf`.
    pub(super) fn read(claims: &Claims<'_>) -> Result<Self, Refusal> {
        let expires = numeric_date(claims, "exp")?;
        numeric_date(claims, "iat")?;
        Ok(Self {
            expires: expires.ok_or_else(|| Refusal::of(Reason::MissingClaim, "exp"))?,
            not_before: numeric_date(claims, "nbf")?,
        })
    }

    /// Checks `exp` and `nbf`.
    pub(super) fn check(&self, now: Timestamp) -> Result<(), Refusal> {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        let now = now.millis() as f64 / 1000.0;
        if self.expires + CLOCK_SKEW.as_secs_f64() <= now {
            return Err(Refusal::of(Reason::Expired, "exp"));
        }
        if self.expires - MAX_LIFETIME.as_secs_f64() > now {
            return Err(Refusal::of(Reason::ExpiresTooLate, "exp"));
        }
        let too_early = |not_before| not_before - CLOCK_SKEW.as_secs_f64() > now;
        if self.not_before.is_some_and(too_early) {
            return Err(Refusal::of(Reason::NotYetValid, "nbf"));
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
    unverified_header: Header,
}

struct Header {
    alg: Algorithm,
    kid: Option<String>,
}

impl<'t> UnverifiedToken<'t> {
    /// Splits a token and checks its header.
    pub(super) fn parse(token: &'t str) -> Result<Self, Refusal> {
        let mut parts = token.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::NotCompactJws.into());
        };
        Ok(Self {
            signed: &token[..header.len() + 1 + payload.len()],
            signature: decode(signature)?,
            unverified_header: Header::parse(&object(&decode(header)?)?)?,
            payload: decode(payload)?,
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

    /// Verifies the signature with a key, and returns the claims.
    pub(super) fn verify(&self, key: &Key) -> Result<Claims<'_>, Refusal> {
        if !key.verifies(self.signed.as_bytes(), &self.signature) {
            return Err(Reason::Signature.into());
        }
        let claims = Claims(object(&self.payload)?);
        // `cnf` binds a token to a key, whose proof nobody checks here (RFC 9449 section
        // 6). `events` marks logout and security event tokens, which have the issuer,
        // audience and subject of an ID token (RFC 8417 section 2.2, RFC 8725 section
        // 3.11).
        for refused in ["cnf", "events"] {
            if claims.get(refused).is_some() {
                return Err(Refusal::of(Reason::RefusedClaim, refused));
            }
        }
        Ok(claims)
    }
}

impl Header {
    fn parse(header: &Object<'_>) -> Result<Self, Refusal> {
        // No extension is supported (RFC 7515 section 4.1.11). Members that carry or
        // point to a key (`jwk`, `jku`, `x5c`, `x5u`) are ignored: the key comes from
        // the configured set.
        if header.get("crit").is_some() {
            return Err(Reason::RefusedHeader.into());
        }
        let member = |name| header.get(name).filter(|value| value.get() != "null");
        if let Some(typ) = member("typ")
            && !text(Some(typ)).is_some_and(|typ| is_accepted_type(&typ))
        {
            return Err(Reason::RefusedHeader.into());
        }
        let kid = match member("kid") {
            None => None,
            kid => Some(text(kid).ok_or(Reason::MalformedHeader)?.into_owned()),
        };
        let alg = text(header.get("alg")).ok_or(Reason::MalformedHeader)?;
        let alg = Algorithm::named(&alg).ok_or(Reason::UnknownAlgorithm)?;
        let kid = kid.filter(|kid| !kid.is_empty());
        Ok(Self { alg, kid })
    }
}

/// Returns whether `typ` is that of a JWT or of an access token (RFC 7519 section 5.1,
/// RFC 9068 section 2.1). It is a media type, so case does not matter, and
/// `application/` may be left out (RFC 7515 section 4.1.9).
fn is_accepted_type(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    let subtype = typ.strip_prefix("application/").unwrap_or(&typ);
    ["jwt", "at+jwt"].contains(&subtype)
}

/// Reads a NumericDate (RFC 7519 section 2): seconds, which may have a fraction.
fn numeric_date(claims: &Claims<'_>, name: &str) -> Result<Option<f64>, Refusal> {
    match claims.get(name) {
        None => Ok(None),
        seconds => match parsed(seconds) {
            Some(seconds) => Ok(Some(seconds)),
            None => Err(Refusal::of(Reason::MalformedClaim, name)),
        },
    }
}

/// Decodes unpadded base64url, and refuses set bits after the last byte, so that a
/// value has one encoding only.
fn decode(part: &str) -> Result<Vec<u8>, Refusal> {
    if part.is_empty() {
        return Err(Reason::NotCompactJws.into());
    }
    let decoded = URL_SAFE_NO_PAD.decode(part);
    Ok(decoded.map_err(|_| Reason::NotCompactJws)?)
}

/// Parses a JSON object. Refuses duplicate members, of which readers take
/// different ones (RFC 7515 section 4, RFC 7519 section 4), and everything else
/// that some readers refuse: lone surrogates, huge numbers and deep nesting, also
/// in members that are not used.
fn object(json: &[u8]) -> Result<Object<'_>, Refusal> {
    let is_strict = serde_json::from_slice::<Value>(json).is_ok();
    let object = serde_json::from_slice::<Object<'_>>(json).ok();
    let object = object.filter(|_| is_strict).ok_or(Reason::NotJsonObject)?;
    if object.has_duplicates() {
        return Err(Reason::DuplicateMember.into());
    }
    Ok(object)
}
