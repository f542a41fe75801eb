"""`make deploy`, `make preview`, `make variables`, and what `make smoke STAGE=…` asks AWS, with the SAM CLI's Python.

deploy.py deploy|preview|live|variables STAGE [--build FOLDER] [--zip FILE] [NAME=VALUE…]

Everything that can be known to be wrong is said first: the stage's parameters, commits, credentials. Then the function
is built, unless there is a build or a zip of it, and the main stack is deployed, then the optional stacks that the stage
asks for, in their order.
"""

import argparse
import hashlib
import json
import os
import pathlib
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.request

import boto3
import botocore.exceptions
import parameters
import tomlkit
from botocore.config import Config

SAM = str(pathlib.Path(sys.executable).with_name("sam"))
WORK = pathlib.Path(".aws-sam")
# What `make variables` prints of the outputs of the stacks that exist. Of a name, the last counts.
VARIABLES = [
    ("API_URL", "template.yaml", "ApiUrl"),
    ("API_URL", "domain.yaml", "DomainUrl"),
    ("API_ID", "template.yaml", "ApiId"),
    ("FUNCTION", "template.yaml", "FunctionName"),
    ("TABLE", "template.yaml", "TableName"),
    ("EVENTS_PIPE", "events.yaml", "PipeName"),
    ("EVENTS_QUEUE", "events.yaml", "DeadLettersUrl"),
    ("CARTS_QUEUE", "close-carts.yaml", "DeadLettersUrl"),
]


class Failed(Exception):
    """A sentence that says what is wrong."""


def git(*arguments):
    done = subprocess.run(["git", *arguments], capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else None


def commit():
    return git("describe", "--always", "--exclude", "*", "--dirty") or "uncommitted"


def for_once(text):
    """The values of the variable PARAMETERS, as written: a value ends before the next “ Name=”."""
    values = re.split(r"\s+(?=[A-Z][A-Za-z0-9]*=)", text.strip()) if text.strip() else []
    if any("=" not in one for one in values):
        raise Failed(f"PARAMETERS must be Name=value …, and is {text.strip()}")
    return dict(one.split("=", 1) for one in values)


class Account:
    """The account and region of a stage."""

    def __init__(self, stage):
        try:
            config = tomlkit.parse(pathlib.Path("samconfig.toml").read_text()).unwrap()[stage]["deploy"]["parameters"]
        except KeyError:
            raise Failed(
                f"samconfig.toml has no section [{stage}.deploy.parameters] with the stage's stack and region."
            ) from None
        self.main_stack, self.region = config["stack_name"], config["region"]
        self.session = boto3.session.Session(region_name=self.region)
        self.cloudformation = self.client("cloudformation")

    def client(self, service):
        return self.session.client(service, config=Config(connect_timeout=5, retries={"max_attempts": 3}))

    def check_credentials(self):
        try:
            self.client("sts").get_caller_identity()
        except (botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError) as error:
            raise Failed(f"AWS takes no credentials from here: {' '.join(str(error).split())}") from error

    def stack(self, name):
        """The stack's description, or None."""
        try:
            return self.cloudformation.describe_stacks(StackName=name)["Stacks"][0]
        except botocore.exceptions.ClientError as error:
            if "does not exist" in str(error):
                return None
            raise

    def outputs(self, name):
        stack = self.stack(name) or {}
        return {output["OutputKey"]: output["OutputValue"] for output in stack.get("Outputs", [])}

    def of_template(self, template):
        """The name of a template's stack: cart-associations-prod-events for deploy/events.yaml."""
        return self.main_stack if template == parameters.MAIN else f"{self.main_stack}-{pathlib.Path(template).stem}"

    def deployed(self):
        """The main stack's description."""
        stack = self.stack(self.main_stack)
        if not (stack and stack.get("Outputs")):
            raise Failed(f"there is no stack {self.main_stack} in {self.region}")
        return stack


def unpacked(archive):
    """The folder of a build that consists of a released zip."""
    code = pathlib.Path(archive).read_bytes()
    folder = WORK / f"zip-{hashlib.sha256(code).hexdigest()[:12]}"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "deploy").mkdir(parents=True)
    (folder / "function.zip").write_bytes(code)
    shutil.copy("deploy/watching.yaml", folder / "deploy")
    template = pathlib.Path(parameters.MAIN).read_text()
    (folder / "template.yaml").write_text(template.replace("      CodeUri: .\n", "      CodeUri: function.zip\n"))
    return folder


def check(path, architecture):
    subprocess.run([".ci/check-artifact", str(path), architecture], check=True)


def built(asked, stage, architecture):
    """The folder of a build with the template that SAM deploys."""
    if asked.zip:
        check(asked.zip, architecture)
        return unpacked(asked.zip)
    folder = pathlib.Path(asked.build)
    usable = folder.is_dir() and not folder.name.endswith("-uncommitted")
    if not usable and stage.startswith("prod"):
        raise Failed(
            f"this commit was not built here, and {stage} gets what was tested on dev: run make deploy STAGE=dev first,"
            " or make build, or give a released zip with ZIP=…"
        )
    if not usable:
        subprocess.run(["make", "build", f"ARCHITECTURE={architecture}"], check=True)
    check(folder / "Function", architecture)
    return folder


