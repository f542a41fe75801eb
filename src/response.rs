//! JSON:API documents: an outcome or an error -> the response. The only user of
//! `StatusCode`, in matches without `_`, so that a new error does not compile
//! until somebody decides what it means to a caller.
//!
//! What a caller sent is never echoed but for the identifiers of a success.

use std::borrow::Cow;

use lambda_http::http::StatusCode;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use crate::association::{Associated, Listed, Member};
use crate::auth::{AuthError, Forbidden, TokenKind};
use crate::error::Error;
use crate::ids::{CustomerId, InvalidId};
use crate::request::{
    AnswerType, BodyFault, BodyFaultKind, MAX_BODY_BYTES, MAX_LIMIT, MAX_MEMBERS, Manner, Page,
    PayloadFormat, QueryFault, RequestError,
};
use crate::store::StoreError;

/// After how many seconds a caller may try again. One is the least that the
/// header can say and longer than most throttling lasts.
const RETRY_AFTER_SECONDS: &str = "1";

/// What a request came to.
#[derive(Debug)]
pub enum Outcome {
    /// A cart was associated with these customers.
    Associated(Associated, Vec<CustomerId>),
    /// A cart and these customers were taken apart.
    Dissociated(Vec<CustomerId>),
    /// A part of a list was read.
    Listed(List),
}

/// A part of a list, with what its document says beside the members.
#[derive(Debug)]
pub struct List {
    /// The JSON:API type of the members.
    pub member_type: &'static str,
    /// The members, and whether more follow.
    pub listed: Listed,
    /// Which part was asked for.
    pub page: Page,
    /// The path by which it was.
    pub path: String,
}

impl Outcome {
    /// The outcome's name in logs and metrics: one of few.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Associated(Associated::Created, _) => "created",
            Self::Associated(Associated::Unchanged, _) => "unchanged",
            Self::Dissociated(_) => "removed",
            Self::Listed(_) => "listed",
        }
    }
}

/// An answer in the shape that API Gateway takes.
#[derive(Debug)]
pub struct Response {
    payload_format: PayloadFormat,
    status: StatusCode,
    headers: Vec<(&'static str, Cow<'static, str>)>,
    body: Option<String>,
}

impl Response {
    /// The HTTP status.
    pub fn status(&self) -> u16 {
        self.status.as_u16()
    }
}

impl Serialize for Response {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        struct Headers<'a>(&'a [(&'static str, Cow<'static, str>)]);

        impl Serialize for Headers<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
            }
        }

        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("statusCode", &self.status())?;
        map.serialize_entry("headers", &Headers(&self.headers))?;
        if let Some(body) = &self.body {
            map.serialize_entry("body", body)?;
        }
        map.serialize_entry("isBase64Encoded", &false)?;
        // No cookie is ever set, but cargo-lambda refuses a 2.0 answer without
        // the member, and a REST API one of which it does not know a member.
        if self.payload_format == PayloadFormat::V2 {
            map.serialize_entry("cookies", &[(); 0])?;
        }
        map.end()
    }
}

/// The answer to a request that was served.
pub fn success(outcome: &Outcome, manner: Manner) -> Response {
    let mut headers = vec![("vary", "Accept".into())];
    let body = match outcome {
        Outcome::Associated(Associated::Unchanged, _) | Outcome::Dissociated(_)
            if !manner.representation =>
        {
            None
        }
        Outcome::Associated(_, customers) | Outcome::Dissociated(customers) => {
            if manner.representation {
                headers.push(("preference-applied", "return=representation".into()));
            }
            let data = customers.iter().map(Linkage::from).collect();
            Some(json(&LinkageDocument { data }))
        }
        Outcome::Listed(list) => Some(json(&ListDocument::from(list))),
    };
    let status = if body.is_some() {
        headers.push(content_type(manner.answer_type));
        StatusCode::OK
    } else {
        StatusCode::NO_CONTENT
    };
    Response {
        payload_format: manner.payload_format,
        status,
        headers,
        body,
    }
}

#[derive(serde::Serialize)]
struct LinkageDocument<'a> {
    data: Vec<Linkage<'a>>,
}

#[derive(serde::Serialize)]
struct Linkage<'a> {
    r#type: &'static str,
    id: &'a str,
}

impl<'a> From<&'a CustomerId> for Linkage<'a> {
    fn from(customer: &'a CustomerId) -> Self {
        Self {
            r#type: "customer",
            id: customer.as_str(),
        }
    }
}

#[derive(serde::Serialize)]
struct ListDocument<'a> {
    links: PageLinks,
    data: Vec<ListMember<'a>>,
    meta: ListMeta,
}

#[derive(serde::Serialize)]
struct PageLinks {
    #[serde(rename = "self")]
    this: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

#[derive(serde::Serialize)]
struct ListMember<'a> {
    r#type: &'static str,
    id: &'a str,
    meta: MemberMeta<'a>,
}

