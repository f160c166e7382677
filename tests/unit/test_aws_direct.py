"""Calls made directly are those that botocore would have made, and end as with botocore."""

import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any
from xml.etree.ElementTree import ParseError

import botocore.auth
import pytest
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.endpoint import Endpoint
from botocore.exceptions import BotoCoreError, ClientError, ConnectionClosedError

from mesh.aws import direct, operations
from mesh.aws.accounts import Access, Account, _client
from mesh.aws.direct import DirectEndpoint
from mesh.aws.exchange import Received
from mesh.aws.models import new_session
from mesh.aws.operations import split
from mesh.aws.pace import Paces
from mesh.aws.transport import _Answer
from services.inventory.collect.registry import REGISTRY

ATTEMPTS = 3
REGION = "eu-west-1"
DIRECT = sorted(each for each in REGISTRY.operations if not each.startswith("s3control:"))
FACTS = sorted(
    (operation, code)
    for operation, codes in operations._ABSENT.items()
    for code in codes
    if operation in DIRECT
)
NOW = datetime(2026, 11, 22, 15, 4, 5, tzinfo=UTC)
Answering = Callable[[int], AWSResponse]
Ending = tuple[list[Any], Any]
ACCESS = Access(REGION, operations=REGISTRY.operations, attempts=ATTEMPTS)


def answer(status: int, content: bytes, **headers: str) -> AWSResponse:
    received = Received(bodiless=False)
    received.status = status
    received.headers = {"x-amzn-requestid": "1", **headers}
    received._parts.append(content)
    return _Answer("https://there/", received)


class Wire:
    """What is sent in place of the network, and what it is answered."""

    def __init__(self, answering: Answering) -> None:
        self.sent: list[tuple[str, str, dict[str, str], bytes]] = []
        self._answering = answering

    def __call__(self, request: Any) -> AWSResponse:
        body = request.body or b""
        headers = {
            name: value.decode() if isinstance(value, bytes) else value
            for name, value in request.headers.items()
            # Written by what writes the request, if it is not there.
            if name != "Content-Length"
        }
        content = body.encode() if isinstance(body, str) else body
        self.sent.append((request.method, request.url, headers, content))
        return self._answering(len(self.sent))


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let time and chance stand still, and take no settings but these."""
    for name, value in {
        "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        "AWS_SESSION_TOKEN": "token/+=",
        "AWS_CONFIG_FILE": str(tmp_path / "none"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "none"),
    }.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: NOW)
    monkeypatch.setattr(direct, "get_current_datetime", lambda: NOW)
    monkeypatch.setattr(uuid, "uuid4", lambda: uuid.UUID(int=7))
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _seconds: None)


class Pair:
    """A client as an account has it, and one that is botocore's alone."""

    def __init__(self, service: str) -> None:
        session = new_session(ACCESS.operations)
        account = Account("123456789012", "aws", ACCESS, session, Paces(1.0))
        account._transport.exchange = self._ours  # type: ignore[method-assign]  # nothing leaves
        self.ours: Any = account.client(service, REGION)
        self.theirs: Any = _client(session, ACCESS, service, REGION)
        self.theirs.meta.events.register_first("before-send", self._theirs)  # type: ignore[arg-type]  # the answer
        self._wires = [Wire(_silent), Wire(_silent)]

    def both(
        self, operation: str, parameters: dict[str, Any], answering: Answering
    ) -> tuple[Ending, Ending]:
        """Give of both what they sent and how it ended."""
        name = split(operation)[1]
        ours, theirs = self._wires = [Wire(answering), Wire(answering)]
        return (
            (ours.sent, ended(self.ours, name, parameters)),
            (theirs.sent, ended(self.theirs, name, parameters)),
        )

    def _ours(self, request: Any) -> AWSResponse:
        return self._wires[0](request)

    def _theirs(self, request: Any, **_: object) -> AWSResponse:
        given = self._wires[1](request)
        headers: Any = given.headers
        return AWSResponse(given.url, given.status_code, headers, given.raw)


kept = cache(Pair)
"""Clients are costly to make. Those whose calls are repeated are not kept: their tries run out."""


def _silent(number: int) -> AWSResponse:
    raise AssertionError(number)


def ended(client: Any, name: str, parameters: dict[str, Any]) -> Any:
    try:
        return getattr(client, xform_name(name))(**parameters)
    except ClientError as error:
        return type(error).__name__, error.response
    except (BotoCoreError, ParseError) as error:
        return type(error).__name__


