//! JSON:API error documents.
//!
//! The only place where the errors of other layers get a code, in matches without
//! `_`: a new error does not compile until somebody decides what it means to a
//! caller.

use serde::Serialize;

use super::{Header, Response, content_type, json};
use crate::auth::{AuthError, Forbidden, TokenKind};
use crate::error::Error;
use crate::fault::{ErrorCode, Fault, MAX_FAULTS, Source};
use crate::ids::PartyKind;
use crate::request::{RequestError, ResponseOptions};
use crate::store::StoreError;

/// The `Retry-After` of a store that fails or takes too long, in seconds: the
/// smallest value of the header, and longer than most throttling lasts.
pub(super) const RETRY_AFTER: &str = "1";

/// Makes error responses.
#[derive(Debug, Clone, Default)]
pub struct ErrorDocuments {
    docs_url: Option<String>,
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

impl ErrorDocuments {
    /// `docs_url` is the base of `links.about`; the code is the fragment.
    pub fn new(docs_url: Option<String>) -> Self {
        Self { docs_url }
    }

    /// Makes the response to a request that failed.
    pub fn failure(&self, error: &Error, options: ResponseOptions, request_id: &str) -> Response {
        let faults = faults(error);
        // All faults of one request have the same status.
        let code = faults
            .first()
            .map_or(ErrorCode::InternalError, |fault| fault.code);
        let mut headers = vec![("vary", "Accept".into()), content_type(options.answer_type)];
        headers.extend(header(error));
        let errors = faults
            .into_iter()
            .map(|fault| self.error_object(fault, request_id))
            .collect();
        Response {
            payload_format: options.payload_format,
            status: code.status(),
            headers,
            body: Some(json(&ErrorDocument { errors })),
            outcome: code.as_str(),
        }
    }

    fn error_object<'a>(&self, Fault { code, source }: Fault, id: &'a str) -> ErrorObject<'a> {
        let links = self.docs_url.as_ref().map(|base| Links {
            about: format!("{base}#{}", code.as_str()),
        });
        ErrorObject {
            id,
            links,
            status: code.status().to_string(),
            code: code.as_str(),
            title: code.title(),
            detail: code.detail(),
            source,
        }
    }
}

/// Returns the header that an error's status requires.
fn header(error: &Error) -> Option<Header> {
    match error {
        Error::Request(RequestError::MethodNotAllowed { allow }) => {
            Some(("allow", allow.clone().into()))
        }
        Error::Auth(AuthError::NoAccessToken) => Some(("www-authenticate", "Bearer".into())),
        Error::Auth(AuthError::InvalidToken { .. }) => {
            Some(("www-authenticate", "Bearer error=\"invalid_token\"".into()))
        }
        Error::Auth(AuthError::NoKeys { retry_after, .. }) => {
            let seconds = retry_after.as_secs_f64().ceil().max(1.0);
            Some(("retry-after", seconds.to_string().into()))
        }
        Error::Store(StoreError::Unavailable(_) | StoreError::OutcomeUnknown(_)) => {
            Some(("retry-after", RETRY_AFTER.into()))
        }
        Error::Request(RequestError::Faults(_))
        | Error::Auth(AuthError::SeveralParties)
        | Error::Forbidden(_)
        | Error::Store(StoreError::Fault(_))
        | Error::Panic(_) => None,
    }
}

/// Returns the faults of an error, 1 to [`MAX_FAULTS`].
fn faults(error: &Error) -> Vec<Fault> {
    let fault = match error {
        Error::Request(RequestError::Faults(faults)) => {
            return faults.iter().take(MAX_FAULTS).cloned().collect();
        }
        Error::Request(RequestError::MethodNotAllowed { .. }) => {
            Fault::new(ErrorCode::MethodNotAllowed)
        }
        Error::Auth(error) => match error {
            AuthError::NoAccessToken => {
                Fault::of_header(ErrorCode::AccessTokenRequired, TokenKind::Access.header())
            }
            AuthError::InvalidToken { kind, .. } => {
                let code = match kind {
                    TokenKind::Access => ErrorCode::InvalidAccessToken,
                    TokenKind::Party(PartyKind::Customer) => ErrorCode::InvalidCustomerToken,
                    TokenKind::Party(PartyKind::Account) => ErrorCode::InvalidAccountToken,
                    TokenKind::Cart => ErrorCode::InvalidCartToken,
                };
                Fault::of_header(code, kind.header())
            }
            AuthError::SeveralParties => {
                let header = TokenKind::Party(PartyKind::Account).header();
                Fault::of_header(ErrorCode::SeveralParties, header)
            }
            AuthError::NoKeys { .. } => Fault::new(ErrorCode::KeysUnavailable),
        },
        Error::Forbidden(forbidden) => match forbidden {
            Forbidden::TokenRequired { kind, .. } => {
                let code = match kind {
                    PartyKind::Customer => ErrorCode::CustomerTokenRequired,
                    PartyKind::Account => ErrorCode::AccountTokenRequired,
                };
                Fault::of_header(code, TokenKind::Party(*kind).header())
            }
            Forbidden::OwnCartsOfBackEnd => {
                let header = TokenKind::Party(PartyKind::Customer).header();
                Fault::of_header(ErrorCode::OwnCartsOfBackEnd, header)
            }
            Forbidden::NoRight { .. } => {
                Fault::of_header(ErrorCode::NoRight, TokenKind::Access.header())
            }
            Forbidden::CartTokenRequired => {
                Fault::of_header(ErrorCode::CartTokenRequired, TokenKind::Cart.header())
            }
            Forbidden::OtherParty(kind) => Fault::at(other_party(*kind), "/data"),
            Forbidden::OtherPartysCarts(kind) => {
                let parameter = match kind {
                    PartyKind::Customer => "customerId",
                    PartyKind::Account => "accountId",
                };
                Fault::of_parameter(other_party(*kind), parameter)
            }
            Forbidden::NotOnCart => Fault::of_parameter(ErrorCode::NotOnCart, "cartId"),
            Forbidden::BackEndRequired => {
                Fault::of_header(ErrorCode::BackEndRequired, TokenKind::Access.header())
            }
        },
        Error::Store(StoreError::Unavailable(_)) => Fault::new(ErrorCode::StoreUnavailable),
        Error::Store(StoreError::OutcomeUnknown(_)) => Fault::new(ErrorCode::OutcomeUnknown),
        Error::Store(StoreError::Fault(_)) | Error::Panic(_) => {
            Fault::new(ErrorCode::InternalError)
        }
    };
    vec![fault]
}

fn other_party(kind: PartyKind) -> ErrorCode {
    match kind {
        PartyKind::Customer => ErrorCode::OtherCustomer,
        PartyKind::Account => ErrorCode::OtherAccount,
    }
}
