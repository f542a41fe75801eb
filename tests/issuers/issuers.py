"""Signs in to real issuers and uses their tokens on the function, in local worlds: `make test-issuers`.

Keycloak, an issuer made with oidc-provider, and moto's Amazon Cognito run on this machine. docs/identity.md says how to
configure each, and deploy/issuers/ has the values that are used here.
"""

import base64
import contextlib
import gzip
import hashlib
import html
import json
import logging
import os
import pathlib
import queue
import re
import secrets
import socket
import subprocess
import sys
import threading
import time
import urllib.parse

import boto3
import moto.cognitoidp
import requests
import yaml
from joserfc import jwk, jwt
from moto.server import ThreadedMotoServer
from requests.adapters import HTTPAdapter
from urllib3 import Retry
from werkzeug import Request, Response
from werkzeug.serving import make_server

HERE = pathlib.Path(__file__).parent
SIGNED_IN = "http://127.0.0.1/signed-in"
SECRET = "a secret for tests"
PASSWORD = "A password for 1 test"
PATIENCE = 300  # Seconds that an issuer's start may take.
LOGOUT_TOKENS = queue.Queue()

checks = 0


class World:
    """The function in a local world, as it is with these environment variables."""

    def __init__(self, **variables):
        # Set to nothing, these take the local world's own away.
        nothing = dict.fromkeys((f"CUSTOMER_TOKEN_{name}" for name in ("JWKS", "ISSUER", "AUDIENCE")), "")
        # The URL comes by a pipe of its own: the function logs to the standard output.
        read, write = os.pipe()
        command = ["target/debug/examples/local", "with", "sh", "-c", f"echo $API_URL > /dev/fd/{write}; exec sleep infinity"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, pass_fds=(write,), env=os.environ | nothing | variables
        )
        os.close(write)
        with os.fdopen(read) as pipe:
            self.url = pipe.readline().strip()
        if not self.url:
            sys.exit("error: the local world did not start; the reason is above")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def expect(self, expected, what, method, path, token, customer_token=None, named=()):
        """Calls the API and compares status and error code, such as 200 or "403 other_customer"."""
        global checks
        headers = {"authorization": f"Bearer {token}"}
        if customer_token:
            headers["x-moltin-customer-token"] = customer_token
        body = {"data": [{"type": "customer", "id": name} for name in named]} if named else None
        answer = requests.request(method, self.url + path, headers=headers, json=body, timeout=30)
        got = str(answer.status_code)
        if answer.status_code >= 400:
            got += " " + answer.json()["errors"][0]["code"]
        if got != str(expected):
            payload = {kind: claims(one) for kind, one in (("token", token), ("customer", customer_token)) if one}
            sys.exit(f"error: {what}: {method} {path}: {got} instead of {expected}\n{json.dumps(payload, indent=1)}")
        checks += 1
        return answer.json() if answer.content else None

    def try_back_end(self, what, token):
        """A back end acts for everybody and is nobody itself."""
        cart = f"/v2/carts/{secrets.token_hex(8)}/relationships/customers"
        self.expect(200, what, "POST", cart, token, named=["hermione", "harry"])
        self.expect(204, what, "POST", cart, token, named=["hermione"])
        self.expect(200, what, "GET", "/v2/customers/hermione/relationships/carts", token)
        self.expect("403 customer_token_required", what, "GET", "/v2/carts", token)
        self.expect(204, what, "DELETE", cart, token, named=["hermione", "harry"])

    def try_customer(self, what, customer, token, customer_token=None):
        """A customer acts for themselves and for nobody else."""
        cart = secrets.token_hex(8)
        tokens = {"token": token, "customer_token": customer_token}
        path = f"/v2/carts/{cart}/relationships/customers"
        self.expect(200, what, "POST", path, **tokens, named=[customer])
        self.expect(204, what, "POST", path, **tokens, named=[customer])
        self.expect("403 other_customer", what, "POST", path, **tokens, named=["hermione"])
        self.expect("403 other_customer", what, "GET", "/v2/customers/hermione/relationships/carts", **tokens)
        carts = self.expect(200, what, "GET", "/v2/carts", **tokens)["data"]
        assert cart in [one["id"] for one in carts], carts
        self.expect(204, what, "DELETE", path, **tokens, named=[customer])

    def try_nobody(self, what, token, code="customer_token_required"):
        self.expect(f"403 {code}", what, "POST", "/v2/carts/a/relationships/customers", token, named=["hermione"])

    def try_refused(self, what, token, customer_token=None):
        code = "invalid_customer_token" if customer_token else "invalid_access_token"
        path = "/v2/carts/a/relationships/customers"
        self.expect(f"401 {code}", what, "POST", path, token, customer_token, named=["hermione"])


