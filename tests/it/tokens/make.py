#!/usr/bin/env python3
"""Generates the tokens of `hostile_tokens.rs`, with implementations that are not the one under test.

    python3 -m venv venv && venv/bin/pip install pyjwt cryptography
    venv/bin/python tests/it/tokens/make.py

It needs Python 3.11, PyJWT 2.10, cryptography 45 (for deterministic ECDSA) and the command `openssl` 3.0 or later. It
writes beside itself:

    keys.json       the key set of each kind of token, with the private keys, and the time of all tests
    good.json       tokens that must be accepted
    hostile.json    tokens that must be refused
    weak_keys.json  public keys with which anybody can forge, or with which nobody should sign; a token for each

The keys are TEST KEYS: they are published here and protect nothing. Existing ones are used again, so that another run
changes nothing but the signatures that are random by design (PS256; ES256 and ES384 of PyJWT and OpenSSL).

A case has a `fault`: the name of the `Refusal`, so that none is refused for another reason than the one that it was made
for.
"""

import base64
import hashlib
import hmac
import json
import os
import pathlib
import subprocess
import tempfile
import zlib

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

HERE = pathlib.Path(__file__).parent
NOW = 1_795_348_800  # 2026-11-22T12:00:00Z
LEEWAY = 30
LONGEST = 10 * 366 * 24 * 60 * 60
MAX_BYTES = 8192

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
HASHES = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


# Bytes and numbers


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def number(data):
    return int.from_bytes(data, "big")


