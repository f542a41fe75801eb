"""What the templates declare is what docs/openapi.yaml has, what CloudWatch knows, and as little as is needed.

tests/it/template.rs compares them with the running function.
"""

import json
import pathlib
import re
import unittest

import yaml

from transformed import as_list


class Loader(yaml.SafeLoader):
    """Leaves the arguments of intrinsic functions in their places."""


Loader.add_multi_constructor("!", lambda loader, _, node: getattr(loader, f"construct_{node.id}")(node))

ROOT = pathlib.Path(__file__).parents[2]
FILES = ["template.yaml", "deploy/watching.yaml", "deploy/events.yaml", "docs/openapi.yaml"]
MAIN, WATCHING, EVENTS, DESCRIPTION = (yaml.load((ROOT / name).read_text(), Loader) for name in FILES)
PARAMETERS = MAIN["Parameters"]
DESCRIBED = {
    f"{method.upper()} {path}" for path, item in DESCRIPTION["paths"].items() for method in item.keys() - {"parameters"}
}

NAMESPACE = "CartAssociations"
# Our own metrics, each with each of its sets of dimensions.
LISTED = re.findall(r"(?m)^\| `(\w+)` \| \w+ \| ([`\w, ]+) \|", (ROOT / "docs/alarms.md").read_text())
OWN = {" ".join([name, *sorted(re.findall(r"\w+", dimensions))]) for name, dimensions in LISTED}
# Counted from logs: the metric with its dimension; the log, the filter, and the field that the dimension is taken from.
COUNTED = {
    "gateway_throttles ApiId": ("AccessLogGroup", '{ $.status = "429" }', "$.apiId"),
    "function_exits function_name": (
        "FunctionLogGroup", '{ $.message = "the runtime stopped" }', "$.function_name",
    ),
}
# Those of AWS that are used, as its documentation lists them.
OF_AWS = {
    "AWS/ApiGateway 4xx ApiId",
    "AWS/ApiGateway 5xx ApiId",
    "AWS/ApiGateway Count ApiId",
    "AWS/ApiGateway IntegrationLatency ApiId",
    "AWS/ApiGateway Latency ApiId",
    "AWS/DynamoDB ConsumedReadCapacityUnits GlobalSecondaryIndexName TableName",
    "AWS/DynamoDB ConsumedReadCapacityUnits TableName",
    "AWS/DynamoDB ConsumedWriteCapacityUnits GlobalSecondaryIndexName TableName",
    "AWS/DynamoDB ConsumedWriteCapacityUnits TableName",
    "AWS/DynamoDB SystemErrors Operation TableName",
    "AWS/DynamoDB ThrottledRequests Operation TableName",
    "AWS/EventBridge/Pipes ExecutionFailed PipeName",
    "AWS/Lambda ConcurrentExecutions FunctionName",
    "AWS/Lambda Duration FunctionName",
    "AWS/Lambda Errors ExecutedVersion FunctionName Resource",
    "AWS/Lambda Errors FunctionName",
    "AWS/Lambda Throttles FunctionName",
    "AWS/SQS ApproximateNumberOfMessagesVisible QueueName",
}
SUCCESSES = {"cleared", "created", "listed", "removed", "unchanged"}
# What each dimension can be. A resource stands as its name, wherever `!Ref` or `!Sub` named it.
VALUES = {
    "service": {"cart-associations"},
    "start": {"cold", "warm"},
    "outcome": SUCCESSES.union(DESCRIPTION["components"]["schemas"]["ErrorCode"]["enum"]),
    "key_set": {"access", "customer"},
    "ApiId": {"Api", "ApiId"},
    "function_name": {"Function", "FunctionName"},
    "FunctionName": {"Function", "FunctionName"},
    "Resource": {"Function:live"},
    "ExecutedVersion": {"Function.Version.Version"},
    "function_version": {"Function.Version.Version"},
    "TableName": {"TableName"},
    "PipeName": {"EventPipe"},
    "QueueName": {"EventDeadLetters.QueueName"},
}


