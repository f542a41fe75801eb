//! Authentication: who calls, and for which customers and accounts they may act.

mod caller;
mod claims;
mod credentials;
mod keys;
mod remote;
mod token;
mod verified;
mod verifier;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use lambda_http::http::{HeaderMap, Uri};
use tokio::time::Instant;

use self::caller::ActsFor;
pub use self::caller::{Caller, CartProof, Forbidden};
use self::claims::Claims;
pub use self::claims::{BackEnds, Expected, RequiredClaims};
use self::credentials::Credential;
pub use self::keys::{KeyProblem, KeySet, KeySetError, SkippedKey};
pub use self::remote::CONNECT_TIMEOUT as KEYS_CONNECT_TIMEOUT;
use self::token::Reason;
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
    /// Which access tokens are those of back ends.
    pub back_ends: BackEnds,
    /// The claim that is the customer's id.
    pub customer_id_claim: String,
    /// The claim that is the account's id.
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

    /// The header in which it is sent.
    pub fn header(self) -> &'static str {
        match self {
            Self::Access => "Authorization",
            Self::Party(PartyKind::Customer) => "x-moltin-customer-token",
            Self::Party(PartyKind::Account) => "EP-Account-Management-Authentication-Token",
            Self::Cart => "x-cart-token",
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
    customer_tokens: Option<Verifier<PartyToken>>,
    account_tokens: Option<Verifier<PartyToken>>,
    cart_tokens: Option<Verifier<String>>,
    back_ends: BackEnds,
    customer_id_claim: String,
    account_id_claim: String,
}

