//! The query of a list: `page[limit]` and `page[after]` (JSON:API 1.1,
//! "Pagination" and the cursor pagination profile's names).

use std::borrow::Cow;

/// The most members of a page.
pub const MAX_LIMIT: usize = 100;

const DEFAULT_LIMIT: usize = 25;

const LIMIT: &str = "page[limit]";
const AFTER: &str = "page[after]";

/// Which part of a list is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// How many members at the most: 1 to [`MAX_LIMIT`].
    pub limit: usize,
    /// Whether the caller said so.
    limit_is_given: bool,
    /// The cursor behind which it begins, as it was given.
    pub after: Option<String>,
}

/// One thing that is wrong with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryFault {
    /// `page[limit]` is not one whole number from 1 to [`MAX_LIMIT`].
    Limit,
    /// `page[after]` is no cursor of this list.
    Cursor,
    /// Another `page[…]` parameter.
    UnknownPage(&'static str),
    /// `include` or `sort`, which JSON:API 1.1 has a server refuse that does
    /// not support them.
    Unsupported(&'static str),
}

impl QueryFault {
    /// The parameter at fault.
    pub fn parameter(self) -> &'static str {
        match self {
            Self::Limit => LIMIT,
            Self::Cursor => AFTER,
            Self::UnknownPage(name) | Self::Unsupported(name) => name,
        }
    }
}

impl Page {
    pub(super) fn read(query: &[(Cow<'_, str>, Cow<'_, str>)]) -> Result<Self, Vec<QueryFault>> {
        let mut faults = Vec::new();
        let (mut limits, mut cursors) = (Vec::new(), Vec::new());
        for (name, value) in query {
            match name.as_ref() {
                LIMIT => limits.push(value),
                AFTER => cursors.push(value),
                "include" => faults.push(QueryFault::Unsupported("include")),
                "sort" => faults.push(QueryFault::Unsupported("sort")),
                name if name == "page" || name.starts_with("page[") => {
                    faults.push(QueryFault::UnknownPage(known_name(name)));
                }
                _ => {}
            }
        }
        let limit = match limits[..] {
            [] => DEFAULT_LIMIT,
            [limit] => read_limit(limit).unwrap_or_else(|| {
                faults.push(QueryFault::Limit);
                DEFAULT_LIMIT
            }),
            _ => {
                faults.push(QueryFault::Limit);
                DEFAULT_LIMIT
            }
        };
        if cursors.len() > 1 {
            faults.push(QueryFault::Cursor);
        }
        if !faults.is_empty() {
            faults.dedup();
            return Err(faults);
        }
        Ok(Self {
            limit,
            limit_is_given: !limits.is_empty(),
            after: cursors.first().map(|cursor| cursor.to_string()),
        })
    }

    /// The query that asks for the part behind `after`, else as this one does.
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

fn read_limit(limit: &str) -> Option<usize> {
    if !limit.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    limit
        .parse()
        .ok()
        .filter(|limit| (1..=MAX_LIMIT).contains(limit))
}

/// The name to tell a caller: one that others use for paging, or the family's,
/// because what a caller sent is not echoed.
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

    fn read(query: &'static str) -> Result<Page, Vec<QueryFault>> {
        let query: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        Page::read(&query)
    }

    #[test]
    fn a_page_has_25_members_unless_it_is_asked_for_1_to_100() {
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
            assert_eq!(read(query), Err(vec![QueryFault::Limit]), "{query}");
        }
    }

    #[test]
    fn other_parameters_of_pages_are_refused_all_at_once() {
        for (query, parameters) in [
            ("page[size]=1", &["page[size]"][..]),
            ("page[x]=1&page[limit]=0", &["page", "page[limit]"]),
            ("page=1", &["page"]),
            ("sort=id&include=x", &["sort", "include"]),
            ("page[after]=a&page[after]=b", &["page[after]"]),
        ] {
            let faults = read(query).unwrap_err();
            let named: Vec<_> = faults.into_iter().map(QueryFault::parameter).collect();
            assert_eq!(named, parameters, "{query}");
        }
    }

    #[test]
    fn a_link_has_the_parameters_of_its_page() {
        let page = read("page[limit]=7&page[after]=a-b").unwrap();
        assert_eq!(
            page.query(page.after.as_deref()),
            "page%5Blimit%5D=7&page%5Bafter%5D=a-b"
        );
        assert_eq!(page.query(None), "page%5Blimit%5D=7");
        assert_eq!(read("x=y").unwrap().query(None), "");
    }
}
