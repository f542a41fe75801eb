#!/usr/bin/env python3
"""Imports associations from a file: `API_URL=… GET_TOKEN=… python3 docs/import.py pairs.csv`. migrating.md describes it.

The file has one pair a line: CSV whose first line names the columns `cart_id` and `customer_id` (or `account_id`), or JSON
Lines with members of these names. It is sent in windows of lines. After each, `pairs.csv.progress` says how far the import is, and
`pairs.csv.refused` lists the lines that were refused. Started again, the import goes on after the last finished window.
To send a window twice is harmless: an association that exists stays as it is. Standard library only.

Exit status: 0 if every pair is associated, 1 if the import stopped before its end, 3 if pairs were refused.
"""

import argparse
import codecs
import concurrent.futures
import csv
import hashlib
import http.client
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

RATE = 500  # Pairs a second.
CONNECTIONS = 8
WINDOW = 1000  # Lines.
MEMBERS = 100  # The most customers in one request.
ATTEMPTS = 8  # Of one request, in two minutes or more.
TIMEOUT = 15  # Seconds.


class Stopped(Exception):
    """Why the import stops, as a sentence. Started again, it may go on."""


class Unusable(Exception):
    """What is wrong with the file or the settings, as a sentence. To start again does not help."""


class Tokens:
    """Access tokens, from a command that prints one."""

    def __init__(self, command):
        self.command = command
        self.lock = threading.Lock()
        self.token = None

    def get(self, refused=None):
        """The current token, or a new one if that is the refused one."""
        with self.lock:
            if self.token == refused:
                done = subprocess.run(self.command, shell=True, stdout=subprocess.PIPE, text=True, errors="replace")
                self.token = done.stdout.strip()
                if done.returncode != 0 or not re.fullmatch("[!-~]+", self.token):
                    raise Stopped("the command in GET_TOKEN failed or printed no token")
            return self.token


class Pace:
    """Keeps the pairs of all connections below a rate, and wakes them all when the import stops."""

    def __init__(self, rate):
        self.rate = rate
        self.lock = threading.Lock()
        self.next = 0
        self.stop = threading.Event()

    def turn(self, pairs):
        """Waits until so many pairs may be sent."""
        with self.lock:
            now = time.monotonic()
            start = max(now, self.next)
            self.next = start + pairs / self.rate
        self.sleep(start - now)

    def sleep(self, seconds):
        if self.stop.wait(max(seconds, 0)):
            raise Stopped("another request failed")


class Api:
    """The API as a back end calls it. Each thread has a connection."""

    def __init__(self, url, tokens, pace, attempts):
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            host = None
        if not host or parts.scheme not in ("http", "https"):
            raise Unusable("API_URL must be the base URL of the API")
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self.connect = lambda: kind(host, port, timeout=TIMEOUT)
        self.base = parts.path.rstrip("/")
        self.tokens, self.pace, self.attempts = tokens, pace, attempts
        self.thread = threading.local()

    def call(self, method, path, document=None):
        """The status and the document of the answer. Sends the request again as docs/api.md says."""
        refused, problem, wait = None, None, 0
        for attempt in range(self.attempts):
            self.pace.sleep(wait)
            token = self.tokens.get(refused)
            wait = min(2**attempt, 60)
            try:
                answer, received = self.send(method, path, document, token)
            except (OSError, http.client.HTTPException) as error:
                problem = f"it got no answer ({str(error) or type(error).__name__})"
            else:
                if answer.status == 401:
                    if refused:
                        raise Stopped("the API refuses a new token too: see docs/errors.md, invalid_access_token")
                    refused, wait = token, 0
                elif answer.status != 429 and answer.status < 500:
                    return answer.status, received
                problem = f"the last answer was {answer.status}"
                asked = answer.headers.get("Retry-After", "")
                wait = max(wait, int(asked)) if asked.isdigit() else wait
        raise Stopped(f"{method} {path} failed {self.attempts} times: {problem}")

    def send(self, method, path, document, token):
        if not hasattr(self.thread, "connection"):
            self.thread.connection = self.connect()
        connection = self.thread.connection
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        try:
            connection.request(method, self.base + path, document and json.dumps(document), headers)
            answer = connection.getresponse()
            text = answer.read()
        except BaseException:
            # The next request opens it anew.
            connection.close()
            raise
        try:
            received = json.loads(text)
        except ValueError:
            received = None
        # Something between here and the API may answer with anything.
        return answer, received if isinstance(received, dict) else {}


