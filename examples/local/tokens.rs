//! Keys and tokens like those that a real authorization server would make.
//!
//! The local world uses them for development, the integration tests for theirs: this file is part of both. It uses
//! dev-dependencies and jsonwebtoken only, and none of the function's own code, so that it can disagree with it.

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
use jsonwebtoken::jwk::{Jwk, JwkSet, PublicKeyUse};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};

/// How long a token is good for. A working day: the lines that `make run` prints are pasted hours later, too.
pub(crate) const LIFETIME: Duration = Duration::from_secs(8 * 60 * 60);

/// Someone whose tokens the function is told to trust: a name, an audience and one key.
pub(crate) struct Authority {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) key: SigningKey,
}

impl Authority {
    /// An access token as a client with this grant gets it.
    pub(crate) fn access_token(&self, client: &str, grant: &str) -> Result<String> {
        self.token(client, &json!({ "grant_type": grant }))
    }

    /// A customer token as this customer gets it by signing in.
    pub(crate) fn customer_token(&self, customer: &str) -> Result<String> {
        self.token(customer, &json!({}))
    }

    /// A cart token as the device that holds this cart gets it.
    pub(crate) fn cart_token(&self, cart: &str) -> Result<String> {
        self.token(cart, &json!({}))
    }

    /// A token for `subject`, good from now on. Each of `claims` is added to the usual ones or stands in for one; `null`
    /// leaves it out.
    pub(crate) fn token(&self, subject: &str, claims: &Value) -> Result<String> {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let mut all = json!({
            "iss": self.issuer,
            "aud": self.audience,
            "sub": subject,
            "iat": now.as_secs(),
            "exp": (now + LIFETIME).as_secs(),
        });
        for (name, value) in claims.as_object().context("claims are an object")? {
            all[name] = value.clone();
        }
        if let Some(all) = all.as_object_mut() {
            all.retain(|_, value| !value.is_null());
        }
        let header = serde_json::to_string(&self.key.header())?;
        self.key.sign(&header, &all.to_string())
    }
}

/// A private key that signs tokens by one algorithm, known to others by its `kid`.
pub(crate) struct SigningKey {
    algorithm: Algorithm,
    id: String,
    private: EncodingKey,
}

impl SigningKey {
    /// A key made just now.
    pub(crate) fn generate(id: &str, algorithm: Algorithm) -> Result<Self> {
        Ok(Self::from_der(id, algorithm, &private_key(algorithm)?))
    }

    /// The key kept in the file at `path`, which is made, for its owner's eyes only, when there is none.
    pub(crate) fn kept_at(path: &Path, id: &str, algorithm: Algorithm) -> Result<Self> {
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

    /// The key set that checks this key's tokens. Nothing in it is secret.
    pub(crate) fn jwks(&self) -> Result<String> {
        let keys = vec![self.public()?];
        Ok(serde_json::to_string(&JwkSet { keys })?)
    }

    /// The public half of this key.
    pub(crate) fn public(&self) -> Result<Jwk> {
        let mut public = Jwk::from_encoding_key(&self.private, self.algorithm)?;
        public.common.key_id = Some(self.id.clone());
        public.common.public_key_use = Some(PublicKeyUse::Signature);
        Ok(public)
    }

    /// The header of this key's tokens.
    pub(crate) fn header(&self) -> Header {
        let mut header = Header::new(self.algorithm);
        header.kid = Some(self.id.clone());
        header
    }

    /// A token of exactly these texts, whatever they are.
    pub(crate) fn sign(&self, header: &str, claims: &str) -> Result<String> {
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

/// A new private key in the encoding that jsonwebtoken reads: PKCS#8, for RSA PKCS#1.
fn private_key(algorithm: Algorithm) -> Result<Vec<u8>> {
    let private = match algorithm {
        Algorithm::ES256 => EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)?
            .to_pkcs8v1()?
            .as_ref()
            .to_vec(),
        Algorithm::ES384 => EcdsaKeyPair::generate(&ECDSA_P384_SHA384_FIXED_SIGNING)?
            .to_pkcs8v1()?
            .as_ref()
            .to_vec(),
        Algorithm::EdDSA => Ed25519KeyPair::generate()?.to_pkcs8v1()?.as_ref().to_vec(),
        Algorithm::RS256 | Algorithm::PS256 => {
            // For a 2048 bit key, PKCS#8 is PKCS#1 after a header of 26 bytes.
            const PKCS8_HEADER: usize = 26;
            let pkcs8 = RsaKeyPair::generate(KeySize::Rsa2048)?.as_der()?;
            pkcs8.as_ref()[PKCS8_HEADER..].to_vec()
        }
        _ => bail!("there is no use for a key for {algorithm:?}"),
    };
    Ok(private)
}
