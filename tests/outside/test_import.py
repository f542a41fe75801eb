"""Runs docs/import.py against the API at API_URL, through a proxy that counts and disturbs its requests."""

import json
import os
import pathlib
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
import unittest

from relay import Relay, as_back_end, send

SCRIPT = pathlib.Path(__file__).parents[2] / "docs" / "import.py"
MODULE = runpy.run_path(str(SCRIPT))
WINDOW = MODULE["WINDOW"]
ENCODINGS = ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"]
PAIR = '{"cart_id": "json-1", "customer_id": "json"}'


class Proxy(Relay):
    """The API. It records each POST and answers some otherwise: `faults` has statuses by the number of the POST, or
    "lost" for one that takes effect without an answer. POST number `held` waits for `release`."""

    # To close it is to wait until all connections have ended.
    daemon_threads = False

    def __init__(self, port=0):
        self.lock = threading.Lock()
        self.posts, self.faults, self.held = [], {}, None
        self.reached, self.release = threading.Event(), threading.Event()
        super().__init__(self.post_or_get, port)

    def post_or_get(self, method, path, headers, body):
        fault = self.record(path, json.loads(body)) if method == "POST" else None
        if isinstance(fault, int):
            return fault, {"Retry-After": "2"} if fault == 503 else {}, b"[]"
        answer = send(method, path, headers, body)
        if fault == "lost":
            raise ConnectionError
        return answer

    def record(self, path, document):
        with self.lock:
            number = len(self.posts)
            self.posts.append((path.split("/")[3], [member["id"] for member in document["data"]]))
            fault = self.faults.get(number, self.faults.get("all"))
        if number == self.held:
            self.reached.set()
            self.release.wait(60)
        return fault

    def handle_error(self, *_):
        """The script may have been killed, or the answer is "lost"."""


def stored(customers):
    """The pairs of these customers that the API lists."""
    pairs = set()
    for customer in customers:
        path = f"/v2/customers/{customer}/relationships/carts?page%5Blimit%5D=100"
        while path:
            page = as_back_end("GET", path)
            pairs |= {(cart["id"], customer) for cart in page["data"]}
            path = page["links"].get("next")
    return pairs


class Import(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.file, self.tokens = folder / "pairs.csv", folder / "tokens"
        self.proxy = self.enterContext(Proxy())
        self.addCleanup(self.proxy.release.set)

    def write(self, *lines):
        self.file.write_bytes(b"".join(line if isinstance(line, bytes) else line.encode() + b"\n" for line in lines))

    def start(self, *arguments, **environment):
        """Starts the script. Its command for a token leaves a line in `tokens` each time."""
        command = f"echo >> '{self.tokens}'; printenv BACK_END_TOKEN"
        started = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(self.file), *arguments],
            env=os.environ | {"API_URL": self.proxy.url, "GET_TOKEN": command} | environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.addCleanup(started.kill)
        return started

    def ends(self, status, sentence, *arguments, **environment):
        """Asserts how the script ends, and returns what it printed."""
        return self.ended(self.start(*arguments, **environment), status, sentence)

    def ended(self, started, status, sentence):
        _, printed = started.communicate(timeout=100)
        self.assertEqual(started.returncode, status, printed)
        self.assertIn(sentence, printed)
        return printed

    def progress_file(self):
        return self.file.with_name(self.file.name + ".progress")

    def refused(self):
        lines = self.file.with_name(self.file.name + ".refused").read_text().splitlines()
        return [(line["line"], line["code"], line["text"]) for line in map(json.loads, lines)]