def of_type(template, kind):
    """The names and the properties of all resources of a type."""
    resources = template["Resources"].items()
    return {name: resource["Properties"] for name, resource in resources if resource["Type"] == kind}


def properties(template, name):
    return template["Resources"][name]["Properties"]


def substituted(text):
    """The text after `!Sub`: each resource stands as its name."""
    return re.sub(r"\$\{(\w[^}]*)\}", r"\1", text)


def statements(role):
    """The statements of a role's own policies, whether they depend on a condition or not."""
    for policy in role.get("Policies", []):
        for statement in policy["PolicyDocument"]["Statement"]:
            yield from (choice for choice in as_list(statement) if isinstance(choice, dict))


def allowed(role):
    """The resources that a role may use, each with the actions on it."""
    found = {}
    for statement in statements(role):
        for resource in as_list(statement["Resource"]):
            found.setdefault(resource, set()).update(as_list(statement["Action"]))
    return found


# A metric is its namespace, its name and its dimensions, whose values are None where they are searched.
def of_alarm(metric):
    return metric["Namespace"], metric["MetricName"], {each["Name"]: each["Value"] for each in metric["Dimensions"]}


def of_widget(metric):
    namespace, name, *pairs = [text for text in metric if isinstance(text, str)]
    return namespace, name, dict(zip(pairs[::2], pairs[1::2], strict=True))


def of_search(expression):
    """`SEARCH('{Namespace,Dimension} a="b" MetricName="c"', …)`"""
    schema, terms = re.match(r"SEARCH\('\{(.*?)\}(.*)", expression).groups()
    namespace, *names = schema.split(",")
    values = dict(re.findall(r' (\w+)="(.*?)"', terms))
    return namespace, values["MetricName"], {name: values.get(name) for name in names}


def of_query(expression):
    """`SELECT SUM(Name) FROM SCHEMA("Namespace", Dimension, …) WHERE …`, of Metrics Insights"""
    query = r"SELECT \w+\((\w+)\) FROM SCHEMA\((.*)\) WHERE (\w+) = '(.*)'"
    name, schema, only, value = re.fullmatch(query, expression.strip()).groups()
    namespace, *names = schema.replace('"', "").split(", ")
    return namespace, name, {name: value if name == only else None for name in names}


def signature(metric):
    namespace, name, dimensions = metric
    return " ".join([*([] if namespace == NAMESPACE else [namespace]), name, *sorted(dimensions)])


ALARM = "AWS::CloudWatch::Alarm"
ALARMS = of_type(MAIN, ALARM) | of_type(WATCHING, ALARM) | of_type(EVENTS, ALARM)
WIDGETS = json.loads(substituted(properties(WATCHING, "Dashboard")["DashboardBody"]))["widgets"]


def metrics_of_alarm(alarm):
    """Its metrics, whether it has one or computes with several."""
    if "Metrics" not in alarm:
        return [of_alarm(alarm)]
    computed, *others = alarm["Metrics"]
    if not others:
        return [of_query(computed["Expression"])]
    return [of_alarm(other["MetricStat"]["Metric"]) for other in others]


