"""Revisions of the change feed after a restore: those of before mean nothing, whatever they say."""

from pathlib import Path

import pytest

from mesh.errors import FieldInvalid, RevisionGone
from mesh.sql.backup.progress import Progress
from mesh.sql.backup.sqlite import SqliteDump
from mesh.sql.changes import ChangeFeed, Revision
from tests.databases import SQLITE, empty_database
from tests.unit.record_world import ITEMS, records_on


@pytest.mark.parametrize(
    "text", ["12-3", "0-0-0123456789ab", "9223372036854775807-9223372036854775807-abcdefabcdef"]
)
def test_a_revision_is_read_as_it_was_written(text: str) -> None:
    assert str(Revision.parse(text)) == text


@pytest.mark.parametrize("text", ["", "1", "1-2-", "1-2-xyz", "1-2-0123456789AB", "1-2-3-4"])
def test_what_is_no_revision_is_refused(text: str) -> None:
    with pytest.raises(FieldInvalid):
        Revision.parse(text)


async def test_numbers_that_come_again_are_not_taken_for_those_of_before(
    tmp_path: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with empty_database(SQLITE, tmp_path_factory) as url:
        async with records_on(url) as records:
            feed = ChangeFeed(records.store)
            await records.create(ITEMS, "kept", title="one")
            tables = [each.name for each in records.store.tables.metadata.sorted_tables]
            dump = SqliteDump(Path(url.removeprefix("sqlite:///")), tables)
            copy = tmp_path / "copy"
            copy.touch()
            rows = dump.dump(copy, Progress())
            await records.create(ITEMS, "lost", title="two")
            seen = await feed.present("acme")
            dump.load(copy, rows, Progress())
            await records.create(ITEMS, "new", title="three")
            now = await feed.present("acme")
            assert (now.transaction, now.sequence) == (seen.transaction, seen.sequence)
            for old in (seen, Revision(0, 0)):
                with pytest.raises(RevisionGone):
                    await feed.page("acme", old)
            page = await feed.page("acme", Revision(0, 0, now.epoch))
            assert [each.name.rpartition("/")[2] for each in page.changes] == ["kept", "new"]
            assert {each.revision.epoch for each in page.changes} == {now.epoch}
            again = Revision.parse(str(page.revision))
            assert (await feed.page("acme", again)).changes == []
            dump.load(copy, rows, Progress())
            assert (await feed.present("acme")).epoch not in ("", now.epoch)
