"""`make deploy` and `make preview` with the real SAM CLI, a stand-in for AWS, and a compiler that does nothing."""

import argparse
import contextlib
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import urllib.parse
import zipfile
from unittest import mock

import yaml
from samcli.yamlhelper import yaml_parse

from aws import STREAM, Aws

sys.path.insert(0, "deploy")
import deploy  # noqa: E402
import parameters  # noqa: E402

ROOT = pathlib.Path(__file__).parents[2]
NEEDED = [".cargo", ".ci", ".gitignore", "Cargo.lock", "Cargo.toml", "Makefile", "deploy", "rust-toolchain.toml"]
NEEDED += ["samconfig.toml", "src", "template.yaml"]
STAGES = "deploy/stages"

KEYS = {"keys": [{"kid": "1", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
STAGE = {
    "AccessTokenJwks": KEYS,
    "AccessTokenIssuer": "https://auth.example.com",
    "AccessTokenAudience": "carts",
    "CustomerTokenJwks": KEYS,
    "CustomerTokenIssuer": "https://login.example.com",
    "CustomerTokenAudience": "shop and more",
    "AllowedOrigins": ["https://shop.example.com", "https://example.com"],
}

CERTIFICATE = "arn:aws:acm:us-east-1:111122223333:certificate/1"
# How the workflow hands the build on.
PACK = "tar -cf build.tar .aws-sam/*-*"
UNPACK = 'tar -xf "$RUNNER_TEMP/build.tar"'
DEPLOY = 'make deploy STAGE="$STAGE" ROLLBACK="$ROLLBACK" PARAMETERS="$PARAMETERS"'
WORKFLOW = yaml.safe_load((ROOT / ".github/workflows/deploy.yml").read_text())

# Stands for cargo and cargo-lambda: counts its calls, and leaves a program of which only the header is right.
CARGO = """#!/usr/bin/env python3
import pathlib, struct, sys
if sys.argv[1:3] != ["lambda", "build"]:
    sys.exit(1)
calls = pathlib.Path(__file__).with_name("calls")
calls.write_text((calls.read_text() if calls.exists() else "") + " ".join(sys.argv[1:]) + chr(10))
machine = 183 if "--arm64" in sys.argv else 62
header = struct.pack("<16sHHIQQQIHHHHHH", b"\\x7fELF\\x02\\x01\\x01", 3, machine, 1, 0, 0, 0, 0, 64, 56, 0, 64, 0, 0)
built = pathlib.Path("target/lambda/cart-associations/bootstrap")
built.parent.mkdir(parents=True, exist_ok=True)
built.write_bytes(header + calls.read_bytes())
built.chmod(0o755)
"""


def git(project, *arguments):
    name = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
    return subprocess.run(["git", *name, *arguments], cwd=project, check=True, capture_output=True, text=True).stdout


def setUpModule():
    """Makes a project in which the function is built, which each test copies."""
    global BASE
    BASE = pathlib.Path(unittest.enterModuleContext(tempfile.TemporaryDirectory()))
    (BASE / "tools").mkdir()
    for name, text in [("cargo", CARGO), ("cargo-lambda", "#!/bin/sh\n"), ("rustup", "#!/bin/sh\n")]:
        (BASE / "tools" / name).write_text(text)
        (BASE / "tools" / name).chmod(0o755)
    project = BASE / "project"
    for name in NEEDED:
        source, target = ROOT / name, project / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
    for stage in (project / STAGES).glob("*.yaml"):
        if stage.name != "example.yaml":
            stage.unlink()
    (project / ".local").symlink_to(ROOT / ".local")
    git(project, "init", "--quiet")
    # Some git ignores a folder by a pattern with a slash, and a link not.
    (project / ".git/info/exclude").write_text(".local\n")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Change")
    environment = os.environ | {"PATH": f"{BASE / 'tools'}:{os.environ['PATH']}"}
    subprocess.run(["make", "build"], cwd=project, env=environment, check=True, stdout=subprocess.DEVNULL)


class Deploy(unittest.TestCase):
    def setUp(self):
        folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()), "copy")
        shutil.copytree(BASE, folder, symlinks=True)
        self.tools, self.project = folder / "tools", folder / "project"
        self.aws = self.enterContext(Aws())

    def git(self, *arguments):
        return git(self.project, *arguments)

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def stage(self, stage, **values):
        """Writes and commits the parameters of a stage."""
        self.stage_file(stage).write_text(yaml.safe_dump(STAGE | values))
        self.commit()

    def stage_file(self, stage):
        return self.project / STAGES / f"{stage}.yaml"

    def environment(self):
        return {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "HOME": str(self.project.parent),
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-north-1",
            "SAM_CLI_POLL_DELAY": "0.1",
            # Else a body is sent in chunks.
            "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        }

    def make(self, *arguments):
        return self.run_alone(["make", *arguments])

    def run_alone(self, command, **variables):
        """Runs a command without a terminal, and returns its exit status and what it prints."""
        done = subprocess.run(
            command,
            cwd=self.project,
            env=self.environment() | variables,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout

    def deploys_all(self, *arguments):
        """Deploys, and returns what CloudFormation was asked to do."""
        before = len(self.aws.executed)
        self.succeeds("deploy", *arguments)
        return self.aws.executed[before:]

    def succeeds(self, *arguments):
        status, printed = self.make(*arguments)
        self.assertEqual(status, 0, printed)
        return printed

    def deploys(self, *arguments):
        """Deploys one stack, and returns what CloudFormation was asked to do."""
        [change] = self.deploys_all(*arguments)
        return change

    def refuses(self, sentence, *arguments):
        """Is told why in one line, before anything is built or sent."""
        before = len(self.aws.change_sets), self.builds()
        status, printed = self.make(*arguments)
        self.assertNotEqual(status, 0, printed)
        errors = [line for line in printed.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, printed)
        self.assertIn(sentence, errors[0])
        self.assertEqual((len(self.aws.change_sets), self.builds()), before)

    def mistake(self, sentence):
        """The parameters of dev are wrong, for this reason."""
        with self.assertRaisesRegex(parameters.Mistakes, re.escape(sentence)):
            self.values()

    def values(self, **given):
        """The parameters of dev, of each template."""
        with contextlib.chdir(self.project):
            return parameters.of_stage("dev", {"Stage": "dev", "Release": "1"} | given)

    def deploys_here(self, action="deploy"):
        """What deploy.py would have SAM deploy to dev: the parameters of each stack, and what is printed."""
        changes = {}

        def sam_deploy(_, stack, template, values, preview):
            self.assertEqual(preview, action == "preview")
            changes[stack] = values
            self.aws.stacks["us-east-1", stack] = {"type": "UPDATE", "parameters": values}

        asked = argparse.Namespace(action=action, stage="dev", values=["Architecture=arm64"])
        with (
            contextlib.chdir(self.project),
            mock.patch.dict(os.environ, self.environment()),
            mock.patch.multiple(deploy, sam_deploy=sam_deploy, built=lambda *_: self.project),
            contextlib.redirect_stdout(io.StringIO()) as printed,
        ):
            deploy.deploy(asked)
        return changes, printed.getvalue()

    def builds(self):
        return len((self.tools / "calls").read_text().splitlines())

    def template(self, change_set):
        return yaml_parse(self.aws.objects[change_set["template"]].decode())

    def code(self, change_set):
        """The function that a change set deploys."""
        uri = self.template(change_set)["Resources"]["Function"]["Properties"]["CodeUri"]
        return self.aws.objects[uri.removeprefix("s3:/")]

    def test_the_first_and_the_second_deployment_of_both_stages(self):
        self.stage("dev", Deployment="AllAtOnce", LogRetentionDays=14)
        self.stage("prod", LogRetentionDays=90)
        config = (self.project / "samconfig.toml").read_text()
        dev, prod = config.split("[prod")
        self.assertIn('region = "us-east-1"', prod)
        (self.project / "samconfig.toml").write_text(dev + "[prod" + prod.replace("us-east-1", "eu-west-1"))
        self.commit()
        commit = self.git("rev-parse", "HEAD")
        releases = set()
        for kind in ["CREATE", "UPDATE"]:
            for stage, region, days, rollout in [
                ("dev", "us-east-1", "14", "AllAtOnce"),
                ("prod", "eu-west-1", "90", "Canary10Percent5Minutes"),
            ]:
                with self.subTest(stage=stage, kind=kind):
                    change = self.deploys(f"STAGE={stage}")
                    self.assertEqual(change["stack"], f"cart-associations-{stage}")
                    self.assertEqual(change["region"], region)
                    self.assertEqual(change["type"], kind)
                    self.assertEqual(change["capabilities"], "CAPABILITY_IAM")
                    self.assertEqual(change["tags"], {"Application": "cart-associations", "Stage": stage})
                    given = change["parameters"]
                    for name, value in {
                        "Stage": stage,
                        "Deployment": rollout,
                        "LogRetentionDays": days,
                        "AccessTokenIssuer": "https://auth.example.com",
                        "CustomerTokenAudience": "shop and more",
                        "AllowedOrigins": "https://shop.example.com,https://example.com",
                        "RollBackOnAlarms": "true",
                        "Architecture": "arm64",
                        "Tracing": "PassThrough",
                        "PageTopicArn": "",
                    }.items():
                        self.assertEqual(given[name], value, name)
                    self.assertEqual(json.loads(given["CustomerTokenJwks"]), KEYS)
                    # A parameter that is left out would keep its last value.
                    self.assertEqual(given.keys(), parameters.read("template.yaml")["Parameters"].keys())
                    self.assertTrue(given["Release"].endswith(f"-{commit[:7]}"), given["Release"])
                    releases.add(given["Release"])
        self.assertEqual(len(releases), 4)
        # Nothing was built for prod, and nothing a second time.
        self.assertEqual(self.builds(), 1)
        [code] = {self.code(change) for change in self.aws.executed}
        with zipfile.ZipFile(io.BytesIO(code)) as archive:
            [program] = archive.infolist()
        self.assertEqual(program.filename, "bootstrap")
        self.assertEqual(program.external_attr >> 16 & 0o111, 0o111)
        self.assertEqual(self.git("status", "--porcelain"), "")

    def test_a_value_for_one_deployment_is_gone_with_the_next(self):
        self.stage("dev", ThrottlingRate=500)
        names = ["RollBackOnAlarms", "ReservedConcurrency", "ThrottlingRate"]
        given = self.deploys("ROLLBACK=false", "PARAMETERS=ReservedConcurrency=0 ThrottlingRate=7")["parameters"]
        self.assertEqual([given[name] for name in names], ["false", "0", "7"])
        # No shell reads the values, and JSON keeps its quotes.
        claims = '{"azp": ["web shop", "$(touch here)", "`touch here`", "it\'s; touch here"]}'
        given = self.deploys(f"PARAMETERS=AccessTokenClaims={claims}  LogLevel=DEBUG")["parameters"]
        self.assertEqual((given["AccessTokenClaims"], given["LogLevel"]), (claims, "DEBUG"))
        self.assertFalse((self.project / "here").exists())
        self.refuses("PARAMETERS must be Name=value", "deploy", "PARAMETERS=DEBUG")
        # Nor does a line stay that was deleted from the stage's file.
        self.stage("dev")
        given = self.deploys()["parameters"]
        self.assertEqual([given[name] for name in names], ["true", "", "100"])

    def test_what_is_not_committed_goes_to_dev_and_not_to_prod(self):
        self.stage("dev")
        self.stage("prod")
        (self.project / "src/lib.rs").write_text("// Changed.\n")
        for builds in [2, 3]:
            change = self.deploys()
            self.assertTrue(change["parameters"]["Release"].endswith("-dirty"))
            self.assertEqual(self.builds(), builds)
        self.refuses("not committed", "deploy", "STAGE=prod")
        self.refuses("not built here", "preview", "STAGE=prod")
        self.commit()
        self.refuses("not built here", "deploy", "STAGE=prod")
        dev = self.deploys()
        self.assertEqual(self.builds(), 4)
        # A commit that changes parameters alone needs no build.
        self.stage("prod", ThrottlingRate=5)
        prod = self.deploys("STAGE=prod")
        self.assertEqual(prod["parameters"]["ThrottlingRate"], "5")
        self.assertEqual(self.builds(), 4)
        self.assertEqual(self.code(prod), self.code(dev))

    def test_another_machine_deploys_what_was_built_for_dev(self):
        self.stage("dev")
        self.stage("prod")
        dev = self.deploys()
        jobs = WORKFLOW["jobs"]
        steps = {name: [step.get("run") for step in job["steps"]] for name, job in jobs.items()}
        self.assertLess(steps["build"].index('make build STAGE="$STAGE"'), steps["build"].index(PACK))
        for stage in ["dev", "prod"]:
            self.assertLess(steps[stage].index(UNPACK), steps[stage].index(DEPLOY))
        self.assertEqual(jobs["prod"]["needs"], ["build", "dev"])
        condition = jobs["prod"]["if"].strip("${} \n").replace("!cancelled()", "True")
        condition = condition.replace("&&", "and").replace("||", "or").replace("\n", " ")
        for event, stage, dev_result, starts in [
            ("push", "", "success", True),
            ("push", "", "failure", False),
            ("workflow_dispatch", "dev", "success", False),
            ("workflow_dispatch", "prod", "skipped", True),
        ]:
            values = {"github.event_name": event, "inputs.stage": stage, "needs.build.result": "success"}
            text = condition
            for name, value in (values | {"needs.dev.result": dev_result}).items():
                text = text.replace(name, repr(value))
            self.assertIs(eval(text), starts, text)

        subprocess.run(["sh", "-c", PACK], cwd=self.project, check=True)
        archive = self.project / "build.tar"
        archive.rename(self.project.parent / archive.name)
        self.project = self.project.rename(self.project.with_name("old"))
        new = self.project.with_name("new")
        self.git("clone", "--quiet", ".", str(new))
        self.project = new
        (new / ".local").symlink_to(ROOT / ".local")
        (new / ".git/info/exclude").write_text(".local\n")
        self.refuses("not built here", "deploy", "STAGE=prod")
        subprocess.run(["sh", "-c", UNPACK], cwd=new, env=os.environ | {"RUNNER_TEMP": str(new.parent)}, check=True)
        prod = self.deploys("STAGE=prod")
        self.assertEqual(self.code(prod), self.code(dev))
        self.assertEqual(self.builds(), 1)
        # As some ways to hand files on leave it: Lambda could not start it.
        [program] = (new / ".aws-sam").glob("*/Function/bootstrap")
        program.chmod(0o644)
        self.refuses("not executable", "deploy", "STAGE=prod")

    def test_a_stage_is_built_for_its_processor(self):
        self.stage("dev", Architecture="x86_64")
        self.assertEqual(self.deploys()["parameters"]["Architecture"], "x86_64")
        _, call = (self.tools / "calls").read_text().splitlines()
        self.assertNotIn("--arm64", call)

    def test_a_mistake_is_one_sentence_before_anything_is_built(self):
        self.refuses("copy deploy/stages/example.yaml", "deploy")
        self.stage("staging")
        self.refuses("samconfig.toml has no section [staging.deploy.parameters]", "deploy", "STAGE=staging")
        shutil.copy(self.stage_file("example"), self.stage_file("dev"))
        self.mistake("AccessTokenJwks, AccessTokenIssuer, AccessTokenAudience must have a value.")
        self.stage_file("dev").write_text("AccessTokenIssuer: [")
        self.mistake("is not YAML")
        for name, value, sentence in [
            ("CustomerTokenJwks", "http://login.example.com/keys", "an https URL, or empty"),
            ("ThrottlingRate", 0, "must be a whole number from 1 to 100000"),
            ("LogRetentionDays", 15, "must be one of 1, 3,"),
            ("AllowedOrigins", ["https://shop.example.com/cart"], "without a path"),
            ("AlarmTopicArn", "", "AlarmTopicArn is no parameter"),
            ("Stage", "prod", "Stage is set by make deploy"),
            ("ErrorDocsUrl", "https://example.com/" + "x" * 4096, "not have more than 4096 characters"),
            ("AccessTokenGrantClaim", "gty", "BackEndClaim replaces it"),
            ("EventBusName", "shop", "it belongs into the section events.yaml"),
            ("CustomerTokenJwks", "", "Customer tokens need a key set, an issuer and an audience, or none"),
            ("CreateTable", "false", "the stack needs ExistingTableName"),
            ("CustomerTokenClaims", "{token_use}", "must be a JSON object of"),
            ("CustomerTokenClaims", {"azp": {"a": 1}}, "must be a JSON object of"),
            ("events.yaml", {}, "events.yaml: EventBusName must have a value"),
            ("domain.yaml", {"Name": "x"}, "Name is no parameter"),
            ("probe.yaml", {}, "probe.yaml is none of events.yaml, domain.yaml, close-carts.yaml"),
        ]:
            with self.subTest(name):
                self.stage("dev", **{name: value})
                self.mistake(sentence)

    def test_no_token_may_be_of_two_kinds(self):
        one = {"CustomerTokenIssuer": STAGE["AccessTokenIssuer"]}
        for values in [
            {"CustomerTokenAudience": "carts"},
            {"CustomerTokenAudience": "shop , carts"},
            {"CustomerTokenAudience": "carts", "CustomerTokenClaims": {"token_use": "id"}},
            {
                "CustomerTokenAudience": "carts",
                "CustomerTokenClaims": {"azp": ["web", None]},
                "AccessTokenClaims": {"azp": None, "token_use": "access"},
            },
        ]:
            with self.subTest(values):
                self.stage("dev", **one, **values)
                self.mistake("Access tokens and customer tokens must differ in issuer")
        self.stage(
            "dev",
            **one,
            CustomerTokenAudience="carts",
            CustomerTokenClaims={"token_use": "id"},
            AccessTokenClaims={"token_use": ["access", 1]},
        )
        given = self.values()[parameters.MAIN]
        self.assertEqual(json.loads(given["AccessTokenClaims"]), {"token_use": ["access", 1]})

    def test_without_credentials_nothing_is_built(self):
        self.stage("dev")
        self.aws.signed_in = False
        self.refuses("AWS takes no credentials from here", "deploy")

    def test_the_stacks_that_a_stage_asks_for_are_deployed_behind_the_main_one(self):
        key = "arn:aws:kms:us-east-1:111122223333:key/1"
        stacks = {
            "events.yaml": {"EventBusName": "shop"},
            "domain.yaml": {"DomainName": "carts.example.com", "CertificateArn": CERTIFICATE},
            "close-carts.yaml": {
                "EventBusName": "shop",
                "EventPattern": {"detail-type": ["Cart Deleted"]},
                "TokenUrl": "https://auth.example.com/token",
                "ClientSecretArn": "arn:aws:secretsmanager:us-east-1:111122223333:secret:back-end",
            },
        }
        self.stage("dev", TableKeyArn=key, **stacks)
        printed = self.succeeds("preview")
        self.assertIn("AWS::ApiGatewayV2::Api", printed)
        self.assertIn("cart-associations-dev-events can be shown once", printed)
        names = [f"cart-associations-dev{suffix}" for suffix in ["", "-events", "-domain", "-close-carts"]]
        # The last needs nothing of the first: the stage has its domain.
        self.assertEqual([change["stack"] for change in self.aws.change_sets], [names[0], names[3]])
        self.assertEqual(self.aws.executed, [])
        changes = self.deploys_all()
        self.assertEqual([change["stack"] for change in changes], names)
        main, events, domain, carts = [change["parameters"] for change in changes]
        self.assertEqual(main["TableStream"], "true")
        self.assertEqual((events["TableStreamArn"], events["TableKeyArn"]), (STREAM, key))
        self.assertEqual((domain["ApiId"], domain["HostedZoneId"]), ("a1b2c3", ""))
        self.assertEqual(carts["ApiUrl"], "https://carts.example.com")
        self.assertEqual(json.loads(carts["EventPattern"]), {"detail-type": ["Cart Deleted"]})
        for change, name in zip(changes[1:], stacks, strict=True):
            self.assertEqual(change["parameters"].keys(), parameters.read(f"deploy/{name}")["Parameters"].keys())
        # One preview shows all of them.
        self.assertEqual(list(self.deploys_here("preview")[0]), names)
        variables = dict(one.split("=", 1) for one in self.succeeds("--silent", "variables").split()[1:])
        self.assertEqual(variables["API_URL"], "https://carts.example.com")
        self.assertEqual(variables["FUNCTION"], "cart-associations-dev-Function-1")

        # A domain moves to another stage in one update.
        self.stage("dev", **{"domain.yaml": stacks["domain.yaml"] | {"ApiId": "d4e5f6"}})
        self.assertEqual(self.deploys_here()[0][names[2]]["ApiId"], "d4e5f6")

        # A stack that is no longer asked for is reported, and the stream that it reads stays.
        self.stage("dev", **{"domain.yaml": stacks["domain.yaml"]})
        changes, printed = self.deploys_here()
        self.assertEqual(list(changes), [names[0], names[2]])
        self.assertEqual(changes[names[0]]["TableStream"], "true")
        for name in [names[1], names[3]]:
            self.assertIn(f"aws cloudformation delete-stack --region us-east-1 --stack-name {name}\n", printed)
        del self.aws.stacks["us-east-1", names[1]]
        self.assertEqual(self.deploys_here()[0][names[0]]["TableStream"], "false")

        carts = {"close-carts.yaml": stacks["close-carts.yaml"]}
        self.stage("dev", **carts)
        self.assertEqual(self.deploys_here()[0][names[3]]["ApiUrl"], "https://a1b2c3.example.com")
        self.stage("dev", DisableExecuteApiEndpoint=True, **carts)
        self.mistake("ApiUrl must have the API's domain")
        # Events of another table need its stream.
        self.stage("dev", ExistingTableName="restored", **{"events.yaml": stacks["events.yaml"]})
        self.mistake("events.yaml: TableStreamArn must have a value")

    def test_a_released_zip_is_deployed_without_a_compiler(self):
        self.stage("prod")
        self.make("zip")
        archive = self.project / "target/cart-associations-arm64.zip"
        built = self.builds()
        for name in ["cargo", "cargo-lambda", "rustup"]:
            (self.tools / name).write_text("#!/bin/sh\nexit 1\n")
        change = self.deploys("STAGE=prod", f"ZIP={archive}")
        self.assertEqual(self.builds(), built)
        self.assertEqual(self.code(change), archive.read_bytes())
        # The nested template goes with it.
        nested = self.template(change)["Resources"]["WatchingStack"]["Properties"]["TemplateURL"]
        self.assertIn(b"EveryTokenRefusedAlarm", self.aws.objects[urllib.parse.urlsplit(nested).path])
        self.refuses("is not built for x86_64", "deploy", "STAGE=prod", f"ZIP={archive}", "ARCHITECTURE=x86_64")
        archive.write_bytes(b"")
        self.refuses("File is not a zip file", "deploy", "STAGE=prod", f"ZIP={archive}")

    def test_a_revert_through_the_workflow_gets_past_the_alarm_that_it_clears(self):
        inputs = WORKFLOW[True]["workflow_dispatch"]["inputs"]
        self.assertEqual(inputs.keys(), {"stage", "rollback", "parameters"})
        self.stage("prod")
        self.stage("prod", ThrottlingRate=5)
        self.git("revert", "--no-edit", "HEAD")
        for variables, expected in [
            ({"ROLLBACK": "false", "PARAMETERS": "LogLevel=DEBUG"}, ["false", "DEBUG", "100"]),
            # When nothing was typed.
            ({"ROLLBACK": "", "PARAMETERS": ""}, ["true", "INFO", "100"]),
        ]:
            status, printed = self.run_alone(["sh", "-c", DEPLOY], STAGE="prod", **variables)
            self.assertEqual(status, 0, printed)
            given = self.aws.executed[-1]["parameters"]
            names = ["RollBackOnAlarms", "LogLevel", "ThrottlingRate"]
            self.assertEqual([given[name] for name in names], expected)

    def test_only_what_deploys_gets_rights_at_aws_and_no_action_can_change(self):
        for file in (ROOT / ".github/workflows").glob("*.yml"):
            workflow = yaml.safe_load(file.read_text())
            self.assertEqual(workflow["permissions"], {"contents": "read"}, file)
            for name, job in workflow["jobs"].items():
                uses = [step["uses"] for step in job["steps"] if "uses" in step]
                for action in uses:
                    self.assertRegex(action, r"^[\w.-]+/[\w.-]+@[0-9a-f]{40}$")
                builds = any("make build" in step.get("run", "") or ".ci/run" in step.get("run", "") for step in job["steps"])
                signs_in = job.get("permissions", {}).get("id-token") == "write"
                self.assertFalse(builds and signs_in, name)
                needs_it = any(action.startswith(("aws-actions/", "actions/attest")) for action in uses)
                self.assertEqual(signs_in, needs_it, name)
        self.assertIn("github.ref == 'refs/heads/main'", WORKFLOW["jobs"]["build"]["if"])

    def test_smoke_says_whether_live_runs_what_was_deployed(self):
        self.stage("dev")
        release = self.deploys()["parameters"]["Release"]
        for live, sentence in [
            (("7", release, {}), "API_URL must be"),
            (("7", release, {"8": 0.1}), "a rollout is under way"),
            (("6", "20261124T000000Z-abc1234", {}), "somebody moved the alias"),
        ]:
            self.aws.live = live
            status, printed = self.make("smoke", "STAGE=dev", "API_URL=")
            self.assertNotEqual(status, 0)
            self.assertIn(f"live runs version {live[0]}, release {live[1]}", printed)
            self.assertIn(sentence, printed)
        self.aws.live = ("7", release, {})
        self.stage("dev", ThrottlingRate=5)
        self.assertIn("was it reverted?", self.make("smoke", "STAGE=dev")[1])

    def test_the_keys_of_the_issuers_are_kept(self):
        self.aws.objects["/keys"] = json.dumps(KEYS).encode()
        self.aws.objects["/down"] = b"down"
        up, down = f"{self.aws.url}/keys", f"{self.aws.url}/down"
        values = {"AccessTokenJwks": up, "CustomerTokenJwks": down, "AccountTokenJwks": "", "CartTokenJwks": ""}
        folder = self.project / "keys"
        with contextlib.redirect_stderr(io.StringIO()) as printed:
            deploy.keep_keys(values, folder)
        self.assertEqual(json.loads((folder / "AccessTokenJwks.json").read_text()), KEYS)
        self.assertEqual([file.name for file in folder.iterdir()], ["AccessTokenJwks.json"])
        self.assertIn(f"No copy of the keys at {down}", printed.getvalue())

    def test_the_example_names_parameters_that_there_are(self):
        # With every line that is commented out.
        text = re.sub(r"(?m)^# (?=[A-Za-z-]+(?:\.yaml)?:|  [A-Z])", "", self.stage_file("example").read_text())
        self.stage_file("dev").write_text(text)
        required = {name: value for name, value in STAGE.items() if isinstance(value, str)}
        keys = {f"{kind}TokenJwks": json.dumps(KEYS) for kind in ["Access", "Customer"]}
        self.assertEqual(len(self.values(**required, **keys)), 1 + len(parameters.OPTIONAL))
