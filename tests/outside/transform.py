"""Writes what CloudFormation makes of template.yaml: `transform.py FOLDER`, with the SAM CLI's Python.

One file for each set of parameters below, and one of the variant for Managed Instances. The parameters' values are the defaults of the transformed template, so that
linters judge the resources that these parameters make.
"""

import json
import logging
import os
import pathlib
import subprocess
import sys

from samcli.yamlhelper import yaml_parse
from samtranslator.translator.managed_policy_translator import ManagedPolicyLoader
from samtranslator.translator.transform import transform

REQUIRED = {
    "AccessTokenJwks": "https://auth.example.com/keys",
    "AccessTokenIssuer": "https://auth.example.com",
    "AccessTokenAudience": "carts",
    "CustomerTokenJwks": "https://login.example.com/keys",
    "CustomerTokenIssuer": "https://login.example.com",
    "CustomerTokenAudience": "shop",
}
ACCOUNT = "us-east-1:111122223333"
SETS = {
    "dev": {"Stage": "dev", "Deployment": "AllAtOnce", "RollBackOnAlarms": "false"},
    "prod": {
        "Stage": "prod",
        "CartTokenJwks": "https://carts.example.com/keys",
        "CartTokenIssuer": "https://carts.example.com",
        "CartTokenAudience": "cart-holders",
        "AssociationLifetimeDays": "30",
        "ReservedConcurrency": "100",
        "ProvisionedConcurrency": "2",
        "WarmWriteUnits": "20000",
        "Tracing": "Active",
    },
    "domain": {
        "DomainName": "carts.example.com",
        "CertificateArn": f"arn:aws:acm:{ACCOUNT}:certificate/1",
        "HostedZoneId": "Z1",
        "AllowedOrigins": "https://shop.example.com,https://example.com",
    },
    "key": {
        "TableKeyArn": f"arn:aws:kms:{ACCOUNT}:key/1",
        "ReplicaRegion": "eu-west-1",
        "ContributorInsights": "true",
    },
    "events": {
        "EventBusName": "shop",
        "TableKeyArn": f"arn:aws:kms:{ACCOUNT}:key/1",
    },
    "topic": {
        "PageTopicArn": f"arn:aws:sns:{ACCOUNT}:page",
        "TicketTopicArn": f"arn:aws:sns:{ACCOUNT}:ticket",
        "PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary",
        "ExistingTableName": "restored",
        "CreateTable": "false",
        "EventBusName": "default",
        "ExistingTableStreamArn": f"arn:aws:dynamodb:{ACCOUNT}:table/restored/stream/2026-11-24T02:50:00.000",
    },
}


# Those of the template with docs/deploy/managed-instances.patch.
MANAGED_INSTANCES = {
    "CapacityProviderArn": "arn:aws:lambda:us-east-1:111122223333:capacity-provider:carts",
}


def patched(template):
    """Writes the template with the patch, which must still fit, to this file."""
    patch = "docs/deploy/managed-instances.patch"
    subprocess.run(["patch", "--quiet", "--fuzz=0", f"--output={template}", "template.yaml", patch], check=True)
    return template


def transformed(parameters, template=pathlib.Path("template.yaml")):
    template = yaml_parse(template.read_text())
    # Where `sam deploy` puts the built function.
    template["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://artifacts/function"
    unknown = parameters.keys() - template["Parameters"].keys()
    assert not unknown, f"template.yaml has no parameter {unknown}"
    defaults = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
    result = transform(template, defaults | parameters, ManagedPolicyLoader(None))
    for name, value in parameters.items():
        result["Parameters"][name]["Default"] = value
    return result


def main():
    # The translator asks boto3 for a region, and says much about its own features.
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    logging.disable(logging.WARNING)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name, parameters in SETS.items():
        text = json.dumps(transformed(REQUIRED | parameters), indent=1)
        (folder / f"{name}.json").write_text(text)
    variant = transformed(REQUIRED | MANAGED_INSTANCES, patched(folder / "managed-instances.yaml"))
    (folder / "managed-instances.json").write_text(json.dumps(variant, indent=1))


main()
