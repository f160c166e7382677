"""Reads of one unit: values, absences, gaps, and the ledger of them."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import botocore.session
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from mesh.aws.operations import action, is_absence
from mesh.aws.outcomes import Outcome, classify
from mesh.aws.reader import (
    MAX_NAMED,
    Absent,
    EntryKey,
    Patience,
    Reader,
    ReadingCancelled,
    Unread,
)
from services.inventory.collect.credential_report import read_report


def refused(code: str, status: int = 400) -> ClientError:
    response: Any = {
        "Error": {"Code": code, "Message": "secret detail"},
        "ResponseMetadata": {"HTTPStatusCode": status},
    }
    return ClientError(response, "Operation")


_UNKNOWN = SimpleNamespace(input_shape=None, output_shape=None)


class Client:
    """Answers each method with the next of its prepared answers; errors are raised."""

    def __init__(self, service: str = "", **answers: list[Any]) -> None:
        model: Any = SimpleNamespace(operation_model=lambda _name: _UNKNOWN)
        if service:
            model = botocore.session.get_session().get_service_model(service)
        self.meta = SimpleNamespace(service_model=model)
        self._answers = {name: iter(each) for name, each in answers.items()}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.pages: dict[str, list[Any]] = {}

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(**parameters: Any) -> Any:
            self.calls.append((name, parameters))
            answer = next(self._answers[name])
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call

    def can_paginate(self, name: str) -> bool:
        return name in self.pages

    def get_paginator(self, name: str) -> "Client":
        self._paged = name
        return self

    def paginate(self, **parameters: Any) -> Iterator[Any]:
        self.calls.append((self._paged, parameters))
        for page in self.pages[self._paged]:
            if isinstance(page, Exception):
                raise page
            yield page


class Account:
    """An account whose one client is prepared."""

    cloud_account_id = "123456789012"
    partition = "aws"

    def __init__(self, client: Client, barred: str = "") -> None:
        self._client = client
        self._barred = barred

    def barred(self, service: str) -> str:
        return "FederatedSession" if service == self._barred else ""

    def client(self, _service: str, _region: str) -> Client:
        return self._client


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as made:
        yield made


def reader_of(
    client: Client, pool: ThreadPoolExecutor, seconds: float = 60, barred: str = ""
) -> Reader:
    account: Any = Account(client, barred)
    patience = Patience(seconds, threading.Event())
    return Reader(
        account,
        "us-east-1",
        patience=patience,
        pool=pool,
        listener=lambda _outcome: None,
        operations=OPERATIONS,
    )


OPERATIONS = frozenset(
    {
        "cloudtrail:DescribeTrails",
        "detective:ListGraphs",
        "cloudtrail:ListTags",
        "iam:GenerateCredentialReport",
        "iam:GetAccountSummary",
        "iam:GetCredentialReport",
        "iam:ListMFADevices",
        "iam:ListUsers",
        "s3:GetBucketAcl",
        "s3:GetBucketPolicy",
        "s3control:GetPublicAccessBlock",
    }
)


def test_what_is_not_declared_is_not_called(pool: ThreadPoolExecutor) -> None:
    client = Client()
    reader = reader_of(client, pool)
    with pytest.raises(ValueError, match="ec2:DescribeVpcs is not declared"):
        reader.call("ec2:DescribeVpcs")
    with pytest.raises(ValueError, match="ec2:DescribeVpcs is not declared"):
        reader.items("ec2:DescribeVpcs", "Vpcs")
    assert client.calls == []
    assert not reader.ledger.entries


def entries(reader: Reader) -> dict[tuple[str, Outcome, str], tuple[int, int]]:
    return {
        (key.operation, key.outcome, key.code): (entry.calls, entry.pages)
        for key, entry in reader.ledger.entries.items()
    }


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (refused("AccessDenied", 403), (Outcome.DENIED, "AccessDenied")),
        (refused("UnauthorizedOperation", 403), (Outcome.DENIED, "UnauthorizedOperation")),
        (refused("AccessDeniedException", 400), (Outcome.DENIED, "AccessDeniedException")),
        (refused("ExplicitDeny", 403), (Outcome.DENIED, "ExplicitDeny")),
        # No grant would cure these, though they come with 403.
        (refused("ExpiredToken", 403), (Outcome.FAILED, "ExpiredToken")),
        (refused("InvalidClientTokenId", 403), (Outcome.FAILED, "InvalidClientTokenId")),
        (refused("SignatureDoesNotMatch", 403), (Outcome.FAILED, "SignatureDoesNotMatch")),
        (refused("Throttling"), (Outcome.THROTTLED, "Throttling")),
        (refused("SlowDown", 503), (Outcome.THROTTLED, "SlowDown")),
        (refused("RequestLimitExceeded", 503), (Outcome.THROTTLED, "RequestLimitExceeded")),
        (refused("Busy", 429), (Outcome.THROTTLED, "Busy")),
        (refused("OptInRequired", 401), (Outcome.UNSUPPORTED, "OptInRequired")),
        (refused("InternalError", 501), (Outcome.UNSUPPORTED, "InternalError")),
        (refused("InternalError", 500), (Outcome.FAILED, "InternalError")),
        (refused("", 502), (Outcome.FAILED, "502")),
        (
            EndpointConnectionError(endpoint_url="http://x"),
            (Outcome.FAILED, "EndpointConnectionError"),
        ),
    ],
)
def test_errors_are_classified(error: Any, expected: tuple[Outcome, str]) -> None:
    assert classify(error) == expected


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        ("s3:ListBuckets", "s3:ListAllMyBuckets"),
        ("s3:GetBucketEncryption", "s3:GetEncryptionConfiguration"),
        ("s3:GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
        ("s3control:GetPublicAccessBlock", "s3:GetAccountPublicAccessBlock"),
        ("s3:GetBucketAcl", "s3:GetBucketAcl"),
        ("iam:GetAccountSummary", "iam:GetAccountSummary"),
        ("cloudtrail:ListTags", "cloudtrail:ListTags"),
    ],
)
def test_an_operation_needs_an_action(operation: str, expected: str) -> None:
    assert action(operation) == expected


def test_an_absence_belongs_to_its_operation() -> None:
    assert is_absence("s3:GetBucketPolicy", "NoSuchBucketPolicy")
    assert not is_absence("s3:GetBucketAcl", "NoSuchBucketPolicy")
    assert is_absence("s3:GetBucketAcl", "NoSuchBucket")
    assert not is_absence("iam:GetAccountSummary", "NoSuchEntity")


def test_a_call_ends_as_value_absence_or_gap(pool: ThreadPoolExecutor) -> None:
    client = Client(
        get_bucket_policy=[
            {"Policy": "{}"},
            refused("NoSuchBucketPolicy", 404),
            refused("AccessDenied", 403),
        ]
    )
    reader = reader_of(client, pool)
    operation = "s3:GetBucketPolicy"
    assert reader.call(operation, resource="a", Bucket="a") == {"Policy": "{}"}
    assert reader.call(operation, resource="b", Bucket="b") == Absent("NoSuchBucketPolicy")
    gap = Unread(operation, operation, Outcome.DENIED, "AccessDenied")
    assert reader.call(operation, resource="c", Bucket="c") == gap
    assert entries(reader) == {
        (operation, Outcome.READ, ""): (1, 1),
        (operation, Outcome.ABSENT, "NoSuchBucketPolicy"): (1, 0),
        (operation, Outcome.DENIED, "AccessDenied"): (1, 0),
    }
    denied = reader.ledger.entries[EntryKey(operation, Outcome.DENIED, "AccessDenied")]
    assert denied.resources == ["c"]


def test_pages_are_read_to_the_end(pool: ThreadPoolExecutor) -> None:
    client = Client()
    client.pages = {"list_users": [{"Users": [1, 2]}, {"Users": [3]}, {}]}
    reader = reader_of(client, pool)
    found: Any = reader.items("iam:ListUsers", "Users", page_size=50, listing=True, PathPrefix="/")
    assert found == [1, 2, 3]
    assert client.calls == [
        ("list_users", {"PaginationConfig": {"PageSize": 50}, "PathPrefix": "/"})
    ]
    assert entries(reader) == {("iam:ListUsers", Outcome.READ, ""): (3, 3)}
    assert reader.ledger.listings == {"iam:ListUsers"}


def test_a_gap_on_a_later_page_is_a_gap_of_the_whole(pool: ThreadPoolExecutor) -> None:
    client = Client()
    client.pages = {"list_users": [{"Users": [1]}, refused("Throttling"), {"Users": [2]}]}
    reader = reader_of(client, pool)
    found = reader.items("iam:ListUsers", "Users")
    assert found == Unread("iam:ListUsers", "iam:ListUsers", Outcome.THROTTLED, "Throttling")
    assert entries(reader) == {
        ("iam:ListUsers", Outcome.READ, ""): (1, 1),
        ("iam:ListUsers", Outcome.THROTTLED, "Throttling"): (1, 0),
    }


def test_what_has_no_pages_is_read_at_once(pool: ThreadPoolExecutor) -> None:
    client = Client(describe_trails=[{"trailList": [7]}])
    reader = reader_of(client, pool)
    found: Any = reader.picked("cloudtrail:DescribeTrails", "trailList", str)
    assert found == ["7"]


def test_pages_that_botocore_does_not_know_are_read_by_their_token(
    pool: ThreadPoolExecutor,
) -> None:
    pages = [
        {"GraphList": [1, 2], "NextToken": "b"},
        {"GraphList": [], "NextToken": "c"},
        {"GraphList": [3]},
    ]
    client = Client("detective", list_graphs=pages)
    reader = reader_of(client, pool)
    found: Any = reader.items("detective:ListGraphs", "GraphList", page_size=2)
    assert found == [1, 2, 3]
    assert [parameters for _, parameters in client.calls] == [
        {"MaxResults": 2},
        {"MaxResults": 2, "NextToken": "b"},
        {"MaxResults": 2, "NextToken": "c"},
    ]
    assert entries(reader) == {("detective:ListGraphs", Outcome.READ, ""): (3, 3)}


def test_a_page_that_names_itself_ends_the_reading(pool: ThreadPoolExecutor) -> None:
    client = Client("detective", list_graphs=[{"GraphList": [1], "NextToken": "b"}] * 3)
    found: Any = reader_of(client, pool).items("detective:ListGraphs", "GraphList")
    assert found == [1, 1]


def test_a_broken_page_leaves_all_unread(pool: ThreadPoolExecutor) -> None:
    broken = [{"GraphList": [1], "NextToken": "b"}, refused("AccessDeniedException", 403)]
    client = Client("detective", list_graphs=broken)
    found = reader_of(client, pool).items("detective:ListGraphs", "GraphList")
    assert isinstance(found, Unread)
    assert found.outcome is Outcome.DENIED


def test_absence_lists_nothing(pool: ThreadPoolExecutor) -> None:
    client = Client(list_mfa_devices=[refused("NoSuchEntity", 404)])
    assert reader_of(client, pool).items("iam:ListMFADevices", "MFADevices") == []


def test_after_the_deadline_nothing_is_asked(pool: ThreadPoolExecutor) -> None:
    client = Client(get_account_summary=[{}])
    reader = reader_of(client, pool, seconds=-1)
    answer = reader.call("iam:GetAccountSummary")
    assert isinstance(answer, Unread)
    assert (answer.outcome, answer.code) == (Outcome.FAILED, "DeadlineExceeded")
    assert client.calls == []


def test_what_the_session_can_never_call_is_not_asked(pool: ThreadPoolExecutor) -> None:
    client = Client(get_account_summary=[{}], get_bucket_acl=[{"Owner": {}}])
    reader = reader_of(client, pool, barred="iam")
    answers = [reader.call("iam:GetAccountSummary"), reader.items("iam:GetAccountSummary", "x")]
    for answer in answers:
        assert isinstance(answer, Unread)
        assert (answer.outcome, answer.code) == (Outcome.UNSUPPORTED, "FederatedSession")
    assert client.calls == []
    assert reader.call("s3:GetBucketAcl") == {"Owner": {}}


def test_a_cancelled_reader_asks_nothing_more(pool: ThreadPoolExecutor) -> None:
    client = Client(get_account_summary=[{}])
    account: Any = Account(client)
    cancelled = threading.Event()
    patience = Patience(60, cancelled)
    reader = Reader(
        account,
        "us-east-1",
        patience=patience,
        pool=pool,
        listener=lambda _outcome: None,
        operations=OPERATIONS,
    )
    cancelled.set()
    for read in (
        lambda: reader.call("iam:GetAccountSummary"),
        lambda: reader.items("iam:GetAccountSummary", "x"),
        lambda: reader.fan_out(lambda _: reader.call("iam:GetAccountSummary"), [1, 2]),
        lambda: reader.pause(60),
    ):
        with pytest.raises(ReadingCancelled):
            read()
    assert client.calls == []
    assert entries(reader) == {}


def test_an_entry_names_few_resources_and_counts_all(pool: ThreadPoolExecutor) -> None:
    many = MAX_NAMED + 30
    client = Client(get_bucket_acl=[refused("AccessDenied", 403)] * many)
    reader = reader_of(client, pool)
    reader.fan_out(
        lambda name: reader.call("s3:GetBucketAcl", resource=name), [f"b{n}" for n in range(many)]
    )
    (entry,) = reader.ledger.entries.values()
    assert entry.calls == many
    assert len(entry.resources) == len(set(entry.resources)) == MAX_NAMED


def test_other_errors_are_not_swallowed(pool: ThreadPoolExecutor) -> None:
    client = Client(get_account_summary=[ZeroDivisionError()])
    with pytest.raises(ZeroDivisionError):
        reader_of(client, pool).call("iam:GetAccountSummary")


REPORT = {"Content": b"user,arn\n"}


@pytest.mark.parametrize(
    ("generated", "got", "expected"),
    [
        ([{"State": "COMPLETE"}], REPORT, {}),
        ([{"State": "STARTED"}, {"State": "COMPLETE"}], REPORT, {}),
        # An earlier report is still a report.
        ([refused("AccessDenied", 403)], REPORT, {}),
        (
            [refused("AccessDenied", 403)],
            refused("ReportNotPresent", 410),
            ("iam:GenerateCredentialReport", Outcome.DENIED, "AccessDenied"),
        ),
        (
            [{"State": "COMPLETE"}],
            refused("AccessDenied", 403),
            ("iam:GetCredentialReport", Outcome.DENIED, "AccessDenied"),
        ),
        (
            [{"State": "COMPLETE"}],
            {"Content": b"user\nann\n"},
            ("iam:GetCredentialReport", Outcome.FAILED, "ReportMalformed"),
        ),
        (
            [{"State": "STARTED"}, {"State": "INPROGRESS"}, {"State": "INPROGRESS"}],
            refused("ReportInProgress", 404),
            ("iam:GenerateCredentialReport", Outcome.FAILED, "ReportInProgress"),
        ),
    ],
)
def test_a_report_is_awaited_with_bounded_patience(
    pool: ThreadPoolExecutor,
    monkeypatch: pytest.MonkeyPatch,
    generated: list[Any],
    got: Any,
    expected: Any,
) -> None:
    client = Client(generate_credential_report=generated, get_credential_report=[got])
    reader = reader_of(client, pool)
    monkeypatch.setattr(reader, "pause", lambda _seconds: None)
    found = read_report(reader, patience=2)
    if isinstance(found, Unread):
        assert (found.operation, found.outcome, found.code) == expected
    else:
        assert found == expected
