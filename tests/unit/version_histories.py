"""Random pasts of some records, a model of what stood when, and a store that holds them."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

from hypothesis import strategies as st

from mesh.contract.catalogue import load_catalogue
from mesh.sql.engine import open_engine
from mesh.sql.store import Store
from mesh.sql.tables import Tables, create_tables
from secmesh.inventory.v1.iam_pb2 import IamUser
from secmesh.inventory.v1.record_pb2 import READ_OUTCOME_DENIED, Record
from secmesh.inventory.v1.s3_pb2 import S3Bucket

INVENTORY = load_catalogue("secmesh.inventory.v1")
LAST = 12
"""The last moment of a past; moments are seconds since 1970."""
ACCOUNTS = ("111111111111", "222222222222")
COLLECTIONS = {"iam_user": "iam_users", "s3_bucket": "s3_buckets"}

_maybe = st.one_of
_USERS: st.SearchStrategy[Any] = st.builds(
    IamUser,
    username=_maybe(st.none(), st.sampled_from(["ana", "bob", "é", ""])),
    mfa_enabled=_maybe(st.none(), st.booleans()),
    mfa_types=st.lists(st.sampled_from(["virtual", "hardware"]), max_size=2),
    tags=st.dictionaries(st.sampled_from("ab"), st.sampled_from("xy"), max_size=2),
)
_BUCKETS: st.SearchStrategy[Any] = st.builds(
    S3Bucket,
    bucket_name=_maybe(st.none(), st.sampled_from(["one", "two"])),
    public=_maybe(st.none(), st.booleans()),
    encryption=_maybe(st.none(), st.sampled_from(["NONE", "AES256"])),
    retention_days=_maybe(st.none(), st.integers(-(2**31), 2**31 - 1), st.integers(0, 3)),
    creation_date=_maybe(
        st.none(),
        st.integers(-(10**16), 10**16).map(lambda micros: _stamp(micros)),
    ),
)
_BODIES = {"iam_user": _USERS, "s3_bucket": _BUCKETS}


def _stamp(micros: int) -> Any:
    record = Record()
    record.valid_from.FromMicroseconds(micros)
    return record.valid_from


@st.composite
def versions_of(draw: st.DrawFn, body_field: str, record: str) -> list[Record]:
    """Draw the past of one record: versions that follow each other, perhaps with gaps."""
    moments = sorted(draw(st.sets(st.integers(1, LAST), max_size=4)))
    ends = [*moments[1:], None][: len(moments)]
    account = draw(st.sampled_from(ACCOUNTS))
    made = []
    for opened, follower in zip(moments, ends, strict=True):
        version = Record(name=f"tenants/acme/{COLLECTIONS[body_field]}/{record}")
        version.cloud_account_id = account
        version.region = draw(st.sampled_from(["eu-west-1", "us-east-1"]))
        version.etag = f"e{opened}"
        version.sync = f"tenants/acme/syncs/s{opened}"
        getattr(version, body_field).CopyFrom(draw(_BODIES[body_field]))
        if draw(st.booleans()):
            field = draw(st.sampled_from(getattr(version, body_field).DESCRIPTOR.fields[:6])).name
            version.unread.add(field=field, action="a:B", code="No", outcome=READ_OUTCOME_DENIED)
        version.valid_from.seconds = opened
        closing = draw(st.sampled_from([follower, draw(st.integers(opened + 1, LAST + 1))]))
        if closing is not None:
            version.valid_to.seconds = min(closing, follower or closing)
        made.append(version)
    return made


def pasts(body_fields: tuple[str, ...] = tuple(COLLECTIONS)) -> st.SearchStrategy[list[Record]]:
    """Draw the pasts of up to four records of each kind."""
    each = [versions_of(field, record) for field in body_fields for record in "abcd"]
    return st.tuples(*each).map(lambda found: [version for past in found for version in past])


def standing(versions: list[Record], moment: int) -> dict[str, Record]:
    """Replay versions: give those that stood at a moment, by name."""
    found: dict[str, Record] = {}
    for version in sorted(versions, key=lambda each: each.valid_from.seconds):
        if version.valid_from.seconds <= moment:
            found[version.name] = version
    return {
        name: version
        for name, version in found.items()
        if not version.HasField("valid_to") or version.valid_to.seconds > moment
    }


@contextlib.contextmanager
def opened_store(runner: asyncio.Runner) -> Iterator[Store]:
    """Open an empty store of the inventory's kinds."""
    engine = open_engine("sqlite://")
    store = Store(engine, Tables(INVENTORY), page_key=b"k" * 32)
    runner.run(create_tables(engine, store.tables))
    try:
        yield store
    finally:
        runner.run(engine.dispose())


async def refill(store: Store, versions: list[Record]) -> None:
    """Make these the only rows."""
    async with store.transaction() as connection:
        for body_field, collection in COLLECTIONS.items():
            await store.delete_under(connection, collection, "tenants/acme")
            chosen = [each for each in versions if each.WhichOneof("body") == body_field]
            await store.insert(connection, collection, chosen)