#[derive(serde::Serialize)]
struct MemberMeta<'a> {
    associated_at: &'a str,
}

#[derive(serde::Serialize)]
struct ListMeta {
    page: PageMeta,
}

#[derive(serde::Serialize)]
struct PageMeta {
    limit: usize,
}

impl<'a> From<&'a List> for ListDocument<'a> {
    fn from(list: &'a List) -> Self {
        let List {
            member_type,
            listed,
            page,
            path,
        } = list;
        let link = |after: Option<&str>| match page.query(after) {
            query if query.is_empty() => path.clone(),
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
                next: listed.next.as_deref().map(|next| link(Some(next))),
            },
            data: listed.members.iter().map(member).collect(),
            meta: ListMeta {
                page: PageMeta { limit: page.limit },
            },
        }
    }
}

/// Writes the answers to requests that were not served.
#[derive(Debug, Clone, Default)]
pub struct ErrorDocuments {
    docs_url: Option<String>,
}

/// What a caller is told of one fault.
struct Problem {
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    source: Option<Source>,
}

#[derive(serde::Serialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Pointer(String),
    Parameter(&'static str),
    Header(&'static str),
}

#[derive(serde::Serialize)]
struct ErrorObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
    status: String,
    code: &'static str,
    title: &'static str,
    detail: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(serde::Serialize)]
struct Links {
    about: String,
}

#[derive(serde::Serialize)]
struct ErrorDocument<'a> {
    errors: Vec<ErrorObject<'a>>,
}

impl ErrorDocuments {
    /// `docs_url` is the base of `links.about`; the code follows as fragment.
    pub fn new(docs_url: Option<String>) -> Self {
        Self { docs_url }
    }

    /// The answer to a request that was not served.
    pub fn failure(&self, error: &Error, manner: Manner, request_id: &str) -> Response {
        let problems = problems(error);
        // All faults of one request are of one kind, so they share a status.
        let status = problems
            .first()
            .map_or(StatusCode::INTERNAL_SERVER_ERROR, |p| p.status);
        let mut headers = vec![("vary", "Accept".into()), content_type(manner.answer_type)];
        headers.extend(header(error));
        let errors = problems
            .into_iter()
            .map(|problem| self.error_object(problem, request_id))
            .collect();
        let body = Some(json(&ErrorDocument { errors }));
        Response {
            payload_format: manner.payload_format,
            status,
            headers,
            body,
        }
    }

    fn error_object<'a>(&self, problem: Problem, request_id: &'a str) -> ErrorObject<'a> {
        let links = self.docs_url.as_ref().map(|base| Links {
            about: format!("{base}#{}", problem.code),
        });
        ErrorObject {
            id: request_id,
            links,
            status: problem.status.as_str().to_owned(),
            code: problem.code,
            title: problem.title,
            detail: problem.detail,
            source: problem.source,
        }
    }
}

/// The code by which an error goes into logs and metrics: that of its first
/// fault.
pub fn code(error: &Error) -> &'static str {
    problems(error)
        .first()
        .map_or("internal_error", |problem| problem.code)
}

/// The header that an error's status comes with.
fn header(error: &Error) -> Option<(&'static str, Cow<'static, str>)> {
    match error {
        Error::Request(RequestError::MethodNotAllowed { allow }) => {
            Some(("allow", (*allow).into()))
        }
        Error::Auth(AuthError::NoAccessToken) => Some(("www-authenticate", "Bearer".into())),
        Error::Auth(AuthError::InvalidToken { .. }) => {
            Some(("www-authenticate", "Bearer error=\"invalid_token\"".into()))
        }
        Error::Auth(AuthError::NoKeys { retry_after, .. }) => {
            let seconds = retry_after.as_secs_f64().ceil().max(1.0);
            Some(("retry-after", seconds.to_string().into()))
        }
        Error::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_))
        | Error::OutOfTime => Some(("retry-after", RETRY_AFTER_SECONDS.into())),
        Error::Request(
            RequestError::UnreadableEvent
            | RequestError::NoSuchRoute
            | RequestError::InvalidPathParameter(_)
            | RequestError::NotAcceptable
            | RequestError::UnsupportedMediaType
            | RequestError::BodyTooLarge
            | RequestError::Query(_)
            | RequestError::Body(_),
        )
        | Error::Forbidden(_)
        | Error::Store(StoreError::Fault(_))
        | Error::Panic(_) => None,
    }
}

