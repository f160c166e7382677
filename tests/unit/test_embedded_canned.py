"""Answers in place of moto's: in each protocol, in pages, in one region, as errors."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import ClientError

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_canned_files import put_files
from mesh.embedded.aws_faults import Fault, Faults

GRAPHS = {
    "GraphList": [
        {"Arn": f"arn:aws:detective:us-east-1:123456789012:graph:{number:032}"}
        for number in range(7)
    ]
}

TOKENS = {
    "NextToken": "NextToken",
    "nextToken": "nextToken",
    "NextMarker": "Marker",
    "Marker": "Marker",
}
"""What names the next page, and the parameter that asks for it."""


@pytest.fixture(scope="module")
def endpoint() -> Iterator[AwsEndpoint]:
    made = AwsEndpoint(Faults())
    made.start()
    yield made
    made.stop()


@pytest.fixture
def served(endpoint: AwsEndpoint) -> Iterator[AwsEndpoint]:
    yield endpoint
    endpoint.canned.clear()


def client(served: AwsEndpoint, service: str, region: str = "us-east-1") -> Any:
    boto: Any = boto3
    return boto.client(
        service,
        region_name=region,
        endpoint_url=served.url,
        aws_access_key_id="test",
        aws_secret_access_key="test",  # of an endpoint that asks for none
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_pages_by_a_token_that_botocore_does_not_know(served: AwsEndpoint) -> None:
    served.canned.put("detective:ListGraphs", GRAPHS)
    detective = client(served, "detective")
    first = detective.list_graphs(MaxResults=5)
    assert len(first["GraphList"]) == 5
    rest = detective.list_graphs(MaxResults=5, NextToken=first["NextToken"])
    assert first["GraphList"] + rest["GraphList"] == GRAPHS["GraphList"]
    assert "NextToken" not in rest


NAMED = {
    "config:DescribeConfigRules": ("ConfigRules", "ConfigRuleName"),
    "ec2:DescribeVpnConnections": ("VpnConnections", "VpnConnectionId"),
    "cloudwatch:DescribeAlarms": ("MetricAlarms", "AlarmName"),
    "elb:DescribeLoadBalancers": ("LoadBalancerDescriptions", "LoadBalancerName"),
    "elbv2:DescribeLoadBalancers": ("LoadBalancers", "LoadBalancerArn"),
    "apigatewayv2:GetApis": ("Items", "ApiId"),
    "cloudfront:ListOriginAccessControls": ("Items", "Id"),
    "efs:DescribeFileSystems": ("FileSystems", "FileSystemId"),
    "sso-admin:ListInstances": ("Instances", "InstanceArn"),
    "directconnect:DescribeConnections": ("connections", "connectionId"),
    "accessanalyzer:ListAnalyzers": ("analyzers", "arn"),
}


@pytest.mark.parametrize("operation", NAMED)
def test_each_protocol_and_its_pages(served: AwsEndpoint, operation: str) -> None:
    (key, name), (service, _, action) = NAMED[operation], operation.partition(":")
    names = [f"name-{number}" for number in range(5)]
    listed: Any = {key: [{name: each} for each in names]}
    if service == "cloudfront":
        listed = {"OriginAccessControlList": listed}
    served.canned.page = 2
    served.canned.put(operation, listed)
    found: list[str] = []
    asked: dict[str, Any] = {}
    while True:
        page = getattr(client(served, service), xform_name(action))(**asked)
        page = page.get("OriginAccessControlList", page)
        found += [each[name] for each in page[key]]
        following = {given: page[told] for told, given in TOKENS.items() if page.get(told)}
        if not following:
            break
        asked = following
    assert found == names


def test_by_a_parameter_of_the_path_and_of_the_body(served: AwsEndpoint) -> None:
    served.canned.put_each(
        "guardduty:GetDetector",
        "DetectorId",
        {"a1": {"Status": "ENABLED", "ServiceRole": "role"}},
        Fault(400, "BadRequestException", "no such detector"),
    )
    guardduty = client(served, "guardduty")
    assert guardduty.get_detector(DetectorId="a1")["Status"] == "ENABLED"
    with pytest.raises(ClientError, match="no such detector"):
        guardduty.get_detector(DetectorId="b2")
    acl = "arn:aws:wafv2:us-east-1:123456789012:regional/webacl/a/1"
    logged = {"ResourceArn": acl, "LogDestinationConfigs": ["arn:aws:s3:::aws-waf-logs-a"]}
    served.canned.put_each(
        "wafv2:GetLoggingConfiguration",
        "ResourceArn",
        {acl: {"LoggingConfiguration": logged}},
        Fault(400, "WAFNonexistentItemException", "no logging"),
    )
    waf = client(served, "wafv2")
    assert waf.get_logging_configuration(ResourceArn=acl)["LoggingConfiguration"] == logged
    with pytest.raises(ClientError, match="no logging"):
        waf.get_logging_configuration(ResourceArn=acl.replace("/1", "/2"))


def test_one_region_has_it_and_others_nothing(served: AwsEndpoint) -> None:
    served.canned.put("detective:ListGraphs", GRAPHS, "us-east-1")
    assert client(served, "detective", "eu-west-1").list_graphs().get("GraphList", []) == []
    assert len(client(served, "detective").list_graphs()["GraphList"]) == 7


def test_what_a_function_leaves_is_motos(served: AwsEndpoint) -> None:
    served.canned.put_by("sqs:ListQueues", lambda _asked: None)
    sqs = client(served, "sqs")
    made = sqs.create_queue(QueueName="left")["QueueUrl"]
    assert made in sqs.list_queues()["QueueUrls"]
    # The account is shared with tests that count what is in it.
    sqs.delete_queue(QueueUrl=made)


def test_files_of_answers(served: AwsEndpoint, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        """
- operation: detective:ListGraphs
  answer: {GraphList: [{Arn: "arn:x", CreatedTime: !days_ago 90}]}
  region: us-east-1
- operation: macie2:GetMacieSession
  error: {status: 403, code: AccessDeniedException, message: Macie is not enabled}
- operation: guardduty:GetDetector
  by: DetectorId
  answers: {a1: {Status: DISABLED, ServiceRole: r}}
  otherwise: {error: {status: 400, code: BadRequestException, message: none}}
"""
    )
    put_files(served.canned, tmp_path)
    (graph,) = client(served, "detective").list_graphs()["GraphList"]
    assert graph["CreatedTime"].year >= 2020
    with pytest.raises(ClientError, match="Macie is not enabled"):
        client(served, "macie2").get_macie_session()
    guardduty = client(served, "guardduty")
    assert guardduty.get_detector(DetectorId="a1")["Status"] == "DISABLED"
    with pytest.raises(ClientError, match="BadRequestException"):
        guardduty.get_detector(DetectorId="other")


def test_an_entry_that_says_nothing_is_refused(served: AwsEndpoint, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("- operation: detective:ListGraphs\n")
    with pytest.raises(KeyError):
        put_files(served.canned, tmp_path)
