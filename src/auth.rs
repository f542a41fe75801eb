//! Authentication: who calls, and for which customers and accounts they may act.

mod caller;
mod claims;
mod credentials;
mod keys;
mod remote;
mod token;
mod verifier;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use lambda_http::http::{HeaderMap, Uri};
use tokio::time::Instant;

use self::caller::ActsFor;
pub use self::caller::{Caller, CartProof, Forbidden};
pub use self::claims::{BackEnds, Expected, RequiredClaims};
use self::claims::{Claims, non_empty};
pub use self::keys::KeySet;
pub use self::remote::CONNECT_TIMEOUT as KEYS_CONNECT_TIMEOUT;
pub use self::token::{MAX_LIFETIME, MAX_TOKEN_BYTES, Refusal};
use self::verifier::{Verified, Verifier};
use crate::client::Client;
use crate::clock::{Clock, Timestamp};
use crate::ids::{Party, PartyKind};

/// How the tokens of all kinds are verified, and what they mean.
#[derive(Debug, Clone)]
pub struct TokenPolicies {
    pub access: TokenPolicy,
    /// Customer tokens. Without, the access token names the customer.
    pub customer: Option<TokenPolicy>,
    pub account: Option<TokenPolicy>,
    /// Cart tokens. Without, knowing a cart's id is enough.
    pub cart: Option<TokenPolicy>,
    pub back_ends: BackEnds,
    pub customer_id_claim: String,
    pub account_id_claim: String,
}

/// How one kind of token is verified.
#[derive(Debug, Clone)]
pub struct TokenPolicy {
    pub keys: KeySource,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenKind {
    /// The OAuth 2.0 access token of the calling client.
    Access,
    /// The token of the customer or account for which the client acts.
    Party(PartyKind),
    /// The proof that the caller holds a cart.
    Cart,
}

impl TokenKind {
    /// The kind's name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Party(kind) => kind.as_str(),
            Self::Cart => "cart",
        }
    }

    pub fn header(self) -> &'static str {
        match self {
            Self::Access => "Authorization",
            Self::Party(PartyKind::Customer) => "x-moltin-customer-token",
            Self::Party(PartyKind::Account) => "EP-Account-Management-Authentication-Token",
            Self::Cart => "x-cart-token",
        }
    }

    fn refused(self, refusal: Refusal) -> AuthError {
        AuthError::InvalidToken {
            kind: self,
            refusal,
        }
    }

    /// Refuses a token of a kind that is not configured: what it would narrow or prove
    /// cannot be checked.
    fn not_configured(self, headers: &HeaderMap) -> Result<(), AuthError> {
        match credentials::sent(self, headers) {
            Ok(None) => Ok(()),
            Ok(Some(_)) | Err(_) => Err(self.refused(Refusal::NOT_CONFIGURED)),
        }
    }
}

/// Why a caller is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuthError {
    NoAccessToken,
    /// A token was sent and is refused.
    InvalidToken {
        kind: TokenKind,
        refusal: Refusal,
    },
    /// A customer token and an account token were sent, both valid: a request acts for
    /// one party.
    SeveralParties,
    /// The key set of a kind of token is not available, so that no token of that
    /// kind can be verified.
    NoKeys {
        kind: TokenKind,
        retry_after: Duration,
    },
}

/// Verifies the tokens of a request and says what they permit.
#[derive(Debug)]
pub struct Authenticator {
    access_tokens: Verifier<AccessToken>,
    back_ends: BackEnds,
    customers: PartyTokens,
    accounts: PartyTokens,
    cart_tokens: Option<Verifier<String>>,
}

/// What a verified access token says.
#[derive(Debug)]
struct AccessToken {
    client: String,
    /// The accepted audience, which names the client where that has its customer's id.
    audience: String,
    /// For whom the client may act without another token.
    acts_for: ActsFor,
}

/// The tokens of customers or of accounts.
#[derive(Debug)]
struct PartyTokens {
    kind: PartyKind,
    id_claim: String,
    verifier: Option<Verifier<PartyToken>>,
}

/// What a verified customer or account token says.
#[derive(Debug)]
struct PartyToken {
    party: Party,
    /// The person, if it is not the party itself.
    acted_by: Option<String>,
}

impl Authenticator {
    /// Creates an authenticator. `client` fetches key sets from URLs.
    pub fn new(policies: TokenPolicies, client: &Client, clock: &Clock) -> Self {
        let TokenPolicies {
            access,
            customer,
            account,
            cart,
            back_ends,
            customer_id_claim,
            account_id_claim,
        } = policies;
        let optional = [&customer, &account, &cart].into_iter().flatten();
        let all = [&access].into_iter().chain(optional);
        let all: Arc<[_]> = all.map(|policy| policy.expected.clone()).collect();
        let party = |kind, policy: Option<TokenPolicy>, id_claim| PartyTokens {
            kind,
            id_claim,
            verifier: policy
                .map(|policy| Verifier::new(TokenKind::Party(kind), policy, &all, client, clock)),
        };
        Self {
            access_tokens: Verifier::new(TokenKind::Access, access, &all, client, clock),
            back_ends,
            customers: party(PartyKind::Customer, customer, customer_id_claim),
            accounts: party(PartyKind::Account, account, account_id_claim),
            cart_tokens: cart
                .map(|policy| Verifier::new(TokenKind::Cart, policy, &all, client, clock)),
        }
    }