fn problems(error: &Error) -> Vec<Problem> {
    match error {
        Error::Request(RequestError::Body(faults)) => faults.iter().map(body_problem).collect(),
        Error::Request(RequestError::Query(faults)) => {
            faults.iter().copied().map(query_problem).collect()
        }
        Error::Request(error) => vec![request_problem(error)],
        Error::Auth(error) => vec![auth_problem(*error)],
        Error::Forbidden(forbidden) => vec![forbidden_problem(*forbidden)],
        Error::Store(error) => vec![store_problem(error)],
        Error::OutOfTime => vec![outcome_unknown()],
        Error::Panic(_) => vec![internal_error()],
    }
}

fn request_problem(error: &RequestError) -> Problem {
    match error {
        RequestError::UnreadableEvent => problem(
            StatusCode::BAD_REQUEST,
            "unreadable_event",
            "Unreadable event",
            "The event is not one of API Gateway or of a function URL.",
        ),
        RequestError::NoSuchRoute => problem(
            StatusCode::NOT_FOUND,
            "route_not_found",
            "Not found",
            "No resource has this path.",
        ),
        RequestError::MethodNotAllowed { .. } => problem(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            "Method not allowed",
            "The resource does not have this method; the Allow header lists those that it has.",
        ),
        RequestError::InvalidPathParameter(name) => problem(
            StatusCode::BAD_REQUEST,
            "invalid_id",
            "Invalid identifier",
            format!("The path parameter {name} {InvalidId}."),
        )
        .at(Source::Parameter(name)),
        RequestError::NotAcceptable => problem(
            StatusCode::NOT_ACCEPTABLE,
            "not_acceptable",
            "Not acceptable",
            "JSON:API is served without extensions or media type parameters.",
        )
        .at(Source::Header("Accept")),
        RequestError::UnsupportedMediaType => problem(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "unsupported_media_type",
            "Unsupported media type",
            "The body must be application/json or application/vnd.api+json, in UTF-8, without \
             other media type parameters.",
        )
        .at(Source::Header("Content-Type")),
        RequestError::BodyTooLarge => problem(
            StatusCode::PAYLOAD_TOO_LARGE,
            "body_too_large",
            "Body too large",
            format!("The body must not be longer than {MAX_BODY_BYTES} bytes."),
        ),
        RequestError::Query(_) | RequestError::Body(_) => unreachable!("told fault by fault"),
    }
}

fn query_problem(fault: QueryFault) -> Problem {
    let (code, title, detail): (_, _, Cow<'static, str>) = match fault {
        QueryFault::Limit => (
            "invalid_page_limit",
            "Invalid page limit",
            format!("`page[limit]` must be one whole number from 1 to {MAX_LIMIT}.").into(),
        ),
        QueryFault::Cursor => (
            "invalid_page_cursor",
            "Invalid page cursor",
            "`page[after]` must be the cursor of a `links.next` of this very list, not older than a \
             day."
                .into(),
        ),
        QueryFault::UnknownPage(_) => (
            "unknown_page_parameter",
            "Unknown parameter",
            "Pages are asked for by `page[limit]` and `page[after]` alone.".into(),
        ),
        QueryFault::Unsupported(_) => (
            "unsupported_parameter",
            "Unsupported parameter",
            "Lists have one order, and no related resources to include.".into(),
        ),
    };
    problem(StatusCode::BAD_REQUEST, code, title, detail).at(Source::Parameter(fault.parameter()))
}

fn body_problem(BodyFault { pointer, kind }: &BodyFault) -> Problem {
    let (code, title, detail): (_, _, Cow<'static, str>) = match kind {
        BodyFaultKind::BodyMissing => (
            "body_required",
            "Body missing",
            "The request needs a body: a JSON:API document with the customers in `data`.".into(),
        ),
        BodyFaultKind::NotBase64 => (
            "invalid_encoding",
            "Invalid encoding",
            "The event says that the body is base64, and it is not.".into(),
        ),
        BodyFaultKind::NotUtf8 => (
            "invalid_encoding",
            "Invalid encoding",
            "The body is not UTF-8.".into(),
        ),
        BodyFaultKind::NotJson => (
            "invalid_json",
            "Invalid JSON",
            "The body is not JSON.".into(),
        ),
        BodyFaultKind::DocumentNotObject => (
            "invalid_document",
            "Invalid document",
            "The body must be a JSON object.".into(),
        ),
        BodyFaultKind::DataMissing => (
            "data_required",
            "Member missing",
            "The document must have the member `data`.".into(),
        ),
        BodyFaultKind::DataNotArray => (
            "invalid_data",
            "Invalid data",
            "`data` must be an array of resource identifiers.".into(),
        ),
        BodyFaultKind::DataEmpty => (
            "data_empty",
            "Empty data",
            "`data` must name at least one customer.".into(),
        ),
        BodyFaultKind::TooManyMembers => (
            "too_many_members",
            "Too many members",
            format!("`data` must name no more than {MAX_MEMBERS} customers.").into(),
        ),
        BodyFaultKind::MemberNotObject => (
            "invalid_member",
            "Invalid member",
            "A member of `data` must be an object with `type` and `id`.".into(),
        ),
        BodyFaultKind::TypeMissing => (
            "type_required",
            "Member missing",
            "A member of `data` must have a `type`.".into(),
        ),
        BodyFaultKind::TypeNotCustomer => (
            "invalid_type",
            "Invalid type",
            "The `type` of a member must be `customer`.".into(),
        ),
        BodyFaultKind::IdMissing => (
            "id_required",
            "Member missing",
            "A member of `data` must have an `id`.".into(),
        ),
        BodyFaultKind::IdInvalid => (
            "invalid_id",
            "Invalid identifier",
            format!("The `id` of a member {InvalidId}.").into(),
        ),
    };
    problem(StatusCode::BAD_REQUEST, code, title, detail).at(Source::Pointer(pointer.clone()))
}

