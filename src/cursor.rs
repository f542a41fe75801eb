//! Opaque cursors: where in a list the next page begins.
//!
//! A cursor is bound to the list that it was made for, and to a day. It carries
//! a digest over all of it, so that one that was changed or made up is told from
//! one that was given out. That is for honest clients: no secret goes into the
//! digest, and none is needed, because a position opens nothing. It selects
//! within a list that the caller must be allowed to see in any case.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::Timestamp;
use crate::ids::{CartId, CustomerId};

/// The longest cursor, in characters.
pub const MAX_CURSOR_LENGTH: usize = 512;

/// For how long a cursor is good: longer than anybody pages through a list.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The first byte of every cursor: a change of what follows changes it.
const VERSION: u8 = 1;

/// How many bytes of the digest a cursor carries.
const DIGEST_BYTES: usize = 16;

/// A list that has pages.
#[derive(Debug, Clone, Copy)]
pub enum List<'a> {
    /// `GET /v2/carts/{cartId}/relationships/customers`
    CustomersOf(&'a CartId),
    /// `GET /v2/carts`, by this customer
    OwnCartsOf(&'a CustomerId),
    /// `GET /v2/customers/{customerId}/relationships/carts`
    CartsOf(&'a CustomerId),
}

impl List<'_> {
    /// The list's route and id, which no other list shares: no id has a `#`.
    fn name(self) -> String {
        match self {
            Self::CustomersOf(cart) => format!("customers#{}", cart.as_str()),
            Self::OwnCartsOf(customer) => format!("own-carts#{}", customer.as_str()),
            Self::CartsOf(customer) => format!("carts#{}", customer.as_str()),
        }
    }
}

/// Not a cursor of this list, or one no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCursor;

/// A cursor for the part of `list` that follows `position`.
pub fn encode(list: List<'_>, position: &str, now: Timestamp) -> String {
    let mut cursor = vec![VERSION];
    cursor.extend(now.seconds().to_be_bytes());
    cursor.extend(position.as_bytes());
    let digest = bound_digest(list, &cursor);
    cursor.extend(digest);
    URL_SAFE_NO_PAD.encode(cursor)
}

/// The position that a cursor of `list` stands for.
pub fn decode(list: List<'_>, cursor: &str, now: Timestamp) -> Result<String, InvalidCursor> {
    if cursor.len() > MAX_CURSOR_LENGTH {
        return Err(InvalidCursor);
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| InvalidCursor)?;
    let split = bytes.len().checked_sub(DIGEST_BYTES).ok_or(InvalidCursor)?;
    let (content, digest) = bytes.split_at(split);
    if digest != bound_digest(list, content) {
        return Err(InvalidCursor);
    }
    let (&version, content) = content.split_first().ok_or(InvalidCursor)?;
    let (made_at, position) = content.split_first_chunk().ok_or(InvalidCursor)?;
    let made_at = Timestamp::from_millis(u64::from_be_bytes(*made_at).saturating_mul(1000));
    let is_current = made_at <= now && now.until(made_at.plus(LIFETIME)).is_some();
    if version != VERSION || !is_current {
        return Err(InvalidCursor);
    }
    String::from_utf8(position.to_vec()).map_err(|_| InvalidCursor)
}

fn bound_digest(list: List<'_>, content: &[u8]) -> [u8; DIGEST_BYTES] {
    let mut bound = list.name().into_bytes();
    bound.push(b'#');
    bound.extend(content);
    let mut short = [0; DIGEST_BYTES];
    short.copy_from_slice(&digest(&SHA256, &bound).as_ref()[..DIGEST_BYTES]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

    #[test]
    fn a_cursor_leads_back_to_its_position_in_its_list_alone() {
        let (ron, cart): (CustomerId, CartId) = ("ron".parse().unwrap(), "ron".parse().unwrap());
        let other = "hermione".parse().unwrap();
        let cursor = encode(List::CartsOf(&ron), "x", NOW);
        assert_eq!(
            decode(List::CartsOf(&ron), &cursor, NOW),
            Ok("x".to_owned())
        );
        for list in [
            List::CartsOf(&other),
            List::OwnCartsOf(&ron),
            List::CustomersOf(&cart),
        ] {
            assert_eq!(decode(list, &cursor, NOW), Err(InvalidCursor));
        }
    }

    #[test]
    fn a_cursor_is_good_for_a_day() {
        let ron = "ron".parse().unwrap();
        let cursor = encode(List::CartsOf(&ron), "x", NOW);
        let almost = NOW.plus(LIFETIME - Duration::from_secs(1));
        assert!(decode(List::CartsOf(&ron), &cursor, almost).is_ok());
        assert!(decode(List::CartsOf(&ron), &cursor, NOW.plus(LIFETIME)).is_err());
        let before = Timestamp::from_millis(NOW.millis() - 1000);
        assert!(decode(List::CartsOf(&ron), &cursor, before).is_err());
    }

    #[test]
    fn a_cursor_that_was_changed_or_made_up_is_none() {
        let ron = "ron".parse().unwrap();
        let cursor = encode(List::CartsOf(&ron), "2026-11-22T12:00:00.000Z cart-1", NOW);
        for index in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                decode(List::CartsOf(&ron), &changed, NOW).is_err(),
                "{changed}"
            );
            assert!(
                decode(List::CartsOf(&ron), &cursor[..index], NOW).is_err(),
                "{index}"
            );
        }
        let long = "A".repeat(MAX_CURSOR_LENGTH + 1);
        for made_up in ["", "A", "AAAA", "%", "null", &long] {
            assert!(
                decode(List::CartsOf(&ron), made_up, NOW).is_err(),
                "{made_up}"
            );
        }
    }

    #[test]
    fn the_longest_position_fits() {
        let id = "x".repeat(128);
        let customer = id.parse().unwrap();
        let position = format!("2026-11-22T12:00:00.000Z {id}");
        assert!(encode(List::CartsOf(&customer), &position, NOW).len() <= MAX_CURSOR_LENGTH);
    }
}
