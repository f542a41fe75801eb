//! The error of a request, over the errors of the layers, and the table of error
//! codes.

use crate::association::AssociationError;
use crate::auth::{AuthError, Forbidden};
use crate::request::{QueryFault, RequestError};
use crate::store::StoreError;

/// Why a request fails.
#[derive(Debug)]
pub enum Error {
    /// The request is not understood.
    Request(RequestError),
    /// The caller is not authenticated.
    Auth(AuthError),
    /// The caller may not do this.
    Forbidden(Forbidden),
    /// The store failed.
    Store(StoreError),
    /// The handler panicked: a bug.
    Panic(String),
}

impl From<RequestError> for Error {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<AuthError> for Error {
    fn from(error: AuthError) -> Self {
        Self::Auth(error)
    }
}

impl From<AssociationError> for Error {
    fn from(error: AssociationError) -> Self {
        match error {
            AssociationError::Forbidden(forbidden) => Self::Forbidden(forbidden),
            AssociationError::InvalidCursor => {
                Self::Request(RequestError::Query(vec![QueryFault::Cursor]))
            }
            AssociationError::Store(error) => Self::Store(error),
        }
    }
}

macro_rules! error_codes {
    ($($name:ident: $status:literal, $code:literal, $title:literal;)+) => {
        /// The stable codes of errors, as callers, logs and metrics see them.
        /// `docs/errors.md` explains each.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[expect(missing_docs, reason = "docs/errors.md explains each")]
        pub enum ErrorCode {
            $($name,)+
        }

        impl ErrorCode {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// The code.
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

            /// The JSON:API `title`: the same for every occurrence.
            pub fn title(self) -> &'static str {
                match self {
                    $(Self::$name => $title,)+
                }
            }
        }
    };
}

error_codes! {
    UnreadableEvent: 400, "unreadable_event", "Unreadable event";
    InvalidId: 400, "invalid_id", "Invalid identifier";
    BodyRequired: 400, "body_required", "Body missing";
    InvalidEncoding: 400, "invalid_encoding", "Invalid encoding";
    InvalidJson: 400, "invalid_json", "Invalid JSON";
    InvalidDocument: 400, "invalid_document", "Invalid document";
    DataRequired: 400, "data_required", "Member missing";
    InvalidData: 400, "invalid_data", "Invalid data";
    DataEmpty: 400, "data_empty", "Empty data";
    TooManyMembers: 400, "too_many_members", "Too many members";
    InvalidMember: 400, "invalid_member", "Invalid member";
    TypeRequired: 400, "type_required", "Member missing";
    InvalidType: 400, "invalid_type", "Invalid type";
    IdRequired: 400, "id_required", "Member missing";
    InvalidPageLimit: 400, "invalid_page_limit", "Invalid page limit";
    InvalidPageCursor: 400, "invalid_page_cursor", "Invalid page cursor";
    UnknownPageParameter: 400, "unknown_page_parameter", "Unknown parameter";
    UnsupportedParameter: 400, "unsupported_parameter", "Unsupported parameter";
    AccessTokenRequired: 401, "access_token_required", "Access token required";
    InvalidAccessToken: 401, "invalid_access_token", "Invalid access token";
    InvalidCustomerToken: 401, "invalid_customer_token", "Invalid customer token";
    CustomerTokenRequired: 403, "customer_token_required", "Customer token required";
    OtherCustomer: 403, "other_customer", "Other customer";
    NotOnCart: 403, "not_on_cart", "Not on this cart";
    BackEndRequired: 403, "back_end_required", "Back end required";
    FullReplacementUnsupported: 403, "full_replacement_unsupported", "Full replacement unsupported";
    RouteNotFound: 404, "route_not_found", "Not found";
    MethodNotAllowed: 405, "method_not_allowed", "Method not allowed";
    NotAcceptable: 406, "not_acceptable", "Not acceptable";
    BodyTooLarge: 413, "body_too_large", "Body too large";
    UnsupportedMediaType: 415, "unsupported_media_type", "Unsupported media type";
    InternalError: 500, "internal_error", "Internal error";
    KeysUnavailable: 503, "keys_unavailable", "Temporarily unavailable";
    OutcomeUnknown: 503, "outcome_unknown", "Outcome unknown";
    StoreUnavailable: 503, "store_unavailable", "Temporarily unavailable";
}
