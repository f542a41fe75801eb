"""Generates the key set and the tokens of the fuzz targets with PyJWT, which is independent of the code under test.
The private keys are not stored, so commit all generated files together.

    pip install pyjwt cryptography && python3 fuzz/make_tokens.py
"""

import json
from pathlib import Path

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

HERE = Path(__file__).parent
NOW = 1_795_392_000  # 2026-11-23T00:00:00Z, as in src/lib.rs.
CUSTOMER = "b3f2b6de-8fd4-4cdf-a9d9-c5f7cecccdfe"  # As in events/.
CART = "c1"  # As in src/lib.rs.

KEYS = {
    "RS256": (RSAAlgorithm, rsa.generate_private_key(65537, 2048)),
    "PS256": (RSAAlgorithm, rsa.generate_private_key(65537, 2048)),
    "ES256": (ECAlgorithm, ec.generate_private_key(ec.SECP256R1())),
    "ES384": (ECAlgorithm, ec.generate_private_key(ec.SECP384R1())),
    "EdDSA": (OKPAlgorithm, ed25519.Ed25519PrivateKey.generate()),
}


def public(alg):
    maker, key = KEYS[alg]
    jwk = maker.to_jwk(key.public_key(), as_dict=True)
    jwk.pop("key_ops", None)
    return jwk | {"kid": alg.lower(), "alg": alg, "use": "sig"}


def token(alg, claims, header=None):
    header = {"kid": alg.lower()} | (header or {})
    claims = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(claims, KEYS[alg][1], alg, header)


def access(grant="client_credentials", **claims):
    usual = {"iss": "https://auth.example.com", "aud": "carts", "sub": "storefront", "grant_type": grant}
    return usual | {"iat": NOW, "exp": NOW + 3600} | claims


def customer(**claims):
    usual = {"iss": "https://login.example.com", "aud": ["shop"], "sub": CUSTOMER, "nbf": NOW}
    return usual | {"exp": NOW + 3600} | claims


def cart(**claims):
    usual = {"iss": "https://carts.example.com", "aud": "cart-holders", "sub": CART}
    return usual | {"exp": NOW + 3600} | claims


GOOD = {f"access-{alg.lower()}": token(alg, access()) for alg in KEYS}
GOOD |= {f"customer-{alg.lower()}": token(alg, customer()) for alg in KEYS}
GOOD |= {f"cart-{alg.lower()}": token(alg, cart()) for alg in KEYS}
GOOD |= {"access-implicit": token("EdDSA", access("implicit"))}

# Each is invalid for one reason. All but the last two are correctly signed.
BAD = {
    "bad-expired": token("EdDSA", access(exp=NOW - 31)),
    "bad-no-exp": token("EdDSA", access(exp=None)),
    "bad-not-before": token("EdDSA", access(nbf=NOW + 31)),
    "bad-audience": token("EdDSA", access(aud=["shops", "car"])),
    "bad-issuer": token("EdDSA", access(iss="https://auth.example.com/")),
    "bad-no-subject": token("EdDSA", access(sub=None)),
    "bad-customer-subject": token("EdDSA", customer(sub="a b")),
    "bad-cart": token("EdDSA", cart(sub="c2")),
    "bad-crit": token("EdDSA", access(), {"crit": ["b64"], "b64": True}),
    "bad-jwk": token("EdDSA", access(), {"jwk": public("EdDSA")}),
    "bad-kid": token("EdDSA", access(), {"kid": "es256"}),
    "bad-hmac": jwt.encode(access(), public("RS256")["n"], "HS256", {"kid": "rs256"}),
    "bad-none": jwt.encode(access(), None, "none", {"kid": "eddsa"}),
}

folder = HERE / "seeds" / "token"
folder.mkdir(parents=True, exist_ok=True)
for name, text in (GOOD | BAD).items():
    (folder / name).write_text(text)
(HERE / "keys.json").write_text(json.dumps({"keys": [public(alg) for alg in KEYS]}, indent=2) + "\n")
