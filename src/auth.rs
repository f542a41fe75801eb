//! Who a caller is and for whom they may act. Never HTTP.
//!
//! A [`Grant`] can be made only here, out of tokens that were verified, so a
//! function that takes one cannot be called without.

mod keys;
mod remote;
mod seen;
mod token;

use std::sync::Arc;
use std::time::Duration;

use lambda_http::http::Uri;

use crate::clock::{Clock, Timestamp};
use crate::http::Client;
use crate::ids::CustomerId;
use crate::request::{Credentials, Presented};
use crate::telemetry;

use self::keys::{Algorithm, Found, Key};
pub use self::keys::{KeyFault, KeySet, KeySetError, SkippedKey};
pub use self::remote::CONNECT_TIMEOUT as KEYS_CONNECT_TIMEOUT;
use self::remote::{NoKeys, RemoteKeySet};
use self::seen::{Seen, TokenDigest};
use self::token::{Claims, UnverifiedToken};
pub use self::token::{Expected, LEEWAY, LONGEST_LIFETIME, MAX_TOKEN_BYTES, TokenFault};

/// What one kind of token is checked against.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// The keys that may have signed it.
    pub keys: KeySource,
    /// Who must have issued it and for whom.
    pub expected: Expected,
}

/// Where keys come from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The configuration itself.
    Inline(KeySet),
    /// Their issuer publishes them at this URL.
    Url(Uri),
}

/// Checks tokens and says what they permit.
#[derive(Debug)]
pub struct Authenticator {
    access_tokens: Verifier,
    customer_tokens: Verifier,
}

/// Checks one kind of token.
#[derive(Debug)]
struct Verifier {
    kind: TokenKind,
    keys: Keys,
    expected: Expected,
    /// The claim that names the grant, in tokens that have one.
    grant_claim: Option<String>,
    seen: Seen<SeenToken>,
}

/// A token that was verified.
struct SeenToken {
    /// The key that it names, if it names one.
    kid: Option<String>,
    /// The key that verified it.
    key: Arc<Key>,
    claims: Arc<Claims>,
}

#[derive(Debug)]
enum Keys {
    Inline(KeySet),
    Remote(Arc<RemoteKeySet>),
}

/// Which token is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The OAuth 2.0 access token of the calling client.
    Access,
    /// The customer token of the shopper that the client acts for.
    Customer,
}

/// Why a caller is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No access token was sent.
    NoAccessToken,
    /// A token was sent, and it is refused.
    InvalidToken {
        /// Which of the two.
        kind: TokenKind,
        /// Why, for the log alone.
        fault: TokenFault,
    },
    /// The keys of a kind of token cannot be had, so that no token of that kind
    /// can be told right or wrong.
    NoKeys {
        /// Which of the two.
        kind: TokenKind,
        /// When it is worth another try.
        retry_after: Duration,
    },
}

/// Why a caller may not do what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The access token is not of the client_credentials grant, so it permits
    /// nothing without a customer token.
    CustomerTokenRequired,
    /// The request names a customer other than the token's.
    OtherCustomer,
    /// The carts of a customer other than the token's are asked for.
    OtherCustomersCarts,
    /// The customer is not on the cart, of which nothing is told to them.
    NotOnCart,
}

/// What verified tokens permit.
#[derive(Debug)]
pub struct Grant {
    client: String,
    scope: Scope,
}

#[derive(Debug)]
enum Scope {
    /// client_credentials without a customer token.
    EveryCustomer,
    /// A customer token, whatever the grant.
    Customer(CustomerId),
    /// Another grant without a customer token.
    Nobody,
}

impl Authenticator {
    /// `grant_claim` is the claim of an access token that names its grant;
    /// `http` gets the key sets that are published at a URL.
    pub fn new(
        access_tokens: TokenPolicy,
        customer_tokens: TokenPolicy,
        grant_claim: String,
        http: &Client,
        clock: &Clock,
    ) -> Self {
        let verifier =
            |kind, policy, grant_claim| Verifier::new(kind, policy, grant_claim, http, clock);
        Self {
            access_tokens: verifier(TokenKind::Access, access_tokens, Some(grant_claim)),
            customer_tokens: verifier(TokenKind::Customer, customer_tokens, None),
        }
    }

    /// Gets the key sets that are published at a URL, both at once. Where one
    /// cannot be had, that is logged, and the requests try again.
    pub async fn load_keys(&self) {
        tokio::join!(
            self.access_tokens.load_keys(),
            self.customer_tokens.load_keys()
        );
    }

    /// Verifies what was presented. A customer token that is presented must be
    /// right: it is never treated as absent.
    ///
    /// # Errors
    ///
    /// [`AuthError`], about the access token first.
    pub async fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
    ) -> Result<Grant, AuthError> {
        let access = self
            .access_tokens
            .verify(&credentials.access_token, now)
            .await?;
        let access = access.ok_or(AuthError::NoAccessToken)?;
        let customer = self
            .customer_tokens
            .verify(&credentials.customer_token, now)
            .await?;

        let scope = match customer {
            Some(claims) => Scope::Customer(
                claims
                    .subject
                    .parse()
                    .map_err(|_| self.customer_tokens.refused(TokenFault::Subject))?,
            ),
            None => match access.grant.as_deref() {
                Some("client_credentials" | "client-credentials") => Scope::EveryCustomer,
                Some(_) | None => Scope::Nobody,
            },
        };
        Ok(Grant {
            client: access.subject.clone(),
            scope,
        })
    }
}

