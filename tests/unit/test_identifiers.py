"""UUIDs of version 7 are written as the standard library writes them."""

import uuid

from hypothesis import given
from hypothesis import strategies as st

from mesh.identifiers import is_uuid7, new_uuid, uuid7_of

MILLISECONDS = st.integers(0, (1 << 48) - 1)


@given(MILLISECONDS, st.integers(0, (1 << 80) - 1))
def test_an_id_is_a_uuid_of_its_moment_and_bits(milliseconds: int, bits: int) -> None:
    made = uuid.UUID(text := uuid7_of(milliseconds, bits))
    assert str(made) == text
    assert (made.version, made.variant) == (7, uuid.RFC_4122)
    assert made.int >> 80 == milliseconds
    assert is_uuid7(text)


def test_ids_differ() -> None:
    made = {new_uuid() for _ in range(1000)}
    assert len(made) == 1000
    assert all(map(is_uuid7, made))
