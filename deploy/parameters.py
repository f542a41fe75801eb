"""Prints all parameters of a stage as JSON: `parameters.py STAGE NAME=VALUE…`, with the SAM CLI's Python.

They are the template's defaults, then stages/STAGE.yaml, then NAME=VALUE. SAM keeps the value of the last deployment
for a parameter that is not given, so that a value for one deployment, or a line that was deleted, would stay in effect.
Mistakes are reported together, before anything is built.
"""

import json
import pathlib
import re
import sys

import yaml

# make gives these. In a stage's file they would be wrong sooner or later.
OF_MAKE = {"Stage", "Release"}


class Loader(yaml.SafeLoader):
    """Reads a template whose intrinsic functions do not matter."""


Loader.add_multi_constructor("!", lambda *_: None)


def text(value):
    """A parameter's value as CloudFormation takes it."""
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case list():
            return ",".join(map(text, value))
        case dict():
            return json.dumps(value, separators=(",", ":"))
    return str(value)


def fault(definition, value):
    """What is wrong with the value, in the words of CloudFormation, or None."""
    allowed = [text(choice) for choice in definition.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"must be one of {', '.join(allowed)}."
    if definition["Type"] == "Number":
        least, most = definition.get("MinValue"), definition.get("MaxValue")
        is_number = re.fullmatch("[0-9]+", value)
        if not is_number or (least is not None and not least <= int(value) <= most):
            return f"must be a whole number from {least} to {most}."
        return None
    if len(value) > definition.get("MaxLength", len(value)):
        return f"must not have more than {definition['MaxLength']} characters."
    parts = value.split(",") if definition["Type"] == "CommaDelimitedList" else [value]
    pattern = definition.get("AllowedPattern", "")
    if not all(re.search(pattern, part) for part in parts):
        return definition["ConstraintDescription"]
    return None


def main():
    stage, *given = sys.argv[1:]
    definitions = yaml.load(pathlib.Path("template.yaml").read_text(), Loader)["Parameters"]
    file = pathlib.Path("stages", f"{stage}.yaml")
    if not file.exists():
        sys.exit(f"error: there is no {file}: copy stages/example.yaml to it and fill in the first six parameters.")
    if f"[{stage}.deploy.parameters]" not in pathlib.Path("samconfig.toml").read_text().splitlines():
        sys.exit(f"error: samconfig.toml has no section [{stage}.deploy.parameters] with the stage's stack and region.")
    try:
        in_file = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        sys.exit(f"error: {file} is not YAML: {' '.join(str(error).split())}")
    if not isinstance(in_file, dict):
        sys.exit(f"error: {file} must have lines of the form “Name: value”.")

    faults = [f"{name} is set by make deploy." for name in sorted(OF_MAKE & in_file.keys())]
    values = {name: text(definition["Default"]) for name, definition in definitions.items() if "Default" in definition}
    values |= {name: text(value) for name, value in in_file.items()}
    values |= dict(one.split("=", 1) for one in given)
    missing = [name for name in definitions if not values.get(name) and "Default" not in definitions[name]]
    if missing:
        faults.append(f"{', '.join(missing)} must have a value.")
    for name, value in values.items():
        if name not in definitions:
            faults.append(f"{name} is no parameter of template.yaml.")
        elif name not in missing and (wrong := fault(definitions[name], value)):
            faults.append(f"{name} {wrong}")
    if faults:
        sys.exit(f"error: {file}: {' '.join(faults)}")
    print(json.dumps(values, indent=1))


main()
