//! JSON:API documents of requests that succeed.

use serde::Serialize;

use crate::association::MemberPage;
use crate::ids::CustomerId;
use crate::request::Page;
use crate::store::Member;

/// Resource linkage: the customers of a request.
#[derive(Serialize)]
pub(super) struct LinkageDocument<'a> {
    data: Vec<ResourceIdentifier<'a>>,
}

#[derive(Serialize)]
struct ResourceIdentifier<'a> {
    r#type: &'static str,
    id: &'a str,
}

impl<'a> LinkageDocument<'a> {
    pub(super) fn new(customers: &'a [CustomerId]) -> Self {
        let identifier = |customer: &'a CustomerId| ResourceIdentifier {
            r#type: "customer",
            id: customer.as_str(),
        };
        Self {
            data: customers.iter().map(identifier).collect(),
        }
    }
}

/// How far a relationship was cleared.
#[derive(Serialize)]
pub(super) struct ProgressDocument {
    meta: ProgressMeta,
}

#[derive(Serialize)]
struct ProgressMeta {
    removed: usize,
}

impl ProgressDocument {
    pub(super) fn new(removed: usize) -> Self {
        Self {
            meta: ProgressMeta { removed },
        }
    }
}

/// A page of a list.
#[derive(Serialize)]
pub(super) struct ListDocument<'a> {
    links: PageLinks,
    data: Vec<ListMember<'a>>,
    meta: ListMeta,
}

#[derive(Serialize)]
struct PageLinks {
    #[serde(rename = "self")]
    this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(Serialize)]
struct ListMember<'a> {
    r#type: &'static str,
    id: &'a str,
    meta: MemberMeta<'a>,
}

#[derive(Serialize)]
struct MemberMeta<'a> {
    associated_at: &'a str,
}

#[derive(Serialize)]
struct ListMeta {
    page: PageMeta,
}

#[derive(Serialize)]
struct PageMeta {
    limit: usize,
}

impl<'a> ListDocument<'a> {
    pub(super) fn new(
        member_type: &'static str,
        MemberPage { members, next }: &'a MemberPage,
        page: &Page,
        path: &str,
    ) -> Self {
        let link = |after: Option<&str>| match page.query(after) {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let member = |member: &'a Member| ListMember {
            r#type: member_type,
            id: &member.id,
            meta: MemberMeta {
                associated_at: &member.associated_at,
            },
        };
        Self {
            links: PageLinks {
                this: link(page.after.as_deref()),
                next: next.as_deref().map(|next| link(Some(next))),
            },
            data: members.iter().map(member).collect(),
            meta: ListMeta {
                page: PageMeta { limit: page.limit },
            },
        }
    }
}
