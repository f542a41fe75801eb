//! JWK Sets: the keys that verify tokens, each for one algorithm.
//!
//! The key fixes the algorithm (RFC 8725 section 3.1): a token cannot choose how
//! it is verified.

use std::ops::RangeInclusive;
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

/// The sizes of an RSA modulus that are accepted, in bits: RFC 7518 section 3.3 sets
/// the lower limit, AWS-LC the upper one.
const RSA_BITS: RangeInclusive<usize> = 2048..=8192;

const NOT_FOR_VERIFYING: &str = "is not for verifying signatures (`use`, `key_ops`)";

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
#[derive(Debug, Clone, Default)]
pub struct KeySet {
    keys: Vec<Arc<Key>>,
    /// Which keys cannot verify, and why.
    pub(super) skipped: Vec<String>,
}

/// A public key with its one algorithm.
#[derive(Debug)]
pub(super) struct Key {
    kid: Option<String>,
    pub(super) algorithm: Algorithm,
    public_key: ParsedPublicKey,
}

/// The supported signature algorithms (RFC 7518 section 3.1, RFC 8037 section 3.1).
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

impl KeySet {
    /// Parses a JWK Set. Keys that cannot be used are skipped. An error is the rest of a
    /// sentence for the operator.
    pub fn parse(json: &str) -> Result<Self, String> {
        #[derive(Deserialize)]
        struct JwkSet<'a> {
            #[serde(borrow)]
            keys: Vec<&'a RawValue>,
        }
        let set: JwkSet<'_> =
            serde_json::from_str(json).map_err(|_| "is not a JWK Set (RFC 7517 section 5)")?;

        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, jwk) in set.keys.into_iter().enumerate() {
            match Key::from_jwk(jwk) {
                Ok(key) => keys.push(Arc::new(key)),
                Err(problem) => skipped.push(format!("key {index} {problem}")),
            }
        }
        if keys.is_empty() {
            skipped.insert(0, "has no usable key".to_owned());
            return Err(skipped.join("; "));
        }
        // Many sets have keys for encryption too, such as Keycloak's.
        skipped.retain(|key| !key.ends_with(NOT_FOR_VERIFYING));
        Ok(Self { keys, skipped })
    }

    /// Logs a warning for each key that was skipped. `name` is the key set's.
    pub(super) fn log_skipped(&self, name: &str) {
        for cause in &self.skipped {
            tracing::warn!(key_set = name, cause, "a key of the set is skipped");
        }
    }

    /// Finds the key that a token names, if it is for the token's `alg`. Keys of
    /// different types may share an id (RFC 7517 section 4.5).
    pub(super) fn find(&self, kid: Option<&str>, alg: Algorithm) -> Option<Arc<Key>> {
        let mut named = self.named(kid);
        named.find(|key| key.algorithm == alg).cloned()
    }

    /// Returns the keys that a token names by `kid`. A token without `kid` names the only
    /// key of a set that has one key.
    pub(super) fn named(&self, kid: Option<&str>) -> impl Iterator<Item = &Arc<Key>> {
        self.keys.iter().filter(move |key| match kid {
            Some(kid) => key.kid.as_deref() == Some(kid),
            None => self.keys.len() == 1,
        })
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
    /// Reads a key. An error is the rest of a sentence, for the operator.
    fn from_jwk(jwk: &RawValue) -> Result<Self, String> {
        let jwk: Jwk = parsed(Some(jwk)).ok_or("is not a JSON Web Key")?;
        let is_for_signatures = jwk.public_key_use.as_ref().is_none_or(|it| it == "sig");
        let can_verify = |operations: &Vec<String>| operations.iter().any(|it| it == "verify");
        if !is_for_signatures || !jwk.key_ops.as_ref().is_none_or(can_verify) {
            return Err(NOT_FOR_VERIFYING.to_owned());
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
    /// RFC 9068 section 2.1 requires everybody to support. The type `oct` is never
    /// accepted: a key that verifies an HMAC can also forge one.
    fn algorithm(&self) -> Result<Algorithm, &'static str> {
        let of_type: &[Algorithm] = match (self.kty.as_str(), self.crv.as_deref()) {
            ("RSA", _) => &[Algorithm::Rs256, Algorithm::Ps256],
            ("EC", Some("P-256")) => &[Algorithm::Es256],
            ("EC", Some("P-384")) => &[Algorithm::Es384],
            ("OKP", Some("Ed25519")) => &[Algorithm::EdDsa],
            _ => return Err("has an unknown or refused type (`kty`, `crv`)"),
        };
        let Some(alg) = self.alg.as_deref() else {
            return Ok(of_type[0]);
        };
        Algorithm::named(alg)
            .filter(|algorithm| of_type.contains(algorithm))
            .ok_or("has an `alg` that is unknown or not for its type")
    }

    fn rsa_key(&self, parameters: &'static RsaParameters) -> Result<ParsedPublicKey, String> {
        let n = bytes("n", self.n.as_deref())?;
        let e = bytes("e", self.e.as_deref())?;
        let (n, e) = (without_zeros(&n), without_zeros(&e));
        let bits = n.len() * 8 - n.first().map_or(0, |byte| byte.leading_zeros() as usize);
        if !RSA_BITS.contains(&bits) {
            return Err("has an RSA modulus under 2048 or over 8192 bits".to_owned());
        }
        let key = RsaPublicKeyComponents { n, e }.to_parsed_public_key(parameters);
        key.map_err(|_| bad("e", "no exponent for `n`"))
    }

    fn ec_key(
        &self,
        length: usize,
        algorithm: &'static dyn VerificationAlgorithm,
    ) -> Result<ParsedPublicKey, String> {
        let x = coordinate("x", self.x.as_deref(), length)?;
        let y = coordinate("y", self.y.as_deref(), length)?;
        // SEC 1 section 2.3.3: an uncompressed point.
        let key = ParsedPublicKey::new(algorithm, [&[4], x.as_slice(), &y].concat());
        key.map_err(|_| bad("y", "no point of the curve with `x`"))
    }

    fn ed_key(&self) -> Result<ParsedPublicKey, String> {
        let x = bytes("x", self.x.as_deref())?;
        let mut point: [u8; 32] = x.try_into().map_err(|_| bad("x", "wrong length"))?;
        let key = ParsedPublicKey::new(&ED25519, point);
        // The highest bit is the sign (RFC 8032 section 5.1.2).
        point[31] &= 0x7f;
        let is_small = SMALL_ORDER.contains(&URL_SAFE_NO_PAD.encode(point).as_str());
        let key = key.ok().filter(|_| !is_small);
        key.ok_or_else(|| bad("x", "no point of the curve, or of small order"))
    }
}

/// Strips leading zeros, which some libraries add (RFC 7518 section 6.3.1.1).
fn without_zeros(number: &[u8]) -> &[u8] {
    let zeros = number.iter().take_while(|byte| **byte == 0).count();
    &number[zeros..]
}

/// Reads a coordinate of this length. Extra zeros in front of it are accepted: Java's
/// `BigInteger.toByteArray` adds one.
fn coordinate(name: &str, parameter: Option<&str>, length: usize) -> Result<Vec<u8>, String> {
    let mut bytes = bytes(name, parameter)?;
    let extra = bytes.len().checked_sub(length);
    let extra = extra.filter(|extra| bytes[..*extra].iter().all(|byte| *byte == 0));
    let extra = extra.ok_or_else(|| bad(name, "wrong length"))?;
    Ok(bytes.split_off(extra))
}

fn bytes(name: &str, parameter: Option<&str>) -> Result<Vec<u8>, String> {
    let parameter = parameter.ok_or_else(|| bad(name, "missing"))?;
    let problem = match URL_SAFE_NO_PAD.decode(parameter) {
        Ok(bytes) if bytes.is_empty() => "empty",
        Ok(bytes) => return Ok(bytes),
        Err(_) if parameter.ends_with('=') => "padding",
        Err(DecodeError::InvalidByte(..)) => "not in the alphabet of base64url",
        Err(_) => "no whole number of bytes",
    };
    Err(bad(name, problem))
}

fn bad(parameter: &str, problem: &str) -> String {
    format!("has a bad `{parameter}`: {problem}")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8037 appendix A.2.
    const X: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    /// Keys that are skipped, and why. `$X` is [`X`], `$N` a number of 2040 bits.
    const SKIPPED: &str = r#"
        7 => is not a JSON Web Key
        {"x":1e999} => is not a JSON Web Key
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
                error,
                format!("has no usable key; key 0 {problem}"),
                "{jwk}"
            );
        }
    }

    #[test]
    fn coordinates_may_have_extra_zeros_in_front() {
        // RFC 7515 appendix A.3.1.
        let x = "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU";
        let y = "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0";
        let [x, y] = [x, y].map(|number| URL_SAFE_NO_PAD.decode(number).unwrap());
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
    fn a_token_without_kid_matches_the_only_usable_key() {
        let keys = r#"{"kty":"oct","k":"AA"},{"use":"enc","kty":"RSA"},
            {"kty":"OKP","crv":"Ed25519","alg":"Ed25519","x":"$X","kid":"a"}"#;
        let set = format!(r#"{{"keys":[{}]}}"#, keys.replace("$X", X));
        let set = KeySet::parse(&set).unwrap();
        assert!(set.find(None, Algorithm::EdDsa).is_some());
        assert!(set.find(None, Algorithm::Es256).is_none());
        // Only the first is worth a warning.
        assert_eq!(set.skipped.len(), 1);
        assert!(set.skipped[0].starts_with("key 0 has an unknown or refused type"));
    }

    #[test]
    fn json_that_is_not_a_key_set_is_refused() {
        for json in ["", "{}", "[]", r#"{"keys":{}}"#, r#"{"keys":[]"#] {
            let problem = "is not a JWK Set (RFC 7517 section 5)";
            assert_eq!(KeySet::parse(json).unwrap_err(), problem, "{json}");
        }
        let none = KeySet::parse(r#"{"keys":[]}"#);
        assert_eq!(none.unwrap_err(), "has no usable key");
    }
}
