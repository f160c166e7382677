"""What tests of persons share: one with a value in every field, and calls about persons."""

from collections.abc import Awaitable, Mapping
from typing import Any

import pytest

from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused
from tests.service.crypto_world import World

ANN = {
    "email": "ann@example.com",
    "first_name": "Ann",
    "last_name": "Example",
    "phone": "+14155550100",
    "address": "1 Main Street, Springfield",
    "date_of_birth": "1980-02-29",
    "ip_address": "2001:db8::1",
    "ssn": "078-05-1120",
    "bank_account": "DE89 3704 0044 0532 0130 00",
    "credit_card": "4111 1111 1111 1111",
}
CLEAR = {"email", "first_name", "last_name", "phone"}
SEALED = ANN.keys() - CLEAR


def person(values: Mapping[str, str], name: str = "") -> User:
    """Give a person with these values, whose fields all are texts."""
    made: dict[str, Any] = {"name": name, **values}
    return User(**made)


async def refused(call: Awaitable[Any], reason: str) -> CallRefused:
    with pytest.raises(CallRefused) as error:
        await call
    assert error.value.reason == reason
    return error.value


async def create(world: World, user_id: str = "", **values: str) -> User:
    """Store a person with these values, ANN without any."""
    made: User = await world.users().CreateUser(
        users.CreateUserRequest(parent=world.parent, user=person(values or ANN), user_id=user_id)
    )
    return made


async def add_purpose(world: World, *fields: str, name: str = "billing") -> None:
    purpose = config.Purpose(fields=fields)
    await world.config().CreatePurpose(
        config.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id=name)
    )


def shown(user: User) -> dict[str, str]:
    return {each.name: value for each, value in user.ListFields() if each.name in ANN}
