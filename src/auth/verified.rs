//! A bounded cache of verified tokens, so that a repeated token is not verified
//! again.
//!
//! It stores digests, never tokens. An entry means that signature, issuer and
//! audience were verified with a certain key; the caller still checks that this
//! key is current, and the token's times. Refused tokens are not stored, so only
//! callers with tokens of the issuer can fill the cache.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};

/// The most tokens of one kind in the cache: two generations of half as many. An
/// entry takes some hundred bytes, at most 4 KiB.
const MAX_TOKENS: usize = 512;

/// Verified tokens by their digest, the recently used ones.
pub(super) struct VerifiedTokens<T>(Mutex<Generations<T>>);

/// When the younger generation is full, it replaces the older one. Entries that
/// are used move to the younger.
struct Generations<T> {
    young: HashMap<TokenDigest, Arc<T>>,
    old: HashMap<TokenDigest, Arc<T>>,
}

/// The SHA-256 digest of a token.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(super) struct TokenDigest([u8; 32]);

impl TokenDigest {
    pub(super) fn of(token: &str) -> Self {
        let digest = digest(&SHA256, token.as_bytes());
        Self(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl<T> VerifiedTokens<T> {
    /// Returns what was stored for a token.
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<Arc<T>> {
        self.with(|generations| {
            if let Some(token) = generations.young.get(digest) {
                return Some(Arc::clone(token));
            }
            let token = generations.old.remove(digest)?;
            generations.insert(digest.clone(), Arc::clone(&token));
            Some(token)
        })
    }

    /// Stores what is known of a verified token.
    pub(super) fn insert(&self, digest: TokenDigest, token: T) {
        self.with(|generations| generations.insert(digest, Arc::new(token)));
    }

    fn with<R>(&self, act: impl FnOnce(&mut Generations<T>) -> R) -> R {
        // No panic can leave the maps inconsistent.
        act(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<T> Generations<T> {
    fn insert(&mut self, digest: TokenDigest, token: Arc<T>) {
        if self.young.len() >= MAX_TOKENS / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, token);
    }
}

impl<T> Default for VerifiedTokens<T> {
    fn default() -> Self {
        Self(Mutex::new(Generations {
            young: HashMap::new(),
            old: HashMap::new(),
        }))
    }
}

impl<T> fmt::Debug for VerifiedTokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedTokens(_)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> TokenDigest {
        TokenDigest::of(&format!("header.{number}.signature"))
    }

    #[test]
    fn the_cache_is_bounded_and_keeps_tokens_in_use() {
        let tokens = VerifiedTokens::default();
        for number in 0..10 * MAX_TOKENS {
            tokens.insert(token(number), number);
            assert_eq!(tokens.get(&token(0)).as_deref(), Some(&0));
            let count = tokens.with(|generations| generations.young.len() + generations.old.len());
            assert!(count <= MAX_TOKENS, "{count}");
        }
    }

    #[test]
    fn a_token_that_is_not_used_is_evicted() {
        let tokens = VerifiedTokens::default();
        for number in 0..=MAX_TOKENS {
            tokens.insert(token(number), number);
        }
        assert_eq!(tokens.get(&token(0)), None);
        assert_eq!(tokens.get(&token(MAX_TOKENS)).as_deref(), Some(&MAX_TOKENS));
    }

    #[test]
    fn another_token_is_not_found() {
        let tokens = VerifiedTokens::default();
        tokens.insert(TokenDigest::of("header.claims.signature"), ());
        for other in ["header.claims.signaturE", "header.claims.signatur", ""] {
            assert_eq!(tokens.get(&TokenDigest::of(other)), None, "{other}");
        }
    }
}
