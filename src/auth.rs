//! Authentication: who calls, and which customers they may act for.
//!
//! A [`Grant`] can only be made here, from verified tokens: a function that takes
//! one cannot be called without.

mod keys;
mod remote;
mod token;
mod verified;

use std::sync::Arc;
use std::time::Duration;

use lambda_http::http::Uri;
use tokio::time::Instant;

use self::keys::{Algorithm, Key};
pub use self::keys::{KeyFault, KeySet, KeySetError, SkippedKey};
pub use self::remote::CONNECT_TIMEOUT as KEYS_CONNECT_TIMEOUT;
use self::remote::{NoKeys, RemoteKeySet};
use self::token::{Claims, UnverifiedToken};
pub use self::token::{Expected, MAX_LIFETIME, MAX_TOKEN_BYTES, TokenFault};
use self::verified::{TokenDigest, VerifiedTokens};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::ids::{CartId, CustomerId, Party, PartyKind};
use lambda_http::http::HeaderMap;
use std::borrow::Cow;

pub struct Credentials<'a> {
    pub access_token: Credential<'a>,
    pub customer_token: Credential<'a>,
    pub cart_token: Credential<'a>,
    pub cart_id: Option<&'a str>,
}
pub enum Credential<'a> {
    Absent,
    Malformed,
    Token(Cow<'a, str>),
}
pub use Grant as Caller;
pub struct CartProof(bool);
impl CartProof {
    pub fn permits(&self) -> Result<(), Forbidden> {
        if self.0 {
            Ok(())
        } else {
            Err(Forbidden::CartTokenRequired)
        }
    }
}
fn cred<'a>(headers: &'a HeaderMap, name: &str, bearer: bool) -> Credential<'a> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Credential::Absent,
        (Some(_), Some(_)) => Credential::Malformed,
        (Some(value), None) => {
            let value = std::str::from_utf8(value.as_bytes())
                .unwrap_or_default()
                .trim();
            let token = if bearer {
                value
                    .split_once(' ')
                    .filter(|(s, _)| s.trim_end_matches(':').eq_ignore_ascii_case("bearer"))
                    .map(|(_, t)| t.trim_start())
            } else {
                Some(value)
            };
            match token {
                Some(t) if !t.is_empty() => Credential::Token(t.into()),
                _ if bearer => Credential::Absent,
                _ => Credential::Malformed,
            }
        }
    }
}
impl Authenticator {
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Grant, AuthError> {
        self.authenticate_old(
            &Credentials {
                access_token: cred(headers, "authorization", true),
                customer_token: cred(headers, "x-moltin-customer-token", false),
                cart_token: Credential::Absent,
                cart_id: None,
            },
            now,
            deadline,
        )
        .await
    }
    pub async fn prove_cart(
        &self,
        caller: &Grant,
        headers: &HeaderMap,
        cart: &str,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<CartProof, AuthError> {
        if !matches!(caller.scope, Scope::Customer { .. }) {
            return Ok(CartProof(true));
        }
        let credentials = Credentials {
            access_token: Credential::Absent,
            customer_token: Credential::Absent,
            cart_token: cred(headers, "x-cart-token", false),
            cart_id: Some(cart),
        };
        Ok(match self.held_carts(&credentials, now, deadline).await? {
            HeldCarts::None => CartProof(false),
            _ => CartProof(true),
        })
    }
}
impl Grant {
    pub fn party(&self) -> Result<&Party, Forbidden> {
        match &self.scope {
            Scope::Customer { party, .. } => Ok(party),
            _ => Err(Forbidden::CustomerTokenRequired),
        }
    }
    pub fn only_party(&self, _: PartyKind) -> Result<Option<&Party>, Forbidden> {
        match &self.scope {
            Scope::EveryCustomer => Ok(None),
            Scope::Customer { party, .. } => Ok(Some(party)),
            Scope::Nobody => Err(Forbidden::CustomerTokenRequired),
        }
    }
    pub fn permit(&self, parties: &[Party]) -> Result<(), Forbidden> {
        match &self.scope {
            Scope::EveryCustomer => Ok(()),
            Scope::Nobody => Err(Forbidden::CustomerTokenRequired),
            Scope::Customer { party, .. } if parties.iter().all(|p| p == party) => Ok(()),
            Scope::Customer { .. } => Err(Forbidden::OtherCustomer),
        }
    }
    pub fn permit_carts_of(&self, party: &Party) -> Result<(), Forbidden> {
        if self
            .only_party(party.kind())?
            .is_some_and(|own| own != party)
        {
            return Err(Forbidden::OtherCustomersCarts);
        }
        Ok(())
    }
    pub fn permit_clearing(&self) -> Result<(), Forbidden> {
        if matches!(self.scope, Scope::EveryCustomer) {
            Ok(())
        } else {
            Err(Forbidden::BackEndRequired)
        }
    }
}

/// How one kind of token is verified.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// The keys that sign it.
    pub keys: KeySource,
    /// Its issuer and audience.
    pub expected: Expected,
}