fn auth_problem(error: AuthError) -> Problem {
    match error {
        AuthError::NoAccessToken => problem(
            StatusCode::UNAUTHORIZED,
            "access_token_required",
            "Access token required",
            "The request needs the header `Authorization: Bearer` with an access token.",
        )
        .at(Source::Header("Authorization")),
        AuthError::InvalidToken {
            kind: TokenKind::Access,
            ..
        } => problem(
            StatusCode::UNAUTHORIZED,
            "invalid_access_token",
            "Invalid access token",
            "The access token is malformed, expired or not for this API.",
        )
        .at(Source::Header("Authorization")),
        AuthError::InvalidToken {
            kind: TokenKind::Customer,
            ..
        } => problem(
            StatusCode::UNAUTHORIZED,
            "invalid_customer_token",
            "Invalid customer token",
            "The customer token is malformed, expired or not for this API.",
        )
        .at(Source::Header("x-moltin-customer-token")),
        AuthError::NoKeys { .. } => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "keys_unavailable",
            "Temporarily unavailable",
            "Tokens cannot be verified at the moment. Nothing was changed. Sending the request again \
             is safe.",
        ),
    }
}

fn forbidden_problem(forbidden: Forbidden) -> Problem {
    match forbidden {
        Forbidden::CustomerTokenRequired => problem(
            StatusCode::FORBIDDEN,
            "customer_token_required",
            "Customer token required",
            "An access token of this grant may act only together with a customer token.",
        )
        .at(Source::Header("x-moltin-customer-token")),
        Forbidden::OtherCustomer => other_customer().at(Source::Pointer("/data".to_owned())),
        Forbidden::OtherCustomersCarts => other_customer().at(Source::Parameter("customerId")),
        Forbidden::NotOnCart => problem(
            StatusCode::FORBIDDEN,
            "not_on_cart",
            "Not on this cart",
            "A customer may list the customers of a cart that they are on.",
        )
        .at(Source::Parameter("cartId")),
    }
}

fn other_customer() -> Problem {
    problem(
        StatusCode::FORBIDDEN,
        "other_customer",
        "Other customer",
        "The customer token permits to act for its own customer alone.",
    )
}

fn store_problem(error: &StoreError) -> Problem {
    match error {
        StoreError::Unavailable(_) => problem(
            StatusCode::SERVICE_UNAVAILABLE,
            "store_unavailable",
            "Temporarily unavailable",
            "Nothing was changed. Sending the request again is safe.",
        ),
        StoreError::OutcomeUnknown(_) => outcome_unknown(),
        StoreError::Fault(_) => internal_error(),
    }
}

fn outcome_unknown() -> Problem {
    problem(
        StatusCode::SERVICE_UNAVAILABLE,
        "outcome_unknown",
        "Outcome unknown",
        "The request may or may not have taken effect. Sending it again is safe.",
    )
}

fn internal_error() -> Problem {
    problem(
        StatusCode::INTERNAL_SERVER_ERROR,
        "internal_error",
        "Internal error",
        "The fault is ours and has been recorded under this id.",
    )
}

fn problem(
    status: StatusCode,
    code: &'static str,
    title: &'static str,
    detail: impl Into<Cow<'static, str>>,
) -> Problem {
    Problem {
        status,
        code,
        title,
        detail: detail.into(),
        source: None,
    }
}

impl Problem {
    fn at(self, source: Source) -> Self {
        Self {
            source: Some(source),
            ..self
        }
    }
}

fn content_type(answer_type: AnswerType) -> (&'static str, Cow<'static, str>) {
    let value = match answer_type {
        AnswerType::Json => "application/json",
        AnswerType::JsonApi => "application/vnd.api+json",
    };
    ("content-type", value.into())
}

fn json(document: &impl serde::Serialize) -> String {
    serde_json::to_string(document).expect("a document has string keys and no fallible parts")
}