class Whole(Import):
    """Three thousand pairs, with wrong lines before, in and after the window in which the import is killed."""

    WRONG = {
        17: ("cart-0001,", "unreadable_line"),
        18: ("cart-0001,bad customer", "invalid_id"),
        1400: ("bad cart,customer-01", "invalid_id"),
        1401: (b"\xff,customer-01\n", "unreadable_line"),
        2700: ("only-a-cart", "unreadable_line"),
        2900: ("cart-0289,bad/customer", "invalid_id"),
    }

    def test_an_import_that_is_killed_goes_on_where_it_was_and_misses_nothing(self):
        pairs = [(f"cart-{i // 10:04}", f"customer-{i % 20:02}") for i in range(3000)]
        lines = [",".join(pair) for pair in pairs]
        for number, (line, _) in self.WRONG.items():
            lines.insert(number - 2, line)
        # The same pair again, and lines without a pair.
        lines += ["", lines[0], '"cart-0000","customer-01"', ""]
        self.write("cart_id,customer_id", *lines)

        windows = [lines[i : i + WINDOW] for i in range(0, len(lines), WINDOW)]
        self.proxy.held = self.requests(windows[0]) + 50
        killed = self.start("--rate", "100000")
        self.assertTrue(self.proxy.reached.wait(60))
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        self.proxy.release.set()
        self.proxy.server_close()
        self.assertEqual(json.loads(self.progress_file().read_text())["lines"], 1 + WINDOW)

        self.proxy = self.enterContext(Proxy(self.proxy.server_port))
        printed = self.ends(3, "Done: 3,002 pairs are associated, 6 lines were refused.", "--rate", "100000")
        self.assertIn(f"Continuing after line 1,001 of {self.file}.", printed)
        self.assertEqual(len(self.proxy.posts), sum(map(self.requests, windows[1:])))
        self.assertEqual(
            self.refused(),
            [
                (number, code, line if isinstance(line, str) else "�,customer-01")
                for number, (line, code) in self.WRONG.items()
            ],
        )
        self.assertEqual(stored(f"customer-{i:02}" for i in range(20)), set(pairs))

        after = len(self.proxy.posts)
        self.ends(3, "Done: 3,002 pairs are associated, 6 lines were refused.")
        self.assertEqual(len(self.proxy.posts), after)

    @staticmethod
    def requests(window):
        """How many requests a window takes: one for each cart, and one more if a customer of the cart is refused."""
        texts = [line for line in window if isinstance(line, str) and "," in line and not line.endswith(",")]
        carts = {line.replace('"', "").split(",")[0] for line in texts}
        return len(carts) + sum("bad" in line.split(",")[1] for line in texts)


class Requests(Import):
    def test_at_most_a_hundred_customers_are_in_a_request(self):
        self.write("customer_id,note,cart_id", *(f"many-{i},x,many-1" for i in range(250)))
        self.ends(0, "Done: 250 pairs are associated, 0 lines")
        self.assertEqual(sorted(len(members) for _, members in self.proxy.posts), [50, 100, 100])

    def test_json_lines(self):
        self.file = self.file.with_suffix(".jsonl")
        wrong = ['{"cart_id": "json-1", "customer_id": 7}', '{"cart_id": "json-1"', "[]", '{"cart_id": "\\ud800"}']
        wrong += ['{"cart_id": "json-1", "customer_id": "\\ud800"}', "[" * 100_000, f"{PAIR}\r{PAIR}", f"{PAIR}\0"]
        self.write(f"\ufeff{PAIR}", *wrong)
        self.ends(3, "Done: 1 pairs are associated, 8 lines")
        self.assertEqual(stored(["json"]), {("json-1", "json")})
        self.assertEqual(self.refused(), [(i + 2, "unreadable_line", line) for i, line in enumerate(wrong)])

    def test_accounts_beside_customers(self):
        self.file = self.file.with_suffix(".jsonl")
        pairs = [{"cart_id": "both-1", f"{kind}_id": "both"} for kind in ["customer", "account"]]
        self.write(*map(json.dumps, pairs))
        self.ends(0, "Done: 2 pairs are associated, 0 lines")
        self.assertEqual(stored(["both"]), {("both-1", "both")})
        carts = as_back_end("GET", "/v2/accounts/both/relationships/carts")["data"]
        self.assertEqual([cart["id"] for cart in carts], ["both-1"])

    def test_csv_as_spreadsheets_save_it(self):
        self.file = self.file.with_suffix(".CSV")
        self.file.write_bytes(b"\xef\xbb\xbfcart_id,customer_id\r\ncsv-1,csv\r\ncsv\0,csv\r\ncsv-3,csv\rcsv-4,csv\r\ncsv-2,csv")
        self.ends(3, "Done: 2 pairs are associated, 2 lines")
        self.assertEqual(stored(["csv"]), {("csv-1", "csv"), ("csv-2", "csv")})
        self.assertEqual([line for line, _, _ in self.refused()], [3, 4])

    def test_pairs_are_sent_no_faster_than_the_rate(self):
        self.write("cart_id,customer_id", *(f"rate-{i},rate" for i in range(60)))
        start = time.monotonic()
        self.ends(0, "Done: 60 pairs", "--rate", "30")
        self.assertGreaterEqual(time.monotonic() - start, 59 / 30)