class Watching(unittest.TestCase):
    def check(self, metric):
        """There is such a metric, and its dimensions can have these values."""
        self.assertIn(signature(metric), OWN | OF_AWS)
        for name, value in metric[2].items():
            if value is not None:
                self.assertIn(substituted(value), VALUES[name], metric)

    def test_every_alarm_watches_what_there_is(self):
        for name, alarm in ALARMS.items():
            for metric in metrics_of_alarm(alarm):
                self.check(metric)
            computed, *others = alarm.get("Metrics", [None])
            for other in others:
                self.assertIn(other["Id"], computed["Expression"], name)
            self.assertEqual(alarm["TreatMissingData"], "notBreaching", name)

    def test_every_alarm_notifies_somebody_and_links_to_its_section(self):
        topics = {"HasPageTopic": "PageTopicArn", "HasTicketTopic": "TicketTopicArn"}
        used = set()
        for name, alarm in ALARMS.items():
            condition = alarm["AlarmActions"][0]
            used.add(condition)
            notified = [condition, [topics[condition]], "AWS::NoValue"]
            self.assertEqual((alarm["AlarmActions"], alarm["OKActions"]), (notified, notified), name)
            # operations.py looks for the section.
            self.assertTrue(alarm["AlarmDescription"].endswith(f"${{RunbookUrl}}#{name.lower()}"), name)
        self.assertEqual(used, topics.keys())

    def test_the_table_is_watched_for_every_operation(self):
        for name, metric in [("TableThrottlesAlarm", "ThrottledRequests"), ("TableErrorsAlarm", "SystemErrors")]:
            [(_, watched, dimensions)] = metrics_of_alarm(ALARMS[name])
            self.assertEqual((watched, dimensions["Operation"]), (metric, None))

    def test_what_no_metric_says_is_counted_from_the_logs(self):
        filters = of_type(WATCHING, "AWS::Logs::MetricFilter").values()
        for counted, (metric, (log, pattern, field)) in zip(filters, COUNTED.items(), strict=True):
            name, dimension = metric.split()
            self.assertEqual((counted["LogGroupName"], counted["FilterPattern"]), (log, pattern))
            dimensions = [{"Key": dimension, "Value": field}]
            transformation = {"MetricNamespace": NAMESPACE, "MetricName": name, "MetricValue": "1", "Unit": "Count"}
            self.assertEqual(counted["MetricTransformations"], [transformation | {"Dimensions": dimensions}])

    def test_a_new_version_goes_back_on_alarms_that_there_are(self):
        function = properties(MAIN, "Function")
        self.assertEqual(function["AutoPublishAlias"], "live")
        # Else a changed parameter makes no new version.
        self.assertIn("${Release}", function["Description"])
        self.assertEqual(MAIN["Resources"]["Function"]["UpdateReplacePolicy"], "Retain")
        preference = function["DeploymentPreference"]
        self.assertEqual((preference["Type"], preference["Role"]), ("Deployment", "DeploymentRole.Arn"))
        # Those of this template, and no other: it must not need the nested one.
        alarms = of_type(MAIN, ALARM).keys()
        self.assertIn("NewVersionErrorsAlarm", alarms)
        self.assertEqual(set(preference["Alarms"]), alarms)

    def test_the_dashboard_shows_metrics_that_there_are_and_every_one_of_our_own(self):
        # A widget of a log scans all of it at each refresh.
        self.assertEqual({widget["type"] for widget in WIDGETS}, {"metric", "alarm"})
        shown = [
            of_search(metric[0]["expression"]) if isinstance(metric[0], dict) else of_widget(metric)
            for widget in WIDGETS
            for metric in widget["properties"].get("metrics", [])
        ]
        for metric in shown:
            self.check(metric)
        own = {signature(metric) for metric in shown if metric[0] == NAMESPACE}
        self.assertEqual(own - COUNTED.keys(), OWN - COUNTED.keys())

    def test_the_dashboard_shows_every_alarm(self):
        def arns(template):
            return [f"{name}.Arn" for name in of_type(template, ALARM)]

        # The main stack hands over those that revert a rollout.
        separator, handed = properties(MAIN, "WatchingStack")["Parameters"]["RollbackAlarms"]
        self.assertEqual((separator, sorted(handed)), ('", "', sorted(arns(MAIN))))
        [listed] = [widget["properties"]["alarms"] for widget in WIDGETS if widget["type"] == "alarm"]
        self.assertEqual(sorted(listed), sorted([*arns(WATCHING), "RollbackAlarms"]))

    def test_the_widgets_of_the_dashboard_have_places_of_their_own(self):
        """A row is 24 columns wide, and no widget covers another."""
        taken = set()
        for widget in WIDGETS:
            for x in range(widget["x"], widget["x"] + widget["width"]):
                for y in range(widget["y"], widget["y"] + widget["height"]):
                    self.assertLess(x, 24, widget)
                    self.assertNotIn((x, y), taken, widget)
                    taken.add((x, y))

    def test_the_gateway_logs_what_helps_and_nothing_that_was_sent(self):
        """No path, because anyone who knows a cart id can act on the cart; no header, no address."""
        stage = properties(MAIN, "ApiStage")
        logged = json.loads(stage["AccessLogSettings"]["Format"])
        self.assertEqual((logged["apiId"], logged["status"]), ("$context.apiId", "$context.status"))
        helps = """apiId error.message integration.requestId integration.status integrationErrorMessage
            integrationLatency requestId requestTime responseLatency responseLength routeKey status"""
        self.assertEqual({value.removeprefix("$context.") for value in logged.values()}, set(helps.split()))
        settings = stage["DefaultRouteSettings"]
        self.assertEqual(settings["ThrottlingRateLimit"], "ThrottlingRate")
        self.assertEqual(settings["ThrottlingBurstLimit"], "ThrottlingBurst")


