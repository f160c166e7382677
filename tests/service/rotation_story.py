"""What tests of rotations share: persons with values of both tiers, and the calls."""

from typing import Any

import sqlalchemy as sa

from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as pb
from secmesh.crypto.v1 import user_service_pb2 as users
from secmesh.crypto.v1.user_pb2 import User
from services.crypto.tables import ENCRYPTION_METADATA, KEY_ROTATION_LOG, ROTATION_WORK
from tests.service.crypto_world import World

ADDRESS = "1 Main Street, Springfield"
SSN = "078-05-1120"


async def store(world: World, count: int) -> list[str]:
    """Store persons with a value of tier 2 and one of tier 3 each; give their names."""
    purpose = config.Purpose(fields=["address", "ssn"])
    await world.config().CreatePurpose(
        config.CreatePurposeRequest(parent=world.parent, purpose=purpose, purpose_id="post")
    )
    new = [users.NewUser(user=User(address=ADDRESS, ssn=SSN))] * count
    made = await world.users().BatchCreateUsers(
        users.BatchCreateUsersRequest(parent=world.parent, users=new)
    )
    return [each.name for each in made.users]


async def read(world: World, name: str) -> tuple[str, str]:
    asked = users.GetUserRequest(name=name, unmask=["address", "ssn"], purpose="post")
    user = await world.users().GetUser(asked)
    return user.address, user.ssn


async def plan(world: World, key_type: "key_pb2.KeyType.ValueType") -> Any:
    asked = pb.PlanRotationRequest(parent=world.parent, key_type=key_type)
    return await world.key_service().PlanRotation(asked)


async def get(world: World, name: str) -> Any:
    return await world.key_service().GetRotation(pb.GetRotationRequest(name=name))


async def run(world: World, key_type: "key_pb2.KeyType.ValueType") -> Any:
    """Rotate, and give the rotation as it ended."""
    planned = await plan(world, key_type)
    await world.key_service().RunRotation(pb.RunRotationRequest(name=planned.name))
    await world.runner.look()
    return await get(world, planned.name)


async def roll_back(world: World, name: str) -> Any:
    """Undo a rotation, and give the one that did it."""
    asked = pb.RollBackRotationRequest(name=name)
    undoing = await world.key_service().RollBackRotation(asked)
    await world.runner.look()
    return await get(world, undoing.name)


async def sealing(world: World, column: str = "key_version") -> dict[int | None, int]:
    """Count sealed values by the version of a key that they are sealed by."""
    table = ENCRYPTION_METADATA.c
    statement = sa.select(table[column], sa.func.count())
    statement = statement.where(table.tenant_id == world.tenant).group_by(table[column])
    async with world.transactions.connection(world.tenant) as connection:
        return {row[0]: row[1] for row in await connection.execute(statement)}


async def change(world: World, statement: sa.Update | sa.Delete) -> None:
    async with world.transactions.transaction(world.tenant) as connection:
        await connection.execute(statement)


async def end_window(world: World) -> None:
    """Let the time for a rollback be over."""
    mine = KEY_ROTATION_LOG.c.tenant_id == world.tenant
    over = {KEY_ROTATION_LOG.c.rollback_until: sa.func.now()}
    await change(world, sa.update(KEY_ROTATION_LOG).where(mine).values(over))
    await end_lease(world)


async def end_lease(world: World) -> None:
    """Let the lease of a process that is gone end, and what waits be due."""
    mine = ROTATION_WORK.c.tenant_id == world.tenant
    await change(world, sa.update(ROTATION_WORK).where(mine).values(due_at=sa.func.now()))