class Import:
    def __init__(self, path, api_url, api, pace, connections):
        self.path, self.api, self.pace, self.connections = path, api, pace, connections
        self.progress_path = path.with_name(path.name + ".progress")
        self.refused_path = path.with_name(path.name + ".refused")
        content = read(path)
        self.columns, self.start = header(path, content)
        self.lines = content.count(b"\n")
        source = {"api": api_url, "sha256": hashlib.sha256(content).hexdigest()}
        lines = 0 if self.columns is None else 1
        self.progress = {**source, "lines": lines, "bytes": self.start, "pairs": 0, "refused": 0, "refused_bytes": 0}
        if self.progress_path.exists():
            try:
                progress = json.loads(read(self.progress_path))
                is_of_this = all(progress[name] == source.get(name, progress[name]) for name in self.progress)
            except (ValueError, LookupError, TypeError):
                is_of_this = False
            if not is_of_this:
                raise Unusable(f"{self.progress_path} is from another import; remove it to start from the first line")
            self.progress = progress
            print(f"Continuing after line {self.progress['lines']:,} of {path}.", file=sys.stderr)

    def run(self):
        self.check()
        started, before = time.monotonic(), self.progress["lines"]
        shown = started
        with self.path.open("rb") as file, self.refused_path.open("ab") as refused:
            file.seek(self.progress["bytes"])
            # What a window that was not finished left there.
            refused.truncate(min(refused.tell(), self.progress["refused_bytes"]))
            with concurrent.futures.ThreadPoolExecutor(self.connections) as pool:
                while self.window(file, refused, pool):
                    now = time.monotonic()
                    if now >= shown + 5:
                        shown = now
                        self.show((self.progress["lines"] - before) / (now - started))
        pairs, refusals = self.progress["pairs"], self.progress["refused"]
        print(f"Done: {pairs:,} pairs are associated, {refusals:,} lines were refused.", file=sys.stderr)
        if refusals:
            print(f"The refused lines are in {self.refused_path}.", file=sys.stderr)
        return 3 if refusals else 0

    def check(self):
        """Finds a wrong address or token before anything is sent."""
        path = "/v2/customers/import/relationships/carts?page%5Blimit%5D=1"
        status, document = self.api.call("GET", path)
        if status != 200:
            code = (codes(document) or [f"{status}"])[0]
            raise Unusable(f"the API does not answer like a back end's: {code}. Check API_URL, and the grant of the token")

    def window(self, file, refused, pool):
        """Sends the next lines and records them. Returns whether there were any."""
        carts, refusals, read, pairs = {}, [], 0, 0
        for line in file:
            read += 1
            number = self.progress["lines"] + read
            if line.strip():
                try:
                    to, party = parse(line, self.columns)
                except (ValueError, LookupError, TypeError, RecursionError, csv.Error):
                    refusals.append((number, "unreadable_line", line))
                else:
                    carts.setdefault(to, {}).setdefault(party, []).append((number, line))
                    pairs += 1
            if read == WINDOW:
                break
        if not read:
            return False
        try:
            for found in pool.map(self.associate, requests(carts)):
                refusals += found
                pairs -= len(found)
        except BaseException:
            self.pace.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
        for number, code, line in sorted(refusals):
            text = line.decode(errors="replace").rstrip("\r\n")
            refused.write(json.dumps({"line": number, "code": code, "text": text}).encode() + b"\n")
        refused.flush()
        os.fsync(refused.fileno())
        progress = self.progress
        progress["lines"] += read
        progress["bytes"] = file.tell()
        progress["pairs"] += pairs
        progress["refused"] += len(refusals)
        progress["refused_bytes"] = refused.tell()
        self.save()
        return True

    def associate(self, request):
        """Associates a cart with customers or accounts. Returns the refused lines and why."""
        (cart, kind), members = request
        path = f"/v2/carts/{urllib.parse.quote(cart, safe='')}/relationships/{kind}s"
        refusals = []
        while members:
            self.pace.turn(len(members))
            linkage = {"data": [{"type": kind, "id": party} for party in members]}
            status, document = self.api.call("POST", path, linkage)
            if status in (200, 204):
                break
            if status == 403:
                raise Stopped(f"the token may not act for every customer: {(codes(document) or ['403'])[0]}")
            code = (codes(document) or [f"http_{status}"])[0]
            # Without the members at fault, the others take effect.
            for party, code in (faulty(document, list(members)) or dict.fromkeys(members, code)).items():
                refusals += [(number, code, line) for number, line in members.pop(party)]
        return refusals

    def save(self):
        new = self.progress_path.with_name(self.progress_path.name + ".new")
        with new.open("w") as file:
            json.dump(self.progress, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(self.progress_path)

    def show(self, rate):
        lines, refused = self.progress["lines"], self.progress["refused"]
        minutes = (self.lines - lines) / rate / 60
        print(
            f"{lines:,} of {self.lines:,} lines, {rate:,.0f} a second, {minutes:,.0f} minutes left, {refused:,} refused",
            file=sys.stderr,
        )


def read(path):
    try:
        return path.read_bytes()
    except OSError as error:
        raise Unusable(f"{path} cannot be read: {error.strerror}") from None


def header(path, content):
    """The columns of a CSV file, else None, and the position of the first pair. A byte order mark is skipped."""
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in content[:4]:
        raise Unusable(f"{path} is in UTF-16 or UTF-32; save it as UTF-8, or convert it with iconv")
    if b"\n" not in content and b"\r" in content.strip():
        raise Unusable(f"the lines of {path} end with a carriage return alone; replace these by line feeds")
    start = len(codecs.BOM_UTF8) if content.startswith(codecs.BOM_UTF8) else 0
    end = content.find(b"\n") + 1 or len(content)
    if path.suffix.lower() != ".csv":
        if content[start:].strip()[:1] not in (b"", b"{"):
            raise Unusable(f"{path} must begin with a JSON object, or have the suffix .csv if it is CSV")
        return None, start
    try:
        columns = next(csv.reader([content[start:end].decode()], strict=True), [])
    except UnicodeDecodeError:
        raise Unusable(f"the first line of {path} is not in UTF-8; save the file as UTF-8") from None
    except csv.Error:
        columns = []
    named = sorted(name for name in columns if name in ("cart_id", "customer_id", "account_id"))
    if named not in (["cart_id", "customer_id"], ["account_id", "cart_id"]):
        raise Unusable(
            f"the first line of {path} must name the columns cart_id and customer_id, each once, separated by commas"
        )
    return columns, end


def parse(line, columns):
    """The cart with the kind of its party, and the party, of a line."""
    text = line.decode()
    record = json.loads(text) if columns is None else dict(zip(columns, next(csv.reader([text], strict=True))))
    kind = "account" if "account_id" in record and "customer_id" not in record else "customer"
    cart, party = record["cart_id"], record[f"{kind}_id"]
    for name in (cart, party):
        # Encoding fails for half a surrogate pair, which JSON can name.
        if not isinstance(name, str) or not name.encode():
            raise ValueError("not an id")
    return (cart, kind), party


def requests(carts):
    """Carts with customers or accounts, as many as fit into one request."""
    for to, members in carts.items():
        members = list(members.items())
        for i in range(0, len(members), MEMBERS):
            yield to, dict(members[i : i + MEMBERS])


def codes(document):
    return [error["code"] for error in document.get("errors", [])]


def faulty(document, parties):
    """The members that an answer names as faulty, with their codes."""
    found = {}
    for error in document.get("errors", []):
        named = re.fullmatch(r"/data/([0-9]+)(/.*)?", error.get("source", {}).get("pointer", ""))
        if named:
            found.setdefault(parties[int(named[1])], error["code"])
    return found


def main():
    parser = argparse.ArgumentParser(
        description="Imports associations; docs/migrating.md describes it. The environment has API_URL, the base URL of"
        " the API, and GET_TOKEN, a command that prints a client_credentials token."
    )
    parser.add_argument("file", type=pathlib.Path, help="a .csv file, or JSON Lines")
    parser.add_argument("--rate", type=float, default=RATE, help="the most pairs a second (%(default)s)")
    parser.add_argument("--connections", type=int, default=CONNECTIONS, help="the most requests at once (%(default)s)")
    parser.add_argument(
        "--attempts", type=int, default=ATTEMPTS, help="how often a request is sent before the import stops (%(default)s)"
    )
    arguments = parser.parse_args()
    if not min(arguments.rate, arguments.connections, arguments.attempts) > 0:
        parser.error("--rate, --connections and --attempts must be more than 0")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        pace = Pace(arguments.rate)
        url = os.environ.get("API_URL", "")
        api = Api(url, Tokens(os.environ.get("GET_TOKEN", "")), pace, arguments.attempts)
        sys.exit(Import(arguments.file, url, api, pace, arguments.connections).run())
    except Unusable as error:
        sys.exit(f"error: {error}")
    except (Stopped, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print("Stopped.", file=sys.stderr)
    sys.exit("Run the same command again to continue.")


if __name__ == "__main__":
    main()
