"""The parameters of a stage: the defaults of the templates, then deploy/stages/STAGE.yaml, then NAME=VALUE.

All are given with each deployment: CloudFormation keeps the last value of a parameter that is not given, so that a
value for one deployment, or a line that was deleted, would stay in effect. Mistakes are reported together, before
anything is built.
"""

import itertools
import json
import pathlib
import re

import yaml
from samcli.yamlhelper import yaml_parse

MAIN = "template.yaml"
# The stacks beside the main one, in the order in which they are deployed. A stage asks for one with a section.
OPTIONAL = ["events.yaml", "domain.yaml", "close-carts.yaml"]
# make gives these. In a stage's file they would be wrong sooner or later.
OF_MAKE = {"Stage", "Release", "TableStream"}
# What earlier versions had, and what has its place.
REPLACED = {
    "AccessTokenGrantClaim": "BackEndClaim replaces it",
    "ContributorInsights": "docs/procedures.md has the command that replaces it",
    "EventBusName": "it belongs into the section events.yaml",
    "ExistingTableStreamArn": "TableStreamArn in the section events.yaml replaces it",
} | dict.fromkeys(["DomainName", "CertificateArn", "HostedZoneId"], "it belongs into the section domain.yaml")
KINDS = ["Access", "Customer", "Account", "Cart"]


class Mistakes(Exception):
    """One sentence, or several, that say what to change."""


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


def mistake(definition, value):
    """What is wrong with the value, in the words of CloudFormation, or None."""
    allowed = [text(choice) for choice in definition.get("AllowedValues", [])]
    if allowed and value not in allowed:
        return f"must be one of {', '.join(allowed)}."
    if definition["Type"] == "Number" and not allowed:
        least, most = definition["MinValue"], definition["MaxValue"]
        if not re.fullmatch("[0-9]+", value) or not least <= int(value) <= most:
            return f"must be a whole number from {least} to {most}."
        return None
    if len(value) > definition.get("MaxLength", 4096):
        return f"must not have more than {definition.get('MaxLength', 4096)} characters."
    parts = value.split(",") if definition["Type"] == "CommaDelimitedList" else [value]
    pattern = definition.get("AllowedPattern", "")
    if not all(re.search(pattern, part) for part in parts):
        return definition.get("ConstraintDescription", f"must match {pattern}")
    return None


def holds(condition, values):
    """What a condition of the template's rules is with these parameters."""
    match condition:
        case {"Ref": name}:
            return values[name]
        case {"Fn::Equals": [one, other]}:
            return holds(one, values) == holds(other, values)
        case {"Fn::Not": [one]}:
            return not holds(one, values)
        case {"Fn::And": several}:
            return all(holds(one, values) for one in several)
        case {"Fn::Or": several}:
            return any(holds(one, values) for one in several)
    return condition


def claims(kind, values):
    """The required claims of a kind of token, each with the values that it may have."""
    required = json.loads(values[f"{kind}TokenClaims"] or "{}")
    as_list = {name: value if isinstance(value, list) else [value] for name, value in required.items()}
    # 1 and True are equal in Python, and are not in JSON.
    return {name: {(type(one) is bool, one) for one in several} for name, several in as_list.items()}


def apart(one, other, values):
    """Whether no token can be of both kinds, as the function demands: see docs/configuration.md."""
    issuers, audiences = (
        [values[f"{kind}Token{what}"] for kind in (one, other)] for what in ["Issuer", "Audience"]
    )
    common = set.intersection(*({name.strip() for name in names.split(",")} for names in audiences))
    a, b = claims(one, values), claims(other, values)
    return issuers[0] != issuers[1] or not common or any(a[name].isdisjoint(b[name]) for name in a.keys() & b.keys())


def of_tokens(values):
    """What is wrong with the tokens together, where the template's rules cannot see it."""
    for kind in KINDS:
        try:
            claims(kind, values)
        except (ValueError, TypeError, AttributeError):
            yield f"{kind}TokenClaims must be a JSON object of strings, numbers, booleans, null, or lists of these."
            return
    for one, other in itertools.combinations([kind for kind in KINDS if values[f"{kind}TokenIssuer"]], 2):
        if not apart(one, other, values):
            yield (
                f"{one} tokens and {other.lower()} tokens must differ in issuer, in all audiences,"
                " or in the values of a claim that both require."
            )


def checked(template, values, given=()):
    """The mistakes in the values of a template's parameters. Those that are `given` later may be missing."""
    definitions = template["Parameters"]
    missing = [name for name in definitions if not values.get(name) and "Default" not in definitions[name]]
    if wanting := [name for name in missing if name not in given]:
        yield f"{', '.join(wanting)} must have a value."
    for name, value in values.items():
        if name not in definitions:
            yield f"{name} is no parameter" + (f": {REPLACED[name]}." if name in REPLACED else ".")
        elif name not in missing and (wrong := mistake(definitions[name], value)):
            yield f"{name} {wrong}"


def read(path):
    return yaml_parse(pathlib.Path(path).read_text())


def of_stage(stage, given):
    """The values of the parameters of each template that a stage asks for. An optional stack has the main one's value
    of a parameter of the same name, and later the main one's output."""
    file = pathlib.Path("deploy/stages", f"{stage}.yaml")
    if not file.exists():
        raise Mistakes(f"there is no {file}: copy deploy/stages/example.yaml to it and fill it in.")
    try:
        in_file = yaml.safe_load(file.read_text()) or {}
    except yaml.YAMLError as error:
        raise Mistakes(f"{file} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(in_file, dict):
        raise Mistakes(f"{file} must have lines of the form “Name: value”.")
    sections = {name: in_file.pop(name) for name in list(in_file) if str(name).endswith(".yaml")}

    template = read(MAIN)
    mistakes = [f"{name} is set by make deploy." for name in sorted(OF_MAKE & in_file.keys())]
    main = {name: text(one["Default"]) for name, one in template["Parameters"].items() if "Default" in one}
    main |= {name: text(value) for name, value in in_file.items()} | given
    mistakes += checked(template, main)
    if not mistakes:
        for rule in template["Rules"].values():
            mistakes += [
                one["AssertDescription"] for one in rule["Assertions"] if not holds(one["Assert"], main)
            ]
    if not mistakes:
        mistakes += of_tokens(main)

    values = {MAIN: main}
    for name in [name for name in OPTIONAL if name in sections]:
        optional = read(f"deploy/{name}")
        definitions = optional["Parameters"]
        own = {name: text(one["Default"]) for name, one in definitions.items() if "Default" in one}
        own |= {name: main[name] for name in definitions if name in main}
        if name == "close-carts.yaml" and "DomainName" in (sections.get("domain.yaml") or {}):
            own["ApiUrl"] = f"https://{sections['domain.yaml']['DomainName']}"
        own |= {name: text(value) for name, value in (sections[name] or {}).items()}
        if name == "close-carts.yaml" and main["DisableExecuteApiEndpoint"] == "true" and not own.get("ApiUrl"):
            mistakes.append(f"{name}: with DisableExecuteApiEndpoint, ApiUrl must have the API's domain.")
        outputs = template["Outputs"].keys()
        if main["ExistingTableName"]:
            # The output is the stream of the stack's own table.
            outputs -= {"TableStreamArn"}
        mistakes += [f"{name}: {one}" for one in checked(optional, own, outputs)]
        values[f"deploy/{name}"] = own
    mistakes += [f"{name} is none of {', '.join(OPTIONAL)}." for name in sections.keys() - set(OPTIONAL)]
    if mistakes:
        raise Mistakes(f"{file}: {' '.join(mistakes)}")
    return values
