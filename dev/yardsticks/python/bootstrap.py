"""Calls the handler for each event of the Runtime API, as Lambda's own runtime for Python does."""

import http.client
import json
import os

from handler import handler

api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])


def call(method, path, body=None):
    api.request(method, f"/2018-06-01/runtime/invocation/{path}", body)
    response = api.getresponse()
    return response.headers, response.read()


while True:
    headers, event = call("GET", "next")
    answer = handler(json.loads(event), None)
    call("POST", f"{headers['lambda-runtime-aws-request-id']}/response", json.dumps(answer))
