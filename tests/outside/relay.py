"""Requests to the API at API_URL, and servers between the API and its clients."""

import contextlib
import http.client
import http.server
import json
import os
import threading
import time
import urllib.parse

API = os.environ["API_URL"]
HOST = urllib.parse.urlsplit(API).netloc
TIMEOUT = 60  # Seconds.


def send(method, path, headers, body=None, host=HOST):
    """The status, the headers and the text of an answer, by default of the API."""
    with contextlib.closing(http.client.HTTPConnection(host, timeout=TIMEOUT)) as connection:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()


def as_back_end(method, path, *ids):
    """The document of an answer to a back end, which must be a success. With ids, for these customers."""
    headers = {"Authorization": f"Bearer {os.environ['BACK_END_TOKEN']}", "Content-Type": "application/json"}
    data = [{"type": "customer", "id": one} for one in ids]
    status, _, text = send(method, path, headers, json.dumps({"data": data}) if ids else None)
    assert status == 200, text
    return json.loads(text)


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def handle_one(self):
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
        status, headers, text = self.server.answer(self.command, self.path, headers, body)
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection"):
                self.send_header(name, value)
        if status != 204:
            self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_GET = do_POST = do_DELETE = do_OPTIONS = handle_one


class Relay(http.server.ThreadingHTTPServer):
    """Answers a request with what `answer` returns for it, as `send` does."""

    request_queue_size = 64

    def __init__(self, answer, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.answer = answer
        self.host = f"localhost:{self.server_port}"
        self.url = f"http://{self.host}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()


@contextlib.contextmanager
def unavailable_once():
    """The URL of an API whose answer to the first POST is 503. The client must wait for the two seconds of `Retry-After`
    before it sends the POST again."""
    times = []

    def answer(method, path, headers, body):
        if method == "POST":
            times.append(time.monotonic())
            if len(times) == 1:
                # Without the token, it has no effect. The answer has the headers that browsers need.
                without = {name: value for name, value in headers.items() if name.lower() != "authorization"}
                _, headers, _ = send(method, path, without, body)
                return 503, dict(headers) | {"retry-after": "2"}, b""
        return send(method, path, headers, body)

    with Relay(answer) as relay:
        yield relay.url
    first, second = times
    assert second - first >= 2, times
