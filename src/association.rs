//! Associations of carts with customers: what a caller may do, and what it does.

use std::time::Duration;

use futures_util::FutureExt as _;
use uuid::Uuid;

use crate::auth::{Caller, CartProof, Forbidden};
use crate::clock::{Clock, Timestamp};
use crate::cursor::{self, InvalidCursor, ListId};
use crate::ids::{CartId, CustomerId, Party, PartyKind};
use crate::request::{CartCustomers, Page};
use crate::store::{Budget, ClearOutcome, Member, Store, StoreError, WriteOutcome, Writer};

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
    /// The caller may not. Nothing was written.
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
        caller: &Caller,
        proof: CartProof,
        CartCustomers { cart, customers }: &CartCustomers,
        budget: &Budget,
    ) -> Result<WriteOutcome, AssociationError> {
        caller.permit(&parties(customers))?;
        proof.permits()?;
        let writer = self.writer(caller);
        let put = self
            .store
            .put(cart, customers, writer, self.lifetime, budget);
        Ok(put.await?)
    }

    /// Removes the associations of a cart with customers, all or none. Those that
    /// do not exist count as removed.
    pub async fn dissociate(
        &self,
        caller: &Caller,
        CartCustomers { cart, customers }: &CartCustomers,
        budget: &Budget,
    ) -> Result<(), AssociationError> {
        caller.permit(&parties(customers))?;
        let writer = self.writer(caller);
        Ok(self.store.remove(cart, customers, writer, budget).await?)
    }

    /// Removes all customers from a cart. Only a back end may.
    pub async fn clear_cart(
        &self,
        caller: &Caller,
        cart: &CartId,
        budget: &Budget,
    ) -> Result<ClearOutcome, AssociationError> {
        caller.permit_clearing()?;
        let writer = self.writer(caller);
        Ok(self.store.clear_cart(cart, &writer, budget).await?)
    }

    /// Removes a customer that the caller may act for from all carts.
    pub async fn clear_customer(
        &self,
        caller: &Caller,
        customer: &CustomerId,
        budget: &Budget,
    ) -> Result<ClearOutcome, AssociationError> {
        caller.permit_carts_of(&party(customer))?;
        let writer = self.writer(caller);
        Ok(self.store.clear_customer(customer, &writer, budget).await?)
    }

    fn writer(&self, caller: &Caller) -> Writer {
        Writer {
            id: Uuid::new_v4(),
            client: caller.client().to_owned(),
            now: self.clock.now(),
        }
    }

    /// Lists the customers of a cart, ordered by id. A customer must be one of them:
    /// that is read consistently, so it holds as soon as a POST was answered. Both are
    /// read at the same time. A stranger does not wait for the list, and gets no error
    /// of it.
    pub async fn list_customers(
        &self,
        caller: &Caller,
        cart: &CartId,
        page: &Page,
        budget: &Budget,
    ) -> Result<MemberPage, AssociationError> {
        let list = ListId::CustomersOf(cart);
        let now = self.clock.now();
        let after: Option<CustomerId> =
            position(list, page, now, |position| position.parse().ok())?;
        let customer = caller.only_party(PartyKind::Customer)?;
        let customer = customer.map(customer_id);
        let permitted = async {
            if let Some(customer) = &customer
                && !self
                    .store
                    .is_associated(cart, customer, now, budget)
                    .await?
            {
                return Err(AssociationError::from(Forbidden::NotOnCart));
            }
            Ok(())
        };
        let members = self
            .store
            .customers_of(cart, after.as_ref(), page.limit + 1, now, budget);
        let ((), members) = tokio::try_join!(permitted, members.map(Ok))?;
        let members = members?;
        Ok(member_page(list, members, page, now, |last| {
            last.id.clone()
        }))
    }

    /// Lists the carts of the customer whose token was sent.
    pub async fn list_own_carts(
        &self,
        caller: &Caller,
        page: &Page,
        budget: &Budget,
    ) -> Result<MemberPage, AssociationError> {
        caller.party()?;
        let customer = caller.only_party(PartyKind::Customer)?.map(customer_id);
        let customer = &customer.expect("a back end has no carts of its own");
        let list = ListId::OwnCartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        self.carts(list, customer, after, page, budget).await
    }

    /// Lists the carts of a customer that the caller may act for.
    pub async fn list_carts(
        &self,
        caller: &Caller,
        customer: &CustomerId,
        page: &Page,
        budget: &Budget,
    ) -> Result<MemberPage, AssociationError> {
        let list = ListId::CartsOf(customer);
        let after = cart_position(list, page, self.clock.now())?;
        caller.permit_carts_of(&party(customer))?;
        self.carts(list, customer, after, page, budget).await
    }

    /// Lists the newest association first, those of one moment by the cart's id.
    async fn carts(
        &self,
        list: ListId<'_>,
        customer: &CustomerId,
        after: Option<Member>,
        page: &Page,
        budget: &Budget,
    ) -> Result<MemberPage, AssociationError> {
        let now = self.clock.now();
        let members = self
            .store
            .carts_of(customer, after.as_ref(), page.limit + 1, now, budget)
            .await?;
        Ok(member_page(list, members, page, now, |last| {
            format!("{} {}", last.associated_at, last.id)
        }))
    }
}

fn party(customer: &CustomerId) -> Party {
    Party::new(PartyKind::Customer, customer.as_str()).expect("an id")
}

fn parties(customers: &[CustomerId]) -> Vec<Party> {
    customers.iter().map(party).collect()
}

fn customer_id(party: &Party) -> CustomerId {
    party.id().parse().expect("an id")
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
) -> Result<Option<Member>, InvalidCursor> {
    position(list, page, now, |position| {
        let (associated_at, id) = position.rsplit_once(' ')?;
        let _: CartId = id.parse().ok()?;
        let (associated_at, id) = (associated_at.to_owned(), id.to_owned());
        (!associated_at.is_empty()).then_some(Member { id, associated_at })
    })
}

/// Makes a page. One member more than the limit was read: if it exists, there is a
/// next page.
fn member_page(
    list: ListId<'_>,
    mut members: Vec<Member>,
    page: &Page,
    now: Timestamp,
    position: impl Fn(&Member) -> String,
) -> MemberPage {
    let more = members.len() > page.limit;
    members.truncate(page.limit);
    let last = members.last().filter(|_| more);
    let next = last.map(|last| cursor::encode(list, &position(last), now));
    MemberPage { members, next }
}
