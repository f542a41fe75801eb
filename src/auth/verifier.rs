//! Verifies the tokens of one kind.

use std::num::NonZero;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use lambda_http::http::HeaderMap;
use lru::LruCache;
use tokio::time::{Instant, timeout_at};

use super::claims::{Claims, Expected};
use super::keys::{Algorithm, Key, KeySet};
use super::remote::RemoteKeySet;
use super::token::{MAX_TOKEN_BYTES, Refusal, Times, UnverifiedToken};
use super::{AuthError, KeySource, TokenKind, TokenPolicy, credentials};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};

/// The most tokens of one kind in the cache. An entry takes some hundred bytes, at most
/// 8 KiB.
const MAX_CACHED: NonZero<usize> = NonZero::new(512).unwrap();

/// Verifies the tokens of one kind, whose content is a `T`.
#[derive(Debug)]
pub(super) struct Verifier<T> {
    kind: TokenKind,
    keys: Keys,
    expected: Expected,
    /// What the claims of all kinds must be.
    all: Arc<[Expected]>,
    /// The recently used tokens, so that a repeated token is not verified again: the
    /// SHA-256 digests of tokens, never tokens. Of these, everything but the times was
    /// verified with a certain key. Refused tokens are not stored, so only callers with
    /// tokens of the issuer can fill the cache.
    verified: Mutex<LruCache<[u8; 32], Arc<Verified<T>>>>,
}

/// A token that was verified with a key.
#[derive(Debug)]
pub(super) struct Verified<T> {
    pub(super) content: T,
    times: Times,
    kid: Option<String>,
    key: Arc<Key>,
}

#[derive(Debug)]
enum Keys {
    Inline(KeySet),
    Remote(Arc<RemoteKeySet>),
}

impl<T> Verifier<T> {
    pub(super) fn new(
        kind: TokenKind,
        policy: TokenPolicy,
        all: &Arc<[Expected]>,
        client: &Client,
        clock: &Clock,
    ) -> Self {
        let keys = match policy.keys {
            KeySource::Inline(keys) => {
                keys.log_skipped(kind.name());
                Keys::Inline(keys)
            }
            KeySource::Url(url) => {
                let keys = RemoteKeySet::new(kind, url, client.clone(), clock.clone());
                Keys::Remote(Arc::new(keys))
            }
        };
        Self {
            kind,
            keys,
            expected: policy.expected,
            all: Arc::clone(all),
            verified: Mutex::new(LruCache::new(MAX_CACHED)),
        }
    }

    pub(super) async fn load_keys(&self) {
        if let Keys::Remote(keys) = &self.keys {
            keys.load().await;
        }
    }

    /// Verifies the token of this kind; `None` if none was sent. `read` returns its
    /// content from its claims and the accepted audience.
    pub(super) async fn verify(
        &self,
        headers: &HeaderMap,
        read: impl FnOnce(&Claims<'_>, &str) -> Result<T, Refusal>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Arc<Verified<T>>>, AuthError> {
        let refused = |refusal| self.kind.refused(refusal);
        let Some(token) = credentials::sent(self.kind, headers).map_err(refused)? else {
            return Ok(None);
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(refused(Refusal::TOO_LONG));
        }
        let digest = digest(&SHA256, token.as_bytes());
        let digest = digest.as_ref().try_into().expect("SHA-256 has 32 bytes");
        let cached = self.cache().get(&digest).cloned();
        if let Some(verified) = cached {
            let (kid, alg) = (verified.kid.as_deref(), verified.key.algorithm);
            // Another key may have this id by now.
            let key = self.find_key(kid, alg, deadline).await?;
            if key.is_some_and(|key| Arc::ptr_eq(&key, &verified.key)) {
                verified.times.check(now).map_err(refused)?;
                return Ok(Some(verified));
            }
        }
        let token = UnverifiedToken::parse(token).map_err(refused)?;
        let key = self.find_key(token.kid.as_deref(), token.alg, deadline);
        let key = key.await?.ok_or_else(|| refused(Refusal::UNKNOWN_KEY))?;
        let verified = self.verify_with(key, token, read, now).map_err(refused)?;
        let verified = Arc::new(verified);
        self.cache().put(digest, Arc::clone(&verified));
        Ok(Some(verified))
    }

    fn verify_with(
        &self,
        key: Arc<Key>,
        token: UnverifiedToken<'_>,
        read: impl FnOnce(&Claims<'_>, &str) -> Result<T, Refusal>,
        now: Timestamp,
    ) -> Result<Verified<T>, Refusal> {
        let claims = token.verify(&key)?;
        let times = Times::read(&claims)?;
        times.check(now)?;
        let audience = self.expected.check(&claims)?;
        // A token that also meets the rules of another kind is refused.
        let kinds = self.all.iter().filter(|kind| kind.check(&claims).is_ok());
        if kinds.count() > 1 {
            return Err(Refusal::TWO_KINDS);
        }
        Ok(Verified {
            content: read(&claims, audience)?,
            times,
            kid: token.kid.clone(),
            key,
        })
    }

    /// Finds the key that a token names. Waits no longer than until `deadline`.
    async fn find_key(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        deadline: Instant,
    ) -> Result<Option<Arc<Key>>, AuthError> {
        match &self.keys {
            Keys::Inline(keys) => Ok(keys.find(kid, alg)),
            Keys::Remote(keys) => {
                let found = timeout_at(deadline, keys.find(kid, alg)).await;
                found.unwrap_or_else(|_| Err(keys.no_keys(None)))
            }
        }
    }

    fn cache(&self) -> MutexGuard<'_, LruCache<[u8; 32], Arc<Verified<T>>>> {
        // No panic can leave the cache inconsistent.
        self.verified.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
