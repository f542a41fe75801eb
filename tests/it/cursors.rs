//! Cursors that were changed, invented or kept too long. `lists.rs` sends cursors of
//! one list to another.

use std::time::Duration;

use cart_associations::clock::{CLOCK_SKEW, Timestamp};
use cart_associations::cursor::{MAX_CURSOR_LENGTH, decode, encode};

const LIST: &str = "carts#ron";
const DAY: u64 = 24 * 60 * 60;
const MADE_AT: u64 = 1_795_392_000;

fn time(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1000)
}

#[test]
fn a_cursor_is_valid_for_a_day_give_or_take_the_skew_of_clocks() {
    let cursor = encode(LIST, "x", time(MADE_AT));
    let decode_at = |seconds| decode(LIST, &cursor, time(seconds));
    let skew = CLOCK_SKEW.as_secs();
    assert_eq!(decode_at(MADE_AT + DAY + skew - 1).as_deref(), Some("x"));
    assert_eq!(decode_at(MADE_AT + DAY + skew), None);
    assert_eq!(decode_at(MADE_AT - skew).as_deref(), Some("x"));
    assert_eq!(decode_at(MADE_AT - skew - 1), None);
    let last = encode(LIST, "x", Timestamp::from_millis(u64::MAX));
    assert_eq!(decode(LIST, &last, time(MADE_AT)), None);
}

#[test]
fn a_changed_or_invented_cursor_is_refused() {
    let now = time(MADE_AT).plus(Duration::from_secs(1));
    let cursor = encode(LIST, "2026-11-22T12:00:00.000Z cart-1", time(MADE_AT));
    assert!(decode(LIST, &cursor, now).is_some());
    for index in 0..cursor.len() {
        let mut changed = cursor.clone().into_bytes();
        changed[index] = if changed[index] == b'A' { b'B' } else { b'A' };
        let changed = String::from_utf8(changed).unwrap();
        assert!(decode(LIST, &changed, now).is_none(), "{changed}");
        assert!(decode(LIST, &cursor[..index], now).is_none(), "{index}");
    }
    let long = "A".repeat(MAX_CURSOR_LENGTH + 1);
    for invented in ["", "A", "AAAA", "%", "null", &long] {
        assert!(decode(LIST, invented, now).is_none(), "{invented}");
    }
}

#[test]
fn the_longest_position_fits() {
    let position = format!("2026-11-22T12:00:00.000Z {} young", "x".repeat(128));
    assert!(encode(LIST, &position, time(MADE_AT)).len() <= MAX_CURSOR_LENGTH);
}
