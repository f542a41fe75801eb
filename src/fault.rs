//! What callers see of an error: its code, its text and its source.
//!
//! Imports nothing of this crate: every layer may name a code.

use serde::Serialize;

/// The most faults that a response names. A body of 64 KiB can have so many that
/// naming them all would exceed Lambda's limit of 6 MB.
pub const MAX_FAULTS: usize = 100;

/// A fault of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Fault {
    /// What is wrong.
    pub code: ErrorCode,
    /// Where it is, if that is known.
    pub source: Option<Source>,
}

/// The place of a fault in a request: the JSON:API `source`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// A JSON Pointer (RFC 6901) to the faulty value, or to the object that lacks a
    /// member, because JSON:API 1.1 requires a value that exists.
    Pointer(String),
    /// A path or query parameter.
    Parameter(String),
    /// A header.
    Header(&'static str),
}

impl Fault {
    /// A fault without a source.
    pub fn new(code: ErrorCode) -> Self {
        Self { code, source: None }
    }

    /// A fault of a value in the body.
    pub fn at(code: ErrorCode, pointer: impl Into<String>) -> Self {
        let source = Some(Source::Pointer(pointer.into()));
        Self { code, source }
    }

    /// A fault of a parameter.
    pub fn of_parameter(code: ErrorCode, name: impl Into<String>) -> Self {
        let source = Some(Source::Parameter(name.into()));
        Self { code, source }
    }

    /// A fault of a header.
    pub fn of_header(code: ErrorCode, name: &'static str) -> Self {
        let source = Some(Source::Header(name));
        Self { code, source }
    }
}

macro_rules! error_codes {
    ($($name:ident $status:literal $code:literal: $title:literal, $detail:literal;)+) => {
        /// The stable codes of errors, which responses, logs and metrics share. Two rows
        /// may have one code, with different details.
        /// `docs/errors.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[expect(missing_docs, reason = "docs/errors.md explains each")]
        pub enum ErrorCode {
            $($name,)+
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The value of `code`.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $code,)+
                }
            }

            /// The HTTP status.
            pub fn status(self) -> u16 {
                match self {
                    $(Self::$name => $status,)+
                }
            }

            /// The JSON:API `title`.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                }
            }

            /// The JSON:API `detail`.
            pub fn detail(self) -> &'static str {
                match self {
                    $(Self::$name => $detail,)+
                }
            }
        }
    };
}

error_codes! {
    UnreadableEvent 400 "unreadable_event": "Unreadable event",
        "The event is not one of API Gateway or of a function URL.";
    InvalidId 400 "invalid_id": "Invalid identifier",
        "An identifier must be 1 to 128 of the characters A-Z, a-z, 0-9, _ and -.";
    BodyRequired 400 "body_required": "Body missing",
        "The request needs a body: a JSON:API document with the customers in `data`.";
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
        "`data` must name at least one customer.";
    TooManyMembers 400 "too_many_members": "Too many members",
        "`data` must not name more than 100 customers.";
    InvalidMember 400 "invalid_member": "Invalid member",
        "A member of `data` must be an object with `type` and `id`.";
    TypeRequired 400 "type_required": "Member missing",
        "A member of `data` must have a `type`.";
    InvalidType 400 "invalid_type": "Invalid type",
        "The `type` of a member must be `customer`.";
    IdRequired 400 "id_required": "Member missing",
        "A member of `data` must have an `id`.";
    InvalidPageLimit 400 "invalid_page_limit": "Invalid page limit",
        "`page[limit]` must be one whole number from 1 to 100.";
    InvalidPageCursor 400 "invalid_page_cursor": "Invalid page cursor",
        "`page[after]` must be the cursor in a `links.next` of this list, at most one day old.";
    UnknownPageParameter 400 "unknown_page_parameter": "Unknown parameter",
        "The only parameters for paging are `page[limit]` and `page[after]`.";
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
        "The access token is not one of a back end, so this needs a customer token beside it.";
    OwnCartsOfBackEnd 403 "customer_token_required": "Customer token required",
        "A back end has no carts of its own. It lists those of a customer by GET /v2/customers/{customerId}/relationships/carts, and those of an account by GET /v2/accounts/{accountId}/relationships/carts.";
    AccountTokenRequired 403 "account_token_required": "Account token required",
        "The access token is not one of a back end, so this needs an account token beside it.";
    CartTokenRequired 403 "cart_token_required": "Cart token required",
        "A customer or account needs a cart token to be associated with the cart.";
    OtherCustomer 403 "other_customer": "Other customer",
        "The tokens do not permit acting for this customer.";
    OtherAccount 403 "other_account": "Other account",
        "The tokens do not permit acting for this account.";
    NotOnCart 403 "not_on_cart": "Not on this cart",
        "Only those who are associated with a cart, and back ends, may list who else is.";
    BackEndRequired 403 "back_end_required": "Back end required",
        "This needs an access token of a back end, and no customer or account token.";
    NoRight 403 "back_end_required": "Back end required",
        "The access token is not one of a back end, and it names no customer.";
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
        "The body must be application/json, with no parameter but charset=utf-8, or application/vnd.api+json, with no parameter but profile.";
    InternalError 500 "internal_error": "Internal error",
        "The service failed. The cause is logged under this id.";
    KeysUnavailable 503 "keys_unavailable": "Temporarily unavailable",
        "Tokens cannot be verified at the moment. Nothing was changed. Sending the request again is safe.";
    OutcomeUnknown 503 "outcome_unknown": "Outcome unknown",
        "The request may or may not have taken effect. Sending it again is safe.";
    StoreUnavailable 503 "store_unavailable": "Temporarily unavailable",
        "Nothing was changed. Sending the request again is safe.";
}
