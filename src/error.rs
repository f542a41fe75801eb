//! The table of error codes, and the one place where the errors of all layers
//! become responses.
//!
//! The matches have no `_`: a new error does not compile until somebody decides what
//! it means to a caller and to an operator.

use lambda_http::Body;
use lambda_http::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use serde::Serialize;
use tracing::Level;

use crate::auth::{AuthError, Forbidden, TokenKind};
use crate::ids::PartyKind;
use crate::json;
use crate::store::{Failure, StoreError};
use crate::telemetry::RequestLine;

/// The most errors that a response names. A body of 64 KiB can have so many that
/// naming them all would exceed Lambda's limit of 6 MB.
pub const MAX_ERRORS: usize = 100;

/// The `Retry-After` of a store that fails or takes too long, in seconds: the
/// smallest value of the header, and longer than most throttling lasts.
pub const RETRY_AFTER: &str = "1";

/// Why a request fails.
#[derive(Debug)]
pub enum Error {
    /// The request is wrong in these ways, at least one, all with the same status.
    Request(Vec<RequestError>),
    /// The path exists, but not with this method.
    MethodNotAllowed {
        /// The value of `Allow`.
        allow: String,
    },
    Auth(AuthError),
    Forbidden(Forbidden),
    Store(StoreError),
    /// The handler panicked: a bug.
    Panic(String),
}

/// One error of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct RequestError {
    pub code: ErrorCode,
    pub source: Option<Source>,
}

/// The place of an error in a request: the JSON:API `source`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A JSON Pointer (RFC 6901) to the wrong value, or to the object that lacks a
    /// member, because JSON:API 1.1 requires a value that exists.
    Pointer(String),
    /// A path or query parameter.
    Parameter(String),
    Header(&'static str),
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    errors: Vec<ErrorObject<'a>>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    links: Option<Links>,
    status: String,
    code: &'static str,
    title: &'static str,
    detail: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<Source>,
}

#[derive(Serialize)]
struct Links {
    about: String,
}

impl RequestError {
    /// An error of a value in the body.
    pub fn at(code: ErrorCode, pointer: impl Into<String>) -> Self {
        let source = Some(Source::Pointer(pointer.into()));
        Self { code, source }
    }

    pub fn of_parameter(code: ErrorCode, name: impl Into<String>) -> Self {
        let source = Some(Source::Parameter(name.into()));
        Self { code, source }
    }

    pub fn of_header(code: ErrorCode, name: &'static str) -> Self {
        let source = Some(Source::Header(name));
        Self { code, source }
    }
}

impl From<ErrorCode> for RequestError {
    fn from(code: ErrorCode) -> Self {
        Self { code, source: None }
    }
}

