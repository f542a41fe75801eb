//! JWK Sets: the keys that verify tokens, each for one algorithm.
//!
//! The key fixes the algorithm (RFC 8725 section 3.1): a token cannot choose how
//! it is verified.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey,
    RSA_PKCS1_2048_8192_SHA256, RSA_PSS_2048_8192_SHA256, RsaParameters, RsaPublicKeyComponents,
    VerificationAlgorithm,
};
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use base64::{DecodeError, Engine as _};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::parsed;

/// The shortest RSA modulus that is accepted, in bits (RFC 7518 section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// The longest RSA modulus that AWS-LC accepts, in bits.
const MAX_RSA_BITS: usize = 8192;

const WRONG_LENGTH: &str = "wrong length";

/// The points of Ed25519 of order 1, 2, 4 or 8, without the sign bit, their
/// non-canonical encodings included. Anybody can sign for such a key, and AWS-LC
/// accepts it.
const SMALL_ORDER: [&str; 7] = [
    "AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "7v_______________________________________38",
    "7P_______________________________________38",
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
    "7f_______________________________________38",
    "JuiVj8KyJ7BFw_SJ8u-Y8NXfrAXTxjM5sTgCiG1T_AU",
    "xxdqcD1N2E-6PAt2DRBnDyogU_osOczGTsf9d5KsA3o",
];

/// The keys of a JWK Set (RFC 7517 section 5) that can verify signatures.
#[derive(Clone)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    skipped: Vec<SkippedKey>,
}

/// A public key with its one algorithm.
pub(super) struct Key {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    public_key: ParsedPublicKey,
}

/// The supported signature algorithms (RFC 7518 section 3.1, RFC 8037 section
/// 3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Algorithm {
    Rs256,
    Ps256,
    Es256,
    Es384,
    EdDsa,
}

impl Algorithm {
    /// Returns the algorithm that `alg` names. `EdDSA` and `Ed25519` (RFC 9864
    /// section 2.2) are the same here: Ed448 is not supported.
    pub(super) fn named(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Self::Rs256),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A key of a set that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedKey {
    /// Its position in the set, from 0.
    pub index: usize,
    pub problem: KeyProblem,
}

/// Why a key cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyProblem {
    /// Not the JSON object of RFC 7517 section 4, or parameters of a wrong type.
    Malformed,
    /// `use` is not `sig`, or `key_ops` lacks `verify`.
    NotForVerifying,
    /// `kty` or `crv` is not supported. `oct` never will be: a key that verifies an
    /// HMAC can also forge one.
    UnknownType,
    /// `alg` is not supported, or not an algorithm of this type of key.
    UnknownAlgorithm,
    /// An RSA modulus under 2048 or over 8192 bits.
    RsaSize,
    /// A parameter, and what is wrong with it.
    Parameter(&'static str, &'static str),
}

impl fmt::Display for KeyProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Parameter(name, problem) => return write!(f, "has a bad `{name}`: {problem}"),
            Self::Malformed => "is not a JSON Web Key",
            Self::NotForVerifying => "is not for verifying signatures (`use`, `key_ops`)",
            Self::UnknownType => "has an unknown or refused type (`kty`, `crv`)",
            Self::UnknownAlgorithm => "has an `alg` that is unknown or not for its type",
            Self::RsaSize => "has an RSA modulus under 2048 or over 8192 bits",
        })
    }
}

