"""The events that deploy/events.yaml makes of the function's own writes, without AWS: `make test-events`. And what
deploy/close-carts.yaml sends for the events of a shop.

The API at API_URL writes to the DynamoDB at DYNAMODB_ENDPOINT, whose stream is read. What AWS does with a record is done
by AWS's own parts, which the template configures: Event Ruler tries the pipe's filters, JSONata evaluates the
enrichment. Each case has a cart of its own. With the SAM CLI's Python, which has boto3 and jsonschema.
"""

import json
import os
import time
import unittest
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import boto3
import jsonschema

from documented import DOCS, run
from relay import send

ROOT = DOCS.parent
RESOURCES = json.loads((ROOT / "target/transformed/options-events.json").read_text())["Resources"]
CLOSE_CARTS = json.loads((ROOT / "target/transformed/options-close-carts.json").read_text())
PIPE = RESOURCES["EventPipe"]["Properties"]
ASSOCIATED, DISSOCIATED = "Cart Customer Associated", "Cart Customer Dissociated"
OF_ACCOUNTS = {"Cart Account Associated", "Cart Account Dissociated"}
SCHEMAS = {
    schema["properties"]["detail-type"]["const"]: schema
    for schema in (json.loads(file.read_text()) for file in (DOCS / "events").glob("*.json"))
}
BACK_END, STOREFRONT = "local-back-end", "local-storefront"
LOCAL = {
    "endpoint_url": os.environ["DYNAMODB_ENDPOINT"],
    "region_name": "us-east-1",
    "aws_access_key_id": "local",
    "aws_secret_access_key": "local",
}
TABLE = boto3.resource("dynamodb", **LOCAL).Table("cart-associations")


def call(method, cart, *ids, kind="customer", signed_in=False, copy=0):
    """The status of the answer to a back end, or to a storefront whose customer or account has signed in. There are two
    copies of the function, each with an API of its own."""
    host = urllib.parse.urlsplit(os.environ[["API_URL", "OTHER_API_URL"][copy]]).netloc
    token = os.environ["ACCESS_TOKEN" if signed_in else ["BACK_END_TOKEN", "OTHER_TOKEN"][copy]]
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    if signed_in:
        headers |= {
            "customer": {"x-moltin-customer-token": os.environ["CUSTOMER_TOKEN"]},
            "account": {"EP-Account-Management-Authentication-Token": os.environ["ACCOUNT_TOKEN"]},
        }[kind]
    body = json.dumps({"data": [{"type": kind, "id": one} for one in ids]})
    return send(method, f"/v2/carts/{cart}/relationships/{kind}s", headers, body, host)[0]


def expect(status, *arguments, **options):
    answered = call(*arguments, **options)
    assert answered == status, f"{arguments} was answered with {answered}"


def key(cart, customer):
    return {"id": f"{cart}#{customer}"}


def stored(cart, customer):
    return TABLE.get_item(Key=key(cart, customer), ConsistentRead=True).get("Item")


def plant(cart, party, kind="customer", **attributes):
    """Writes an association as versions without events did."""
    item = {
        "id": f"{cart}#{party}" if kind == "customer" else f"{cart}#{kind}#{party}",
        "cart_id": cart,
        f"{kind}_id": party,
        "associated_at": "2026-01-01T00:00:00.000Z",
        "associated_by": "planted",
        "write_id": f"planted-{cart}",
    }
    TABLE.put_item(Item=item | attributes)


def ends_at(cart, customer, seconds):
    change, values = "SET expires_at = :end", {":end": seconds}
    TABLE.update_item(Key=key(cart, customer), UpdateExpression=change, ExpressionAttributeValues=values)


def records():
    """All records of the stream, each as a pipe gets it."""
    streams, arn = boto3.client("dynamodbstreams", **LOCAL), TABLE.latest_stream_arn
    description = streams.describe_stream(StreamArn=arn)["StreamDescription"]
    for shard in description["Shards"]:
        position = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        while position:
            page = streams.get_records(ShardIterator=position)
            if not page["Records"]:
                break
            for record in page["Records"]:
                change = record["dynamodb"]
                change["ApproximateCreationDateTime"] = change["ApproximateCreationDateTime"].timestamp()
                yield record
            position = page.get("NextShardIterator")


def filtered(all_records):
    """The records that the pipe's filters let through."""
    patterns = [filter["Pattern"] for filter in PIPE["SourceParameters"]["FilterCriteria"]["Filters"]]
    command = ["java", "-cp", os.environ["EVENT_RULER"] + "/*", str(ROOT / "tests/outside/EventRuler.java"), *patterns]
    lines = run(*command, text="\n".join(map(json.dumps, all_records))).splitlines()
    return [record for record, matches in zip(all_records, lines, strict=True) if "1" in matches]


