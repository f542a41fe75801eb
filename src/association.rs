//! What to do: the association of carts with customers. Outcomes, not statuses.

use std::time::Duration;

use uuid::Uuid;

use crate::auth::{Forbidden, Grant};
use crate::clock::Clock;
use crate::ids::{CartId, CustomerId};
use crate::store::{Budget, Put, Stamp, Store, StoreError};

/// The associations of all carts with all customers.
#[derive(Debug)]
pub struct Associations {
    store: Store,
    clock: Clock,
    lifetime: Option<Duration>,
}

/// What came of associating.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Associated {
    /// At least one association is new, and made by this very call.
    Created,
    /// All of them were there already.
    Unchanged,
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum AssociationError {
    /// The grant does not permit it; nothing was written.
    Forbidden(Forbidden),
    /// The store did not do it, or did not say.
    Store(StoreError),
}

impl From<Forbidden> for AssociationError {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

impl From<StoreError> for AssociationError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Associations {
    /// `lifetime` is how long an association lives after it was last asked for;
    /// for ever if `None`.
    pub fn new(store: Store, clock: Clock, lifetime: Option<Duration>) -> Self {
        Self {
            store,
            clock,
            lifetime,
        }
    }

    /// Ties a cart to customers: to all of them or, on an error, to none.
    ///
    /// `customers` are distinct, at least one and no more than
    /// [`MAX_MEMBERS`](crate::request::MAX_MEMBERS).
    pub async fn associate(
        &self,
        grant: &Grant,
        cart: &CartId,
        customers: &[CustomerId],
        budget: &Budget,
    ) -> Result<Associated, AssociationError> {
        grant.permit(customers)?;
        let now = self.clock.now();
        let stamp = Stamp {
            associated_at: now,
            associated_by: grant.client().to_owned(),
            write_id: Uuid::new_v4(),
            expires_at: self.lifetime.map(|lifetime| now.plus(lifetime)),
        };
        match self.store.put(cart, customers, &stamp, budget).await? {
            Put::Done => Ok(Associated::Created),
            Put::AlreadyThere => Ok(Associated::Unchanged),
        }
    }
}