/// Why a JWK Set cannot be used at all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`.
    NotAKeySet,
    /// None of its keys can be used, with the reason for each.
    NoUsableKey(Vec<SkippedKey>),
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAKeySet => f.write_str("is not a JWK Set (RFC 7517 section 5)"),
            Self::NoUsableKey(skipped) => {
                f.write_str("has no usable key")?;
                for SkippedKey { index, problem } in skipped {
                    write!(f, "; key {index} {problem}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for KeySetError {}

impl KeySet {
    /// Parses a JWK Set. Keys that cannot be used are skipped.
    pub fn parse(json: &str) -> Result<Self, KeySetError> {
        #[derive(Deserialize)]
        struct JwkSet<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: JwkSet<'_> = serde_json::from_str(json).map_err(|_| KeySetError::NotAKeySet)?;

        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, jwk) in set.keys.into_iter().enumerate() {
            match Key::from_jwk(jwk) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(problem) => skipped.push(SkippedKey { index, problem }),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(skipped));
        }
        Ok(Self { keys, skipped })
    }

    /// The keys that were skipped.
    pub fn skipped(&self) -> &[SkippedKey] {
        &self.skipped
    }

    /// Logs a warning for each key that was skipped. `name` is the key set's.
    pub(super) fn log_skipped(&self, name: &str) {
        for SkippedKey { index, problem } in &self.skipped {
            let cause = format!("key {index} {problem}");
            tracing::warn!(key_set = name, cause, "a key of the set is skipped");
        }
    }

    /// Finds the key that a token names by `kid`, if it is for the token's `alg`. A
    /// token without `kid` gets the only key of a set that has one key.
    pub(super) fn find(&self, kid: Option<&str>, alg: Algorithm) -> KeyLookup {
        let mut lookup = KeyLookup::Unknown;
        for key in &self.keys {
            let is_named = match kid {
                Some(kid) => key.kid.as_deref() == Some(kid),
                None => self.keys.len() == 1,
            };
            // Keys of different types may share an id (RFC 7517 section 4.5).
            if is_named && key.algorithm == alg {
                return KeyLookup::Key(Arc::clone(key));
            } else if is_named {
                lookup = KeyLookup::OtherAlgorithm;
            }
        }
        lookup
    }
}

pub(super) enum KeyLookup {
    Key(Arc<Key>),
    /// The key is for another algorithm.
    OtherAlgorithm,
    /// No key has this id.
    Unknown,
}

impl KeyLookup {
    /// The key, if it was found.
    pub(super) fn key(self) -> Option<Arc<Key>> {
        match self {
            Self::Key(key) => Some(key),
            Self::OtherAlgorithm | Self::Unknown => None,
        }
    }
}

impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kids: Vec<_> = self
            .keys
            .iter()
            .map(|key| (&key.kid, key.algorithm))
            .collect();
        f.debug_struct("KeySet")
            .field("keys", &kids)
            .finish_non_exhaustive()
    }
}

/// The parameters of a JSON Web Key that matter for verifying (RFC 7517 section 4,
/// RFC 7518 section 6, RFC 8037 section 2).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    kid: Option<String>,
    #[serde(rename = "use")]
    public_key_use: Option<String>,
    key_ops: Option<Vec<String>>,
    alg: Option<String>,
    crv: Option<String>,
    n: Option<String>,
    e: Option<String>,
    x: Option<String>,
    y: Option<String>,
}

impl Key {
    fn from_jwk(jwk: &RawValue) -> Result<Self, KeyProblem> {
        let jwk: Jwk = parsed(Some(jwk)).ok_or(KeyProblem::Malformed)?;
        let for_signatures = jwk
            .public_key_use
            .as_deref()
            .is_none_or(|usage| usage == "sig");
        let for_verifying = jwk
            .key_ops
            .as_ref()
            .is_none_or(|operations| operations.iter().any(|operation| operation == "verify"));
        if !for_signatures || !for_verifying {
            return Err(KeyProblem::NotForVerifying);
        }

        let algorithm = jwk.algorithm()?;
        let public_key = match algorithm {
            Algorithm::Rs256 => jwk.rsa_key(&RSA_PKCS1_2048_8192_SHA256)?,
            Algorithm::Ps256 => jwk.rsa_key(&RSA_PSS_2048_8192_SHA256)?,
            Algorithm::Es256 => jwk.ec_key(32, &ECDSA_P256_SHA256_FIXED)?,
            Algorithm::Es384 => jwk.ec_key(48, &ECDSA_P384_SHA384_FIXED)?,
            Algorithm::EdDsa => jwk.ed_key()?,
        };
        Ok(Self {
            kid: jwk.kid,
            algorithm,
            public_key,
        })
    }

    /// Returns whether `signature` is this key's signature of `signed`.
    pub(super) fn verifies(&self, signed: &[u8], signature: &[u8]) -> bool {
        self.public_key.verify_sig(signed, signature).is_ok()
    }
}

