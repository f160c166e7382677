"""Calls of AWS as they are made, whoever makes them in this process."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.client import BaseClient

from services.tenancy.policy.calls import Account, Call, requests_of
from services.tenancy.policy.document import Policy, Request


@contextmanager
def recorded(patch: pytest.MonkeyPatch, key_id: str = "test") -> Iterator[list[Call]]:
    """Give the list to which each call by these credentials is added: others' are not ours."""
    calls: list[Call] = []
    made = BaseClient._make_api_call  # type: ignore[attr-defined]  # its stubs leave it out

    def record(client: Any, operation: str, parameters: dict[str, Any]) -> Any:
        if client._request_signer._credentials.access_key == key_id:
            calls.append(Call(client.meta.service_model.service_name, operation, dict(parameters)))
        return made(client, operation, parameters)

    with patch.context() as patched:
        patched.setattr(BaseClient, "_make_api_call", record)
        yield calls


def tags_of(calls: list[Call]) -> dict[str, dict[str, str]]:
    """Give the tags of the secrets that these calls made."""
    return {
        call.parameters["Name"]: {each["Key"]: each["Value"] for each in call.parameters["Tags"]}
        for call in calls
        if call.operation == "CreateSecret"
    }


def requests(calls: list[Call], account: Account) -> list[Request]:
    return [each for call in calls for each in requests_of(call, account)]


def refused(policy: Policy, asked: list[Request]) -> list[Request]:
    """What a policy does not allow, each once by action and resource."""
    found = {(each.action, each.resource): each for each in asked if not policy.allows(each)}
    return list(found.values())