impl From<ErrorCode> for Error {
    fn from(code: ErrorCode) -> Self {
        Self::Request(vec![code.into()])
    }
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(vec![error])
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<Forbidden> for Error {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Error {
    /// Makes the response, a JSON:API error document, and completes the request's line.
    /// `docs_url` is the base of `links.about`; the code is the fragment.
    pub(crate) fn answer(
        self,
        line: &mut RequestLine,
        request_id: &str,
        docs_url: Option<&str>,
    ) -> Response<Body> {
        let mut headers = HeaderMap::new();
        let errors = self.describe(line, &mut headers);
        let first = errors.first();
        let code = first.map_or(ErrorCode::InternalError, |error| error.code);
        line.metrics.outcome = code.as_str();
        let object = |RequestError { code, source }: RequestError| ErrorObject {
            id: request_id,
            links: docs_url.map(|base| Links {
                about: format!("{base}#{}", code.as_str()),
            }),
            status: code.status().as_str().to_owned(),
            code: code.as_str(),
            title: code.title(),
            detail: code.detail(),
            source,
        };
        let errors = errors.into_iter().take(MAX_ERRORS).map(object).collect();
        let mut response = json::response(code.status(), &ErrorDocument { errors });
        *response.headers_mut() = headers;
        response
    }

    /// Tells the operator in the request's line, and the caller in the header that the
    /// status requires and in the errors that it returns.
    fn describe(self, line: &mut RequestLine, headers: &mut HeaderMap) -> Vec<RequestError> {
        use ErrorCode as Code;
        let mut header = |name: HeaderName, value: &str| {
            let value = HeaderValue::from_str(value);
            headers.extend(value.map(|value| (name, value)));
        };
        let error = match self {
            Self::Request(errors) => return errors,
            Self::MethodNotAllowed { allow } => {
                header(header::ALLOW, &allow);
                Code::MethodNotAllowed.into()
            }
            Self::Auth(AuthError::NoAccessToken) => {
                header(header::WWW_AUTHENTICATE, "Bearer");
                of_token(Code::AccessTokenRequired, TokenKind::Access)
            }
            Self::Auth(AuthError::InvalidToken { kind, refusal }) => {
                line.metrics.token_refused = 1;
                line.cause = Some(refusal.name().to_owned());
                line.claim = refusal.claim().map(str::to_owned);
                header(header::WWW_AUTHENTICATE, r#"Bearer error="invalid_token""#);
                let code = match kind {
                    TokenKind::Access => Code::InvalidAccessToken,
                    TokenKind::Party(PartyKind::Customer) => Code::InvalidCustomerToken,
                    TokenKind::Party(PartyKind::Account) => Code::InvalidAccountToken,
                    TokenKind::Cart => Code::InvalidCartToken,
                };
                of_token(code, kind)
            }
            Self::Auth(AuthError::SeveralParties) => {
                of_token(Code::SeveralParties, TokenKind::Party(PartyKind::Account))
            }
            Self::Auth(AuthError::NoKeys { kind, retry_after }) => {
                line.level = Level::WARN;
                line.key_set = Some(kind.name());
                let seconds = retry_after.as_secs_f64().ceil().max(1.0);
                header(header::RETRY_AFTER, &seconds.to_string());
                Code::KeysUnavailable.into()
            }
            Self::Forbidden(forbidden) => {
                line.claim = forbidden.claim().map(str::to_owned);
                forbidden.into()
            }
            Self::Store(error) => {
                log_failure(line, error.failure());
                line.level = Level::WARN;
                let code = match error {
                    StoreError::Unavailable(_) => Code::StoreUnavailable,
                    StoreError::OutcomeUnknown(_) => Code::OutcomeUnknown,
                    StoreError::Internal(_) => {
                        line.level = Level::ERROR;
                        return vec![Code::InternalError.into()];
                    }
                };
                header(header::RETRY_AFTER, RETRY_AFTER);
                code.into()
            }
            Self::Panic(cause) => {
                line.level = Level::ERROR;
                line.cause = Some(cause);
                Code::InternalError.into()
            }
        };
        vec![error]
    }
}

/// Tells the operator what DynamoDB did, in the request's line.
pub(crate) fn log_failure(line: &mut RequestLine, failure: &Failure) {
    line.cause = Some(failure.description.clone());
    line.store_request_id.clone_from(&failure.request_id);
}

fn of_token(code: ErrorCode, kind: TokenKind) -> RequestError {
    RequestError::of_header(code, kind.header())
}

impl From<Forbidden> for RequestError {
    fn from(forbidden: Forbidden) -> Self {
        use ErrorCode as Code;
        match forbidden {
            Forbidden::TokenRequired { kind, .. } => {
                let code = match kind {
                    PartyKind::Customer => Code::CustomerTokenRequired,
                    PartyKind::Account => Code::AccountTokenRequired,
                };
                of_token(code, TokenKind::Party(kind))
            }
            Forbidden::OwnCartsOfBackEnd => {
                let kind = TokenKind::Party(PartyKind::Customer);
                of_token(Code::OwnCartsOfBackEnd, kind)
            }
            Forbidden::NoRight { .. } => of_token(Code::NoRight, TokenKind::Access),
            Forbidden::CartTokenRequired => of_token(Code::CartTokenRequired, TokenKind::Cart),
            Forbidden::OtherParty(kind) => Self::at(other_party(kind), "/data"),
            Forbidden::OtherPartysCarts(kind) => {
                Self::of_parameter(other_party(kind), format!("{}Id", kind.as_str()))
            }
            Forbidden::NotOnCart => Self::of_parameter(Code::NotOnCart, "cartId"),
            Forbidden::BoundToAccount => {
                let kind = TokenKind::Party(PartyKind::Account);
                of_token(Code::BoundToAccount, kind)
            }
            Forbidden::BackEndRequired { .. } => of_token(Code::BackEndRequired, TokenKind::Access),
        }
    }
}

fn other_party(kind: PartyKind) -> ErrorCode {
    match kind {
        PartyKind::Customer => ErrorCode::OtherCustomer,
        PartyKind::Account => ErrorCode::OtherAccount,
    }
}

macro_rules! error_codes {
    ($($name:ident $status:literal $code:literal: $title:literal, $detail:literal;)+) => {
        /// The stable codes of errors, which responses, logs and metrics share. Two rows
        /// may have one code, with different details.
        /// `docs/errors.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum ErrorCode {
            $($name,)+
        }

        impl ErrorCode {
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// Status, `code`, `title` and `detail`.
            fn row(self) -> (u16, &'static str, &'static str, &'static str) {
                match self {
                    $(Self::$name => ($status, $code, $title, $detail),)+
                }
            }
        }
    };
}

impl ErrorCode {
    pub fn as_str(self) -> &'static str {
        self.row().1
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().0).expect("the table has valid statuses")
    }

