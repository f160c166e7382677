"""Hashes of values that are held against others and never read.

Salted (argon2id, RFC 9106, its second recommended set of parameters: 64 MiB, 3 passes, 4 lanes),
in PHC's form ``$argon2id$...``; or keyed (HMAC-SHA-256, RFC 2104) where equal values must be
found equal, as ``hmac-sha256:`` and base64url without padding, after the id of the key and a
colon if that is not ``pepper``.
"""

import asyncio
import base64
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

from argon2 import PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError

from mesh.sealing.canonical import length_prefixed
from mesh.sealing.keyring import PEPPER, KeyRing

_SALTED = PasswordHasher(
    time_cost=3, memory_cost=65_536, parallelism=4, hash_len=32, salt_len=16, type=Type.ID
)
_AT_ONCE = 2
"""Hashes made at the same time by one process; each takes 64 MiB."""
_KEYED = "hmac-sha256:"
_FORM = re.compile(r"\$argon2id\$v=19\$m=\d+,t=\d+,p=\d+\$[A-Za-z0-9+/]+\$[A-Za-z0-9+/]+")
_KEYED_FORM = re.compile(rf"{_KEYED}(?:{PEPPER}-[a-z0-9-]{{1,56}}:)?[A-Za-z0-9_-]{{43}}")
_LABEL = b"secmesh keyed hash 1"


@cache
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="hashing")


async def salted_hash(text: str) -> str:
    """Hash a value, in a thread of its own; another hash each time."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(_threads(), _SALTED.hash, text)


async def is_hash_of(stored: str, text: str) -> bool:
    """Tell whether a salted hash is of a value."""
    loop = asyncio.get_running_loop()
    try:
        return await loop.run_in_executor(_threads(), _SALTED.verify, stored, text)
    except (VerificationError, InvalidHashError):
        return False


def keyed_hash(keys: KeyRing, text: str, *place: str) -> str:
    """Hash a value of a tenant, table and field; the same hash each time."""
    return next(_keyed(keys, text, place))


def keyed_hashes(keys: KeyRing, text: str, *place: str) -> Sequence[str]:
    """Give the hashes of a value by all keys that hash or once did, the present one first."""
    return list(_keyed(keys, text, place))


def _keyed(keys: KeyRing, text: str, place: Iterable[str]) -> Iterator[str]:
    parts = (part.encode() for part in (*place, text))
    content = _LABEL + length_prefixed(parts, width=4)
    for key_id, pepper in keys.peppers.items():
        digest = hmac.digest(pepper, content, "sha256")
        coded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        yield f"{keyed_form(key_id)}{coded}"


def keyed_form(key_id: str) -> str:
    """Give how the hashes of a key begin."""
    return _KEYED if key_id == PEPPER else f"{_KEYED}{key_id}:"


def is_hash(stored: str, *, keyed: bool) -> bool:
    """Tell whether a text has the form of a hash."""
    return (_KEYED_FORM if keyed else _FORM).fullmatch(stored) is not None
