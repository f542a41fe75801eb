#!/usr/bin/env python3
"""The arithmetic of costs.md: `python3 docs/costs.py` writes its tables anew, and the two sentences of README.md and faq.md
that quote them. With `--check` it only says whether they are up to date. `--programs RATE MS…` is for `make bench`. Every assumption is here, once."""

import json
import math
import pathlib
import runpy
import sys

SECONDS_A_MONTH = 730 * 3600
GB = 2**30

# Assumed of the function. BILLED_MS is a guess until a deployed function has been measured.
BILLED_MS = 8
MEMORY_MB = 256
VCPU_MB = 1769  # the memory that comes with a whole processor ("Configure Lambda function memory", AWS)
LOG_BYTES = 1150  # the function's line with its metrics, measured, with a function name of 40 characters
WARN_LOG_BYTES = 860  # the same at LogLevel=WARN: metrics alone
ACCESS_LOG_BYTES = 360  # the gateway's line
LOG_EVENT_OVERHEAD = 26  # CloudWatch adds it to each line
LOG_COMPRESSED = 0.15  # of what is kept
RETENTION_MONTHS = 1  # 30 days
ANSWER_BYTES = 600  # with its headers
# Outcomes that occur, cold and warm, the store's two, the key sets' four, refused tokens of all and of three versions,
# the gateway's throttles.
OWN_METRICS = 25

# What callers do, in parts of all requests. Storefronts and back ends often ask for the same twice.
MIX = {
    "POST, new": 0.25,
    "POST, repeated": 0.25,
    "DELETE": 0.10,
    "GET of a list": 0.40,
}

# Assumed of the pipe. AWS does not say how often it reads a shard; Lambda does so four times a second.
STREAM_SHARDS, STREAM_READS_A_SECOND = 4, 4
EXPRESS_SECONDS, EXPRESS_MB = 0.1, 64  # the least that is billed

# Sizes: of names and values in UTF-8; ids are UUIDs (36), times have 24 characters. An index copies what it is told to
# and the table's key.
UUID, TIME = 36, 24
ATTRIBUTES = {
    "id": UUID + 1 + UUID,
    "cart_id": UUID,
    "customer_id": UUID,
    "associated_at": TIME,
    "associated_by": UUID,
    "write_id": UUID,
}
IN_INDEX = ["id", "cart_id", "customer_id", "associated_at"]
ITEM_OVERHEAD = 100  # DynamoDB counts so much for storage, of each item and each item of an index


def size(names):
    return sum(len(name) + ATTRIBUTES[name] for name in names)


ITEM = size(ATTRIBUTES)
INDEX_ITEM = size(IN_INDEX)


