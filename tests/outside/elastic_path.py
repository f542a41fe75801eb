"""Runs the lines in docs/elastic-path.md, exactly as printed there, with Elastic Path's clients against the API at API_URL,
checks their types, and tries the development issuer that they need.

The clients and the compiler are in the folder NODE_CLIENTS.
"""

import base64
import json
import os
import pathlib
import re
import shutil
import socket
import tempfile
import time
import unittest
import urllib.parse
import uuid

from documented import client, run
from relay import API, TIMEOUT, Relay, send

CUSTOMER = os.environ["CUSTOMER"]
ACCOUNT = os.environ["ACCOUNT"]
MODULES = pathlib.Path(os.environ["NODE_CLIENTS"]).resolve()
FORM = "application/x-www-form-urlencoded"
TOKEN = "/oauth/access_token"
# Shortens the waits of the SDK, in milliseconds.
AT_ONCE = "retryDelay: 1, retryJitter: 1,"
# What the lines take from the shop.
GIVEN = {
    "cartId": None,
    "customerId": CUSTOMER,
    "customerToken": os.environ["CUSTOMER_TOKEN"],
    "accountId": ACCOUNT,
    "accountToken": os.environ["ACCOUNT_TOKEN"],
}


def documented(heading, language):
    return client(language, heading, "elastic-path.md")


CUSTOMER_LINES = documented("js-sdk, for a customer", "js")
ACCOUNT_LINES = documented("js-sdk, for an account", "js")
SHOPPER_LINES = documented("sdks-shopper", "js")


class Lines:
    """Documented lines, each time for a cart of its own."""

    def setUp(self):
        self.relay = self.enterContext(Relay(self.answer))
        # The requests, with the statuses of their answers.
        self.seen = []
        # The status and the error code with which requests for carts are answered, if not by the API.
        self.fault = None
        self.cart = f"cart-{uuid.uuid4()}"
        self.association = f"/v2/carts/{self.cart}/relationships/customers"
        self.account_association = f"/v2/carts/{self.cart}/relationships/accounts"

    def answer(self, method, path, headers, body):
        if self.fault and path.startswith("/v2/"):
            status, code = self.fault
            document = {"errors": [{"status": str(status), "code": code}]}
            answered = status, {"retry-after": "1"}, json.dumps(document).encode()
        else:
            answered = send(method, path, headers, body)
        self.seen.append((method, path.split("?")[0], answered[0]))
        return answered

    def run_lines(self, lines, results, **given):
        """Returns the results with which the lines ended, by name, or `{"rejected": …}`, and the requests."""
        given = GIVEN | {"cartId": self.cart, "apiHost": self.relay.host} | given
        given["apiUrl"] = self.relay.url
        with tempfile.TemporaryDirectory(dir=MODULES) as folder:
            scenario = pathlib.Path(folder) / "scenario.mjs"
            scenario.write_text(
                f"const {{ {', '.join(given)} }} = JSON.parse(process.env.GIVEN);\n{lines}export {{ {results} }};\n"
            )
            program = """
                const ended = await import(process.env.SCENARIO).catch((rejected) => ({ rejected }));
                console.log(`ended: ${JSON.stringify(ended)}`);
            """
            command = ["node", "--input-type=module", "--eval", program]
            printed = run(*command, GIVEN=json.dumps(given), SCENARIO=str(scenario))
        # The SDK writes to the console, too.
        ended = next(line for line in printed.splitlines() if line.startswith("ended: "))
        seen, self.seen = self.seen, []
        return json.loads(ended.removeprefix("ended: ")), seen


