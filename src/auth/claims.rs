//! The claims of a token, and the configured rules for them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::token::{Reason, Refusal};
use crate::json::{Object, parsed, text, texts};

/// The claims that name the client, the first that a token has: RFC 9068 section 2.2,
/// OpenID Connect Core section 2, Okta's and Entra's names.
const CLIENT_CLAIMS: [&str; 4] = ["client_id", "azp", "cid", "appid"];

/// The claims of a token whose signature is verified. A claim that is `null` counts as
/// absent.
pub(super) struct Claims<'t>(pub(super) Object<'t>);

impl<'t> Claims<'t> {
    pub(super) fn get(&self, name: &str) -> Option<&'t RawValue> {
        self.0.get(name).filter(|value| value.get() != "null")
    }

    /// Returns a claim that is a string, if the token has it.
    fn text(&self, name: &str) -> Result<Option<Cow<'t, str>>, Refusal> {
        match self.get(name) {
            None => Ok(None),
            value => match text(value) {
                Some(text) => Ok(Some(text)),
                None => Err(Refusal::of(Reason::MalformedClaim, name)),
            },
        }
    }

    /// Returns a claim that names somebody, if the token has it. It is never empty.
    pub(super) fn name(&self, name: &str) -> Result<Option<Cow<'t, str>>, Refusal> {
        match self.text(name)? {
            Some(text) if text.is_empty() => Err(Refusal::of(Reason::MalformedClaim, name)),
            text => Ok(text),
        }
    }

    /// Returns a claim that must name somebody.
    pub(super) fn required_name(&self, name: &str) -> Result<Cow<'t, str>, Refusal> {
        let text = self.name(name)?;
        text.ok_or_else(|| Refusal::of(Reason::MissingClaim, name))
    }

    /// Returns the client that a claim of its own names.
    pub(super) fn client(&self) -> Result<Option<Cow<'t, str>>, Refusal> {
        for name in CLIENT_CLAIMS {
            if let Some(client) = self.name(name)? {
                return Ok(Some(client));
            }
        }
        Ok(None)
    }

    /// Returns whether this is the name of the token's client in any claim.
    pub(super) fn is_client(&self, name: &str) -> bool {
        let mut claims = CLIENT_CLAIMS.iter();
        claims.any(|claim| text(self.get(claim)).is_some_and(|client| client == name))
    }
}

/// What the claims of one kind of token must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// The value of `iss`, compared byte by byte (RFC 7519 section 4.1.1).
    pub issuer: String,
    /// The accepted audiences, at least one.
    pub audiences: Vec<String>,
    /// The claims that tokens must have besides.
    pub claims: RequiredClaims,
}

impl Expected {
    /// Checks issuer, audience and required claims, and returns the accepted audience.
    pub(super) fn check(&self, claims: &Claims<'_>) -> Result<&str, Refusal> {
        let missing = |name: &str| Refusal::of(Reason::MissingClaim, name);
        if claims.text("iss")?.ok_or_else(|| missing("iss"))? != self.issuer {
            return Err(Refusal::of(Reason::Issuer, "iss"));
        }
        let audiences = match claims.get("aud") {
            // As API Gateway's JWT authorizers: access tokens of Amazon Cognito have
            // no `aud` ("Control access to HTTP APIs with JWT authorizers", AWS).
            None => vec![claims.text("client_id")?.ok_or_else(|| missing("aud"))?],
            audience => match text(audience) {
                Some(audience) => vec![audience],
                None => {
                    texts(audience).ok_or_else(|| Refusal::of(Reason::MalformedClaim, "aud"))?
                }
            },
        };
        let mut accepted = self.audiences.iter();
        let audience = accepted.find(|audience| audiences.contains(&audience.as_str().into()));
        let audience = audience.ok_or_else(|| Refusal::of(Reason::Audience, "aud"))?;
        for (name, values) in &self.claims.0 {
            if !values.include(claims.get(name)) {
                return Err(Refusal::of(Reason::RequiredClaim, name));
            }
        }
        Ok(audience)
    }

    /// Returns whether no token with one audience can meet both.
    pub(crate) fn is_apart_from(&self, other: &Self) -> bool {
        let mut audiences = self.audiences.iter();
        self.issuer != other.issuer
            || !audiences.any(|audience| other.audiences.contains(audience))
            || self.claims.exclude(&other.claims)
    }
}

/// Claims that a token must have, with their values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredClaims(Vec<(String, Values)>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Values {
    /// The claim must be absent.
    Absent,
    OneOf(Vec<Scalar>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Scalar {
    Text(String),
    Number(Decimal),
    Boolean(bool),
}

/// A number. Equal numbers are equal, however they are written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Decimal {
    negative: bool,
    /// Without zeros at either end.
    digits: String,
    exponent: i64,
}

