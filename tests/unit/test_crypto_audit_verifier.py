"""Every way of tampering is named for what it was; what is legal is never called tampering."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crypto.audit.entry import Entry, entry_hash
from services.crypto.audit.findings import Tampering
from services.crypto.audit.sealing import Stored, segment_of
from tests.unit.crypto_audit_world import (
    ORIGIN,
    SIGNER,
    AuditWorld,
    Writer,
    busy_world,
    name_of,
    only_finding,
    place_of,
)

_OTHER: dict[str, Any] = {
    "entry_id": bytes(16),
    "accessed_at": 1_767_225_600_000_001,
    "tenant_id": "gamma",
    "subject": bytes(32),
    "operation": "read",
    "fields": ("address",),
    "tiers": (1, 3),
    "principal": "bob",
    "purpose": "",
    "request_id": "another",
    "success": None,
    "error_code": "KEY_DISABLED",
    "duration_us": 10_001,
    "retention_class": "short",
    "details": "nothing happened",
}


def _changed(entry: Entry, column: str) -> Entry:
    value: Any = (not entry.success) if column == "success" else _OTHER[column]
    return entry._replace(**{column: value})


def test_every_column_but_the_key_is_tried() -> None:
    assert {*_OTHER, "writer_id", "seq"} == set(Entry._fields)


@pytest.mark.parametrize("column", _OTHER)
def test_a_changed_column_is_a_changed_entry(column: str) -> None:
    world = busy_world()
    place = place_of(world, 1, 4)
    stored = world.rows[place]
    world.rows[place] = stored._replace(entry=_changed(stored.entry, column))
    assert only_finding(world, Tampering.ENTRY_CHANGED).place == name_of(world, 1, 4)


def test_an_entry_changed_with_its_hash_is_a_changed_entry() -> None:
    world = busy_world()
    place = place_of(world, 1, 4)
    entry = world.rows[place].entry._replace(principal="bob")
    before = world.rows[place_of(world, 1, 3)].hash
    world.rows[place] = Stored(entry, entry_hash(entry, before))
    assert only_finding(world, Tampering.ENTRY_CHANGED).place == name_of(world, 1, 4)


def test_a_whole_chain_written_anew_is_found_entry_by_entry() -> None:
    world = busy_world()
    writer = world.writers[0]
    before = world.rows[place_of(world, 0, 2)].hash
    for seq in range(3, writer.seq + 1):
        entry = world.rows[writer.writer_id, seq].entry._replace(principal="bob")
        before = entry_hash(entry, before)
        world.rows[writer.writer_id, seq] = Stored(entry, before)
    report = world.report()
    assert {each.tampering for each in report.findings} == {Tampering.ENTRY_CHANGED}
    assert len(report.findings) == writer.seq - 2


def test_a_changed_hash_is_told_from_changed_content() -> None:
    world = busy_world()
    place = place_of(world, 2, 5)
    world.rows[place] = world.rows[place]._replace(hash=bytes(32))
    assert only_finding(world, Tampering.HASH_CHANGED).place == name_of(world, 2, 5)


def test_entries_deleted_from_the_middle_are_missing() -> None:
    world = busy_world()
    for seq in (5, 6, 7):
        del world.rows[place_of(world, 0, seq)]
    found = only_finding(world, Tampering.ENTRIES_MISSING)
    assert found.place == name_of(world, 0, 5) + "-7"
    assert found.words.startswith("3 entries")


def test_a_deleted_tail_is_a_missing_tail() -> None:
    world = busy_world()
    last = world.writers[0].seq
    for seq in (last - 1, last):
        del world.rows[place_of(world, 0, seq)]
    found = only_finding(world, Tampering.TAIL_MISSING)
    assert found.place == name_of(world, 0, last - 1) + f"-{last}"


@pytest.mark.parametrize("hashes_move", [True, False])
@pytest.mark.parametrize("other", [0, 1])
def test_two_exchanged_entries_are_named_together(other: int, hashes_move: bool) -> None:
    world = busy_world()
    here, there = place_of(world, 0, 3), place_of(world, other, 7)
    one, two = world.rows[here], world.rows[there]
    world.put(here, two if hashes_move else two._replace(hash=one.hash))
    world.put(there, one if hashes_move else one._replace(hash=two.hash))
    places = only_finding(world, Tampering.ENTRIES_SWAPPED).place
    assert {name_of(world, 0, 3), name_of(world, other, 7)} == set(places.split(" and "))


def test_a_copy_in_place_of_another_entry_is_a_duplicate() -> None:
    world = busy_world()
    world.put(place_of(world, 1, 6), world.rows[place_of(world, 1, 3)])
    found = only_finding(world, Tampering.ENTRY_DUPLICATED)
    assert found.place == name_of(world, 1, 6)
    assert found.words == (
        f"a copy of {name_of(world, 1, 3)} was put here, in place of the entry that was there"
    )


def test_a_copy_behind_the_end_is_a_duplicate() -> None:
    world = busy_world()
    end = world.writers[1].seq + 1
    world.put(place_of(world, 1, end), world.rows[place_of(world, 1, 3)])
    found = only_finding(world, Tampering.ENTRY_DUPLICATED)
    assert (found.place, found.words) == (
        name_of(world, 1, end),
        f"a copy of {name_of(world, 1, 3)} was put here",
    )


def test_a_copy_chained_as_if_it_were_new_is_found_by_its_id() -> None:
    world = busy_world()
    writer = world.writers[1]
    entry = world.rows[place_of(world, 1, 3)].entry._replace(seq=writer.seq + 1, principal="bob")
    stored = Stored(entry, entry_hash(entry, writer.head))
    world.rows[writer.writer_id, writer.seq + 1] = stored
    found = only_finding(world, Tampering.ENTRY_INSERTED)
    assert found.words == f"it is a copy of {name_of(world, 1, 3)}"


def test_a_row_beside_another_of_its_number_is_inserted() -> None:
    world = busy_world()
    stored = world.rows[place_of(world, 1, 3)]
    later = stored.entry._replace(accessed_at=stored.entry.accessed_at + 1)
    world.extra.append(stored._replace(entry=later))
    assert only_finding(world, Tampering.ENTRY_INSERTED).place == name_of(world, 1, 3)


@pytest.mark.parametrize("behind", [True, False])
def test_an_entry_moved_to_another_writer_is_named_by_both_places(behind: bool) -> None:
    world = busy_world()
    seq = world.writers[2].seq + 1 if behind else 4
    moved = world.rows.pop(place_of(world, 0, 5))
    world.put(place_of(world, 2, seq), moved)
    found = only_finding(world, Tampering.ENTRY_MOVED)
    assert found.place == name_of(world, 2, seq)
    assert name_of(world, 0, 5) in found.words


def test_a_row_that_follows_nobody_is_inserted() -> None:
    world = busy_world()
    writer = world.writers[0]
    world.write(writer)
    stored = world.rows[writer.writer_id, writer.seq]
    world.rows[writer.writer_id, writer.seq] = stored._replace(hash=bytes(32))
    assert only_finding(world, Tampering.ENTRY_INSERTED).place == name_of(world, 0, writer.seq)


def test_a_writer_that_nobody_signed_is_unknown() -> None:
    world = busy_world()
    forger = Writer(b"f" * 16)
    world.write(forger)
    assert only_finding(world, Tampering.WRITER_UNKNOWN).place == forger.writer_id.hex()


def test_the_start_of_another_writer_is_none() -> None:
    world = busy_world()
    forger = Writer(b"f" * 16)
    start = world.rows[place_of(world, 0, 1)].entry
    world.write(forger, operation=start.operation, details=start.details)
    assert only_finding(world, Tampering.WRITER_UNKNOWN).place == forger.writer_id.hex()


def test_an_entry_in_doubt_that_was_written_twice_is_legal() -> None:
    world = busy_world()
    old = world.writers[0]
    entry = world.write(old)
    new = world.start(follows=old.writer_id.hex())
    world.write(new, **{**entry._asdict(), "writer_id": new.writer_id, "seq": new.seq + 1})
    assert world.report().is_whole
    world.seal()
    assert world.report().is_whole


def test_nothing_at_all_is_whole() -> None:
    report = AuditWorld(random.Random(1)).report()
    assert (report.is_whole, report.size, report.pending) == (True, 0, 0)


def test_keys_of_others_vouch_for_nothing() -> None:
    world = busy_world()
    world.checkpoints = [
        each.replace(SIGNER.public.name, "stranger").replace(ORIGIN, "elsewhere")
        for each in world.checkpoints
    ]
    assert Tampering.CHECKPOINT_FORGED in {each.tampering for each in world.report().findings}


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 2**32), st.lists(st.sampled_from("wwwwwsakdn"), max_size=60))
def test_legal_traffic_is_never_called_tampering(seed: int, steps: list[str]) -> None:
    world = AuditWorld(random.Random(seed))
    world.start()
    for step in steps:
        _legal_step(world, step)
    report = world.report()
    assert report.is_whole, list(map(str, report.findings))
    assert report.verified + report.pending == len(world.rows)
    assert report.verified + sum(report.removed.values()) == report.size


def _legal_step(world: AuditWorld, step: str) -> None:
    """Write, seal, anchor, start a writer (killing none), go to the next month, drop the oldest."""
    writers = world.writers
    if step == "w":
        world.write(world.random.choice(writers))
    elif step == "s":
        world.seal()
    elif step == "a" and world.checkpoints:
        world.anchor()
    elif step == "k":
        world.start()
    elif step == "n":
        world.seal()
        world.next_month()
    elif step == "d" and world.checkpoints:
        _retain(world)


def _retain(world: AuditWorld) -> None:
    """Close all segments that ended and drop the oldest."""
    world.seal()
    closed = {each.segment for each in world.segments}
    ended = sorted({run.segment for run in world.runs} - closed - {segment_of(world.moment)})
    for segment in ended:
        world.close(segment)
    left = [each.segment for each in world.segments if not each.drop]
    if left:
        world.drop(left[0])


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_random_tampering_is_always_found(data: st.DataObject) -> None:
    world = busy_world(data.draw(st.integers(0, 1000)), rounds=3)
    places = sorted(world.rows)
    here = data.draw(st.sampled_from(places))
    there = data.draw(st.sampled_from(places).filter(lambda each: each != here))
    way = data.draw(st.sampled_from(["delete", "copy", "swap", "move", "change", "bit"]))
    stored, other = world.rows[here], world.rows[there]
    if way == "delete":
        del world.rows[here]
    elif way == "copy":
        world.put(there, stored)
    elif way == "swap":
        world.put(there, stored)
        world.put(here, other)
    elif way == "move":
        world.put(there, world.rows.pop(here))
    elif way == "bit":
        bit = data.draw(st.integers(0, 255))
        hashed = (int.from_bytes(stored.hash) ^ (1 << bit)).to_bytes(32)
        world.rows[here] = stored._replace(hash=hashed)
    else:
        column = data.draw(st.sampled_from(sorted(_OTHER)))
        world.rows[here] = stored._replace(entry=_changed(stored.entry, column))
    report = world.report()
    named = " ".join(f"{each.place} {each.words}" for each in report.findings)
    assert f"{here[0].hex()}/{here[1]}" in named, list(map(str, report.findings))
