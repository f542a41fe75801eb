"""`make deploy` and `make preview` with the real SAM CLI, a stand-in for AWS, and a compiler that does nothing."""

import io
import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest
import zipfile

import yaml

from aws import Aws

ROOT = pathlib.Path(__file__).parents[2]
NEEDED = [".cargo", ".ci", ".gitignore", "Cargo.lock", "Cargo.toml", "Makefile", "samconfig.toml", "src", "stages"]
NEEDED += ["template.yaml"]

KEYS = {"keys": [{"kid": "1", "kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}
STAGE = {
    "AccessTokenJwks": "https://auth.example.com/keys",
    "AccessTokenIssuer": "https://auth.example.com",
    "AccessTokenAudience": "carts",
    "CustomerTokenJwks": KEYS,
    "CustomerTokenIssuer": "https://login.example.com",
    "CustomerTokenAudience": "shop and more",
    "AllowedOrigins": ["https://shop.example.com", "https://example.com"],
}

# How the workflow hands the build on.
PACK = "tar -cf build.tar .aws-sam/*-*"
UNPACK = 'tar -xf "$RUNNER_TEMP/build.tar"'

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


class Deploy(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.aws = Aws()
        self.addCleanup(self.aws.server_close)
        self.addCleanup(self.aws.shutdown)
        self.tools = pathlib.Path(folder.name, "tools")
        self.tools.mkdir()
        for name, text in [("cargo", CARGO), ("cargo-lambda", "#!/bin/sh\n"), ("rustup", "#!/bin/sh\n")]:
            (self.tools / name).write_text(text)
            (self.tools / name).chmod(0o755)
        self.project = pathlib.Path(folder.name, "project")
        for name in NEEDED:
            source, target = ROOT / name, self.project / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, target) if source.is_dir() else shutil.copy2(source, target)
        for stage in (self.project / "stages").glob("*.yaml"):
            if stage.name != "example.yaml":
                stage.unlink()
        (self.project / ".local").symlink_to(ROOT / ".local")
        self.git("init", "--quiet")
        # Some git ignores a folder by a pattern with a slash, and a link not.
        (self.project / ".git/info/exclude").write_text(".local\n")
        self.commit()

    def git(self, *arguments):
        name = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.com"]
        command = ["git", *name, *arguments]
        return subprocess.run(command, cwd=self.project, check=True, capture_output=True, text=True).stdout

    def commit(self):
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "Change")

    def stage(self, stage, **values):
        """Writes and commits the parameters of a stage."""
        text = yaml.safe_dump(STAGE | values)
        (self.project / "stages" / f"{stage}.yaml").write_text(text)
        self.commit()

    def make(self, *arguments):
        """Runs make without a terminal, and returns its exit status and what it prints."""
        environment = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "HOME": str(self.project.parent),
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "eu-north-1",
            "SAM_CLI_POLL_DELAY": "0.1",
        }
        done = subprocess.run(
            ["make", *arguments],
            cwd=self.project,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        return done.returncode, done.stdout

    def deploys(self, *arguments):
        """Deploys, and returns what CloudFormation was asked to do."""
        before = len(self.aws.executed)
        status, printed = self.make("deploy", *arguments)
        self.assertEqual(status, 0, printed)
        self.assertEqual(len(self.aws.executed), before + 1, printed)
        return self.aws.executed[-1]

    def refuses(self, sentence, *arguments):
        """Is told why in one line, before anything is built or sent."""
        before = len(self.aws.change_sets), self.builds()
        status, printed = self.make(*arguments)
        self.assertNotEqual(status, 0, printed)
        errors = [line for line in printed.splitlines() if line.startswith("error: ")]
        self.assertEqual(len(errors), 1, printed)
        self.assertIn(sentence, errors[0])
        self.assertEqual((len(self.aws.change_sets), self.builds()), before)

    def builds(self):
        calls = self.tools / "calls"
        return len(calls.read_text().splitlines()) if calls.exists() else 0

    def code(self, change_set):
        """The function that a change set deploys."""
        template = yaml.load(self.aws.objects[change_set["template"]], Loader)
        uri = template["Resources"]["Function"]["Properties"]["CodeUri"]
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
                    template = yaml.load((self.project / "template.yaml").read_text(), Loader)
                    self.assertEqual(given.keys(), template["Parameters"].keys())
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
        # Nor does a line stay that was deleted from the stage's file.
        self.stage("dev")
        given = self.deploys()["parameters"]
        self.assertEqual([given[name] for name in names], ["true", "", "1000"])

    def test_what_is_not_committed_goes_to_dev_and_not_to_prod(self):
        self.stage("dev")
        self.stage("prod")
        (self.project / "src/lib.rs").write_text("// Changed.\n")
        for builds in [1, 2]:
            change = self.deploys()
            self.assertTrue(change["parameters"]["Release"].endswith("-dirty"))
            self.assertEqual(self.builds(), builds)
        self.refuses("not committed", "deploy", "STAGE=prod")
        self.refuses("not built here", "preview", "STAGE=prod")
        self.commit()
        self.refuses("not built here", "deploy", "STAGE=prod")
        dev = self.deploys()
        self.assertEqual(self.builds(), 3)
        # A commit that changes parameters alone needs no build.
        self.stage("prod", ThrottlingRate=5)
        prod = self.deploys("STAGE=prod")
        self.assertEqual(prod["parameters"]["ThrottlingRate"], "5")
        self.assertEqual(self.builds(), 3)
        self.assertEqual(self.code(prod), self.code(dev))

    def test_another_machine_deploys_what_was_built_for_dev(self):
        self.stage("dev")
        self.stage("prod")
        dev = self.deploys()
        workflow = yaml.safe_load((ROOT / "docs/deploy/github-actions.yml").read_text())
        steps = {name: [step.get("run") for step in job["steps"]] for name, job in workflow["jobs"].items()}
        self.assertLess(steps["dev"].index("make deploy STAGE=dev"), steps["dev"].index(PACK))
        self.assertLess(steps["prod"].index(UNPACK), steps["prod"].index("make deploy STAGE=prod"))
        self.assertEqual(workflow["jobs"]["prod"]["needs"], "dev")

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

    def test_a_preview_changes_nothing(self):
        self.stage("dev")
        status, printed = self.make("preview")
        self.assertEqual(status, 0, printed)
        self.assertIn("AWS::ApiGatewayV2::Api", printed)
        self.assertEqual(len(self.aws.change_sets), 1)
        self.assertEqual(self.aws.executed, [])

    def test_a_stage_is_built_for_its_processor(self):
        self.stage("dev", Architecture="x86_64")
        self.assertEqual(self.deploys()["parameters"]["Architecture"], "x86_64")
        self.assertNotIn("--arm64", (self.tools / "calls").read_text())

    def test_a_mistake_is_one_sentence_before_anything_is_built(self):
        self.refuses("copy stages/example.yaml", "deploy")
        example = (self.project / "stages/example.yaml").read_text()
        (self.project / "stages/dev.yaml").write_text(example)
        self.refuses(
            "AccessTokenJwks, AccessTokenIssuer, AccessTokenAudience, CustomerTokenJwks, CustomerTokenIssuer,"
            " CustomerTokenAudience must have a value.",
            "deploy",
        )
        self.stage("staging")
        self.refuses("samconfig.toml has no section [staging.deploy.parameters]", "deploy", "STAGE=staging")
        (self.project / "stages/dev.yaml").write_text("AccessTokenIssuer: [")
        self.refuses("is not YAML", "deploy")
        for name, value, sentence in [
            ("CustomerTokenJwks", "http://login.example.com/keys", "or an https URL"),
            ("ThrottlingRate", 0, "must be a whole number from 1 to 100000"),
            ("LogRetentionDays", 15, "must be one of 1, 3,"),
            ("AllowedOrigins", ["https://shop.example.com/cart"], "without a path"),
            ("AlarmTopicArn", "", "AlarmTopicArn is no parameter"),
            ("Stage", "prod", "Stage is set by make deploy"),
            ("ErrorDocsUrl", "https://example.com/" + "x" * 512, "not have more than 512 characters"),
        ]:
            with self.subTest(name):
                self.stage("dev", **{name: value})
                self.refuses(sentence, "deploy")

    def test_the_example_names_parameters_that_there_are(self):
        example = (self.project / "stages/example.yaml").read_text()
        names = set(re.findall(r"(?m)^(?:# )?([A-Z][A-Za-z]+):", example)) - {"For"}
        self.assertIn("PageTopicArn", names)
        self.assertIn("CustomerTokenAudience", names)
        template = yaml.load((self.project / "template.yaml").read_text(), Loader)
        self.assertLessEqual(names, template["Parameters"].keys())


class Loader(yaml.SafeLoader):
    """Reads a template whose intrinsic functions do not matter."""


Loader.add_multi_constructor("!", lambda *_: None)


if __name__ == "__main__":
    unittest.main(verbosity=2)