impl RequiredClaims {
    /// Parses the JSON object that configures them. An error is a sentence for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let object = serde_json::from_str::<Object<'_>>(json)
            .map_err(|_| "must be a JSON object of claims and their values")?;
        if object.has_duplicates() {
            return Err("must not name a claim twice".to_owned());
        }
        let read = |(name, value): (&Cow<'_, str>, &RawValue)| match Values::parse(value) {
            Some(values) => Ok((name.clone().into_owned(), values)),
            None => Err(format!(
                "must have a string, a number, a boolean, null or an array of the first three \
                 as the value of {name:?}"
            )),
        };
        let claims: Vec<_> = object.iter().map(read).collect::<Result<_, _>>()?;
        if claims.is_empty() {
            return Err("must name at least one claim".to_owned());
        }
        Ok(Self(claims))
    }

    /// Returns whether no token can have both.
    fn exclude(&self, other: &Self) -> bool {
        let excludes = |(name, values): &(String, Values)| {
            let mut others = other.0.iter().filter(|(other, _)| other == name);
            others.any(|(_, others)| values.exclude(others))
        };
        self.0.iter().any(excludes)
    }
}

impl Values {
    fn parse(value: &RawValue) -> Option<Self> {
        if value.get() == "null" {
            return Some(Self::Absent);
        }
        let scalars = match Scalar::read(value) {
            Some(scalar) => vec![scalar],
            None => {
                let values = parsed::<Vec<&RawValue>>(Some(value))?;
                values
                    .into_iter()
                    .map(Scalar::read)
                    .collect::<Option<_>>()?
            }
        };
        (!scalars.is_empty()).then_some(Self::OneOf(scalars))
    }

    fn include(&self, claim: Option<&RawValue>) -> bool {
        match (self, claim) {
            (Self::Absent, claim) => claim.is_none(),
            (Self::OneOf(_), None) => false,
            (Self::OneOf(scalars), Some(claim)) => {
                Scalar::read(claim).is_some_and(|claim| scalars.contains(&claim))
            }
        }
    }

    fn exclude(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Absent, Self::Absent) => false,
            (Self::Absent, Self::OneOf(_)) | (Self::OneOf(_), Self::Absent) => true,
            (Self::OneOf(these), Self::OneOf(those)) => {
                !these.iter().any(|scalar| those.contains(scalar))
            }
        }
    }
}

impl Scalar {
    /// Reads a string, a number or a boolean.
    fn read(value: &RawValue) -> Option<Self> {
        match value.get() {
            "true" => Some(Self::Boolean(true)),
            "false" => Some(Self::Boolean(false)),
            json if json.starts_with('"') => text(Some(value)).map(|text| Self::Text(text.into())),
            json if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
                Decimal::read(json).map(Self::Number)
            }
            _ => None,
        }
    }
}

impl Decimal {
    /// Reads a JSON number; `None` if its exponent has no use.
    fn read(number: &str) -> Option<Self> {
        let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.trim_start_matches('-').to_owned() + fraction;
        let significant = all.trim_end_matches('0');
        let digits = significant.trim_start_matches('0').to_owned();
        if digits.is_empty() {
            return Some(Self::default());
        }
        let zeros = i64::try_from(all.len() - significant.len()).ok()?;
        let decimals = i64::try_from(fraction.len()).ok()?;
        let exponent: i64 = exponent.parse().ok()?;
        Some(Self {
            negative: whole.starts_with('-'),
            digits,
            exponent: exponent.checked_add(zeros - decimals)?,
        })
    }
}

/// How the access token of a back end is told from others: each of these claims has one
/// of these values.
#[derive(Debug, Clone)]
pub struct BackEnds {
    pub claims: Vec<String>,
    pub values: Vec<String>,
}

impl BackEnds {
    /// Returns the first claim by which a token is no back end's.
    pub(super) fn lacking(&self, claims: &Claims<'_>) -> Option<&str> {
        let mut names = self.claims.iter();
        names
            .find(|name| !self.is_held(claims.get(name)))
            .map(String::as_str)
    }

    /// Returns whether a claim has one of the values: as one of the words of a string
    /// (RFC 6749 section 3.3), or as a member of an array.
    fn is_held(&self, claim: Option<&RawValue>) -> bool {
        let has = |value: &str| self.values.iter().any(|accepted| accepted == value);
        match text(claim) {
            Some(words) => words.split(' ').any(has),
            None => {
                let members = parsed::<Vec<&RawValue>>(claim).unwrap_or_default();
                let mut texts = members.into_iter().filter_map(|member| text(Some(member)));
                texts.any(|member| has(&member))
            }
        }
    }
}
