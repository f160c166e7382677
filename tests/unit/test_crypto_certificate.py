"""Certificates of erasures: what is signed is read again, and nothing else is."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh.identifiers import new_uuid
from services.crypto.audit.note import NoteBroken, Signer
from services.crypto.erasure.certificate import Certificate
from services.crypto.erasure.erasure import Destroyed, Erasure
from services.crypto.erasure.person_digest import person_digest

USER = "0190f3f0-1111-7222-8333-444455556666"
ERASURE_ID = "0190f3f0-2222-7222-8333-444455556666"
SIGNER = Signer("secmesh.crypto/test", b"s" * 32)
KEYS = [SIGNER.public]
MOMENT = datetime(2026, 11, 22, 9, 30, 0, 123456, UTC)
DONE = Erasure(
    "acme",
    ERASURE_ID,
    person_digest("acme", USER),
    (b"1" * 32, b"2" * 32),
    "ann",
    destroyed=Destroyed((1, 3), (("email", 1), ("ssn", 3)), 4, 2),
    ordered_at=MOMENT,
    erased_at=MOMENT + timedelta(seconds=1),
    caches_until=MOMENT + timedelta(seconds=91),
    backups_until=MOMENT + timedelta(days=7),
)
# Written once: with another form nobody could hold an older certificate against its person.
_KNOWN = "4fb37ee3da11f500511fd53b1b5bc49c0fa04c91175dccf5d7250ba48fb448da"
_NAMES = st.from_regex(r"[a-z][a-z0-9_]{0,62}", fullmatch=True)
_NUMBERS = st.integers(0, 10**18)
_DESTROYED = st.builds(
    Destroyed,
    st.lists(_NUMBERS, max_size=3).map(tuple),
    st.lists(st.tuples(_NAMES, st.integers(1, 3)), max_size=3).map(tuple),
    _NUMBERS,
    _NUMBERS,
)


def signed(certificate: Certificate) -> str:
    return SIGNER.sign(certificate.text())


@given(destroyed=_DESTROYED, size=st.integers(1, 10**9))
def test_what_was_signed_is_read_again(destroyed: Destroyed, size: int) -> None:
    made = Certificate.of(replace(DONE, destroyed=destroyed), "o", f"{size} {'a' * 64}")
    assert Certificate.opened(signed(made), KEYS) == made


def test_a_database_is_told_what_the_certificate_says() -> None:
    read = Certificate.opened(signed(Certificate.of(DONE, "o", "-")), KEYS).erasure()
    # Who ordered it is a name: it stands in the audit alone.
    assert read == replace(DONE, ordered_by="")


def test_neither_the_person_nor_who_ordered_it_is_named() -> None:
    text = Certificate.of(DONE, "o", "-").text()
    assert USER not in text
    assert "ann" not in text


def test_an_erasure_that_is_not_done_has_no_certificate() -> None:
    with pytest.raises(ValueError, match="is done"):
        Certificate.of(replace(DONE, erased_at=None), "o", "-")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("secmesh erasure\n", "secmesh export\n"),
        (f"erasure tenants/acme/erasures/{ERASURE_ID}\n", ""),
        (f"tenants/acme/erasures/{ERASURE_ID}", f"tenants/acme/users/{ERASURE_ID}"),
        ("field ssn 3", "field ssn 4"),
        ("field ssn 3", "field ssn"),
        ("key 1\n", "key 01\n"),
        ("indexes 4\n", "indexes 4\nindexes 5\n"),
        ("indexes 4\n", "indexes -4\n"),
        ("subject 31", "subject 3"),
        ("checkpoint -\n", ""),
    ],
)
def test_a_statement_of_another_form_is_none(old: str, new: str) -> None:
    text = Certificate.of(DONE, "o", "-").text()
    assert old in text
    with pytest.raises(NoteBroken):
        Certificate.opened(SIGNER.sign(text.replace(old, new)), KEYS)


def test_a_certificate_that_another_signed_is_none() -> None:
    note = signed(Certificate.of(DONE, "o", "-"))
    with pytest.raises(NoteBroken):
        Certificate.opened(note, [Signer("secmesh.crypto/test", b"x" * 32).public])
    with pytest.raises(NoteBroken):
        Certificate.opened(note.replace("key 3", "key 4"), KEYS)


def test_a_digest_stands_for_one_person_of_one_tenant() -> None:
    found = {
        person_digest(tenant, user) for tenant in ("acme", "beta") for user in (USER, new_uuid())
    }
    assert len(found) == 4
    assert person_digest("acme", USER).hex() == _KNOWN