def enriched(batches):
    """What the state machine, a single step, makes of batches."""
    [state] = RESOURCES["EventDetails"]["Properties"]["Definition"]["States"].values()
    assert (state["Type"], state["End"]) == ("Pass", True)
    expression = state["Output"].removeprefix("{%").removesuffix("%}")
    program = """
        const jsonata = require('jsonata');
        const { expression, batches } = JSON.parse(require('fs').readFileSync(0));
        const shape = (input) => jsonata(expression).evaluate(undefined, { states: { input } });
        Promise.all(batches.map(shape)).then((shaped) => console.log(JSON.stringify(shaped)));
    """
    return json.loads(run("node", "-e", program, text=json.dumps({"expression": expression, "batches": batches})))


def at_path(event, path):
    """The value at a path such as $.a.b."""
    for name in path.removeprefix("$.").split("."):
        event = event[name]
    return event


def events(all_records):
    """What the bus gets."""
    passed = filtered(all_records)
    size = PIPE["SourceParameters"]["DynamoDBStreamParameters"]["BatchSize"]
    target = PIPE["TargetParameters"]
    batches = [passed[start : start + size] for start in range(0, len(passed), size)]
    for batch, shaped in zip(batches, enriched(batches), strict=True):
        assert len(batch) == len(shaped)
        for event in shaped:
            yield {
                "source": target["EventBridgeEventBusParameters"]["Source"],
                "detail-type": at_path(event, target["EventBridgeEventBusParameters"]["DetailType"]),
                "detail": at_path(event, target["InputTemplate"].strip("<>")),
            }


