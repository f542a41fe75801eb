"""The pages for operators can be followed: every command in them exists, with the options that it needs, and leaves the
shell open; the templates name sections that there are. docs/undo.py makes what docs/import.py reads. docs/costs.py counts what the
templates have. With the SAM CLI's Python, which knows AWS's operations."""

import gzip
import json
import pathlib
import re
import runpy
import shlex
import sys
import tempfile
import unittest

import botocore.session
from botocore import xform_name
from samcli.yamlhelper import yaml_parse

from documented import DOCS, run

sys.path.insert(0, "deploy")
import deploy  # noqa: E402

ROOT = DOCS.parent
PAGES = {name: (DOCS / name).read_text() for name in ["alarms.md", "deploying.md", "procedures.md"]}
# Options of the AWS CLI itself.
GLOBAL = {"region", "query", "output"}
# What `aws cloudformation deploy` takes, which is no operation of the service.
DEPLOY = {"template-file", "stack-name", "capabilities", "parameter-overrides"}
# What `make variables` prints.
VARIABLES = {"AWS_REGION", "AWS_DEFAULT_REGION", "STACK"} | {name for name, _, _ in deploy.VARIABLES}


def template(path):
    return yaml_parse((ROOT / path).read_text())


def blocks(page):
    """The blocks of commands, without the indentation of a list."""
    for indent, block in re.findall(r"(?m)^( *)```sh\n((?:.*\n)*?) *```$", page):
        yield re.sub(rf"(?m)^{indent}", "", block)


