//! Verifies the tokens of one kind.

use std::sync::Arc;

use tokio::time::Instant;

use super::claims::{Claims, Expected};
use super::credentials::Credential;
use super::keys::{Algorithm, Key, KeySet};
use super::remote::{NoKeys, RemoteKeySet};
use super::token::{MAX_TOKEN_BYTES, Reason, Refusal, Times, UnverifiedToken};
use super::verified::VerifiedTokens;
use super::{AuthError, KeySource, TokenKind, TokenPolicy};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};

/// Verifies the tokens of one kind, whose content is a `T`.
#[derive(Debug)]
pub(super) struct Verifier<T> {
    kind: TokenKind,
    keys: Keys,
    expected: Expected,
    /// What the claims of the other kinds must be.
    others: Vec<Expected>,
    verified: VerifiedTokens<Verified<T>>,
}

/// A token that was verified with a key.
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
        others: Vec<Expected>,
        client: &Client,
        clock: &Clock,
    ) -> Self {
        let keys = match policy.keys {
            KeySource::Inline(keys) => {
                keys.log_skipped(kind.name());
                Keys::Inline(keys)
            }
            KeySource::Url(url) => Keys::Remote(Arc::new(RemoteKeySet::new(
                kind.name(),
                url,
                client.clone(),
                clock.clone(),
            ))),
        };
        Self {
            kind,
            keys,
            expected: policy.expected,
            others,
            verified: VerifiedTokens::default(),
        }
    }

    pub(super) async fn load_keys(&self) {
        if let Keys::Remote(keys) = &self.keys {
            keys.load().await;
        }
    }

    /// Verifies a token; `None` if none was sent. `read` returns its content from its
    /// claims and the accepted audience.
    pub(super) async fn verify(
        &self,
        credential: Credential<'_>,
        read: impl FnOnce(&Claims<'_>, &str) -> Result<T, Refusal>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Arc<Verified<T>>>, AuthError> {
        let token = match credential {
            Credential::Absent => return Ok(None),
            Credential::Malformed => return Err(self.refused(Reason::NotOneToken)),
            Credential::Token(token) => token,
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(self.refused(Reason::TooLong));
        }
        let digest = VerifiedTokens::<Verified<T>>::digest(token);
        if let Some(verified) = self.verified.get(&digest)
            && self.is_key_current(&verified, deadline).await?
        {
            let times = verified.times.check(now);
            times.map_err(|refusal| self.refused(refusal))?;
            return Ok(Some(verified));
        }
        let token = UnverifiedToken::parse(token).map_err(|refusal| self.refused(refusal))?;
        let key = self
            .find_key(token.kid(), token.alg(), deadline)
            .await?
            .ok_or_else(|| self.refused(Reason::UnknownKey))?;
        let verified = self
            .verify_with(key, &token, read, now)
            .map_err(|refusal| self.refused(refusal))?;
        let verified = Arc::new(verified);
        self.verified.insert(digest, Arc::clone(&verified));
        Ok(Some(verified))
    }

    fn verify_with(
        &self,
        key: Arc<Key>,
        token: &UnverifiedToken<'_>,
        read: impl FnOnce(&Claims<'_>, &str) -> Result<T, Refusal>,
        now: Timestamp,
    ) -> Result<Verified<T>, Refusal> {
        let claims = token.verify(&key)?;
        let times = Times::read(&claims)?;
        times.check(now)?;
        let audience = self.expected.check(&claims)?;
        if self.others.iter().any(|other| other.check(&claims).is_ok()) {
            return Err(Reason::TwoKinds.into());
        }
        Ok(Verified {
            content: read(&claims, audience)?,
            times,
            kid: token.kid().map(str::to_owned),
            key,
        })
    }

    /// Returns whether the key that verified a token is still the one that the token
    /// names.
    async fn is_key_current(
        &self,
        token: &Verified<T>,
        deadline: Instant,
    ) -> Result<bool, AuthError> {
        let key = self
            .find_key(token.kid.as_deref(), token.key.algorithm, deadline)
            .await?;
        Ok(key.is_some_and(|key| Arc::ptr_eq(&key, &token.key)))
    }

    async fn find_key(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
        deadline: Instant,
    ) -> Result<Option<Arc<Key>>, AuthError> {
        match &self.keys {
            Keys::Inline(keys) => Ok(keys.find(kid, alg).key()),
            Keys::Remote(keys) => {
                let key = keys.find(kid, alg, deadline).await;
                key.map_err(|NoKeys { retry_after }| AuthError::NoKeys {
                    kind: self.kind,
                    retry_after,
                })
            }
        }
    }

    fn refused(&self, refusal: impl Into<Refusal>) -> AuthError {
        AuthError::InvalidToken {
            kind: self.kind,
            refusal: refusal.into(),
        }
    }
}