def environment(issuer, **replaced):
    """The variables that the parameters in a file of deploy/issuers/ set, with other ids."""
    text = pathlib.Path(f"deploy/issuers/{issuer}.yaml").read_text()
    for old, new in replaced.items():
        text = text.replace(old, new)
    variables = {}
    for parameter, value in yaml.safe_load(text).items():
        value = ",".join(value) if isinstance(value, list) else value
        value = json.dumps(value) if isinstance(value, dict) else value
        variables[re.sub("(?<!^)[A-Z]", r"_\g<0>", parameter).upper()] = value
    return variables


def two_tokens(variables):
    """The same, with the storefront's ID tokens as customer tokens."""
    same = {f"CUSTOMER_TOKEN_{name}": variables[f"ACCESS_TOKEN_{name}"] for name in ("JWKS", "ISSUER")}
    return variables | same | {"CUSTOMER_TOKEN_AUDIENCE": "web-shop"}


def read_form(page):
    """The address of a page's form, and its hidden fields."""
    tags = [dict(re.findall(r' (\w+)="([^"]*)"', tag)) for tag in re.findall("<(?:form|input)[^>]*>", page)]
    action = next(tag["action"] for tag in tags if "action" in tag)
    hidden = [tag for tag in tags if tag.get("type") == "hidden"]
    return html.unescape(action), {tag["name"]: html.unescape(tag.get("value", "")) for tag in hidden}


def browse(session, url, parameters, filled):
    """Follows redirects and submits forms until the application is reached or a page has no form."""
    answer = session.get(url, params=parameters, allow_redirects=False)
    for _ in range(20):
        # To a browser, http is safe on this machine.
        for cookie in session.cookies:
            cookie.secure = False
        if answer.is_redirect:
            url = urllib.parse.urljoin(answer.url, answer.headers["location"])
            if url.startswith(SIGNED_IN):
                return dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(url).query))
            answer = session.get(url, allow_redirects=False)
        elif "<form" in answer.text:
            action, fields = read_form(answer.text)
            url = urllib.parse.urljoin(answer.url, action)
            answer = session.post(url, data=fields | filled, allow_redirects=False)
        else:
            answer.raise_for_status()
            return {}
    sys.exit(f"error: {url} leads nowhere")