class Events(unittest.TestCase):
    """The requests of all cases are sent first, so that the stream is read once."""

    @classmethod
    def setUpClass(cls):
        off = {"AttributeName": "expires_at", "Enabled": False}
        TABLE.meta.client.update_time_to_live(TableName=TABLE.name, TimeToLiveSpecification=off)
        cls.now = now = int(time.time())
        ron = os.environ["CUSTOMER"]

        expect(200, "POST", "created", "ron")
        expect(200, "POST", "repeated", "ron")
        expect(204, "POST", "repeated", "ron")

        expect(200, "POST", "several", "a", "b", "c")
        expect(200, "POST", "several", "a", "d")
        expect(204, "DELETE", "several", "b", "nobody")

        expect(200, "POST", "removed", ron)
        expect(204, "DELETE", "removed", ron, signed_in=True)
        expect(204, "DELETE", "nothing", "ron")
        expect(204, "DELETE", "nothing", "ron")
        expect(200, "POST", "again", "ron")
        expect(204, "DELETE", "again", "ron")
        expect(200, "POST", "again", "ron")

        plant("renewed", "ron", expires_at=now + 3600)
        expect(204, "POST", "renewed", "ron")
        assert "renewed_at" in stored("renewed", "ron")
        ends_at("renewed", "ron", now + 3600)
        expect(204, "POST", "renewed", "ron")
        assert stored("renewed", "ron")["expires_at"] > now + 86400
        expect(204, "DELETE", "renewed", "ron")
        assert "renewed_at" not in stored("renewed", "ron")
        expect(200, "POST", "renewed", "ron")

        plant("expired", "ron", expires_at=now - 60)
        expect(200, "POST", "expired", "ron")
        plant("expired-and-removed", "ron", expires_at=now - 60)
        expect(204, "DELETE", "expired-and-removed", "ron")
        plant("expired-while-renewed", "ron", expires_at=now + 3600)
        expect(204, "POST", "expired-while-renewed", "ron")
        ends_at("expired-while-renewed", "ron", now - 60)
        expect(200, "POST", "expired-while-renewed", "ron")

        plant("old", "ron")
        expect(204, "POST", "old", "ron")
        expect(204, "DELETE", "old", "ron")
        plant("odd", "ron", associated_by='a "client" with \\ and <$.detail> in ü')

        expect(200, "POST", "by-hand", "ron")
        TABLE.delete_item(Key=key("by-hand", "ron"))
        expect(204, "DELETE", "by-hand-nothing", "ron")
        TABLE.delete_item(Key=key("by-hand-nothing", "ron"))

        expect(200, "POST", "cleared", "a", "b", "c")
        expect(204, "DELETE", "cleared", "b")
        expect(204, "PATCH", "cleared")
        expect(204, "PATCH", "cleared")

        acme = os.environ["ACCOUNT"]
        expect(200, "POST", "of-account", acme, kind="account", signed_in=True)
        expect(204, "POST", "of-account", acme, kind="account", signed_in=True)
        # The customer of the same id has events of its own.
        expect(200, "POST", "of-account", acme)
        expect(204, "DELETE", "of-account", acme, kind="account", signed_in=True)
        expect(200, "POST", "of-account", acme, kind="account")
        plant("of-account-expired", acme, kind="account", expires_at=now - 60, acted_by="ron")
        expect(204, "DELETE", "of-account-expired", acme, kind="account", signed_in=True)

        cls.created = cls.race()

        # DynamoDB Local's own TTL fails on an item that is not in each index, as every item is.
        plant("ttl", "ron", expires_at=now - 60)
        TABLE.delete_item(Key=key("ttl", "ron"))

        cls.records = list(records())
        cls.events = list(events(cls.records))

    @staticmethod
    def race():
        """Callers of both copies associate and remove the same two customers. Returns how many POSTs were answered with
        200."""
        def caller(copy):
            for _ in range(10):
                yield call("POST", "race", "a", "b", copy=copy) == 200
                call("DELETE", "race", "a", "b", copy=copy)

        with ThreadPoolExecutor() as pool:
            return sum(pool.map(lambda copy: sum(caller(copy)), [0, 1]))

    def of(self, cart):
        """The events of a cart: type, customer, and reason or client."""
        return [(event["detail-type"], event["detail"]) for event in self.events if event["detail"]["cart_id"] == cart]

    def short(self, cart):
        of = [(kind, detail) for kind, detail in self.of(cart) if kind not in OF_ACCOUNTS]
        return [(kind.split()[-1], detail["customer_id"], detail.get("reason")) for kind, detail in of]

    def test_each_cart_has_the_events_of_its_changes(self):
        made, removed, expired = ("Associated", None), ("Dissociated", "removed"), ("Dissociated", "expired")
        for cart, expected in {
            "created": [made],
            # A repeated POST changes nothing, and neither does a removal of nothing.
            "repeated": [made],
            "nothing": [],
            "by-hand-nothing": [],
            "again": [made, removed, made],
            # A renewal is no event.
            "renewed": [made, removed, made],
            # An association over an expired one is new.
            "expired": [made, made],
            "expired-while-renewed": [made, made],
            "expired-and-removed": [made, expired],
            # As DynamoDB deletes it after its lifetime.
            "ttl": [made, expired],
            # Of versions without events.
            "old": [made, removed],
            "by-hand": [made, removed],
        }.items():
            with self.subTest(cart):
                self.assertEqual(self.short(cart), [(kind, "ron", reason) for kind, reason in expected])
        first, _, second = [detail["write_id"] for _, detail in self.of("again")]
        self.assertNotEqual(first, second)

    def test_an_account_has_events_of_its_own_that_name_who_acted(self):
        acme, person = os.environ["ACCOUNT"], os.environ["CUSTOMER"]

        def changes(cart):
            of = [(kind.split()[-1], detail) for kind, detail in self.of(cart) if kind in OF_ACCOUNTS]
            self.assertEqual({detail["account_id"] for _, detail in of}, {acme})
            return [(kind, detail.get("acted_by"), detail.get("reason")) for kind, detail in of]

        self.assertEqual(
            changes("of-account"),
            [("Associated", person, None), ("Dissociated", person, "removed"), ("Associated", None, None)],
        )
        self.assertEqual(changes("of-account-expired"), [("Associated", "ron", None), ("Dissociated", None, "expired")])
        self.assertEqual(self.short("of-account"), [("Associated", acme, None)])

    def test_an_event_is_as_its_schema_says(self):
        self.assertGreater(len(self.events), 30)
        for event in self.events:
            schema = SCHEMAS[event["detail-type"]]
            jsonschema.validate(event, schema, jsonschema.Draft202012Validator)
            # The schemas are for consumers, so they allow more.
            self.assertLessEqual(event["detail"].keys(), schema["properties"]["detail"]["properties"].keys())

    def test_the_examples_of_the_schemas_are_valid(self):
        self.assertEqual(SCHEMAS.keys(), {ASSOCIATED, DISSOCIATED} | OF_ACCOUNTS)
        for schema in SCHEMAS.values():
            jsonschema.Draft202012Validator.check_schema(schema)
            for example in schema["examples"]:
                jsonschema.validate(example, schema)

    def test_each_customer_of_a_request_has_an_event(self):
        self.assertEqual(
            sorted(self.short("several")[:4]), [("Associated", customer, None) for customer in ["a", "b", "c", "d"]]
        )
        self.assertEqual(self.short("several")[4:], [("Dissociated", "b", "removed")])
        ids = {detail["customer_id"]: detail["write_id"] for _, detail in self.of("several")}
        self.assertEqual(ids["a"], ids["c"])
        self.assertNotEqual(ids["a"], ids["d"])

    def test_a_removal_names_its_client_and_the_association_that_ended(self):
        [(associated, made), (dissociated, ended)] = self.of("removed")
        self.assertEqual((associated, dissociated), (ASSOCIATED, DISSOCIATED))
        self.assertEqual((made["client"], ended["client"]), (BACK_END, STOREFRONT))
        self.assertEqual(made["write_id"], ended["write_id"])
        self.assertEqual(ended["reason"], "removed")
        self.assertLess(made["at"], ended["at"])

    def test_what_a_removal_finds_expired_ended_at_its_end(self):
        _, detail = self.of("expired-and-removed")[1]
        self.assertNotIn("client", detail)
        self.assertEqual(detail["at"], time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(self.now - 60)))

    def test_what_dynamodb_deletes_has_expired(self):
        # This record does not say who deleted the item, as that of a replica. AWS says so where its TTL did.
        [record] = [
            record
            for record in self.records
            if record["dynamodb"]["Keys"]["id"]["S"] == "ttl#ron" and "NewImage" not in record["dynamodb"]
        ]
        self.assertNotIn("userIdentity", record)
        identity = {"principalId": "dynamodb.amazonaws.com", "type": "Service"}
        self.assertEqual(list(events([record | {"userIdentity": identity}])), list(events([record])))

    def test_the_name_of_a_client_stays_as_it_is(self):
        [(_, detail)] = self.of("odd")
        self.assertEqual(detail["client"], 'a "client" with \\ and <$.detail> in ü')

    def test_a_deletion_by_hand_has_no_client(self):
        self.assertNotIn("client", self.of("by-hand")[1][1])

    def test_clearing_a_cart_removes_each_customer_once(self):
        self.assertEqual(
            sorted(self.short("cleared")[3:]), [("Dissociated", customer, "removed") for customer in ["a", "b", "c"]]
        )

    def test_the_events_of_a_race_alternate(self):
        self.assertGreater(self.created, 1)
        for customer in ["a", "b"]:
            kinds = [kind for kind, detail in self.of("race") if detail["customer_id"] == customer]
            self.assertEqual(kinds, [ASSOCIATED, DISSOCIATED] * self.created)

    def test_times_order_the_events_of_an_association_and_ids_tell_them_apart(self):
        last, seen = {}, set()
        for event in self.events:
            detail = event["detail"]
            association = detail["cart_id"], detail.get("customer_id"), detail.get("account_id")
            self.assertLess(last.get(association, ""), detail["at"])
            last[association] = detail["at"]
            # Planted ones share theirs.
            identity = event["detail-type"], detail["write_id"], *association
            self.assertNotIn(identity, seen)
            seen.add(identity)


