"""A stored audit in a folder, for verification without the database.

Files of JSON lines; bytes are hexadecimal, moments microseconds since 1970. ``entries`` are by
writer and number.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from services.crypto.audit.entry import Entry
from services.crypto.audit.evidence import SegmentNotes, Snapshot
from services.crypto.audit.sealing import Stored
from services.crypto.audit.statements import Run
from services.crypto.audit.tiles import Tile

ENTRIES, CHECKPOINTS, RUNS = "entries.jsonl", "checkpoints.jsonl", "runs.jsonl"
TILES, SEGMENTS, PARTS = "tiles.jsonl", "segments.jsonl", "parts.jsonl"
_BYTES = frozenset({"writer_id", "entry_id", "subject"})
_LISTS = frozenset({"fields", "tiers"})
_TYPES = {
    **dict.fromkeys(Entry._fields, str),
    **dict.fromkeys(("seq", "accessed_at", "duration_us"), int),
    **dict.fromkeys(_LISTS, list),
    "success": bool,
}


class BundleBroken(ValueError):
    """A folder that holds no audit; the message names the file and the line."""


def write_lines(folder: Path, name: str, lines: Iterable[object]) -> int:
    """Append lines to a file of a bundle; give how many."""
    count = 0
    with (folder / name).open("a", encoding="utf-8") as file:
        for line in lines:
            file.write(json.dumps(line, separators=(",", ":")) + "\n")
            count += 1
    return count


def line_of(stored: Stored) -> dict[str, Any]:
    """Give the line of an entry."""
    line: dict[str, Any] = stored.entry._asdict()
    for name in _BYTES:
        line[name] = line[name].hex()
    line["hash"] = stored.hash.hex()
    return line


def line_of_run(run: Run) -> dict[str, Any]:
    """Give the line of a run."""
    return {**run._asdict(), "writer_id": run.writer_id.hex(), "head": run.head.hex()}


def read_bundle(folder: Path) -> Snapshot:
    """Read a bundle; entries are read again whenever they are asked for. Raises BundleBroken."""

    def entries() -> Iterator[Stored]:
        return _lines(folder, ENTRIES, _entry)

    def tile(line: dict[str, Any]) -> tuple[Tile, bytes]:
        return Tile(line["level"], line["number"]), bytes.fromhex(line["hashes"])

    return Snapshot(
        entries=entries,
        checkpoints=list(_lines(folder, CHECKPOINTS, lambda line: str(line["note"]))),
        runs=list(_lines(folder, RUNS, _run)),
        tiles=dict(_lines(folder, TILES, tile)),
        segments=list(_lines(folder, SEGMENTS, lambda line: SegmentNotes(**line))),
        partitions=frozenset(_lines(folder, PARTS, lambda line: str(line["segment"]))),
    )


def _lines(folder: Path, name: str, of_line: Any) -> Iterator[Any]:
    try:
        with (folder / name).open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    made = of_line(_object(line))
                except (ValueError, KeyError, TypeError) as error:
                    raise BundleBroken(f"{name}:{number}: is no line of an audit") from error
                yield made
    except FileNotFoundError as error:
        raise BundleBroken(f"{name} is missing") from error


def _object(line: str) -> dict[str, Any]:
    read = json.loads(line)
    if not isinstance(read, dict):
        raise TypeError("a line is an object")
    return read


def _entry(line: dict[str, Any]) -> Stored:
    hashed = bytes.fromhex(line.pop("hash"))
    for name, kind in _TYPES.items():
        if type(line[name]) is not kind:
            raise TypeError(name)
    for name in _BYTES:
        line[name] = bytes.fromhex(line[name])
    for name in _LISTS:
        line[name] = tuple(line[name])
    return Stored(Entry(**line), hashed)


def _run(line: dict[str, Any]) -> Run:
    line["writer_id"] = bytes.fromhex(line["writer_id"])
    line["head"] = bytes.fromhex(line["head"])
    return Run(**line)