class Issuer:
    """An issuer with OpenID Connect's discovery."""

    def __init__(self, url):
        self.url = url
        session = requests.Session()
        until_started = Retry(5 * PATIENCE, backoff_factor=0.2, backoff_max=0.2, status_forcelist=[404, 500, 503])
        session.mount(url, HTTPAdapter(max_retries=until_started))
        self.metadata = session.get(f"{url}/.well-known/openid-configuration", timeout=10).json()
        names = {"ACCESS_TOKEN_ISSUER": "issuer", "ACCESS_TOKEN_JWKS": "jwks_uri"}
        self.environment = {name: self.metadata[member] for name, member in names.items()}

    def sign_in(self, client, scope="openid", **parameters):
        """Signs ron in with a browser: authorization code and PKCE. Returns the tokens and the browser's session."""
        session = requests.Session()
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        asked = {"client_id": client, "redirect_uri": SIGNED_IN, "response_type": "code", "scope": scope}
        asked |= {"code_challenge": challenge, "code_challenge_method": "S256"} | parameters
        filled = {"username": "ron", "login": "ron", "password": PASSWORD}
        back = browse(session, self.metadata["authorization_endpoint"], asked, filled)
        form = {"grant_type": "authorization_code", "client_id": client, "redirect_uri": SIGNED_IN}
        form |= {"code": back["code"], "code_verifier": verifier}
        return self.tokens(form | parameters), session

    def machine(self, client, **parameters):
        """The access token of a machine, by client_credentials."""
        form = {"grant_type": "client_credentials"} | parameters
        return self.tokens(form, auth=(client, SECRET))["access_token"]

    def tokens(self, form, **options):
        answer = requests.post(self.metadata["token_endpoint"], form, timeout=30, **options)
        if not answer.ok:
            sys.exit(f"error: {self.url} answered {answer.status_code}: {answer.text}")
        return answer.json()

    def sign_out(self, session, id_token):
        browse(session, self.metadata["end_session_endpoint"], {"id_token_hint": id_token}, {"logout": "yes"})


@Request.application
def receive_logout_token(request):
    """Takes the logout tokens of OpenID Connect Back-Channel Logout, as an application does."""
    LOGOUT_TOKENS.put(request.form["logout_token"])
    return Response()


def claims(token):
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def start(stack, *command, **variables):
    """Starts a program, which ends with `stack`."""
    process = subprocess.Popen(command, env=os.environ | variables, stdout=subprocess.DEVNULL)
    stack.callback(process.wait)
    stack.callback(process.terminate)
    return process


