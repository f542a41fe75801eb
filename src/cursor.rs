//! Opaque cursors: the position in a list at which the next page begins.
//!
//! A cursor is for one list and for one day. It carries a digest, so that a changed
//! or invented cursor is refused. That helps honest clients find mistakes. The
//! digest has no secret and needs none: a cursor grants nothing, since it selects
//! within a list that the caller must be allowed to read anyway.

use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::clock::{CLOCK_SKEW, Timestamp};
use crate::ids::{CartId, CustomerId};

/// The longest cursor, in characters.
pub const MAX_CURSOR_LENGTH: usize = 512;

/// How long a cursor is valid.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The first byte of every cursor: the version of its format.
const VERSION: u8 = 1;

/// The number of bytes of the digest in a cursor.
const DIGEST_BYTES: usize = 16;

/// The list that a cursor is for.
#[derive(Debug, Clone, Copy)]
pub enum ListId<'a> {
    /// `GET /v2/carts/{cartId}/relationships/customers`
    CustomersOf(&'a CartId),
    /// `GET /v2/carts`, by this customer
    OwnCartsOf(&'a CustomerId),
    /// `GET /v2/customers/{customerId}/relationships/carts`
    CartsOf(&'a CustomerId),
}

impl ListId<'_> {
    /// A name that no other list has: ids do not contain `#`.
    fn name(self) -> String {
        match self {
            Self::CustomersOf(cart) => format!("customers#{}", cart.as_str()),
            Self::OwnCartsOf(customer) => format!("own-carts#{}", customer.as_str()),
            Self::CartsOf(customer) => format!("carts#{}", customer.as_str()),
        }
    }
}

/// The text is not a cursor of this list, or the cursor has expired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidCursor;

/// Makes a cursor for the part of `list` after `position`.
pub fn encode(list: ListId<'_>, position: &str, now: Timestamp) -> String {
    let mut cursor = vec![VERSION];
    cursor.extend(now.seconds().to_be_bytes());
    cursor.extend(position.as_bytes());
    let digest = bound_digest(list, &cursor);
    cursor.extend(digest);
    URL_SAFE_NO_PAD.encode(cursor)
}

/// Returns the position of a cursor of `list`.
pub fn decode(list: ListId<'_>, cursor: &str, now: Timestamp) -> Result<String, InvalidCursor> {
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
    // Another host, whose clock differs, may have made it.
    let is_current =
        made_at <= now.plus(CLOCK_SKEW) && now.until(made_at.plus(LIFETIME + CLOCK_SKEW)).is_some();
    if version != VERSION || !is_current {
        return Err(InvalidCursor);
    }
    String::from_utf8(position.to_vec()).map_err(|_| InvalidCursor)
}

fn bound_digest(list: ListId<'_>, content: &[u8]) -> [u8; DIGEST_BYTES] {
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
    fn a_cursor_has_its_position_in_its_own_list_only() {
        let (ron, cart): (CustomerId, CartId) = ("ron".parse().unwrap(), "ron".parse().unwrap());
        let other = "hermione".parse().unwrap();
        let cursor = encode(ListId::CartsOf(&ron), "x", NOW);
        assert_eq!(
            decode(ListId::CartsOf(&ron), &cursor, NOW),
            Ok("x".to_owned())
        );
        for list in [
            ListId::CartsOf(&other),
            ListId::OwnCartsOf(&ron),
            ListId::CustomersOf(&cart),
        ] {
            assert_eq!(decode(list, &cursor, NOW), Err(InvalidCursor));
        }
    }

    #[test]
    fn a_cursor_is_valid_for_a_day_give_or_take_the_skew_of_clocks() {
        let ron = "ron".parse().unwrap();
        let cursor = encode(ListId::CartsOf(&ron), "x", NOW);
        let second = Duration::from_secs(1);
        let decode_at = |now| decode(ListId::CartsOf(&ron), &cursor, now);
        assert!(decode_at(NOW.plus(LIFETIME + CLOCK_SKEW - second)).is_ok());
        assert!(decode_at(NOW.plus(LIFETIME + CLOCK_SKEW)).is_err());
        let before = |time: Duration| {
            Timestamp::from_millis(NOW.millis() - u64::try_from(time.as_millis()).unwrap())
        };
        assert!(decode_at(before(CLOCK_SKEW)).is_ok());
        assert!(decode_at(before(CLOCK_SKEW + second)).is_err());
    }

    #[test]
    fn a_changed_or_invented_cursor_is_refused() {
        let ron = "ron".parse().unwrap();
        let cursor = encode(
            ListId::CartsOf(&ron),
            "2026-11-22T12:00:00.000Z cart-1",
            NOW,
        );
        for index in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(
                decode(ListId::CartsOf(&ron), &changed, NOW).is_err(),
                "{changed}"
            );
            assert!(
                decode(ListId::CartsOf(&ron), &cursor[..index], NOW).is_err(),
                "{index}"
            );
        }
        let long = "A".repeat(MAX_CURSOR_LENGTH + 1);
        for invented in ["", "A", "AAAA", "%", "null", &long] {
            assert!(
                decode(ListId::CartsOf(&ron), invented, NOW).is_err(),
                "{invented}"
            );
        }
    }

    #[test]
    fn the_longest_position_fits() {
        let id = "x".repeat(128);
        let customer = id.parse().unwrap();
        let position = format!("2026-11-22T12:00:00.000Z {id}");
        assert!(encode(ListId::CartsOf(&customer), &position, NOW).len() <= MAX_CURSOR_LENGTH);
    }
}
