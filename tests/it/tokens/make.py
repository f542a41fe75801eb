#!/usr/bin/env python3
"""Generates the tokens of `hostile_tokens.rs`, with implementations that are not the one under test.

    python3 -m venv venv && venv/bin/pip install 'pyjwt[crypto]' pycryptodome
    venv/bin/python tests/it/tokens/make.py

It needs Python 3.11, PyJWT 2.15 and PyCryptodome 4.4 or later. It reads keys.json: the time of all tests, the issuer of
each kind of token with its keys, and weak keys. These are TEST KEYS: they are published here and protect nothing. It
writes beside itself:

    good.json       tokens that must be accepted
    hostile.json    tokens that must be refused
    weak_keys.json  tokens of public keys with which anybody can forge, or with which nobody should sign

Another run changes nothing but the signatures that are random by design: PS256, and ECDSA by PyJWT.

A case has a `fault`: the name of the `Refusal`, so that none is refused for another reason than the one that it was made
for.
"""

import base64
import decimal
import functools
import hashlib
import hmac
import itertools
import json
import math
import pathlib
import zlib

import jwt
from Crypto.Hash import SHA1, SHA256, SHA384, SHA512
from Crypto.IO import PEM
from Crypto.PublicKey import ECC, RSA
from Crypto.Signature import DSS, eddsa, pkcs1_15, pss
from Crypto.Util.asn1 import DerSequence
from Crypto.Util.number import bytes_to_long as number
from Crypto.Util.number import long_to_bytes as octets

HERE = pathlib.Path(__file__).parent
KEYS = json.loads((HERE / "keys.json").read_text())
NOW = KEYS["now"]
LEEWAY = 30
LONGEST = 10 * 366 * 24 * 60 * 60
MAX_BYTES = 8192

ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
HASHES = {"256": SHA256, "384": SHA384, "512": SHA512}
ATTACKER = "https://attacker.test/keys"
RAW_VALUE = "$serde_json::private::RawValue"


def b64(data):
    data = data.encode() if isinstance(data, str) else data
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


# Keys and signatures


def load(private, alg):
    return (RSA if alg in ["RS256", "PS256"] else ECC).import_key(private)


def raw(key):
    return key.public_key().export_key(format="raw")


def spki(key, format="PEM"):
    return key.public_key().export_key(format=format)


def rsa_jwk(n, e):
    return {"kty": "RSA", "n": b64(n), "e": b64(e)}


def okp_jwk(point):
    return {"kty": "OKP", "crv": "Ed25519", "x": b64(point)}


def sign(key, alg, data):
    digest = None if alg == "EdDSA" else HASHES[alg[2:]].new(data)
    match alg[:2]:
        case "RS":
            return pkcs1_15.new(key).sign(digest)
        case "PS":
            return pss.new(key).sign(digest)
        case "ES":
            return DSS.new(key, "deterministic-rfc6979").sign(digest)
        case "Ed":
            return eddsa.new(key, "rfc8032").sign(data)


# Tokens


class Absent:
    """Stands in for a member that shall not be there."""


class Text(str):
    """JSON in place of a value."""


def altered(members, changes):
    return {name: value for name, value in (members | changes).items() if value is not Absent}


def text(value):
    """JSON as it is given, or made from a value."""
    return value if isinstance(value, (str, bytes)) else json.dumps(value, separators=(",", ":"))


def shown(value):
    shown = value if isinstance(value, Text) else "missing" if value is Absent else json.dumps(value)
    return shown if len(shown) < 100 else shown[:20] + "…"


def with_text(members, name, value):
    """The text of an object with one more member, whose value is any text."""
    return text(members)[:-1] + f',"{name}":{value}' + "}"


def signed(data, key, alg="EdDSA", forge=lambda data, right: right):
    return f"{data}.{b64(forge(data.encode(), sign(key, alg, data.encode())))}"


good = []


class Kind:
    """A kind of token: its issuer, and the cases that are sent as tokens of this kind."""

    def __init__(self, name, subject):
        of = KEYS["issuers"][name]
        self.name, self.subject = name, subject
        self.issuer, self.audience, self.id_claim = of["issuer"], of["audience"], of["id_claim"]
        self.public = dict(zip(ALGORITHMS, of["keys"]))
        self.keys = {alg: load(private, alg) for alg, private in of["private"].items()}

    def kid(self, alg):
        return self.public[alg]["kid"]

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

    def token(self, head=None, body=None, alg="EdDSA", key=None, forge=lambda data, right: right):
        """A token, right but for what is given. Head and body may be any text or bytes; `forge` makes the signature of
        what is signed and the right signature."""
        head = self.header(alg) if head is None else head
        body = self.claims() if body is None else body
        return signed(f"{b64(text(head))}.{b64(text(body))}", key or self.keys[alg], alg, forge)

    def heading(self, **members):
        return self.token(self.header(**members))

    def claiming(self, **members):
        return self.token(body=self.claims(**members))

    def headers(self, name, values):
        """A token for each value of a member of the header."""
        heads = {f"{name} {shown(value)}": altered(self.header(), {name: value}) for value in values}
        return {name: self.token(head) for name, head in heads.items()}

    def bodies(self, name, values):
        """A token for each value of a claim."""
        cases = {}
        for value in values:
            body = self.claims(**{name: Absent})
            if value is not Absent:
                body = with_text(body, name, value if isinstance(value, Text) else json.dumps(value))
            cases[f"{name} {shown(value)}"] = self.token(body=body)
        return cases

    def forged(self, alg, forgeries):
        """A token for each way to make a signature."""
        return {f"{alg} {name}": self.token(alg=alg, forge=forge) for name, forge in forgeries.items()}

    def accept(self, cases, subject=None, **rest):
        """Adds tokens by name."""
        for name, token in cases.items():
            case = {"name": f"{self.name}: {name}", "kind": self.name, "subject": subject or self.subject}
            good.append(case | {"token": token} | rest)


KINDS = [Kind("access", "shop"), Kind("customer", "ron"), Kind("account", "acme"), Kind("cart", "cart-1")]


# Good tokens