class JsSdkLines(Lines):
    package = None

    def run_sdk(self, lines, options="", **given):
        """Runs the lines with this package, and with more options of the gateway."""
        self.assertIn("@elasticpath/js-sdk", lines)
        lines = lines.replace("@elasticpath/js-sdk", self.package)
        lines = lines.replace("gateway({", 'gateway({ ...{ protocol: "http" },' + options)
        return self.run_lines(lines, "added, carts", **given)

    def test_a_new_association_is_200_and_is_listed_and_a_repeated_one_is_204(self):
        ended, seen = self.run_sdk(CUSTOMER_LINES)
        token = ("POST", TOKEN, 200)
        listed = ("GET", "/v2/carts", 200)
        self.assertEqual(seen, [token, ("POST", self.association, 200), listed])
        self.assertEqual(ended["added"]["data"], [{"type": "customer", "id": CUSTOMER}])
        self.assertEqual(ended["carts"][0]["id"], self.cart)

        ended, seen = self.run_sdk(CUSTOMER_LINES)
        self.assertEqual(seen, [token, ("POST", self.association, 204), listed])
        self.assertEqual(ended["added"], "{}")
        self.assertEqual([cart["id"] for cart in ended["carts"]].count(self.cart), 1)

    def test_an_account_is_associated_listed_and_removed(self):
        ended, seen = self.run_sdk(ACCOUNT_LINES)
        association = self.account_association
        self.assertEqual(
            seen[1:], [("POST", association, 200), ("GET", "/v2/carts", 200), ("DELETE", association, 204)]
        )
        self.assertEqual(ended["added"]["data"], [{"type": "account", "id": ACCOUNT}])
        self.assertEqual(ended["carts"][0]["id"], self.cart)

    def test_a_back_end_needs_no_customer_token(self):
        given = {"customerId": "hermione", "customerToken": None}
        ended, seen = self.run_sdk(CUSTOMER_LINES, 'client_secret: "any",', **given)
        self.assertEqual(seen[1], ("POST", self.association, 200))
        # The lines then list the carts of a customer, which takes a customer token.
        self.assertEqual(ended["rejected"]["errors"][0]["code"], "customer_token_required")

    def test_a_bad_customer_token_is_401_after_four_attempts(self):
        ended, seen = self.run_sdk(CUSTOMER_LINES, AT_ONCE, customerToken="x")
        self.assertEqual(ended["rejected"]["errors"][0]["code"], "invalid_customer_token")
        attempt = [("POST", TOKEN, 200), ("POST", self.association, 401)]
        self.assertEqual(seen, attempt * 4)

    def test_another_customer_is_403_at_once(self):
        ended, seen = self.run_sdk(CUSTOMER_LINES, customerId="hermione")
        self.assertEqual(ended["rejected"]["errors"][0]["code"], "other_customer")
        self.assertEqual(seen[1:], [("POST", self.association, 403)])

    def test_a_call_for_what_is_in_the_cart_is_404(self):
        lines = CUSTOMER_LINES.split("const added")[0] + "const added = await shop.Cart(cartId).Items(), carts = [];\n"
        _, seen = self.run_sdk(lines)
        self.assertEqual(seen[1:], [("GET", f"/v2/carts/{self.cart}/items", 404)])

    def test_503_is_rejected_at_once(self):
        self.fault = (503, "store_unavailable")
        ended, seen = self.run_sdk(CUSTOMER_LINES)
        self.assertEqual(ended["rejected"]["errors"][0]["code"], "store_unavailable")
        self.assertEqual(seen[1:], [("POST", self.association, 503)])

    def test_429_is_tried_again_three_times(self):
        self.fault = (429, "throttled")
        _, seen = self.run_sdk(CUSTOMER_LINES, AT_ONCE)
        self.assertEqual(seen[1:], [("POST", self.association, 429)] * 4)


class JsSdk(JsSdkLines, unittest.TestCase):
    package = "@elasticpath/js-sdk"


class MoltinSdk(JsSdkLines, unittest.TestCase):
    package = "@moltin/sdk"


