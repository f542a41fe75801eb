"""docs/operations.md can be followed: every command in it exists, with the options that it needs, and every link leads
somewhere. docs/costs.py counts what the template has. With the SAM CLI's Python, which knows AWS's operations."""

import importlib.util
import pathlib
import re
import shlex
import unittest

import botocore.session
import yaml
from botocore import xform_name

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs/operations.md").read_text()
# Options of the AWS CLI itself.
GLOBAL = {"region", "query", "output"}
# What `aws cloudformation deploy` takes, which is no operation of the service.
DEPLOY = {"template-file", "stack-name", "capabilities", "parameter-overrides"}


class Loader(yaml.SafeLoader):
    """Reads a template whose intrinsic functions do not matter."""


Loader.add_multi_constructor("!", lambda *_: None)


def parameters(path):
    return yaml.load((ROOT / path).read_text(), Loader)["Parameters"]


def commands(program):
    """The words of each command that begins with the program's name, in blocks and within lines."""
    blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += [" ".join(code.split()) for code in re.findall(r"(?<!`)`([^`]+)`(?!`)", PAGE)]
    return [shlex.split(line) for line in lines if line.strip().startswith(f"{program} ")]


def options(words):
    """The options of a command, each with the words behind it."""
    found = {}
    for word in words:
        if word.startswith("--"):
            name = word[2:]
            found[name] = []
        else:
            found[name].append(word)
    return found


class Operations(unittest.TestCase):
    def test_commands_of_aws_have_the_options_that_they_need_and_no_others(self):
        session = botocore.session.get_session()
        seen = set()
        for _, service, operation, *words in commands("aws"):
            seen.add(f"{service} {operation}")
            if operation == "wait":
                waiter, *words = words
                model = session.create_client(service, region_name="us-east-1").waiter_names
                self.assertIn(waiter.replace("-", "_"), model)
                operation = "describe-table"
            given = options(words)
            if (service, operation) == ("cloudformation", "deploy"):
                self.assertEqual(given.keys() - GLOBAL, DEPLOY)
                named = {word.split("=")[0] for word in given["parameter-overrides"]}
                definitions = parameters(given["template-file"][0])
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
            self.assertLessEqual(required, given.keys(), f"{service} {operation}")
        self.assertGreaterEqual(len(seen), 10)

    def test_commands_of_make_are_in_the_makefile(self):
        makefile = (ROOT / "Makefile").read_text()
        names = parameters("template.yaml").keys()
        seen = set()
        for _, target, *variables in commands("make"):
            seen.add(target)
            self.assertRegex(makefile, rf"(?m)^(\S+ )*{target}( \S+)*:")
            for name, value in (variable.split("=", 1) for variable in variables):
                self.assertIn(name, {"STAGE", "ROLLBACK", "PARAMETERS", "API_URL"})
                if name == "PARAMETERS":
                    self.assertLessEqual({one.split("=")[0] for one in value.split()}, names)
        self.assertGreaterEqual(seen, {"build", "deploy", "preview", "smoke"})

    def test_parameters_and_outputs_are_in_the_template(self):
        template = yaml.load((ROOT / "template.yaml").read_text(), Loader)
        set_in_a_file = re.findall(r"`([A-Z][A-Za-z]+): ", PAGE)
        self.assertIn("ExistingTableName", set_in_a_file)
        self.assertLessEqual(set(set_in_a_file), template["Parameters"].keys())
        outputs = re.findall(r"output `([A-Za-z]+)`", PAGE)
        known = template["Outputs"].keys() | yaml.load((ROOT / "docs/deploy/role.yaml").read_text(), Loader)["Outputs"]
        self.assertIn("TableName", outputs)
        self.assertLessEqual(set(outputs), known)

    def test_links_lead_somewhere(self):
        headings = re.findall(r"(?m)^#+ (.*)$", PAGE)
        anchors = {re.sub(r"[^a-z0-9 _-]", "", heading.lower()).replace(" ", "-") for heading in headings}
        self.assertEqual(len(anchors), len(headings))
        links = re.findall(r"\]\(([^)]+)\)", PAGE)
        self.assertGreater(len(links), 50)
        for link in links:
            path, _, anchor = link.partition("#")
            if path:
                self.assertTrue((ROOT / "docs" / path).exists(), link)
            else:
                self.assertIn(anchor, anchors)
        for other in ["deploy/probe.yaml", "deploy/role.yaml", "deploy/github-actions.yml"]:
            for title in re.findall(r"\.md, \"([^\"]+)\"", (ROOT / "docs" / other).read_text()):
                self.assertIn(title, headings)
            for anchor in re.findall(r"RunbookUrl}#([a-z-]+)", (ROOT / "docs" / other).read_text()):
                self.assertIn(anchor, anchors)


class Costs(unittest.TestCase):
    def test_the_metrics_of_all_alarms_are_paid(self):
        resources = yaml.load((ROOT / "template.yaml").read_text(), Loader)["Resources"].values()
        alarms = [one for one in resources if one["Type"] == "AWS::CloudWatch::Alarm"]
        of_events = [alarm for alarm in alarms if alarm.get("Condition") == "HasEvents"]
        alarms = [alarm["Properties"] for alarm in alarms if alarm not in of_events]
        count = sum(max(1, sum("MetricStat" in metric for metric in alarm.get("Metrics", []))) for alarm in alarms)
        # A query of Metrics Insights is paid by the metrics that it reads.
        queried = [alarm["Metrics"][0] for alarm in alarms if len(alarm.get("Metrics", [])) == 1]
        operations, key_sets = 6, 2
        self.assertEqual(len(queried), 3)
        count += 2 * (operations - 1) + key_sets - 1
        spec = importlib.util.spec_from_file_location("costs", ROOT / "docs/costs.py")
        costs = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(costs)
        self.assertEqual(costs.ALARM_METRICS, count)
        self.assertEqual(costs.EVENT_ALARM_METRICS, len(of_events))


if __name__ == "__main__":
    unittest.main(verbosity=2)
