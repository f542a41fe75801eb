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

const LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);

/// The first byte of every cursor: the version of its format.
const VERSION: u8 = 1;

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