class SdksShopper(Lines, unittest.TestCase):
    def run_shopper(self, lines=SHOPPER_LINES, **given):
        return self.run_lines(lines, "added, carts, removed", **given)

    def test_each_call_for_a_customer_and_for_an_account(self):
        ended, seen = self.run_shopper()
        expected = []
        for association in self.association, self.account_association:
            expected += [("POST", association, 200), ("GET", "/v2/carts", 200), ("DELETE", association, 204)]
        self.assertEqual(seen[1:], expected)
        self.assertEqual(ended["added"]["data"], {"data": [{"type": "account", "id": ACCOUNT}]})
        self.assertEqual([cart["id"] for cart in ended["carts"]["data"]["data"]], [self.cart])
        self.assertNotIn("error", ended["removed"])

    def test_an_error_is_no_rejection(self):
        for given, code, sent in (
            ({"customerId": "hermione"}, "other_customer", [("POST", self.association, 403)]),
            # The SDK cannot send a body twice. It sends a GET twice.
            ({"customerToken": "x"}, "invalid_customer_token", [("POST", self.association, 401)]),
        ):
            with self.subTest(code):
                # Those for a customer.
                ended, seen = self.run_shopper(SHOPPER_LINES.split("\nadded =")[0] + "\n", **given)
                self.assertEqual(ended["added"]["error"]["errors"][0]["code"], code)
                self.assertEqual([request for request in seen if request[0] == "POST" and request[1] != TOKEN], sent)

    def test_queries_of_other_lists_are_400(self):
        lines = """
            const queries = [{ "page[offset]": 10 }, { include: ["custom_discounts"] }, { filter: "ilike(name,cart)" }];
            const [added, carts, removed] = await Promise.all(
              queries.map(async (query) => (await getCarts({ client, headers: customer.headers, query })).response.status),
            );
        """
        ended, _ = self.run_shopper(SHOPPER_LINES.split("\nlet added")[0] + lines)
        self.assertEqual(list(ended.values()), [400] * 3)


class Types(unittest.TestCase):
    def test_the_lines_have_the_types_of_the_clients(self):
        constants = "".join(f"declare const {name}: string;\n" for name in ("apiHost", "apiUrl", *GIVEN))
        js_sdk = {"customer": CUSTOMER_LINES, "account": ACCOUNT_LINES}
        with tempfile.TemporaryDirectory(dir=MODULES) as folder:
            for name, lines in js_sdk.items():
                for package in ("@elasticpath/js-sdk", "@moltin/sdk"):
                    file = pathlib.Path(folder) / f"{name}-{package.split('/')[0]}.ts"
                    file.write_text(constants + lines.replace("@elasticpath/js-sdk", package))
            (pathlib.Path(folder) / "shopper.ts").write_text(constants + SHOPPER_LINES)
            # Checks the lines, not the declarations of the packages.
            options = "--noEmit --strict --skipLibCheck --target es2022 --module esnext --moduleResolution bundler"
            run(str(MODULES / "node_modules/.bin/tsc"), *options.split(), *map(str, pathlib.Path(folder).iterdir()))


@unittest.skipUnless(shutil.which("epcc"), "epcc-cli is not on the PATH, and no package registry has it")
class EpccCli(unittest.TestCase):
    def run_epcc(self, line):
        """Returns the last status, which the program shows."""
        exports, *_ = documented("epcc-cli", "sh").replace("http://localhost:9000", API).splitlines()
        with tempfile.TemporaryDirectory() as home:
            # It also fails where an answer is an error.
            shown = run("bash", "-c", f"{exports}\n{line} 2>&1 || true", HOME=home)
        return int(re.findall(r"HTTP/1.1 (\d+)", shown)[-1])

    def test_each_line(self):
        _, *lines = documented("epcc-cli", "sh").splitlines()
        self.assertEqual([self.run_epcc(line) for line in lines], [200, 204, 200, 204])
        self.assertEqual(self.run_epcc("epcc get carts"), 403)


