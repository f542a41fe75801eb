"""What the pages for operators have people run against a deployment, on the API at API_URL: `make smoke`, the probe, and the
script that erases a customer. Also on an API that is broken in ways that they must notice."""

import os
import re
import socket
import subprocess
import textwrap
import unittest
import urllib.error

from documented import DOCS, run
from relay import API, Relay, as_back_end, send

TOKENS = {name: os.environ[name] for name in ["ACCESS_TOKEN", "CUSTOMER_TOKEN", "BACK_END_TOKEN"]}
# What a local world also sets.
OTHERS = {"CUSTOMER", "ACCOUNT_TOKEN", "ACCOUNT"}
# A port that nobody can listen at, because a socket has it that does not listen.
UNUSED = socket.socket()
UNUSED.bind(("127.0.0.1", 0))
CLOSED = f"http://127.0.0.1:{UNUSED.getsockname()[1]}"


def smoke(url=API, **tokens):
    """Runs make smoke with these tokens and no others."""
    environment = {name: value for name, value in os.environ.items() if name not in TOKENS.keys() | OTHERS}
    done = subprocess.run(
        ["make", "--silent", "smoke", f"API_URL={url}"],
        env=environment | tokens,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    return done.returncode, done.stdout


def broken(method, status, instead):
    """An API that answers with another status than it should."""

    def answer(*request):
        answered, headers, text = send(*request)
        if (request[0], answered) == (method, status):
            return instead, headers, b'{"errors": [{"code": "broken"}]}'
        return answered, headers, text

    return Relay(answer)


def carts_of(customer):
    return [cart["id"] for cart in as_back_end("GET", f"/v2/customers/{customer}/relationships/carts")["data"]]


class Erase(unittest.TestCase):
    """The commands in docs/procedures.md, behind the one that asks AWS for API_URL."""

    def erase(self, **environment):
        page = (DOCS / "procedures.md").read_text()
        _, script = page.split("<!-- erase -->\n```sh\n")[1].split("```")[0].split("\n", 1)
        run("bash", text=script, **environment)

    def test_a_customer_is_erased_and_no_other(self):
        for cart in ["erase-1", "erase-2", "erase-3"]:
            for customer in ["erased", "kept"]:
                as_back_end("POST", f"/v2/carts/{cart}/relationships/customers", customer)
        self.erase(CUSTOMER="erased")
        self.assertEqual(carts_of("erased"), [])
        self.assertEqual(len(carts_of("kept")), 3)

    def test_a_refusal_is_no_success(self):
        with self.assertRaisesRegex(AssertionError, "bash failed"):
            self.erase(CUSTOMER="erased", BACK_END_TOKEN="x")


class Probe(unittest.TestCase):
    """The code in deploy/probe.yaml, as it stands there."""

    def probe(self, url):
        template = (DOCS.parent / "deploy/probe.yaml").read_text()
        [code] = re.findall(r"(?m)^ +ZipFile: \|\n((?: {10}.*\n|\n)+)", template)
        names = {}
        exec(textwrap.dedent(code), names)
        os.environ["URL"] = url
        names["handler"]({}, None)

    def test_the_refusal_of_the_api_is_what_it_expects(self):
        self.probe(f"{API}/v2/carts")

    def test_anything_else_is_an_error(self):
        with self.assertRaisesRegex(RuntimeError, "got .404"):
            self.probe(f"{API}/v2/nothing")
        with self.assertRaises(urllib.error.URLError):
            self.probe(f"{CLOSED}/v2/carts")
        with broken("GET", 401, instead=403) as api, self.assertRaisesRegex(RuntimeError, "got .403"):
            self.probe(f"{api.url}/v2/carts")


class Smoke(unittest.TestCase):
    def passes(self, *expected, **tokens):
        status, printed = smoke(**tokens)
        self.assertEqual(status, 0, printed)
        calls = [line.split()[:2] for line in printed.splitlines() if line.startswith("  ")]
        self.assertEqual(calls, [call.split() for call in expected], printed)
        return printed

    def fails(self, sentence, url=API, **tokens):
        status, printed = smoke(url, **tokens)
        self.assertNotEqual(status, 0, printed)
        self.assertIn(f"error: {sentence}", printed)

    CALLS = ["200 POST", "204 POST", "200 GET", "200 GET", "204 DELETE"]

    def test_all_tokens(self):
        printed = self.passes(*self.CALLS, *self.CALLS, "401 GET", **TOKENS)
        self.assertIn("/v2/carts\n", printed)
        self.assertNotIn("Not tried", printed)
        # Nothing is left behind.
        self.assertFalse([cart for cart in carts_of(os.environ["CUSTOMER"]) if cart.startswith("smoke-")])

    def test_a_back_end_alone(self):
        printed = self.passes(*self.CALLS, "401 GET", BACK_END_TOKEN=TOKENS["BACK_END_TOKEN"])
        self.assertIn("Not tried: a storefront", printed)
        self.passes(*self.CALLS, "401 GET", ACCESS_TOKEN=TOKENS["BACK_END_TOKEN"])

    def test_a_storefront_alone(self):
        tokens = {name: os.environ[name] for name in ["ACCESS_TOKEN", "CUSTOMER_TOKEN"]}
        self.assertIn("Not tried: a back end", self.passes(*self.CALLS, "401 GET", **tokens))

    def test_an_account_alone(self):
        names = ["ACCESS_TOKEN", "ACCOUNT_TOKEN", "ACCOUNT"]
        printed = self.passes(*self.CALLS, "401 GET", **{name: os.environ[name] for name in names})
        self.assertIn("/relationships/accounts\n", printed)

    def test_what_is_missing_or_wrong_is_one_sentence(self):
        self.fails("BACK_END_TOKEN, or ACCESS_TOKEN and CUSTOMER_TOKEN, must have tokens")
        self.fails("API_URL must be", "", **TOKENS)
        self.fails(f"POST {CLOSED}/v2/carts/smoke-", CLOSED, **TOKENS)
        self.fails("CUSTOMER_TOKEN is not a JWT", ACCESS_TOKEN=TOKENS["ACCESS_TOKEN"], CUSTOMER_TOKEN="x")

    def test_refused_tokens_and_broken_answers_are_noticed(self):
        self.fails("POST /v2/carts/smoke-", BACK_END_TOKEN=TOKENS["BACK_END_TOKEN"] + "x")
        for method, status, instead in [
            ("POST", 200, 401),
            ("POST", 204, 200),
            ("GET", 200, 503),
            ("DELETE", 204, 500),
            ("GET", 401, 200),
        ]:
            with self.subTest(method=method, status=status), broken(method, status, instead) as api:
                self.fails(f"{method} /v2/carts", api.url, **TOKENS)
