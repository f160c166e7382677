"""A KMS key that is disabled fails the next call, whatever is remembered; one that is back not."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.identity.keys import create_signing_key, sign_token
from secmesh.crypto.v1 import field_crypto_service_pb2 as fields
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1 import user_service_pb2_grpc
from secmesh.crypto.v1.user_pb2 import User
from secmesh_client import CallRefused, connect
from services.crypto.custody.key_file import KeyFile, write_key_file
from services.crypto.custody.kms import KmsKeyState
from tests.databases import crypto_database, empty_crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.person_story import refused
from tests.service.rotation_story import ADDRESS, SSN, read, store
from tests.service.test_crypto_process import TENANT, _environment, served


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def _create(world: World, _name: str) -> Any:
    user = User(address=ADDRESS)
    return await world.users().CreateUser(users.CreateUserRequest(parent=world.parent, user=user))


async def _search(world: World, _name: str) -> Any:
    asked = users.SearchUsersRequest(parent=world.parent, field="ssn", value=SSN)
    return await world.users().SearchUsers(asked)


async def _encrypt(world: World, name: str) -> Any:
    asked = fields.EncryptRequest(parent=world.parent, table="letters")
    asked.fields.add(user_id=name.rpartition("/")[2], field="address", plaintext=b"x")
    return await world.fields().Encrypt(asked)


@pytest.mark.parametrize("call", [read, _create, _search, _encrypt], ids=lambda each: each.__name__)
async def test_the_next_call_is_refused_and_served_when_the_key_is_back(
    world: World, call: Callable[[World, str], Awaitable[Any]]
) -> None:
    [name] = await store(world, 1)
    before = await call(world, name)
    world.kms.set_state(KMS_KEY, KmsKeyState.DISABLED)
    for _ in range(2):
        await refused(call(world, name), "KEY_DISABLED")
    assert (await world.users().GetUser(users.GetUserRequest(name=name))).name == name
    world.kms.set_state(KMS_KEY, KmsKeyState.ENABLED)
    assert type(await call(world, name)) is type(before)


def test_a_key_that_is_disabled_in_its_file_fails_the_next_call(tmp_path: Path) -> None:
    create_signing_key(tmp_path / "keys")
    token = sign_token(tmp_path / "keys", subject="ann", tenant="acme", roles=["admin"])
    with (
        empty_crypto_database() as access,
        served(_environment(access, tmp_path)) as (address, _),
        connect(address, token=token) as channel,
    ):
        stub = user_service_pb2_grpc.UserServiceStub(channel)
        asked = users.CreateUserRequest(parent=TENANT, user=User(address=ADDRESS))
        stub.CreateUser(asked)
        path = tmp_path / "keys" / "kms.keys"
        keys = dict(KeyFile(path).keys())
        write_key_file(path, {name: key._replace(enabled=False) for name, key in keys.items()})
        with pytest.raises(CallRefused) as error:
            stub.CreateUser(asked)
        assert error.value.reason == "KEY_DISABLED"
        write_key_file(path, keys)
        stub.CreateUser(asked)
