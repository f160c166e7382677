"""Keys are shown with their versions, all kinds of them, and never themselves."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from mesh.embedded.postgres import Access
from mesh.identifiers import new_uuid
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from tests.databases import crypto_database
from tests.service.crypto_world import KMS_KEY, World, crypto_world
from tests.service.person_story import refused
from tests.service.rotation_story import plan, run, store


@pytest.fixture(scope="module")
def access() -> Iterator[Access]:
    with crypto_database() as made:
        yield made


@pytest.fixture
async def world(access: Access, tmp_path: Path) -> AsyncIterator[World]:
    async with crypto_world(access, tmp_path) as made:
        yield made


async def pages(world: World, size: int) -> list[Any]:
    """Give all keys, some at a time."""
    found: list[Any] = []
    asked = pb.ListKeysRequest(parent=world.parent, page_size=size)
    while True:
        page = await world.key_service().ListKeys(asked)
        assert len(page.keys) <= size
        found += page.keys
        if not page.next_page_token:
            return found
        asked.page_token = page.next_page_token


@pytest.mark.parametrize("size", [1, 2, 100])
async def test_every_key_is_listed_once_in_the_order_of_ids(world: World, size: int) -> None:
    names = await store(world, 3)
    await world.keys.fields.token_key(world.tenant, "ssn")
    found = await pages(world, size)
    kinds = {each.name.rpartition("/")[2]: each.key_type for each in found}
    assert kinds == {
        "app-key": key_pb2.KEY_TYPE_APP_KEY,
        "index-key-ssn": key_pb2.KEY_TYPE_INDEX_KEY,
        "tenant-kek": key_pb2.KEY_TYPE_TENANT_KEK,
        "token-key-ssn": key_pb2.KEY_TYPE_TOKEN_KEY,
        **{f"user-dek-{name[-36:]}": key_pb2.KEY_TYPE_USER_DEK for name in names},
    }
    assert list(kinds) == sorted(kinds)
    assert len(found) == len(kinds)


async def test_versions_are_shown_the_newest_first(world: World) -> None:
    [name] = await store(world, 1)
    await run(world, key_pb2.KEY_TYPE_TENANT_KEK)
    keys = world.key_service()
    found = await keys.GetKey(pb.GetKeyRequest(name=f"{world.parent}/keys/tenant-kek"))
    assert [(each.version, each.state, each.kms_key_id) for each in found.versions] == [
        (2, key_pb2.KEY_STATE_ACTIVE, KMS_KEY),
        (1, key_pb2.KEY_STATE_DECRYPT_ONLY, KMS_KEY),
    ]
    user = f"{world.parent}/keys/user-dek-{name[-36:]}"
    shown = await keys.GetKey(pb.GetKeyRequest(name=user))
    assert [(each.version, each.tenant_key_version) for each in shown.versions] == [(1, 2)]
    index = f"{world.parent}/keys/index-key-ssn"
    [version] = (await keys.GetKey(pb.GetKeyRequest(name=index))).versions
    assert (version.version, version.state, version.kms_key_id) == (
        1,
        key_pb2.KEY_STATE_ACTIVE,
        KMS_KEY,
    )


async def test_keys_that_are_not_there_and_rotations_that_there_are_none_of(world: World) -> None:
    await store(world, 1)
    keys = world.key_service()
    for missing in (f"user-dek-{new_uuid()}", "token-key-ssn", "index-key-other"):
        asked = pb.GetKeyRequest(name=f"{world.parent}/keys/{missing}")
        await refused(keys.GetKey(asked), "RESOURCE_NOT_FOUND")
    for kind in (
        key_pb2.KEY_TYPE_UNSPECIFIED,
        key_pb2.KEY_TYPE_INDEX_KEY,
        key_pb2.KEY_TYPE_TOKEN_KEY,
    ):
        await refused(plan(world, kind), "FIELD_INVALID")