/// Where a key set comes from.
#[derive(Debug, Clone)]
pub enum KeySource {
    /// The configuration itself.
    Inline(KeySet),
    /// The URL at which the issuer publishes it.
    Url(Uri),
}

/// Verifies the tokens of a request and says what they permit.
#[derive(Debug)]
pub struct Authenticator {
    access_tokens: Verifier,
    customer_tokens: Verifier,
    cart_tokens: Option<Verifier>,
}

/// Verifies one kind of token.
#[derive(Debug)]
struct Verifier {
    kind: TokenKind,
    keys: Keys,
    expected: Expected,
    /// The claim that names the grant, for tokens that have one.
    grant_claim: Option<String>,
    verified: VerifiedTokens<VerifiedToken>,
}

struct VerifiedToken {
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

/// The kinds of tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The OAuth 2.0 access token of the calling client.
    Access,
    /// The token of the customer that the client acts for.
    Customer,
    /// The proof that the caller holds a cart.
    Cart,
}

/// Why a caller is not authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthError {
    /// No access token was sent.
    NoAccessToken,
    /// A token was sent and is refused.
    InvalidToken {
        /// Its kind.
        kind: TokenKind,
        /// The reason, for the log only.
        fault: TokenFault,
    },
    /// The key set of a kind of token is not available, so that no token of that
    /// kind can be verified.
    NoKeys {
        /// The kind of token.
        kind: TokenKind,
        /// When a retry may succeed.
        retry_after: Duration,
    },
}

/// Why an authenticated caller may not do what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The access token's grant is not client_credentials, so it permits nothing
    /// without a customer token.
    CustomerTokenRequired,
    /// Cart tokens are configured, and a customer's request to associate a cart has
    /// none.
    CartTokenRequired,
    /// The body names a customer other than the token's.
    OtherCustomer,
    /// The path names a customer other than the token's.
    OtherCustomersCarts,
    /// The customer asks for a cart that they are not associated with.
    NotOnCart,
    /// Only client_credentials without a customer token permits it.
    BackEndRequired,
}

/// What the verified tokens of a request permit.
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
    Customer { party: Party, carts: HeldCarts },
    /// Another grant, without a customer token.
    Nobody,
}

/// The carts that a customer may be associated with.
#[derive(Debug)]
enum HeldCarts {
    /// Cart tokens are not configured: knowing a cart's id is enough.
    Any,
    /// The cart of the cart token.
    One(String),
    /// No cart token was sent.
    None,
}

impl Authenticator {
    /// Creates an authenticator. Without a policy for cart tokens, none is needed
    /// and none is read. `grant_claim` is the claim of access tokens that names the
    /// grant; `http` fetches key sets from URLs.
    pub fn new(
        access_tokens: TokenPolicy,
        customer_tokens: TokenPolicy,
        cart_tokens: Option<TokenPolicy>,
        grant_claim: String,
        http: &Client,
        clock: &Clock,
    ) -> Self {
        let verifier =
            |kind, policy, grant_claim| Verifier::new(kind, policy, grant_claim, http, clock);
        Self {
            access_tokens: verifier(TokenKind::Access, access_tokens, Some(grant_claim)),
            customer_tokens: verifier(TokenKind::Customer, customer_tokens, None),
            cart_tokens: cart_tokens.map(|policy| verifier(TokenKind::Cart, policy, None)),
        }
    }

