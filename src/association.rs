//! What to do: the associations of carts with customers. Outcomes, not statuses.

use std::time::Duration;

use uuid::Uuid;

use crate::auth::{Forbidden, Grant};
use crate::clock::{Clock, Timestamp};
use crate::cursor::{self, InvalidCursor, List};
use crate::ids::{CartId, CustomerId};
use crate::request::{Linkage, Page};
use crate::store::{Budget, Put, Stamp, Store, StoreError};
use crate::telemetry;

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

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct Listed {
    /// The members, in the order of the list.
    pub members: Vec<Member>,
    /// The cursor of the part that follows, if one does.
    pub next: Option<String>,
}

/// A cart of a customer, or a customer of a cart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The identifier of the one or the other.
    pub id: String,
    /// Since when, in RFC 3339.
    pub associated_at: String,
}

/// Why nothing came of it.
#[derive(Debug)]
pub enum AssociationError {
    /// The grant does not permit it; nothing was written.
    Forbidden(Forbidden),
    /// The page begins behind a cursor that is not one of this list.
    InvalidCursor,
    /// The store did not do it, or did not say.
    Store(StoreError),
}

impl From<Forbidden> for AssociationError {
    fn from(forbidden: Forbidden) -> Self {
        Self::Forbidden(forbidden)
    }
}

impl From<InvalidCursor> for AssociationError {
    fn from(_: InvalidCursor) -> Self {
        Self::InvalidCursor
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

    /// Opens the way to the store, so that the first request need not. A store
    /// that cannot be reached is told of by the requests that need it.
    pub async fn reach_store(&self) {
        if let Err(error) = self.store.reach().await {
            telemetry::store_not_reached(&error.to_string());
        }
    }

    /// Ties a cart to customers: to all of them or, on an error, to none.
    pub async fn associate(
        &self,
        grant: &Grant,
        linkage: &Linkage,
        budget: &Budget,
    ) -> Result<Associated, AssociationError> {
        let Linkage { cart, customers } = linkage;
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

    /// Takes a cart and customers apart: all of them or, on an error, none. Those
    /// who were not on the cart count as taken off it.
    pub async fn dissociate(
        &self,
        grant: &Grant,
        linkage: &Linkage,
        budget: &Budget,
    ) -> Result<(), AssociationError> {
        let Linkage { cart, customers } = linkage;
        grant.permit(customers)?;
        Ok(self.store.delete(cart, customers, budget).await?)
    }

    /// Lists the customers of a cart, by their ids. A customer must be on it:
    /// whether they are is read consistently, so that it holds from the moment
    /// at which they were told so.
    pub async fn list_customers(
        &self,
        grant: &Grant,
        cart: &CartId,
        page: &Page,
        budget: &Budget,
    ) -> Result<Listed, AssociationError> {
        let list = List::CustomersOf(cart);
        let now = self.clock.now();
        let after: Option<CustomerId> =
            position(list, page, now, |position| position.parse().ok())?;
        if let Some(customer) = grant.only_customer()?
            && !self.store.is_there(cart, customer, now, budget).await?
        {
            return Err(Forbidden::NotOnCart.into());
        }
        let after = after.as_ref();
        let members = self
            .store
            .customers_of(cart, after, page.limit + 1, now, budget)
            .await?;
        Ok(listed(list, members, page, now, |last| last.id.clone()))
    }

    /// Lists the carts of the customer whose token was sent.
    pub async fn list_own_carts(
        &self,
        grant: &Grant,
        page: &Page,
        budget: &Budget,
    ) -> Result<Listed, AssociationError> {
        let customer = grant.customer()?;
        let list = List::OwnCartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        self.carts(list, customer, after, page, budget).await
    }

    /// Lists the carts of a customer for whom the caller may act.
    pub async fn list_carts(
        &self,
        grant: &Grant,
        customer: &CustomerId,
        page: &Page,
        budget: &Budget,
    ) -> Result<Listed, AssociationError> {
        let list = List::CartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        if grant.only_customer()?.is_some_and(|own| own != customer) {
            return Err(Forbidden::OtherCustomersCarts.into());
        }
        self.carts(list, customer, after, page, budget).await
    }

    /// The newest association first, those of one moment by the cart's id.
    async fn carts(
        &self,
        list: List<'_>,
        customer: &CustomerId,
        after: Option<Member>,
        page: &Page,
        budget: &Budget,
    ) -> Result<Listed, AssociationError> {
        let now = self.clock.now();
        let members = self
            .store
            .carts_of(customer, after.as_ref(), page.limit + 1, now, budget)
            .await?;
        Ok(listed(list, members, page, now, |last| {
            format!("{} {}", last.associated_at, last.id)
        }))
    }
}

/// The position behind which a page begins, as `read` takes it from its cursor.
fn position<P>(
    list: List<'_>,
    page: &Page,
    now: Timestamp,
    read: impl Fn(&str) -> Option<P>,
) -> Result<Option<P>, InvalidCursor> {
    let Some(cursor) = &page.after else {
        return Ok(None);
    };
    let position = cursor::decode(list, cursor, now)?;
    read(&position).map(Some).ok_or(InvalidCursor)
}

/// The last cart that was listed, and its moment.
fn cart_position(
    list: List<'_>,
    page: &Page,
    now: Timestamp,
) -> Result<Option<Member>, InvalidCursor> {
    position(list, page, now, |position| {
        let (associated_at, id) = position.rsplit_once(' ')?;
        let _: CartId = id.parse().ok()?;
        let (associated_at, id) = (associated_at.to_owned(), id.to_owned());
        (!associated_at.is_empty()).then_some(Member { id, associated_at })
    })
}

/// A page of members, of which there is one more if another page follows.
fn listed(
    list: List<'_>,
    mut members: Vec<Member>,
    page: &Page,
    now: Timestamp,
    position: impl Fn(&Member) -> String,
) -> Listed {
    let more = members.len() > page.limit;
    members.truncate(page.limit);
    let last = members.last().filter(|_| more);
    let next = last.map(|last| cursor::encode(list, &position(last), now));
    Listed { members, next }
}
