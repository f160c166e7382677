"""The embedded endpoint fails as AWS does, service by service, and counts what it is asked."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, UnknownServiceError

from cli.sample.account import populate
from mesh.aws.accounts import Access, Accounts, AccountUnreachable
from mesh.aws.outcomes import Outcome, classify
from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import Faults, operation_of
from tests.service.collect_world import REGION, ROLE, SAMPLE_ACCOUNT, client

CALLS: dict[str, dict[str, Any]] = {
    "iam:GetAccountSummary": {},
    "sts:GetCallerIdentity": {},
    "ec2:DescribeSecurityGroups": {},
    "s3:ListBuckets": {},
    "s3:GetBucketEncryption": {"Bucket": "acme-data"},
    "s3:HeadBucket": {"Bucket": "acme-data"},
    "s3:GetBucketLifecycleConfiguration": {"Bucket": "acme-access-logs"},
    "cloudtrail:DescribeTrails": {},
    "lambda:ListFunctions": {},
    "lambda:GetPolicy": {"FunctionName": "etl"},
}


def call(endpoint: AwsEndpoint, operation: str) -> Any:
    service, _, name = operation.partition(":")
    made = client(endpoint, service, SAMPLE_ACCOUNT)
    return getattr(made, _method(made, name))(**CALLS[operation])


def _method(made: Any, name: str) -> str:
    return str(next(each for each, api in made.meta.method_to_api_mapping.items() if api == name))


@pytest.mark.parametrize("operation", CALLS)
def test_an_operation_is_denied_and_throttled_in_its_own_words(
    aws: AwsEndpoint, faults: Faults, operation: str
) -> None:
    call(aws, operation)
    faults.deny(operation)
    with pytest.raises(ClientError) as denied:
        call(aws, operation)
    assert classify(denied.value)[0] is Outcome.DENIED
    if operation != "s3:HeadBucket":  # an answer to HEAD has no body to say more
        faults.throttle(operation)
        with pytest.raises(ClientError) as throttled:
            call(aws, operation)
        assert classify(throttled.value)[0] is Outcome.THROTTLED
        assert "denied" not in str(throttled.value).lower()
    faults.clear()
    call(aws, operation)
    assert faults.calls[operation] == 1


def test_a_denial_touches_no_other_operation(aws: AwsEndpoint, faults: Faults) -> None:
    faults.deny("s3:GetBucketEncryption")
    s3 = client(aws, "s3", SAMPLE_ACCOUNT)
    assert s3.get_bucket_versioning(Bucket="acme-data")["Status"] == "Enabled"


def test_a_call_can_be_held(aws: AwsEndpoint, faults: Faults) -> None:
    gate = faults.hold("iam:GetAccountSummary")
    made = client(aws, "iam", SAMPLE_ACCOUNT)
    thread = threading.Thread(target=made.get_account_summary)
    thread.start()
    thread.join(0.2)
    assert thread.is_alive()
    gate.set()
    thread.join(30)
    assert not thread.is_alive()


def test_an_operation_of_no_service_is_refused(faults: Faults) -> None:
    with pytest.raises(UnknownServiceError):
        faults.deny("moon:LandOnIt")


@pytest.mark.parametrize(
    "environ", [{}, {"HTTP_AUTHORIZATION": "Bearer x"}, {"HTTP_AUTHORIZATION": "AWS4 Credential="}]
)
def test_an_unsigned_request_is_no_operation(environ: dict[str, str]) -> None:
    assert operation_of(environ) == ""


def test_the_report_has_a_root_user_and_a_past(aws: AwsEndpoint, faults: Faults) -> None:
    iam = client(aws, "iam", SAMPLE_ACCOUNT)
    iam.generate_credential_report()
    text = iam.get_credential_report()["Content"].decode()
    lines = text.splitlines()
    assert lines[1].startswith(f"<root_account>,arn:aws:iam::{SAMPLE_ACCOUNT}:root,")
    ci = next(line for line in lines if line.startswith("ci-deploy,"))
    assert iam.get_user(UserName="ci-deploy")["User"]["Tags"][0]["Value"] in ci


def test_the_sample_is_made_on_this_machine_only() -> None:
    with pytest.raises(ValueError, match="not on this machine"):
        populate("https://iam.amazonaws.com", REGION)


def test_an_account_is_reached_by_its_role_or_not_at_all(aws: AwsEndpoint, faults: Faults) -> None:
    own = Accounts(Access(REGION, aws.url, attempts=1)).open(SAMPLE_ACCOUNT)
    assert (own.cloud_account_id, own.partition) == (SAMPLE_ACCOUNT, "aws")
    assert faults.calls["sts:AssumeRole"] == 0
    other = Accounts(Access(REGION, aws.url, role=ROLE, attempts=1)).open("222222222222")
    assert other.cloud_account_id == "222222222222"
    with pytest.raises(AccountUnreachable, match="no role is configured"):
        Accounts(Access(REGION, aws.url, attempts=1)).open("222222222222")
    # A role that leads to a third account is no way in.
    wrong = Access(REGION, aws.url, role=ROLE.replace("{account}", "444444444444"), attempts=1)
    with pytest.raises(AccountUnreachable, match="lead to 444444444444"):
        Accounts(wrong).open("222222222222")
    faults.deny("sts:GetCallerIdentity")
    with pytest.raises(AccountUnreachable, match="AccessDenied"):
        Accounts(Access(REGION, aws.url, attempts=1)).open(SAMPLE_ACCOUNT)


@pytest.fixture
def process() -> Iterator["subprocess.Popen[str]"]:
    started = subprocess.Popen(
        [sys.executable, "-m", "mesh.embedded.aws", "--deny", "s3:ListBuckets"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ},
    )
    yield started
    if started.poll() is None:
        started.kill()
    started.communicate()


def test_the_endpoint_runs_as_a_process(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    word, _, rest = process.stdout.readline().partition(" ")
    assert word == "LISTENING"
    url = json.loads(rest)["endpoint"]
    assert url.startswith("http://127.0.0.1:")
    s3 = boto3.client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        aws_access_key_id="test",
        aws_secret_access_key="test",
        config=Config(retries={"total_max_attempts": 1}),
    )
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.list_buckets()
    s3.create_bucket(Bucket="made-in-a-process")
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