def ask(body, content_type=FORM, method="POST", **headers):
    """Asks for a token, and returns the status, the headers and the document of the answer."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    if content_type:
        names["Content-Type"] = content_type
    if isinstance(body, dict):
        body = urllib.parse.urlencode(body)
    status, headers, answer = send(method, TOKEN, names, body)
    return status, headers, json.loads(answer) if answer else None


class DevelopmentIssuer(unittest.TestCase):
    def test_a_token_has_the_grant_and_the_client(self):
        for grant in ("implicit", "client_credentials"):
            with self.subTest(grant):
                asked_at = int(time.time())
                status, headers, issued = ask({"grant_type": grant, "client_id": "shop 1", "client_secret": "any"})
                self.assertEqual(status, 200, issued)
                self.assertEqual(headers["cache-control"], "no-store")
                self.assertEqual(headers["content-type"], "application/json")
                token = issued.pop("access_token")
                self.assertAlmostEqual(issued.pop("expires"), asked_at + issued["expires_in"], delta=5)
                self.assertEqual(issued, {"token_type": "Bearer", "expires_in": 28800, "identifier": grant})
                claims = token.split(".")[1]
                claims = json.loads(base64.urlsafe_b64decode(claims + "=" * (-len(claims) % 4)))
                self.assertEqual((claims["grant_type"], claims["sub"]), (grant, "shop 1"))

    def test_the_function_accepts_the_longest_client_id(self):
        _, _, issued = ask({"grant_type": "client_credentials", "client_id": "~" * 256})
        headers = {"Authorization": f"Bearer {issued['access_token']}"}
        self.assertEqual(send("GET", "/v2/carts/cart-1/relationships/customers", headers)[0], 200)

    def test_bad_input_is_an_error_of_oauth(self):
        good = {"grant_type": "implicit", "client_id": "shop"}
        for name, expected, body, content_type in (
            ("no body", "invalid_request", "", FORM),
            ("no grant", "invalid_request", {"client_id": "shop"}, FORM),
            ("empty grant", "invalid_request", good | {"grant_type": ""}, FORM),
            ("other grant", "unsupported_grant_type", good | {"grant_type": "password"}, FORM),
            ("grant in capitals", "unsupported_grant_type", good | {"grant_type": "IMPLICIT"}, FORM),
            ("no client", "invalid_request", {"grant_type": "implicit"}, FORM),
            ("empty client", "invalid_request", good | {"client_id": ""}, FORM),
            ("client with a line break", "invalid_request", good | {"client_id": "a\nb"}, FORM),
            ("client that is not ASCII", "invalid_request", good | {"client_id": "é"}, FORM),
            ("client that is not UTF-8", "invalid_request", "grant_type=implicit&client_id=%FF", FORM),
            ("client too long", "invalid_request", good | {"client_id": "x" * 257}, FORM),
            ("repeated grant", "invalid_request", "grant_type=implicit&grant_type=implicit&client_id=a", FORM),
            ("repeated client", "invalid_request", "grant_type=implicit&client_id=a&client_id=a", FORM),
            ("body too long", "invalid_request", good | {"x": "x" * 16384}, FORM),
            ("JSON", "invalid_request", json.dumps(good), "application/json"),
            ("no content type", "invalid_request", good, None),
        ):
            with self.subTest(name):
                status, headers, answer = ask(body, content_type)
                self.assertEqual((status, answer["error"]), (400, expected), answer)
                self.assertTrue(answer["error_description"])
                self.assertEqual(headers["cache-control"], "no-store")

    def test_other_methods_are_405(self):
        for method in ("GET", "HEAD", "PUT", "PATCH", "DELETE"):
            with self.subTest(method):
                status, headers, _ = ask("", method=method)
                self.assertEqual(status, 405)
                self.assertIn("POST", headers["allow"])

    def test_no_other_address_of_this_machine_listens(self):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
            try:
                # Sends nothing, only chooses an address of this machine.
                route.connect(("192.0.2.1", 9))
            except OSError:
                self.skipTest("this machine has no address but loopback")
            address = route.getsockname()[0]
        with self.assertRaises(ConnectionRefusedError):
            socket.create_connection((address, urllib.parse.urlsplit(API).port), timeout=TIMEOUT)

    def test_pages_of_allowed_origins_may_ask(self):
        good = {"grant_type": "implicit", "client_id": "shop"}
        allowed = (os.environ["PAGE_URL"], os.environ["ALLOWED_ORIGINS"])
        for origin in (*allowed, "http://shop.example.com", "null", ""):
            with self.subTest(origin):
                expected = origin if origin in allowed else None
                _, headers, _ = ask(good, Origin=origin)
                self.assertEqual(headers["access-control-allow-origin"], expected)
                status, headers, _ = ask("", method="OPTIONS", Origin=origin, Access_Control_Request_Method="POST")
                self.assertEqual(status, 204)
                self.assertEqual(headers["access-control-allow-origin"], expected)
