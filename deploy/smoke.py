"""`make smoke API_URL=…`: tries a deployment as its callers do, and leaves nothing behind.

BACK_END_TOKEN is a back end's access token. ACCESS_TOKEN with CUSTOMER_TOKEN or ACCOUNT_TOKEN are those of a storefront
whose customer, or account, has signed in; CUSTOMER and ACCOUNT are their ids, if these are not the tokens' sub. ACCESS_TOKEN
with CUSTOMER alone is that of a storefront whose access token names the customer. Each caller that is given is tried: a
POST that creates (200) and one that changes nothing (204), both lists, a DELETE (204). So is a token that must be refused
(401). Standard library only.
"""

import base64
import contextlib
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
    def __init__(self, url, access_token, **headers):
        self.url = url.rstrip("/")
        self.headers = {"Authorization": f"Bearer {access_token}"}
        self.headers |= {name.replace("_", "-"): value for name, value in headers.items()}

    def call(self, method, path, member=None):
        """The status, the headers and the document of the answer."""
        headers, body = dict(self.headers), None
        if member:
            body = json.dumps({"data": [member]}).encode()
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

    def expect(self, expected, method, path, member=None):
        """The headers and the document of an answer that must have this status."""
        status, headers, document = self.call(method, path, member)
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


def try_as(caller, kind, party, lists):
    cart = f"smoke-{uuid.uuid4()}"
    member = {"type": kind, "id": party}
    members = f"/v2/carts/{cart}/relationships/{kind}s"
    try:
        caller.expect(200, "POST", members, member)
        caller.expect(204, "POST", members, member)
        caller.expect_listed(members, party)
        caller.expect_listed(lists, cart)
    except BaseException:
        with contextlib.suppress(Failed):
            caller.expect(204, "DELETE", members, member)
        raise
    caller.expect(204, "DELETE", members, member)


def subject(name, token):
    """The sub of a token. The API verifies it, not we."""
    try:
        payload = token.split(".")[1]
        return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))["sub"]
    except (LookupError, ValueError) as error:
        raise Failed(f"{name} is not a JWT with a subject") from error


def run(environment):
    url, access = environment.get("API_URL"), environment.get("ACCESS_TOKEN")
    customer_token, account_token = environment.get("CUSTOMER_TOKEN"), environment.get("ACCOUNT_TOKEN")
    customer = environment.get("CUSTOMER")
    signed_in = customer_token or account_token or customer
    back_end = environment.get("BACK_END_TOKEN") or (access if not signed_in else None)
    if not url:
        raise Failed("API_URL must be the base URL of the API")
    if not (back_end or (access and signed_in)):
        raise Failed("BACK_END_TOKEN, or ACCESS_TOKEN and CUSTOMER_TOKEN, must have tokens for the API")

    if back_end:
        print("A back end:")
        other = f"smoke-{uuid.uuid4()}"
        try_as(Caller(url, back_end), "customer", other, f"/v2/customers/{other}/relationships/carts")
    if access and (customer_token or customer):
        print("A storefront:")
        of_customer = {"x_moltin_customer_token": customer_token} if customer_token else {}
        customer = customer or subject("CUSTOMER_TOKEN", customer_token)
        try_as(Caller(url, access, **of_customer), "customer", customer, "/v2/carts")
    if access and account_token:
        print("An account:")
        account = environment.get("ACCOUNT") or subject("ACCOUNT_TOKEN", account_token)
        caller = Caller(url, access, EP_Account_Management_Authentication_Token=account_token)
        try_as(caller, "account", account, "/v2/carts")
    print("Somebody with a wrong token:")
    headers, _ = Caller(url, "wrong").expect(401, "GET", "/v2/carts")
    if not headers.get("WWW-Authenticate", "").startswith("Bearer"):
        raise Failed("a 401 came without WWW-Authenticate: Bearer, so it is not the API's")
    if not back_end:
        print("Not tried: a back end, without BACK_END_TOKEN.")
    if not (access and (customer_token or customer)):
        print("Not tried: a storefront, and so the keys of customer tokens, without ACCESS_TOKEN and CUSTOMER_TOKEN.")


if __name__ == "__main__":
    try:
        run(os.environ)
    except Failed as failed:
        sys.exit(f"error: {failed}")