    pub fn title(self) -> &'static str {
        self.row().2
    }

    pub fn detail(self) -> &'static str {
        self.row().3
    }
}

error_codes! {
    UnreadableEvent 400 "unreadable_event": "Unreadable event",
        "The event is not one of API Gateway or of a function URL.";
    InvalidId 400 "invalid_id": "Invalid identifier",
        "An identifier must be 1 to 128 of the characters A-Z, a-z, 0-9, _ and -.";
    BodyRequired 400 "body_required": "Body missing",
        "The request needs a body: a JSON:API document with the member `data`.";
    InvalidEncoding 400 "invalid_encoding": "Invalid encoding",
        "The body is not UTF-8, or not the base64 that the event announces.";
    InvalidJson 400 "invalid_json": "Invalid JSON",
        "The body is not JSON.";
    InvalidDocument 400 "invalid_document": "Invalid document",
        "The body must be a JSON object.";
    DataRequired 400 "data_required": "Member missing",
        "The document must have the member `data`.";
    InvalidData 400 "invalid_data": "Invalid data",
        "`data` must be an array of resource identifiers.";
    DataEmpty 400 "data_empty": "Empty data",
        "`data` must have at least one member.";
    TooManyMembers 400 "too_many_members": "Too many members",
        "`data` must not have more than 100 members.";
    InvalidMember 400 "invalid_member": "Invalid member",
        "A member of `data` must be an object with `type` and `id`.";
    TypeRequired 400 "type_required": "Member missing",
        "A member of `data` must have a `type`.";
    InvalidType 400 "invalid_type": "Invalid type",
        "The `type` of a member must be the one that the path names: `customer` or `account`.";
    IdRequired 400 "id_required": "Member missing",
        "A member of `data` must have an `id`.";
    InvalidPageLimit 400 "invalid_page_limit": "Invalid page limit",
        "`page[limit]` must be one whole number from 1 to 100.";
    InvalidPageCursor 400 "invalid_page_cursor": "Invalid page cursor",
        "`page[after]` must be the cursor in a `links.next` of this list, at most one day old.";
    UnknownPageParameter 400 "unknown_page_parameter": "Unknown parameter",
        "The only parameters for paging are `page[limit]`, `page[after]` and `page[offset]=0`.";
    UnsupportedParameter 400 "unsupported_parameter": "Unsupported parameter",
        "This request does not support the parameter. JSON:API reserves names made only of the letters a to z.";
    SeveralParties 400 "several_parties": "Several parties",
        "A request acts for one customer or one account. Send a customer token or an account token, not both.";
    AccessTokenRequired 401 "access_token_required": "Access token required",
        "The request needs the header `Authorization: Bearer` with an access token.";
    InvalidAccessToken 401 "invalid_access_token": "Invalid access token",
        "The access token is malformed, expired or not for this API.";
    InvalidCustomerToken 401 "invalid_customer_token": "Invalid customer token",
        "The customer token is malformed, expired or not for this API.";
    InvalidAccountToken 401 "invalid_account_token": "Invalid account token",
        "The account token is malformed, expired or not for this API.";
    InvalidCartToken 401 "invalid_cart_token": "Invalid cart token",
        "The cart token is malformed, expired or not for this cart.";
    CustomerTokenRequired 403 "customer_token_required": "Customer token required",
        "This needs a customer token beside the access token, or the access token of a back end alone. For an account, use the routes with /accounts in place of /customers.";
    OwnCartsOfBackEnd 403 "customer_token_required": "Customer token required",
        "A back end has no carts of its own. It lists those of a customer by GET /v2/customers/{customerId}/relationships/carts, and those of an account by GET /v2/accounts/{accountId}/relationships/carts.";
    AccountTokenRequired 403 "account_token_required": "Account token required",
        "This needs an account token beside the access token, or the access token of a back end alone. For a customer, use the routes with /customers in place of /accounts.";
    CartTokenRequired 403 "cart_token_required": "Cart token required",
        "A customer or account needs a cart token to be associated with the cart.";
    OtherCustomer 403 "other_customer": "Other customer",
        "The tokens do not permit acting for this customer.";
    BoundToAccount 403 "other_customer": "Other customer",
        "The account token binds the request to its account. Send none to act for the customer, or use the routes with /accounts in place of /customers.";
    OtherAccount 403 "other_account": "Other account",
        "The tokens do not permit acting for this account.";
    NotOnCart 403 "not_on_cart": "Not on this cart",
        "Only those who are associated with a cart, and back ends, may list who else is.";
    BackEndRequired 403 "back_end_required": "Back end required",
        "Only a back end may do this, by its access token alone. A customer or account removes its own association by DELETE, and lists its carts by GET /v2/carts.";
    NoRight 403 "back_end_required": "Back end required",
        "The access token is not one of a back end, and it names no customer. It needs the right of a back end, or the id of a customer.";
    FullReplacementUnsupported 403 "full_replacement_unsupported": "Full replacement unsupported",
        "`data` must be an empty array. A relationship can be cleared, but not replaced.";
    RouteNotFound 404 "route_not_found": "Not found",
        "No resource has this path.";
    MethodNotAllowed 405 "method_not_allowed": "Method not allowed",
        "The resource does not have this method. The Allow header lists those that it has.";
    NotAcceptable 406 "not_acceptable": "Not acceptable",
        "JSON:API is served without extensions and without media type parameters other than profile.";
    BodyTooLarge 413 "body_too_large": "Body too large",
        "The body must not be larger than 64 KiB.";
    UnsupportedMediaType 415 "unsupported_media_type": "Unsupported media type",
        "The body must be application/json, with no parameter but charset=utf-8, or application/vnd.api+json, with no parameter but profile, and not compressed.";
    InternalError 500 "internal_error": "Internal error",
        "The service failed. The cause is logged under this id.";
    KeysUnavailable 503 "keys_unavailable": "Temporarily unavailable",
        "Tokens cannot be verified at the moment. Nothing was changed. Sending the request again is safe.";
    OutcomeUnknown 503 "outcome_unknown": "Outcome unknown",
        "The request may or may not have taken effect. Sending it again is safe.";
    StoreUnavailable 503 "store_unavailable": "Temporarily unavailable",
        "Nothing was changed. Sending the request again is safe.";
}
