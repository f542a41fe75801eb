//! Associations of carts with customers: what a grant permits, and what it does.

use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::Instant;
use uuid::Uuid;

use crate::auth::{Forbidden, Grant};
use crate::clock::{Clock, Timestamp};
use crate::cursor::{self, InvalidCursor, ListId};
use crate::ids::{CartId, CustomerId, Party, PartyKind};
use crate::request::{CartCustomers, Page};
use crate::store::{
    ClearOutcome, Member, Position, Session, Store, StoreError, WriteOutcome, Writer,
};

/// The associations of all carts with all customers.
#[derive(Debug)]
pub struct Associations {
    store: Store,
    clock: Clock,
    lifetime: Option<Duration>,
}

/// A page of a list.
#[derive(Debug, PartialEq, Eq)]
pub struct MemberPage {
    /// The members, in the list's order.
    pub members: Vec<Member>,
    /// The cursor of the next page, if there is one.
    pub next: Option<String>,
}

/// Why an operation fails.
#[derive(Debug)]
pub enum AssociationError {
    /// The grant does not permit it. Nothing was written.
    Forbidden(Forbidden),
    /// The page's cursor is not one of this list.
    InvalidCursor,
    /// The store failed.
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
    /// `lifetime` is how long an association lasts after it was last requested;
    /// `None` is for ever.
    pub fn new(store: Store, clock: Clock, lifetime: Option<Duration>) -> Self {
        Self {
            store,
            clock,
            lifetime,
        }
    }

    /// Begins a request's use of the store.
    pub fn session(&self, deadline: Instant) -> Session<'_> {
        self.store.session(deadline)
    }

    /// Connects to the store. Logs a failure at DEBUG: requests log their own
    /// failures.
    pub async fn warm_up(&self) {
        if let Err(error) = self.store.warm_up().await {
            tracing::debug!(cause = error.to_string(), "the warm-up of the store failed");
        }
    }

    /// Associates a cart with customers, all or none.
    pub async fn associate(
        &self,
        grant: &Grant,
        CartCustomers { cart, customers }: &CartCustomers,
        store: &Session<'_>,
    ) -> Result<WriteOutcome, AssociationError> {
        grant.permit_association(cart, customers)?;
        let writer = self.writer(grant);
        let customers = parties(customers);
        let put = store.associate(cart, &customers, writer, self.lifetime);
        Ok(put.await?)
    }

    /// Removes the associations of a cart with customers, all or none. Those that
    /// do not exist count as removed.
    pub async fn dissociate(
        &self,
        grant: &Grant,
        CartCustomers { cart, customers }: &CartCustomers,
        store: &Session<'_>,
    ) -> Result<(), AssociationError> {
        grant.permit(customers)?;
        let writer = self.writer(grant);
        let customers = parties(customers);
        Ok(store.dissociate(cart, &customers, writer).await?)
    }

    /// Removes all customers from a cart. Only a back end may.
    pub async fn clear_cart(
        &self,
        grant: &Grant,
        cart: &CartId,
        store: &Session<'_>,
    ) -> Result<ClearOutcome, AssociationError> {
        let Ok(None) = grant.only_customer() else {
            return Err(Forbidden::BackEndRequired.into());
        };
        let writer = self.writer(grant);
        let cleared = store.clear_cart(cart, PartyKind::Customer, &writer);
        Ok(cleared.await?)
    }

    /// Removes a customer that the caller may act for from all carts.
    pub async fn clear_customer(
        &self,
        grant: &Grant,
        customer: &CustomerId,
        store: &Session<'_>,
    ) -> Result<ClearOutcome, AssociationError> {
        permit_carts_of(customer, grant)?;
        let writer = self.writer(grant);
        Ok(store.clear_party(&party(customer), &writer).await?)
    }

    fn writer(&self, grant: &Grant) -> Writer {
        Writer {
            id: Uuid::new_v4(),
            client: grant.client().to_owned(),
            acted_by: None,
            now: self.clock.now(),
        }
    }

    /// Lists the customers of a cart, ordered by id. A customer must be one of them:
    /// that is read consistently, so it holds as soon as a POST was answered. Both are
    /// read at the same time. A stranger does not wait for the list, and gets no error
    /// of it.
    pub async fn list_customers(
        &self,
        grant: &Grant,
        cart: &CartId,
        page: &Page,
        store: &Session<'_>,
    ) -> Result<MemberPage, AssociationError> {
        let list = ListId::CustomersOf(cart);
        let now = self.clock.now();
        let after: Option<CustomerId> =
            position(list, page, now, |position| position.parse().ok())?;
        let customer = grant.only_customer()?;
        let permitted = async {
            if let Some(customer) = customer
                && !store.is_associated(cart, &party(customer), now).await?
            {
                return Err(AssociationError::from(Forbidden::NotOnCart));
            }
            Ok(())
        };
        let after = after.as_ref().map(CustomerId::as_str);
        let members = store.parties_of(cart, PartyKind::Customer, after, page.limit + 1, now);
        let ((), members) = tokio::try_join!(permitted, members.map(Ok))?;
        let members = members?;
        Ok(member_page(list, members, page, now, |page| {
            page.last().map(|last| last.id.clone())
        }))
    }

    /// Lists the carts of the customer whose token was sent.
    pub async fn list_own_carts(
        &self,
        grant: &Grant,
        page: &Page,
        store: &Session<'_>,
    ) -> Result<MemberPage, AssociationError> {
        let customer = grant.customer()?;
        let list = ListId::OwnCartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        self.carts(list, customer, after, page, store).await
    }

    /// Lists the carts of a customer that the caller may act for.
    pub async fn list_carts(
        &self,
        grant: &Grant,
        customer: &CustomerId,
        page: &Page,
        store: &Session<'_>,
    ) -> Result<MemberPage, AssociationError> {
        let list = ListId::CartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        permit_carts_of(customer, grant)?;
        self.carts(list, customer, after, page, store).await
    }

    /// Lists the newest association first, those of one moment by the cart's id.
    async fn carts(
        &self,
        list: ListId<'_>,
        customer: &CustomerId,
        after: Option<Position>,
        page: &Page,
        store: &Session<'_>,
    ) -> Result<MemberPage, AssociationError> {
        let now = self.clock.now();
        let members = store
            .carts_of(&party(customer), after.as_ref(), page.limit + 1, now)
            .await?;
        Ok(member_page(list, members, page, now, |page| {
            let Position {
                associated_at,
                id,
                follows_young,
            } = Position::after(page, after.as_ref(), now)?;
            let mark = if follows_young { "+" } else { "" };
            Some(format!("{associated_at} {mark}{id}"))
        }))
    }
}