def parameters_of(operation: str, text: str) -> dict[str, Any]:
    """Make parameters with every member that is required, a text in each."""
    service, name = split(operation)
    model = new_session(ACCESS.operations).get_service_model(service).operation_model(name)
    return {} if model.input_shape is None else _made(model.input_shape, text)


def _made(shape: Any, text: str) -> Any:
    if shape.type_name == "structure":
        return {
            name: BUCKET if name == "Bucket" else _made(shape.members[name], text)
            for name in shape.required_members
        }
    if shape.type_name == "list":
        return [_made(shape.member, text)]
    if shape.type_name == "string":
        return shape.enum[0] if shape.enum else text
    return {"integer": 7, "boolean": True}[shape.type_name]


BUCKET = "acme.data-1"
TEXTS = ("etl", "arn:aws:lambda:eu-west-1:123456789012:function:a b/c+d=é*~(1)%2F&x?y#z")
EMPTY = {"json": b"{}", "rest-json": b"{}", "rest-xml": b"<Answer/>"}
FAILED = {
    "json": b'{"__type": "CODE", "message": "why"}',
    "rest-json": b'{"__type": "CODE", "message": "why"}',
    "rest-xml": b"<Error><Code>CODE</Code><Message>why</Message></Error>",
    "ec2": b"<Response><Errors><Error><Code>CODE</Code></Error></Errors></Response>",
    "query": b"<ErrorResponse><Error><Code>CODE</Code></Error></ErrorResponse>",
}
"""Errors in the words of each protocol."""


def protocol_of(operation: str) -> str:
    model: Any = new_session(ACCESS.operations).get_service_model(split(operation)[0])
    return str(model.resolved_protocol)


def empty(operation: str) -> AWSResponse:
    name = split(operation)[1]
    query = f"<{name}Response><{name}Result/></{name}Response>".encode()
    return answer(200, EMPTY.get(protocol_of(operation), query))


def failed(operation: str, status: int, code: str) -> AWSResponse:
    return answer(status, FAILED[protocol_of(operation)].replace(b"CODE", code.encode()))


