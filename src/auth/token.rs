//! One token: from the text that a caller sent to claims that can be believed.
//!
//! AWS-LC verifies signatures; what surrounds them is checked here, because the
//! libraries for tokens are lax by default: they accept headers that carry keys
//! or critical extensions, duplicate members, and the absence of claims.
//!
//! Sources: RFC 7515 (JWS), RFC 7519 (JWT), RFC 8725 (best current practice).

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};

use super::keys::{Algorithm, Key};
use crate::clock::Timestamp;

/// The longest token that is looked at, in bytes. API Gateway gives all headers
/// of a request 10,240 bytes together, and a request may bring two tokens.
pub const MAX_TOKEN_BYTES: usize = 4096;

/// How far the clocks of issuer and function may be apart (RFC 7519 sections
/// 4.1.4 and 4.1.5 allow "a few minutes"; half of one is plenty with NTP).
pub const LEEWAY: Duration = Duration::from_secs(30);

/// How far ahead an expiry may lie. No issuer means a token to outlive its keys
/// by years: what looks like it is a time in milliseconds or a mistake, and a
/// token that in effect never expires (RFC 8725 section 2.7 asks for none).
pub const LONGEST_LIFETIME: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Who must have issued a token and for whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// `iss`, compared as it is (RFC 7519 section 4.1.1).
    pub issuer: String,
    /// One of `aud`.
    pub audience: String,
}

/// Why a token is refused. For the log: a caller is told nothing of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenFault {
    /// The header has no one token in it.
    NotOneToken,
    /// Over [`MAX_TOKEN_BYTES`].
    TooLong,
    /// Not three parts of unpadded, canonical base64url.
    NotCompactJws,
    /// The header or the claims are no JSON object.
    NotJsonObject,
    /// The header or the claims have a member twice.
    DuplicateMember,
    /// The header has a member that names or carries a key, or `crit`.
    RefusedHeader,
    /// `alg` or `kid` is missing or of a wrong type.
    MalformedHeader,
    /// `alg` is none that is known here.
    UnknownAlgorithm,
    /// The set has no such key, or the key is of another algorithm.
    UnknownKey,
    /// The signature is not that key's.
    Signature,
    /// A claim that is required is missing.
    MissingClaim,
    /// A claim is of a wrong type or out of range.
    MalformedClaim,
    /// `exp` is past.
    Expired,
    /// `exp` is over [`LONGEST_LIFETIME`] ahead.
    ExpiresTooLate,
    /// `nbf` is still to come.
    NotYetValid,
    /// `iss` is another.
    Issuer,
    /// `aud` has not ours.
    Audience,
    /// `sub` is not what such a token is for.
    Subject,
}

impl TokenFault {
    /// A short name for logs and metrics.
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

/// What matters of the claims of a token whose signature, issuer and audience
/// are right. Its times are right when they are checked.
#[derive(Debug)]
pub(super) struct Claims {
    /// `sub`, never empty.
    pub(super) subject: String,
    /// The grant, if it was asked for and is a string.
    pub(super) grant: Option<String>,
    /// `exp` and `nbf`, in seconds since the epoch.
    expires: f64,
    not_before: Option<f64>,
}

impl Claims {
    /// Whether it is the time of the token.
    pub(super) fn check_times(&self, now: Timestamp) -> Result<(), TokenFault> {
        #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
        let now = now.millis() as f64 / 1000.0;
        if self.expires + LEEWAY.as_secs_f64() <= now {
            return Err(TokenFault::Expired);
        }
        if self.expires - LONGEST_LIFETIME.as_secs_f64() > now {
            return Err(TokenFault::ExpiresTooLate);
        }
        let too_early = |not_before| not_before - LEEWAY.as_secs_f64() > now;
        if self.not_before.is_some_and(too_early) {
            return Err(TokenFault::NotYetValid);
        }
        Ok(())
    }
}

/// A token taken apart. Nothing in it is verified, so nothing in it may be
/// believed but which key it asks for.
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
    /// Takes a token apart and refuses what no verifier should see.
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
            unverified_header: Header::parse(&object(header)?)?,
        })
    }

    /// The id of the key that the token asks for, if it names one.
    pub(super) fn kid(&self) -> Option<&str> {
        self.unverified_header.kid.as_deref()
    }

    /// The algorithm that the token states.
    pub(super) fn alg(&self) -> Algorithm {
        self.unverified_header.alg
    }

    /// Verifies the token with a key, then what it claims; of the grant the claim
    /// of this name.
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

        let members = object(self.payload)?;
        let grant = grant_claim.and_then(|name| members.get(name)?.text());
        let mut claims = Claims {
            subject: String::new(),
            grant: grant.map(str::to_owned),
            expires: numeric_date(&members, "exp")?.ok_or(TokenFault::MissingClaim)?,
            not_before: numeric_date(&members, "nbf")?,
        };
        claims.check_times(now)?;
        numeric_date(&members, "iat")?;
        check_parties(&members, expected)?;
        required_text(&members, "sub")?.clone_into(&mut claims.subject);
        if claims.subject.is_empty() {
            return Err(TokenFault::MalformedClaim);
        }
        Ok(claims)
    }
}