fn party(customer: &CustomerId) -> Party {
    Party::new(PartyKind::Customer, customer.as_str()).expect("a customer's id is an id")
}

fn parties(customers: &[CustomerId]) -> Vec<Party> {
    customers.iter().map(party).collect()
}

/// Checks that the caller may act for the customer whose carts the path names.
fn permit_carts_of(customer: &CustomerId, grant: &Grant) -> Result<(), Forbidden> {
    if grant.only_customer()?.is_some_and(|own| own != customer) {
        return Err(Forbidden::OtherCustomersCarts);
    }
    Ok(())
}

/// Returns the position after which a page begins. `read` parses it.
fn position<P>(
    list: ListId<'_>,
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

/// Returns the position of a list of carts: the last cart of the page before.
fn cart_position(
    list: ListId<'_>,
    page: &Page,
    now: Timestamp,
) -> Result<Option<Position>, InvalidCursor> {
    position(list, page, now, |position| {
        let (associated_at, id) = position.rsplit_once(' ')?;
        let unmarked = id.strip_prefix('+');
        let follows_young = unmarked.is_some();
        let id = unmarked.unwrap_or(id);
        let _: CartId = id.parse().ok()?;
        let (associated_at, id) = (associated_at.to_owned(), id.to_owned());
        (!associated_at.is_empty()).then_some(Position {
            associated_at,
            id,
            follows_young,
        })
    })
}

/// Makes a page. One member more than the limit was read: if it exists, there is a
/// next page.
fn member_page(
    list: ListId<'_>,
    mut members: Vec<Member>,
    page: &Page,
    now: Timestamp,
    position: impl Fn(&[Member]) -> Option<String>,
) -> MemberPage {
    let more = members.len() > page.limit;
    members.truncate(page.limit);
    let position = position(&members).filter(|_| more);
    let next = position.map(|position| cursor::encode(list, &position, now));
    MemberPage { members, next }
}