/// What a verified access token says.
#[derive(Debug)]
struct AccessToken {
    client: String,
    /// The accepted audience, if only `sub` names the client.
    audience: Option<String>,
    /// For whom the client may act without another token.
    acts_for: ActsFor,
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
        let all = [
            Some(&access),
            customer.as_ref(),
            account.as_ref(),
            cart.as_ref(),
        ]
        .map(|policy| policy.map(|policy| policy.expected.clone()));
        // A token must not be as good a token of another kind.
        let others = |own: usize| {
            let others = all.iter().enumerate().filter(|(index, _)| *index != own);
            others
                .filter_map(|(_, expected)| expected.clone())
                .collect()
        };
        let party = |index, kind, policy: Option<TokenPolicy>| {
            let kind = TokenKind::Party(kind);
            policy.map(|policy| Verifier::new(kind, policy, others(index), client, clock))
        };
        Self {
            access_tokens: Verifier::new(TokenKind::Access, access, others(0), client, clock),
            customer_tokens: party(1, PartyKind::Customer, customer),
            account_tokens: party(2, PartyKind::Account, account),
            cart_tokens: cart
                .map(|policy| Verifier::new(TokenKind::Cart, policy, others(3), client, clock)),
            back_ends,
            customer_id_claim,
            account_id_claim,
        }
    }

    /// Fetches the key sets that have a URL, all at once. A failure is logged, and
    /// requests retry.
    pub async fn load_keys(&self) {
        tokio::join!(
            self.access_tokens.load_keys(),
            OptionFuture::from(self.customer_tokens.as_ref().map(Verifier::load_keys)),
            OptionFuture::from(self.account_tokens.as_ref().map(Verifier::load_keys)),
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
        let bearer = credentials::bearer(headers);
        let read = |claims: &Claims<'_>, audience: &str| self.read_access_token(claims, audience);
        let access = self.access_tokens.verify(bearer, read, now, deadline);
        let access = access.await?.ok_or(AuthError::NoAccessToken)?;
        let customer = self.party_token(PartyKind::Customer, headers, now, deadline);
        let customer = customer.await?;
        let account = self.party_token(PartyKind::Account, headers, now, deadline);
        let account = account.await?;

        let access = &access.content;
        let (acts_for, acted_by) = match (customer, account) {
            (Some(_), Some(_)) => return Err(AuthError::SeveralParties),
            (Some(token), None) | (None, Some(token)) => {
                let PartyToken { party, acted_by } = &token.content;
                (ActsFor::One(party.clone()), acted_by.clone())
            }
            (None, None) => (access.acts_for.clone(), None),
        };
        let client = match (&acts_for, &access.audience) {
            (ActsFor::One(party), Some(audience)) if party.id() == access.client => audience,
            _ => &access.client,
        };
        Ok(Caller {
            client: client.clone(),
            acts_for,
            acted_by,
            token_kinds: match (&self.customer_tokens, &self.account_tokens) {
                (None, None) => &[],
                (Some(_), None) => &[PartyKind::Customer],
                (None, Some(_)) => &[PartyKind::Account],
                (Some(_), Some(_)) => &[PartyKind::Customer, PartyKind::Account],
            },
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
        let credential = credentials::token(headers, TokenKind::Cart.header());
        let Some(cart_tokens) = &self.cart_tokens else {
            return not_configured(TokenKind::Cart, credential).map(|()| CartProof::Given);
        };
        let read = |claims: &Claims<'_>, _: &str| Ok(claims.required_name("sub")?.into_owned());
        match cart_tokens.verify(credential, read, now, deadline).await? {
            None => Ok(CartProof::Missing),
            Some(token) if token.content == cart_id => Ok(CartProof::Given),
            Some(_) => Err(AuthError::InvalidToken {
                kind: TokenKind::Cart,
                refusal: Refusal::of(Reason::Subject, "sub"),
            }),
        }
    }

    /// Verifies the token of a customer or account, if one was sent.
    async fn party_token(
        &self,
        kind: PartyKind,
        headers: &HeaderMap,
        now: Timestamp,
        deadline: Instant,
    ) -> Result<Option<Arc<Verified<PartyToken>>>, AuthError> {
        let (verifier, id_claim) = match kind {
            PartyKind::Customer => (&self.customer_tokens, &self.customer_id_claim),
            PartyKind::Account => (&self.account_tokens, &self.account_id_claim),
        };
        let credential = credentials::token(headers, TokenKind::Party(kind).header());
        let Some(verifier) = verifier else {
            return not_configured(TokenKind::Party(kind), credential).map(|()| None);
        };
        let read = |claims: &Claims<'_>, _: &str| read_party_token(kind, id_claim, claims);
        verifier.verify(credential, read, now, deadline).await
    }

    fn read_access_token(
        &self,
        claims: &Claims<'_>,
        audience: &str,
    ) -> Result<AccessToken, Refusal> {
        let (client, audience) = match claims.client()? {
            Some(client) => (client, None),
            None => (claims.required_name("sub")?, Some(audience.to_owned())),
        };
        let acts_for = match self.back_ends.lacking(claims) {
            None => ActsFor::Everybody,
            Some(claim) if self.customer_tokens.is_some() => ActsFor::Nobody {
                claim: claim.to_owned(),
            },
            Some(claim) => self.own_customer(claims, claim),
        };
        Ok(AccessToken {
            client: client.into_owned(),
            audience,
            acts_for,
        })
    }

    /// Returns the customer that an access token names. A machine without the right of a
    /// back end is no customer: its id is that of its client. `lacking` is the claim by
    /// which the token is no back end's.
    fn own_customer(&self, claims: &Claims<'_>, lacking: &str) -> ActsFor {
        let nobody = |claim: &str| ActsFor::Nobody {
            claim: claim.to_owned(),
        };
        match claims.name(&self.customer_id_claim) {
            Ok(Some(id)) if claims.is_client(&id) => nobody(lacking),
            Ok(Some(id)) => Party::new(PartyKind::Customer, &id)
                .map_or_else(|_| nobody(&self.customer_id_claim), ActsFor::One),
            Ok(None) | Err(_) => nobody(&self.customer_id_claim),
        }
    }
}

fn read_party_token(
    kind: PartyKind,
    id_claim: &str,
    claims: &Claims<'_>,
) -> Result<PartyToken, Refusal> {
    let id = claims.required_name(id_claim)?;
    let party = Party::new(kind, &id).map_err(|_| Refusal::of(Reason::Subject, id_claim))?;
    let acted_by = match kind {
        PartyKind::Customer => None,
        PartyKind::Account => claims.name("sub")?.filter(|person| *person != id),
    };
    let acted_by = acted_by.map(Cow::into_owned);
    Ok(PartyToken { party, acted_by })
}

/// Refuses a token of a kind that is not configured: what it would narrow or prove
/// cannot be checked.
fn not_configured(kind: TokenKind, credential: Credential<'_>) -> Result<(), AuthError> {
    match credential {
        Credential::Absent => Ok(()),
        Credential::Malformed | Credential::Token(_) => Err(AuthError::InvalidToken {
            kind,
            refusal: Reason::NotConfigured.into(),
        }),
    }
}
