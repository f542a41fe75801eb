"""The clients in README.md, run as they stand there against the API at API_URL."""

import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest
import urllib.request

from readme import client

CUSTOMERS = "/v2/carts/cart-1/relationships/customers"


def run(*command, text=None, **environment):
    """What the command prints. It must succeed."""
    done = subprocess.run(
        command, input=text, env=os.environ | environment, text=True, capture_output=True, timeout=60
    )
    assert done.returncode == 0, f"{command[0]} failed: {done.stdout}{done.stderr}"
    return done.stdout


def curl(**environment):
    """The status that curl shows last."""
    shown = run("bash", text=client("sh"), **environment)
    statuses = [line for line in shown.splitlines() if line.startswith("HTTP/")]
    return int(statuses[-1].split()[1])


JAVASCRIPT = """
const { API_URL, ACCESS_TOKEN, CUSTOMER_TOKEN } = process.env;
const isNew = await tieCart(API_URL, ACCESS_TOKEN, CUSTOMER_TOKEN, "cart-1", "ron");
console.log(isNew ? 200 : 204);
"""


def javascript(**environment):
    return int(run("node", "--input-type=module", text=client("js") + JAVASCRIPT, **environment))


def python(**environment):
    return int(run("python3", text=client("python"), **environment))


class Rust:
    """The client in Rust, compiled once, with the dependencies of this project."""

    def __init__(self, folder):
        self.program = pathlib.Path(folder) / "client"
        source = self.program.with_suffix(".rs")
        source.write_text(client("rust"))
        libraries = self.libraries("ureq", "serde_json")
        externs = [f"--extern={name}={library}" for name, library in libraries.items()]
        dependencies = f"dependency={next(iter(libraries.values())).parent}"
        run("rustc", "--edition=2024", "-L", dependencies, *externs, "-o", str(self.program), str(source))

    @staticmethod
    def libraries(*names):
        built = run(
            *"cargo build --locked --workspace --example local --features dev/ureq --message-format=json".split()
        )
        found = {}
        for message in map(json.loads, built.splitlines()):
            name = message.get("target", {}).get("name")
            if message["reason"] == "compiler-artifact" and name in names:
                found[name] = next(pathlib.Path(f) for f in message["filenames"] if f.endswith(".rlib"))
        assert found.keys() == set(names), f"built: {found}"
        return found

    def __call__(self, **environment):
        return int(run(str(self.program), **environment))


class Busy(http.server.ThreadingHTTPServer):
    """An API that is unavailable at first, and says for how long."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), BusyHandler)
        self.asked_at = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class BusyHandler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        asked_at = self.server.asked_at
        asked_at.append(time.monotonic())
        if len(asked_at) == 1:
            self.send_response(503)
            self.send_header("retry-after", "2")
            self.send_header("content-length", "0")
        else:
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


class Clients(unittest.TestCase):
    def creates_once(self, call):
        """A call of a client is 200, and 204 when it is repeated."""
        linkage = json.dumps({"data": [{"type": "customer", "id": "ron"}]}).encode()
        request = urllib.request.Request(
            os.environ["API_URL"] + CUSTOMERS,
            data=linkage,
            headers={"Authorization": f"Bearer {os.environ['BACK_END_TOKEN']}"},
            method="DELETE",
        )
        request.add_header("Content-Type", "application/json")
        with urllib.request.urlopen(request, timeout=15) as response:
            self.assertEqual(response.status, 204)
        self.assertEqual([call(), call()], [200, 204])

    def obeys_retry_after(self, call):
        """A call of a client that is told to come back in two seconds does, and not before."""
        with Busy() as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self.assertEqual(call(API_URL=server.url), 204)
            server.shutdown()
        first, second = server.asked_at
        self.assertGreaterEqual(second - first, 2)

    def test_curl(self):
        self.creates_once(curl)
        self.obeys_retry_after(curl)

    def test_javascript(self):
        self.creates_once(javascript)
        self.obeys_retry_after(javascript)
        with self.assertRaisesRegex(AssertionError, "invalid_access_token"):
            javascript(ACCESS_TOKEN="x")

    def test_python(self):
        self.creates_once(python)
        with self.assertRaisesRegex(AssertionError, "HTTP Error 401"):
            python(ACCESS_TOKEN="x")

    def test_rust(self):
        with tempfile.TemporaryDirectory() as folder:
            rust = Rust(folder)
            self.creates_once(rust)
            with self.assertRaisesRegex(AssertionError, "401"):
                rust(ACCESS_TOKEN="x")


if __name__ == "__main__":
    unittest.main(verbosity=2)