class Roles(unittest.TestCase):
    def test_code_deploy_moves_the_alias_of_this_function_and_no_other(self):
        alias = {"lambda:GetAlias", "lambda:GetProvisionedConcurrencyConfig", "lambda:UpdateAlias"}
        # It only reads alarms, and cannot know how many there are.
        needed = {"Function.Arn": alias, "${Function.Arn}:*": alias, "*": {"cloudwatch:DescribeAlarms"}}
        self.assertEqual(allowed(properties(MAIN, "DeploymentRole")), needed)

    def test_the_pipe_reads_the_stream_and_sends_events_and_nothing_else(self):
        pipe = properties(EVENTS, "EventPipe")
        self.assertEqual(pipe["RoleArn"], "EventPipeRole.Arn")
        letters = pipe["SourceParameters"]["DynamoDBStreamParameters"]["DeadLetterConfig"]["Arn"]
        read = {f"dynamodb:{name}" for name in ["DescribeStream", "GetRecords", "GetShardIterator", "ListStreams"]}
        needed = {
            pipe["Source"]: read,
            "TableKeyArn": {"kms:Decrypt"},
            pipe["Enrichment"]: {"states:StartSyncExecution"},
            pipe["Target"]: {"events:PutEvents"},
            letters: {"sqs:SendMessage"},
        }
        self.assertEqual(allowed(properties(EVENTS, "EventPipeRole")), needed)
        self.assertNotIn("Policies", properties(EVENTS, "EventDetailsRole"))

    def test_a_service_assumes_a_role_for_this_account_alone(self):
        roles = of_type(MAIN, "AWS::IAM::Role") | of_type(EVENTS, "AWS::IAM::Role")
        self.assertEqual(len(roles), 4)
        for name, role in roles.items():
            [trust] = role["AssumeRolePolicyDocument"]["Statement"]
            condition = {"StringEquals": {"aws:SourceAccount": "AWS::AccountId"}}
            self.assertEqual(trust["Condition"], condition, name)
            bounded = ["HasPermissionsBoundary", "PermissionsBoundaryArn", "AWS::NoValue"]
            self.assertEqual(role["PermissionsBoundary"], bounded, name)
            self.assertNotIn("ManagedPolicyArns", role, name)
            effects = {statement["Effect"] for statement in statements(role)}
            self.assertLessEqual(effects, {"Allow"}, name)


