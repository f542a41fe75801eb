//! Query parameters: `page[limit]` and `page[after]` for lists (JSON:API 1.1,
//! "Pagination", with the names of the cursor pagination profile), and those that
//! JSON:API requires a server to refuse ("Query Parameters").

use std::borrow::Cow;
use std::collections::HashSet;

use super::RequestError;
use crate::fault::{ErrorCode, Fault};

/// The largest page.
pub const MAX_LIMIT: usize = 100;

const DEFAULT_LIMIT: usize = 25;

const LIMIT: &str = "page[limit]";
/// The parameter with the cursor.
pub(crate) const AFTER: &str = "page[after]";

/// The longest parameter name that an error shows, in bytes.
const MAX_NAME_LENGTH: usize = 64;

/// Decoded query parameters: names and values.
type Query<'a> = [(Cow<'a, str>, Cow<'a, str>)];

/// The requested page of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The most members: 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// `page[limit]` was sent.
    limit_is_given: bool,
    /// The cursor after which the page begins, unchecked.
    pub after: Option<String>,
}

impl Page {
    /// Reads the query of a list.
    pub(super) fn read(query: &Query<'_>) -> Result<Self, RequestError> {
        let mut faults = Vec::new();
        let (mut limits, mut cursors) = (Vec::new(), Vec::new());
        for (name, value) in query {
            match &**name {
                LIMIT => limits.push(value),
                AFTER => cursors.push(value),
                name if base_name(name) == "page" => {
                    let code = ErrorCode::UnknownPageParameter;
                    faults.push(Fault::of_parameter(code, known_name(name)));
                }
                name => faults.extend(unsupported(name)),
            }
        }
        let limit = match limits[..] {
            [] => Some(DEFAULT_LIMIT),
            [limit] => read_limit(limit),
            _ => None,
        };
        if limit.is_none() {
            faults.push(Fault::of_parameter(ErrorCode::InvalidPageLimit, LIMIT));
        }
        if cursors.len() > 1 {
            faults.push(Fault::of_parameter(ErrorCode::InvalidPageCursor, AFTER));
        }
        none_of(faults)?;
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
pub(super) fn check(query: &Query<'_>) -> Result<(), RequestError> {
    none_of(
        query
            .iter()
            .filter_map(|(name, _)| unsupported(name))
            .collect(),
    )
}

/// Fails with the faults, without duplicates, if there are any.
fn none_of(mut faults: Vec<Fault>) -> Result<(), RequestError> {
    let mut seen = HashSet::new();
    faults.retain(|fault| seen.insert(fault.clone()));
    if faults.is_empty() {
        return Ok(());
    }
    Err(RequestError::Faults(faults))
}

/// Returns the name of a parameter's family: `filter` of `filter[name]`.
fn base_name(name: &str) -> &str {
    name.split_once('[').map_or(name, |(base, _)| base)
}

/// Refuses parameters of JSON:API, and custom ones with a name that JSON:API
/// reserves. Any other custom parameter is ignored.
fn unsupported(name: &str) -> Option<Fault> {
    let base = base_name(name);
    let reserved = !base.is_empty() && base.bytes().all(|byte| byte.is_ascii_lowercase());
    reserved.then(|| {
        // ASCII, so any cut is between characters.
        let shown = &base[..base.len().min(MAX_NAME_LENGTH)];
        Fault::of_parameter(ErrorCode::UnsupportedParameter, shown)
    })
}

fn read_limit(limit: &str) -> Option<usize> {
    if !limit.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    limit
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

/// Returns the name to show for a `page[…]` parameter: one that other APIs use, or
/// `page`, since the rest of the name may be anything.
fn known_name(name: &str) -> &'static str {
    [
        "page[size]",
        "page[number]",
        "page[offset]",
        "page[before]",
        "page[cursor]",
    ]
    .into_iter()
    .find(|known| *known == name)
    .unwrap_or("page")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Source;

    fn read(query: &str) -> Result<Page, RequestError> {
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        Page::read(&query)
    }

    /// The names of the parameters at fault.
    fn parameters<T: std::fmt::Debug>(result: Result<T, RequestError>) -> Vec<String> {
        let RequestError::Faults(faults) = result.unwrap_err() else {
            panic!("not faults")
        };
        let name = |fault: Fault| match fault.source {
            Some(Source::Parameter(name)) => name,
            source => panic!("{source:?}"),
        };
        faults.into_iter().map(name).collect()
    }

    #[test]
    fn the_limit_is_25_unless_1_to_100_is_requested() {
        for (query, limit) in [
            ("", 25),
            ("page[limit]=1", 1),
            ("page%5Blimit%5D=100", 100),
            ("utm_source=x&page[limit]=7", 7),
        ] {
            assert_eq!(read(query).map(|page| page.limit), Ok(limit), "{query}");
        }
        for query in [
            "page[limit]=",
            "page[limit]=0",
            "page[limit]=101",
            "page[limit]=-1",
            "page[limit]=+1",
            "page[limit]=1.0",
            "page[limit]=x",
            "page[limit]=99999999999999999999",
            "page[limit]=1&page[limit]=1",
        ] {
            let fault = Fault::of_parameter(ErrorCode::InvalidPageLimit, LIMIT);
            assert_eq!(read(query), Err(fault.into()), "{query}");
        }
    }

    #[test]
    fn all_unsupported_parameters_are_refused_together() {
        for (query, parameters) in [
            ("page[size]=1", &["page[size]"][..]),
            ("page[x]=1&page[limit]=0", &["page", "page[limit]"]),
            ("page=1", &["page"]),
            ("sort=id&include=x", &["sort", "include"]),
            ("sort=id&sort=x&sort[a]=b&page[]=1", &["sort", "page"]),
            ("filter[a]=1&fields[customer]=id", &["filter", "fields"]),
            (
                "foo=1&bar[a]=1&Baz=1&utm_source=x&q1=2&=x&[a]=1",
                &["foo", "bar"],
            ),
            ("page[after]=a&page[after]=b", &["page[after]"]),
        ] {
            assert_eq!(self::parameters(read(query)), parameters, "{query}");
        }
    }

    #[test]
    fn a_request_without_parameters_refuses_those_of_lists_too() {
        let check = |query: &'static str| {
            let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
            check(&query)
        };
        assert_eq!(check("utm_source=x&Foo=1"), Ok(()));
        let faults = check("page[limit]=1&include=a");
        assert_eq!(parameters(faults), ["page", "include"]);
    }

    #[test]
    fn a_long_name_is_cut() {
        let odd = "a".to_owned() + &"é".repeat(100) + "=1";
        assert!(read(&odd).is_ok());
        let long = read(&("a".repeat(1000) + "=1"));
        assert_eq!(parameters(long)[0].len(), MAX_NAME_LENGTH);
    }

    #[test]
    fn a_link_has_the_parameters_of_its_page() {
        let page = read("page[limit]=7&page[after]=a-b").unwrap();
        assert_eq!(
            page.query(page.after.as_deref()),
            "page%5Blimit%5D=7&page%5Bafter%5D=a-b"
        );
        assert_eq!(page.query(None), "page%5Blimit%5D=7");
        assert_eq!(read("Foo=y").unwrap().query(None), "");
    }
}
