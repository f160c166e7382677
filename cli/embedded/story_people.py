"""What the crypto service does in the story: people sealed, read for a purpose, rotated, erased."""

import asyncio
import sys

import grpc
from rich.text import Text

from cli.crypto_rotation import ended
from cli.embedded.folder import TENANT
from cli.embedded.mesh import EmbeddedMesh
from cli.embedded.stored_row import stored_row
from cli.output import talk, visible
from secmesh.crypto.v1 import config_service_pb2 as config
from secmesh.crypto.v1 import erasure_pb2 as erasures
from secmesh.crypto.v1 import key_pb2
from secmesh.crypto.v1 import key_service_pb2 as keys
from secmesh.crypto.v1 import user_service_pb2 as pb
from secmesh.crypto.v1.config_service_pb2_grpc import ConfigServiceStub
from secmesh.crypto.v1.key_service_pb2_grpc import KeyServiceStub
from secmesh.crypto.v1.user_pb2 import User
from secmesh.crypto.v1.user_service_pb2_grpc import UserServiceStub
from secmesh_client import CallRefused

PARENT = f"tenants/{TENANT}"
PURPOSE = "identity_check"
EMAIL, OTHER_EMAIL = "ann@example.com", "carl@example.com"
PERSON = {"email": EMAIL, "address": "1 Main Street, Springfield", "ssn": "078-05-1120"}
"""A field of each tier; the number is one that was never given to anybody."""
SEALED = ("address", "ssn")
_MOST_ROTATED = 10_000
"""Rows of other people that the story has written anew, at most."""
_SHOWN_BYTES = 12


def keep_person(channel: grpc.Channel, mesh: EmbeddedMesh) -> str:
    """Store a person, the same one at every start, and show what becomes of it; give its name."""
    talk.print("\nPeople's data in three tiers:", style="bold")
    users = UserServiceStub(channel)
    _allow(channel)
    person = store_person(users)
    _say("stored", person.name)
    _say("in the database", _row(mesh.people_database, person.name))
    _say("answered", _values(person))
    asked = pb.GetUserRequest(name=person.name, unmask=SEALED, purpose=PURPOSE)
    _say(PURPOSE, _values(users.GetUser(asked)))
    _say("users' keys", rotate_and_back(channel))
    _say("another person", erase_other(users, mesh.people_database))
    _say("audit", asyncio.run(_verified(mesh)))
    return person.name


def _allow(channel: grpc.Channel) -> None:
    """Let sealed values be read for a purpose."""
    purpose = config.Purpose(description="Is it really them?", fields=SEALED)
    request = config.CreatePurposeRequest(parent=PARENT, purpose=purpose, purpose_id=PURPOSE)
    try:
        ConfigServiceStub(channel).CreatePurpose(request)
    except CallRefused as refused:
        if refused.reason != "RESOURCE_EXISTS":
            raise


def store_person(users: UserServiceStub) -> User:
    """Store the person, or write what it held at the first start again."""
    person = User(email=EMAIL, address=PERSON["address"], ssn=PERSON["ssn"])
    asked = pb.SearchUsersRequest(parent=PARENT, field="email", value=EMAIL)
    for found in users.SearchUsers(asked).users:
        person.name = found.name
        return users.UpdateUser(pb.UpdateUserRequest(user=person))
    return users.CreateUser(pb.CreateUserRequest(parent=PARENT, user=person))


def _row(database: str, name: str) -> str:
    row = stored_row(database, TENANT, name.rpartition("/")[2])
    told = []
    for column, value in row.items():
        if isinstance(value, bytes):
            told.append(f"{column}=\\x{value[:_SHOWN_BYTES].hex()}... ({len(value)} bytes)")
        elif column in PERSON:
            told.append(f"{column}={value}")
    return "  ".join(told)


def _values(person: User) -> str:
    return "  ".join(f"{name}={getattr(person, name)}" for name in PERSON)


def rotate_and_back(channel: grpc.Channel) -> str:
    """Rotate the keys of users and undo it; say what was written."""
    service = KeyServiceStub(channel)
    wanted = keys.PlanRotationRequest(parent=PARENT, key_type=key_pb2.KEY_TYPE_USER_DEK)
    rotation = service.PlanRotation(wanted)
    plan = f"{rotation.planned_count} rows planned"
    if rotation.planned_count > _MOST_ROTATED:
        return f"{plan}; `secmesh crypto rotate user-dek` writes them"
    try:
        running = service.RunRotation(keys.RunRotationRequest(name=rotation.name))
        rotation = ended(channel, running)
        asked = keys.RollBackRotationRequest(name=rotation.name)
        undone = ended(channel, service.RollBackRotation(asked))
    except CallRefused as refused:
        if refused.reason != "ROTATION_CONFLICT":
            raise
        return f"{plan}; a rotation of an earlier start is not finished"
    return f"{plan}, {rotation.affected_count} rotated, {undone.affected_count} rolled back"


def erase_other(users: UserServiceStub, database: str) -> str:
    """Store another person and erase it; say what is left of it in a database."""
    other = User(email=OTHER_EMAIL, ssn=PERSON["ssn"])
    name = users.CreateUser(pb.CreateUserRequest(parent=PARENT, user=other)).name
    user_id = name.rpartition("/")[2]
    request = erasures.EraseUserRequest(name=name, confirm_user_id=user_id)
    done = users.EraseUser(request)
    left = "a row" if stored_row(database, TENANT, user_id) else "no row"
    destroyed = f"{len(done.fields)} values deleted, {len(done.key_versions)} key destroyed"
    certificate = done.name.rpartition("/")[2]
    return f"stored, then erased: {destroyed}, {left} left; certificate {certificate}"


async def _verified(mesh: EmbeddedMesh) -> str:
    """Verify the audit in the database, and say what the verifier says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "services.crypto", "verify-audit"),
        env=mesh.environment_of("crypto"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, problem = await process.communicate()
    lines = (said or problem).decode(errors="replace").splitlines()
    return lines[0] if lines else f"not verified: exit code {process.returncode}"


def _say(what: str, text: str) -> None:
    talk.print(Text(f"  {what:<17}{visible(text)}"), soft_wrap=True)
