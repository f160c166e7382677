"""What benchmarks rely on: the endpoint counts its calls and can be slow."""

import json
import time
import urllib.request

from mesh.embedded.aws import AwsEndpoint
from mesh.embedded.aws_faults import CALLS_PATH, Faults
from tests.service.collect_world import SAMPLE_ACCOUNT, client


def counted(endpoint: AwsEndpoint) -> dict[str, int]:
    with urllib.request.urlopen(f"{endpoint.url}{CALLS_PATH}") as answer:  # noqa: S310  # loopback
        calls: dict[str, int] = json.load(answer)
    return calls


def test_calls_are_counted_and_delayed(aws: AwsEndpoint, faults: Faults) -> None:
    kms = client(aws, "kms", SAMPLE_ACCOUNT)
    before = counted(aws).get("kms:ListKeys", 0)
    kms.list_keys()
    faults.delay(0.3)
    began = time.monotonic()
    kms.list_keys()
    assert time.monotonic() - began >= 0.3
    assert counted(aws)["kms:ListKeys"] == before + 2
    faults.clear()
    assert counted(aws) == {}
