"""What an entry's hash is made of, and pseudonyms of users."""

from hashlib import sha256
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.crypto.audit.entry import BEFORE_FIRST, Entry, canonical, entry_hash
from services.crypto.audit.sealing import segment_of
from services.crypto.audit.subjects import Subjects

_ENTRY = Entry(
    writer_id=bytes(range(16)),
    seq=1,
    entry_id=bytes(16),
    accessed_at=1_767_225_600_000_000,
    tenant_id="acme",
    subject=b"",
    operation="decrypt",
    fields=("ssn",),
    tiers=(3,),
    principal="ann",
    purpose="support",
    request_id="r1",
    success=True,
    error_code="",
    duration_us=12,
    retention_class="standard",
    details="",
)
# Written once: a change of the form makes every older entry look tampered with.
_KNOWN = "2e62453cf1e771e3a792ec0cb76a24f746f1837b57f2d2ef01bc9e4d6e1430d8"
_TEXTS = st.text(st.characters(codec="utf-8"), max_size=8)
_ENTRIES = st.builds(
    Entry,
    writer_id=st.binary(min_size=16, max_size=16),
    seq=st.integers(1, 2**63 - 1),
    entry_id=st.binary(min_size=16, max_size=16),
    accessed_at=st.integers(-(2**63), 2**63 - 1),
    tenant_id=_TEXTS,
    subject=st.binary(max_size=32),
    operation=_TEXTS,
    fields=st.lists(_TEXTS, max_size=3).map(tuple),
    tiers=st.lists(st.integers(0, 255), max_size=3).map(tuple),
    principal=_TEXTS,
    purpose=_TEXTS,
    request_id=_TEXTS,
    success=st.booleans(),
    error_code=_TEXTS,
    duration_us=st.integers(0, 2**31),
    retention_class=_TEXTS,
    details=_TEXTS,
)


def test_the_form_stays_as_it_is() -> None:
    assert entry_hash(_ENTRY, BEFORE_FIRST).hex() == _KNOWN


def test_the_hash_is_the_leaf_of_the_form_and_the_hash_before() -> None:
    before = sha256(b"before").digest()
    assert entry_hash(_ENTRY, before) == sha256(b"\0" + canonical(_ENTRY) + before).digest()


@given(_ENTRIES, _ENTRIES)
def test_different_entries_have_different_forms(one: Entry, other: Entry) -> None:
    assert (canonical(one) == canonical(other)) == (one == other)


@given(_ENTRIES, st.data())
def test_texts_cannot_flow_from_one_column_into_the_next(entry: Entry, data: st.DataObject) -> None:
    joined = entry.principal + entry.purpose
    cut = data.draw(st.integers(0, len(joined)))
    other = entry._replace(principal=joined[:cut], purpose=joined[cut:])
    assert (canonical(entry) == canonical(other)) == (entry == other)


@pytest.mark.parametrize(
    "changed",
    [{"seq": 2**63}, {"tiers": (256,)}, {"tiers": (-1,)}, {"principal": "\ud800"}],
)
def test_what_cannot_have_been_recorded_has_no_form(changed: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="no entry"):
        canonical(Entry(**{**_ENTRY._asdict(), **changed}))


def test_segments_are_months_of_utc() -> None:
    assert segment_of(1_767_225_600_000_000 - 1) == "2025-12"
    assert segment_of(1_767_225_600_000_000) == "2026-01"


_USER = bytes(range(16))


def test_a_pseudonym_is_of_one_user_of_one_tenant() -> None:
    subjects = Subjects({1: b"a" * 32})
    made = {subjects.of("acme", _USER), subjects.of("beta", _USER), subjects.of("acme", bytes(16))}
    assert len(made) == 3
    assert all(len(each) == 32 for each in made)
    assert subjects.of("acme", _USER) == subjects.of("acme", _USER)
    assert subjects.of("acme", _USER) != Subjects({1: b"b" * 32}).of("acme", _USER)


def test_the_newest_epoch_makes_pseudonyms_and_all_that_are_left_find_them() -> None:
    old = Subjects({1: b"a" * 32}).of("acme", _USER)
    both = Subjects({2: b"b" * 32, 1: b"a" * 32})
    assert both.all_of("acme", _USER) == [old, both.of("acme", _USER)]
    assert old not in Subjects({2: b"b" * 32}).all_of("acme", _USER)


@pytest.mark.parametrize("keys", [{}, {1: b"short"}])
def test_pseudonyms_need_keys(keys: dict[int, bytes]) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        Subjects(keys)
