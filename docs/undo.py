#!/usr/bin/env python3
"""Makes a file for docs/import.py of the associations that were removed between two moments.

`python3 docs/undo.py [--removed-by CLIENT] EXPORT…` reads the data files (*.json.gz) of an incremental export of the
table with new and old images, in DYNAMODB_JSON, and prints JSON Lines. With a client, only what that client removed.
docs/procedures.md, "Undo a removal", has the commands. Standard library only.
"""

import argparse
import gzip
import json
import sys
import time


def removed(record, removed_by, now):
    """The pair of an association that a record removed and that would still live, or None."""
    old, new = record.get("OldImage", {}), record.get("NewImage", {})
    if "associated_at" not in old or "associated_at" in new:
        return None
    if "expires_at" in old and int(old["expires_at"]["N"]) <= now:
        return None
    if removed_by and new.get("removed_by", {}).get("S") != removed_by:
        return None
    names = ["cart_id", "account_id" if "account_id" in old else "customer_id"]
    return {name: old[name]["S"] for name in names}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--removed-by", metavar="CLIENT")
    parser.add_argument("exports", metavar="EXPORT", nargs="+")
    asked = parser.parse_args()
    for path in asked.exports:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                if pair := removed(json.loads(line), asked.removed_by, time.time()):
                    print(json.dumps(pair))


if __name__ == "__main__":
    try:
        main()
    except (OSError, ValueError, LookupError) as error:
        sys.exit(f"error: this is no incremental export with new and old images: {error}")