def start_keycloak(stack, logout_url):
    port = free_port()
    home = pathlib.Path(os.environ["KEYCLOAK"])
    realm = (HERE / "keycloak.json").read_text().replace("LOGOUT_URL", logout_url)
    (home / "data/import").mkdir(parents=True, exist_ok=True)
    (home / "data/import/shop.json").write_text(realm)
    admin = {"KC_BOOTSTRAP_ADMIN_USERNAME": "admin", "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD}
    settings = {"KC_HTTP_HOST": "127.0.0.1", "KC_HTTP_PORT": str(port), "KC_DB": "dev-mem"}
    start(stack, "bash", str(home / "bin/kc.sh"), "start-dev", "--import-realm", **admin, **settings)
    return f"http://127.0.0.1:{port}"


def try_keycloak(url):
    issuer = Issuer(f"{url}/realms/shop")
    one_token = environment("keycloak") | issuer.environment
    shop, session = issuer.sign_in("web-shop")
    blog, _ = issuer.sign_in("blog")
    orders, reports = issuer.machine("orders"), issuer.machine("reports")
    ron = claims(shop["access_token"])["sub"]
    with World(**one_token) as world:
        world.try_back_end("Keycloak, a machine with the role", orders)
        world.try_customer("Keycloak, a customer", ron, shop["access_token"])
        world.try_nobody("Keycloak, a machine without the role", reports, "other_customer")
        world.try_refused("Keycloak, an ID token", shop["id_token"])
        world.try_refused("Keycloak, another application", blog["access_token"])
        world.try_refused("Keycloak, another application's ID token", blog["id_token"])
        issuer.sign_out(session, shop["id_token"])
        world.try_refused("Keycloak, a logout token", LOGOUT_TOKENS.get(timeout=PATIENCE))
        world.try_customer("Keycloak, a token after logout, until it expires", ron, shop["access_token"])
        rotate_keys(url, issuer)
        world.try_back_end("Keycloak, a new key", issuer.machine("orders"))
        world.try_refused("Keycloak, a removed key", orders)
    with World(**two_tokens(one_token), CUSTOMER_TOKEN_CLAIMS='{"typ":"ID"}') as world:
        (shop, _), orders = issuer.sign_in("web-shop"), issuer.machine("orders")
        world.try_customer("Keycloak, a customer with two tokens", ron, shop["access_token"], shop["id_token"])
        world.try_nobody("Keycloak, a customer without the second token", shop["access_token"])
        world.try_refused("Keycloak, an access token as the second", orders, shop["access_token"])
        world.try_refused("Keycloak, the ID token of another application", orders, blog["id_token"])


def rotate_keys(url, issuer):
    """Adds an RSA key to the realm and removes those that signed until now."""
    form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
    answer = requests.post(f"{url}/realms/master/protocol/openid-connect/token", form, timeout=30)
    admin = requests.Session()
    admin.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
    components = f"{url}/admin/realms/shop/components"
    realm = admin.get(f"{url}/admin/realms/shop").json()["id"]
    kind = "org.keycloak.keys.KeyProvider"
    old = admin.get(components, params={"type": kind}).json()
    new = {"name": "new", "providerId": "rsa-generated", "providerType": kind, "parentId": realm}
    new["config"] = {"priority": ["1000"], "algorithm": ["RS256"]}
    admin.post(components, json=new).raise_for_status()
    for key in old:
        if key["providerId"] == "rsa-generated":
            admin.delete(f"{components}/{key['id']}").raise_for_status()


def try_oidc_provider(stack, logout_url):
    port = str(free_port())
    command = ["node", "--no-warnings", str(HERE / "provider.mjs"), port, logout_url]
    process = start(stack, *command)
    issuer = Issuer(f"http://127.0.0.1:{port}")
    carts = {"resource": "https://carts.example.com"}
    right = carts | {"scope": "carts:back-end"}
    one_token = environment("oidc-provider") | issuer.environment
    shop, session = issuer.sign_in("web-shop", **carts)
    blog, _ = issuer.sign_in("blog", resource="https://blog.example.com")
    kiosk, _ = issuer.sign_in("kiosk", **right)
    orders, reports = issuer.machine("orders", **right), issuer.machine("reports", **carts)
    with World(**one_token) as world:
        world.try_back_end("oidc-provider, a machine with the scope", orders)
        world.try_customer("oidc-provider, a customer", "ron", shop["access_token"])
        world.try_customer("oidc-provider, a customer who asked for the scope", "ron", kiosk["access_token"])
        world.try_nobody("oidc-provider, a machine without the scope", reports, "back_end_required")
        world.try_refused("oidc-provider, an ID token", shop["id_token"])
        world.try_refused("oidc-provider, another application", blog["access_token"])
        world.try_refused("oidc-provider, a token that is bound to a key", bound_token(issuer, right))
        issuer.sign_out(session, shop["id_token"])
        world.try_refused("oidc-provider, a logout token", LOGOUT_TOKENS.get(timeout=PATIENCE))
        world.try_customer("oidc-provider, a token after logout, until it expires", "ron", shop["access_token"])
        process.terminate()
        process.wait()
        start(stack, *command)
        issuer = Issuer(issuer.url)
        world.try_back_end("oidc-provider, a new key", issuer.machine("orders", **right))
        world.try_refused("oidc-provider, a removed key", orders)
    with World(**two_tokens(one_token)) as world:
        (shop, _), orders = issuer.sign_in("web-shop", **carts), issuer.machine("orders", **right)
        world.try_customer("oidc-provider, two tokens", "ron", shop["access_token"], shop["id_token"])
        world.try_nobody("oidc-provider, a customer without the second token", shop["access_token"])
        world.try_refused("oidc-provider, an access token as the second", orders, shop["access_token"])


def bound_token(issuer, form):
    """A token with `cnf`: bound to a key by DPoP (RFC 9449)."""
    key = jwk.ECKey.generate_key("P-256")
    header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": key.as_dict(private=False)}
    proof = {"htm": "POST", "htu": issuer.metadata["token_endpoint"], "jti": secrets.token_hex()}
    proof["iat"] = int(time.time())
    headers = {"dpop": jwt.encode(header, proof, key)}
    form = {"grant_type": "client_credentials"} | form
    return issuer.tokens(form, auth=("orders", SECRET), headers=headers)["access_token"]


def try_cognito(stack):
    """Customers are moto's. It makes no tokens for machines: they have the claims of AWS's pages, and moto's key."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    stack.callback(server.stop)
    url = "http://%s:%s" % server.get_host_and_port()
    credentials = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    cognito = boto3.client("cognito-idp", "eu-central-1", endpoint_url=url, **credentials)
    pool = cognito.create_user_pool(PoolName="shop")["UserPool"]["Id"]
    clients = {}
    for name in ("web-shop", "blog", "orders", "reports"):
        flows = ["ALLOW_USER_PASSWORD_AUTH"]
        made = cognito.create_user_pool_client(UserPoolId=pool, ClientName=name, ExplicitAuthFlows=flows)
        clients[name] = made["UserPoolClient"]["ClientId"]
    cognito.admin_create_user(UserPoolId=pool, Username="ron", MessageAction="SUPPRESS")
    cognito.admin_set_user_password(UserPoolId=pool, Username="ron", Password=PASSWORD, Permanent=True)

    def sign_in(client):
        login = {"USERNAME": "ron", "PASSWORD": PASSWORD}
        asked = cognito.initiate_auth(ClientId=clients[client], AuthFlow="USER_PASSWORD_AUTH", AuthParameters=login)
        return asked["AuthenticationResult"]

    key = pathlib.Path(moto.cognitoidp.__file__).parent / "resources/jwks-private.json.gz"
    key = jwk.import_key(json.loads(gzip.decompress(key.read_bytes())))

    def machine(client, scope):
        now = int(time.time())
        payload = {"sub": clients[client], "client_id": clients[client], "scope": scope, "version": 2}
        payload |= {"token_use": "access", "iss": one_token["ACCESS_TOKEN_ISSUER"]}
        payload |= {"iat": now, "auth_time": now, "exp": now + 300}
        return jwt.encode({"kid": "dummy", "alg": "RS256"}, payload, key)

    ids = {"eu-central-1_aBcDeFgHi": pool, "1h57kf5cpq17m0eml12EXAMPLE": clients["web-shop"]}
    one_token = environment("cognito", **ids, **{"3n4b5urk1ft4fl3mg5eEXAMPLE": clients["orders"]})
    one_token["ACCESS_TOKEN_JWKS"] = f"{url}/{pool}/.well-known/jwks.json"
    shop, blog = sign_in("web-shop"), sign_in("blog")
    orders = machine("orders", "carts/back-end")
    ron = claims(shop["AccessToken"])["sub"]
    with World(**one_token) as world:
        world.try_back_end("Cognito, a machine with the scope", orders)
        world.try_customer("Cognito, a customer", ron, shop["AccessToken"])
        world.try_nobody("Cognito, a machine without the scope", machine("orders", "carts/read"), "back_end_required")
        world.try_refused("Cognito, an ID token", shop["IdToken"])
        world.try_refused("Cognito, another application", blog["AccessToken"])
        world.try_refused("Cognito, a machine that is not an audience", machine("reports", "carts/back-end"))
        cognito.admin_user_global_sign_out(UserPoolId=pool, Username="ron")
        world.try_customer("Cognito, a token after sign-out, until it expires", ron, shop["AccessToken"])


def main():
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    receiver = make_server("127.0.0.1", 0, receive_logout_token)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    logout_url = f"http://127.0.0.1:{receiver.server_port}/signed-out"
    with contextlib.ExitStack() as stack:
        # It takes longest to start.
        keycloak = start_keycloak(stack, logout_url)
        report("Cognito", try_cognito, stack)
        report("oidc-provider", try_oidc_provider, stack, logout_url)
        report("Keycloak", try_keycloak, keycloak)
    print(f"{checks} passed, 0 failed")


def report(name, tried, *arguments):
    began, before = time.monotonic(), checks
    tried(*arguments)
    print(f"{name}: {checks - before} answers in {time.monotonic() - began:.0f} s", flush=True)


main()