impl Header {
    fn parse(header: &Members) -> Result<Self, TokenFault> {
        // Nothing critical is understood here (RFC 7515 section 4.1.11), and a
        // token must not bring the key that verifies it (RFC 8725 section 2.9
        // tells of requests forged that way).
        for refused in ["crit", "jwk", "jku", "x5c", "x5u"] {
            if header.contains_key(refused) {
                return Err(TokenFault::RefusedHeader);
            }
        }
        let kid = match header.get("kid") {
            None => None,
            Some(Member::Text(kid)) => Some(kid.clone()),
            Some(_) => return Err(TokenFault::MalformedHeader),
        };
        let alg = header.get("alg").and_then(Member::text);
        let alg = alg.ok_or(TokenFault::MalformedHeader)?;
        let alg = Algorithm::named(alg).ok_or(TokenFault::UnknownAlgorithm)?;
        Ok(Self { alg, kid })
    }
}

fn check_parties(claims: &Members, expected: &Expected) -> Result<(), TokenFault> {
    if required_text(claims, "iss")? != expected.issuer {
        return Err(TokenFault::Issuer);
    }
    let for_us = match claims.get("aud").ok_or(TokenFault::MissingClaim)? {
        Member::Text(audience) => *audience == expected.audience,
        Member::List(audiences) => {
            let audiences: Option<Vec<&str>> = audiences.iter().map(Member::text).collect();
            audiences
                .ok_or(TokenFault::MalformedClaim)?
                .contains(&expected.audience.as_str())
        }
        Member::Number(_) | Member::Other => return Err(TokenFault::MalformedClaim),
    };
    if !for_us {
        return Err(TokenFault::Audience);
    }
    Ok(())
}

/// RFC 7519 section 2, "NumericDate": seconds, which may have a fraction.
fn numeric_date(claims: &Members, name: &str) -> Result<Option<f64>, TokenFault> {
    match claims.get(name) {
        None => Ok(None),
        Some(Member::Number(seconds)) => Ok(Some(*seconds)),
        Some(_) => Err(TokenFault::MalformedClaim),
    }
}

fn required_text<'c>(claims: &'c Members, name: &str) -> Result<&'c str, TokenFault> {
    let value = claims.get(name).ok_or(TokenFault::MissingClaim)?;
    value.text().ok_or(TokenFault::MalformedClaim)
}

/// Unpadded base64url without bits to spare: one text for one value, so that no
/// two readers of a token differ in what it says.
fn decode(part: &str) -> Result<Vec<u8>, TokenFault> {
    if part.is_empty() {
        return Err(TokenFault::NotCompactJws);
    }
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| TokenFault::NotCompactJws)
}

fn object(part: &str) -> Result<Members, TokenFault> {
    let json = decode(part)?;
    match serde_json::from_slice::<UniqueMembers>(&json) {
        Ok(UniqueMembers(Some(members))) => Ok(members),
        Ok(UniqueMembers(None)) => Err(TokenFault::DuplicateMember),
        Err(_) => Err(TokenFault::NotJsonObject),
    }
}

/// The members of a JSON object.
type Members = HashMap<String, Member>;

/// A JSON value, as far as anybody here looks at it.
///
/// Not `serde_json::Value`: with the feature `raw_value` that takes an object
/// whose one member has a certain name for the value that is in its text, so that
/// an object could pass for a string or a number.
#[derive(Debug)]
enum Member {
    Text(String),
    Number(f64),
    List(Vec<Member>),
    /// An object, a boolean or `null`.
    Other,
}

impl Member {
    fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Number(_) | Self::List(_) | Self::Other => None,
        }
    }
}

impl<'de> Deserialize<'de> for Member {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MemberVisitor;

        impl<'de> Visitor<'de> for MemberVisitor {
            type Value = Member;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Member::Text(text.to_owned()))
            }

            #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are floats")]
            fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
                Ok(Member::Number(number as f64))
            }

            #[expect(clippy::cast_precision_loss, reason = "JSON's numbers are floats")]
            fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
                Ok(Member::Number(number as f64))
            }

            fn visit_f64<E>(self, number: f64) -> Result<Self::Value, E> {
                Ok(Member::Number(number))
            }

            fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(Member::Other)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut list = Vec::new();
                while let Some(member) = seq.next_element()? {
                    list.push(member);
                }
                Ok(Member::List(list))
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                while map.next_entry::<String, Member>()?.is_some() {}
                Ok(Member::Other)
            }
        }

        deserializer.deserialize_any(MemberVisitor)
    }
}

/// The members of a JSON object; `None` if one of them stands twice (RFC 7515
/// section 4, RFC 7519 section 4: names must be unique, or parsers differ in
/// what they see).
struct UniqueMembers(Option<Members>);

impl<'de> Deserialize<'de> for UniqueMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = UniqueMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Members::new();
                let mut unique = true;
                while let Some((name, value)) = map.next_entry()? {
                    unique &= members.insert(name, value).is_none();
                }
                Ok(UniqueMembers(unique.then_some(members)))
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}