impl Verifier {
    fn new(
        kind: TokenKind,
        policy: TokenPolicy,
        grant_claim: Option<String>,
        http: &Client,
        clock: &Clock,
    ) -> Self {
        let keys = match policy.keys {
            KeySource::Inline(keys) => {
                telemetry::keys_skipped(kind.name(), keys.skipped());
                Keys::Inline(keys)
            }
            KeySource::Url(url) => Keys::Remote(Arc::new(RemoteKeySet::new(
                kind.name(),
                url,
                http.clone(),
                clock.clone(),
            ))),
        };
        Self {
            kind,
            keys,
            expected: policy.expected,
            grant_claim,
            seen: Seen::default(),
        }
    }

    async fn load_keys(&self) {
        if let Keys::Remote(keys) = &self.keys {
            keys.load().await;
        }
    }

    /// The claims of a token that was presented, if one was.
    async fn verify(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<Arc<Claims>>, AuthError> {
        let token = match presented {
            Presented::Absent => return Ok(None),
            Presented::Malformed => return Err(self.refused(TokenFault::NotOneToken)),
            Presented::Token(token) => token,
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(self.refused(TokenFault::TooLong));
        }
        let digest = TokenDigest::of(token);
        if let Some(seen) = self.seen.get(&digest)
            && self.is_still_good(&seen).await?
        {
            seen.claims
                .check_times(now)
                .map_err(|fault| self.refused(fault))?;
            return Ok(Some(Arc::clone(&seen.claims)));
        }
        let token = UnverifiedToken::parse(token).map_err(|fault| self.refused(fault))?;
        let key = self
            .find_key(token.kid(), token.alg())
            .await?
            .ok_or_else(|| self.refused(TokenFault::UnknownKey))?;
        let claims = token
            .verify(&key, &self.expected, self.grant_claim.as_deref(), now)
            .map_err(|fault| self.refused(fault))?;
        let claims = Arc::new(claims);
        let seen = SeenToken {
            kid: token.kid().map(str::to_owned),
            key,
            claims: Arc::clone(&claims),
        };
        self.seen.keep(digest, seen);
        Ok(Some(claims))
    }

    /// Whether the key that verified a token is still the one that it names.
    async fn is_still_good(&self, seen: &SeenToken) -> Result<bool, AuthError> {
        let key = self
            .find_key(seen.kid.as_deref(), seen.key.algorithm)
            .await?;
        Ok(key.is_some_and(|key| Arc::ptr_eq(&key, &seen.key)))
    }

    async fn find_key(
        &self,
        kid: Option<&str>,
        alg: Algorithm,
    ) -> Result<Option<Arc<Key>>, AuthError> {
        match &self.keys {
            Keys::Inline(keys) => Ok(match keys.find(kid, alg) {
                Found::Key(key) => Some(key),
                Found::OtherAlgorithm | Found::Nothing => None,
            }),
            Keys::Remote(keys) => {
                keys.find(kid, alg)
                    .await
                    .map_err(|NoKeys { retry_after }| AuthError::NoKeys {
                        kind: self.kind,
                        retry_after,
                    })
            }
        }
    }

    fn refused(&self, fault: TokenFault) -> AuthError {
        AuthError::InvalidToken {
            kind: self.kind,
            fault,
        }
    }
}

impl TokenKind {
    /// The kind's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Customer => "customer",
        }
    }
}

impl Grant {
    /// The client that calls: the access token's `sub`.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The grant's name in logs and metrics: one of few.
    pub fn name(&self) -> &'static str {
        match self.scope {
            Scope::EveryCustomer => "client_credentials",
            Scope::Customer(_) => "customer",
            Scope::Nobody => "none",
        }
    }

    /// The customer whose token was sent.
    ///
    /// # Errors
    ///
    /// [`Forbidden::CustomerTokenRequired`], if none was.
    pub fn customer(&self) -> Result<&CustomerId, Forbidden> {
        match &self.scope {
            Scope::Customer(customer) => Ok(customer),
            Scope::EveryCustomer | Scope::Nobody => Err(Forbidden::CustomerTokenRequired),
        }
    }

    /// The one customer for whom the caller may act; `None` for one who may act
    /// for every customer.
    ///
    /// # Errors
    ///
    /// [`Forbidden::CustomerTokenRequired`], for one who may act for nobody.
    pub fn only_customer(&self) -> Result<Option<&CustomerId>, Forbidden> {
        match &self.scope {
            Scope::EveryCustomer => Ok(None),
            Scope::Customer(customer) => Ok(Some(customer)),
            Scope::Nobody => Err(Forbidden::CustomerTokenRequired),
        }
    }

    /// Whether the caller may act for all of these customers.
    ///
    /// # Errors
    ///
    /// [`Forbidden`], if there is one for whom they may not.
    pub fn permit(&self, customers: &[CustomerId]) -> Result<(), Forbidden> {
        match &self.scope {
            Scope::EveryCustomer => Ok(()),
            Scope::Nobody => Err(Forbidden::CustomerTokenRequired),
            Scope::Customer(own) if customers.iter().all(|customer| customer == own) => Ok(()),
            Scope::Customer(_) => Err(Forbidden::OtherCustomer),
        }
    }
}
