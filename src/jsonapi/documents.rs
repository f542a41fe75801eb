//! JSON:API documents of requests that succeed.

use serde::Serialize;

use super::query::Page;

/// Resource linkage: the members that a request named.
#[derive(Serialize)]
pub(crate) struct LinkageDocument<'a> {
    data: Vec<ResourceIdentifier<'a>>,
}

#[derive(Serialize)]
struct ResourceIdentifier<'a> {
    r#type: &'static str,
    id: &'a str,
}

impl<'a> LinkageDocument<'a> {
    pub(crate) fn new(member_type: &'static str, ids: impl Iterator<Item = &'a str>) -> Self {
        let r#type = member_type;
        Self {
            data: ids.map(|id| ResourceIdentifier { r#type, id }).collect(),
        }
    }
}

/// A document with information alone.
#[derive(Serialize)]
pub(crate) struct MetaDocument<M> {
    pub(crate) meta: M,
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct ListDocument<'a, M> {
    links: PageLinks,
    data: Vec<ListMember<'a, M>>,
    meta: ListMeta,
}

#[derive(Serialize)]
struct PageLinks {
    #[serde(rename = "self")]
    this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// A member of a list, with information about its relationship.
#[derive(Serialize)]
pub(crate) struct ListMember<'a, M> {
    pub(crate) r#type: &'static str,
    pub(crate) id: &'a str,
    pub(crate) meta: M,
}

#[derive(Serialize)]
struct ListMeta {
    page: PageMeta,
}

#[derive(Serialize)]
struct PageMeta {
    limit: usize,
}

impl<'a, M> ListDocument<'a, M> {
    /// `path` is that of the request, `next` the cursor of the next page if there is
    /// one.
    pub(crate) fn new(
        data: Vec<ListMember<'a, M>>,
        path: &str,
        page: &Page,
        next: Option<&str>,
    ) -> Self {
        let link = |after: Option<&str>| match page.query(after) {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        Self {
            links: PageLinks {
                this: link(page.after.as_deref()),
                next: next.map(|next| link(Some(next))),
            },
            data,
            meta: ListMeta {
                page: PageMeta { limit: page.limit },
            },
        }
    }
}