def octets(value, length=None):
    return value.to_bytes(length or (value.bit_length() + 7) // 8, "big")


# Keys


def generate(alg):
    match alg:
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES384":
            return ec.generate_private_key(ec.SECP384R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case _:
            return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def pem(key):
    encoding, format = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return key.private_bytes(encoding, format, serialization.NoEncryption()).decode()


def spki(key, encoding):
    return key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def raw(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


def public_key(key):
    return serialization.load_pem_public_key(spki(key, serialization.Encoding.PEM))


def jwk(key):
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw(key))}
    public = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        return {"kty": "RSA", "n": b64(octets(public.n)), "e": b64(octets(public.e))}
    length = (key.key_size + 7) // 8
    curve = {256: "P-256", 384: "P-384"}[key.key_size]
    return {"kty": "EC", "crv": curve, "x": b64(octets(public.x, length)), "y": b64(octets(public.y, length))}


def load(text):
    return serialization.load_pem_private_key(text.encode(), None)


def read(name):
    path = HERE / name
    return json.loads(path.read_text()) if path.exists() else None


def one_line(value):
    """A case; or a group, with a line for each of its cases."""
    cases = ",\n    ".join(json.dumps(case) for case in value.get("cases", []))
    text = json.dumps(value | {"cases": []} if cases else value)
    return text.replace('"cases": []', f'"cases": [\n    {cases}]') if cases else text


def write(name, value):
    """Writes one line a case: short, and a change shows as what it is."""
    if isinstance(value, list):
        text = "[\n" + ",\n".join(map(one_line, value)) + "\n]\n"
    else:
        text = json.dumps(value, indent=2) + "\n"
    (HERE / name).write_text(text)


# Signatures, each by `cryptography` from what it is given, however odd


def sign(key, alg, data):
    if alg == "EdDSA":
        return key.sign(data)
    digest = HASHES[alg[2:5]]
    match alg[:2]:
        case "RS":
            return key.sign(data, padding.PKCS1v15(), digest)
        case "PS":
            return key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
        case "ES":
            length = (key.key_size + 7) // 8
            return b"".join(octets(n, length) for n in sign_ecdsa(key, digest, data))


def sign_ecdsa(key, digest, data):
    der = key.sign(data, ec.ECDSA(digest, deterministic_signing=True))
    return utils.decode_dss_signature(der)


def mac(secret, alg, data):
    return hmac.new(secret, data, {"HS256": "sha256", "HS384": "sha384", "HS512": "sha512"}[alg]).digest()


def openssl_sign(key, alg, data):
    """The signature by the command line of OpenSSL."""
    with tempfile.TemporaryDirectory() as folder:
        key_file, data_file = os.path.join(folder, "key.pem"), os.path.join(folder, "data")
        pathlib.Path(key_file).write_text(pem(key))
        pathlib.Path(data_file).write_bytes(data)
        digest = ["openssl", "dgst", "-sha384" if alg == "ES384" else "-sha256", "-sign", key_file]
        command = {
            "PS256": [*digest, "-sigopt", "rsa_padding_mode:pss", "-sigopt", "rsa_pss_saltlen:32", data_file],
            "EdDSA": ["openssl", "pkeyutl", "-sign", "-inkey", key_file, "-rawin", "-in", data_file],
        }.get(alg, [*digest, data_file])
        made = subprocess.run(command, check=True, capture_output=True).stdout
    if alg.startswith("ES"):
        length = (key.key_size + 7) // 8
        return b"".join(octets(n, length) for n in utils.decode_dss_signature(made))
    return made


# Tokens


class Absent:
    """Stands in for a member that shall not be there."""


def altered(members, changes):
    return {name: value for name, value in (members | changes).items() if value is not Absent}


def text(value):
    """JSON as it is given, or made from a value."""
    return value if isinstance(value, (str, bytes)) else json.dumps(value, separators=(",", ":"))


def shown(value):
    text = "missing" if value is Absent else json.dumps(value)
    return text if len(text) < 100 else text[:20] + "…"


def with_raw(members, name, value):
    """The text of an object with one more member, whose value is any text."""
    return text(members)[:-1] + f',"{name}":{value}' + "}"


def signed(data, key, alg, signature=None):
    made = signature(data.encode()) if signature else sign(key, alg, data.encode())
    return f"{data}.{b64(made)}"


good, weak = [], []
old = read("keys.json") or {}


class Kind:
    """A kind of token: its issuer, and the cases that are sent as tokens of this kind."""

    def __init__(self, name, issuer, audience, subject, id_claim="sub"):
        self.name, self.issuer, self.audience, self.subject, self.id_claim = name, issuer, audience, subject, id_claim
        kept = {entry["public"]["alg"]: load(entry["private"]) for entry in old.get(name, {}).get("keys", [])}
        self.keys = {alg: kept.get(alg) or generate(alg) for alg in ALGORITHMS}
        self.refusals = {}

    def kid(self, alg):
        return f"{self.name}-{alg.lower()}"

    def key_set(self):
        keys = []
        for alg, key in self.keys.items():
            public = jwk(key) | {"kid": self.kid(alg), "alg": alg, "use": "sig"}
            keys.append({"public": public, "private": pem(key)})
        return {"issuer": self.issuer, "audience": self.audience, "id_claim": self.id_claim, "keys": keys}

    def header(self, alg="EdDSA", **members):
        return altered({"alg": alg, "kid": self.kid(alg)}, members)

    def claims(self, **members):
        usual = {"iss": self.issuer, "aud": self.audience, "sub": self.subject, "exp": NOW + 3600}
        match self.name:
            case "access":
                usual["grant_type"] = "client_credentials"
            case "account":
                usual |= {"sub": "member-1", self.id_claim: self.subject}
        return altered(usual, members)

    def token(self, head=None, body=None, alg="EdDSA", key=None, signature=None):
        """A token, right but for what is given. Head and body may be any text or bytes; `signature` makes the signature
        of what is signed."""
        head = self.header(alg) if head is None else head
        body = self.claims() if body is None else body
        return signed(f"{b64(text(head))}.{b64(text(body))}", key or self.keys[alg], alg, signature)

    def claiming(self, **members):
        return self.token(body=self.claims(**members))

    def accept(self, name, token, subject=None, **rest):
        case = {"name": f"{self.name}: {name}", "kind": self.name, "subject": subject or self.subject, "token": token}
        good.append(case | rest)

    def refuse(self, fault, why, cases):
        """Adds tokens by name, which are refused by this fault."""
        group = {"kind": self.name, "fault": fault, "why": why, "cases": []}
        group = self.refusals.setdefault((fault, why), group)
        group["cases"] += [{"name": f"{self.name}: {name}", "token": token} for name, token in cases.items()]


KINDS = [
    Kind("access", "https://auth.test", "carts", "shop"),
    Kind("customer", "https://login.test", "shop", "ron"),
    Kind("account", "https://accounts.test", "company-shop", "acme", "account_id"),
    Kind("cart", "https://carts.test", "cart-holders", "cart-1"),
]


# Good tokens


def exactly(kind, size):
    """A token of just this length. No part can have every length, so header and claims grow."""
    for filler in range(4):
        head = kind.header(x="x" * filler)
        room = size - len(b64(text(head))) - 2 - 86
        for length in range(room * 3 // 4 - 300, room):
            made = kind.token(head, kind.claims(x="x" * max(length, 0)))
            if len(made) == size:
                return made
            if len(made) > size:
                break
    raise AssertionError(size)


def good_tokens(kind):
    for alg, key in kind.keys.items():
        data = f"{b64(text(kind.header(alg)))}.{b64(text(kind.claims()))}"
        made = {
            f"{alg} by PyJWT": jwt.encode(kind.claims(), pem(key), alg, {"kid": kind.kid(alg)}),
            f"{alg} by OpenSSL": signed(data, key, alg, lambda data: openssl_sign(key, alg, data)),
        }
        for name, token in made.items():
            kind.accept(name, token)
        made = {kid: kind.token(altered(kind.header(alg), {"kid": kid}), alg=alg) for kid in [Absent, None, ""]}
        for kid, token in made.items():
            kind.accept(f"{alg} with kid {shown(kid)}, of the only key", token, only_key=kind.kid(alg))
        for case in good[-5:-2]:  # PyJWT refuses the other two.
            jwt.decode(case["token"], public_key(key), [alg], audience=kind.audience, options={"verify_exp": False})

    for name, members in {
        "exp a millisecond before the leeway ends": {"exp": NOW - LEEWAY + 0.001},
        "exp as late as it may be": {"exp": NOW + LONGEST},
        "exp with a fraction": {"exp": NOW + 0.5},
        "nbf where the leeway begins": {"nbf": NOW + LEEWAY},
        "nbf 0": {"nbf": 0},
        "nbf before 1970": {"nbf": -1},
        "iat with a fraction": {"iat": NOW - 60.5},
        "aud an array of ours": {"aud": [kind.audience]},
        "aud an array with ours": {"aud": ["other", kind.audience]},
        "claims that nobody knows": {"roles": ["a", {"b": [1.5, None]}], "Sub": "another", "Cnf": {}, "event": {}},
        "claims that are null": {"nbf": None, "iat": None, "cnf": None, "events": None},
        "another client": {"client_id": kind.subject, "azp": ["x"], "cid": 7},
    }.items():
        kind.accept(name, kind.claiming(**members))
    for name, absent in {"no aud": Absent, "aud null": None}.items():
        token = kind.claiming(aud=absent, client_id=kind.audience)
        kind.accept(f"{name}, and client_id in its place", token, kind.audience if kind.name == "access" else None)
    body = text(kind.claims())
    for name, body in {
        "exp with an exponent": with_raw(kind.claims(exp=Absent), "exp", "1.7953524e9"),
        "a name written with escapes": body.replace('"sub"', '"\\u0073ub"'),
        "white space around the claims": " \r\n\t" + body + "\n",
        "an unknown claim 100 deep": with_raw(kind.claims(), "x", "[" * 100 + "]" * 100),
    }.items():
        kind.accept(name, kind.token(body=body))
    for typ in ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT", None]:
        kind.accept(f"typ {typ}", kind.token(kind.header() | {"typ": typ}))
    kind.accept("alg Ed25519, RFC 9864", kind.token(kind.header() | {"alg": "Ed25519"}))
    kind.accept("header members that nobody knows", kind.token(kind.header(x=[1], Crit=["x"], b64=True)))
    # RFC 7515 4.1.2: a verifier may ignore them. Some issuers always send them.
    mine = jwk(ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32))
    for name, value in {"jwk": mine, "jku": ATTACKER, "x5u": ATTACKER, "x5c": [], "jwk null": None}.items():
        kind.accept(f"{name} in the header", kind.token(kind.header() | {name.split()[0]: value}))
    kind.accept(f"{MAX_BYTES} bytes", exactly(kind, MAX_BYTES))

    match kind.name:
        case "access":
            kind.accept("sub in any script", kind.claiming(sub="лавка №7"), "лавка №7")
            for claim in ["client_id", "azp", "cid", "appid"]:
                kind.accept(f"{claim} without sub", kind.claiming(sub=Absent, **{claim: "web"}), "web")
            kind.accept("client_id before others", kind.claiming(client_id="web", azp="x", cid="x", sub=7), "web")
            kind.accept("a client_id that is null", kind.claiming(client_id=None, azp="web"), "web")
        case "account":
            kind.accept("no sub", kind.claiming(sub=Absent))
        case _:
            for id in ["R", "a-_0" * 32]:
                kind.accept(f"sub of {len(id)}", kind.claiming(sub=id), id)


ATTACKER = "https://attacker.test/keys"


# Hostile tokens


def without_signature(kind):
    why = "RFC 8725 2.1, 3.2: `none` in any spelling is no algorithm."
    stolen = unb64(kind.token().rsplit(".", 1)[1])
    heads = {f"alg {alg!r}": kind.header() | {"alg": alg} for alg in ["none", "None", "NONE", "nOnE", "none ", ""]}
    unsigned = {name: kind.token(head, signature=lambda _: b"") for name, head in heads.items()}
    unsigned["alg none without kid"] = kind.token({"alg": "none", "typ": "JWT"}, signature=lambda _: b"")
    unsigned["a right header"] = kind.token(signature=lambda _: b"")
    kind.refuse("not_compact_jws", why, {f"{name} with an empty signature": made for name, made in unsigned.items()})
    signed = {f"{name} with a signature": kind.token(head) for name, head in heads.items()}
    signed["alg none with the signature of another token"] = kind.token(
        kind.header() | {"alg": "none"}, signature=lambda _: stolen
    )
    kind.refuse("unknown_algorithm", why, signed)
    values = [Absent, None, 0, True, [], ["EdDSA"], {"alg": "EdDSA"}, {RAW_VALUE: '"EdDSA"'}]
    cases = {f"alg {shown(value)}": kind.token(altered(kind.header(), {"alg": value})) for value in values}
    kind.refuse("malformed_header", "RFC 7515 4.1.1: `alg` must be there and a string.", cases)


def shared_secrets(kind):
    """A public key, which everybody has, taken for the secret of an HMAC."""
    why = "RFC 8725 2.1, 3.1: a public key used as the secret of an HMAC lets anybody sign."
    key = kind.keys["RS256"]
    PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
    pkcs1 = [key.public_key().public_bytes(of, serialization.PublicFormat.PKCS1) for of in (PEM, DER)]
    secrets = {
        "key's RSA PEM": spki(key, PEM), "key's RSA PEM without its last newline": spki(key, PEM).rstrip(),
        "key's RSA DER": spki(key, DER), "key's RSA PKCS#1 PEM": pkcs1[0], "key's RSA PKCS#1 DER": pkcs1[1],
        "key's RSA n as bytes": unb64(jwk(key)["n"]), "key's RSA n as text": jwk(key)["n"].encode(),
        "key's RSA JWK": text(jwk(key)).encode(),
    }  # fmt: skip
    weak_secrets = ["", "secret", "your-256-bit-secret", kind.kid("RS256"), "\0"]
    secrets |= {f"secret {secret!r}": secret.encode() for secret in weak_secrets}

    def hmac(head, secret, alg="HS256"):
        return kind.token(head, signature=lambda data: mac(secret, alg, data))

    head = kind.header("RS256")
    made = {f"HS256 with the {name}": hmac(head | {"alg": "HS256"}, secret) for name, secret in secrets.items()}
    made |= {
        f"{alg} with the key's PEM": hmac(head | {"alg": alg}, secrets["key's RSA PEM"], alg)
        for alg in ["HS384", "HS512"]
    }
    others = {
        "RS256 that is an HMAC with the key's PEM": (head, secrets["key's RSA PEM"]),
        "ES256 that is an HMAC with the key's PEM": (kind.header("ES256"), spki(kind.keys["ES256"], PEM)),
        "ES256 that is an HMAC with the key's x": (kind.header("ES256"), unb64(jwk(kind.keys["ES256"])["x"])),
        "EdDSA that is an HMAC with the key's x": (kind.header(), raw(kind.keys["EdDSA"])),
    }
    for name, (head, secret) in others.items():
        made[f"HS256 for {name}"] = hmac(head | {"alg": "HS256"}, secret)
    for kid, secret in [("../../../../../../dev/null", b""), ("x' UNION SELECT 'key';-- ", b"key")]:
        made[f"HS256 with what kid {kid!r} may yield"] = hmac({"alg": "HS256", "kid": kid}, secret)
    kind.refuse("unknown_algorithm", why, made)
    kind.refuse("signature", why, {name: hmac(*of) for name, of in others.items()})


def other_algorithms(kind):
    why = "RFC 8725 3.1: a key serves its own algorithm alone."
    for of in ALGORITHMS:
        for alg in ALGORITHMS:
            head = kind.header(of) | {"alg": alg}
            cases = {f"{alg} for the {of} key, signed by the {alg} key": kind.token(head, alg=alg)}
            if alg[0] != of[0] or alg == "ES384":
                cases[f"{alg} for the {of} key, signed by the {of} key"] = kind.token(head, alg=of)
            if alg != of:
                kind.refuse("unknown_key", why, cases)
    for of, alg in [("RS256", "PS256"), ("PS256", "RS256")]:
        head, key = kind.header(of), kind.keys[of]
        made = kind.token(head | {"alg": alg}, alg=alg, key=key)
        kind.refuse("unknown_key", why, {f"a right {alg} signature by the {of} key": made})
        made = kind.token(head, alg=alg, key=key)
        kind.refuse("signature", why, {f"{of} that is a right {alg} signature": made})


def other_names(kind):
    why = "RFC 8725 3.1: only the five algorithms of the contract are known, by their exact names."
    for of, alg in [("RS256", "RS384"), ("RS256", "RS512"), ("PS256", "PS384"), ("PS256", "PS512"), ("ES256", "ES384")]:
        key, head, digest = kind.keys[of], kind.header(of), HASHES[alg[2:]]
        if of == "ES256":
            made = kind.token(head, signature=lambda d: b"".join(octets(n, 32) for n in sign_ecdsa(key, digest, d)))
        else:
            made = kind.token(head, alg=alg, key=key)
            cases = {f"{alg} by the {of} key": kind.token(head | {"alg": alg}, alg=alg, key=key)}
            kind.refuse("unknown_algorithm", why, cases)
        kind.refuse("signature", "RFC 7518 3: an algorithm fixes its hash.", {f"{of} over the hash of {alg}": made})
    names = {
        "RS256": ["rs256", "RS1"],
        "ES256": ["es256", "ES256K", "ES512"],
        "EdDSA": ["EDDSA", "ed25519", "Ed448", "dir", "EdDSA\0"],
    }
    for of, algs in names.items():
        made = {alg: kind.token(kind.header(of) | {"alg": alg}, alg=of) for alg in algs}
        cases = {f"alg {alg!r} of a right {of} signature": made for alg, made in made.items()}
        kind.refuse("unknown_algorithm", why, cases)


ORDER = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def ecdsa(kind, alg):
    n, length, key = ORDER[alg], 32 if alg == "ES256" else 48, kind.keys[alg]

    def numbers(data):
        return sign_ecdsa(key, HASHES[alg[2:]], data)

    def fixed(r, s, length=length):
        return octets(r, length) + octets(s, length)

    def refuse(why, signatures):
        made = {f"{alg} {name}": kind.token(alg=alg, signature=make) for name, make in signatures.items()}
        kind.refuse("signature", why, made)

    value = {"0": 0, "1": 1, "n": n, "max": 256**length - 1}
    pairs = ["0 0", "n n", "1 1", "max max"] + ["0 n", "n 0", "0 1", "1 0", "n 1"] * (alg == "ES256")
    why = "RFC 8725 2.1, CVE-2022-21449: r and s must be in range, or anybody can sign."
    for r, s in map(str.split, pairs):
        refuse(why, {f"with r={r}, s={s}": lambda _: fixed(value[r], value[s])})
    refuse(why, {"with the right r and s=0": lambda d: fixed(numbers(d)[0], 0)})
    refuse(why, {"with r=0 and the right s": lambda d: fixed(0, numbers(d)[1])})
    signatures = {
        "in DER": lambda d: utils.encode_dss_signature(*numbers(d)),
        "with r and s swapped": lambda d: fixed(*reversed(numbers(d))),
        "with r alone": lambda d: octets(numbers(d)[0], length),
        "a byte short": lambda d: fixed(*numbers(d))[:-1],
    }
    if alg == "ES256":
        signatures |= {
            "with a byte more": lambda d: fixed(*numbers(d)) + b"\0",
            "with a byte more in front": lambda d: b"\0" + fixed(*numbers(d)),
            "with longer numbers": lambda d: fixed(*numbers(d), length=length + 16),
            "twice": lambda d: fixed(*numbers(d)) * 2,
            "in little endian": lambda d: b"".join(x.to_bytes(length, "little") for x in numbers(d)),
            "as hexadecimal text": lambda d: fixed(*numbers(d)).hex().encode(),
        }
    refuse("RFC 7518 3.4: a signature is r and s, each of the curve's length.", signatures)


L = 2**252 + 27742317777372353535851937790883648493


def eddsa(kind):
    key = kind.keys["EdDSA"]
    identity = b"\x01" + bytes(31)

    def plus_order(data):
        made = key.sign(data)
        return made[:32] + (int.from_bytes(made[32:], "little") + L).to_bytes(32, "little")

    def refuse(why, signatures):
        made = {f"EdDSA {name}": kind.token(signature=make) for name, make in signatures.items()}
        kind.refuse("signature", why, made)

    refuse(
        "RFC 8032 5.1.7: neither R nor S may be anything else.",
        {
            "of zeros": lambda _: bytes(64),
            "with R the identity and S=0": lambda _: identity + bytes(32),
            "with the right R and S=0": lambda d: key.sign(d)[:32] + bytes(32),
            "with S and the order added": plus_order,
            "with R and S swapped": lambda d: key.sign(d)[32:] + key.sign(d)[:32],
            "a byte short": lambda d: key.sign(d)[:-1],
            "with a byte more": lambda d: key.sign(d) + b"\0",
            "with the public key for R": lambda _: raw(key) + bytes(32),
        },
    )
    disguised = {"over the hash (Ed25519ph in disguise)": lambda d: key.sign(hashlib.sha512(d).digest())}
    refuse("RFC 8037 3.1: Ed25519 signs the text, not its hash.", disguised)


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def pkcs1(data, length, info=SHA256_INFO, kind=b"\x01", fill=b"\xff", after=b"", ones=None):
    end = b"\0" + info + hashlib.sha256(data).digest() + after
    ones = length - 2 - len(end) if ones is None else ones
    return (b"\0" + kind + fill * ones + end).ljust(length, b"\0")


def mgf1(seed, length, digest=hashlib.sha256):
    return b"".join(digest(seed + octets(i, 4)).digest() for i in range(length // digest().digest_size + 1))[:length]


def pss(data, length, salt=b"s" * 32, trailer=b"\xbc", digest=hashlib.sha256):
    """EMSA-PSS of RFC 8017 9.1.1 for a modulus of 8 * length bits."""
    made = hashlib.sha256(bytes(8) + hashlib.sha256(data).digest() + salt).digest()
    block = bytes(length - len(salt) - 34) + b"\x01" + salt
    masked = bytes(a ^ b for a, b in zip(block, mgf1(made, len(block), digest)))
    return bytes([masked[0] & 0x7F]) + masked[1:] + made + trailer


def rsa_raw(key, message):
    private = key.private_numbers()
    return octets(pow(number(message), private.d, private.public_numbers.n), 256)


def rsa_signatures(kind):
    key = kind.keys["RS256"]
    n = key.public_key().public_numbers().n

    def refuse(alg, why, signatures):
        made = {f"{alg} {name}": kind.token(alg=alg, signature=make) for name, make in signatures.items()}
        kind.refuse("signature", why, made)

    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20"
    why = "RFC 8017 8.2.2: the padding must be what it must be, byte by byte."
    signatures = {
        "of zeros": lambda _: bytes(256),
        "of one": lambda _: octets(1, 256),
        "of n-1": lambda _: octets(n - 1, 256),
        "of n": lambda _: octets(n, 256),
        "that is the padded message itself": lambda d: pkcs1(d, 256),
        "without the NULL of the hash's name": lambda d: rsa_raw(key, pkcs1(d, 256, info=without_null)),
        "without the hash's name": lambda d: rsa_raw(key, pkcs1(d, 256, info=b"")),
        "with something after the hash": lambda d: rsa_raw(key, pkcs1(d, 256, after=b"\0" * 100, ones=8)),
        "with padding of block type 0": lambda d: rsa_raw(key, pkcs1(d, 256, kind=b"\0", fill=b"\0")),
        "with padding of block type 2": lambda d: rsa_raw(key, pkcs1(d, 256, kind=b"\x02", fill=b"\x55")),
        "over SHA-1": lambda d: key.sign(d, padding.PKCS1v15(), hashes.SHA1()),
        "a byte short": lambda d: sign(key, "RS256", d)[:-1],
        "with a byte more in front": lambda d: b"\0" + sign(key, "RS256", d),
    }
    refuse("RS256", why, signatures)
    for count in range(10**6):
        made = kind.token(body=kind.claims(jti=count), alg="RS256")
        data, value = made.rsplit(".", 1)[0], unb64(made.rsplit(".", 1)[1])
        if value[0] == 0:
            break
    cases = {"RS256 without the zero in front": f"{data}.{b64(value[1:])}"}
    kind.refuse("signature", "RFC 8017 8.2.2: a signature is as long as the modulus.", cases)
    cases = {"RS256 with n added": f"{data}.{b64(octets(number(value) + n, 256))}"}
    kind.refuse("signature", "RFC 8017 5.2.2: a signature is less than the modulus.", cases)

    of = kind.keys["PS256"]
    by_the_book = kind.token(alg="PS256", signature=lambda d: rsa_raw(of, pss(d, 256)))
    jwt.decode(by_the_book, public_key(of), ["PS256"], audience=kind.audience, options={"verify_exp": False})
    refuse(
        "PS256",
        "RFC 7518 3.5: the salt is as long as the hash, the mask's hash is the same.",
        {
            "without salt": lambda d: rsa_raw(of, pss(d, 256, salt=b"")),
            "with a salt of 20 bytes": lambda d: rsa_raw(of, pss(d, 256, salt=b"s" * 20)),
            "with the longest salt": lambda d: rsa_raw(of, pss(d, 256, salt=b"s" * 222)),
            "masked by SHA-1": lambda d: rsa_raw(of, pss(d, 256, digest=hashlib.sha1)),
            "with another trailer": lambda d: rsa_raw(of, pss(d, 256, trailer=b"\xcc")),
            "that is the padded message itself": lambda d: pss(d, 256),
            "of zeros": lambda _: bytes(256),
        },
    )


def key_ids(kind):
    own = kind.kid("EdDSA")
    kids = [
        "0", "*", "unknown", own.upper(), own + " ", own + "\0", own[:-1], own.replace("a", "\u0430"), f"x/../{own}",
        "../../../../../../dev/null", ATTACKER, "x' UNION SELECT 'key';-- ", "$(id)", "k" * 1000,
    ]  # fmt: skip
    why = "RFC 8725 2.9, 3.10: `kid` is looked up in the set, compared as it is, and goes nowhere else."
    kind.refuse("unknown_key", why, {f"kid {shown(kid)}": kind.token(kind.header(kid=kid)) for kid in kids})
    why = "The contract: without `kid` only a set of one key is tried."
    cases = {kid: kind.token(altered(kind.header(), {"kid": kid})) for kid in [Absent, None, ""]}
    cases = {f"kid {shown(kid)} where there is a choice": token for kid, token in cases.items()}
    kind.refuse("unknown_key", why, cases)
    kids = [True, 0, 1.5, [], [own], {"kid": own}, {RAW_VALUE: f'"{own}"'}]
    cases = {f"kid {json.dumps(kid)}": kind.token(kind.header() | {"kid": kid}) for kid in kids}
    kind.refuse("malformed_header", "RFC 7515 4.1.4: `kid` is a string.", cases)


def header_members(kind):
    mine = ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    certificate = base64.b64encode(spki(mine, serialization.Encoding.DER)).decode()
    why = "RFC 8725 2.9, 3.10: a key that a token brings, or whose place it names, verifies nothing."
    for name, value in {"jwk": jwk(mine), "jku": ATTACKER, "x5u": ATTACKER, "x5c": [certificate]}.items():
        made = kind.token(kind.header() | {name: value}, key=mine)
        kind.refuse("signature", why, {f"{name}, signed by the key that it means": made})
        made = kind.token(kind.header(kid=Absent) | {name: value}, key=mine)
        kind.refuse("unknown_key", why, {f"{name} without kid, signed by the key that it means": made})
    made = kind.token({"alg": "EdDSA", "kid": "mine", "jwk": jwk(mine) | {"kid": "mine"}}, key=mine)
    kind.refuse("unknown_key", why, {"jwk with its own kid, signed by the key that it means": made})

    why = "RFC 7515 4.1.11: nothing critical is understood, and `crit` must not be empty or name what is standard."
    members = {
        "crit ['x']": {"crit": ["x"], "x": 1}, "crit []": {"crit": []},
        "crit ['exp']": {"crit": ["exp"], "exp": NOW + 60}, "crit ['kid', 'alg']": {"crit": ["kid", "alg"]},
        "crit null": {"crit": None}, "crit a string": {"crit": "x"},
        "crit ['b64'] with b64 true": {"crit": ["b64"], "b64": True},
        "crit of what is not there": {"crit": ["absent"]},
        "crit ['b64'] with b64 false": {"crit": ["b64"], "b64": False},
    }  # fmt: skip
    cases = {name: kind.token(kind.header() | member) for name, member in members.items()}
    escaped = text(kind.header(crit=["x"])).replace('"crit"', '"\\u0063rit"')
    kind.refuse("refused_header", why, cases | {"crit written with escapes": kind.token(escaped)})
    why = "RFC 7797 6: an extension that must be critical."
    body = json.dumps(kind.claims(iss="x", exp=NOW + 60))
    for fault, members in {"refused_header": {"crit": ["b64"]}, "not_compact_jws": {}}.items():
        data = f"{b64(text(kind.header(b64=False, **members)))}.{body}"
        name = f"unencoded claims, with {members}"
        kind.refuse(fault, why, {name: signed(data, kind.keys["EdDSA"], "EdDSA")})

    why = "RFC 8725 3.11: a token that is explicitly of another type is for something else."
    types = [
        "logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "id_token", "JWE", "JOSE", "", "other",
        "at+jwt ", "application/", "application/application/jwt", "text/jwt", "jwt,at+jwt", "jwt;x=y", "\uff2a\uff37\uff34",
        7, True, ["JWT"], {"typ": "JWT"}, {RAW_VALUE: '"JWT"'},
    ]  # fmt: skip
    cases = {f"typ {shown(typ)}": kind.token(kind.header() | {"typ": typ}) for typ in types}
    kind.refuse("refused_header", why, cases)


def substitution(kind):
    """Tokens of other kinds, or for other purposes, and tokens that the keys of other kinds signed."""
    why = "RFC 8725 2.7, 2.8, 3.9, 3.12: a token for another place or of another kind."
    for other in KINDS:
        if other == kind:
            continue
        for alg in ALGORITHMS:
            by = f"signed by the {other.name} set's {alg} key"
            key = other.keys[alg]
            cases = {
                f"a good {other.name} token of {alg}": other.token(alg=alg),
                by: kind.token(other.header(alg), alg=alg, key=key),
            }
            kind.refuse("unknown_key", why, cases)
            made = kind.token(kind.header(alg), alg=alg, key=key)
            kind.refuse("signature", why, {f"{by}, named like ours": made})
        cases = {
            f"a good {other.name} token but for our key": kind.token(body=other.claims()),
            f"the issuer of {other.name} tokens": kind.claiming(iss=other.issuer),
        }
        kind.refuse("issuer", why, cases)
        cases = {
            f"the audience of {other.name} tokens": kind.claiming(aud=other.audience),
            f"the audience of {other.name} tokens as client_id": kind.claiming(aud=Absent, client_id=other.audience),
        }
        kind.refuse("audience", why, cases)
    id_token = kind.claims(aud="client-7", nonce="n", azp="client-7")
    cases = {
        "our issuer's token for somebody else": kind.claiming(aud="https://bank.example"),
        "an ID token of our issuer": kind.token(kind.header(typ="JWT"), id_token),
        "an ID token of a client named like us": kind.claiming(aud=["client-7"], client_id=kind.audience),
    }
    kind.refuse("audience", why, cases)
    made = kind.claiming(iss=kind.subject, aud=kind.issuer)
    kind.refuse("issuer", why, {"a client's own assertion": made})
    logout = {"https://schemas.openid.net/event/backchannel-logout": {}}
    why = "RFC 8417 2.2, RFC 8725 3.11: a security event, such as a logout, has the parties of an ID token."
    values = {"of a logout": logout, "empty": {}, "a string": "x", "false": False}
    kind.refuse("refused_claim", why, {f"events {name}": kind.claiming(events=value) for name, value in values.items()})
    why = "RFC 9449 6, RFC 8705 3: a token that is bound to a key is nothing without the proof of that key."
    values = {"jkt": {"jkt": "x"}, "x5t#S256": {"x5t#S256": "x"}, "empty": {}, "a string": "x", "0": 0}
    kind.refuse("refused_claim", why, {f"cnf {name}": kind.claiming(cnf=value) for name, value in values.items()})


def forged_parts(kind):
    """Parts of good tokens, put together anew."""
    key = kind.keys["EdDSA"]
    head, body, signature = kind.token().split(".")

    def encoded(**members):
        return b64(text(kind.claims(**members)))

    def raw_signature(data):
        return b64(key.sign(data))

    cases = {
        "another subject under the old signature": f"{head}.{encoded(**{kind.id_claim: 'hermione'})}.{signature}",
        "a later exp under the old signature": f"{head}.{encoded(exp=NOW + 7200)}.{signature}",
        "another header under the old signature": f"{b64(text(kind.header(typ='JWT')))}.{body}.{signature}",
        "the signature of another token of the key": f"{head}.{body}.{kind.claiming(jti=1).split('.')[2]}",
        "signed over the claims alone": f"{head}.{body}.{raw_signature(body.encode())}",
        "signed over what is not encoded": f"{head}.{body}.{raw_signature(unb64(head) + b'.' + unb64(body))}",
    }
    if kind.name == "access":
        implicit = kind.claiming(grant_type="implicit").split(".")
        cases["another grant under the old signature"] = f"{implicit[0]}.{body}.{implicit[2]}"
    for alg in ALGORITHMS:
        head_, body_, signature_ = kind.token(alg=alg).split(".")
        flipped = bytearray(unb64(signature_))
        flipped[len(flipped) // 2] ^= 1
        cases[f"{alg} with one bit of the signature flipped"] = f"{head_}.{body_}.{b64(bytes(flipped))}"
        flipped = bytearray(unb64(body_))
        flipped[text(kind.claims()).index(f'"{kind.id_claim}":"') + len(kind.id_claim) + 4] ^= 1
        cases[f"{alg} with one bit of the subject flipped"] = f"{head_}.{b64(bytes(flipped))}.{signature_}"
    kind.refuse("signature", "RFC 8725 3.3: every part is signed.", cases)
    kind.refuse("not_compact_jws", "RFC 7519 1: a JWT has its claims.", {"detached claims": f"{head}..{signature}"})


def duplicates(kind):
    head, body = kind.header(), kind.claims()
    heads = {
        "alg twice, the same": with_raw(head, "alg", '"EdDSA"'),
        "alg none, then the right one": '{"alg":"none",' + text(head)[1:],
        "the right alg, then none": with_raw(head, "alg", '"none"'),
        "kid twice, the same": with_raw(head, "kid", f'"{head["kid"]}"'),
        "another kid first": '{"kid":"x",' + text(head)[1:],
        "another kid last": with_raw(head, "kid", '"x"'),
        "an unknown header member twice": with_raw(kind.header(x=1), "x", "1"),
        "alg twice, once written with escapes": with_raw(head, "\\u0061lg", '"EdDSA"'),
    }
    bodies = {
        "sub twice, once written with escapes": with_raw(body, "\\u0073ub", '"hermione"'),
        "sub twice, once all in escapes": '{"\\u0073\\u0075\\u0062":"hermione",' + text(body)[1:],
        "nbf twice": with_raw(kind.claims(nbf=NOW), "nbf", str(NOW)),
        "an unknown claim twice": with_raw(kind.claims(x=1), "x", "2"),
        "an empty name twice": with_raw(kind.claims(**{"": 1}), "", "1"),
    }
    for name, value in body.items():
        bodies[f"{name} twice, the same"] = with_raw(body, name, json.dumps(value))
        bodies[f"{name} null first"] = f'{{"{name}":null,' + text(body)[1:]
        bodies[f"{name} null last"] = with_raw(body, name, "null")
    cases = {name: kind.token(head) for name, head in heads.items()}
    cases |= {name: kind.token(body=body) for name, body in bodies.items()}
    why = "RFC 7515 4, RFC 7519 4: of a member that stands twice, one parser sees the first, another the last."
    kind.refuse("duplicate_member", why, cases)


RAW_VALUE = "$serde_json::private::RawValue"


def times(kind):
    now, late = NOW + 3600, NOW + LONGEST

    def refuse(fault, why, claim, values):
        bodies = {value: with_raw(kind.claims(**{claim: Absent}), claim, value) for value in values}
        kind.refuse(fault, why, {f"{claim} {value}": kind.token(body=body) for value, body in bodies.items()})

    wrong = "RFC 7519 2, 4.1.4: a time is a JSON number of seconds, and `exp` is required."
    near = {f"{name!r} for exp": {name: now} for name in ["Exp", "EXP", "exp ", "expires", "exp\0"]}
    near |= {"exp missing": {}}
    kind.refuse("missing_claim", wrong, {name: kind.claiming(exp=Absent, **of) for name, of in near.items()})
    refuse("missing_claim", wrong, "exp", ["null"])
    values = [
        '"1795352400"', '""', '"NaN"', '"2030-01-01T00:00:00Z"', "true", "[1795352400]", "{}", '{"exp":1795352400}',
        f'{{"{RAW_VALUE}":"1795352400"}}', '{"$serde_json::private::Number":"1795352400"}',
    ]  # fmt: skip
    refuse("malformed_claim", wrong, "exp", values)
    values = "1e400 -1e400 NaN Infinity 0x6B030A10 01795352400 +1795352400 1795352400. 1_795_352_400".split()
    refuse("not_json_object", "RFC 8259 6: not a JSON number, or one that nobody can hold.", "exp", values + [""])
    values = [
        "0", "-0.0", "-1", "1e-400", "-1e308", str(-(2**63)), str(-(2**63) - 1), f"{NOW}e-3", str(NOW - LEEWAY),
        f"{NOW - LEEWAY}.0", str(NOW - LEEWAY - 0.001), str(NOW - 3600),
    ]  # fmt: skip
    refuse("expired", "RFC 8725 3.8 and RFC 7519 4.1.4: not after `exp`, with a leeway of 30 s.", "exp", values)
    values = [
        late + 1,
        late + 0.001,
        now * 1000,
        2**53,
        2**53 + 1,
        2**63 - 1,
        2**63,
        2**64 - 1,
        2**64,
        "1e308",
        "9" * 40,
    ]
    why = "The contract: a token that in effect never expires is a mistake."
    refuse("expires_too_late", why, "exp", map(str, values))
    values = [NOW + LEEWAY + 0.001, NOW + 3600, NOW * 1000, 2**63 - 1, 2**64 - 1, "1e308"]
    why = "RFC 7519 4.1.5: not before `nbf`, with a leeway of 30 s."
    refuse("not_yet_valid", why, "nbf", map(str, values))
    for claim in ["nbf", "iat"]:
        why = f"RFC 7519 4.1.5, 4.1.6: `{claim}` is a JSON number where it is there."
        values = [f'"{NOW - 60}"', "true", f"[{NOW - 60}]", f'{{"{RAW_VALUE}":"0"}}']
        refuse("malformed_claim", why, claim, values)
        refuse("not_json_object", why, claim, ["1e400"])


def parties(kind):
    iss, aud = kind.issuer, kind.audience

    def refuse(fault, why, claim, values):
        cases = {}
        for value in values:
            members = kind.claims(**{claim: Absent})
            body = members if value is Absent else with_raw(members, claim, json.dumps(value))
            cases[f"{claim} {shown(value)}"] = kind.token(body=body)
        kind.refuse(fault, why, cases)

    why = "RFC 7519 4.1.1: `iss` is required, one string, compared as it is."
    refuse("missing_claim", why, "iss", [Absent, None])
    refuse("malformed_claim", why, "iss", [True, 7, [iss], {"iss": iss}, {RAW_VALUE: json.dumps(iss)}])
    values = [
        "", iss + "/", iss + " ", iss + "\0", iss.upper(), iss[:-1], iss + ".attacker.test",
        iss.replace("https", "http"), iss.replace(".", "\u3002"), "https://attacker.test",
    ]  # fmt: skip
    refuse("issuer", why, "iss", values)

    why = "RFC 8725 3.9, RFC 7519 4.1.3: `aud` is a string or an array of strings, and names us."
    refuse("missing_claim", why, "aud", [Absent, None])
    values = [
        True, 7, {aud: True}, [[aud]], [aud, 7], [None, aud], [aud, [aud]], {RAW_VALUE: json.dumps(aud)},
        [{RAW_VALUE: json.dumps(aud)}],
    ]  # fmt: skip
    refuse("malformed_claim", why, "aud", values)
    values = [
        "", aud[:-1], aud + "s", aud + " ", aud + "\0", aud.upper(), f"{aud} other", "*", json.dumps([aud]), [], [""],
        ["other"], [aud[:2], aud[2:]],
    ]  # fmt: skip
    refuse("audience", why, "aud", values)
    why = "AWS, JWT authorizers: `client_id` stands in for `aud` only where there is no `aud`."
    cases = {f"aud {shown(of)} beside client_id": kind.claiming(aud=of, client_id=aud) for of in ["", "other", []]}
    cases["no aud and another client_id"] = kind.claiming(aud=Absent, client_id=aud + "s")
    kind.refuse("audience", why, cases)
    cases = {f"client_id {shown(of)} for aud": kind.claiming(aud=Absent, client_id=of) for of in [7, [aud]]}
    kind.refuse("malformed_claim", why, cases)
    made = kind.claiming(aud=Absent, azp=aud, cid=aud, appid=aud)
    kind.refuse("missing_claim", why, {"another claim for aud": made})

    claim = kind.id_claim
    why = f"RFC 7519 4.1.2: `{claim}` is required here and one string, not empty."
    refuse("missing_claim", why, claim, [Absent, None])
    refuse("malformed_claim", why, claim, [True, 7, ["ron"], {claim: "ron"}, {RAW_VALUE: '"ron"'}, ""])
    match kind.name:
        case "access":
            why = "RFC 9068 2.2: the name of the client is one string, not empty."
            for claim in ["client_id", "azp", "cid", "appid"]:
                refuse("malformed_claim", why, claim, ["", 7, ["shop"], {RAW_VALUE: '"shop"'}])
        case "customer" | "account":
            if kind.name == "account":
                refuse("malformed_claim", "RFC 7519 4.1.2: `sub` is one string.", "sub", ["", 7, ["ron"]])
            ids = [
                " ", "ron ", " ron", "ron\0", "ron\n", "ron#hermione", "cart-1#ron", "../ron", "ron/", "ron%23",
                "ron,hermione", "r\u043en", "\uff52on", "*", "r" * 129,
            ]  # fmt: skip
            refuse("subject", f"The contract: `{claim}` is an id, [A-Za-z0-9_-]{{1,128}}.", claim, ids)
        case "cart":
            ids = [
                "cart-2", "cart-", "cart-10", "Cart-1", "cart-1 ", " cart-1", "cart-1\0", "cart-1\n", "cart-1/",
                "cart-1#ron", "cart-1,cart-2", "cart%2D1", "c\u0430rt-1", "cart\u20101", "ron", "*", "c" * 129,
            ]  # fmt: skip
            refuse("subject", "The contract: `sub` is the id of the cart in the path.", claim, ids)


def json_oddities(kind):
    why = "RFC 7515 5.2, RFC 7519 7.2: header and claims are each one JSON object in UTF-8."
    head, body = text(kind.header()), text(kind.claims())
    oddities = {
        "an array": lambda t: f"[{t}]", "a string": json.dumps, "null": lambda _: "null", "true": lambda _: "true",
        "a number": lambda _: "7", "white space": lambda _: " ", "cut off": lambda t: t[:-1],
        "with a BOM": lambda t: "\ufeff" + t, "with something after it": lambda t: t + "{}",
        "with a NUL after it": lambda t: t + "\0", "twice": lambda t: t + t,
        "with a comma at its end": lambda t: t[:-1] + ",}", "with a comment": lambda t: t[:-1] + "/**/}",
        "in UTF-16": lambda t: t.encode("utf-16-le"), "in UTF-32": lambda t: t.encode("utf-32-be"),
        "with a byte that is no UTF-8": lambda t: t[:-1].encode() + b',"x":"\xff"}',
        "with a surrogate in UTF-8": lambda t: t[:-1].encode() + b',"x":"\xed\xa0\x80"}',
        "with half a surrogate pair": lambda t: t[:-1] + ',"x":"\\ud800"}',
        "with a name that is no UTF-8": lambda t: t[:-1].encode() + b',"\xff":1}',
        "with a control character": lambda t: t[:-1] + ',"x":"\n"}',
        "with a member 300 deep": lambda t: t[:-1] + ',"x":' + "[" * 300 + "]" * 300 + "}",
        "with a member 128 deep": lambda t: t[:-1] + ',"x":' + "[" * 128 + "]" * 128 + "}",
        "with a member that never ends": lambda t: t[:-1] + ',"x":' + '{"a":' * 100,
    }  # fmt: skip
    for name, make in oddities.items():
        cases = {f"a header {name}": kind.token(make(head))}
        # Both are read by the same function; some of each kind of oddity will do.
        if len(name) % 2:
            cases[f"claims {name}"] = kind.token(body=make(body))
        kind.refuse("not_json_object", why, cases)
    kind.refuse("malformed_header", why, {"an empty header object": kind.token("{}")})
    kind.refuse("missing_claim", why, {"an empty claims object": kind.token(body="{}")})
    made = kind.token({"Alg": "EdDSA", "kid": kind.kid("EdDSA")})
    kind.refuse("malformed_header", "RFC 7515 4.1.1: names are compared as they are.", {"Alg for alg": made})


def base64_oddities(kind):
    key = kind.keys["EdDSA"]
    # Claims whose base64url has both of the letters that differ from base64, and two bits to spare.
    for filler in range(100):
        head, body = kind.header(x="??>"), kind.claims(x="??>~" + "x" * filler)
        head, body = b64(text(head)), b64(text(body))
        if len(head) % 4 == 0:
            head = b64(text(kind.header(x="??>" + "x")))
        if ("_" in body or "-" in body) and len(body) % 4 == 2:
            break

    def spare_bits(part):
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return part[:-1] + letters[letters.index(part[-1]) ^ 1]

    def standard(part):
        return base64.b64encode(unb64(part)).decode().rstrip("=")

    changes = {
        "with padding": lambda p: p + "=" * (-len(p) % 4 or 4), "with bits to spare": spare_bits,
        "with a letter too many": lambda p: p + "A" * (1 if len(p) % 4 == 0 else 5 - len(p) % 4),
        "with white space": lambda p: p[:4] + " " + p[4:], "with a newline": lambda p: p[:4] + "\n" + p[4:],
        "with a NUL": lambda p: p[:4] + "\0" + p[4:], "with a non-ASCII letter": lambda p: p[:4] + "\u00e9" + p[4:],
        "with a percent escape": lambda p: f"%{ord(p[0]):02X}" + p[1:], "empty": lambda p: "",
    }  # fmt: skip
    cases = {"claims in the alphabet of base64": signed(f"{head}.{standard(body)}", key, "EdDSA")}
    for name, change in changes.items():
        cases[f"a header {name}"] = signed(f"{change(head)}.{body}", key, "EdDSA")
        cases[f"claims {name}"] = signed(f"{head}.{change(body)}", key, "EdDSA")
        data, signature = signed(f"{head}.{body}", key, "EdDSA").rsplit(".", 1)
        cases[f"a signature {name}"] = f"{data}.{change(signature)}"
    for count in range(1000):
        data, signature = kind.claiming(jti=count).rsplit(".", 1)
        if "-" in signature and "_" in signature:
            cases["a signature in the alphabet of base64"] = f"{data}.{standard(signature)}"
            break
    why = "RFC 7515 2: base64url without padding, white space or anything else, even where the signature is right."
    kind.refuse("not_compact_jws", why, cases)


def serializations(kind):
    why = "RFC 7515 3.1, RFC 7519 1: a JWT is three parts with a dot between each."
    right = kind.token()
    head, body, signature = right.split(".")
    flattened = {"payload": body, "protected": head, "signature": signature}
    general = {"payload": body, "signatures": [{"protected": head, "signature": signature}]}
    cases = {
        "one letter": "x", "one dot": ".", "two dots": "..", "a word": "null", "one part": head,
        "two parts": f"{head}.{body}", "four parts": f"{right}.{signature}",
        "five parts": f"{right}.{signature}.{signature}", "a dot in front": f".{right}",
        "a dot at the end": f"{right}.", "two dots for one": right.replace(".", ".."),
        "commas for dots": right.replace(".", ","), "%2E for dots": right.replace(".", "%2E"),
        "dots of another script": right.replace(".", "\uff0e"), "the flattened JSON": text(flattened),
        "the general JSON": text(general), "a token in quotes": f'"{right}"', "two tokens": f"{right} {right}",
        "two tokens with a comma": f"{right},{right}", "Bearer twice": f"Bearer {right}",
        "a token in base64url": b64(right), "no header": f".{body}.{signature}", "100 dots": "." * 100,
        "a token and a parameter": f'{right};x="y"', "dashes": "-.-.-",
        "letters outside of ASCII": "\u00fc.\u00fc.\u00fc",
    }  # fmt: skip
    kind.refuse("not_compact_jws", why, cases)
    kind.refuse("malformed_header", why, {"parts in another order": f"{body}.{head}.{signature}"})
    why = f"The contract: a token over {MAX_BYTES} bytes is not looked at."
    kind.refuse("too_long", why, {f"{MAX_BYTES + 1} bytes": exactly(kind, MAX_BYTES + 1)})


def encrypted(kind):
    public = kind.keys["RS256"].public_key()
    inner, bare = kind.token(), text(kind.claims())

    def jwe(head, plain, wrapped=None):
        content_key, iv = b"k" * 32, b"i" * 12
        if wrapped is None:
            wrapped = public.encrypt(content_key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        head = b64(text(head))
        sealed = AESGCM(content_key).encrypt(iv, plain, head.encode())
        return ".".join([head, b64(wrapped), b64(iv), b64(sealed[:-16]), b64(sealed[-16:])])

    gcm = {"enc": "A256GCM"}
    rsa_head = {"alg": "RSA-OAEP-256", "kid": kind.kid("RS256")} | gcm
    password = {"alg": "PBES2-HS256+A128KW", "p2s": "AAAAAAAAAAA", "p2c": 2**31 - 1}
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(bare.encode()) + compressor.flush()
    epk = {"kty": "EC", "crv": "P-256", "x": b64(octets(7, 32)), "y": b64(octets(7, 32))}
    cases = {
        "a JWE of claims, to our key": jwe(rsa_head, bare.encode()),
        "a JWE of a good token, to our key": jwe(rsa_head | {"cty": "JWT"}, inner.encode()),
        "a JWE of compressed claims": jwe(rsa_head | {"zip": "DEF"}, packed),
        "a JWE with a shared key": jwe(gcm | {"alg": "dir"}, bare.encode(), b""),
        "a JWE with an ephemeral key off its curve": jwe(gcm | {"alg": "ECDH-ES", "epk": epk}, bare.encode(), b""),
        "a JWE by a password of endless rounds": jwe(gcm | password, bare.encode(), b"w" * 40),
        "a JWE with alg none": jwe(gcm | {"alg": "none"}, bare.encode(), b""),
    }
    why = "RFC 8725 2.3, 2.4, 2.5: an encrypted token is not accepted: a public key encrypts for anybody."
    kind.refuse("not_compact_jws", why, cases)
    kind.refuse("unknown_algorithm", why, {"a JWE's header on three parts": kind.token(rsa_head)})
    cases = {}
    for name, cty in {"cty JWT": {"cty": "JWT"}, "no cty": {}}.items():
        cases[f"a good token in a token, with {name}"] = kind.token(kind.header(**cty), inner)
        cases[f"a good token as a JSON string in a token, with {name}"] = kind.token(
            kind.header(**cty), json.dumps(inner)
        )
    kind.refuse("not_json_object", "RFC 8725 2.3, RFC 7519 5.2: a token in a token is not looked for.", cases)
    why = "RFC 8725 2.4: nothing is decompressed; a few bytes can become gigabytes."
    kind.refuse("not_json_object", why, {"compressed claims with zip DEF": kind.token(kind.header(zip="DEF"), packed)})


# Keys that nobody should trust

WEAK = {case["name"]: case for case in read("weak_keys.json") or []}


def weak_key(name, why, fault, public, tokens, private=None):
    case = {"name": name, "why": why, "fault": fault, "jwk": public | {"kid": "weak", "use": "sig"}}
    if private:
        case["private"] = pem(private)
    weak.append(case | {"tokens": tokens})


def weak_tokens(alg, signature):
    """A token of each kind. Where `signature` has no signature for what is to be signed, other claims are tried."""
    return {kind.name: weak_token(kind, alg, signature) for kind in KINDS}


def weak_token(kind, alg, signature):
    for count in range(1000):
        data = f"{b64(text({'alg': alg, 'kid': 'weak'}))}.{b64(text(kind.claims(jti=count)))}"
        if made := signature(data.encode()):
            return f"{data}.{b64(made)}"
    raise AssertionError(kind.name)


def kept(name, make):
    case = WEAK.get(name)
    return load(case["private"]) if case and "private" in case else make()


def openssl_rsa(bits, exponent):
    options = [f"rsa_keygen_bits:{bits}", f"rsa_keygen_pubexp:{exponent}"]
    command = ["openssl", "genpkey", "-algorithm", "RSA", "-pkeyopt", options[0], "-pkeyopt", options[1]]
    return load(subprocess.run(command, check=True, capture_output=True).stdout.decode())


def weak_rsa():
    for bits in [1024, 2047]:
        name = f"RSA of {bits} bits"
        key = kept(name, lambda: openssl_rsa(bits, 65537))
        why = "RFC 7518 3.3: 2048 bits or more."
        tokens = weak_tokens("RS256", lambda d: sign(key, "RS256", d))
        weak_key(name, why, "unknown_key", jwk(key), tokens, key)
        zeros = jwk(key) | {"n": b64(bytes(256) + unb64(jwk(key)["n"]))}
        weak_key(f"{name}, with zeros in front", why, "unknown_key", zeros, tokens)

    honest = KINDS[0].keys["RS256"]
    why = "RFC 8017 3.1: with the exponent 1 the padded message is its own signature."
    for alg, pad in [("RS256", pkcs1), ("PS256", pss)]:
        for name, e in [("1", b"\x01"), ("0001", b"\0\x01")]:
            public = jwk(honest) | {"e": b64(e), "alg": alg}
            tokens = weak_tokens(alg, lambda d: pad(d, 256))
            weak_key(f"{alg} with exponent {name}", why, "signature", public, tokens)
    public = jwk(honest) | {"e": b64(b"\0")}
    why = "RFC 8017 3.1: with the exponent 0 every signature yields 1."
    weak_key("RS256 with exponent 0", why, "unknown_key", public, weak_tokens("RS256", lambda _: octets(1, 256)))

    # An even exponent: whoever has the primes can take a root of every fourth message.
    name = "RS256 with exponent 2"
    private = kept(name, rabin_key)
    p, q = private.private_numbers().p, private.private_numbers().q
    n = p * q

    def root(data):
        message = number(pkcs1(data, 256))
        a, b = pow(message, (p + 1) // 4, p), pow(message, (q + 1) // 4, q)
        value = (a * q * pow(q, -1, p) + b * p * pow(p, -1, q)) % n
        return octets(value, 256) if value * value % n == message else None

    why = "RFC 8017 3.1: an even exponent is none."
    weak_key(name, why, "signature", jwk(private) | {"e": b64(b"\x02")}, weak_tokens("RS256", root), private)

    name = "RS256 with exponent 3 and a cube root for a signature"
    key = kept(name, lambda: openssl_rsa(2048, 3))

    def cube_root(data):
        """A signature whose cube begins like a padded message (CVE-2006-4339)."""
        prefix = b"\0\1" + b"\xff" * 8 + b"\0" + SHA256_INFO + hashlib.sha256(data).digest()
        wanted = number(prefix) << 8 * (256 - len(prefix))
        low, high = 0, 1 << 700
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if middle**3 < wanted else (low, middle)
        assert octets(low**3, 256).startswith(prefix)
        return octets(low, 256)

    why = "RFC 8017 8.2.2, CVE-2006-4339: nothing may follow the hash."
    weak_key(name, why, "signature", jwk(key), weak_tokens("RS256", cube_root), key)
    public = jwk(honest) | {"n": b64(octets(1 << 2047))}
    tokens = weak_tokens("RS256", lambda _: bytes(255) + b"\x01")
    weak_key("RS256 with an even modulus", "RFC 8017 3.1: a modulus is odd.", "signature", public, tokens)


def rabin_key():
    """A key of two primes that are 3 modulo 4, so that roots are easy."""
    while True:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        private = key.private_numbers()
        if private.p % 4 == private.q % 4 == 3:
            return key


def weak_ec():
    p = 2**256 - 2**224 + 2**192 + 2**96 - 1
    n = ORDER["ES256"]
    x = 5

    def of_order_two(data):
        """A right signature to whoever adds points without looking at their curve: (x, 0) is its own negative, so an
        even multiple of it is nothing, and what remains is the generator's multiple that the forger chose."""
        z = number(hashlib.sha256(data).digest())
        for k in range(2, 1000):
            r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % n
            s = z * pow(k, -1, n) % n
            if r * pow(s, -1, n) % n % 2 == 0:
                return octets(r, 32) + octets(s, 32)

    def point(x, y):
        return {"kty": "EC", "crv": "P-256", "x": b64(octets(x, 32)), "y": b64(octets(y, 32))}

    key = KINDS[0].keys["ES256"]
    public = key.public_key().public_numbers()
    secp256k1 = ec.derive_private_key(7, ec.SECP256K1()).public_key().public_numbers()
    made = weak_tokens("ES256", lambda d: sign(key, "ES256", d))
    ones = weak_tokens("ES256", lambda _: octets(1, 32) * 2)
    short = point(public.x, public.y) | {"y": b64(octets(public.y, 32)[1:])}
    longer = point(public.x, public.y) | {"y": b64(b"\1" + octets(public.y, 32))}
    why = "RFC 8725 2.5, SEC 1 3.2.2.1: a point that is not on the curve is no key."
    for name, public, tokens in [
        ("P-256 point of order two on another curve", point(x, 0), weak_tokens("ES256", of_order_two)),
        ("P-256 point beside the curve", point(public.x, (public.y + 1) % p), made),
        ("P-256 point with its coordinates swapped", point(public.y, public.x), made),
        ("P-256 point (0, 0)", point(0, 0), ones),
        ("P-256 point of coordinates over p", point(2**256 - 1, 2**256 - 1), ones),
        ("P-256 point with a coordinate a byte short", short, made),
        ("P-256 point with a coordinate of a byte more", longer, made),
        ("secp256k1 point said to be of P-256", point(secp256k1.x, secp256k1.y), ones),
    ]:
        weak_key(name, why, "unknown_key", public, tokens)


# RFC 8032 5.1: the points of order 1, 2, 4 and 8, with the encodings of them that are not canonical.
SMALL_ORDER = {
    "order 1": (1, "01" + "00" * 31),
    "order 1, sign set": (1, "01" + "00" * 30 + "80"),
    "order 1, y=p+1": (1, "ee" + "ff" * 30 + "7f"),
    "order 1, y=p+1, sign set": (1, "ee" + "ff" * 31),
    "order 2": (2, "ec" + "ff" * 30 + "7f"),
    "order 2, sign set": (2, "ec" + "ff" * 31),
    "order 4": (4, "00" * 32),
    "order 4, negative": (4, "00" * 31 + "80"),
    "order 4, y=p": (4, "ed" + "ff" * 30 + "7f"),
    "order 4, y=p, negative": (4, "ed" + "ff" * 31),
    "order 8": (8, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "order 8, negative": (8, "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
    "order 8, other": (8, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    "order 8, other, negative": (8, "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa"),
}


def weak_ed():
    identity = b"\x01" + bytes(31)

    def ed(point):
        return {"kty": "OKP", "crv": "Ed25519", "x": b64(point)}

    why = "RFC 8032 8.9, 5.1.7: with a key of small order anybody can make a signature, [S]B = R + [k]A with S=0."
    for name, (order, encoded) in SMALL_ORDER.items():
        point = bytes.fromhex(encoded)

        def if_lucky(data):
            k = int.from_bytes(hashlib.sha512(identity + point + data).digest(), "little") % L
            return identity + bytes(32) if k % order == 0 else None

        weak_key(f"Ed25519 point of {name}", why, "unknown_key", ed(point), weak_tokens("EdDSA", if_lucky))
    off = bytes([next(i for i in range(2, 100) if not on_edwards(i))]) + bytes(31)
    tokens = weak_tokens("EdDSA", lambda _: identity + bytes(32))
    weak_key("Ed25519 point off the curve", why, "signature", ed(off), tokens)


def on_edwards(y):
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p)
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    return pow(square, (p - 1) // 2, p) in (0, 1)


for kind in KINDS:
    good_tokens(kind)
    ecdsa(kind, "ES256")
    ecdsa(kind, "ES384")
    for make in [
        substitution, forged_parts, parties, without_signature, other_algorithms, shared_secrets, other_names, eddsa,
        rsa_signatures, key_ids, header_members, duplicates, times, json_oddities, base64_oddities, serializations,
        encrypted,
    ]:  # fmt: skip
        make(kind)
weak_rsa()
weak_ec()
weak_ed()
groups = [group for kind in KINDS for group in kind.refusals.values()]
cases = [case for group in groups for case in group["cases"]]
for some in [good, cases, weak]:
    names = [case["name"] for case in some]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
write("keys.json", {"now": NOW} | {kind.name: kind.key_set() for kind in KINDS})
write("good.json", good)
write("hostile.json", groups)
write("weak_keys.json", weak)
print(len(good), "good,", len(cases), "hostile,", len(weak), "weak keys")
