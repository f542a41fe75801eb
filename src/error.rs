//! One error over the layers' own, for the one place that answers them.

use crate::association::AssociationError;
use crate::auth::{AuthError, Forbidden};
use crate::request::{QueryFault, RequestError};
use crate::store::StoreError;

/// Why a request is not served.
#[derive(Debug)]
pub enum Error {
    /// It is not understood.
    Request(RequestError),
    /// Its caller is not believed.
    Auth(AuthError),
    /// Its caller may not do this.
    Forbidden(Forbidden),
    /// The store did not do it, or did not say.
    Store(StoreError),
    /// Its deadline came near before anything else.
    OutOfTime,
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