impl Jwk {
    /// Returns the key's algorithm. For an RSA key without `alg` it is RS256, which
    /// RFC 9068 section 2.1 requires everybody to support.
    fn algorithm(&self) -> Result<Algorithm, KeyProblem> {
        let of_type: &[Algorithm] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => &[Algorithm::Rs256, Algorithm::Ps256],
            ("EC", Some("P-256")) => &[Algorithm::Es256],
            ("EC", Some("P-384")) => &[Algorithm::Es384],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDsa],
            _ => return Err(KeyProblem::UnknownType),
        };
        let Some(alg) = self.alg.as_deref() else {
            return Ok(of_type[0]);
        };
        Algorithm::named(alg)
            .filter(|algorithm| of_type.contains(algorithm))
            .ok_or(KeyProblem::UnknownAlgorithm)
    }

    fn rsa_key(&self, parameters: &'static RsaParameters) -> Result<ParsedPublicKey, KeyProblem> {
        let n = bytes("n", self.n.as_deref())?;
        let e = bytes("e", self.e.as_deref())?;
        let (n, e) = (without_zeros(&n), without_zeros(&e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !(MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) {
            return Err(KeyProblem::RsaSize);
        }
        RsaPublicKeyComponents { n, e }
            .to_parsed_public_key(parameters)
            .map_err(|_| KeyProblem::Parameter("e", "no exponent for `n`"))
    }

    fn ec_key(
        &self,
        length: usize,
        algorithm: &'static dyn VerificationAlgorithm,
    ) -> Result<ParsedPublicKey, KeyProblem> {
        let x = coordinate("x", self.x.as_deref(), length)?;
        let y = coordinate("y", self.y.as_deref(), length)?;
        // SEC 1 section 2.3.3: an uncompressed point.
        let point = [&[4], x.as_slice(), &y].concat();
        ParsedPublicKey::new(algorithm, point)
            .map_err(|_| KeyProblem::Parameter("y", "no point of the curve with `x`"))
    }

    fn ed_key(&self) -> Result<ParsedPublicKey, KeyProblem> {
        let x = bytes("x", self.x.as_deref())?;
        let mut point: [u8; 32] = x
            .try_into()
            .map_err(|_| KeyProblem::Parameter("x", WRONG_LENGTH))?;
        let no_point = KeyProblem::Parameter("x", "no point of the curve, or of small order");
        let key = ParsedPublicKey::new(&ED25519, point).map_err(|_| no_point)?;
        // The highest bit is the sign (RFC 8032 section 5.1.2).
        point[31] &= 0x7f;
        if SMALL_ORDER.contains(&URL_SAFE_NO_PAD.encode(point).as_str()) {
            return Err(no_point);
        }
        Ok(key)
    }
}

/// Strips leading zeros, which some libraries add (RFC 7518 section 6.3.1.1).
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Reads a coordinate of this length. Extra zeros in front of it are accepted: Java's
/// `BigInteger.toByteArray` adds one.
fn coordinate(
    name: &'static str,
    parameter: Option<&str>,
    length: usize,
) -> Result<Vec<u8>, KeyProblem> {
    let mut bytes = bytes(name, parameter)?;
    let extra = bytes.len().checked_sub(length);
    let extra = extra.filter(|extra| bytes[..*extra].iter().all(|byte| *byte == 0));
    let extra = extra.ok_or(KeyProblem::Parameter(name, WRONG_LENGTH))?;
    Ok(bytes.split_off(extra))
}

/// Decodes a parameter.
fn bytes(name: &'static str, parameter: Option<&str>) -> Result<Vec<u8>, KeyProblem> {
    let problem = |problem| KeyProblem::Parameter(name, problem);
    let parameter = parameter.ok_or(problem("missing"))?;
    match URL_SAFE_NO_PAD.decode(parameter) {
        Ok(bytes) if bytes.is_empty() => Err(problem("empty")),
        Ok(bytes) => Ok(bytes),
        Err(_) if parameter.ends_with('=') => Err(problem("padding")),
        Err(DecodeError::InvalidByte(..)) => Err(problem("not in the alphabet of base64url")),
        Err(_) => Err(problem("no whole number of bytes")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    /// Keys that are skipped, and why. `$X` is [`X`], `$N` a number of 2040 bits.
    const SKIPPED: &str = r#"
        7 => is not a JSON Web Key
        {} => is not a JSON Web Key
        {"kty":"RSA","kid":7} => is not a JSON Web Key
        {"kty":"oct","k":"c2Vj"} => has an unknown or refused type (`kty`, `crv`)
        {"kty":"EC","crv":"P-521"} => has an unknown or refused type (`kty`, `crv`)
        {"kty":"EC","crv":"secp256k1"} => has an unknown or refused type (`kty`, `crv`)
        {"kty":"OKP","crv":"X25519"} => has an unknown or refused type (`kty`, `crv`)
        {"kty":"OKP","crv":"Ed25519","use":"enc","x":"$X"} => is not for verifying signatures (`use`, `key_ops`)
        {"kty":"OKP","crv":"Ed25519","key_ops":["sign"],"x":"$X"} => is not for verifying signatures (`use`, `key_ops`)
        {"kty":"OKP","crv":"Ed25519","alg":"ES256","x":"$X"} => has an `alg` that is unknown or not for its type
        {"kty":"EC","crv":"P-256","alg":"ES384","x":"$X","y":"$X"} => has an `alg` that is unknown or not for its type
        {"kty":"RSA","alg":"RS512","n":"AQAB","e":"AQAB"} => has an `alg` that is unknown or not for its type
        {"kty":"RSA","alg":"HS256","n":"AQAB","e":"AQAB"} => has an `alg` that is unknown or not for its type
        {"kty":"RSA","n":"$N","e":"AQAB"} => has an RSA modulus under 2048 or over 8192 bits
        {"kty":"RSA","e":"AQAB"} => has a bad `n`: missing
        {"kty":"RSA","n":"AQAB"} => has a bad `e`: missing
        {"kty":"EC","crv":"P-256","x":"$X"} => has a bad `y`: missing
        {"kty":"EC","crv":"P-256","x":"AA","y":"$X"} => has a bad `x`: wrong length
        {"kty":"EC","crv":"P-256","x":"$X","y":"AQ$X"} => has a bad `y`: no whole number of bytes
        {"kty":"EC","crv":"P-256","x":"$X","y":"$X"} => has a bad `y`: no point of the curve with `x`
        {"kty":"OKP","crv":"Ed25519","x":"AA"} => has a bad `x`: wrong length
        {"kty":"OKP","crv":"Ed25519","x":""} => has a bad `x`: empty
        {"kty":"OKP","crv":"Ed25519","x":"$X="} => has a bad `x`: padding
        {"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo"} => has a bad `x`: not in the alphabet of base64url
        {"kty":"OKP","crv":"Ed25519","x":"AQAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAIA"} => has a bad `x`: no point of the curve, or of small order
    "#;

    #[test]
    fn keys_that_cannot_verify_are_skipped_and_the_reason_is_told() {
        let cases = SKIPPED.replace("$X", X).replace("$N", &"A".repeat(340));
        for case in cases.trim().lines() {
            let (jwk, problem) = case.split_once(" => ").unwrap();
            let error = KeySet::parse(&format!(r#"{{"keys":[{jwk}]}}"#)).unwrap_err();
            assert_eq!(
                error.to_string(),
                format!("has no usable key; key 0 {problem}"),
                "{jwk}"
            );
        }
    }

    /// Java's `BigInteger.toByteArray` adds a zero to numbers whose first bit is set.
    #[test]
    fn coordinates_may_have_extra_zeros_in_front() {
        // RFC 7515 appendix A.3.1.
        let x = URL_SAFE_NO_PAD
            .decode("f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU")
            .unwrap();
        let y = URL_SAFE_NO_PAD
            .decode("x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0")
            .unwrap();
        let set = |x: &[u8], y: &[u8]| {
            let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.encode(number));
            let key = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}"}}"#);
            KeySet::parse(&format!(r#"{{"keys":[{key}]}}"#))
        };
        for (zeros, of) in [(vec![], vec![0]), (vec![0], vec![0]), (vec![0; 3], vec![])] {
            assert!(set(&[zeros, x.clone()].concat(), &[of, y.clone()].concat()).is_ok());
        }
        assert!(set(&[vec![1], x.clone()].concat(), &y).is_err());
        assert!(set(&x[1..], &y).is_err());
    }

    #[test]
    fn a_set_with_some_unusable_keys_works_with_the_others() {
        let set = format!(
            r#"{{"keys":[{{"kty":"oct","k":"AA","kid":"a"}},{{"x":1e999}},{{"kty":"OKP","crv":"Ed25519","x":"{X}","kid":"b"}}]}}"#
        );
        let set = KeySet::parse(&set).unwrap();
        let skipped: Vec<usize> = set.skipped().iter().map(|key| key.index).collect();
        assert_eq!(skipped, [0, 1]);
        let found = |kid, alg| matches!(set.find(kid, alg), KeyLookup::Key(_));
        assert!(!found(Some("a"), Algorithm::EdDsa));
        assert!(found(Some("b"), Algorithm::EdDsa));
        assert!(!found(Some("b"), Algorithm::Es256));
        assert!(found(None, Algorithm::EdDsa));
        assert!(!found(None, Algorithm::Es256));
    }

    /// RFC 9864 section 2.2.
    #[test]
    fn ed25519_names_the_same_algorithm_as_eddsa() {
        for alg in ["EdDSA", "Ed25519"] {
            let set =
                format!(r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","alg":"{alg}","x":"{X}"}}]}}"#);
            let set = KeySet::parse(&set).unwrap();
            for named in ["EdDSA", "Ed25519"] {
                let alg = Algorithm::named(named).unwrap();
                assert!(matches!(set.find(None, alg), KeyLookup::Key(_)), "{named}");
            }
        }
        assert_eq!(Algorithm::named("Ed448"), None);
    }

    #[test]
    fn a_token_without_kid_matches_only_a_set_with_one_key() {
        let key = format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{X}"}}"#);
        let set = KeySet::parse(&format!(r#"{{"keys":[{key},{key}]}}"#)).unwrap();
        assert!(matches!(
            set.find(None, Algorithm::EdDsa),
            KeyLookup::Unknown
        ));
    }

    #[test]
    fn json_that_is_not_a_key_set_is_refused() {
        for json in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
            assert_eq!(
                KeySet::parse(json).err(),
                Some(KeySetError::NotAKeySet),
                "{json}"
            );
        }
        assert_eq!(
            KeySet::parse(r#"{"keys":[]}"#).err(),
            Some(KeySetError::NoUsableKey(vec![]))
        );
    }
}
