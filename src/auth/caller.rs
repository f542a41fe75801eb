//! What the verified tokens of a request permit.

use crate::ids::{Party, PartyKind};

/// Who calls, and for whom they may act. Only [`Authenticator`](super::Authenticator)
/// makes one, from verified tokens: a function that takes one cannot be called without.
#[derive(Debug)]
pub struct Caller {
    pub(super) client: String,
    pub(super) acts_for: ActsFor,
    pub(super) acted_by: Option<String>,
    /// The kinds of parties that have tokens of their own.
    pub(super) token_kinds: Vec<PartyKind>,
}

/// For whom a caller may act.
#[derive(Debug, Clone)]
pub(super) enum ActsFor {
    /// A back end: for every customer and account.
    Everybody,
    One(Party),
    /// The access token is no back end's and names no customer.
    Nobody {
        /// The claim that is missing or wrong.
        claim: String,
    },
}

/// Why an authenticated caller may not do what they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forbidden {
    /// The route needs a token of this kind of party.
    TokenRequired {
        kind: PartyKind,
        /// The claim that the access token lacks to be a back end's, for the log.
        claim: Option<String>,
    },
    /// A list of one's own carts, by a back end: it acts for nobody in particular.
    OwnCartsOfBackEnd,
    /// Only the access token says who calls, and it says neither a back end nor a
    /// customer.
    NoRight {
        /// The claim that is missing or wrong, for the log.
        claim: String,
    },
    /// The body names another party than the caller's.
    OtherParty(PartyKind),
    /// The path names another party than the caller's.
    OtherPartysCarts(PartyKind),
    /// The caller asks for a cart that their party is not associated with.
    NotOnCart,
    /// Only a back end may.
    BackEndRequired {
        /// The claim that the access token lacks to be a back end's, for the log.
        claim: Option<String>,
    },
    /// The access token names a customer, and the account token beside it another party.
    BoundToAccount,
    /// Cart tokens are configured, and a request to associate a cart with one's own
    /// party has none.
    CartTokenRequired,
}

impl Forbidden {
    /// The claim that is missing or wrong, if it is known.
    pub fn claim(&self) -> Option<&str> {
        match self {
            Self::TokenRequired { claim, .. } | Self::BackEndRequired { claim } => claim.as_deref(),
            Self::NoRight { claim } => Some(claim),
            Self::OwnCartsOfBackEnd
            | Self::OtherParty(_)
            | Self::OtherPartysCarts(_)
            | Self::NotOnCart
            | Self::BoundToAccount
            | Self::CartTokenRequired => None,
        }
    }
}

/// Whether a caller proved that they hold the cart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CartProof {
    /// The cart token is one for this cart, or the caller needs none.
    Given,
    /// The caller needs a cart token and sent none.
    Missing,
}

impl CartProof {
    /// Checks that the caller may associate the cart.
    pub fn permits(self) -> Result<(), Forbidden> {
        match self {
            Self::Given => Ok(()),
            Self::Missing => Err(Forbidden::CartTokenRequired),
        }
    }
}

impl Caller {
    /// The calling client, for the record of who did it.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// The person who acts for the account: the account token's `sub`, if that is not
    /// the account itself.
    pub fn acted_by(&self) -> Option<&str> {
        self.acted_by.as_deref()
    }

    /// The caller's name in logs and metrics.
    pub fn name(&self) -> &'static str {
        match &self.acts_for {
            ActsFor::Everybody => "back_end",
            ActsFor::One(party) => party.kind().as_str(),
            ActsFor::Nobody { .. } => "nobody",
        }
    }

    /// Returns the customer or account for whom the caller acts.
    pub fn party(&self) -> Result<&Party, Forbidden> {
        match &self.acts_for {
            ActsFor::One(party) => Ok(party),
            ActsFor::Everybody => Err(Forbidden::OwnCartsOfBackEnd),
            ActsFor::Nobody { .. } => Err(self.refusal(PartyKind::Customer)),
        }
    }

    /// Returns the only party of this kind for which the caller may act; `None` if they
    /// may act for all.
    pub fn only_party(&self, kind: PartyKind) -> Result<Option<&Party>, Forbidden> {
        match &self.acts_for {
            ActsFor::Everybody => Ok(None),
            ActsFor::One(party) if party.kind() == kind => Ok(Some(party)),
            ActsFor::One(_) | ActsFor::Nobody { .. } => Err(self.refusal(kind)),
        }
    }

    /// Checks that the caller may act for all of these parties.
    pub fn permit(&self, parties: &[Party]) -> Result<(), Forbidden> {
        let mut parties = parties.iter();
        parties.try_for_each(|party| self.permit_one(party, Forbidden::OtherParty))
    }

    /// Checks that the caller may act for the party whose carts the path names.
    pub fn permit_carts_of(&self, party: &Party) -> Result<(), Forbidden> {
        self.permit_one(party, Forbidden::OtherPartysCarts)
    }

    fn permit_one(
        &self,
        party: &Party,
        other: fn(PartyKind) -> Forbidden,
    ) -> Result<(), Forbidden> {
        match self.only_party(party.kind())? {
            Some(own) if own != party => Err(other(party.kind())),
            Some(_) | None => Ok(()),
        }
    }

    /// Checks that the caller may remove all parties from a cart.
    pub fn permit_clearing(&self) -> Result<(), Forbidden> {
        match &self.acts_for {
            ActsFor::Everybody => Ok(()),
            ActsFor::One(_) | ActsFor::Nobody { .. } => {
                let claim = self.lacking_claim();
                Err(Forbidden::BackEndRequired { claim })
            }
        }
    }

    /// The claim that the access token lacks to be a back end's, or to name a customer.
    fn lacking_claim(&self) -> Option<String> {
        match &self.acts_for {
            ActsFor::Nobody { claim } => Some(claim.clone()),
            ActsFor::Everybody | ActsFor::One(_) => None,
        }
    }

    /// Says what a caller who may act for no party of this kind lacks.
    fn refusal(&self, kind: PartyKind) -> Forbidden {
        let claim = self.lacking_claim();
        if self.token_kinds.contains(&kind) {
            return Forbidden::TokenRequired { kind, claim };
        }
        match (claim, kind) {
            (Some(claim), PartyKind::Customer) => Forbidden::NoRight { claim },
            (None, PartyKind::Customer) => Forbidden::BoundToAccount,
            (claim, PartyKind::Account) => Forbidden::BackEndRequired { claim },
        }
    }
}
