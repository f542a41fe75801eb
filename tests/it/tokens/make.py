#!/usr/bin/env python3
"""Makes the tokens of `hostile_tokens.rs`, with implementations that are not the one under test.

    python3 -m venv venv && venv/bin/pip install pyjwt cryptography
    venv/bin/python tests/it/tokens/make.py

It needs Python 3.11, PyJWT 2.10, cryptography 45 (for deterministic ECDSA) and the command `openssl` 3.0 or later. It
writes beside itself:

    keys.json       the three key sets, with the private keys, and the time at which all tokens are looked at
    good.json       tokens that must be believed
    hostile.json    tokens that must be refused
    weak_keys.json  public keys with which anybody can forge, or with which nobody should sign; a token for each

The keys are TEST KEYS: they are published here and protect nothing. Those that are there are used again, so that another
run changes nothing but the signatures that are random by design (PS256; ES256 and ES384 of PyJWT and OpenSSL).

A case has a `fault`: the name of the `TokenFault` by which it is refused, so that none is refused for another reason than
the one that it was made for.
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
MAX_BYTES = 4096

KINDS = ["access", "customer", "cart"]
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]
ISSUER = {"access": "https://auth.test", "customer": "https://login.test", "cart": "https://carts.test"}
AUDIENCE = {"access": "carts", "customer": "shop", "cart": "cart-holders"}
SUBJECT = {"access": "shop", "customer": "ron", "cart": "cart-1"}

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


def kid_of(kind, alg):
    return f"{kind}-{alg.lower()}"


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
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()


def spki(key, encoding):
    return key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)


def raw(key):
    return key.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)


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
    """One line a case: short, and a change shows as what it is."""
    if isinstance(value, list):
        text = "[\n" + ",\n".join(map(one_line, value)) + "\n]\n"
    else:
        text = json.dumps(value, indent=2) + "\n"
    (HERE / name).write_text(text)


old = read("keys.json")
KEYS = {}
for kind in KINDS:
    for alg in ALGORITHMS:
        KEYS[kind, alg] = generate(alg)
    for entry in old[kind]["keys"] if old and kind in old else []:
        KEYS[kind, entry["public"]["alg"]] = load(entry["private"])


def key_sets():
    sets = {"now": NOW}
    for kind in KINDS:
        keys = []
        for alg in ALGORITHMS:
            key = KEYS[kind, alg]
            public = jwk(key) | {"kid": kid_of(kind, alg), "alg": alg, "use": "sig"}
            keys.append({"public": public, "private": pem(key)})
        sets[kind] = {"issuer": ISSUER[kind], "audience": AUDIENCE[kind], "keys": keys}
    return sets


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


def header(kind, alg="EdDSA", **members):
    return altered({"alg": alg, "kid": kid_of(kind, alg)}, members)


def claims(kind, **members):
    usual = {"iss": ISSUER[kind], "aud": AUDIENCE[kind], "sub": SUBJECT[kind], "exp": NOW + 3600}
    if kind == "access":
        usual["grant_type"] = "client_credentials"
    return altered(usual, members)


class Absent:
    """Stands in for a member that shall not be there."""


def altered(members, changes):
    return {name: value for name, value in (members | changes).items() if value is not Absent}


def text(value):
    """JSON as it is given, or made from a value."""
    return value if isinstance(value, (str, bytes)) else json.dumps(value, separators=(",", ":"))


def with_raw(members, name, value):
    """The text of an object with one more member, whose value is any text."""
    return text(members)[:-1] + f',"{name}":{value}' + "}"


def token(kind, head=None, body=None, alg="EdDSA", key=None, signature=None):
    """A token of `kind`, right but for what is given. Head and body may be any text or bytes at all; `signature` makes
    the signature of what is signed."""
    head = header(kind, alg) if head is None else head
    body = claims(kind) if body is None else body
    return signed(f"{b64(text(head))}.{b64(text(body))}", key or KEYS[kind, alg], alg, signature)


def signed(data, key, alg, signature=None):
    made = signature(data.encode()) if signature else sign(key, alg, data.encode())
    return f"{data}.{b64(made)}"


# The cases

good, hostile, weak = [], {}, []


def believed(kind, name, token, subject=None, only_key=None):
    case = {"name": f"{kind}: {name}", "kind": kind, "subject": subject or SUBJECT[kind], "token": token}
    if only_key:
        case["only_key"] = only_key
    good.append(case)


def refused(kind, name, fault, why, token):
    group = hostile.setdefault((kind, fault, why), {"kind": kind, "fault": fault, "why": why, "cases": []})
    group["cases"].append({"name": f"{kind}: {name}", "token": token})


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


def exactly(kind, size):
    """A token of just this length. No part can have every length, so header and claims grow."""
    for filler in range(4):
        head = header(kind, x="x" * filler)
        room = size - len(b64(text(head))) - 2 - 86
        for length in range(room * 3 // 4 - 300, room):
            body = claims(kind, x="x" * max(length, 0))
            made = token(kind, head, body)
            if len(made) == size:
                return made
            if len(made) > size:
                break
    raise AssertionError(size)


def good_tokens():
    for kind in KINDS:
        for alg in ALGORITHMS:
            key, kid = KEYS[kind, alg], kid_of(kind, alg)
            made = jwt.encode(claims(kind), pem(key), alg, {"kid": kid})
            believed(kind, f"{alg} by PyJWT", made)
            data = f"{b64(text(header(kind, alg)))}.{b64(text(claims(kind)))}"
            made = signed(data, key, alg, lambda data: openssl_sign(key, alg, data))
            believed(kind, f"{alg} by OpenSSL", made)
            made = jwt.encode(claims(kind), pem(key), alg, {"typ": None})
            believed(kind, f"{alg} without kid, of the only key", made, only_key=kid)
            public = serialization.load_pem_public_key(spki(key, serialization.Encoding.PEM))
            for case in good[-3:]:
                jwt.decode(case["token"], public, [alg], audience=AUDIENCE[kind], options={"verify_exp": False})

        def claiming(name, body=None, subject=None, **members):
            believed(kind, name, token(kind, body=body or claims(kind, **members)), subject)

        claiming("exp a millisecond before the leeway ends", exp=NOW - LEEWAY + 0.001)
        claiming("exp as late as it may be", exp=NOW + LONGEST)
        claiming("exp with a fraction", exp=NOW + 0.5)
        claiming("exp with an exponent", with_raw(claims(kind, exp=Absent), "exp", "1.7953524e9"))
        claiming("nbf where the leeway begins", nbf=NOW + LEEWAY)
        claiming("nbf 0", nbf=0)
        claiming("nbf before 1970", nbf=-1)
        claiming("iat with a fraction", iat=NOW - 60.5)
        claiming("aud an array of ours", aud=[AUDIENCE[kind]])
        claiming("aud an array with ours", aud=["other", AUDIENCE[kind]])
        claiming("claims that nobody knows", roles=["a", {"b": [1.5, None]}], Sub="another")
        claiming("a name written with escapes", text(claims(kind)).replace('"sub"', '"\\u0073ub"'))
        claiming("white space around the claims", " \r\n\t" + text(claims(kind)) + "\n")
        claiming("an unknown claim 100 deep", with_raw(claims(kind), "x", "[" * 100 + "]" * 100))
        for typ in ["JWT", "at+jwt", "application/at+jwt", "other"]:
            believed(kind, f"typ {typ}", token(kind, header(kind, typ=typ)))
        ed25519_name = header(kind, "EdDSA") | {"alg": "Ed25519"}
        believed(kind, "alg Ed25519, RFC 9864", token(kind, ed25519_name, alg="EdDSA"))
        believed(kind, "header members that nobody knows", token(kind, header(kind, x=[1], Crit=["x"])))
        believed(kind, f"{MAX_BYTES} bytes", exactly(kind, MAX_BYTES))
        assert len(good[-1]["token"]) == MAX_BYTES

    believed("access", "sub in any script", token("access", body=claims("access", sub="лавка №7")), "лавка №7")
    for kind in ["customer", "cart"]:
        for sub in ["R", "a-_0" * 32]:
            believed(kind, f"sub of {len(sub)}", token(kind, body=claims(kind, sub=sub)), sub)


NONES = ["none", "None", "NONE", "nOnE", "none ", ""]


def without_signature(kind):
    why = "RFC 8725 2.1, 3.2: `none` in any spelling is no algorithm."
    stolen = unb64(token(kind).rsplit(".", 1)[1])
    for alg in NONES:
        head = header(kind) | {"alg": alg}
        refused(
            kind,
            f"alg {alg!r} with an empty signature",
            "not_compact_jws",
            why,
            token(kind, head, signature=lambda _: b""),
        )
        refused(kind, f"alg {alg!r} with a signature", "unknown_algorithm", why, token(kind, head))
    head = {"alg": "none", "typ": "JWT"}
    refused(
        kind,
        "alg none with neither kid nor signature",
        "not_compact_jws",
        why,
        token(kind, head, signature=lambda _: b""),
    )
    head = header(kind) | {"alg": "none"}
    refused(
        kind,
        "alg none with the signature of another token",
        "unknown_algorithm",
        why,
        token(kind, head, signature=lambda _: stolen),
    )
    refused(
        kind,
        "a right header with an empty signature",
        "not_compact_jws",
        "RFC 8725 2.1: a token without signature proves nothing.",
        token(kind, signature=lambda _: b""),
    )
    why = "RFC 7515 4.1.1: `alg` must be there and a string."
    for value in [Absent, None, 0, True, [], ["EdDSA"], {"alg": "EdDSA"}]:
        shown = "missing" if value is Absent else json.dumps(value)
        refused(kind, f"alg {shown}", "malformed_header", why, token(kind, altered(header(kind), {"alg": value})))


def shared_secrets(kind):
    """A public key, which everybody has, taken for the secret of an HMAC."""
    why = "RFC 8725 2.1, 3.1: a public key used as the secret of an HMAC lets anybody sign."
    key = KEYS[kind, "RS256"]
    pem_, der = spki(key, serialization.Encoding.PEM), spki(key, serialization.Encoding.DER)
    pkcs1 = [
        key.public_key().public_bytes(encoding, serialization.PublicFormat.PKCS1)
        for encoding in (serialization.Encoding.PEM, serialization.Encoding.DER)
    ]
    secrets = {
        "RSA PEM": pem_, "RSA PEM without its last newline": pem_.rstrip(), "RSA DER": der,
        "RSA PKCS#1 PEM": pkcs1[0], "RSA PKCS#1 DER": pkcs1[1],
        "RSA n as bytes": unb64(jwk(key)["n"]), "RSA n as text": jwk(key)["n"].encode(),
        "RSA JWK": text(jwk(key)).encode(),
    }  # fmt: skip
    for name, secret in secrets.items():
        head = header(kind, "RS256") | {"alg": "HS256"}
        refused(
            kind,
            f"HS256 with the key's {name}",
            "unknown_algorithm",
            why,
            token(kind, head, signature=lambda d: mac(secret, "HS256", d)),
        )
    head = header(kind, "RS256")
    refused(
        kind,
        "RS256 that is an HMAC with the key's PEM",
        "signature",
        why,
        token(kind, head, signature=lambda d: mac(pem_, "HS256", d)),
    )
    for alg in ["HS384", "HS512"]:
        head = header(kind, "RS256") | {"alg": alg}
        refused(
            kind,
            f"{alg} with the key's PEM",
            "unknown_algorithm",
            why,
            token(kind, head, signature=lambda d: mac(pem_, alg, d)),
        )
    for alg, secret in [
        ("ES256", spki(KEYS[kind, "ES256"], serialization.Encoding.PEM)),
        ("ES256", unb64(jwk(KEYS[kind, "ES256"])["x"])),
        ("EdDSA", raw(KEYS[kind, "EdDSA"])),
    ]:
        head = header(kind, alg)
        name = f"{alg} that is an HMAC with the key's {'PEM' if secret[:1] == b'-' else 'x'}"
        refused(kind, name, "signature", why, token(kind, head, signature=lambda d: mac(secret, "HS256", d)))
        head = header(kind, alg) | {"alg": "HS256"}
        refused(
            kind,
            name.replace("that", "key's HS256 that"),
            "unknown_algorithm",
            why,
            token(kind, head, signature=lambda d: mac(secret, "HS256", d)),
        )
    for secret in ["", "secret", "your-256-bit-secret", kid_of(kind, "RS256"), "\0"]:
        head = header(kind, "RS256") | {"alg": "HS256"}
        refused(
            kind,
            f"HS256 with the secret {secret!r}",
            "unknown_algorithm",
            "RFC 8725 2.2: a weak secret is guessed.",
            token(kind, head, signature=lambda d: mac(secret.encode(), "HS256", d)),
        )


def other_algorithms(kind):
    why = "RFC 8725 3.1: a key serves its own algorithm alone."
    for of in ALGORITHMS:
        for alg in ALGORITHMS:
            if alg == of:
                continue
            head = header(kind, of) | {"alg": alg}
            if alg[0] != of[0] or alg == "ES384":
                refused(
                    kind,
                    f"{alg} for the {of} key, signed by the {of} key",
                    "unknown_key",
                    why,
                    token(kind, head, alg=of),
                )
            refused(
                kind, f"{alg} for the {of} key, signed by the {alg} key", "unknown_key", why, token(kind, head, alg=alg)
            )
    for of, alg in [("RS256", "PS256"), ("PS256", "RS256")]:
        head = header(kind, of) | {"alg": alg}
        refused(
            kind,
            f"a right {alg} signature by the {of} key",
            "unknown_key",
            why,
            token(kind, head, alg=alg, key=KEYS[kind, of]),
        )
        refused(
            kind,
            f"{of} that is a right {alg} signature",
            "signature",
            why,
            token(kind, header(kind, of), alg=alg, key=KEYS[kind, of]),
        )


def other_names(kind):
    why = "RFC 8725 3.1: only the five algorithms of the contract are known, by their exact names."
    for of, alg in [("RS256", "RS384"), ("RS256", "RS512"), ("PS256", "PS384"), ("PS256", "PS512"), ("ES256", "ES384")]:
        key, head = KEYS[kind, of], header(kind, of)
        if alg != "ES384":
            refused(
                kind,
                f"{alg} by the {of} key",
                "unknown_algorithm",
                why,
                token(kind, head | {"alg": alg}, alg=alg, key=key),
            )
        digest = HASHES[alg[2:]]
        if of == "ES256":
            made = token(kind, head, signature=lambda d: b"".join(octets(n, 32) for n in sign_ecdsa(key, digest, d)))
        else:
            made = token(kind, head, alg=alg, key=key)
        refused(kind, f"{of} over the hash of {alg}", "signature", "RFC 7518 3: an algorithm fixes its hash.", made)
    for of, alg in [
        ("RS256", "rs256"), ("RS256", "RS1"), ("ES256", "es256"), ("ES256", "ES256K"), ("ES256", "ES512"),
        ("EdDSA", "EDDSA"), ("EdDSA", "ed25519"), ("EdDSA", "Ed448"), ("EdDSA", "dir"), ("EdDSA", "EdDSA\0"),
    ]:  # fmt: skip
        refused(
            kind,
            f"alg {alg!r} of a right {of} signature",
            "unknown_algorithm",
            why,
            token(kind, header(kind, of) | {"alg": alg}, alg=of),
        )


ORDER = {
    "ES256": 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
    "ES384": 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
}


def ecdsa(kind, alg):
    why = "RFC 8725 2.1, CVE-2022-21449: r and s must be in range, or anybody can sign."
    n, length, key = ORDER[alg], 32 if alg == "ES256" else 48, KEYS[kind, alg]

    def pair(name, make, fault="signature", why=why):
        refused(kind, f"{alg} {name}", fault, why, token(kind, alg=alg, signature=make))

    def numbers(data):
        return sign_ecdsa(key, HASHES[alg[2:]], data)

    def fixed(r, s, length=length):
        return octets(r, length) + octets(s, length)

    pairs = [
        ("0", "0"),
        ("n", "n"),
        ("1", "1"),
        ("max", "max"),
        ("0", "n"),
        ("n", "0"),
        ("0", "1"),
        ("1", "0"),
        ("n", "1"),
    ]
    for r, s in pairs if alg == "ES256" else pairs[:4]:
        value = {"0": 0, "1": 1, "n": n, "max": 256**length - 1}
        pair(f"with r={r}, s={s}", lambda _: fixed(value[r], value[s]))
    pair("with the right r and s=0", lambda d: fixed(numbers(d)[0], 0))
    pair("with r=0 and the right s", lambda d: fixed(0, numbers(d)[1]))
    why = "RFC 7518 3.4: a signature is r and s, each of the curve's length."
    pair("in DER", lambda d: utils.encode_dss_signature(*numbers(d)), why=why)
    pair("with r and s swapped", lambda d: fixed(*reversed(numbers(d))), why=why)
    pair("with r alone", lambda d: octets(numbers(d)[0], length), why=why)
    pair("a byte short", lambda d: fixed(*numbers(d))[:-1], why=why)
    if alg == "ES384":
        return
    pair("with a byte more", lambda d: fixed(*numbers(d)) + b"\0", why=why)
    pair("with a byte more in front", lambda d: b"\0" + fixed(*numbers(d)), why=why)
    pair("with longer numbers", lambda d: fixed(*numbers(d), length=length + 16), why=why)
    pair("twice", lambda d: fixed(*numbers(d)) * 2, why=why)
    pair("in little endian", lambda d: b"".join(x.to_bytes(length, "little") for x in numbers(d)), why=why)
    pair("as hexadecimal text", lambda d: fixed(*numbers(d)).hex().encode(), why=why)


L = 2**252 + 27742317777372353535851937790883648493


def eddsa(kind):
    key, alg = KEYS[kind, "EdDSA"], "EdDSA"
    identity = b"\x01" + bytes(31)

    def case(name, make, why="RFC 8032 5.1.7: neither R nor S may be anything else."):
        refused(kind, f"{alg} {name}", "signature", why, token(kind, signature=make))

    def plus_order(data):
        made = sign(key, alg, data)
        return made[:32] + (int.from_bytes(made[32:], "little") + L).to_bytes(32, "little")

    case("of zeros", lambda _: bytes(64))
    case("with R the identity and S=0", lambda _: identity + bytes(32))
    case("with the right R and S=0", lambda d: sign(key, alg, d)[:32] + bytes(32))
    case("with S and the order added", plus_order)
    case("with R and S swapped", lambda d: sign(key, alg, d)[32:] + sign(key, alg, d)[:32])
    case("a byte short", lambda d: sign(key, alg, d)[:-1])
    case("with a byte more", lambda d: sign(key, alg, d) + b"\0")
    case("with the public key for R", lambda _: raw(key) + bytes(32))
    case(
        "over the hash (Ed25519ph in disguise)",
        lambda d: key.sign(hashlib.sha512(d).digest()),
        "RFC 8037 3.1: Ed25519 signs the text, not its hash.",
    )


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
    key = KEYS[kind, "RS256"]
    n = key.public_key().public_numbers().n

    def case(name, make, why="RFC 8017 8.2.2: the padding must be what it must be, byte by byte.", alg="RS256"):
        refused(kind, f"{alg} {name}", "signature", why, token(kind, alg=alg, signature=make))

    case("of zeros", lambda _: bytes(256))
    case("of one", lambda _: octets(1, 256))
    case("of n-1", lambda _: octets(n - 1, 256))
    case("of n", lambda _: octets(n, 256))
    case("that is the padded message itself", lambda d: pkcs1(d, 256))
    case(
        "without the NULL of the hash's name",
        lambda d: rsa_raw(key, pkcs1(d, 256, info=bytes.fromhex("302f300b0609608648016503040201") + b"\x04\x20")),
    )
    case("without the hash's name", lambda d: rsa_raw(key, pkcs1(d, 256, info=b"")))
    case("with something after the hash", lambda d: rsa_raw(key, pkcs1(d, 256, after=b"\0" * 100, ones=8)))
    case("with padding of block type 0", lambda d: rsa_raw(key, pkcs1(d, 256, kind=b"\0", fill=b"\0")))
    case("with padding of block type 2", lambda d: rsa_raw(key, pkcs1(d, 256, kind=b"\x02", fill=b"\x55")))
    case("over SHA-1", lambda d: key.sign(d, padding.PKCS1v15(), hashes.SHA1()))
    case("a byte short", lambda d: sign(key, "RS256", d)[:-1])
    case("with a byte more in front", lambda d: b"\0" + sign(key, "RS256", d))
    for count in range(10**6):
        made = token(kind, body=claims(kind, jti=count), alg="RS256")
        value = unb64(made.rsplit(".", 1)[1])
        if value[0] == 0:
            break
    data = made.rsplit(".", 1)[0]
    refused(
        kind,
        "RS256 without the zero in front",
        "signature",
        "RFC 8017 8.2.2: a signature is as long as the modulus.",
        f"{data}.{b64(value[1:])}",
    )
    plus_n = octets(number(value) + n, 256)
    refused(
        kind,
        "RS256 with n added",
        "signature",
        "RFC 8017 5.2.2: a signature is less than the modulus.",
        f"{data}.{b64(plus_n)}",
    )

    key_ = KEYS[kind, "PS256"]
    why = "RFC 7518 3.5: the salt is as long as the hash, the mask's hash is the same."
    by_the_book = token(kind, alg="PS256", signature=lambda d: rsa_raw(key_, pss(d, 256)))
    public = serialization.load_pem_public_key(spki(key_, serialization.Encoding.PEM))
    jwt.decode(by_the_book, public, ["PS256"], audience=AUDIENCE[kind], options={"verify_exp": False})
    case("without salt", lambda d: rsa_raw(key_, pss(d, 256, salt=b"")), why, "PS256")
    case("with a salt of 20 bytes", lambda d: rsa_raw(key_, pss(d, 256, salt=b"s" * 20)), why, "PS256")
    case("with the longest salt", lambda d: rsa_raw(key_, pss(d, 256, salt=b"s" * 222)), why, "PS256")
    case("masked by SHA-1", lambda d: rsa_raw(key_, pss(d, 256, digest=hashlib.sha1)), why, "PS256")
    case("with another trailer", lambda d: rsa_raw(key_, pss(d, 256, trailer=b"\xcc")), alg="PS256")
    case("that is the padded message itself", lambda d: pss(d, 256), alg="PS256")
    case("of zeros", lambda _: bytes(256), alg="PS256")


def key_ids(kind):
    why = "RFC 8725 2.9, 3.10: `kid` is looked up in the set, compared as it is, and goes nowhere else."
    own = kid_of(kind, "EdDSA")
    for kid in [
        "", "0", "*", "unknown", own.upper(), own + " ", own + "\0", own[:-1], own.replace("a", "\u0430"), f"x/../{own}",
        "../../../../../../dev/null", "https://attacker.test/keys", "x' UNION SELECT 'key';-- ", "$(id)", "k" * 1000,
    ]:  # fmt: skip
        shown = kid if len(kid) < 100 else f"of {len(kid)} bytes"
        refused(kind, f"kid {shown!r}", "unknown_key", why, token(kind, header(kind, kid=kid)))
    refused(
        kind,
        "no kid where there is a choice",
        "unknown_key",
        "The contract: without `kid` only a set of one key is tried.",
        token(kind, header(kind, kid=Absent)),
    )
    why = "RFC 7515 4.1.4: `kid` is a string."
    for kid in [None, True, 0, 1.5, [], [own], {"kid": own}]:
        refused(kind, f"kid {json.dumps(kid)}", "malformed_header", why, token(kind, header(kind) | {"kid": kid}))
    why = "RFC 8725 2.9: what a `kid` points at must not become a secret."
    for kid, secret in [("../../../../../../dev/null", b""), ("x' UNION SELECT 'key';-- ", b"key")]:
        refused(
            kind,
            f"HS256 with what kid {kid!r} may yield",
            "unknown_algorithm",
            why,
            token(kind, {"alg": "HS256", "kid": kid}, signature=lambda d: mac(secret, "HS256", d)),
        )


def keys_in_the_header(kind):
    key, mine = KEYS[kind, "EdDSA"], ed25519.Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
    url = "https://attacker.test/keys"
    certificate = base64.b64encode(spki(mine, serialization.Encoding.DER)).decode()
    why = "RFC 8725 2.9, 3.10: a token must not bring the key that verifies it, nor say where it is."
    members = {
        "jwk": jwk(mine), "jku": url, "x5u": url, "x5c": [certificate],
        "jwk null": None, "jku null": None, "x5c []": [], "jwk of the right key": jwk(key),
    }  # fmt: skip
    for name, value in members.items():
        member = {name.split()[0]: value}
        refused(kind, f"{name}, rightly signed", "refused_header", why, token(kind, header(kind) | member))
        if value and " " not in name:
            refused(
                kind,
                f"{name}, signed by the key that it means",
                "refused_header",
                why,
                token(kind, header(kind) | member, key=mine),
            )
        if name == "jwk":
            refused(
                kind,
                f"{name} without kid, signed by the key that it means",
                "refused_header",
                why,
                token(kind, header(kind, kid=Absent) | member, key=mine),
            )
    refused(
        kind,
        "jku written with escapes",
        "refused_header",
        why,
        token(kind, text(header(kind, jku=url)).replace("jku", "\\u006aku")),
    )
    why = "RFC 7515 4.1.11: nothing critical is understood, and `crit` must not be empty or name what is standard."
    for name, member in {
        "crit ['x']": {"crit": ["x"], "x": 1}, "crit []": {"crit": []}, "crit ['exp']": {"crit": ["exp"], "exp": NOW + 60},
        "crit ['kid', 'alg']": {"crit": ["kid", "alg"]}, "crit null": {"crit": None},
        "crit a string": {"crit": "x"},
        "crit ['b64'] with b64 true": {"crit": ["b64"], "b64": True}, "crit of what is not there": {"crit": ["absent"]},
        "crit ['b64'] with b64 false": {"crit": ["b64"], "b64": False},
    }.items():  # fmt: skip
        refused(kind, name, "refused_header", why, token(kind, header(kind) | member))
    refused(
        kind,
        "crit written with escapes",
        "refused_header",
        why,
        token(kind, text(header(kind, crit=["x"])).replace('"crit"', '"\\u0063rit"')),
    )
    body = json.dumps(claims(kind, iss="x", exp=NOW + 60))
    data = f"{b64(text(header(kind, b64=False, crit=['b64'])))}.{body}"
    refused(
        kind,
        "unencoded claims (b64 false)",
        "refused_header",
        "RFC 7797 6: an extension that must be critical.",
        signed(data, key, "EdDSA"),
    )
    data = f"{b64(text(header(kind, b64=False)))}.{body}"
    refused(
        kind,
        "unencoded claims without crit",
        "not_compact_jws",
        "RFC 7797 6: an extension that must be critical.",
        signed(data, key, "EdDSA"),
    )


def confusion(kind, other, why):
    """Tokens of another kind, and tokens signed by its keys, sent as tokens of this kind."""
    for alg in ALGORITHMS:
        refused(kind, f"a good {other} token of {alg}", "unknown_key", why, token(other, alg=alg))
        refused(
            kind,
            f"signed by the {other} set's {alg} key",
            "unknown_key",
            why,
            token(kind, header(other, alg), alg=alg, key=KEYS[other, alg]),
        )
        refused(
            kind,
            f"signed by the {other} set's {alg} key, named like ours",
            "signature",
            why,
            token(kind, header(kind, alg), alg=alg, key=KEYS[other, alg]),
        )
    refused(kind, f"a good {other} token but for our key", "issuer", why, token(kind, body=claims(other)))
    refused(kind, f"the issuer of {other} tokens", "issuer", why, token(kind, body=claims(kind, iss=ISSUER[other])))
    refused(
        kind, f"the audience of {other} tokens", "audience", why, token(kind, body=claims(kind, aud=AUDIENCE[other]))
    )


def substitution(kind):
    why = "RFC 8725 2.7, 2.8, 3.9, 3.12: a token for another place or of another kind."
    for other in KINDS:
        if other != kind:
            confusion(kind, other, why)
    refused(
        kind,
        "our issuer's token for somebody else",
        "audience",
        why,
        token(kind, body=claims(kind, aud="https://bank.example")),
    )
    refused(
        kind,
        "an ID token of our issuer",
        "audience",
        why,
        token(kind, header(kind, typ="JWT"), claims(kind, aud="client-7", nonce="n", azp="client-7")),
    )
    refused(
        kind,
        "a security event of our issuer",
        "missing_claim",
        why,
        token(
            kind,
            header(kind, typ="secevent+jwt"),
            claims(kind, exp=Absent, events={"https://schemas.openid.net/event/backchannel-logout": {}}),
        ),
    )
    refused(
        kind,
        "a client's own assertion",
        "issuer",
        why,
        token(kind, body=claims(kind, iss=SUBJECT[kind], aud=ISSUER[kind])),
    )


def forged_parts(kind):
    """Parts of good tokens, put together anew."""
    why = "RFC 8725 3.3: every part is signed."
    right = token(kind)
    head, body, signature = right.split(".")
    more = b64(text(claims(kind, sub="hermione")))
    refused(kind, "another subject under the old signature", "signature", why, f"{head}.{more}.{signature}")
    refused(
        kind,
        "a later exp under the old signature",
        "signature",
        why,
        f"{head}.{b64(text(claims(kind, exp=NOW + 7200)))}.{signature}",
    )
    refused(
        kind,
        "another header under the old signature",
        "signature",
        why,
        f"{b64(text(header(kind, typ='JWT')))}.{body}.{signature}",
    )
    refused(kind, "detached claims", "signature", why, f"{head}..{signature}")
    if kind == "access":
        implicit = token(kind, body=claims(kind, grant_type="implicit")).split(".")
        refused(kind, "another grant under the old signature", "signature", why, f"{implicit[0]}.{body}.{implicit[2]}")
    refused(
        kind,
        "the signature of another token of the key",
        "signature",
        why,
        f"{head}.{body}.{token(kind, body=claims(kind, jti=1)).split('.')[2]}",
    )
    refused(
        kind,
        "signed over the claims alone",
        "signature",
        why,
        f"{head}.{body}.{b64(sign(KEYS[kind, 'EdDSA'], 'EdDSA', body.encode()))}",
    )
    refused(
        kind,
        "signed over what is not encoded",
        "signature",
        why,
        f"{head}.{body}.{b64(sign(KEYS[kind, 'EdDSA'], 'EdDSA', unb64(head) + b'.' + unb64(body)))}",
    )
    for alg in ALGORITHMS:
        parts = token(kind, alg=alg).split(".")
        signature = bytearray(unb64(parts[2]))
        signature[len(signature) // 2] ^= 1
        refused(
            kind,
            f"{alg} with one bit of the signature flipped",
            "signature",
            why,
            f"{parts[0]}.{parts[1]}.{b64(bytes(signature))}",
        )
        claims_ = bytearray(unb64(parts[1]))
        claims_[text(claims(kind)).index('"sub":"') + 7] ^= 1
        refused(
            kind,
            f"{alg} with one bit of the subject flipped",
            "signature",
            why,
            f"{parts[0]}.{b64(bytes(claims_))}.{parts[2]}",
        )


def duplicates(kind):
    why = "RFC 7515 4, RFC 7519 4: of a member that stands twice, one parser sees the first, another the last."

    def case(name, head=None, body=None):
        refused(kind, f"{name}", "duplicate_member", why, token(kind, head, body))

    head = header(kind)
    case("alg twice, the same", with_raw(head, "alg", '"EdDSA"'))
    case("alg none, then the right one", '{"alg":"none",' + text(head)[1:])
    case("the right alg, then none", with_raw(head, "alg", '"none"'))
    case("kid twice, the same", with_raw(head, "kid", f'"{head["kid"]}"'))
    case("another kid first", '{"kid":"x",' + text(head)[1:])
    case("another kid last", with_raw(head, "kid", '"x"'))
    case("an unknown header member twice", with_raw(header(kind, x=1), "x", "1"))
    case("alg twice, once written with escapes", with_raw(head, "\\u0061lg", '"EdDSA"'))
    for name in claims(kind):
        same = json.dumps(claims(kind)[name])
        case(f"{name} twice, the same", body=with_raw(claims(kind), name, same))
        case(f"{name} null first", body=f'{{"{name}":null,' + text(claims(kind))[1:])
        case(f"{name} null last", body=with_raw(claims(kind), name, "null"))
    case("sub twice, once written with escapes", body=with_raw(claims(kind), "\\u0073ub", '"hermione"'))
    case("sub twice, once all in escapes", body='{"\\u0073\\u0075\\u0062":"hermione",' + text(claims(kind))[1:])
    case("nbf twice", body=with_raw(claims(kind, nbf=NOW), "nbf", str(NOW)))
    case("an unknown claim twice", body=with_raw(claims(kind, x=1), "x", "2"))
    case("an empty name twice", body=with_raw(claims(kind, **{"": 1}), "", "1"))


RAW_VALUE = "$serde_json::private::RawValue"


def times(kind):
    now = NOW + 3600
    late = NOW + LONGEST
    wrong = "RFC 7519 2, 4.1.4: a time is a JSON number of seconds, and `exp` is required."
    past = "RFC 8725 3.8 and RFC 7519 4.1.4: not after `exp`, with a leeway of 30 s."
    ever = "The contract: a token that in effect never expires is a mistake."

    def case(name, value, fault, why):
        refused(
            kind, f"{name} {value}", fault, why, token(kind, body=with_raw(claims(kind, **{name: Absent}), name, value))
        )

    refused(kind, "exp missing", "missing_claim", wrong, token(kind, body=claims(kind, exp=Absent)))
    for near in ["Exp", "EXP", "exp ", "expires", "exp\0"]:
        refused(
            kind, f"{near!r} for exp", "missing_claim", wrong, token(kind, body=claims(kind, exp=Absent, **{near: now}))
        )
    for value in [
        '"1795352400"',
        '""',
        '"NaN"',
        '"2030-01-01T00:00:00Z"',
        "true",
        "null",
        "[1795352400]",
        "{}",
        '{"exp":1795352400}',
        f'{{"{RAW_VALUE}":"1795352400"}}',
        '{"$serde_json::private::Number":"1795352400"}',
    ]:
        case("exp", value, "malformed_claim", wrong)
    for value in [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "0x6B030A10",
        "01795352400",
        "+1795352400",
        "1795352400.",
        "1_795_352_400",
        "",
    ]:
        case("exp", value, "not_json_object", "RFC 8259 6: not a JSON number, or one that nobody can hold.")
    for value in [
        "0",
        "-0.0",
        "-1",
        "1e-400",
        "-1e308",
        str(-(2**63)),
        str(-(2**63) - 1),
        f"{NOW}e-3",
        str(NOW - LEEWAY),
        f"{NOW - LEEWAY}.0",
        str(NOW - LEEWAY - 0.001),
        str(NOW - 3600),
    ]:
        case("exp", value, "expired", past)
    for value in [
        str(late + 1),
        str(late + 0.001),
        str(now * 1000),
        str(2**53),
        str(2**53 + 1),
        str(2**63 - 1),
        str(2**63),
        str(2**64 - 1),
        str(2**64),
        "1e308",
        "9" * 40,
    ]:
        case("exp", value, "expires_too_late", ever)
    why = "RFC 7519 4.1.5: not before `nbf`, with a leeway of 30 s."
    for value in [str(NOW + LEEWAY + 0.001), str(NOW + 3600), str(NOW * 1000), str(2**63 - 1), str(2**64 - 1), "1e308"]:
        case("nbf", value, "not_yet_valid", why)
    for name in ["nbf", "iat"]:
        why = f"RFC 7519 4.1.5, 4.1.6: `{name}` is a JSON number where it is there."
        for value in [f'"{NOW - 60}"', "true", "null", f"[{NOW - 60}]", f'{{"{RAW_VALUE}":"0"}}']:
            case(name, value, "malformed_claim", why)
        case(name, "1e400", "not_json_object", why)


def parties(kind):
    iss, aud = ISSUER[kind], AUDIENCE[kind]

    def case(name, value, fault, why):
        members = claims(kind, **{name: Absent})
        body = members if value is Absent else with_raw(members, name, json.dumps(value))
        shown = "missing" if value is Absent else json.dumps(value)
        refused(kind, f"{name} {shown if len(shown) < 100 else shown[:20] + '…'}", fault, why, token(kind, body=body))

    why = "RFC 7519 4.1.1: `iss` is required, one string, compared as it is."
    case("iss", Absent, "missing_claim", why)
    for value in [None, True, 7, [iss], {"iss": iss}, {RAW_VALUE: json.dumps(iss)}]:
        case("iss", value, "malformed_claim", why)
    for value in [
        "",
        iss + "/",
        iss + " ",
        iss + "\0",
        iss.upper(),
        iss[:-1],
        iss + ".attacker.test",
        iss.replace("https", "http"),
        iss.replace(".", "\u3002"),
        "https://attacker.test",
    ]:
        case("iss", value, "issuer", why)
    why = "RFC 8725 3.9, RFC 7519 4.1.3: `aud` is required, a string or an array of strings, and names us."
    case("aud", Absent, "missing_claim", why)
    for value in [
        None,
        True,
        7,
        {aud: True},
        [[aud]],
        [aud, 7],
        [None, aud],
        [aud, [aud]],
        {RAW_VALUE: json.dumps(aud)},
        [{RAW_VALUE: json.dumps(aud)}],
    ]:
        case("aud", value, "malformed_claim", why)
    for value in [
        "",
        aud[:-1],
        aud + "s",
        aud + " ",
        aud + "\0",
        aud.upper(),
        f"{aud} other",
        "*",
        json.dumps([aud]),
        [],
        [""],
        ["other"],
        [aud[:2], aud[2:]],
    ]:
        case("aud", value, "audience", why)
    why = "RFC 7519 4.1.2: `sub` is required here and one string, not empty."
    case("sub", Absent, "missing_claim", why)
    for value in [None, True, 7, ["ron"], {"sub": "ron"}, {RAW_VALUE: '"ron"'}, ""]:
        case("sub", value, "malformed_claim", why)
    if kind == "customer":
        why = "The contract: a customer token's `sub` is a customer's id, [A-Za-z0-9_-]{1,128}."
        for value in [
            " ",
            "ron ",
            " ron",
            "ron\0",
            "ron\n",
            "ron#hermione",
            "cart-1#ron",
            "../ron",
            "ron/",
            "ron%23",
            "ron,hermione",
            "r\u043en",
            "\uff52on",
            "*",
            "r" * 129,
        ]:
            case("sub", value, "subject", why)
    if kind == "cart":
        why = "The contract: a cart token's `sub` is the id of the cart in the path."
        for value in [
            "cart-2",
            "cart-",
            "cart-10",
            "Cart-1",
            "cart-1 ",
            " cart-1",
            "cart-1\0",
            "cart-1\n",
            "cart-1/",
            "cart-1#ron",
            "cart-1,cart-2",
            "cart%2D1",
            "c\u0430rt-1",
            "cart\u20101",
            "ron",
            "*",
            "c" * 129,
        ]:
            case("sub", value, "subject", why)


def json_oddities(kind):
    why = "RFC 7515 5.2, RFC 7519 7.2: header and claims are each one JSON object in UTF-8."
    head, body = text(header(kind)), text(claims(kind))
    for name, make in {
        "an array": lambda t: f"[{t}]", "a string": json.dumps, "null": lambda _: "null", "true": lambda _: "true",
        "a number": lambda _: "7", "white space": lambda _: " ", "cut off": lambda t: t[:-1], "with a BOM": lambda t: "\ufeff" + t,
        "with something after it": lambda t: t + "{}", "with a NUL after it": lambda t: t + "\0", "twice": lambda t: t + t,
        "with a comma at its end": lambda t: t[:-1] + ",}", "with a comment": lambda t: t[:-1] + "/**/}",
        "in UTF-16": lambda t: t.encode("utf-16-le"), "in UTF-32": lambda t: t.encode("utf-32-be"),
        "with a byte that is no UTF-8": lambda t: t[:-1].encode() + b',"x":"\xff"}',         "with a surrogate in UTF-8": lambda t: t[:-1].encode() + b',"x":"\xed\xa0\x80"}', "with half a surrogate pair": lambda t: t[:-1] + ',"x":"\\ud800"}',
        "with a name that is no UTF-8": lambda t: t[:-1].encode() + b',"\xff":1}', "with a control character": lambda t: t[:-1] + ',"x":"\n"}',
        "with a member 300 deep": lambda t: t[:-1] + ',"x":' + "[" * 300 + "]" * 300 + "}",
        "with a member 128 deep": lambda t: t[:-1] + ',"x":' + "[" * 128 + "]" * 128 + "}",
        "with a member that never ends": lambda t: t[:-1] + ',"x":' + '{"a":' * 100,
    }.items():  # fmt: skip
        refused(kind, f"a header {name}", "not_json_object", why, token(kind, make(head)))
        # Both are read by the same function; some of each kind of oddity will do.
        if len(name) % 2:
            refused(kind, f"claims {name}", "not_json_object", why, token(kind, body=make(body)))
    refused(kind, "an empty header object", "malformed_header", why, token(kind, "{}"))
    refused(kind, "an empty claims object", "missing_claim", why, token(kind, body="{}"))
    why = "RFC 7515 4.1.1: names are compared as they are."
    refused(kind, "Alg for alg", "malformed_header", why, token(kind, {"Alg": "EdDSA", "kid": kid_of(kind, "EdDSA")}))
    refused(
        kind,
        "alg in an object that stands for a string",
        "malformed_header",
        "RFC 7515 4.1.1: `alg` is a string.",
        token(kind, header(kind) | {"alg": {RAW_VALUE: '"EdDSA"'}}),
    )
    refused(
        kind,
        "kid in an object that stands for a string",
        "malformed_header",
        "RFC 7515 4.1.4: `kid` is a string.",
        token(kind, header(kind) | {"kid": {RAW_VALUE: f'"{kid_of(kind, "EdDSA")}"'}}),
    )


def base64_oddities(kind):
    why = "RFC 7515 2: base64url without padding, white space or anything else, even where the signature is right."
    key = KEYS[kind, "EdDSA"]
    # Claims whose base64url has both of the letters that differ from base64, and two bits to spare.
    for filler in range(100):
        head, body = header(kind, x="??>"), claims(kind, x="??>~" + "x" * filler)
        head, body = b64(text(head)), b64(text(body))
        if len(head) % 4 == 0:
            head = b64(text(header(kind, x="??>" + "x")))
        if ("_" in body or "-" in body) and len(body) % 4 == 2:
            break

    def spare_bits(part):
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return part[:-1] + letters[letters.index(part[-1]) ^ 1]

    def standard(part):
        return base64.b64encode(unb64(part)).decode().rstrip("=")

    for name, change in {
        "with padding": lambda p: p + "=" * (-len(p) % 4 or 4), "with bits to spare": spare_bits,
        "with a letter too many": lambda p: p + "A" * (1 if len(p) % 4 == 0 else 5 - len(p) % 4),
        "with white space": lambda p: p[:4] + " " + p[4:], "with a newline": lambda p: p[:4] + "\n" + p[4:],
        "with a NUL": lambda p: p[:4] + "\0" + p[4:], "with a non-ASCII letter": lambda p: p[:4] + "\u00e9" + p[4:], "with a percent escape": lambda p: f"%{ord(p[0]):02X}" + p[1:],
        "empty": lambda p: "",
    }.items():  # fmt: skip
        fault = "not_compact_jws"
        refused(kind, f"a header {name}", fault, why, signed(f"{change(head)}.{body}", key, "EdDSA"))
        refused(kind, f"claims {name}", fault, why, signed(f"{head}.{change(body)}", key, "EdDSA"))
        data, signature = signed(f"{head}.{body}", key, "EdDSA").rsplit(".", 1)
        refused(kind, f"a signature {name}", fault, why, f"{data}.{change(signature)}")
    refused(
        kind,
        "claims in the alphabet of base64",
        "not_compact_jws",
        why,
        signed(f"{head}.{standard(body)}", key, "EdDSA"),
    )
    for count in range(1000):
        made = token(kind, body=claims(kind, jti=count))
        if "-" in made.rsplit(".", 1)[1] and "_" in made.rsplit(".", 1)[1]:
            data, signature = made.rsplit(".", 1)
            refused(
                kind, "a signature in the alphabet of base64", "not_compact_jws", why, f"{data}.{standard(signature)}"
            )
            break


def serializations(kind):
    why = "RFC 7515 3.1, RFC 7519 1: a JWT is three parts with a dot between each."
    right = token(kind)
    head, body, signature = right.split(".")
    flattened = {"payload": body, "protected": head, "signature": signature}
    general = {"payload": body, "signatures": [{"protected": head, "signature": signature}]}
    for name, made in {
        "one letter": "x", "one dot": ".", "two dots": "..", "a word": "null", "one part": head, "two parts": f"{head}.{body}",
        "four parts": f"{right}.{signature}", "five parts": f"{right}.{signature}.{signature}", "a dot in front": f".{right}", "a dot at the end": f"{right}.",
        "two dots for one": right.replace(".", ".."), "commas for dots": right.replace(".", ","), "%2E for dots": right.replace(".", "%2E"),
        "dots of another script": right.replace(".", "\uff0e"), "the flattened JSON": text(flattened), "the general JSON": text(general),
        "a token in quotes": f'"{right}"', "two tokens": f"{right} {right}", "two tokens with a comma": f"{right},{right}", "Bearer twice": f"Bearer {right}",
        "a token in base64url": b64(right), "no header": f".{body}.{signature}", "parts in another order": f"{body}.{head}.{signature}",
        "100 dots": "." * 100, "a token and a parameter": f'{right};x="y"', "dashes": "-.-.-", "letters outside of ASCII": "\u00fc.\u00fc.\u00fc",
    }.items():  # fmt: skip
        refused(kind, name, "malformed_header" if name == "parts in another order" else "not_compact_jws", why, made)
    why = f"The contract: a token over {MAX_BYTES} bytes is not looked at."
    for size in [MAX_BYTES + 1]:
        refused(kind, f"{size} bytes", "too_long", why, exactly(kind, size))


def encrypted(kind):
    public = KEYS[kind, "RS256"].public_key()
    why = "RFC 8725 2.3, 2.4, 2.5: an encrypted token is not accepted, whoever made it: a public key encrypts for anybody."
    inner, bare = token(kind), text(claims(kind))

    def jwe(head, plain, wrapped=None):
        content_key, iv = b"k" * 32, b"i" * 12
        if wrapped is None:
            wrapped = public.encrypt(content_key, padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), None))
        head = b64(text(head))
        sealed = AESGCM(content_key).encrypt(iv, plain, head.encode())
        return ".".join([head, b64(wrapped), b64(iv), b64(sealed[:-16]), b64(sealed[-16:])])

    rsa_head = {"alg": "RSA-OAEP-256", "enc": "A256GCM", "kid": kid_of(kind, "RS256")}
    compressor = zlib.compressobj(wbits=-15)
    packed = compressor.compress(bare.encode()) + compressor.flush()
    epk = {"kty": "EC", "crv": "P-256", "x": b64(octets(7, 32)), "y": b64(octets(7, 32))}
    for name, made in {
        "a JWE of claims, to our key": jwe(rsa_head, bare.encode()),
        "a JWE of a good token, to our key": jwe(rsa_head | {"cty": "JWT"}, inner.encode()),
        "a JWE of compressed claims": jwe(rsa_head | {"zip": "DEF"}, packed),
        "a JWE with a shared key": jwe({"alg": "dir", "enc": "A256GCM"}, bare.encode(), b""),
        "a JWE with an ephemeral key off its curve": jwe({"alg": "ECDH-ES", "enc": "A256GCM", "epk": epk}, bare.encode(), b""),
        "a JWE by a password of endless rounds": jwe({"alg": "PBES2-HS256+A128KW", "enc": "A256GCM", "p2s": "AAAAAAAAAAA", "p2c": 2**31 - 1}, bare.encode(), b"w" * 40),
        "a JWE with alg none": jwe({"alg": "none", "enc": "A256GCM"}, bare.encode(), b""),
    }.items():  # fmt: skip
        refused(kind, name, "not_compact_jws", why, made)
    refused(kind, "a JWE's header on three parts", "unknown_algorithm", why, token(kind, rsa_head))
    why = "RFC 8725 2.3, RFC 7519 5.2: a token in a token is not looked for."
    for name, cty in [("cty JWT", {"cty": "JWT"}), ("no cty", {})]:
        refused(
            kind,
            f"a good token in a token, with {name}",
            "not_json_object",
            why,
            token(kind, header(kind, **cty), inner),
        )
        refused(
            kind,
            f"a good token as a JSON string in a token, with {name}",
            "not_json_object",
            why,
            token(kind, header(kind, **cty), json.dumps(inner)),
        )
    refused(
        kind,
        "compressed claims with zip DEF",
        "not_json_object",
        "RFC 8725 2.4: nothing is decompressed; a few bytes can become gigabytes.",
        token(kind, header(kind, zip="DEF"), packed),
    )


# Keys that nobody should trust

WEAK = {case["name"]: case for case in read("weak_keys.json") or []}


def weak_key(name, why, fault, public, tokens, private=None):
    case = {"name": name, "why": why, "fault": fault, "jwk": public | {"kid": "weak", "use": "sig"}}
    if private:
        case["private"] = pem(private)
    weak.append(case | {"tokens": tokens})


def weak_tokens(alg, signature):
    """A token of each kind. Where `signature` has no signature for what is to be signed, other claims are tried."""
    return {kind: weak_token(kind, alg, signature) for kind in KINDS}


def weak_token(kind, alg, signature):
    for count in range(1000):
        data = f"{b64(text({'alg': alg, 'kid': 'weak'}))}.{b64(text(claims(kind, jti=count)))}"
        if made := signature(data.encode()):
            return f"{data}.{b64(made)}"
    raise AssertionError(kind)


def kept(name, make):
    case = WEAK.get(name)
    return load(case["private"]) if case and "private" in case else make()


def openssl_rsa(bits, exponent):
    command = [
        "openssl",
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        f"rsa_keygen_bits:{bits}",
        "-pkeyopt",
        f"rsa_keygen_pubexp:{exponent}",
    ]
    return load(subprocess.run(command, check=True, capture_output=True).stdout.decode())


def weak_rsa():
    for bits in [1024, 2047]:
        name = f"RSA of {bits} bits"
        key = kept(name, lambda: openssl_rsa(bits, 65537))
        why = "RFC 7518 3.3: 2048 bits or more."
        weak_key(name, why, "unknown_key", jwk(key), weak_tokens("RS256", lambda d: sign(key, "RS256", d)), key)
        zeros = jwk(key) | {"n": b64(bytes(256) + unb64(jwk(key)["n"]))}
        weak_key(
            f"{name}, with zeros in front",
            why,
            "unknown_key",
            zeros,
            weak_tokens("RS256", lambda d: sign(key, "RS256", d)),
        )

    honest = KEYS["access", "RS256"]
    for alg, pad in [("RS256", pkcs1), ("PS256", pss)]:
        for shown, e in [("1", b"\x01"), ("0001", b"\0\x01")]:
            public = jwk(honest) | {"e": b64(e), "alg": alg}
            weak_key(
                f"{alg} with exponent {shown}",
                "RFC 8017 3.1: with the exponent 1 the padded message is its own signature.",
                "signature",
                public,
                weak_tokens(alg, lambda d: pad(d, 256)),
            )
    public = jwk(honest) | {"e": b64(b"\0")}
    why = "RFC 8017 3.1: with the exponent 0 every signature yields 1."
    weak_key("RS256 with exponent 0", why, "unknown_key", public, weak_tokens("RS256", lambda _: octets(1, 256)))

    # An even exponent: whoever has the primes can take a root of every fourth message.
    private = kept("RS256 with exponent 2", rabin_key)
    p, q = private.private_numbers().p, private.private_numbers().q
    n = p * q

    def root(data):
        message = number(pkcs1(data, 256))
        a, b = pow(message, (p + 1) // 4, p), pow(message, (q + 1) // 4, q)
        value = (a * q * pow(q, -1, p) + b * p * pow(p, -1, q)) % n
        return octets(value, 256) if value * value % n == message else None

    public = jwk(private) | {"e": b64(b"\x02")}
    weak_key(
        "RS256 with exponent 2",
        "RFC 8017 3.1: an even exponent is none.",
        "signature",
        public,
        weak_tokens("RS256", root),
        private,
    )

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

    weak_key(
        name,
        "RFC 8017 8.2.2, CVE-2006-4339: nothing may follow the hash.",
        "signature",
        jwk(key),
        weak_tokens("RS256", cube_root),
        key,
    )
    public = jwk(honest) | {"n": b64(octets(1 << 2047))}
    weak_key(
        "RS256 with an even modulus",
        "RFC 8017 3.1: a modulus is odd.",
        "signature",
        public,
        weak_tokens("RS256", lambda _: bytes(255) + b"\x01"),
    )


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
    why = "RFC 8725 2.5, SEC 1 3.2.2.1: a point that is not on the curve is no key."
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

    weak_key(
        "P-256 point of order two on another curve", why, "unknown_key", point(x, 0), weak_tokens("ES256", of_order_two)
    )
    key = KEYS["access", "ES256"]
    public = key.public_key().public_numbers()
    made = weak_tokens("ES256", lambda d: sign(key, "ES256", d))
    weak_key("P-256 point beside the curve", why, "unknown_key", point(public.x, (public.y + 1) % p), made)
    weak_key("P-256 point with its coordinates swapped", why, "unknown_key", point(public.y, public.x), made)
    weak_key("P-256 point (0, 0)", why, "unknown_key", point(0, 0), weak_tokens("ES256", lambda _: octets(1, 32) * 2))
    weak_key(
        "P-256 point of coordinates over p",
        why,
        "unknown_key",
        point(2**256 - 1, 2**256 - 1),
        weak_tokens("ES256", lambda _: octets(1, 32) * 2),
    )
    weak_key(
        "P-256 point with coordinates a byte short",
        why,
        "unknown_key",
        point(public.x, public.y) | {"y": b64(octets(public.y, 32)[1:])},
        made,
    )
    secp256k1 = ec.derive_private_key(7, ec.SECP256K1()).public_key().public_numbers()
    weak_key(
        "secp256k1 point said to be of P-256",
        why,
        "unknown_key",
        point(secp256k1.x, secp256k1.y),
        weak_tokens("ES256", lambda _: octets(1, 32) * 2),
    )


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
    why = "RFC 8032 8.9, 5.1.7: with a key of small order anybody can make a signature, [S]B = R + [k]A with S=0."
    for name, (order, encoded) in SMALL_ORDER.items():
        point = bytes.fromhex(encoded)

        def if_lucky(data):
            k = int.from_bytes(hashlib.sha512(identity + point + data).digest(), "little") % L
            return identity + bytes(32) if k % order == 0 else None

        made = weak_tokens("EdDSA", if_lucky)
        weak_key(
            f"Ed25519 point of {name}", why, "unknown_key", {"kty": "OKP", "crv": "Ed25519", "x": b64(point)}, made
        )
    off = next(i for i in range(2, 100) if not on_edwards(i))
    made = weak_tokens("EdDSA", lambda _: identity + bytes(32))
    weak_key(
        "Ed25519 point off the curve",
        why,
        "signature",
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes([off]) + bytes(31))},
        made,
    )


def on_edwards(y):
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p)
    square = (y * y - 1) * pow(d * y * y + 1, -1, p) % p
    return pow(square, (p - 1) // 2, p) in (0, 1)


good_tokens()
for kind in KINDS:
    substitution(kind)
    forged_parts(kind)
    parties(kind)
    without_signature(kind)
    other_algorithms(kind)
    shared_secrets(kind)
    other_names(kind)
    rsa_signatures(kind)
    ecdsa(kind, "ES256")
    ecdsa(kind, "ES384")
    eddsa(kind)
    key_ids(kind)
    keys_in_the_header(kind)
    duplicates(kind)
    times(kind)
    json_oddities(kind)
    base64_oddities(kind)
    serializations(kind)
    encrypted(kind)
weak_rsa()
weak_ec()
weak_ed()
cases = [case for group in hostile.values() for case in group["cases"]]
for some in [good, cases, weak]:
    names = [case["name"] for case in some]
    assert len(names) == len(set(names)), sorted(n for n in names if names.count(n) > 1)
write("keys.json", key_sets())
write("good.json", good)
write("hostile.json", list(hostile.values()))
write("weak_keys.json", weak)
print(len(good), "good,", len(cases), "hostile,", len(weak), "weak keys")