def sam_deploy(stage, stack, template, values, preview):
    overrides = WORK / f"{stack}.yaml"
    overrides.write_text(json.dumps(values, indent=1))  # SAM only takes JSON as YAML.
    command = [SAM, "deploy", "--config-file", os.path.abspath("samconfig.toml"), "--config-env", stage]
    command += ["--stack-name", stack, "--template-file", str(template)]
    command += ["--parameter-overrides", f"file://{overrides}"] + (["--no-execute-changeset"] if preview else [])
    subprocess.run(command, check=True)


def keep_keys(values, folder):
    """Copies the issuers' public keys, for the day on which a key server is down. A copy that fails is no mistake."""
    for kind in parameters.KINDS:
        url = values[f"{kind}TokenJwks"]
        if not url.startswith("http"):
            continue
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                keys = json.loads(answer.read(256 * 1024))
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{kind}TokenJwks.json").write_text(json.dumps(keys))
        except (OSError, ValueError) as error:
            print(f"No copy of the keys at {url}: {error}", file=sys.stderr)


def deploy(asked):
    preview, stage = asked.action == "preview", asked.stage
    account = Account(stage)
    release = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{commit()}"
    given = {"Stage": "prod" if stage.startswith("prod") else "dev", "Release": release}
    given |= dict(one.split("=", 1) for one in asked.values) | for_once(os.environ.get("PARAMETERS", ""))
    values = parameters.of_stage(stage, given)
    main = values[parameters.MAIN]
    if not preview and stage.startswith("prod") and git("status", "--porcelain") != "":
        raise Failed(f"there are changes that are not committed: commit them, {stage} is deployed from a commit.")
    account.check_credentials()
    exists = {name for name in parameters.OPTIONAL if account.stack(account.of_template(name))}
    # While the stack of the events exists, its pipe reads the stream, asked for or not.
    main["TableStream"] = str("deploy/events.yaml" in values or "events.yaml" in exists).lower()
    WORK.mkdir(exist_ok=True)
    folder = built(asked, stage, main["Architecture"])
    for template, own in values.items():
        stack = account.of_template(template)
        if template != parameters.MAIN:
            optional = parameters.read(template)
            outputs = account.outputs(account.main_stack).items()
            own |= {name: value for name, value in outputs if name in optional["Parameters"] and not own.get(name)}
            if wrong := list(parameters.checked(optional, own)):
                if preview:
                    print(f"{stack} can be shown once {account.main_stack} is deployed.")
                    continue
                raise Failed(f"{template}: {' '.join(wrong)}")
        sam_deploy(stage, stack, folder / template if template == parameters.MAIN else template, own, preview)
    for name in sorted(exists - {pathlib.Path(template).name for template in values}):
        stack = account.of_template(name)
        print(
            f"{stack} exists, and {stage}.yaml asks for it no more. To delete it:"
            f" aws cloudformation delete-stack --region {account.region} --stack-name {stack}"
        )
    if not preview:
        keep_keys(main, WORK / f"keys-{stage}")


def live(asked):
    """Says what the alias `live` runs, and fails if that is not what this commit's deployment meant."""
    account = Account(asked.stage)
    given = account.deployed()["Parameters"]
    meant = next(one["ParameterValue"] for one in given if one["ParameterKey"] == "Release")
    function = account.outputs(account.main_stack)["FunctionName"]
    functions = account.client("lambda")
    alias = functions.get_alias(FunctionName=function, Name="live")
    version = functions.get_function_configuration(FunctionName=function, Qualifier=alias["FunctionVersion"])
    print(f"live runs version {alias['FunctionVersion']}, release {version.get('Description')}")
    if weights := alias.get("RoutingConfig", {}).get("AdditionalVersionWeights"):
        raise Failed(f"a rollout is under way: other versions get a part of the requests, {weights}")
    if version.get("Description") != meant:
        raise Failed(f"the stack's release is {meant}: somebody moved the alias")
    if not meant.endswith(f"-{commit()}"):
        raise Failed(f"this is {commit()}, which is not what was deployed last: was it reverted?")


def variables(asked):
    """What the commands of docs/procedures.md need, for `eval`."""
    account = Account(asked.stage)
    account.deployed()
    outputs = {name: account.outputs(account.of_template(name)) for name in [parameters.MAIN, *parameters.OPTIONAL]}
    # The first for version 2 of the AWS CLI, the second for version 1.
    values = {"AWS_REGION": account.region, "AWS_DEFAULT_REGION": account.region, "STACK": account.main_stack}
    for name, template, output in VARIABLES:
        if output in outputs[template]:
            values[name] = outputs[template][output]
    print("export", *(f"{name}={shlex.quote(value)}" for name, value in values.items()))


def main():
    actions = {"deploy": deploy, "preview": deploy, "live": live, "variables": variables}
    parser = argparse.ArgumentParser()
    parser.add_argument("action", choices=actions)
    parser.add_argument("stage")
    parser.add_argument("--build")
    parser.add_argument("--zip")
    parser.add_argument("values", nargs="*")
    asked = parser.parse_intermixed_args()
    try:
        actions[asked.action](asked)
    except (Failed, parameters.Mistakes) as failed:
        sys.exit(f"error: {failed}")
    except subprocess.CalledProcessError:
        sys.exit(1)


if __name__ == "__main__":
    main()