def exactly(kind, size):
    """A token of just this length. No part can have every length, so header and claims grow."""
    for filler, length in itertools.product(range(4), range(size * 3 // 4)):
        head, body = kind.header(x="x" * filler), kind.claims(x="x" * length)
        if len(b64(text(head))) + len(b64(text(body))) + 2 + 86 == size:
            return kind.token(head, body)


def good_tokens(kind):
    for alg in ALGORITHMS:
        private = KEYS["issuers"][kind.name]["private"][alg]
        by_jwt = jwt.encode(kind.claims(), private, alg, {"kid": kind.kid(alg)})
        kind.accept({f"{alg} by PyJWT": by_jwt, f"{alg} by PyCryptodome": kind.token(alg=alg)})
        for kid in [Absent, None, ""]:
            token = kind.token(kind.header(alg, kid=kid), alg=alg)
            kind.accept({f"{alg} with kid {shown(kid)}, of the only key": token}, only_key=kind.kid(alg))

    kind.accept(kind.bodies("exp", [NOW - LEEWAY + 0.001, NOW + LONGEST, NOW + 0.5, Text("1.7953524e9")]))
    kind.accept(kind.bodies("nbf", [NOW + LEEWAY, 0, -1, None]))
    kind.accept(kind.bodies("iat", [NOW - 60.5, None]))
    kind.accept(kind.bodies("aud", [[kind.audience], ["other", kind.audience]]))
    for claim in ["cnf", "events"]:
        kind.accept(kind.bodies(claim, [None]))
    unknown = kind.claiming(roles=["a", {"b": [1.5, None]}], Sub="another", Cnf={}, event={})
    another = kind.claiming(client_id=kind.subject, azp=["x"], cid=7)
    kind.accept({"claims that nobody knows": unknown, "another client": another})
    for aud in [Absent, None]:
        cases = {f"aud {shown(aud)}, and client_id in its place": kind.claiming(aud=aud, client_id=kind.audience)}
        kind.accept(cases, kind.audience if kind.name == "access" else None)
    body = text(kind.claims())
    bodies = {
        "a name written with escapes": body.replace('"sub"', '"\\u0073ub"'),
        "white space around the claims": " \r\n\t" + body + "\n",
        "an unknown claim 100 deep": with_text(kind.claims(), "x", "[" * 100 + "]" * 100),
    }
    kind.accept({name: kind.token(body=body) for name, body in bodies.items()})
    types = ["JWT", "jwt", "at+jwt", "AT+JWT", "application/at+jwt", "Application/JWT", None]
    kind.accept(kind.headers("typ", types))
    # RFC 9864
    kind.accept(kind.headers("alg", ["Ed25519"]))
    kind.accept({"header members that nobody knows": kind.heading(x=[1], Crit=["x"], b64=True)})
    # RFC 7515 4.1.2: a verifier may ignore them. Some issuers always send them.
    for name, value in (MINE | {"x5c": []}).items():
        kind.accept(kind.headers(name, [value]))
    kind.accept(kind.headers("jwk", [None]))
    kind.accept({f"{MAX_BYTES} bytes": exactly(kind, MAX_BYTES)})

    match kind.name:
        case "access":
            kind.accept({"sub in any script": kind.claiming(sub="лавка №7")}, "лавка №7")
            for claim in ["client_id", "azp", "cid", "appid"]:
                kind.accept({f"{claim} without sub": kind.claiming(sub=Absent, **{claim: "web"})}, "web")
            kind.accept({"client_id before others": kind.claiming(client_id="web", azp="x", cid="x", sub=7)}, "web")
            kind.accept({"a client_id that is null": kind.claiming(client_id=None, azp="web")}, "web")
        case "account":
            kind.accept({"no sub": kind.claiming(sub=Absent)})
        case _:
            for id in ["R", "a-_0" * 32]:
                kind.accept({f"sub of {len(id)}": kind.claiming(sub=id)}, id)


# The key of an attacker, and the members of a header that bring it or say where it is

ATTACKERS = eddsa.import_private_key(b"\x07" * 32)
MINE = {
    "jwk": okp_jwk(raw(ATTACKERS)),
    "jku": ATTACKER,
    "x5u": ATTACKER,
    "x5c": [base64.b64encode(spki(ATTACKERS, "DER")).decode()],
}


# Hostile tokens: each function yields a fault, why it is one, and tokens by name


def without_signature(kind):
    why = "RFC 8725 2.1, 3.2: `none` in any spelling is no algorithm."
    stolen = unb64(kind.token().rsplit(".", 1)[1])
    algs = ["none", "None", "NONE", "nOnE", "none ", ""]
    heads = {f"alg {alg!r}": kind.header() | {"alg": alg} for alg in algs}
    heads |= {"alg none without kid": {"alg": "none", "typ": "JWT"}, "a right header": kind.header()}
    unsigned = {name: kind.token(head, forge=lambda *_: b"") for name, head in heads.items()}
    yield "not_compact_jws", why, {f"{name} with an empty signature": token for name, token in unsigned.items()}
    yield "unknown_algorithm", why, kind.headers("alg", algs)
    token = kind.token(kind.header() | {"alg": "none"}, forge=lambda *_: stolen)
    yield "unknown_algorithm", why, {"alg none with the signature of another token": token}
    values = [Absent, None, 0, True, [], ["EdDSA"], {"alg": "EdDSA"}, {RAW_VALUE: '"EdDSA"'}]
    yield "malformed_header", "RFC 7515 4.1.1: `alg` must be there and a string.", kind.headers("alg", values)


def shared_secrets(kind):
    """A public key, which everybody has, taken for the secret of an HMAC."""
    rsa, public = kind.keys["RS256"], kind.public["RS256"]
    pem = spki(rsa) + b"\n"
    pkcs1 = DerSequence([rsa.n, rsa.e]).encode()
    secrets = {
        "key's RSA PEM": pem,
        "key's RSA PEM without its last newline": spki(rsa),
        "key's RSA DER": spki(rsa, "DER"),
        "key's RSA PKCS#1 PEM": PEM.encode(pkcs1, "RSA PUBLIC KEY").encode() + b"\n",
        "key's RSA PKCS#1 DER": pkcs1,
        "key's RSA n as bytes": octets(rsa.n),
        "key's RSA n as text": public["n"].encode(),
        "key's RSA JWK": text(rsa_jwk(octets(rsa.n), octets(rsa.e))).encode(),
    }
    weak_secrets = ["", "secret", "your-256-bit-secret", kind.kid("RS256"), "\0"]
    secrets |= {f"secret {secret!r}": secret.encode() for secret in weak_secrets}
    others = {
        "RS256 that is an HMAC with the key's PEM": (kind.header("RS256"), pem),
        "ES256 that is an HMAC with the key's PEM": (kind.header("ES256"), spki(kind.keys["ES256"]).encode() + b"\n"),
        "ES256 that is an HMAC with the key's x": (kind.header("ES256"), unb64(kind.public["ES256"]["x"])),
        "EdDSA that is an HMAC with the key's x": (kind.header(), raw(kind.keys["EdDSA"])),
    }

    def mac(head, secret, digest="sha256"):
        return kind.token(head, forge=lambda data, _: hmac.digest(secret, data, digest))

    head = kind.header("RS256")
    cases = {f"HS256 with the {name}": mac(head | {"alg": "HS256"}, secret) for name, secret in secrets.items()}
    for bits in ["384", "512"]:
        cases[f"HS{bits} with the key's PEM"] = mac(head | {"alg": "HS" + bits}, pem, "sha" + bits)
    for name, (head, secret) in others.items():
        cases[f"HS256 for {name}"] = mac(head | {"alg": "HS256"}, secret)
    for kid, secret in [("../../../../../../dev/null", b""), ("x' UNION SELECT 'key';-- ", b"key")]:
        cases[f"HS256 with what kid {kid!r} may yield"] = mac({"alg": "HS256", "kid": kid}, secret)
    why = "RFC 8725 2.1, 3.1: a public key used as the secret of an HMAC lets anybody sign."
    yield "unknown_algorithm", why, cases
    yield "signature", why, {name: mac(*of) for name, of in others.items()}


def other_algorithms(kind):
    why = "RFC 8725 3.1: a key serves its own algorithm alone."
    for of, alg in itertools.permutations(ALGORITHMS, 2):
        name, head = f"{alg} for the {of} key, signed by the", kind.header(of) | {"alg": alg}
        cases = {f"{name} {by} key": kind.token(head, alg=by) for by in [of, alg]}
        yield "unknown_key", why, cases
    for of, alg in itertools.permutations(["RS256", "PS256"]):
        head, key = kind.header(of), kind.keys[of]
        token = kind.token(head | {"alg": alg}, alg=alg, key=key)
        yield "unknown_key", why, {f"a right {alg} signature by the {of} key": token}
        token = kind.token(head, alg=alg, key=key)
        yield "signature", why, {f"{of} that is a right {alg} signature": token}


def other_names(kind):
    why = "RFC 8725 3.1: only the five algorithms of the contract are known, by their exact names."
    for of, alg in [("RS256", "RS384"), ("RS256", "RS512"), ("PS256", "PS384"), ("PS256", "PS512"), ("ES256", "ES384")]:
        head, key = kind.header(of), kind.keys[of]
        token = kind.token(head, alg=alg, key=key)
        yield "signature", "RFC 7518 3: an algorithm fixes its hash.", {f"{of} over the hash of {alg}": token}
        if of != "ES256":
            token = kind.token(head | {"alg": alg}, alg=alg, key=key)
            yield "unknown_algorithm", why, {f"{alg} by the {of} key": token}
    algs = ["rs256", "RS1", "es256", "ES256K", "ES512", "EDDSA", "ed25519", "Ed448", "dir", "EdDSA\0"]
    yield "unknown_algorithm", why, kind.headers("alg", algs)


ORDERS = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def ecdsa(alg, kind):
    order = ORDERS[alg]
    half = len(octets(order))
    values = {"0": 0, "1": 1, "n": order, "max": 256**half - 1}
    pairs = {f"with r={r}, s={s}": octets(values[r], half) + octets(values[s], half) for r in values for s in values}
    forgeries = {name: lambda data, right, pair=pair: pair for name, pair in pairs.items()}
    forgeries |= {
        "with the right r and s=0": lambda data, right: right[:half] + bytes(half),
        "with r=0 and the right s": lambda data, right: bytes(half) + right[half:],
    }
    why = "RFC 8725 2.1, CVE-2022-21449: r and s must be in range, or anybody can sign."
    yield "signature", why, kind.forged(alg, forgeries)
    forgeries = {
        "in DER": lambda data, right: DerSequence([number(right[:half]), number(right[half:])]).encode(),
        "with r and s swapped": lambda data, right: right[half:] + right[:half],
        "with r alone": lambda data, right: right[:half],
        "a byte short": lambda data, right: right[:-1],
        "with a byte more": lambda data, right: right + b"\0",
        "with a byte more in front": lambda data, right: b"\0" + right,
        "with longer numbers": lambda data, right: bytes(16) + right[:half] + bytes(16) + right[half:],
        "twice": lambda data, right: right * 2,
        "in little endian": lambda data, right: right[:half][::-1] + right[half:][::-1],
        "as hexadecimal text": lambda data, right: right.hex().encode(),
    }
    why = "RFC 7518 3.4: a signature is r and s, each of the curve's length."
    yield "signature", why, kind.forged(alg, forgeries)


L = 2**252 + 27742317777372353535851937790883648493
IDENTITY = b"\x01" + bytes(31)


def eddsa_signatures(kind):
    key = kind.keys["EdDSA"]

    def plus_order(data, right):
        return right[:32] + (int.from_bytes(right[32:], "little") + L).to_bytes(32, "little")

    forgeries = {
        "of zeros": lambda data, right: bytes(64),
        "with R the identity and S=0": lambda data, right: IDENTITY + bytes(32),
        "with the right R and S=0": lambda data, right: right[:32] + bytes(32),
        "with S and the order added": plus_order,
        "with R and S swapped": lambda data, right: right[32:] + right[:32],
        "a byte short": lambda data, right: right[:-1],
        "with a byte more": lambda data, right: right + b"\0",
        "with the public key for R": lambda data, right: raw(key) + bytes(32),
        "over the hash": lambda data, right: sign(key, "EdDSA", hashlib.sha512(data).digest()),
    }
    why = "RFC 8032 5.1.7, RFC 8037 3.1: neither R nor S may be anything else, and the text is signed, not its hash."
    yield "signature", why, kind.forged("EdDSA", forgeries)


SHA256_INFO = bytes.fromhex("3031300d060960864801650304020105000420")


def pkcs1(data, length=256, info=SHA256_INFO, kind=b"\x01", fill=b"\xff", after=b"", ones=None):
    end = b"\0" + info + hashlib.sha256(data).digest() + after
    ones = length - 2 - len(end) if ones is None else ones
    return (b"\0" + kind + fill * ones + end).ljust(length, b"\0")


def emsa_pss(data, salt=b"s" * 32, trailer=b"\xbc", digest=SHA256):
    """EMSA-PSS of RFC 8017 9.1.1 for a modulus of 2048 bits."""
    made = hashlib.sha256(bytes(8) + hashlib.sha256(data).digest() + salt).digest()
    block = bytes(222 - len(salt)) + b"\x01" + salt
    masked = bytes(a ^ b for a, b in zip(block, pss.MGF1(made, len(block), digest)))
    return bytes([masked[0] & 0x7F]) + masked[1:] + made + trailer


def rsa_raw(key, message):
    return octets(pow(number(message), key.d, key.n), 256)


def rsa_signatures(kind):
    key, of = kind.keys["RS256"], kind.keys["PS256"]
    without_null = bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20"
    why = "RFC 8017 8.2.2: the padding must be what it must be, byte by byte."
    forgeries = {
        "of zeros": lambda data, right: bytes(256),
        "of one": lambda data, right: octets(1, 256),
        "of n-1": lambda data, right: octets(key.n - 1, 256),
        "of n": lambda data, right: octets(key.n, 256),
        "that is the padded message itself": lambda data, right: pkcs1(data),
        "without the NULL of the hash's name": lambda data, right: rsa_raw(key, pkcs1(data, info=without_null)),
        "without the hash's name": lambda data, right: rsa_raw(key, pkcs1(data, info=b"")),
        "with something after the hash": lambda data, right: rsa_raw(key, pkcs1(data, after=b"\0" * 100, ones=8)),
        "with padding of block type 0": lambda data, right: rsa_raw(key, pkcs1(data, kind=b"\0", fill=b"\0")),
        "with padding of block type 2": lambda data, right: rsa_raw(key, pkcs1(data, kind=b"\x02", fill=b"\x55")),
        "over SHA-1": lambda data, right: pkcs1_15.new(key).sign(SHA1.new(data)),
        "a byte short": lambda data, right: right[:-1],
        "with a byte more in front": lambda data, right: b"\0" + right,
    }
    yield "signature", why, kind.forged("RS256", forgeries)
    tokens = (kind.token(body=kind.claims(jti=count), alg="RS256").rsplit(".", 1) for count in itertools.count())
    data, value = next((data, right) for data, made in tokens if (right := unb64(made))[0] == 0)
    cases = {"RS256 without the zero in front": f"{data}.{b64(value[1:])}"}
    yield "signature", "RFC 8017 8.2.2: a signature is as long as the modulus.", cases
    cases = {"RS256 with n added": f"{data}.{b64(octets(number(value) + key.n, 256))}"}
    yield "signature", "RFC 8017 5.2.2: a signature is less than the modulus.", cases

    kind.accept({"PS256 by the book": kind.token(alg="PS256", forge=lambda data, _: rsa_raw(of, emsa_pss(data)))})
    forgeries = {
        "without salt": lambda data, right: rsa_raw(of, emsa_pss(data, salt=b"")),
        "with a salt of 20 bytes": lambda data, right: rsa_raw(of, emsa_pss(data, salt=b"s" * 20)),
        "with the longest salt": lambda data, right: rsa_raw(of, emsa_pss(data, salt=b"s" * 222)),
        "masked by SHA-1": lambda data, right: rsa_raw(of, emsa_pss(data, digest=SHA1)),
        "with another trailer": lambda data, right: rsa_raw(of, emsa_pss(data, trailer=b"\xcc")),
        "that is the padded message itself": lambda data, right: emsa_pss(data),
        "of zeros": lambda data, right: bytes(256),
    }
    why = "RFC 7518 3.5: the salt is as long as the hash, the mask's hash is the same."
    yield "signature", why, kind.forged("PS256", forgeries)


def key_ids(kind):
    own = kind.kid("EdDSA")
    why = "RFC 8725 2.9, 3.10: `kid` is looked up in the set, compared as it is, and goes nowhere else."
    kids = [
        "0", "*", "unknown", own.upper(), own + " ", own + "\0", own[:-1], own.replace("a", "\u0430"), f"x/../{own}",
        "../../../../../../dev/null", ATTACKER, "x' UNION SELECT 'key';-- ", "$(id)", "k" * 1000,
    ]  # fmt: skip
    yield "unknown_key", why, kind.headers("kid", kids)
    why = "The contract: without `kid` only a set of one key is tried."
    yield "unknown_key", why, kind.headers("kid", [Absent, None, ""])
    kids = [True, 0, 1.5, [], [own], {"kid": own}, {RAW_VALUE: f'"{own}"'}]
    yield "malformed_header", "RFC 7515 4.1.4: `kid` is a string.", kind.headers("kid", kids)


def header_members(kind):
    why = "RFC 8725 2.9, 3.10: a key that a token brings, or whose place it names, verifies nothing."
    for name, value in MINE.items():
        token = kind.token(kind.header() | {name: value}, key=ATTACKERS)
        yield "signature", why, {f"{name}, signed by the key that it means": token}
        token = kind.token({"alg": "EdDSA", name: value}, key=ATTACKERS)
        yield "unknown_key", why, {f"{name} without kid, signed by the key that it means": token}
    token = kind.token({"alg": "EdDSA", "kid": "mine", "jwk": MINE["jwk"] | {"kid": "mine"}}, key=ATTACKERS)
    yield "unknown_key", why, {"jwk with its own kid, signed by the key that it means": token}

    why = "RFC 7515 4.1.11: nothing critical is understood, and `crit` must not be empty or name what is standard."
    members = [
        {"crit": ["x"], "x": 1}, {"crit": []}, {"crit": ["exp"], "exp": NOW + 60}, {"crit": ["kid", "alg"]},
        {"crit": None}, {"crit": "x"}, {"crit": ["b64"], "b64": True}, {"crit": ["absent"]},
        {"crit": ["b64"], "b64": False},
    ]  # fmt: skip
    yield "refused_header", why, {json.dumps(of): kind.heading(**of) for of in members}
    escaped = text(kind.header(crit=["x"])).replace('"crit"', '"\\u0063rit"')
    yield "refused_header", why, {"crit written with escapes": kind.token(escaped)}
    why = "RFC 7797 6: an extension that must be critical."
    body = json.dumps(kind.claims(iss="x", exp=NOW + 60))
    for fault, members in {"refused_header": {"crit": ["b64"]}, "not_compact_jws": {}}.items():
        data = f"{b64(text(kind.header(b64=False, **members)))}.{body}"
        yield fault, why, {f"unencoded claims, with {members}": signed(data, kind.keys["EdDSA"])}

    why = "RFC 8725 3.11: a token that is explicitly of another type is for something else."
    types = [
        "logout+jwt", "secevent+jwt", "dpop+jwt", "token-introspection+jwt", "id_token", "JWE", "JOSE", "", "other",
        "at+jwt ", "application/", "application/application/jwt", "text/jwt", "jwt,at+jwt", "jwt;x=y", "\uff2a\uff37\uff34",
        7, True, ["JWT"], {"typ": "JWT"}, {RAW_VALUE: '"JWT"'},
    ]  # fmt: skip
    yield "refused_header", why, kind.headers("typ", types)


def substitution(kind):
    """Tokens of other kinds, or for other purposes, and tokens that the keys of other kinds signed."""
    why = "RFC 8725 2.7, 2.8, 3.9, 3.12: a token for another place or of another kind."
    for other in KINDS:
        if other == kind:
            continue
        for alg, key in other.keys.items():
            by = f"signed by the {other.name} set's {alg} key"
            cases = {f"a good {other.name} token of {alg}": other.token(alg=alg)}
            yield "unknown_key", why, cases | {by: kind.token(other.header(alg), alg=alg, key=key)}
            yield "signature", why, {f"{by}, named like ours": kind.token(alg=alg, key=key)}
        token = kind.token(body=other.claims())
        yield "issuer", why, {f"a good {other.name} token but for our key": token}
        yield "issuer", why, kind.bodies("iss", [other.issuer])
        yield "audience", why, kind.bodies("aud", [other.audience])
        token = kind.claiming(aud=Absent, client_id=other.audience)
        yield "audience", why, {f"the audience of {other.name} tokens as client_id": token}
    cases = {
        "our issuer's token for somebody else": kind.claiming(aud="https://bank.example"),
        "an ID token of our issuer": kind.token(
            kind.header(typ="JWT"), kind.claims(aud="client-7", nonce="n", azp="client-7")
        ),
        "an ID token of a client named like us": kind.claiming(aud=["client-7"], client_id=kind.audience),
    }
    yield "audience", why, cases
    yield "issuer", why, {"a client's own assertion": kind.claiming(iss=kind.subject, aud=kind.issuer)}
    why = "RFC 8417 2.2, RFC 8725 3.11: a security event, such as a logout, has the parties of an ID token."
    logout = {"https://schemas.openid.net/event/backchannel-logout": {}}
    yield "refused_claim", why, kind.bodies("events", [logout, {}, "x", False])
    why = "RFC 9449 6, RFC 8705 3: a token that is bound to a key is nothing without the proof of that key."
    yield "refused_claim", why, kind.bodies("cnf", [{"jkt": "x"}, {"x5t#S256": "x"}, {}, "x", 0])


def forged_parts(kind):
    """Parts of good tokens, put together anew."""
    key = kind.keys["EdDSA"]
    head, body, signature = kind.token().split(".")

    def old_signature(**members):
        return f"{head}.{b64(text(kind.claims(**members)))}.{signature}"

    def of_other_data(data):
        return f"{head}.{body}.{b64(sign(key, 'EdDSA', data))}"

    cases = {
        "another subject under the old signature": old_signature(**{kind.id_claim: "hermione"}),
        "a later exp under the old signature": old_signature(exp=NOW + 7200),
        "another header under the old signature": f"{b64(text(kind.header(typ='JWT')))}.{body}.{signature}",
        "the signature of another token of the key": f"{head}.{body}.{kind.claiming(jti=1).split('.')[2]}",
        "signed over the claims alone": of_other_data(body.encode()),
        "signed over what is not encoded": of_other_data(unb64(head) + b"." + unb64(body)),
    }
    if kind.name == "access":
        implicit = kind.claiming(grant_type="implicit").split(".")
        cases["another grant under the old signature"] = f"{implicit[0]}.{body}.{implicit[2]}"
    yield "signature", "RFC 8725 3.3: every part is signed.", cases
    yield "not_compact_jws", "RFC 7519 1: a JWT has its claims.", {"detached claims": f"{head}..{signature}"}


def duplicates(kind):
    head, body = kind.header(), kind.claims()
    heads = {
        "alg twice, the same": with_text(head, "alg", '"EdDSA"'),
        "alg none, then the right one": '{"alg":"none",' + text(head)[1:],
        "the right alg, then none": with_text(head, "alg", '"none"'),
        "kid twice, the same": with_text(head, "kid", f'"{head["kid"]}"'),
        "another kid first": '{"kid":"x",' + text(head)[1:],
        "another kid last": with_text(head, "kid", '"x"'),
        "an unknown header member twice": with_text(kind.header(x=1), "x", "1"),
        "alg twice, once written with escapes": with_text(head, "\\u0061lg", '"EdDSA"'),
    }
    bodies = {
        "sub twice, once written with escapes": with_text(body, "\\u0073ub", '"hermione"'),
        "sub twice, once all in escapes": '{"\\u0073\\u0075\\u0062":"hermione",' + text(body)[1:],
        "nbf twice": with_text(kind.claims(nbf=NOW), "nbf", NOW),
        "an unknown claim twice": with_text(kind.claims(x=1), "x", "2"),
        "an empty name twice": with_text(kind.claims(**{"": 1}), "", "1"),
    }
    for name, value in body.items():
        bodies[f"{name} twice, the same"] = with_text(body, name, json.dumps(value))
        bodies[f"{name} null first"] = f'{{"{name}":null,' + text(body)[1:]
        bodies[f"{name} null last"] = with_text(body, name, "null")
    cases = {name: kind.token(head) for name, head in heads.items()}
    cases |= {name: kind.token(body=body) for name, body in bodies.items()}
    why = "RFC 7515 4, RFC 7519 4: of a member that stands twice, one parser sees the first, another the last."
    yield "duplicate_member", why, cases


def times(kind):
    why = "RFC 7519 2, 4.1.4: a time is a JSON number of seconds, and `exp` is required."
    yield "missing_claim", why, kind.bodies("exp", [Absent, None])
    near = ["Exp", "EXP", "exp ", "expires", "exp\0"]
    cases = {f"{name!r} for exp": kind.claiming(exp=Absent, **{name: NOW + 3600}) for name in near}
    yield "missing_claim", why, cases
    values = [
        "1795352400", "", "NaN", "2030-01-01T00:00:00Z", True, [1795352400], {}, {"exp": 1795352400},
        {RAW_VALUE: "1795352400"}, {"$serde_json::private::Number": "1795352400"},
    ]  # fmt: skip
    yield "malformed_claim", why, kind.bodies("exp", values)
    why = "RFC 8259 6: not a JSON number, or one that nobody can hold."
    texts = "1e400 -1e400 NaN Infinity 0x6B030A10 01795352400 +1795352400 1795352400. 1_795_352_400".split()
    yield "not_json_object", why, kind.bodies("exp", map(Text, [*texts, ""]))
    why = "RFC 8725 3.8 and RFC 7519 4.1.4: not after `exp`, with a leeway of 30 s."
    values = [
        0, -0.0, -1, Text("1e-400"), -1e308, -(2**63), -(2**63) - 1, Text(f"{NOW}e-3"), NOW - LEEWAY,
        Text(f"{NOW - LEEWAY}.0"), NOW - LEEWAY - 0.001, NOW - 3600,
    ]  # fmt: skip
    yield "expired", why, kind.bodies("exp", values)
    why = "The contract: a token that in effect never expires is a mistake."
    late = NOW + LONGEST
    values = [late + 1, late + 0.001, (NOW + 3600) * 1000, 2**53, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64]
    yield "expires_too_late", why, kind.bodies("exp", [*values, 1e308, Text("9" * 40)])
    why = "RFC 7519 4.1.5: not before `nbf`, with a leeway of 30 s."
    values = [NOW + LEEWAY + 0.001, NOW + 3600, NOW * 1000, 2**63 - 1, 2**64 - 1, 1e308]
    yield "not_yet_valid", why, kind.bodies("nbf", values)
    for claim in ["nbf", "iat"]:
        why = f"RFC 7519 4.1.5, 4.1.6: `{claim}` is a JSON number where it is there."
        yield "malformed_claim", why, kind.bodies(claim, [str(NOW - 60), True, [NOW - 60], {RAW_VALUE: "0"}])
        yield "not_json_object", why, kind.bodies(claim, [Text("1e400")])


def parties(kind):
    iss, aud, id_claim = kind.issuer, kind.audience, kind.id_claim

    why = "RFC 7519 4.1.1: `iss` is required, one string, compared as it is."
    yield "missing_claim", why, kind.bodies("iss", [Absent, None])
    yield "malformed_claim", why, kind.bodies("iss", [True, 7, [iss], {"iss": iss}, {RAW_VALUE: json.dumps(iss)}])
    values = [
        "", iss + "/", iss + " ", iss + "\0", iss.upper(), iss[:-1], iss + ".attacker.test",
        iss.replace("https", "http"), iss.replace(".", "\u3002"), "https://attacker.test",
    ]  # fmt: skip
    yield "issuer", why, kind.bodies("iss", values)

    why = "RFC 8725 3.9, RFC 7519 4.1.3: `aud` is a string or an array of strings, and names us."
    yield "missing_claim", why, kind.bodies("aud", [Absent, None])
    values = [
        True, 7, {aud: True}, [[aud]], [aud, 7], [None, aud], [aud, [aud]], {RAW_VALUE: json.dumps(aud)},
        [{RAW_VALUE: json.dumps(aud)}],
    ]  # fmt: skip
    yield "malformed_claim", why, kind.bodies("aud", values)
    values = [
        "", aud[:-1], aud + "s", aud + " ", aud + "\0", aud.upper(), f"{aud} other", "*", json.dumps([aud]), [], [""],
        ["other"], [aud[:2], aud[2:]],
    ]  # fmt: skip
    yield "audience", why, kind.bodies("aud", values)
    why = "AWS, JWT authorizers: `client_id` stands in for `aud` only where there is no `aud`."
    cases = {f"aud {shown(of)} beside client_id": kind.claiming(aud=of, client_id=aud) for of in ["", "other", []]}
    cases["no aud and another client_id"] = kind.claiming(aud=Absent, client_id=aud + "s")
    yield "audience", why, cases
    cases = {f"client_id {shown(of)} for aud": kind.claiming(aud=Absent, client_id=of) for of in [7, [aud]]}
    yield "malformed_claim", why, cases
    token = kind.claiming(aud=Absent, azp=aud, cid=aud, appid=aud)
    yield "missing_claim", why, {"another claim for aud": token}

    why = f"RFC 7519 4.1.2: `{id_claim}` is required here and one string, not empty."
    yield "missing_claim", why, kind.bodies(id_claim, [Absent, None])
    values = [True, 7, ["ron"], {id_claim: "ron"}, {RAW_VALUE: '"ron"'}, ""]
    yield "malformed_claim", why, kind.bodies(id_claim, values)
    if kind.name == "access":
        why = "RFC 9068 2.2: the name of the client is one string, not empty."
        for claim in ["client_id", "azp", "cid", "appid"]:
            yield "malformed_claim", why, kind.bodies(claim, ["", 7, ["shop"], {RAW_VALUE: '"shop"'}])
    if kind.name == "account":
        yield "malformed_claim", "RFC 7519 4.1.2: `sub` is one string.", kind.bodies("sub", ["", 7, ["ron"]])
    if kind.name in ["customer", "account"]:
        why = f"The contract: `{id_claim}` is an id, [A-Za-z0-9_-]{{1,128}}."
        ids = [
            " ", "ron ", " ron", "ron\0", "ron\n", "ron#hermione", "cart-1#ron", "../ron", "ron/", "ron%23",
            "ron,hermione", "r\u043en", "\uff52on", "*", "r" * 129,
        ]  # fmt: skip
        yield "subject", why, kind.bodies(id_claim, ids)
    if kind.name == "cart":
        ids = [
            "cart-2", "cart-", "cart-10", "Cart-1", "cart-1 ", " cart-1", "cart-1\0", "cart-1\n", "cart-1/",
            "cart-1#ron", "cart-1,cart-2", "cart%2D1", "c\u0430rt-1", "cart\u20101", "ron", "*", "c" * 129,
        ]  # fmt: skip
        yield "subject", "The contract: `sub` is the id of the cart in the path.", kind.bodies(id_claim, ids)


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
    yield "not_json_object", why, {f"a header {name}": kind.token(odd(head)) for name, odd in oddities.items()}
    yield "not_json_object", why, {f"claims {name}": kind.token(body=odd(body)) for name, odd in oddities.items()}
    yield "malformed_header", why, {"an empty header object": kind.token({})}
    yield "missing_claim", why, {"an empty claims object": kind.token(body={})}
    token = kind.token({"Alg": "EdDSA", "kid": kind.kid("EdDSA")})
    yield "malformed_header", "RFC 7515 4.1.1: names are compared as they are.", {"Alg for alg": token}


def base64_oddities(kind):
    key = kind.keys["EdDSA"]
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

    def part(members):
        """A part with the letter `_`, which is `/` in base64, and with bits to spare."""
        parts = (b64(text(members | {"x": "???" + "x" * filler})) for filler in range(3))
        return next(part for part in parts if len(part) % 4 == 2)

    def standard(part):
        return base64.b64encode(unb64(part)).decode().rstrip("=")

    changes = {
        "with padding": lambda p: p + "=" * (-len(p) % 4 or 4),
        "with bits to spare": lambda p: p[:-1] + letters[letters.index(p[-1]) ^ 1],
        "with a letter too many": lambda p: p + "A" * (5 - (len(p) % 4 or 4)),
        "with white space": lambda p: p[:4] + " " + p[4:],
        "with a newline": lambda p: p[:4] + "\n" + p[4:],
        "with a NUL": lambda p: p[:4] + "\0" + p[4:],
        "with a non-ASCII letter": lambda p: p[:4] + "\u00e9" + p[4:],
        "with a percent escape": lambda p: f"%{ord(p[0]):02X}" + p[1:],
        "in the alphabet of base64": standard,
        "empty": lambda p: "",
    }
    head, body = part(kind.header()), part(kind.claims())
    tokens = (kind.claiming(jti=count).rsplit(".", 1) for count in itertools.count())
    data, signature = next(parts for parts in tokens if "_" in parts[1])
    cases = {}
    for name, change in changes.items():
        cases[f"a header {name}"] = signed(f"{change(head)}.{body}", key)
        cases[f"claims {name}"] = signed(f"{head}.{change(body)}", key)
        cases[f"a signature {name}"] = f"{data}.{change(signature)}"
    why = "RFC 7515 2: base64url without padding, white space or anything else, even where the signature is right."
    yield "not_compact_jws", why, cases


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
    yield "not_compact_jws", why, cases
    yield "malformed_header", why, {"parts in another order": f"{body}.{head}.{signature}"}
    why = f"The contract: a token over {MAX_BYTES} bytes is not looked at."
    yield "too_long", why, {f"{MAX_BYTES + 1} bytes": exactly(kind, MAX_BYTES + 1)}


def encrypted(kind):
    inner, bare = kind.token(), text(kind.claims()).encode()
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(bare) + compressor.flush()

    def jwe(head):
        """The five parts of a JWE, which nobody can decrypt."""
        return ".".join(map(b64, [text(head | gcm), b"k" * 256, b"i" * 12, bare, b"t" * 16]))

    gcm = {"enc": "A256GCM"}
    to_our_key = {"alg": "RSA-OAEP-256", "kid": kind.kid("RS256")}
    epk = {"kty": "EC", "crv": "P-256", "x": b64(octets(7, 32)), "y": b64(octets(7, 32))}
    heads = [
        to_our_key, to_our_key | {"cty": "JWT"}, to_our_key | {"zip": "DEF"}, {"alg": "dir"}, {"alg": "none"},
        {"alg": "ECDH-ES", "epk": epk}, {"alg": "PBES2-HS256+A128KW", "p2s": "AAAAAAAAAAA", "p2c": 2**31 - 1},
    ]  # fmt: skip
    why = "RFC 8725 2.3, 2.4, 2.5: an encrypted token is not accepted: a public key encrypts for anybody."
    yield "not_compact_jws", why, {f"a JWE with {json.dumps(head)}": jwe(head) for head in heads}
    yield "unknown_algorithm", why, {"a JWE's header on three parts": kind.token(to_our_key | gcm)}
    cases = {}
    for name, members in {"cty JWT": {"cty": "JWT"}, "no cty": {}}.items():
        head = kind.header(**members)
        cases[f"a good token in a token, with {name}"] = kind.token(head, inner)
        cases[f"a good token as a JSON string in a token, with {name}"] = kind.token(head, json.dumps(inner))
    yield "not_json_object", "RFC 8725 2.3, RFC 7519 5.2: a token in a token is not looked for.", cases
    why = "RFC 8725 2.4: nothing is decompressed; a few bytes can become gigabytes."
    yield "not_json_object", why, {"compressed claims with zip DEF": kind.token(kind.header(zip="DEF"), packed)}


# Keys that nobody should trust: each function yields a name, why, the fault of its tokens, the key, its algorithm, and
# what makes a signature of the text that is signed


def weak_token(kind, alg, signature):
    """A token of this kind. Where there is no signature of its text, other claims are tried."""
    for count in itertools.count():
        data = f"{b64(text({'alg': alg, 'kid': 'weak'}))}.{b64(text(kind.claims(jti=count)))}"
        if made := signature(data.encode()):
            return f"{data}.{b64(made)}"


def weak_rsa():
    why = "RFC 7518 3.3: 2048 bits or more."
    for bits in [1024, 2047]:
        name = f"RSA of {bits} bits"
        key = load(KEYS["weak"][name], "RS256")
        n, e, made = octets(key.n), octets(key.e), functools.partial(sign, key, "RS256")
        yield name, why, "unknown_key", rsa_jwk(n, e), "RS256", made
        yield f"{name}, with zeros in front", why, "unknown_key", rsa_jwk(bytes(256) + n, e), "RS256", made

    honest = octets(KINDS[0].keys["RS256"].n)
    why = "RFC 8017 3.1: with the exponent 1 the padded message is its own signature."
    for (alg, pad), e in itertools.product([("RS256", pkcs1), ("PS256", emsa_pss)], [b"\x01", b"\0\x01"]):
        public = rsa_jwk(honest, e) | {"alg": alg}
        yield f"{alg} with exponent {e.hex()}", why, "signature", public, alg, pad
    why = "RFC 8017 3.1: with the exponent 0 every signature yields 1."
    yield "RS256 with exponent 0", why, "unknown_key", rsa_jwk(honest, b"\0"), "RS256", lambda _: octets(1, 256)

    # The primes of this key are 3 modulo 4. With an even exponent, who knows them can take a root of every fourth message.
    name = "RS256 with exponent 2"
    key = load(KEYS["weak"][name], "RS256")
    p, q = int(key.p), int(key.q)

    def root(data):
        message = number(pkcs1(data))
        a, b = pow(message, (p + 1) // 4, p), pow(message, (q + 1) // 4, q)
        value = (a * q * pow(q, -1, p) + b * p * pow(p, -1, q)) % (p * q)
        return octets(value, 256) if value * value % (p * q) == message else None

    why = "RFC 8017 3.1: an even exponent is none."
    yield name, why, "signature", rsa_jwk(octets(key.n), b"\x02"), "RS256", root

    def cube_root(data):
        """A signature whose cube begins like a padded message."""
        prefix = b"\0\1" + b"\xff" * 8 + b"\0" + SHA256_INFO + hashlib.sha256(data).digest()
        context = decimal.Context(prec=700)
        root = math.ceil(context.power(number(prefix.ljust(256, b"\0")), context.divide(1, 3)))
        assert octets(root**3, 256).startswith(prefix)
        return octets(root, 256)

    name = "RS256 with exponent 3 and a cube root for a signature"
    why = "RFC 8017 8.2.2, CVE-2006-4339: nothing may follow the hash."
    public = rsa_jwk(octets(load(KEYS["weak"][name], "RS256").n), b"\x03")
    yield name, why, "signature", public, "RS256", cube_root
    public = rsa_jwk(octets(1 << 2047), b"\1\0\1")
    why = "RFC 8017 3.1: a modulus is odd."
    yield "RS256 with an even modulus", why, "signature", public, "RS256", lambda _: octets(1, 256)


# SEC 2 2.4.1: the generator.
SECP256K1 = [
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
]


def weak_ec():
    n = ORDERS["ES256"]
    key = KINDS[0].keys["ES256"]
    x, y = int(key.pointQ.x), int(key.pointQ.y)

    def of_order_two(data):
        """A right signature to whoever adds points without looking at their curve: (x, 0) is its own negative, so an
        even multiple of it is nothing, and what remains is the generator's multiple that the forger chose."""
        z = number(hashlib.sha256(data).digest())
        for k in itertools.count(2):
            r = int(ECC.construct(curve="P-256", d=k).pointQ.x) % n
            s = z * pow(k, -1, n) % n
            if r * pow(s, -1, n) % n % 2 == 0:
                return octets(r, 32) + octets(s, 32)

    def point(x, y):
        return {"kty": "EC", "crv": "P-256", "x": b64(x), "y": b64(y)}

    def point_of(x, y):
        return point(octets(x, 32), octets(y, 32))

    def ones(data):
        return octets(1, 32) * 2

    made = functools.partial(sign, key, "ES256")
    why = "RFC 8725 2.5, SEC 1 3.2.2.1: a point that is not on the curve is no key."
    for name, public, signature in [
        ("P-256 point of order two on another curve", point_of(5, 0), of_order_two),
        ("P-256 point beside the curve", point_of(x, y + 1), made),
        ("P-256 point with its coordinates swapped", point_of(y, x), made),
        ("P-256 point (0, 0)", point_of(0, 0), ones),
        ("P-256 point of coordinates over p", point_of(2**256 - 1, 2**256 - 1), ones),
        ("P-256 point with a coordinate a byte short", point(octets(x, 32), octets(y, 32)[1:]), made),
        ("P-256 point with a coordinate of a byte more", point(octets(x, 32), b"\1" + octets(y, 32)), made),
        ("secp256k1 point said to be of P-256", point_of(*SECP256K1), ones),
    ]:
        yield name, why, "unknown_key", public, "ES256", signature


# RFC 8032 5.1: the y-coordinates of the points of order 1, 2, 4 and 8, some in encodings that are not canonical.
P = 2**255 - 19
Y8 = 0x05FC536D880238B13933C6D305ACDFD5F098EFF289F4C345B027B2C28F95E826
SMALL_ORDER = {1: [1, P + 1], 2: [P - 1], 4: [0, P], 8: [Y8, P - Y8]}


def weak_ed():
    why = "RFC 8032 8.9, 5.1.7: with a key of small order anybody can make a signature, [S]B = R + [k]A with S=0."

    def if_lucky(order, point, data):
        k = int.from_bytes(hashlib.sha512(IDENTITY + point + data).digest(), "little") % L
        return IDENTITY + bytes(32) if k % order == 0 else None

    for order, coordinates in SMALL_ORDER.items():
        for y, negative in itertools.product(coordinates, [0, 1]):
            point = (y | negative << 255).to_bytes(32, "little")
            name = f"Ed25519 point of order {order}, {point.hex()}"
            yield name, why, "unknown_key", okp_jwk(point), "EdDSA", functools.partial(if_lucky, order, point)
    # No point has the y-coordinate 2.
    off = okp_jwk(b"\x02" + bytes(31))
    yield "Ed25519 point off the curve", why, "signature", off, "EdDSA", lambda _: IDENTITY + bytes(32)


def grouped(cases):
    """The tokens of one kind and one reason together, so that each reason is written once."""
    groups = {}
    for case in cases:
        shared = {name: value for name, value in case.items() if name not in ["name", "token"]}
        group = groups.setdefault(json.dumps(shared), shared | {"tokens": {}})
        group["tokens"][case["name"]] = case["token"]
    return groups.values()


def write(name, cases, form=list):
    """Writes one line a token, so that a change shows as what it is."""
    names = [case["name"] for case in cases]
    assert len(names) == len(set(names)), sorted(name for name in names if names.count(name) > 1)
    lines = (json.dumps(case, indent=0 if form is grouped else None) for case in form(cases))
    (HERE / name).write_text("[\n" + ",\n".join(lines) + "\n]\n")
    print(len(cases), name)


hostile, weak = [], []
for kind in KINDS:
    good_tokens(kind)
    for make in [
        functools.partial(ecdsa, "ES256"), functools.partial(ecdsa, "ES384"), substitution, forged_parts, parties,
        without_signature, other_algorithms, shared_secrets, other_names, eddsa_signatures, rsa_signatures, key_ids,
        header_members, duplicates, times, json_oddities, base64_oddities, serializations, encrypted,
    ]:  # fmt: skip
        for fault, why, tokens in make(kind):
            for name, token in tokens.items():
                case = {"name": f"{kind.name}: {name}", "kind": kind.name, "fault": fault, "why": why, "token": token}
                hostile.append(case)
for make in [weak_rsa, weak_ec, weak_ed]:
    for name, why, fault, public, alg, signature in make():
        case = {"fault": fault, "why": why, "jwk": public | {"kid": "weak", "use": "sig"}}
        for kind in KINDS:
            names = {"name": f"{kind.name}: {name}", "kind": kind.name}
            weak.append(names | case | {"token": weak_token(kind, alg, signature)})
write("good.json", good)
write("hostile.json", hostile, grouped)
write("weak_keys.json", weak, grouped)
