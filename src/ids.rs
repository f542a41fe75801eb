//! The identifiers of carts, customers and accounts. A value of these types is proof
//! that it is well formed.

use std::str::FromStr;

/// The longest identifier, in bytes. All characters are ASCII.
pub const MAX_ID_LENGTH: usize = 128;

/// The string is not `[A-Za-z0-9_-]{1,128}`.
///
/// The alphabet is that of Elastic Path's "Safe Characters". It excludes `#`, which
/// joins the identifiers in the table's partition key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidId;

fn check(id: &str) -> Result<(), InvalidId> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if id.is_empty() || id.len() > MAX_ID_LENGTH || !id.bytes().all(safe) {
        return Err(InvalidId);
    }
    Ok(())
}

/// Identifies a cart. Anyone who knows it can act on the cart, so the log does not show
/// it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CartId(String);

impl CartId {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for CartId {
    type Err = InvalidId;

    fn from_str(id: &str) -> Result<Self, InvalidId> {
        check(id)?;
        Ok(Self(id.to_owned()))
    }
}

/// The kinds of parties that a cart can be associated with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PartyKind {
    /// A person who buys.
    Customer,
    /// A company, household or team that several people buy for.
    Account,
}

impl PartyKind {
    /// The JSON:API type of its members.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Customer => "customer",
            Self::Account => "account",
        }
    }
}

/// A customer or an account that a cart can be associated with. A customer and an
/// account of the same id are two parties.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Party {
    kind: PartyKind,
    id: String,
}

impl Party {
    pub fn new(kind: PartyKind, id: &str) -> Result<Self, InvalidId> {
        check(id)?;
        let id = id.to_owned();
        Ok(Self { kind, id })
    }

    pub fn kind(&self) -> PartyKind {
        self.kind
    }

    /// Its identifier, which is unique among the parties of its kind.
    pub fn id(&self) -> &str {
        &self.id
    }
}