    /// Fetches the key sets that have a URL, all at once. A failure is logged, and
    /// requests retry.
    pub async fn load_keys(&self) {
        tokio::join!(
            self.access_tokens.load_keys(),
            OptionFuture::from(self.customers.verifier.as_ref().map(Verifier::load_keys)),
            OptionFuture::from(self.accounts.verifier.as_ref().map(Verifier::load_keys)),
            OptionFuture::from(self.cart_tokens.as_ref().map(Verifier::load_keys)),
        );
    }

    /// Verifies the tokens of a request: the access token, then the customer token, then
    /// the account token. A token that is not valid is an error, never the same as none.
    /// Waits for key sets no longer than until `deadline`.
    pub async fn authenticate(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Caller, AuthError> {
        let read = |claims: &Claims<'_>, audience: &str| self.read_access_token(claims, audience);
        let access = self.access_tokens.verify(headers, read, now, deadline);
        let access = access.await?.ok_or(AuthError::NoAccessToken)?;
        let customer = self.customers.verify(headers, now, deadline).await?;
        let account = self.accounts.verify(headers, now, deadline).await?;

        let access = &access.content;
        let (acts_for, acted_by) = match (customer, account) {
            (Some(_), Some(_)) => return Err(AuthError::SeveralParties),
            (Some(token), None) | (None, Some(token)) => {
                let PartyToken { party, acted_by } = &token.content;
                (ActsFor::One(party.clone()), acted_by.clone())
            }
            (None, None) => (access.acts_for.clone(), None),
        };
        let client = match &acts_for {
            ActsFor::One(party) if party.id() == access.client => &access.audience,
            ActsFor::One(_) | ActsFor::Everybody | ActsFor::Nobody { .. } => &access.client,
        };
        let parties = [&self.customers, &self.accounts].into_iter();
        let with_tokens = parties.filter(|tokens| tokens.verifier.is_some());
        Ok(Caller {
            client: client.clone(),
            acts_for,
            acted_by,
            token_kinds: with_tokens.map(|tokens| tokens.kind).collect(),
        })
    }

    /// Checks that a caller who acts for one party holds the cart in the path, which is
    /// unchecked. A token for another cart is refused like a forged one, so that no
    /// answer tells the two apart.
    pub async fn prove_cart(
        &self,
        caller: &Caller,
        headers: &HeaderMap,
        cart_id: &str,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<CartProof, AuthError> {
        let ActsFor::One(_) = caller.acts_for else {
            return Ok(CartProof::Given);
        };
        let Some(cart_tokens) = &self.cart_tokens else {
            TokenKind::Cart.not_configured(headers)?;
            return Ok(CartProof::Given);
        };
        let read =
            |claims: &Claims<'_>, _: &str| Ok(claims.required("sub", non_empty)?.into_owned());
        match cart_tokens.verify(headers, read, now, deadline).await? {
            None => Ok(CartProof::Missing),
            Some(token) if token.content == cart_id => Ok(CartProof::Given),
            Some(_) => Err(TokenKind::Cart.refused(Refusal::SUBJECT.of("sub"))),
        }
    }

    fn read_access_token(
        &self,
        claims: &Claims<'_>,
        audience: &str,
    ) -> Result<AccessToken, Refusal> {
        let client = match claims.client()? {
            Some(client) => client,
            None => claims.required("sub", non_empty)?,
        };
        let nobody = |claim: &str| ActsFor::Nobody {
            claim: claim.to_owned(),
        };
        let acts_for = match self.back_ends.lacking(claims) {
            None => ActsFor::Everybody,
            Some(lacking) if self.customers.verifier.is_some() => nobody(lacking),
            // The token names the customer. A machine without the right of a back end is
            // no customer: its id is that of its client.
            Some(lacking) => match claims.read(&self.customers.id_claim, non_empty) {
                Ok(Some(id)) if claims.is_client(&id) => nobody(lacking),
                Ok(Some(id)) => Party::new(PartyKind::Customer, &id)
                    .map_or_else(|_| nobody(&self.customers.id_claim), ActsFor::One),
                Ok(None) | Err(_) => nobody(&self.customers.id_claim),
            },
        };
        Ok(AccessToken {
            client: client.into_owned(),
            audience: audience.to_owned(),
            acts_for,
        })
    }
}

impl PartyTokens {
    /// Verifies the token of a customer or account, if one was sent.
    async fn verify(
        &self,
        headers: &HeaderMap,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Arc<Verified<PartyToken>>>, AuthError> {
        let Some(verifier) = &self.verifier else {
            TokenKind::Party(self.kind).not_configured(headers)?;
            return Ok(None);
        };
        let read = |claims: &Claims<'_>, _: &str| self.read(claims);
        verifier.verify(headers, read, now, deadline).await
    }

    fn read(&self, claims: &Claims<'_>) -> Result<PartyToken, Refusal> {
        let id = claims.required(&self.id_claim, non_empty)?;
        let party = Party::new(self.kind, &id).map_err(|_| Refusal::SUBJECT.of(&self.id_claim))?;
        let person = match self.kind {
            PartyKind::Customer => None,
            PartyKind::Account => claims
                .read("sub", non_empty)?
                .filter(|person| *person != id),
        };
        let acted_by = person.map(Cow::into_owned);
        Ok(PartyToken { party, acted_by })
    }
}
