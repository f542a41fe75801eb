//! A bounded cache of verified tokens, so that a repeated token is not verified
//! again.
//!
//! It stores digests, never tokens. An entry means that everything but the times was
//! verified with a certain key; the caller still checks that this key is current, and
//! the times. Refused tokens are not stored, so only callers with tokens of the issuer
//! can fill the cache.

use std::fmt;
use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use lru::LruCache;

/// The most tokens of one kind in the cache. An entry takes some hundred bytes, at most
/// 8 KiB.
const MAX_TOKENS: NonZero<usize> = NonZero::new(512).unwrap();

/// The recently used tokens, by their SHA-256 digests.
pub(super) struct VerifiedTokens<T>(Mutex<LruCache<[u8; 32], Arc<T>>>);

impl<T> VerifiedTokens<T> {
    pub(super) fn digest(token: &str) -> [u8; 32] {
        let digest = digest(&SHA256, token.as_bytes());
        digest.as_ref().try_into().expect("SHA-256 has 32 bytes")
    }

    /// Returns what was stored for a token.
    pub(super) fn get(&self, digest: &[u8; 32]) -> Option<Arc<T>> {
        self.lock().get(digest).cloned()
    }

    /// Stores what is known of a verified token.
    pub(super) fn insert(&self, digest: [u8; 32], token: Arc<T>) {
        self.lock().put(digest, token);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<[u8; 32], Arc<T>>> {
        // No panic can leave the cache inconsistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Default for VerifiedTokens<T> {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(MAX_TOKENS)))
    }
}

impl<T> fmt::Debug for VerifiedTokens<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VerifiedTokens(_)")
    }
}
