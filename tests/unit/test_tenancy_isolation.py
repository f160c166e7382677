"""A process of one tenant reaches every key of it, and none of another's: over all of keys.py."""

import inspect
from collections.abc import Iterator
from typing import Any

import pytest

from services.tenancy.policy.calls import Account, Call, requests_of
from services.tenancy.policy.document import Request
from services.tenancy.store.keys import PlatformScope, TenantScope
from services.tenancy.store.port import Key, Query
from tests.tenancy_templates import policy

OWN, OTHER = "acme", "acme-labs"
TENANT = policy("tenant")
ACCOUNT = Account()
TAG = {"aws:principaltag/tenant_id": (OWN,)}
ARGUMENTS: dict[str, Any] = {"month": "202611", "status": "ACTIVE", "csp": "AWS"}
"""For parameters of which not any text will do."""
OPERATIONS = ("GetItem", "PutItem", "UpdateItem", "DeleteItem")


def places(scope: TenantScope | PlatformScope) -> Iterator[tuple[str, Key | Query]]:
    """Each key and query that a scope can build, by the name of its method."""
    for name, method in inspect.getmembers(scope, inspect.ismethod):
        if name.startswith("_"):
            continue
        given = [
            ARGUMENTS.get(each.name, 7 if each.annotation is int else "x1")
            for each in inspect.signature(method).parameters.values()
        ]
        made = method(*given)
        if isinstance(made, Key | Query):
            yield name, made


def requests(place: Key | Query) -> list[Request]:
    """What IAM is asked when a place is read, written and checked."""
    if isinstance(place, Query):
        expression = {
            "KeyConditionExpression": "#k = :v",
            "ExpressionAttributeValues": {":v": {"S": place.pk}},
        }
        names = {"TableName": place.table.default_name, "IndexName": place.index}
        return requests_of(Call("dynamodb", "Query", names | expression), ACCOUNT)
    table, key = place.table.default_name, {"pk": {"S": place.pk}, "sk": {"S": place.sk}}
    single = [
        Call("dynamodb", name, {"TableName": table, "Key": key, "Item": key}) for name in OPERATIONS
    ]
    actions = [
        {"Put": {"TableName": table, "Item": key}},
        {"ConditionCheck": {"TableName": table, "Key": key}},
    ]
    many = Call("dynamodb", "BatchGetItem", {"RequestItems": {table: {"Keys": [key]}}})
    whole = Call("dynamodb", "TransactWriteItems", {"TransactItems": actions})
    return [each for call in (*single, many, whole) for each in requests_of(call, ACCOUNT)]


OF_OWN = dict(places(TenantScope(OWN)))
OF_OTHER = dict(places(TenantScope(OTHER)))
OF_PLATFORM = dict(places(PlatformScope()))


def test_there_are_places_to_look_at() -> None:
    assert len(OF_OWN) >= 20
    assert {"due", "visible", "tenants", "account", "tenant_guard"} <= set(OF_PLATFORM)


@pytest.mark.parametrize("name", OF_OWN)
def test_a_tenant_reaches_its_own(name: str) -> None:
    for request in requests(OF_OWN[name]):
        assert TENANT.allows(request.also(TAG)), request


@pytest.mark.parametrize("name", OF_OTHER)
def test_a_tenant_reaches_nothing_of_another_whose_id_begins_like_its_own(name: str) -> None:
    for request in requests(OF_OTHER[name]):
        if request.action.startswith("dynamodb:"):
            assert not TENANT.allows(request.also(TAG)), request


@pytest.mark.parametrize("name", OF_PLATFORM)
def test_a_tenant_reaches_nothing_of_the_platform(name: str) -> None:
    for request in requests(OF_PLATFORM[name]):
        if request.action.startswith("dynamodb:"):
            assert not TENANT.allows(request.also(TAG)), request


@pytest.mark.parametrize("name", OF_OWN)
def test_without_the_tag_nothing_is_reached(name: str) -> None:
    for request in requests(OF_OWN[name]):
        if request.action.startswith("dynamodb:"):
            assert not TENANT.allows(request), request


ALL = [*OF_OWN.items(), *OF_PLATFORM.items()]


@pytest.mark.parametrize(("name", "place"), ALL, ids=[name for name, _ in ALL])
def test_the_service_reaches_all_but_the_work_of_executors(name: str, place: Key | Query) -> None:
    serve = policy("serve")
    for request in requests(place):
        assert serve.allows(request) is (name != "visible" or request.action == "kms:Decrypt")
