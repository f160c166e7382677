"""What was signed tells when it, or what it covers, is gone: checkpoints, anchors, segments."""

from services.crypto.audit.findings import Tampering
from services.crypto.audit.sealing import Stored, segment_of
from services.crypto.audit.tiles import Tile
from tests.unit.crypto_audit_world import (
    WRITERS_SIGNER,
    AuditWorld,
    busy_world,
    copied,
    only_finding,
)


def test_an_old_snapshot_is_told_from_its_anchors() -> None:
    world = busy_world()
    old = copied(world)
    for _ in range(2):
        world.write(world.writers[0])
        world.seal()
    world.anchor()
    old.anchors = world.anchors
    found = only_finding(old, Tampering.STORE_ROLLED_BACK)
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
    found = only_finding(old, Tampering.HISTORY_REWRITTEN)
    assert found.words == f"the store tells another history since size {agreed}"


def test_a_tail_removed_with_its_checkpoints_is_a_rollback() -> None:
    world = busy_world()
    kept = copied(world)
    world.write(world.writers[0])
    world.seal()
    kept.anchors = [*world.anchors, world.checkpoints[-1]]
    only_finding(kept, Tampering.STORE_ROLLED_BACK)


def test_two_anchors_of_one_size_are_two_histories() -> None:
    world = busy_world()
    other = copied(world)
    for each in (world, other):
        each.write(each.writers[0])
        each.seal()
    world.anchors = [world.checkpoints[-1], other.checkpoints[-1]]
    found = only_finding(world, Tampering.HISTORY_REWRITTEN)
    assert "two checkpoints" in found.words


def test_a_forged_anchor_is_one() -> None:
    world = busy_world()
    world.anchors.append(world.checkpoints[-1].replace(f"\n{world.tree.size}\n", "\n999\n"))
    only_finding(world, Tampering.ANCHOR_FORGED)


def test_a_removed_checkpoint_is_missing() -> None:
    world = busy_world()
    del world.checkpoints[2]
    found = only_finding(world, Tampering.CHECKPOINT_MISSING)
    assert found.place == f"size {world.checkpoints[2].split(chr(10))[1]}"


def test_the_newest_checkpoint_is_missed_too() -> None:
    world = busy_world()
    world.anchors.clear()
    world.checkpoints.pop()
    found = only_finding(world, Tampering.CHECKPOINT_MISSING)
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
    found = only_finding(world, Tampering.TILES_CHANGED)
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
    found = only_finding(world, Tampering.SEGMENT_MISSING)
    assert found.place == f"segment {first}"
    assert found.words == (
        f"its table is gone with all {entries} entries, and there is no anchor of it"
    )


def test_a_segment_dropped_without_a_signed_drop_is_missing_although_anchored() -> None:
    world, first = _two_months()
    world.close(first)
    world.drop(first, signed=False)
    assert "anchored, but no signed drop" in only_finding(world, Tampering.SEGMENT_MISSING).words


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
    only_finding(world, Tampering.ENTRY_CHANGED)


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
    assert only_finding(world, Tampering.SEGMENT_FORGED).place == f"segment {first}"


def test_a_drop_of_another_segment_is_forged() -> None:
    world, first = _two_months()
    world.close(first)
    world.close(segment_of(world.moment))
    world.drop(first)
    one, two = world.segments
    world.segments[1] = two._replace(drop=one.drop)
    assert only_finding(world, Tampering.SEGMENT_FORGED).place == f"segment {two.segment}"


def test_a_removed_anchor_of_a_segment_is_missed_by_the_next() -> None:
    world, first = _two_months()
    world.close(first)
    world.close(segment_of(world.moment))
    del world.segments[0]
    assert "before it is missing" in only_finding(world, Tampering.SEGMENT_FORGED).words