class Resources(unittest.TestCase):
    def test_the_routes_are_those_of_the_description_and_end_in_the_alias_of_new_versions(self):
        """tests/it/openapi.rs compares those of the description with the function's."""
        routes = of_type(MAIN, "AWS::ApiGatewayV2::Route").values()
        self.assertEqual({route["RouteKey"] for route in routes}, DESCRIBED)
        ends = {(route["ApiId"], route["Target"]) for route in routes}
        self.assertEqual(ends, {("Api", "integrations/${ApiIntegration}")})
        [(name, integration)] = of_type(MAIN, "AWS::ApiGatewayV2::Integration").items()
        found = [integration[key] for key in ["IntegrationType", "PayloadFormatVersion", "IntegrationUri"]]
        self.assertEqual((name, *found), ("ApiIntegration", "AWS_PROXY", "2.0", "Function.Alias"))
        [(name, function)] = of_type(MAIN, "AWS::Serverless::Function").items()
        self.assertEqual(name, "Function")
        # A route that SAM made of an event would not be among those above.
        self.assertFalse({"Events", "FunctionUrlConfig"} & function.keys())
        self.assertLess(function["Timeout"], 30)

    def test_pages_of_the_configured_origins_may_send_and_read_what_is_described(self):
        def lower(names):
            return {name.lower() for name in names}

        cors = properties(MAIN, "Api")["CorsConfiguration"]
        self.assertEqual(cors["AllowOrigins"], ["HasAllowedOrigins", "AllowedOrigins", ["https://none.invalid"]])
        self.assertEqual(set(cors["AllowMethods"]), {route.split()[0] for route in DESCRIBED})
        components = DESCRIPTION["components"]
        sent = {each["name"] for each in components["parameters"].values() if each["in"] == "header"}
        sent |= {"Accept", "Authorization", "Content-Type"}
        self.assertLessEqual(lower(sent), lower(cors["AllowHeaders"]))
        read = {name for answer in components["responses"].values() for name in answer["headers"]}
        # Two are for caches alone.
        self.assertLessEqual(lower(read - {"Vary", "Cache-Control"}), lower(cors["ExposeHeaders"]))

    def test_a_wrong_parameter_ends_the_deployment_before_it_begins(self):
        for name, parameter in PARAMETERS.items():
            bound = "MaxValue" if parameter["Type"] == "Number" else "AllowedPattern"
            self.assertTrue({"AllowedValues", bound} & parameter.keys(), f"{name} may be anything")

    def test_the_table_outlives_mistakes(self):
        resource = MAIN["Resources"]["AssociationsTable"]
        self.assertEqual(resource["Type"], "AWS::DynamoDB::GlobalTable")
        self.assertEqual((resource["DeletionPolicy"], resource["UpdateReplacePolicy"]), ("Retain", "Retain"))
        table = resource["Properties"]
        self.assertEqual((table["BillingMode"], table["SSESpecification"]["SSEEnabled"]), ("PAY_PER_REQUEST", True))
        self.assertEqual(MAIN["Conditions"]["IsProd"], ["Stage", "prod"])
        # The second one is there on a condition.
        replicas = [replica[1] if isinstance(replica, list) else replica for replica in table["Replicas"]]
        self.assertEqual([replica["Region"] for replica in replicas], ["AWS::Region", "ReplicaRegion"])
        for replica in replicas:
            self.assertEqual(replica["DeletionProtectionEnabled"], ["IsProd", True, False])
            self.assertIs(replica["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"], True)

    def test_what_costs_money_is_off_by_default(self):
        off = {
            "Tracing": "PassThrough", "ProvisionedConcurrency": "", "WarmWriteUnits": "", "ReplicaRegion": "",
            "TableStream": "false",
        }
        self.assertEqual({name: PARAMETERS[name]["Default"] for name in off}, off)
        self.assertEqual(properties(MAIN, "Function")["Tracing"], "Tracing")
        # Only if somebody reads it.
        self.assertEqual(MAIN["Conditions"]["HasStream"], ["HasReplica", ["TableStream", "true"]])
        self.assertEqual(properties(MAIN, "AssociationsTable")["StreamSpecification"][0], "HasStream")

    def test_a_route_takes_little_by_default(self):
        """A flood of forged tokens is paid for, see docs/costs.md. The smallest accounts have a burst of 1,250 for all
        APIs of a region."""
        self.assertLessEqual(PARAMETERS["ThrottlingRate"]["Default"], 100)
        self.assertLessEqual(PARAMETERS["ThrottlingBurst"]["Default"], 1250 / 5)

    def test_what_makes_the_events_can_be_replaced(self):
        """A resource whose name is fixed cannot be, and another stream replaces the pipe."""
        for name, resource in EVENTS["Resources"].items():
            fixed = {"Name", "StateMachineName", "QueueName", "RoleName"} & resource["Properties"].keys()
            self.assertFalse(fixed, name)
