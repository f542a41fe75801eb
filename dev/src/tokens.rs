//! Keys and tokens as authorization servers make them, with jsonwebtoken and none of the function's own code.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result, bail};
use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair,
    RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
pub use jsonwebtoken::Algorithm;
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::{Value, json};

/// How long a token is valid: a working day, because the lines that `make run` prints may be pasted hours later.
pub const LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);

/// An authorization server with one key.
pub struct Authority {
    pub issuer: String,
    pub audience: String,
    pub key: SigningKey,
}

/// The authorization servers whose tokens the function accepts.
pub struct Authorities {
    pub access: Authority,
    pub customer: Authority,
    pub account: Authority,
    pub cart: Authority,
}

impl Authorities {
    /// Authorities with new keys: ES256 for access tokens, EdDSA for customer and account tokens, and ES384 for cart
    /// tokens.
    pub fn generate() -> Result<Self> {
        Self::with_keys(SigningKey::generate)
    }

    pub fn generate_rs256() -> Result<Self> {
        Self::with_keys(|id, _| SigningKey::generate(id, Algorithm::RS256))
    }

    /// Authorities whose keys are files in `folder`. Missing files are created.
    pub fn kept_in(folder: &Path) -> Result<Self> {
        Self::with_keys(|id, algorithm| {
            SigningKey::kept_at(&folder.join(id).with_extension("p8"), id, algorithm)
        })
    }

    fn with_keys(key: impl Fn(&str, Algorithm) -> Result<SigningKey>) -> Result<Self> {
        let authority = |host: &str, audience: &str, key_id, algorithm| -> Result<Authority> {
            Ok(Authority {
                issuer: format!("https://{host}.example.com"),
                audience: audience.to_owned(),
                key: key(key_id, algorithm)?,
            })
        };
        Ok(Self {
            access: authority("auth", "carts", "access-1", Algorithm::ES256)?,
            customer: authority("login", "shop", "customer-1", Algorithm::EdDSA)?,
            account: authority("accounts", "company-shop", "account-1", Algorithm::EdDSA)?,
            cart: authority("carts", "cart-holders", "cart-1", Algorithm::ES384)?,
        })
    }
}

impl Authority {
    /// An access token for a client, with this grant.
    pub fn access_token(&self, client: &str, grant: &str) -> Result<String> {
        self.token(client, &json!({ "grant_type": grant }))
    }

    /// A customer token for a customer who has signed in.
    pub fn customer_token(&self, customer: &str) -> Result<String> {
        self.token(customer, &json!({}))
    }

    /// An account token for a person who buys for this account, whose id is in the claim `account_id`.
    pub fn account_token(&self, account: &str, person: &str) -> Result<String> {
        self.token(person, &json!({ "account_id": account }))
    }

    /// A cart token for the device that holds this cart.
    pub fn cart_token(&self, cart: &str) -> Result<String> {
        self.token(cart, &json!({}))
    }

    /// A token for `subject`, valid from now on. `claims` are added to the usual claims or replace them; a claim that is
    /// `null` is left out.
    pub fn token(&self, subject: &str, claims: &Value) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut all = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
        });
        for (name, value) in claims.as_object().context("the claims are not an object")? {
            all[name] = value.clone();
        }
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        let header = serde_json::to_string(&self.key.header())?;
        self.key.sign(&header, &all.to_string())
    }
}

/// A private key for one algorithm, with a `kid`.
pub struct SigningKey {
    algorithm: Algorithm,
    id: String,
    private: EncodingKey,
}

impl SigningKey {
    pub fn generate(id: &str, algorithm: Algorithm) -> Result<Self> {
        Ok(Self::from_der(id, algorithm, &private_key(algorithm)?))
    }

    /// The key in the file at `path`. A missing file is created, readable by its owner only.
    fn kept_at(path: &Path, id: &str, algorithm: Algorithm) -> Result<Self> {
        match std::fs::read(path) {
            Ok(private) => Ok(Self::from_der(id, algorithm, &private)),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let key = Self::generate(id, algorithm)?;
                key.keep_at(path)
                    .with_context(|| format!("{} could not be written", path.display()))?;
                Ok(key)
            }
            Err(error) => {
                Err(error).with_context(|| format!("{} could not be read", path.display()))
            }
        }
    }

    fn keep_at(&self, path: &Path) -> std::io::Result<()> {
        OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?
            .write_all(self.private.as_bytes())
    }

    fn from_der(id: &str, algorithm: Algorithm, private: &[u8]) -> Self {
        let private = match algorithm {
            Algorithm::ES256 | Algorithm::ES384 => EncodingKey::from_ec_der(private),
            Algorithm::EdDSA => EncodingKey::from_ed_der(private),
            _ => EncodingKey::from_rsa_der(private),
        };
        Self {
            algorithm,
            id: id.to_owned(),
            private,
        }
    }

    /// The JWK Set that verifies this key's tokens. Nothing in it is secret.
    pub fn jwks(&self) -> Result<String> {
        let keys = vec![self.public()?];
        Ok(serde_json::to_string(&JwkSet { keys })?)
    }

    pub fn public(&self) -> Result<Jwk> {
        let mut public = Jwk::from_encoding_key(&self.private, self.algorithm)?;
        public.common.key_id = Some(self.id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(public)
    }

    pub fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        header
    }

    /// Signs exactly these texts, even if they are not JSON.
    pub fn sign(&self, header: &str, claims: &str) -> Result<String> {
        let signed = format!(
            "{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims)
        );
        let signature =
            jsonwebtoken::crypto::sign(signed.as_bytes(), &self.private, self.algorithm)?;
        Ok(format!("{signed}.{signature}"))
    }
}

/// A new private key in the encoding that jsonwebtoken reads: PKCS#1 for RSA, otherwise PKCS#8.
fn private_key(algorithm: Algorithm) -> Result<Vec<u8>> {
    let ecdsa = |algorithm| -> Result<Vec<u8>> {
        let key = EcdsaKeyPair::generate(algorithm)?;
        Ok(key.to_pkcs8v1()?.as_ref().to_vec())
    };
    match algorithm {
        Algorithm::ES256 => ecdsa(&ECDSA_P256_SHA256_FIXED_SIGNING),
        Algorithm::ES384 => ecdsa(&ECDSA_P384_SHA384_FIXED_SIGNING),
        Algorithm::EdDSA => Ok(Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec()),
        Algorithm::RS256 | Algorithm::PS256 => {
            // For a 2048 bit key, PKCS#8 is PKCS#1 after a header of 26 bytes.
            const PKCS8_HEADER: usize = 26;
            let pkcs8 = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
            Ok(pkcs8.as_ref()[PKCS8_HEADER..].to_vec())
        }
        _ => bail!("keys for {algorithm:?} are not supported"),
    }
}
