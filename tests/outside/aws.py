"""A stand-in for the parts of AWS that `make deploy` calls: STS, S3, CloudFormation and Lambda. It records what it is asked."""

import http.server
import json
import re
import threading
import time
import urllib.parse
from xml.sax.saxutils import escape

ACCOUNT = "111122223333"
BUCKET = "artifacts"
MANAGED = "aws-sam-cli-managed-default"
STREAM = f"arn:aws:dynamodb:us-east-1:{ACCOUNT}:table/associations/stream/2026-11-24T02:50:00.000"


class Aws(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        # Each with its region: what CreateChangeSet was given, as dictionaries.
        self.change_sets = []
        self.executed = []
        # What was uploaded, by its path.
        self.objects = {}
        # The last change set of each stack that exists, by region and name.
        self.stacks = {}
        # Whether STS takes the credentials.
        self.signed_in = True
        # The version behind the alias `live`, its description, and what other versions get.
        self.live = ("1", "", {})
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def server_close(self):
        self.shutdown()
        super().server_close()


def xml(name, value):
    """An element of XML. A list becomes members."""
    if isinstance(value, dict):
        value = "".join(xml(*member) for member in value.items())
    elif isinstance(value, list):
        value = "".join(xml("member", member) for member in value)
    else:
        value = escape(str(value))
    return f"<{name}>{value}</{name}>"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("content-length", len(body))
        self.end_headers()
        self.wfile.write(body)

    def do_HEAD(self):
        self.answer(200 if urllib.parse.urlsplit(self.path).path in self.server.objects else 404)

    def do_GET(self):
        path = urllib.parse.urlsplit(self.path).path
        version, description, weights = self.server.live
        if path.endswith("/aliases/live"):
            alias = {"FunctionVersion": version, "RoutingConfig": {"AdditionalVersionWeights": weights}}
            self.answer(200, json.dumps(alias).encode())
        elif path.endswith("/configuration"):
            self.answer(200, json.dumps({"Version": version, "Description": description}).encode())
        else:
            self.answer(200, self.server.objects[path]) if path in self.server.objects else self.answer(404)

    def do_PUT(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.objects[urllib.parse.urlsplit(self.path).path] = body
        self.answer(200, ETag='"1"')

    def do_POST(self):
        form = urllib.parse.parse_qs(
            self.rfile.read(int(self.headers["content-length"])).decode(), keep_blank_values=True
        )
        asked = {name: values[0] for name, values in form.items()}
        # Credential=KEY/DATE/REGION/SERVICE/aws4_request
        self.region = re.search("Credential=[^/]+/[^/]+/([^/]+)/", self.headers["authorization"])[1]
        action = asked["Action"]
        try:
            result = getattr(self, action)(asked)
        except LookupError as error:
            body = xml("ErrorResponse", {"Error": {"Code": "ValidationError", "Message": error.args[0]}})
            return self.answer(400, body.encode())
        self.answer(200, xml(f"{action}Response", {f"{action}Result": result}).encode())

    def GetCallerIdentity(self, _):
        if not self.server.signed_in:
            raise LookupError("The security token included in the request is expired")
        return {"Account": ACCOUNT, "Arn": f"arn:aws:iam::{ACCOUNT}:user/somebody", "UserId": "somebody"}

    def DescribeStacks(self, asked):
        name = asked["StackName"]
        if name == MANAGED:
            tags = [{"Key": "ManagedStackSource", "Value": "AwsSamCli"}]
            return {"Stacks": [self.described(name, "CREATE_COMPLETE", {"SourceBucket": BUCKET}, {}, tags)]}
        stack = self.stack(name)
        parameters = stack["parameters"]
        outputs = {}
        if "AccessTokenJwks" in parameters:
            outputs = {"ApiId": "a1b2c3", "ApiUrl": "https://a1b2c3.example.com", "FunctionName": f"{name}-Function-1"}
            outputs["TableName"] = "associations"
            if parameters["TableStream"] == "true":
                outputs["TableStreamArn"] = STREAM
        elif "DomainName" in parameters:
            outputs = {"DomainUrl": f"https://{parameters['DomainName']}"}
        return {"Stacks": [self.described(name, f"{stack['type']}_COMPLETE", outputs, parameters, [])]}

    @staticmethod
    def described(name, status, outputs, parameters, tags):
        return {
            "StackName": name,
            "StackStatus": status,
            "CreationTime": "2026-11-24T02:50:00Z",
            "Outputs": [{"OutputKey": key, "OutputValue": value} for key, value in outputs.items()],
            "Parameters": [{"ParameterKey": key, "ParameterValue": value} for key, value in parameters.items()],
            "Tags": tags,
        }

    def stack(self, name):
        if (self.region, name) not in self.server.stacks:
            raise LookupError(f"Stack with id {name} does not exist")
        return self.server.stacks[self.region, name]

    def GetTemplateSummary(self, asked):
        return {"Parameters": [{"ParameterKey": name} for name in self.stack(asked["StackName"])["parameters"]]}

    def CreateChangeSet(self, asked):
        def pairs(of, key, value):
            count = sum(re.fullmatch(rf"{of}\.member\.[0-9]+\.{key}", name) is not None for name in asked)
            member = f"{of}.member."
            return {asked[f"{member}{i}.{key}"]: asked[f"{member}{i}.{value}"] for i in range(1, count + 1)}

        change_set = {
            "region": self.region,
            "stack": asked["StackName"],
            "type": asked["ChangeSetType"],
            "tags": pairs("Tags", "Key", "Value"),
            "capabilities": asked["Capabilities.member.1"],
            "parameters": pairs("Parameters", "ParameterKey", "ParameterValue"),
            "template": urllib.parse.urlsplit(asked["TemplateURL"]).path,
        }
        self.server.change_sets.append(change_set)
        return {"Id": f"change-set-{len(self.server.change_sets)}", "StackId": change_set["stack"]}

    def DescribeChangeSet(self, asked):
        resource = {"Action": "Add", "LogicalResourceId": "Api", "ResourceType": "AWS::ApiGatewayV2::Api"}
        return {"Status": "CREATE_COMPLETE", "Changes": [{"Type": "Resource", "ResourceChange": resource}]}

    def ExecuteChangeSet(self, asked):
        change_set = self.server.change_sets[int(asked["ChangeSetName"].rsplit("-")[-1]) - 1]
        self.server.executed.append(change_set)
        self.server.stacks[self.region, change_set["stack"]] = change_set
        return {}

    def DescribeStackEvents(self, asked):
        name = asked["StackName"]
        # SAM also asks before it executes the first change set.
        [*_, last] = [change_set for change_set in self.server.change_sets if change_set["stack"] == name]
        status = f"{last['type']}_COMPLETE"
        event = {
            "EventId": len(self.server.executed),
            "StackId": name,
            "StackName": name,
            "LogicalResourceId": name,
            "PhysicalResourceId": name,
            "ResourceType": "AWS::CloudFormation::Stack",
            "ResourceStatus": status,
            # Later than the moment at which SAM began to look.
            "Timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 60 * len(self.server.executed))),
        }
        return {"StackEvents": [event]}

    def log_message(self, *_):
        pass