@pytest.mark.parametrize("text", TEXTS)
@pytest.mark.parametrize("operation", DIRECT)
def test_a_call_is_sent_and_read_as_botocore_does(
    operation: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []

    def make_request(endpoint: Endpoint, model: Any, request_dict: Any) -> Any:
        made.append(model.name)
        return whole(endpoint, model, request_dict)

    whole: Any = Endpoint.make_request
    monkeypatch.setattr(Endpoint, "make_request", make_request)
    pair = kept(split(operation)[0])
    ours, theirs = pair.both(operation, parameters_of(operation, text), lambda _: empty(operation))
    assert len(made) == 1, "botocore made the other's call alone"
    assert isinstance(pair.ours._endpoint, DirectEndpoint)
    assert ours == theirs
    ((_method, _url, headers, _body),) = ours[0]
    assert headers["Authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261122/")
    assert ours[1]["ResponseMetadata"]["RetryAttempts"] == 0


@pytest.mark.parametrize(("operation", "code"), FACTS)
def test_a_fact_of_absence_is_read_as_botocore_does(operation: str, code: str) -> None:
    ours, theirs = kept(split(operation)[0]).both(
        operation, parameters_of(operation, "etl"), lambda _: failed(operation, 404, code)
    )
    assert ours == theirs
    assert len(ours[0]) == 1
    assert ours[1][1]["Error"]["Code"] == code


@pytest.mark.parametrize(
    ("operation", "status", "code", "sent"),
    [
        ("s3:GetBucketTagging", 403, "AccessDenied", 1),
        ("iam:ListMFADevices", 403, "AccessDenied", 1),
        ("s3:GetBucketTagging", 503, "SlowDown", ATTEMPTS),
        ("dynamodb:ListTables", 400, "ThrottlingException", ATTEMPTS),
        ("ec2:DescribeVpcs", 400, "RequestLimitExceeded", ATTEMPTS),
        ("kms:ListKeys", 500, "KMSInternalException", ATTEMPTS),
        ("s3:GetBucketTagging", 200, "InternalError", ATTEMPTS),
        ("s3:GetBucketTagging", 404, "NoSuchTagSet", 1),
        ("s3:GetBucketTagging", 500, "NoSuchTagSet", ATTEMPTS),
    ],
)
def test_what_is_no_plain_answer_is_handled_by_botocore(
    operation: str, status: int, code: str, sent: int
) -> None:
    ours, theirs = Pair(split(operation)[0]).both(
        operation, parameters_of(operation, "etl"), lambda _: failed(operation, status, code)
    )
    assert ours == theirs
    assert len(ours[0]) == sent
    assert ours[1][1]["Error"]["Code"] == code


@pytest.mark.parametrize("content", [b"<Error><Code>InternalError</Code></Error>", b"<Answer><Cut"])
def test_success_that_is_none_is_tried_again_as_botocore_does(content: bytes) -> None:
    pair = Pair("s3")
    for operation in (each for each in DIRECT if each.startswith("s3:")):
        parameters = parameters_of(operation, "")
        ours, theirs = pair.both(operation, parameters, lambda _: answer(200, content))
        assert ours == theirs, operation


@pytest.mark.parametrize("operation", ["s3:GetBucketTagging", "iam:ListMFADevices", "kms:ListKeys"])
def test_a_lost_connection_is_tried_again_under_the_same_id(operation: str) -> None:
    def answering(number: int) -> AWSResponse:
        if number < ATTEMPTS:
            raise ConnectionClosedError(endpoint_url="https://there/")
        return empty(operation)

    ours, theirs = Pair(split(operation)[0]).both(
        operation, parameters_of(operation, "etl"), answering
    )
    assert ours == theirs
    assert ours[1]["ResponseMetadata"]["RetryAttempts"] == ATTEMPTS - 1
    tries = [headers["amz-sdk-request"].partition(";")[0] for _, _, headers, _ in ours[0]]
    assert tries == ["attempt=1", "attempt=2", "attempt=3"]
    assert len({headers["amz-sdk-invocation-id"] for _, _, headers, _ in ours[0]}) == 1


CONTENTS = {
    "s3:GetBucketLocation": b"<LocationConstraint>eu-west-1</LocationConstraint>",
    "s3:GetBucketPolicy": b'{"Statement": []}',
    "s3:GetBucketTagging": b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet>"
    b"</Tagging>",
    "s3:ListBuckets": b"<R><Buckets><Bucket><Name>a</Name><CreationDate>2026-11-22T01:02:03.000Z"
    b"</CreationDate></Bucket></Buckets></R>",
    "iam:GetAccountAuthorizationDetails": b"<A><GetAccountAuthorizationDetailsResult><Policies>"
    b"<member><PolicyVersionList><member><Document>%7B%22a%22%3A1%7D</Document></member>"
    b"</PolicyVersionList></member></Policies></GetAccountAuthorizationDetailsResult></A>",
    "kms:DescribeKey": b'{"KeyMetadata": {"KeyId": "a", "CreationDate": 1.5, "Enabled": true}}',
    "ec2:DescribeVpcs": b"<R><vpcSet><item><vpcId>vpc-1</vpcId></item></vpcSet></R>",
    "lambda:ListFunctions": b'{"Functions": [{"FunctionName": "etl", "CodeSize": 7}]}',
}
"""Answers that say something, also what botocore reads by itself."""


@pytest.mark.parametrize("operation", CONTENTS)
def test_an_answer_says_what_it_says_to_botocore(operation: str) -> None:
    ours, theirs = kept(split(operation)[0]).both(
        operation,
        parameters_of(operation, "etl"),
        lambda _: answer(200, CONTENTS[operation], **{"content-type": "text/x"}),
    )
    assert ours == theirs
    said = ours[1].keys() - {"ResponseMetadata"}
    assert said
    assert all(ours[1][name] for name in said)


def test_a_bucket_elsewhere_is_asked_there() -> None:
    """S3 names the region; botocore signs anew for it and remembers it."""
    moved = answer(
        400,
        b"<Error><Code>AuthorizationHeaderMalformed</Code><Region>us-west-2</Region></Error>",
        **{"x-amz-bucket-region": "us-west-2"},
    )
    ours, theirs = Pair("s3").both(
        "s3:GetBucketTagging",
        {"Bucket": BUCKET},
        lambda number: moved if number == 1 else empty("s3:GetBucketTagging"),
    )
    assert ours == theirs
    assert ["/us-west-2/" in headers["Authorization"] for _, _, headers, _ in ours[0]] == [
        False,
        True,
    ]
