"""Every way of tampering is named for what it was; what is legal is never called tampering."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.crypto.audit.entry import Entry, entry_hash
from services.crypto.audit.findings import Finding, Tampering
from services.crypto.audit.sealing import Stored, segment_of
from services.crypto.audit.tiles import Tile
from tests.unit.crypto_audit_world import (
    ORIGIN,
    SIGNER,
    WRITERS_SIGNER,
    AuditWorld,
    Writer,
    busy_world,
    copied,
)


def _only(world: AuditWorld, tampering: Tampering) -> Finding:
    """Verify and give the one thing that was found."""
    findings = world.report().findings
    assert [each.tampering for each in findings] == [tampering], list(map(str, findings))
    return findings[0]


def _name(world: AuditWorld, writer: int, seq: int) -> str:
    return f"{world.writers[writer].writer_id.hex()}/{seq}"


def _place(world: AuditWorld, writer: int, seq: int) -> tuple[bytes, int]:
    return world.writers[writer].writer_id, seq


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
    place = _place(world, 1, 4)
    stored = world.rows[place]
    world.rows[place] = stored._replace(entry=_changed(stored.entry, column))
    assert _only(world, Tampering.ENTRY_CHANGED).place == _name(world, 1, 4)


def test_an_entry_changed_with_its_hash_is_a_changed_entry() -> None:
    world = busy_world()
    place = _place(world, 1, 4)
    entry = world.rows[place].entry._replace(principal="bob")
    before = world.rows[_place(world, 1, 3)].hash
    world.rows[place] = Stored(entry, entry_hash(entry, before))
    assert _only(world, Tampering.ENTRY_CHANGED).place == _name(world, 1, 4)


def test_a_whole_chain_written_anew_is_found_entry_by_entry() -> None:
    world = busy_world()
    writer = world.writers[0]
    before = world.rows[_place(world, 0, 2)].hash
    for seq in range(3, writer.seq + 1):
        entry = world.rows[writer.writer_id, seq].entry._replace(principal="bob")
        before = entry_hash(entry, before)
        world.rows[writer.writer_id, seq] = Stored(entry, before)
    report = world.report()
    assert {each.tampering for each in report.findings} == {Tampering.ENTRY_CHANGED}
    assert len(report.findings) == writer.seq - 2


def test_a_changed_hash_is_told_from_changed_content() -> None:
    world = busy_world()
    place = _place(world, 2, 5)
    world.rows[place] = world.rows[place]._replace(hash=bytes(32))
    assert _only(world, Tampering.HASH_CHANGED).place == _name(world, 2, 5)


def test_entries_deleted_from_the_middle_are_missing() -> None:
    world = busy_world()
    for seq in (5, 6, 7):
        del world.rows[_place(world, 0, seq)]
    found = _only(world, Tampering.ENTRIES_MISSING)
    assert found.place == _name(world, 0, 5) + "-7"
    assert found.words.startswith("3 entries")


def test_a_deleted_tail_is_a_missing_tail() -> None:
    world = busy_world()
    last = world.writers[0].seq
    for seq in (last - 1, last):
        del world.rows[_place(world, 0, seq)]
    found = _only(world, Tampering.TAIL_MISSING)
    assert found.place == _name(world, 0, last - 1) + f"-{last}"


@pytest.mark.parametrize("hashes_move", [True, False])
@pytest.mark.parametrize("other", [0, 1])
def test_two_exchanged_entries_are_named_together(other: int, hashes_move: bool) -> None:
    world = busy_world()
    here, there = _place(world, 0, 3), _place(world, other, 7)
    one, two = world.rows[here], world.rows[there]
    world.put(here, two if hashes_move else two._replace(hash=one.hash))
    world.put(there, one if hashes_move else one._replace(hash=two.hash))
    places = _only(world, Tampering.ENTRIES_SWAPPED).place
    assert {_name(world, 0, 3), _name(world, other, 7)} == set(places.split(" and "))


def test_a_copy_in_place_of_another_entry_is_a_duplicate() -> None:
    world = busy_world()
    world.put(_place(world, 1, 6), world.rows[_place(world, 1, 3)])
    found = _only(world, Tampering.ENTRY_DUPLICATED)
    assert found.place == _name(world, 1, 6)
    assert found.words == (
        f"a copy of {_name(world, 1, 3)} was put here, in place of the entry that was there"
    )


def test_a_copy_behind_the_end_is_a_duplicate() -> None:
    world = busy_world()
    end = world.writers[1].seq + 1
    world.put(_place(world, 1, end), world.rows[_place(world, 1, 3)])
    found = _only(world, Tampering.ENTRY_DUPLICATED)
    assert (found.place, found.words) == (
        _name(world, 1, end),
        f"a copy of {_name(world, 1, 3)} was put here",
    )


def test_a_copy_chained_as_if_it_were_new_is_found_by_its_id() -> None:
    world = busy_world()
    writer = world.writers[1]
    entry = world.rows[_place(world, 1, 3)].entry._replace(seq=writer.seq + 1, principal="bob")
    stored = Stored(entry, entry_hash(entry, writer.head))
    world.rows[writer.writer_id, writer.seq + 1] = stored
    found = _only(world, Tampering.ENTRY_INSERTED)
    assert found.words == f"it is a copy of {_name(world, 1, 3)}"


def test_a_row_beside_another_of_its_number_is_inserted() -> None:
    world = busy_world()
    stored = world.rows[_place(world, 1, 3)]
    later = stored.entry._replace(accessed_at=stored.entry.accessed_at + 1)
    world.extra.append(stored._replace(entry=later))
    assert _only(world, Tampering.ENTRY_INSERTED).place == _name(world, 1, 3)


@pytest.mark.parametrize("behind", [True, False])
def test_an_entry_moved_to_another_writer_is_named_by_both_places(behind: bool) -> None:
    world = busy_world()
    seq = world.writers[2].seq + 1 if behind else 4
    moved = world.rows.pop(_place(world, 0, 5))
    world.put(_place(world, 2, seq), moved)
    found = _only(world, Tampering.ENTRY_MOVED)
    assert found.place == _name(world, 2, seq)
    assert _name(world, 0, 5) in found.words


def test_a_row_that_follows_nobody_is_inserted() -> None:
    world = busy_world()
    writer = world.writers[0]
    world.write(writer)
    stored = world.rows[writer.writer_id, writer.seq]
    world.rows[writer.writer_id, writer.seq] = stored._replace(hash=bytes(32))
    assert _only(world, Tampering.ENTRY_INSERTED).place == _name(world, 0, writer.seq)


def test_a_writer_that_nobody_signed_is_unknown() -> None:
    world = busy_world()
    forger = Writer(b"f" * 16)
    world.write(forger)
    assert _only(world, Tampering.WRITER_UNKNOWN).place == forger.writer_id.hex()


def test_the_start_of_another_writer_is_none() -> None:
    world = busy_world()
    forger = Writer(b"f" * 16)
    start = world.rows[_place(world, 0, 1)].entry
    world.write(forger, operation=start.operation, details=start.details)
    assert _only(world, Tampering.WRITER_UNKNOWN).place == forger.writer_id.hex()


def test_an_old_snapshot_is_told_from_its_anchors() -> None:
    world = busy_world()
    old = copied(world)
    for _ in range(2):
        world.write(world.writers[0])
        world.seal()
    world.anchor()
    old.anchors = world.anchors
    found = _only(old, Tampering.STORE_ROLLED_BACK)
    assert found.place == f"anchor of size {world.tree.size}"
    assert f"ends at size {old.tree.size}" in found.words
    assert "2 entries" in found.words


def test_an_old_snapshot_that_went_on_tells_another_history() -> None:
    world = busy_world()
    old = copied(world)
    agreed = world.tree.size
    for each in (world, old):
        for _ in range(3):
            each.write(each.writers[0])
        each.seal()
    world.anchor()
    old.anchors = world.anchors
    found = _only(old, Tampering.HISTORY_REWRITTEN)
    assert found.words == f"the store tells another history since size {agreed}"


def test_a_tail_removed_with_its_checkpoints_is_a_rollback() -> None:
    world = busy_world()
    kept = copied(world)
    world.write(world.writers[0])
    world.seal()
    kept.anchors = [*world.anchors, world.checkpoints[-1]]
    _only(kept, Tampering.STORE_ROLLED_BACK)


def test_two_anchors_of_one_size_are_two_histories() -> None:
    world = busy_world()
    other = copied(world)
    for each in (world, other):
        each.write(each.writers[0])
        each.seal()
    world.anchors = [world.checkpoints[-1], other.checkpoints[-1]]
    found = _only(world, Tampering.HISTORY_REWRITTEN)
    assert "two checkpoints" in found.words


def test_a_forged_anchor_is_one() -> None:
    world = busy_world()
    world.anchors.append(world.checkpoints[-1].replace(f"\n{world.tree.size}\n", "\n999\n"))
    _only(world, Tampering.ANCHOR_FORGED)


def test_a_removed_checkpoint_is_missing() -> None:
    world = busy_world()
    del world.checkpoints[2]
    found = _only(world, Tampering.CHECKPOINT_MISSING)
    assert found.place == f"size {world.checkpoints[2].split(chr(10))[1]}"


def test_the_newest_checkpoint_is_missed_too() -> None:
    world = busy_world()
    world.anchors.clear()
    world.checkpoints.pop()
    found = _only(world, Tampering.CHECKPOINT_MISSING)
    assert found.place.startswith("after size ")


def test_a_changed_checkpoint_is_forged() -> None:
    world = busy_world()
    lines = world.checkpoints[-1].split("\n")
    lines[2] = world.checkpoints[0].split("\n")[2]
    world.checkpoints[-1] = "\n".join(lines)
    assert Tampering.CHECKPOINT_FORGED in {each.tampering for each in world.report().findings}


def test_a_writer_cannot_sign_a_checkpoint_or_a_segment() -> None:
    world, first = _two_months()
    world.close(first)
    text = world.checkpoints[-1].partition("\n\n")[0] + "\n"
    world.checkpoints[-1] = WRITERS_SIGNER.sign(text)
    world.anchors = [world.checkpoints[-1]]
    closed = world.segments[0].anchor.partition("\n\n")[0] + "\n"
    world.segments[0] = world.segments[0]._replace(anchor=WRITERS_SIGNER.sign(closed))
    found = {each.tampering for each in world.report().findings}
    assert found >= {
        Tampering.CHECKPOINT_FORGED,
        Tampering.SEGMENT_FORGED,
        Tampering.ANCHOR_FORGED,
    }


def test_changed_runs_are_named_by_their_checkpoint() -> None:
    world = busy_world()
    run = world.runs[5]
    world.runs[5] = run._replace(segment="1999-01")
    report = world.report()
    assert [each.tampering for each in report.findings] == [Tampering.RUNS_CHANGED]
    sizes = [int(note.split("\n")[1]) for note in world.checkpoints]
    size = next(each for each in sizes if each > run.first_index)
    assert report.findings[0].place == f"checkpoint of size {size}"
    assert report.verified == len(world.rows)


def test_changed_tiles_are_told_from_changed_entries() -> None:
    world = busy_world()
    tile = Tile(0, 0)
    content = world.tiles[tile]
    world.tiles[tile] = content[:320] + bytes(32) + content[352:]
    found = _only(world, Tampering.TILES_CHANGED)
    assert "1 kept hashes from place 10" in found.words


def test_a_tile_and_an_entry_changed_together_are_both_seen() -> None:
    world = busy_world()
    run = world.runs[4]
    place = run.writer_id, run.first_seq
    world.rows[place] = Stored(world.rows[place].entry._replace(principal="bob"), bytes(32))
    content = world.tiles[Tile(0, 0)]
    at = run.first_index * 32
    world.tiles[Tile(0, 0)] = content[:at] + bytes(32) + content[at + 32 :]
    found = {each.tampering for each in world.report().findings}
    assert found >= {Tampering.TREE_DISAGREES, Tampering.ENTRY_CHANGED}


def _two_months() -> tuple[AuditWorld, str]:
    """Make an audit of two months, both with all writers; give the first of them."""
    world = busy_world()
    first = segment_of(world.moment)
    world.next_month()
    for writer in world.writers * 4:
        world.write(writer)
    world.seal()
    return world, first


def test_a_segment_dropped_without_an_anchor_is_named_with_what_it_held() -> None:
    world, first = _two_months()
    entries = world.drop(first, signed=False)
    found = _only(world, Tampering.SEGMENT_MISSING)
    assert found.place == f"segment {first}"
    assert found.words == (
        f"its table is gone with all {entries} entries, and there is no anchor of it"
    )


def test_a_segment_dropped_without_a_signed_drop_is_missing_although_anchored() -> None:
    world, first = _two_months()
    world.close(first)
    world.drop(first, signed=False)
    assert "anchored, but no signed drop" in _only(world, Tampering.SEGMENT_MISSING).words


def test_a_segment_dropped_by_the_policy_is_removed_not_missing() -> None:
    world, first = _two_months()
    world.close(first)
    entries = world.drop(first)
    report = world.report()
    assert report.is_whole, list(map(str, report.findings))
    assert report.removed == {first: entries}
    assert report.verified == len(world.rows)


def test_survivors_of_a_drop_are_still_verified() -> None:
    world, first = _two_months()
    world.close(first)
    world.drop(first)
    place = next(place for place in world.rows if place[0] == world.writers[0].writer_id)
    stored = world.rows[place]
    world.rows[place] = stored._replace(entry=stored.entry._replace(principal="bob"))
    _only(world, Tampering.ENTRY_CHANGED)


def test_an_emptied_segment_is_not_a_dropped_one() -> None:
    world, first = _two_months()
    world.close(first)
    world.drop(first, signed=False)
    world.partitions.add(first)
    found = {each.tampering for each in world.report().findings}
    assert found == {Tampering.ENTRIES_MISSING}


def test_another_anchor_of_a_segment_is_forged() -> None:
    world, first = _two_months()
    world.close(first)
    closed = world.segments[0]
    world.segments[0] = closed._replace(anchor=closed.anchor.replace("\nentries ", "\nentries 1"))
    assert _only(world, Tampering.SEGMENT_FORGED).place == f"segment {first}"


def test_a_drop_of_another_segment_is_forged() -> None:
    world, first = _two_months()
    world.close(first)
    world.close(segment_of(world.moment))
    world.drop(first)
    one, two = world.segments
    world.segments[1] = two._replace(drop=one.drop)
    assert _only(world, Tampering.SEGMENT_FORGED).place == f"segment {two.segment}"


def test_a_removed_anchor_of_a_segment_is_missed_by_the_next() -> None:
    world, first = _two_months()
    world.close(first)
    world.close(segment_of(world.moment))
    del world.segments[0]
    assert "before it is missing" in _only(world, Tampering.SEGMENT_FORGED).words


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
