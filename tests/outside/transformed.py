"""What CloudFormation gets, and deploy/role.yaml, which allows its deployment and nothing else.

What a deployment needs is what the schemas of its resources say (the handlers' permissions, as cfn-lint brings them)
and what the SAM CLI calls. Reads what `transform.py` wrote to target/transformed.
"""

import fnmatch
import json
import pathlib
import re
import unittest

import cfnlint.data.schemas
from samcli.yamlhelper import yaml_parse

SCHEMAS = pathlib.Path(cfnlint.data.schemas.__file__).parent
# All stacks, by the names that transform.py gives them.
TRANSFORMED = {file.stem: json.loads(file.read_text()) for file in pathlib.Path("target/transformed").glob("*.json")}

# In the schemas, and of no use here: the template uses none of these features.
NOT_USED = """
    application-autoscaling:* cloudformation:SetStackPolicy cloudformation:UpdateTerminationProtection
    cloudwatch:PutMetricData codedeploy:RegisterOnPremisesInstance dynamodb:*KinesisStreamingDestination
    dynamodb:DeleteResourcePolicy dynamodb:DisassociateTableReplica dynamodb:PutResourcePolicy ec2:* elasticfilesystem:*
    firehose:* iam:AttachRolePolicy iam:DetachRolePolicy kinesis:* kms:Encrypt kms:GenerateDataKey
    lambda:AssociateRuntimeAlias lambda:PassCapacityProvider lambda:*FunctionCodeSigningConfig
    lambda:PutFunctionScalingConfig logs:*BearerTokenAuthentication logs:DeleteDataProtectionPolicy
    logs:PutDataProtectionPolicy logs:*IndexPolicy logs:*KmsKey logs:DeleteResourcePolicy
    logs:PutLogGroupDeletionProtection s3:*BucketPolicy s3:REST.PUT.OBJECT s3files:*
""".split()
# It would lift the boundary.
NOT_USED += ["iam:DeleteRolePermissionsBoundary"]
# They are not actions of IAM: tags of APIs are set by the methods of HTTP.
NOT_USED += ["apigateway:*agResource"]
# Not in the schemas: what the gateway's access log needs ("Configure logging for HTTP APIs", AWS).
OF_THE_ACCESS_LOG = set("""
    logs:CreateLogDelivery logs:DeleteLogDelivery logs:DescribeLogGroups logs:DescribeResourcePolicies
    logs:GetLogDelivery logs:ListLogDeliveries logs:PutResourcePolicy logs:UpdateLogDelivery
""".split())
# What `sam deploy` calls: tests/outside/aws.py has these operations of CloudFormation.
OF_SAM = {
    f"cloudformation:{operation}"
    for operation in """CreateChangeSet DescribeChangeSet DescribeStackEvents DescribeStacks ExecuteChangeSet
    GetTemplateSummary""".split()
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def statements(role):
    """The statements of a role's own policies; of an !If, the one for when it holds."""
    for policy in role["Properties"].get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield statement["Fn::If"][1] if "Fn::If" in statement else statement


def actions(of):
    return {action for statement in of for action in as_list(statement["Action"])}


def matches(pattern, action):
    return fnmatch.fnmatchcase(action.lower(), pattern.lower())


def allowed(patterns, action):
    return any(matches(pattern, action) for pattern in patterns)


def schema(kind):
    files = json.loads((SCHEMAS / "providers/us-east-1.json").read_text())
    return json.loads((SCHEMAS / f"resources/{files[kind]}.json").read_text())


def needed():
    """The actions that the schemas of all resources name."""
    types = {resource["Type"] for template in TRANSFORMED.values() for resource in template["Resources"].values()}
    names = ["create", "read", "update", "delete"]
    handlers = [schema(kind)["handlers"].get(name, {}) for kind in types for name in names]
    return {action for handler in handlers for action in handler.get("permissions", [])}


class Transformed(unittest.TestCase):
    def test_without_rollback_nothing_can_stop_a_deployment(self):
        """`dev` has RollBackOnAlarms=false."""
        for name, template in TRANSFORMED.items():
            if alias := template["Resources"].get("FunctionAliaslive"):
                types = [resource["Type"] for resource in template["Resources"].values()]
                rolls_back = name != "dev"
                self.assertEqual("UpdatePolicy" in alias, rolls_back, name)
                self.assertEqual("AWS::CodeDeploy::DeploymentGroup" in types, rolls_back, name)

    def test_every_parameter_change_makes_a_version(self):
        """A version's description is create-only, and it is the release, which no two deployments share. The logical id
        of the version does not depend on parameters."""
        self.assertIn("/properties/Description", schema("AWS::Lambda::Version")["createOnlyProperties"])
        versions = {self.version(name) for name in ["prod", "options", "topic"]}
        self.assertEqual(len(versions), 1)

    def version(self, name):
        [(version, resource)] = [
            (name, resource)
            for name, resource in TRANSFORMED[name]["Resources"].items()
            if resource["Type"] == "AWS::Lambda::Version"
        ]
        self.assertEqual(resource["Properties"]["Description"], {"Ref": "Release"})
        return version

    def test_a_rollout_is_reverted_by_alarms_on_the_new_version(self):
        group = TRANSFORMED["prod"]["Resources"]["FunctionDeploymentGroup"]["Properties"]
        alarms = [alarm["Name"]["Ref"] for alarm in group["AlarmConfiguration"]["Alarms"]]
        self.assertTrue(group["AlarmConfiguration"]["Enabled"])
        self.assertIn("DEPLOYMENT_STOP_ON_ALARM", group["AutoRollbackConfiguration"]["Events"])
        self.assertIn("NewVersionRefusalsAlarm", alarms)
        metrics = TRANSFORMED["prod"]["Resources"]["NewVersionRefusalsAlarm"]["Properties"]["Metrics"]
        dimensions = metrics[1]["MetricStat"]["Metric"]["Dimensions"]
        self.assertIn({"Name": "function_version", "Value": {"Fn::GetAtt": [self.version("prod"), "Version"]}}, dimensions)


class DeployRole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.resources = yaml_parse(pathlib.Path("deploy/role.yaml").read_text())["Resources"]
        cls.watching = cls.resources["WatchingPolicy"]["Properties"]
        own = cls.resources["CloudFormationRole"]["Properties"]["Policies"]
        cls.cloud_formation = {"Properties": {"Policies": [*own, cls.watching]}}
        cls.needed = needed()

    def test_cloud_formation_may_do_what_it_needs_and_nothing_else(self):
        needed = {action for action in self.needed if not allowed(NOT_USED, action)} | OF_THE_ACCESS_LOG
        granted = actions(statements(self.cloud_formation))
        # A pattern such as Describe* stands in the schemas too.
        missing = {action for action in needed if not allowed(granted, action)}
        self.assertEqual(missing, set())
        idle = {pattern for pattern in granted if not any(matches(pattern, a) or matches(a, pattern) for a in needed)}
        self.assertEqual(idle, set())

    def test_every_exception_is_in_a_schema(self):
        idle = {pattern for pattern in NOT_USED if not any(matches(pattern, action) for action in self.needed)}
        self.assertEqual(idle, set())

    def test_what_the_roles_of_the_stack_may_do_is_within_the_boundary(self):
        boundary = self.resources["Boundary"]["Properties"]["PolicyDocument"]["Statement"]
        roles = [
            role
            for template in TRANSFORMED.values()
            for role in template["Resources"].values()
            if role["Type"] == "AWS::IAM::Role"
        ]
        self.assertEqual(actions(boundary), {action for role in roles for action in actions(statements(role))})

    def test_roles_are_made_within_the_boundary_alone(self):
        dangerous = {"iam:CreateRole", "iam:PutRolePolicy", "iam:PutRolePermissionsBoundary", "iam:AttachRolePolicy"}
        for statement in statements(self.cloud_formation):
            if any(allowed(as_list(statement["Action"]), action) for action in dangerous):
                self.assertEqual(statement["Condition"], {"StringEquals": {"iam:PermissionsBoundary": {"Ref": "Boundary"}}})
                for role in statement["Resource"]:
                    self.assertRegex(role["Fn::Sub"], r"role/\$\{StackName\}-[a-z-]*[A-Z]\S*-\*$")
        # A role with that prefix could change its own trust.
        for name in ["DeployRole", "CloudFormationRole"]:
            self.assertFalse(self.resources[name]["Properties"]["RoleName"]["Fn::Sub"].startswith("${StackName}"))

    def test_a_stage_cannot_reach_another_whose_name_begins_with_its_own(self):
        """Logical ids begin with a capital, names of stages do not."""
        text = pathlib.Path("deploy/role.yaml").read_text()
        self.assertNotRegex(text, r"\*\$\{StackName\}")
        for name in re.findall(r"\$\{StackName\}(\S*)", text):
            self.assertRegex(name, r"^(-[a-z-]*[A-Z]|-\$|[/:]|-(events|domain|close-carts)/|$)")

    def test_the_policies_fit_into_a_role(self):
        """10,240 characters without white space ("IAM and AWS STS quotas", AWS), and a managed policy 6,144."""

        def characters(document):
            text = json.dumps(document, separators=(",", ":"))
            text = re.sub(r'\{"(?:Fn::Sub|Ref)":("[^"]*")\}', r"\1", text)
            # What CloudFormation puts in, with the longest name of a stack.
            for name, value in {"StackName": "s" * 28, "AWS::AccountId": "1" * 12, "AWS::Partition": "aws"}.items():
                text = text.replace(f"${{{name}}}", value)
            return len(text.replace("${AWS::Region}", "ap-southeast-1"))

        for name in ["DeployRole", "CloudFormationRole"]:
            policies = self.resources[name]["Properties"]["Policies"]
            self.assertLessEqual(sum(characters(policy["PolicyDocument"]) for policy in policies), 10240, name)
        for policy in [self.resources["Boundary"]["Properties"], self.watching]:
            self.assertLessEqual(characters(policy["PolicyDocument"]), 6144)

    def test_only_what_has_no_name_is_allowed_for_every_resource(self):
        unnamed = set()
        for role in [self.resources["DeployRole"], self.cloud_formation]:
            for statement in statements(role):
                self.assertNotIn("*", as_list(statement["Action"]))
                if statement["Resource"] == "*":
                    unnamed.add(statement["Sid"])
        self.assertEqual(unnamed, {"TableKey", "DomainChanges", "Unnamed"})

    def test_a_workflow_deploys_one_stack(self):
        role = self.resources["DeployRole"]
        [trust] = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
        claims = {"aud": "sts.amazonaws.com", "sub": {"Fn::Sub": "repo:${Repository}:environment:${Environment}"}}
        condition = {f"token.actions.githubusercontent.com:{name}": value for name, value in claims.items()}
        self.assertEqual(trust["Condition"]["StringEquals"], condition)
        granted = actions(statements(role))
        self.assertEqual({action for action in granted if action.startswith("cloudformation:")}, OF_SAM)
        others = {action for action in granted - OF_SAM if not action.startswith("s3:")}
        self.assertEqual(others, {"iam:PassRole", "lambda:GetAlias", "lambda:GetFunctionConfiguration"})