class CartsThatEnd(unittest.TestCase):
    """The rule of deploy/close-carts.yaml, and the requests that it sends, as its template says them."""

    RULE = CLOSE_CARTS["Resources"]["CartsThatEnd"]["Properties"]

    def test_its_events_are_those_of_the_parameter(self):
        self.assertEqual(self.RULE["EventPattern"], {"Ref": "EventPattern"})

    def value(self, property):
        """What !Ref and !Sub make of the parameters' values."""
        values = {name: one.get("Default", "") for name, one in CLOSE_CARTS["Parameters"].items()}
        values["ApiUrl"] = os.environ["API_URL"]
        if "Ref" in property:
            return values[property["Ref"]]
        return property["Fn::Sub"].replace("${ApiUrl}", values["ApiUrl"])

    def test_the_cart_has_no_customers_and_no_accounts_afterwards(self):
        expect(200, "POST", "ended", "ron", "hermione")
        expect(200, "POST", "ended", "acme", kind="account")
        expect(200, "POST", "goes-on", "ron")
        for target in self.RULE["Targets"]:
            name = target["Arn"]["Fn::GetAtt"][0]
            destination = CLOSE_CARTS["Resources"][name]["Properties"]
            [path] = map(self.value, target["HttpParameters"]["PathParameterValues"])
            url = self.value(destination["InvocationEndpoint"]).replace("*", at_path({"detail": {"cart_id": "ended"}}, path))
            path = url.removeprefix(os.environ["API_URL"])
            # What EventBridge sends with it ("API destinations", AWS).
            headers = {"Content-Type": "application/json; charset=utf-8"}
            headers["Authorization"] = f"Bearer {os.environ['BACK_END_TOKEN']}"
            status, _, _ = send(destination["HttpMethod"], path, headers, target["Input"])
            self.assertEqual(status, 204, name)
        for party in ["ron", "hermione", "account#acme"]:
            self.assertNotIn("associated_at", stored("ended", party))
        self.assertIn("associated_at", stored("goes-on", "ron"))

    def test_what_is_not_sent_in_a_day_is_kept(self):
        for target in self.RULE["Targets"]:
            self.assertEqual(target["RetryPolicy"]["MaximumEventAgeInSeconds"], 24 * 3600)
            self.assertEqual(target["DeadLetterConfig"], {"Arn": {"Fn::GetAtt": ["DeadLetters", "Arn"]}})