    /// Fetches the key sets that have a URL, all at once. A failure is logged, and
    /// requests retry.
    pub async fn load_keys(&self) {
        tokio::join!(
            self.access_tokens.load_keys(),
            self.customer_tokens.load_keys(),
            async {
                if let Some(cart_tokens) = &self.cart_tokens {
                    cart_tokens.load_keys().await;
                }
            }
        );
    }

    /// Verifies the tokens of a request: the access token, then the customer token,
    /// then, beside a customer token, the cart token. A token that is not valid is
    /// an error, never the same as none. Waits for key sets no longer than until
    /// `deadline`.
    ///
    /// # Errors
    ///
    /// [`AuthError`]
    pub async fn authenticate_old(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Grant, AuthError> {
        let access = self
            .access_tokens
            .verify(&credentials.access_token, now, deadline)
            .await?
            .ok_or(AuthError::NoAccessToken)?;
        let customer = self
            .customer_tokens
            .verify(&credentials.customer_token, now, deadline)
            .await?;

        let scope = match customer {
            Some(claims) => Scope::Customer {
                party: Party::new(PartyKind::Customer, &claims.subject)
                    .map_err(|_| self.customer_tokens.refused(TokenFault::Subject))?,
                carts: self.held_carts(credentials, now, deadline).await?,
            },
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

    /// Verifies the cart token of a request. One for another cart is refused here,
    /// like a forged one, so that no answer tells the two apart.
    async fn held_carts(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<HeldCarts, AuthError> {
        let Some(cart_tokens) = &self.cart_tokens else {
            return Ok(HeldCarts::Any);
        };
        let claims = cart_tokens
            .verify(&credentials.cart_token, now, deadline)
            .await?;
        match claims {
            None => Ok(HeldCarts::None),
            Some(claims) if Some(&*claims.subject) == credentials.cart_id => {
                Ok(HeldCarts::One(claims.subject.clone()))
            }
            Some(_) => Err(cart_tokens.refused(TokenFault::Subject)),
        }
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
                keys.log_skipped(kind.name());
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
            verified: VerifiedTokens::default(),
        }
    }

    async fn load_keys(&self) {
        if let Keys::Remote(keys) = &self.keys {
            keys.load().await;
        }
    }

    /// Verifies a token and returns its claims; `None` if none was sent.
    async fn verify(
        &self,
        credential: &Credential<'_>,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Arc<Claims>>, AuthError> {
        let token = match credential {
            Credential::Absent => return Ok(None),
            Credential::Malformed => return Err(self.refused(TokenFault::NotOneToken)),
            Credential::Token(token) => token,
        };
        if token.len() > MAX_TOKEN_BYTES {
            return Err(self.refused(TokenFault::TooLong));
        }
        let digest = TokenDigest::of(token);
        if let Some(verified) = self.verified.get(&digest)
            && self.is_key_current(&verified, deadline).await?
        {
            verified
                .claims
                .check_times(now)
                .map_err(|fault| self.refused(fault))?;
            return Ok(Some(Arc::clone(&verified.claims)));
        }
        let token = UnverifiedToken::parse(token).map_err(|fault| self.refused(fault))?;
        let key = self
            .find_key(token.kid(), token.alg(), deadline)
            .await?
            .ok_or_else(|| self.refused(TokenFault::UnknownKey))?;
        let claims = token
            .verify(&key, &self.expected, self.grant_claim.as_deref(), now)
            .map_err(|fault| self.refused(fault))?;
        let claims = Arc::new(claims);
        let verified = VerifiedToken {
            kid: token.kid().map(str::to_owned),
            key,
            claims: Arc::clone(&claims),
        };
        self.verified.insert(digest, verified);
        Ok(Some(claims))
    }

    /// Returns whether the key that verified a token is still the one that the
    /// token names.
    async fn is_key_current(
        &self,
        token: &VerifiedToken,
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
            Self::Cart => "cart",
        }
    }
}

impl Grant {
    /// The calling client: the access token's `sub`.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The grant's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match self.scope {
            Scope::EveryCustomer => "back_end",
            Scope::Customer { .. } => "customer",
            Scope::Nobody => "nobody",
        }
    }
}
