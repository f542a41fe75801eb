//! JSON:API documents of requests that succeed.

use serde::Serialize;

use super::query::Page;

/// Resource linkage: the members that a request named.
#[derive(Serialize)]
pub(crate) struct LinkageDocument<'a> {
    pub(crate) data: Vec<Member<'a, ()>>,
}

/// A resource identifier: in a list, with information about its relationship.
#[derive(Serialize)]
pub(crate) struct Member<'a, M> {
    pub(crate) r#type: &'static str,
    pub(crate) id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) meta: Option<M>,
}

/// A page of a list.
#[derive(Serialize)]
pub(crate) struct ListDocument<'a, M> {
    links: PageLinks,
    data: Vec<Member<'a, M>>,
    meta: ListMeta<'a>,
}

#[derive(Serialize)]
struct PageLinks {
    #[serde(rename = "self")]
    this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct ListMeta<'a> {
    page: &'a Page,
}

impl<'a, M> ListDocument<'a, M> {
    /// `path` is that of the request, `next` the cursor of the next page if there is
    /// one.
    pub(crate) fn new(
        data: Vec<Member<'a, M>>,
        path: &str,
        page: &'a Page,
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
            meta: ListMeta { page },
        }
    }
}
