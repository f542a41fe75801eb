"""Writes what CloudFormation makes of the templates: `transform.py FOLDER`, with the SAM CLI's Python.

One file for each stack of each set of parameters below, and one of the variant for Managed Instances. The parameters'
values are the defaults of the transformed template, so that linters judge the resources that these parameters make.
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
}
ACCOUNT = "us-east-1:111122223333"
KEY = f"arn:aws:kms:{ACCOUNT}:key/1"
STREAM = f"arn:aws:dynamodb:{ACCOUNT}:table/restored/stream/2026-11-24T02:50:00.000"
TOPICS = {"PageTopicArn": f"arn:aws:sns:{ACCOUNT}:page", "TicketTopicArn": f"arn:aws:sns:{ACCOUNT}:ticket"}
BOUNDARY = {"PermissionsBoundaryArn": "arn:aws:iam::111122223333:policy/boundary"}
# Of each set, the parameters of the main stack, and of the stacks beside it.
SETS = {
    "dev": ({"Stage": "dev", "Deployment": "AllAtOnce", "RollBackOnAlarms": "false", "Watching": "false"}, {}),
    "prod": (
        {
            "Stage": "prod",
            "CustomerTokenJwks": "https://login.example.com/keys",
            "CustomerTokenIssuer": "https://login.example.com",
            "CustomerTokenAudience": "shop",
            "AccountTokenJwks": "https://accounts.example.com/keys",
            "AccountTokenIssuer": "https://accounts.example.com",
            "AccountTokenAudience": "members",
            "AccountTokenClaims": '{"token_use":"account"}',
            "CartTokenJwks": "https://carts.example.com/keys",
            "CartTokenIssuer": "https://carts.example.com",
            "CartTokenAudience": "cart-holders",
            "AssociationLifetimeDays": "30",
            "ReservedConcurrency": "100",
            "ProvisionedConcurrency": "2",
            "WarmWriteUnits": "20000",
            "Tracing": "Active",
        },
        {},
    ),
    "options": (
        {
            "AllowedOrigins": "https://shop.example.com,https://example.com",
            "DisableExecuteApiEndpoint": "true",
            "TableKeyArn": KEY,
            "ReplicaRegion": "eu-west-1",
            "AccountIndexes": "first",
            "TableStream": "true",
        },
        {
            "domain": {
                "ApiId": "a1b2c3",
                "DomainName": "carts.example.com",
                "CertificateArn": f"arn:aws:acm:{ACCOUNT}:certificate/1",
                "HostedZoneId": "Z1",
            },
            "events": {"EventBusName": "shop", "TableKeyArn": KEY, "TableStreamArn": STREAM},
            "close-carts": {
                "ApiUrl": "https://a1b2c3.execute-api.us-east-1.amazonaws.com",
                "EventBusName": "shop",
                "EventPattern": '{"detail-type":["Cart Deleted"]}',
                "TokenUrl": "https://auth.example.com/token",
                "ClientSecretArn": f"arn:aws:secretsmanager:{ACCOUNT}:secret:back-end",
                "TokenScope": "carts",
            },
        },
    ),
    "topic": (
        TOPICS | BOUNDARY | {"ExistingTableName": "restored", "CreateTable": "false"},
        {
            "events": BOUNDARY
            | {"TicketTopicArn": TOPICS["TicketTopicArn"], "EventBusName": "default", "TableStreamArn": STREAM}
        },
    ),
}


def patched(template):
    """Writes the template with the patch, which must still fit, to this file."""
    patch = "deploy/managed-instances.patch"
    subprocess.run(["patch", "--quiet", "--fuzz=0", f"--output={template}", "template.yaml", patch], check=True)
    return template


def with_defaults(template, parameters):
    unknown = parameters.keys() - template["Parameters"].keys()
    assert not unknown, f"there is no parameter {unknown}"
    for name, value in parameters.items():
        template["Parameters"][name]["Default"] = value
    return template


def transformed(parameters, template=pathlib.Path("template.yaml")):
    template = yaml_parse(template.read_text())
    # Where `sam deploy` puts the built function.
    template["Resources"]["Function"]["Properties"]["CodeUri"] = "s3://artifacts/function"
    defaults = {name: p["Default"] for name, p in template["Parameters"].items() if "Default" in p}
    result = transform(template, defaults | parameters, ManagedPolicyLoader(None))
    result["Resources"]["WatchingStack"]["Properties"]["TemplateURL"] = "https://artifacts.s3.amazonaws.com/watching"
    return with_defaults(result, parameters)


def main():
    # The translator asks boto3 for a region, and says much about its own features.
    os.environ["AWS_DEFAULT_REGION"] = "us-east-1"
    logging.disable(logging.WARNING)
    folder = pathlib.Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    written = {}
    for name, (parameters, optional) in SETS.items():
        written[name] = transformed(REQUIRED | parameters)
        for stack, own in optional.items():
            template = yaml_parse(pathlib.Path("deploy", f"{stack}.yaml").read_text())
            written[f"{name}-{stack}"] = with_defaults(template, own)
    written["watching"] = yaml_parse(pathlib.Path("deploy/watching.yaml").read_text())
    variant = patched(folder / "managed-instances.yaml")
    provider = {"CapacityProviderArn": f"arn:aws:lambda:{ACCOUNT}:capacity-provider:carts"}
    written["managed-instances"] = transformed(REQUIRED | provider, variant)
    for name, template in written.items():
        (folder / f"{name}.json").write_text(json.dumps(template, indent=1))
    for old in folder.glob("*.json"):
        if old.stem not in written:
            old.unlink()


main()