def write_units(size_bytes):
    return -(-size_bytes // 1024)


def read_units(count):
    return -(-count * INDEX_ITEM // 4096) / 2


TABLE_WRITE, INDEX_WRITES = write_units(ITEM), 2 * write_units(INDEX_ITEM)
# (write units, read units) of one request.
UNITS = {
    "POST, new": (TABLE_WRITE + INDEX_WRITES, 0),
    "POST, repeated": (TABLE_WRITE, 0),
    "POST that renews a lifetime, at most once a day": (TABLE_WRITE + TABLE_WRITE + INDEX_WRITES, 0),
    "POST within an hour of a removal": (TABLE_WRITE + TABLE_WRITE + INDEX_WRITES, 0),
    "POST of 100, all new": (100 * (2 * TABLE_WRITE + INDEX_WRITES), 0),
    "POST of 100, repeated": (100 * 2 * TABLE_WRITE, 0),
    "DELETE": (TABLE_WRITE + INDEX_WRITES, 0),
    "DELETE of what is not there": (TABLE_WRITE, 0),
    "PATCH that removes a thousand": (1000 * (2 * TABLE_WRITE + INDEX_WRITES), read_units(1000)),
    "GET of a list": (0, read_units(3)),
    "GET of a list, a page of 25": (0, read_units(27)),
    "GET of a list, a page of 100": (0, read_units(102)),
    "GET of a cart's customers, by one of them": (0, read_units(3) + 1),
}

# List prices in us-east-1, in dollars; sources in costs.md.
PER_MILLION_WRITE_UNITS = 0.625
PER_MILLION_READ_UNITS = 0.125
PER_MILLION_INVOCATIONS = 0.20
PER_GB_SECOND = 0.0000133334  # arm64
PER_GB_STORED = 0.25 + 0.20  # table, point-in-time recovery
PER_LOG_GB_KEPT = 0.03
PER_METRIC, PER_ALARM_METRIC, PER_DASHBOARD = 0.30, 0.10, 3.00
ALARM_METRICS = 36  # a test counts them in the template
EVENT_ALARM_METRICS = 2  # those of events.yaml, likewise
PER_MILLION_EVENTS, PER_MILLION_PIPED = 1.00, 0.40
PER_MILLION_EXPRESS, PER_EXPRESS_GB_SECOND = 1.00, 0.00001667
PER_MILLION_STREAM_READS = 0.20
PER_MILLION_TRACES = 5.00
PER_GB_SECOND_PROVISIONED = 0.0000033334  # arm64
# Managed Instances: what is paid in place of Lambda's duration.
INSTANCE = "m7g.large"
INSTANCE_VCPUS = 2
PER_INSTANCE_HOUR = 0.0816
MANAGEMENT_FEE = 0.15  # of the instance's price
LEAST_INSTANCES = 3  # one in each of three zones
INSTANCE_LOAD = 0.5  # of its processors: Lambda starts further ones above that
PROCESSOR_MS = 0.25  # a request's time on a processor: performance.md
PER_ENDPOINT_HOUR = 0.01  # CloudWatch Logs, in each zone
PER_MILLION_REST, PER_MILLION_WAF = 3.50, 0.60
GATEWAY = [(300e6, 1.00e-6), (float("inf"), 0.90e-6)]
LOGS = [(10 * 1024, 0.50), (20 * 1024, 0.25), (20 * 1024, 0.10), (float("inf"), 0.05)]
TRANSFER = [(100, 0), (10 * 1024, 0.09), (40 * 1024, 0.085), (float("inf"), 0.07)]


def tiered(amount, tiers):
    cost = 0
    for width, price in tiers:
        part = min(amount, width)
        cost += part * price
        amount -= part
    return cost


def bill(rate, billed_ms=BILLED_MS):
    requests = rate * SECONDS_A_MONTH
    millions = requests / 1e6
    writes = sum(part * UNITS[name][0] for name, part in MIX.items())
    reads = sum(part * UNITS[name][1] for name, part in MIX.items())
    log_gb = requests * (LOG_BYTES + LOG_EVENT_OVERHEAD) / GB
    access_gb = requests * (ACCESS_LOG_BYTES + LOG_EVENT_OVERHEAD) / GB
    added = (MIX["POST, new"] - MIX["DELETE"]) * requests
    return {
        "API Gateway, requests": tiered(requests, GATEWAY),
        "API Gateway, data out": tiered(requests * ANSWER_BYTES / GB, TRANSFER),
        "Lambda, invocations": millions * PER_MILLION_INVOCATIONS,
        "Lambda, duration": requests * billed_ms / 1000 * MEMORY_MB / 1024 * PER_GB_SECOND,
        "DynamoDB, write units": millions * writes * PER_MILLION_WRITE_UNITS,
        "DynamoDB, read units": millions * reads * PER_MILLION_READ_UNITS,
        "DynamoDB, what a month adds": added * stored() / GB * PER_GB_STORED,
        "Logs of the function": tiered(log_gb, LOGS),
        "Logs of the gateway": tiered(access_gb, LOGS),
        "Logs, kept": (log_gb + access_gb) * LOG_COMPRESSED * RETENTION_MONTHS * PER_LOG_GB_KEPT,
        "Metrics, alarms, dashboard": OWN_METRICS * PER_METRIC
        + ALARM_METRICS * PER_ALARM_METRIC
        + PER_DASHBOARD,
    }


def options(rate):
    """What parameters of the template add to the bill."""
    requests = rate * SECONDS_A_MONTH
    # One a second and one in twenty of the others.
    traces = (min(rate, 1) + 0.05 * max(rate - 1, 0)) * SECONDS_A_MONTH
    usual, quiet = (requests * (size + LOG_EVENT_OVERHEAD) / GB for size in (LOG_BYTES, WARN_LOG_BYTES))
    of_table = bill(rate)
    return {
        "`Tracing=Active`": traces / 1e6 * PER_MILLION_TRACES,
        "`LogLevel=WARN`": tiered(quiet, LOGS) - tiered(usual, LOGS),
        "`ProvisionedConcurrency=1`": SECONDS_A_MONTH * MEMORY_MB / 1024 * PER_GB_SECOND_PROVISIONED,
        "`events.yaml`": events(requests),
        # The replica also pays for the deletion of each tombstone, which is free where TTL does it.
        "`ReplicaRegion`": of_table["DynamoDB, write units"]
        + of_table["DynamoDB, what a month adds"]
        + MIX["DELETE"] * requests / 1e6 * TABLE_WRITE * PER_MILLION_WRITE_UNITS,
    }


def instances(rate):
    return max(LEAST_INSTANCES, math.ceil(rate * PROCESSOR_MS / 1000 / (INSTANCE_VCPUS * INSTANCE_LOAD)))


def on_instances(rate):
    """What Managed Instances cost in place of Lambda's duration."""
    instance = PER_INSTANCE_HOUR * (1 + MANAGEMENT_FEE)
    return SECONDS_A_MONTH / 3600 * (instances(rate) * instance + LEAST_INSTANCES * PER_ENDPOINT_HOUR)


def cheaper_from():
    """The requests a second from which Managed Instances are cheaper, to the hundred."""
    return next(rate for rate in range(100, 1_000_000, 100) if on_instances(rate) < bill(rate)["Lambda, duration"])


def events(requests):
    """Each change is filtered, made an event in an execution of its own, at worst, and sent."""
    changes = (MIX["POST, new"] + MIX["DELETE"]) * requests
    reads = STREAM_SHARDS * STREAM_READS_A_SECOND * SECONDS_A_MONTH
    return (
        changes / 1e6 * (PER_MILLION_PIPED + PER_MILLION_EXPRESS + PER_MILLION_EVENTS)
        + changes * EXPRESS_SECONDS * EXPRESS_MB / 1024 * PER_EXPRESS_GB_SECOND
        + reads / 1e6 * PER_MILLION_STREAM_READS
        + EVENT_ALARM_METRICS * PER_ALARM_METRIC
    )


ROUTES = 13  # a test counts them in the template
FLOOD_RATE = 100  # ThrottlingRate by default, likewise


def floods():
    """What a day of forged tokens costs that takes all that the gateway lets through, in front of different things."""
    requests = ROUTES * FLOOD_RATE * 24 * 3600
    gateway_log = requests * (ACCESS_LOG_BYTES + LOG_EVENT_OVERHEAD) / GB * LOGS[0][1]
    function = (
        requests / 1e6 * PER_MILLION_INVOCATIONS
        + requests * BILLED_MS / 1000 * MEMORY_MB / 1024 * PER_GB_SECOND
        + tiered(requests * (LOG_BYTES + LOG_EVENT_OVERHEAD) / GB, LOGS)
    )
    return {
        "HTTP API, as the template has it": requests * GATEWAY[0][1] + gateway_log + function,
        "HTTP API with a JWT authorizer": gateway_log,
        "REST API": requests / 1e6 * PER_MILLION_REST + gateway_log + function,
        "REST API behind a WAF that blocks it": requests / 1e6 * PER_MILLION_WAF,
    }


def stored():
    return ITEM + ITEM_OVERHEAD + 2 * (INDEX_ITEM + ITEM_OVERHEAD)


def an_import(members):
    """What a million new pairs cost, without storage, in requests of so many customers each."""
    requests = 1e6 / members
    units = UNITS["POST of 100, all new"][0] / 100 if members > 1 else UNITS["POST, new"][0]
    return requests, {
        "requests": requests * (GATEWAY[0][1] + PER_MILLION_INVOCATIONS / 1e6),
        "duration": requests * BILLED_MS / 1000 * MEMORY_MB / 1024 * PER_GB_SECOND,
        "writes": units * PER_MILLION_WRITE_UNITS,
        "logs": requests * (LOG_BYTES + ACCESS_LOG_BYTES + 2 * LOG_EVENT_OVERHEAD) / GB * LOGS[0][1],
    }


def table(columns, rows):
    """A table of Markdown. All columns but the first have numbers."""
    lines = [columns, ["---", *["---:"] * (len(columns) - 1)], *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def per_rate(rates, rows):
    return table(["$ a month", *(f"{rate:,}/s" for rate in rates)], rows)


def dollars(name, costs):
    return [name, *(f"{cost:,.2f}" for cost in costs)]


def tables():
    rates = [1, 100, 10_000]
    bills, added = [bill(rate) for rate in rates], [options(rate) for rate in rates]
    totals = [sum(one.values()) for one in bills]
    rows = [dollars(name, [one[name] for one in bills]) for name in bills[0]]
    rows.append(["**together**", *(f"**{total:,.0f}**" for total in totals)])
    rows.append(dollars("a million requests", [t / (r * SECONDS_A_MONTH / 1e6) for t, r in zip(totals, rates)]))
    yield "bill", per_rate(rates, rows)
    yield "options", per_rate(rates, [dollars(name, [one[name] for one in added]) for name in added[0]])

    rows = [[name, f"{cost:,.0f}"] for name, cost in floods().items()]
    yield "flood", table([f"{ROUTES * FLOOD_RATE:,} requests a second", "$ a day"], rows)

    rates = [100, 1000, 10_000, 50_000]
    rows = [
        dollars("Lambda, duration", [bill(rate)["Lambda, duration"] for rate in rates]),
        dollars("Managed Instances", map(on_instances, rates)),
        ["instances", *(str(instances(rate)) for rate in rates)],
    ]
    yield "instances", per_rate(rates, rows) + [
        "",
        f"Cheaper from {cheaper_from():,} requests a second. Assumed: {INSTANCE} on demand, at least {LEAST_INSTANCES}, a"
        f" fee of {MANAGEMENT_FEE:.0%}, {PROCESSOR_MS} ms on a processor per request, processors {INSTANCE_LOAD:.0%}"
        f" busy, an endpoint for CloudWatch Logs in each of {LEAST_INSTANCES} zones. A commitment to instances lowers it.",
    ]

    rows = [[name, f"{writes:g}", f"{reads:g}"] for name, (writes, reads) in UNITS.items()]
    yield "units", table(["request", "write units", "read units"], rows)

    minutes = 1e6 / runpy.run_path(str(pathlib.Path(__file__).with_name("import.py")))["RATE"] / 60
    rows = []
    for members in [1, 2, 10]:
        requests, costs = an_import(members)
        rows.append([f"{members}", f"{requests:,.0f}", f"{minutes:,.0f}", f"{sum(costs.values()):,.2f}"])
    yield "import", table(["customers of a cart", "requests", "minutes", "$"], rows)

    mix = ", ".join(f"{part:.0%} {name}" for name, part in MIX.items())
    yield "assumed", [
        f"- Requests: {mix}; lists are short (3 carts).",
        f"- The function: {BILLED_MS} ms billed at {MEMORY_MB} MB on arm64, a guess until a deployed one is measured.",
        f"- Logs: {LOG_BYTES} bytes a request by the function, {ACCESS_LOG_BYTES} by the gateway, kept for 30 days.",
        f"- An association takes {ITEM} bytes in the table and {INDEX_ITEM} in each index, {stored()} with all that"
        f" DynamoDB counts for storage: {1e6 * stored() / GB:.2f} GB a million.",
    ]


def in_readme():
    once, often = (sum(bill(rate).values()) for rate in [1, 100])
    million = often / (100 * SECONDS_A_MONTH / 1e6)
    yield "cost", [
        f"At list prices, 1 request a second costs about ${once:,.0f} a month, and 100 a second about ${often:,.0f}, which is",
        f"${million:,.2f} a million. [docs/costs.md](docs/costs.md) has every assumption.",
    ]


def in_faq():
    cost = floods()["HTTP API, as the template has it"]
    yield "attack", [f"At the default limits, about ${cost:,.0f} a day, if all routes are flooded at once."]


def of_programs(rate, processor_ms):
    """The bill of programs that need so much of a processor per request and wait as long for DynamoDB: all of it, and
    the duration's part."""
    for ms in processor_ms:
        costs = bill(rate, BILLED_MS + (ms - PROCESSOR_MS) * VCPU_MB / MEMORY_MB)
        yield sum(costs.values()), costs["Lambda, duration"]


def main():
    if sys.argv[1:2] == ["--programs"]:
        rate, *processor_ms = map(float, sys.argv[2:])
        return print(json.dumps(list(of_programs(rate, processor_ms))))
    if sys.argv[1:] not in ([], ["--check"]):
        sys.exit("usage: python3 docs/costs.py [--check]")
    folder = pathlib.Path(__file__).parent
    for page, blocks in [("costs.md", tables), ("../README.md", in_readme), ("faq.md", in_faq)]:
        write(folder / page, blocks())


def write(page, blocks):
    old = text = page.read_text()
    for name, lines in blocks:
        begin, end = f"<!-- {name} -->\n", f"<!-- /{name} -->"
        before, rest = text.split(begin)
        _, after = rest.split(end)
        text = before + begin + "\n".join([*lines, end]) + after
    if sys.argv[1:] == ["--check"]:
        if text != old:
            sys.exit(f"error: {page.name} is not what docs/costs.py computes; run python3 docs/costs.py")
    else:
        page.write_text(text)


if __name__ == "__main__":
    main()
