//! The claims of a token, and the configured rules for them.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::token::Refusal;
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

    /// Reads a claim, if the token has it.
    pub(super) fn read<T>(
        &self,
        name: &str,
        parse: impl Fn(Option<&'t RawValue>) -> Option<T>,
    ) -> Result<Option<T>, Refusal> {
        let value = self.get(name).map(|value| parse(Some(value)));
        let malformed = || Refusal::MALFORMED_CLAIM.of(name);
        value.map(|value| value.ok_or_else(malformed)).transpose()
    }

    /// Reads a claim that the token must have.
    pub(super) fn required<T>(
        &self,
        name: &str,
        parse: impl Fn(Option<&'t RawValue>) -> Option<T>,
    ) -> Result<T, Refusal> {
        let value = self.read(name, parse)?;
        value.ok_or_else(|| Refusal::MISSING_CLAIM.of(name))
    }

    /// Returns the client that a claim of its own names.
    pub(super) fn client(&self) -> Result<Option<Cow<'t, str>>, Refusal> {
        let claims = CLIENT_CLAIMS.map(|name| self.read(name, non_empty));
        claims.into_iter().find_map(Result::transpose).transpose()
    }

    /// Returns whether this is the name of the token's client in any claim.
    pub(super) fn is_client(&self, name: &str) -> bool {
        let mut claims = CLIENT_CLAIMS.iter();
        claims.any(|claim| text(self.get(claim)).is_some_and(|client| client == name))
    }
}

/// Reads a string that is not empty, as a claim must be that names somebody.
pub(super) fn non_empty<'t>(claim: Option<&'t RawValue>) -> Option<Cow<'t, str>> {
    text(claim).filter(|text| !text.is_empty())
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
        if claims.required("iss", text)? != self.issuer {
            return Err(Refusal::ISSUER.of("iss"));
        }
        let one_or_all = |claim| text(claim).map(|one| vec![one]).or_else(|| texts(claim));
        let audiences = match claims.read("aud", one_or_all)? {
            Some(audiences) => audiences,
            // As API Gateway's JWT authorizers: access tokens of Amazon Cognito have
            // no `aud` ("Control access to HTTP APIs with JWT authorizers", AWS).
            None => {
                let client = claims.read("client_id", text)?;
                vec![client.ok_or_else(|| Refusal::MISSING_CLAIM.of("aud"))?]
            }
        };
        let mut accepted = self.audiences.iter();
        let audience = accepted.find(|audience| audiences.contains(&audience.as_str().into()));
        let audience = audience.ok_or_else(|| Refusal::AUDIENCE.of("aud"))?;
        for (name, values) in &self.claims.0 {
            let value = claims.get(name).map_or(Some(ABSENT.to_owned()), canonical);
            if !value.is_some_and(|value| values.contains(&value)) {
                return Err(Refusal::REQUIRED_CLAIM.of(name));
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

/// Claims that a token must have, each with the [`canonical`] values that it may have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RequiredClaims(Vec<(String, Vec<String>)>);

/// Stands for the value of a claim that is absent or `null`.
const ABSENT: &str = "null";

impl RequiredClaims {
    /// Parses the JSON object that configures them. An error is a sentence for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        let object = serde_json::from_str::<Object<'_>>(json)
            .map_err(|_| "must be a JSON object of claims and their values")?;
        if object.has_duplicates() {
            return Err("must not name a claim twice".to_owned());
        }
        let read = |(name, value): (&Cow<'_, str>, &RawValue)| match accepted(value) {
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
        let excludes = |(name, values): &(String, Vec<String>)| {
            let mut others = other.0.iter().filter(|(other, _)| other == name);
            others.any(|(_, others)| !values.iter().any(|value| others.contains(value)))
        };
        self.0.iter().any(excludes)
    }
}

/// Reads the values that a claim may have.
fn accepted(value: &RawValue) -> Option<Vec<String>> {
    if value.get() == "null" {
        return Some(vec![ABSENT.to_owned()]);
    }
    if let Some(value) = canonical(value) {
        return Some(vec![value]);
    }
    let values = parsed::<Vec<&RawValue>>(Some(value)).filter(|values| !values.is_empty())?;
    values.into_iter().map(canonical).collect()
}

/// Reads a string, a number or a boolean. Two of them are equal if their texts are.
fn canonical(value: &RawValue) -> Option<String> {
    match value.get() {
        json @ ("true" | "false") => Some(json.to_owned()),
        json if json.starts_with('"') => Some(format!("\"{}", text(Some(value))?)),
        json if json.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => {
            canonical_number(json)
        }
        _ => None,
    }
}

/// Writes a JSON number as an integer without zeros at either end and an exponent; `None`
/// if its exponent has no use.
fn canonical_number(number: &str) -> Option<String> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let sign = if whole.starts_with('-') { "-" } else { "" };
    let all = whole.trim_start_matches('-').to_owned() + fraction;
    let significant = all.trim_end_matches('0');
    let digits = significant.trim_start_matches('0');
    if digits.is_empty() {
        return Some("0".to_owned());
    }
    let zeros = i64::try_from(all.len() - significant.len()).ok()?;
    let decimals = i64::try_from(fraction.len()).ok()?;
    let exponent = exponent
        .parse::<i64>()
        .ok()?
        .checked_add(zeros - decimals)?;
    Some(format!("{sign}{digits}e{exponent}"))
}

/// What makes an access token that of a back end: each of these claims has one
/// of these values.
#[derive(Debug, Clone)]
pub struct BackEnds {
    pub claims: Vec<String>,
    pub values: Vec<String>,
}

impl BackEnds {
    /// Returns the first claim that a back end's token would have, and this one lacks.
    pub(super) fn lacking(&self, claims: &Claims<'_>) -> Option<&str> {
        let mut names = self.claims.iter().map(String::as_str);
        names.find(|name| !self.is_held(claims.get(name)))
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
