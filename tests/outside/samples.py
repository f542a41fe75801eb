"""Sends the sample events of docs/development.md with the command that is printed there. EVENTS is a folder with the
events, whose tokens are valid for the API at API_URL."""

import json
import os
import re
import unittest
import urllib.parse

from documented import DOCS, run

PAGE = (DOCS / "development.md").read_text()
SECTION = PAGE.split("\n## Sample events\n")[1].split("\n## ")[0]


class Samples(unittest.TestCase):
    def test_each_event_in_the_table_gets_its_answer(self):
        [command] = re.findall(r"```sh\n(.*)\n```", SECTION)
        rows = re.findall(r"^\| `([a-z-]+)` \|.*\| `([0-9]{3})`(.*) \|$", SECTION, re.MULTILINE)
        self.assertTrue(rows)
        for event, status, codes in rows:
            with self.subTest(event):
                answer = invoke(re.sub(r"\.local/events/.*\.json", f"{os.environ['EVENTS']}/{event}.json", command))
                self.assertEqual(answer["statusCode"], int(status))
                errors = json.loads(answer.get("body") or "{}").get("errors", [])
                self.assertEqual([error["code"] for error in errors], re.findall("[a-z_]+", codes))


def invoke(command):
    port = urllib.parse.urlsplit(os.environ["API_URL"]).port
    local = ["--invoke-address", "127.0.0.1", "--invoke-port", str(port)]
    return json.loads(run(*command.split(), *local))
