"""`make smoke API_URL=…`: tries a deployment as its callers do, and leaves nothing behind.

BACK_END_TOKEN is an access token of the client_credentials grant. ACCESS_TOKEN and CUSTOMER_TOKEN together are those of
a storefront whose customer has signed in; ACCESS_TOKEN alone is taken for a back end's. Each kind that is given is
tried: a POST that creates (200) and one that changes nothing (204), both lists, a DELETE (204). So is a token that must
be refused (401). Standard library only.
"""

import base64
import json
import os
import sys
import time
import urllib.error
import urllib.request
import uuid

# The lists are read from indexes, which follow within a fraction of a second.
PATIENCE = 10


class Failed(Exception):
    """A sentence that says what is wrong."""


class Caller:
    def __init__(self, url, access_token, customer_token=None):
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {access_token}"}
        if customer_token:
            self.headers["x-moltin-customer-token"] = customer_token

    def call(self, method, path, customer=None):
        """The status, the headers and the document of the answer."""
        headers, body = dict(self.headers), None
        if customer:
            body = json.dumps({"data": [{"type": "customer", "id": customer}]}).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(self.url + path, body, headers, method=method)
        try:
            answer = urllib.request.urlopen(request, timeout=15)
        except urllib.error.HTTPError as error:
            answer = error
        except OSError as error:
            raise Failed(f"{method} {self.url}{path}: {getattr(error, 'reason', error)}") from error
        with answer:
            text = answer.read()
        try:
            document = json.loads(text) if text else None
        except ValueError:
            document = None
        return answer.status, answer.headers, document

    def expect(self, expected, method, path, customer=None):
        """The headers and the document of an answer that must have this status."""
        status, headers, document = self.call(method, path, customer)
        if status != expected:
            errors = document.get("errors") if isinstance(document, dict) else None
            why = f" {errors[0]['code']}" if errors else ""
            raise Failed(f"{method} {path} was answered with {status}{why}, not with {expected}")
        print(f"  {expected} {method} {path}")
        return headers, document

    def expect_listed(self, path, member):
        """A list must have the member, soon."""
        until = time.monotonic() + PATIENCE
        while True:
            status, _, document = self.call("GET", path)
            if status != 200:
                return self.expect(200, "GET", path)
            if member in [listed["id"] for listed in document["data"]]:
                print(f"  200 GET {path}")
                return None
            if time.monotonic() > until:
                raise Failed(f"GET {path} does not list {member} after {PATIENCE} seconds")
            time.sleep(0.2)


def try_as(caller, customer, lists):
    cart = f"smoke-{uuid.uuid4()}"
    customers = f"/v2/carts/{cart}/relationships/customers"
    try:
        caller.expect(200, "POST", customers, customer)
        caller.expect(204, "POST", customers, customer)
        caller.expect_listed(customers, customer)
        caller.expect_listed(lists, cart)
    finally:
        # Also after a failure, which is the one to report.
        failed = sys.exc_info()[0] is not None
        try:
            caller.expect(204, "DELETE", customers, customer)
        except Failed:
            if not failed:
                raise


def subject(token):
    """The customer of a customer token. The API verifies it, not we."""
    try:
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    except (LookupError, ValueError) as error:
        raise Failed("CUSTOMER_TOKEN is not a JWT with a subject") from error


def run(environment):
    url = environment.get("API_URL")
    access, customer_token = environment.get("ACCESS_TOKEN"), environment.get("CUSTOMER_TOKEN")
    back_end = environment.get("BACK_END_TOKEN") or (access if not customer_token else None)
    if not url:
        raise Failed("API_URL must be the base URL of the API")
    if not (back_end or (access and customer_token)):
        raise Failed("BACK_END_TOKEN, or ACCESS_TOKEN and CUSTOMER_TOKEN, must have tokens for the API")

    if back_end:
        print("A back end:")
        customer = f"smoke-{uuid.uuid4()}"
        try_as(Caller(url, back_end), customer, f"/v2/customers/{customer}/relationships/carts")
    if access and customer_token:
        print("A storefront:")
        try_as(Caller(url, access, customer_token), subject(customer_token), "/v2/carts")
    print("Somebody with a wrong token:")
    headers, _ = Caller(url, "wrong").expect(401, "GET", "/v2/carts")
    if not headers.get("WWW-Authenticate", "").startswith("Bearer"):
        raise Failed("a 401 came without WWW-Authenticate: Bearer, so it is not the API's")
    if not back_end:
        print("Not tried: a back end, without BACK_END_TOKEN.")
    if not (access and customer_token):
        print("Not tried: a storefront, and so the keys of customer tokens, without ACCESS_TOKEN and CUSTOMER_TOKEN.")


if __name__ == "__main__":
    try:
        run(os.environ)
    except Failed as failed:
        sys.exit(f"error: {failed}")