def commands(program):
    """The words of each command of a program, in blocks and within lines."""
    lines = [line for page in PAGES.values() for block in blocks(page) for line in block.replace("\\\n", " ").split("\n")]
    lines += [" ".join(code.split()) for page in PAGES.values() for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", page)]
    for line in lines:
        for command in re.findall(rf"(?:^ *|\$\(|; |\{{ ){program} [^;|]*", line):
            command = command[command.index(f"{program} ") :]
            try:
                words = shlex.split(command)
            except ValueError:
                # The rest of a line that is a string, or a command within quotes.
                words = command.split(")")[0].split()
            yield [word.rstrip(")") for word in words]


def options(words):
    """The options of a command, each with the words behind it."""
    found = {}
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        elif found:
            found[name].append(word)
    return found


class Operations(unittest.TestCase):
    def test_commands_of_aws_have_the_options_that_they_need_and_no_others(self):
        session = botocore.session.get_session()
        seen = set()
        for _, service, operation, *words in commands("aws"):
            if service == "s3":
                continue
            seen.add(f"{service} {operation}")
            if operation == "wait":
                waiter, *words = words
                names = session.create_client(service, region_name="us-east-1").waiter_names
                self.assertIn(waiter.replace("-", "_"), names)
                continue
            given = options(words)
            if (service, operation) == ("cloudformation", "deploy"):
                self.assertEqual(given.keys() - GLOBAL, DEPLOY)
                named = {word.split("=")[0] for word in given["parameter-overrides"]}
                definitions = template(given["template-file"][0])["Parameters"]
                self.assertLessEqual(named, definitions.keys())
                required = {name for name, definition in definitions.items() if "Default" not in definition}
                self.assertLessEqual(required, named)
                continue
            # The CLI calls CodeDeploy by its short name.
            model = session.get_service_model("codedeploy" if service == "deploy" else service)
            names = {xform_name(name, "-"): name for name in model.operation_names}
            self.assertIn(operation, names)
            shape = model.operation_model(names[operation]).input_shape
            members = {xform_name(name, "-"): name for name in shape.members}
            for option in given.keys() - GLOBAL:
                self.assertIn(option.removeprefix("no-"), members, f"{service} {operation}")
            required = {xform_name(name, "-") for name in shape.required_members}
            # Prose names a command without its options.
            if given:
                self.assertLessEqual(required, given.keys(), f"{service} {operation}")
        self.assertGreaterEqual(len(seen), 30)

    def test_blocks_are_shell_name_their_stage_first_and_leave_the_shell_open(self):
        count = 0
        for name, page in PAGES.items():
            for block in blocks(page):
                count += 1
                run("bash", "-n", text=block)
                self.assertNotRegex(block, r"(?m)^ *(set -|exit)", name)
                # Each block can be the first that somebody pastes.
                used = set(re.findall(r"\$\{?([A-Z_]+)", block)) & VARIABLES
                at_aws = re.search(r"(?m)(^ *|\$\()(aws|curl) ", block) and " --region " not in block
                if used or at_aws:
                    self.assertIn('eval "$(make -s variables STAGE=', block, name)
                self.assertNotIn("carts.example.com", block, name)
        self.assertGreaterEqual(count, 25)

    def test_commands_of_make_are_in_the_makefile(self):
        makefile = (ROOT / "Makefile").read_text()
        names = template("template.yaml")["Parameters"].keys()
        seen = set()
        for _, *words in commands("make"):
            target, *variables = [word for word in words if word != "-s"]
            seen.add(target)
            self.assertRegex(makefile, rf"(?m)^(\S+ )*{target}( \S+)*:")
            for variable in variables:
                name, value = variable.split("=", 1)
                self.assertIn(name, {"STAGE", "ROLLBACK", "PARAMETERS", "API_URL", "ZIP"})
                if name == "PARAMETERS":
                    self.assertLessEqual({one.split("=")[0] for one in value.split()}, names)
        self.assertGreaterEqual(seen, {"build", "deploy", "preview", "smoke", "variables"})

    def test_parameters_and_outputs_are_in_the_templates(self):
        files = ["template.yaml", *(f"deploy/{file.name}" for file in (ROOT / "deploy").glob("*.yaml"))]
        templates = [template(file) for file in files]
        parameters = {name for one in templates for name in one["Parameters"]}
        outputs = {name for one in templates for name in one.get("Outputs", {})}
        for page in PAGES.values():
            self.assertLessEqual(set(re.findall(r"`([A-Z][A-Za-z]+): ", page)), parameters)
            self.assertLessEqual(set(re.findall(r"outputs? `([A-Za-z]+)`", page)), outputs)

    def test_the_templates_name_sections_that_there_are(self):
        """tests/it/docs.rs follows the links between pages."""
        for file in [ROOT / "template.yaml", *(ROOT / "deploy").glob("*.yaml")]:
            text = file.read_text()
            named = [("alarms.md", anchor) for anchor in re.findall(r"RunbookUrl}#([a-z-]+)", text)]
            named += [(page, title) for title, page in re.findall(r"\"([^\"]+)\" in docs/(\w+\.md)", text)]
            named += re.findall(r"docs/(\w+\.md), \"([^\"]+)\"", text)
            for page, title in named:
                headings = re.findall(r"(?m)^#+ (.*)$", (DOCS / page).read_text())
                anchors = {heading.lower().replace(" ", "-") for heading in headings}
                self.assertIn(title.lower().replace(" ", "-"), anchors, file)


class Undo(unittest.TestCase):
    """docs/undo.py on the records of an incremental export, as AWS documents them."""

    @staticmethod
    def image(**attributes):
        return {name: {"N" if name == "expires_at" else "S": value} for name, value in attributes.items()}

    def test_what_was_removed_and_would_still_live_is_associated_again(self):
        live = {"cart_id": "c", "customer_id": "ron", "associated_at": "2026-01-01T00:00:00.000Z"}
        tombstone = self.image(removed_at="2026-11-24T02:45:00.000Z", removed_by="broken", expires_at="1")
        records = [
            {"OldImage": self.image(**live), "NewImage": tombstone},
            {"OldImage": self.image(**live | {"customer_id": "kept"}), "NewImage": self.image(**live)},
            {"OldImage": self.image(**live | {"customer_id": "by-hand"})},
            {"OldImage": self.image(**live | {"expires_at": "1"}), "NewImage": tombstone},
            {"OldImage": self.image(**live | {"customer_id": "later", "expires_at": "4000000000"}), "NewImage": tombstone},
            {"NewImage": self.image(**live | {"customer_id": "new"})},
            {"OldImage": tombstone},
            {"OldImage": self.image(cart_id="c", account_id="acme", associated_at="x"), "NewImage": tombstone},
        ]
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "data.json.gz")
            file.write_bytes(gzip.compress("\n".join(map(json.dumps, records)).encode()))

            def undo(*options):
                printed = run(sys.executable, str(DOCS / "undo.py"), *options, str(file))
                return [json.loads(line) for line in printed.splitlines()]

            all_of_them, of_one = undo(), undo("--removed-by", "broken")
            file.write_bytes(b"{}")
            self.assertRaisesRegex(AssertionError, "error: this is no incremental export", undo)
        ron, later = ({"cart_id": "c", "customer_id": name} for name in ["ron", "later"])
        account = {"cart_id": "c", "account_id": "acme"}
        self.assertEqual(all_of_them, [ron, {"cart_id": "c", "customer_id": "by-hand"}, later, account])
        self.assertEqual(of_one, [ron, later, account])


class Costs(unittest.TestCase):
    def test_what_is_paid_is_what_the_templates_have(self):
        costs = runpy.run_path(str(DOCS / "costs.py"))

        def of_type(kind, *paths):
            resources = [resource for path in paths for resource in template(path)["Resources"].values()]
            return [resource["Properties"] for resource in resources if resource["Type"] == kind]

        alarms = of_type("AWS::CloudWatch::Alarm", "template.yaml", "deploy/watching.yaml")
        count = sum(max(1, sum("MetricStat" in metric for metric in alarm.get("Metrics", []))) for alarm in alarms)
        # A query of Metrics Insights is paid by the metrics that it reads.
        queried = [alarm["Metrics"][0] for alarm in alarms if len(alarm.get("Metrics", [])) == 1]
        operations, key_sets = 6, 2
        self.assertEqual(len(queried), 3)
        count += 2 * (operations - 1) + key_sets - 1
        self.assertEqual(costs["ALARM_METRICS"], count)
        of_events = of_type("AWS::CloudWatch::Alarm", "deploy/events.yaml")
        self.assertEqual(costs["EVENT_ALARM_METRICS"], len(of_events))
        self.assertEqual(costs["ROUTES"], len(of_type("AWS::ApiGatewayV2::Route", "template.yaml")))
        rate = template("template.yaml")["Parameters"]["ThrottlingRate"]["Default"]
        self.assertEqual(costs["FLOOD_RATE"], rate)
