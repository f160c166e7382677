"""Samples of records that come out the same each time."""

from hashlib import sha256

from google.protobuf.message import Message

from mesh.sql.store import Store
from services.inventory.collect.versions import ID_DIGITS


async def sample(
    store: Store, collection: str, tenant: str, *, size: int, seed: int
) -> list[Message]:
    """Give current records of a collection, without fields of SECRET sensitivity.

    Record ids are hashes, so that those which follow any point are a random choice;
    the point follows from the seed. The rest is not read.
    """
    target = store.target(collection)
    start = sha256(f"{seed}\0{collection}".encode()).hexdigest()[:ID_DIGITS]
    record = target.table.c.id
    chosen = store.select(collection, tenant, target.codec.public_columns).order_by(record)
    found = await store.messages(collection, chosen.where(record >= start).limit(size))
    if len(found) < size:
        rest = chosen.where(record < start).limit(size - len(found))
        found += await store.messages(collection, rest)
    return found
