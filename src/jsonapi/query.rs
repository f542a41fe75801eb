//! Query parameters: `page[limit]` and `page[after]` for lists (JSON:API 1.1,
//! "Pagination", with the names of the cursor pagination profile), and those that
//! JSON:API requires a server to refuse ("Query Parameters").

use std::collections::HashSet;

use serde::Serialize;

use crate::error::{Error, ErrorCode, RequestError};

pub const MAX_LIMIT: usize = 100;

const DEFAULT_LIMIT: usize = 25;

const LIMIT: &str = "page[limit]";
const AFTER: &str = "page[after]";
/// Elastic Path's clients send 0, which means the first page.
const OFFSET: &str = "page[offset]";

/// The longest parameter name that an error shows, in bytes.
const MAX_NAME_LENGTH: usize = 64;

/// The requested page of a list. A document shows its limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Page {
    /// The most members: 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// `page[limit]` was sent.
    #[serde(skip)]
    limit_is_given: bool,
    /// The cursor after which the page begins, unchecked.
    #[serde(skip)]
    pub after: Option<String>,
}

impl Page {
    /// Reads the query of a list.
    pub(crate) fn read(query: &str) -> Result<Self, Error> {
        let mut errors = Vec::new();
        let (mut limits, mut cursors) = (Vec::new(), Vec::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                LIMIT => limits.push(value),
                AFTER => cursors.push(value),
                OFFSET if value == "0" => {}
                name if base_name(name) == "page" => {
                    let code = ErrorCode::UnknownPageParameter;
                    errors.push(RequestError::of_parameter(code, known_name(name)));
                }
                name => errors.extend(unsupported(name)),
            }
        }
        let limit = match &limits[..] {
            [] => Some(DEFAULT_LIMIT),
            [limit] => read_limit(limit),
            _ => None,
        };
        if limit.is_none() {
            let code = ErrorCode::InvalidPageLimit;
            errors.push(RequestError::of_parameter(code, LIMIT));
        }
        if cursors.len() > 1 {
            errors.push(invalid_cursor());
        }
        none_of(errors)?;
        Ok(Self {
            limit: limit.unwrap_or(DEFAULT_LIMIT),
            limit_is_given: !limits.is_empty(),
            after: cursors.first().map(|cursor| cursor.to_string()),
        })
    }

    /// Returns the query for the page after a cursor, with the same limit.
    pub fn query(&self, after: Option<&str>) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        if self.limit_is_given {
            query.append_pair(LIMIT, &self.limit.to_string());
        }
        if let Some(after) = after {
            query.append_pair(AFTER, after);
        }
        query.finish()
    }
}

/// Checks the query of a request that has no parameters.
pub(crate) fn check(query: &str) -> Result<(), Error> {
    let parameters = form_urlencoded::parse(query.as_bytes());
    let errors = parameters.filter_map(|(name, _)| unsupported(&name));
    none_of(errors.collect())
}

/// The error of a cursor that is not one of the list.
pub(crate) fn invalid_cursor() -> RequestError {
    RequestError::of_parameter(ErrorCode::InvalidPageCursor, AFTER)
}

/// Fails with the errors, without duplicates, if there are any.
fn none_of(mut errors: Vec<RequestError>) -> Result<(), Error> {
    let mut seen = HashSet::new();
    errors.retain(|error| seen.insert(error.clone()));
    if errors.is_empty() {
        return Ok(());
    }
    Err(Error::Request(errors))
}

/// Returns the name of a parameter's family: `filter` of `filter[name]`.
fn base_name(name: &str) -> &str {
    name.split_once('[').map_or(name, |(base, _)| base)
}

/// Refuses parameters of JSON:API, and custom ones with a name that JSON:API
/// reserves. Any other custom parameter is ignored.
fn unsupported(name: &str) -> Option<RequestError> {
    let base = base_name(name);
    let reserved = !base.is_empty() && base.bytes().all(|byte| byte.is_ascii_lowercase());
    reserved.then(|| {
        // ASCII, so any cut is between characters.
        let shown = &base[..base.len().min(MAX_NAME_LENGTH)];
        RequestError::of_parameter(ErrorCode::UnsupportedParameter, shown)
    })
}

fn read_limit(limit: &str) -> Option<usize> {
    let has_no_sign = limit.bytes().all(|byte| byte.is_ascii_digit());
    let limit = limit.parse().ok().filter(|_| has_no_sign)?;
    (1..=MAX_LIMIT).contains(&limit).then_some(limit)
}

/// Returns the name to show for a `page[…]` parameter: one that other APIs use, or
/// `page`, since the rest of the name may be anything.
fn known_name(name: &str) -> &'static str {
    [
        "page[size]",
        "page[number]",
        OFFSET,
        "page[before]",
        "page[cursor]",
    ]
    .into_iter()
    .find(|known| *known == name)
    .unwrap_or("page")
}