class Trouble(Import):
    def setUp(self):
        super().setUp()
        self.write("cart_id,customer_id", *(f"trouble-{i},trouble" for i in range(5)))

    def test_answers_that_ask_for_patience_are_waited_out(self):
        self.proxy.faults = {0: 503, 2: 429, 4: 500, 6: "lost", 8: 401}
        start = time.monotonic()
        self.ends(0, "Done: 5 pairs are associated, 0 lines", "--connections", "1")
        # Two seconds after the 503, one after each of three others.
        self.assertGreaterEqual(time.monotonic() - start, 5)
        self.assertEqual(len(self.proxy.posts), 10)
        self.assertEqual(len(self.tokens.read_text()), 2)
        self.assertEqual(stored(["trouble"]), {(f"trouble-{i}", "trouble") for i in range(5)})

    def test_an_api_that_stays_unavailable_stops_the_import(self):
        self.proxy.faults = {"all": 503}
        printed = self.ends(1, "failed 2 times: the last answer was 503", "--attempts", "2")
        self.assertTrue(printed.endswith("Run the same command again to continue.\n"), printed)
        self.proxy.faults = {}
        self.ends(0, "Done: 5 pairs")

    def test_an_import_stopped_from_the_keyboard_can_go_on(self):
        self.proxy.held = 0
        started = self.start("--connections", "1")
        self.assertTrue(self.proxy.reached.wait(60))
        started.send_signal(signal.SIGINT)
        self.proxy.release.set()
        self.ended(started, 1, "Stopped.\nRun the same command again to continue.\n")
        self.assertLess(len(self.proxy.posts), 5)
        self.ends(0, "Done: 5 pairs")

    def test_an_answer_that_patience_does_not_change_stops_the_import(self):
        for fault, sentence in {
            401: "error: the API refuses a new token too",
            403: "error: the token may not act for every customer: 403",
        }.items():
            self.proxy.faults = {"all": fault}
            self.ends(1, sentence)
            self.assertFalse(self.progress_file().exists())

    def test_nothing_is_sent_with_a_wrong_address_or_token(self):
        for sentence, environment in [
            ("customer_token_required. Check API_URL", {"GET_TOKEN": "printenv ACCESS_TOKEN"}),
            ("the API refuses a new token too", {"GET_TOKEN": "echo x"}),
            ("the command in GET_TOKEN failed", {"GET_TOKEN": "false"}),
            ("the command in GET_TOKEN failed", {"GET_TOKEN": ""}),
            ("404. Check API_URL", {"API_URL": f"{self.proxy.url}/v9"}),
            ("the command in GET_TOKEN failed", {"GET_TOKEN": "printf 'a\\nb'"}),
            ("the command in GET_TOKEN failed", {"GET_TOKEN": "printf '\\377'"}),
            ("API_URL must be the base URL", {"API_URL": ""}),
            ("API_URL must be the base URL", {"API_URL": "http://localhost:port"}),
            ("API_URL must be the base URL", {"API_URL": "http://[::1"}),
        ]:
            with self.subTest(environment):
                self.ends(1, sentence, **environment)
        self.ends(2, "must be more than 0", "--rate", "nan")
        self.assertEqual(self.proxy.posts, [])

    def test_a_file_that_cannot_be_used_is_refused_in_one_sentence(self):
        csv = "cart_id,customer_id\ntrouble-1,trouble\n"
        columns = "must name the columns cart_id and customer_id, each once, separated by commas"
        encoding, line_ends = "is in UTF-16 or UTF-32", "end with a carriage return alone"
        cases = [(".csv", csv.encode(name), encoding) for name in ENCODINGS]
        cases += [(".jsonl", PAIR.encode(name), encoding) for name in ENCODINGS]
        cases += [
            (".csv", csv.replace("\n", "\r").encode(), line_ends),
            (".jsonl", f"{PAIR}\r{PAIR}".encode(), line_ends),
            (".txt", csv.encode(), "must begin with a JSON object"),
            (".csv", b"", columns),
            (".csv", b"cart_id;customer_id\na;b\n", columns),
            (".csv", b"cart_id,customer_id,cart_id\na,b,c\n", columns),
            (".csv", b"cart_id,customer_id,\xff\na,b,c\n", "is not in UTF-8"),
            (".csv", b"cart_id,customer_id\0\na,b\n", columns),
            (".csv", b"cart_id,customer_id\ra,b\rc,d\n", columns),
            (".csv", b'cart_id,"customer_id\na,b\n', columns),
        ]
        for suffix, content, sentence in cases:
            with self.subTest(content=content), self.assertRaisesRegex(MODULE["Unusable"], sentence):
                MODULE["header"](self.file.with_suffix(suffix), content)
        for name, sentence in [("missing.csv", "No such file"), (".", "Is a directory")]:
            self.file = self.file.parent / name
            self.assertRegex(self.ends(1, f"cannot be read: {sentence}"), r"\Aerror: [^\n]*\n\Z")
        self.assertEqual(self.proxy.posts, [])

    def test_the_progress_of_another_file_is_not_taken_for_that_of_this_one(self):
        self.ends(0, "Done: 5 pairs")
        self.write("cart_id,customer_id", "trouble-9,trouble")
        self.ends(1, "is from another import")
        for progress in ["", "[]", "{}", "\xff"]:
            self.progress_file().write_text(progress, "latin-1")
            self.ends(1, "is from another import")
        self.assertEqual(len(self.proxy.posts), 5)
