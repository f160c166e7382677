"""Each process does its work by its own policy: all calls it makes are allowed, all rights used."""

import argparse
from typing import Any

import pytest

from mesh.embedded.aws import AwsEndpoint
from services.tenancy.kms_command import SETUP_KMS
from services.tenancy.policy.calls import Account
from services.tenancy.settings import TenancySettings
from services.tenancy.tables_command import TABLE_COMMANDS
from tests.tenancy_calls import recorded, refused, requests
from tests.tenancy_templates import policy

REGION = "eu-west-1"
ACCOUNT = Account(region=REGION)


def settings_of(aws: AwsEndpoint) -> TenancySettings:
    """Keys and tables under the names of the policies, in a region of these tests alone."""
    given: dict[str, Any] = {"aws_region": REGION, "aws_endpoint_url": aws.url}
    return TenancySettings(**given)


async def test_set_up_needs_all_of_its_policy_and_no_more(
    aws: AwsEndpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = settings_of(aws)
    with recorded(monkeypatch) as calls:
        for command in (SETUP_KMS, *TABLE_COMMANDS):
            await command.run(settings, argparse.Namespace())
    asked = requests(calls, ACCOUNT)
    rights = policy("setup")
    assert len(calls) > 20
    assert refused(rights, asked) == []
    assert rights.unused(asked) == set()
