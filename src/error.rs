//! The errors of all layers in one enum.

use crate::association::AssociationError;
use crate::auth::{AuthError, Forbidden};
use crate::fault::{ErrorCode, Fault};
use crate::request::{AFTER, RequestError};
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
                let fault = Fault::of_parameter(ErrorCode::InvalidPageCursor, AFTER);
                Self::Request(fault.into())
            }
            AssociationError::Store(error) => Self::Store(error),
        }
    }
}
