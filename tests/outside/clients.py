"""Runs the clients in docs/api.md, exactly as printed there, against the API at API_URL.

axios is in the folder NODE_CLIENTS.
"""

import json
import os
import pathlib
import tempfile
import unittest

from documented import client, run
from relay import unavailable_once


def curl(**environment):
    """Runs the client in curl and returns the last status that it shows."""
    shown = run("bash", text=client("sh"), **environment)
    statuses = [line for line in shown.splitlines() if line.startswith("HTTP/")]
    return int(statuses[-1].split()[1])


JAVASCRIPT = """
const { API_URL, ACCESS_TOKEN, CUSTOMER_TOKEN } = process.env;
const isNew = await associateCart(API_URL, ACCESS_TOKEN, CUSTOMER_TOKEN, "cart-1", "ron");
console.log(isNew ? 200 : 204);
"""


def javascript(**environment):
    return int(run("node", "--input-type=module", text=client("js") + JAVASCRIPT, **environment))


def axios():
    """Removes the association with the lines for axios."""
    constants = "const { API_URL: apiUrl, ACCESS_TOKEN: accessToken, CUSTOMER_TOKEN: customerToken } = process.env;\n"
    lines = client("javascript", "Associating and removing")
    with tempfile.TemporaryDirectory(dir=os.environ["NODE_CLIENTS"]) as folder:
        program = pathlib.Path(folder) / "client.mjs"
        program.write_text('import axios from "axios";\n' + constants + lines)
        run("node", str(program))


def python(**environment):
    return int(run("python3", text=client("python"), **environment))


class Rust:
    """The client in Rust, compiled with the dependencies of this project."""

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
            *"cargo build --locked --workspace --all-features --example local --message-format=json".split()
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


class Clients(unittest.TestCase):
    def check_create_and_repeat(self, call):
        """Asserts that the client gets 200, and 204 when it repeats the call."""
        axios()
        self.assertEqual([call(), call()], [200, 204])

    def check_retry_after(self, call):
        """Asserts that the client waits for the two seconds of `Retry-After` before it retries."""
        with unavailable_once() as url:
            self.assertEqual(call(API_URL=url), 204)

    def test_curl(self):
        self.check_create_and_repeat(curl)
        self.check_retry_after(curl)

    def test_javascript(self):
        self.check_create_and_repeat(javascript)
        self.check_retry_after(javascript)
        with self.assertRaisesRegex(AssertionError, "invalid_access_token"):
            javascript(ACCESS_TOKEN="x")

    def test_python(self):
        self.check_create_and_repeat(python)
        with self.assertRaisesRegex(AssertionError, "HTTP Error 401"):
            python(ACCESS_TOKEN="x")

    def test_rust(self):
        with tempfile.TemporaryDirectory() as folder:
            rust = Rust(folder)
            self.check_create_and_repeat(rust)
            with self.assertRaisesRegex(AssertionError, "401"):
                rust(ACCESS_TOKEN="x")
