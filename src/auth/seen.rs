//! Tokens that were verified, so that one that comes again is not verified
//! again.
//!
//! What is kept is a digest, never the token. That it is kept says that its
//! signature, issuer and audience are right, by one key: whoever looks it up
//! still asks whether that key is good and the token's time has come and is not
//! over. One whose signature is refused is not kept, so nobody without
//! tokens of the issuer can fill this.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

/// How many tokens of one kind are kept at the most: two generations of half as
/// many. What is kept of one takes some hundred bytes, and 4 KiB at the most, beside
/// the key that verified it, which others share.
const MAX_SEEN: usize = 512;

/// What is known of the tokens that were verified last.
pub(super) struct Seen<T>(Mutex<Generations<T>>);

/// Whatever was not asked for while the younger generation filled up is gone
/// when it is full, and is the older one.
struct Generations<T> {
    young: HashMap<TokenDigest, Arc<T>>,
    old: HashMap<TokenDigest, Arc<T>>,
}

/// SHA-256 of a token: no other token has the same.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl<T> Seen<T> {
    /// What is known of the token of this digest.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<T>> {
        self.with(|generations| {
            if let Some(known) = generations.young.get(digest) {
                return Some(Arc::clone(known));
            }
            let known = generations.old.remove(digest)?;
            generations.keep(digest.clone(), Arc::clone(&known));
            Some(known)
        })
    }

    /// Keeps what is known of a token that was just verified.
    pub(super) fn keep(&self, digest: TokenDigest, known: T) {
        self.with(|generations| generations.keep(digest, Arc::new(known)));
    }

    fn with<R>(&self, act: impl FnOnce(&mut Generations<T>) -> R) -> R {
        // Nothing that is done with it in hand can leave it half done.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Generations<T> {
    fn keep(&mut self, digest: TokenDigest, known: Arc<T>) {
        if self.young.len() >= MAX_SEEN / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, known);
    }
}

impl<T> Default for Seen<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        }))
    }
}

impl<T> fmt::Debug for Seen<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seen(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> TokenDigest {
        TokenDigest::of(&format!("header.{number}.signature"))
    }

    #[test]
    fn what_is_kept_is_bounded_and_what_comes_often_stays() {
        let seen = Seen::default();
        for number in 0..10 * MAX_SEEN {
            seen.keep(token(number), number);
            assert_eq!(seen.get(&token(0)).as_deref(), Some(&0));
            let kept = seen.with(|generations| generations.young.len() + generations.old.len());
            assert!(kept <= MAX_SEEN, "{kept}");
        }
    }

    #[test]
    fn what_did_not_come_for_long_goes() {
        let seen = Seen::default();
        for number in 0..=MAX_SEEN {
            seen.keep(token(number), number);
        }
        assert_eq!(seen.get(&token(0)), None);
        assert_eq!(seen.get(&token(MAX_SEEN)).as_deref(), Some(&MAX_SEEN));
    }

    #[test]
    fn another_token_is_not_known() {
        let seen = Seen::default();
        seen.keep(TokenDigest::of("header.claims.signature"), ());
        for other in ["header.claims.signaturE", "header.claims.signatur", ""] {
            assert_eq!(seen.get(&TokenDigest::of(other)), None, "{other}");
        }
    }
}
