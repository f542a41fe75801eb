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

/// The longest cursor, in characters.
pub const MAX_CURSOR_LENGTH: usize = 512;

/// How long a cursor is valid.
const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The first byte of every cursor: the version of its format.
const VERSION: u8 = 1;

/// The number of bytes of the digest in a cursor.
const DIGEST_BYTES: usize = 16;

/// Makes a cursor for the part after `position` of the list with this name.
pub fn encode(list: &str, position: &str, now: Timestamp) -> String {
    let mut cursor = vec![VERSION];
    cursor.extend(now.seconds().to_be_bytes());
    cursor.extend(position.as_bytes());
    let digest = bound_digest(list, &cursor);
    cursor.extend(digest);
    URL_SAFE_NO_PAD.encode(cursor)
}

/// Returns the position of a cursor; `None` if it is not one of this list, or has
/// expired.
pub fn decode(list: &str, cursor: &str, now: Timestamp) -> Option<String> {
    if cursor.len() > MAX_CURSOR_LENGTH {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(cursor).ok()?;
    let (content, digest) = bytes.split_last_chunk()?;
    if *digest != bound_digest(list, content) {
        return None;
    }
    let (&version, content) = content.split_first()?;
    let (made_at, position) = content.split_first_chunk()?;
    let made_at = Timestamp::from_millis(u64::from_be_bytes(*made_at).saturating_mul(1000));
    // Another host, whose clock differs, may have made it.
    let is_current =
        made_at <= now.plus(CLOCK_SKEW) && now.until(made_at.plus(LIFETIME + CLOCK_SKEW)).is_some();
    if version != VERSION || !is_current {
        return None;
    }
    String::from_utf8(position.to_vec()).ok()
}

fn bound_digest(list: &str, content: &[u8]) -> [u8; DIGEST_BYTES] {
    let bound = [list.as_bytes(), b"#", content].concat();
    let digest = digest(&SHA256, &bound);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_795_392_000_000);

    const LIST: &str = "carts#ron";

    #[test]
    fn a_cursor_has_its_position_in_its_own_list_only() {
        let cursor = encode(LIST, "x", NOW);
        assert_eq!(decode(LIST, &cursor, NOW), Some("x".to_owned()));
        for list in ["carts#hermione", "own-carts#ron", "customers#ron"] {
            assert_eq!(decode(list, &cursor, NOW), None);
        }
    }

    #[test]
    fn a_cursor_is_valid_for_a_day_give_or_take_the_skew_of_clocks() {
        let cursor = encode(LIST, "x", NOW);
        let second = Duration::from_secs(1);
        let decode_at = |now| decode(LIST, &cursor, now);
        assert!(decode_at(NOW.plus(LIFETIME + CLOCK_SKEW - second)).is_some());
        assert!(decode_at(NOW.plus(LIFETIME + CLOCK_SKEW)).is_none());
        let before = |time: Duration| {
            Timestamp::from_millis(NOW.millis() - u64::try_from(time.as_millis()).unwrap())
        };
        assert!(decode_at(before(CLOCK_SKEW)).is_some());
        assert!(decode_at(before(CLOCK_SKEW + second)).is_none());
    }

    #[test]
    fn a_changed_or_invented_cursor_is_refused() {
        let cursor = encode(LIST, "2026-11-22T12:00:00.000Z cart-1", NOW);
        for index in 0..cursor.len() {
            let mut changed = cursor.clone().into_bytes();
            changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
            let changed = String::from_utf8(changed).unwrap();
            assert!(decode(LIST, &changed, NOW).is_none(), "{changed}");
            assert!(decode(LIST, &cursor[..index], NOW).is_none(), "{index}");
        }
        let long = "A".repeat(MAX_CURSOR_LENGTH + 1);
        for invented in ["", "A", "AAAA", "%", "null", &long] {
            assert!(decode(LIST, invented, NOW).is_none(), "{invented}");
        }
    }

    #[test]
    fn the_longest_position_fits() {
        let id = "x".repeat(128);
        let position = format!("2026-11-22T12:00:00.000Z {id}");
        assert!(encode(LIST, &position, NOW).len() <= MAX_CURSOR_LENGTH);
    }
}
