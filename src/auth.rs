//! Who a caller is and for whom they may act. Never HTTP.
//!
//! A [`Grant`] can be made only here, out of tokens that were verified, so a
//! function that takes one cannot be called without.

mod keys;
mod token;

use crate::clock::Timestamp;
use crate::ids::CustomerId;
use crate::request::{Credentials, Presented};

pub use self::keys::{KeyFault, KeySet, KeySetError, SkippedKey};
use self::token::{Claims, UnverifiedToken};
pub use self::token::{Expected, LEEWAY, LONGEST_LIFETIME, MAX_TOKEN_BYTES, TokenFault};

/// What one kind of token is checked against.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    /// The keys that may have signed it.
    pub keys: KeySet,
    /// Who must have issued it and for whom.
    pub expected: Expected,
}

/// Checks tokens and says what they permit.
#[derive(Debug)]
pub struct Authenticator {
    access_tokens: TokenPolicy,
    customer_tokens: TokenPolicy,
    grant_claim: String,
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
}

/// Why a caller may not do what they ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Forbidden {
    /// The access token is not of the client_credentials grant, so it permits
    /// nothing without a customer token.
    CustomerTokenRequired,
    /// The request names a customer other than the token's.
    OtherCustomer,
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
    /// `grant_claim` is the claim of an access token that names its grant.
    pub fn new(
        access_tokens: TokenPolicy,
        customer_tokens: TokenPolicy,
        grant_claim: String,
    ) -> Self {
        Self {
            access_tokens,
            customer_tokens,
            grant_claim,
        }
    }

    /// Verifies what was presented. A customer token that is presented must be
    /// right: it is never treated as absent.
    ///
    /// # Errors
    ///
    /// [`AuthError`], about the access token first.
    pub fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        now: Timestamp,
    ) -> Result<Grant, AuthError> {
        let access = self
            .access_tokens
            .verify(&credentials.access_token, now)
            .map_err(|fault| invalid(TokenKind::Access, fault))?
            .ok_or(AuthError::NoAccessToken)?;
        let customer = self
            .customer_tokens
            .verify(&credentials.customer_token, now)
            .map_err(|fault| invalid(TokenKind::Customer, fault))?;

        let scope = match customer {
            Some(claims) => Scope::Customer(
                claims
                    .subject
                    .parse()
                    .map_err(|_| invalid(TokenKind::Customer, TokenFault::Subject))?,
            ),
            None if self.is_client_credentials(&access) => Scope::EveryCustomer,
            None => Scope::Nobody,
        };
        Ok(Grant {
            client: access.subject,
            scope,
        })
    }

    fn is_client_credentials(&self, access: &Claims) -> bool {
        matches!(
            access.text(&self.grant_claim),
            Some("client_credentials" | "client-credentials")
        )
    }
}

impl TokenPolicy {
    fn verify(
        &self,
        presented: &Presented<'_>,
        now: Timestamp,
    ) -> Result<Option<Claims>, TokenFault> {
        match presented {
            Presented::Absent => Ok(None),
            Presented::Malformed => Err(TokenFault::NotOneToken),
            Presented::Token(token) => UnverifiedToken::parse(token)?
                .verify(&self.keys, &self.expected, now)
                .map(Some),
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

fn invalid(kind: TokenKind, fault: TokenFault) -> AuthError {
    AuthError::InvalidToken { kind, fault }
}
