"""The descriptions of AWS's services, as botocore ships them, without what is never used.

botocore parses each description into ordered dictionaries with all its documentation. Here they
are plain dictionaries without it, parsed once a process, and of a service whose operations are
declared only those are parsed: less memory, and less CPU. EC2's 4,400 shapes alone would take
14 MiB for the 240 that are used.
"""

import gzip
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import orjson
from botocore.loaders import Loader, create_loader

from mesh.aws.members import Members

_PACKED = ".json.gz"
_FORMS = (".json", _PACKED)
_SERVICE = "service-"
"""How files begin that describe operations; in rules of endpoints botocore insists on texts."""
_OPERATIONS, _SHAPES = "operations", "shapes"
_CLIENT_PARAMETERS = "clientContextParams"
"""Here too it does, but not on what they say."""
_BY_BOTOCORE = frozenset({"s3:HeadBucket", "s3:CreateSession"})
"""What botocore calls by itself: where a bucket is, a session for buckets of one zone."""


class LeanFiles:
    """Reads a description by its path without suffix, as botocore's Loader asks for it."""

    def __init__(self, operations: Iterable[str] = ()) -> None:
        """``service:Operation``; services of which none is named stay whole."""
        declared = frozenset(operations)
        self._kept: dict[str, set[str]] = {}
        self._shapes: dict[Path, set[str]] = {}
        for operation in declared | _BY_BOTOCORE if declared else declared:
            service, _, name = operation.partition(":")
            self._kept.setdefault(service, set()).add(name)

    def exists(self, file_path: str) -> bool:
        """Tell whether there is such a file."""
        # It is asked of every service there is: a Path of each would cost more than the answer.
        return any(os.path.isfile(file_path + suffix) for suffix in _FORMS)  # noqa: PTH113

    def load_file(self, file_path: str) -> Any:
        """Give the parsed file, None if there is none. Raises orjson.JSONDecodeError."""
        for suffix in _FORMS:
            path = Path(file_path + suffix)
            if path.is_file():
                content = path.read_bytes()
                if suffix == _PACKED:
                    content = gzip.decompress(content)
                return self._described(path, content)
        return None

    def _described(self, path: Path, content: bytes) -> Any:
        if not path.name.startswith(_SERVICE):
            return orjson.loads(content)
        # The folder of a service holds one of each version.
        kept = self._kept.get(path.parent.parent.name)
        if kept is None:
            described = undocumented(orjson.loads(content))
        else:
            described = self._reduced(path, content.decode(), kept)
        for parameter in described.get(_CLIENT_PARAMETERS, {}).values():
            parameter["documentation"] = ""
        return described

    def _reduced(self, path: Path, content: str, kept: set[str]) -> dict[str, Any]:
        members = Members(content, opened=(_OPERATIONS, _SHAPES))
        if _OPERATIONS in members:
            described = reduced(members, kept)
            self._shapes[path.parent] = set(described[_SHAPES])
            return described
        described = {name: undocumented(members[name]) for name in members}
        # Extras, which come later: additions to a shape that is gone would be a broken shape.
        added = described.get("merge", {}).get("shapes", {})
        for shape in added.keys() - self._shapes.get(path.parent, set()):
            del added[shape]
        return described


def reduced(members: Mapping[str, Any], operations: set[str]) -> dict[str, Any]:
    """Parse of a description these operations alone and the shapes that they use."""
    declared, known = members[_OPERATIONS], members[_SHAPES]
    rest = {name: members[name] for name in members if name not in (_OPERATIONS, _SHAPES)}
    kept = {name: undocumented(declared[name]) for name in declared if name in operations}
    shapes: dict[str, Any] = {}
    open_names = set(_shapes_in(kept))
    while open_names:
        name = open_names.pop()
        shapes[name] = undocumented(known[name])
        open_names |= set(_shapes_in(shapes[name])) - shapes.keys()
    described: dict[str, Any] = undocumented(rest)
    return described | {_OPERATIONS: kept, _SHAPES: shapes}


def _shapes_in(part: Any) -> Iterator[str]:
    """Give the shapes that a part names; a member called "shape" is no name."""
    if isinstance(part, dict):
        named = part.get("shape")
        if isinstance(named, str):
            yield named
        for each in part.values():
            yield from _shapes_in(each)
    elif isinstance(part, list):
        for each in part:
            yield from _shapes_in(each)


def undocumented(part: Any) -> Any:
    """Give a part of a description without texts; a member of that name, which is none, stays."""
    if isinstance(part, dict):
        return {
            sys.intern(name): undocumented(each)
            for name, each in part.items()
            if name != "documentation" or not isinstance(each, str)
        }
    if isinstance(part, str):
        # The same few names stand in most parts, which are parsed one by one.
        return sys.intern(part)
    return [undocumented(each) for each in part] if isinstance(part, list) else part


def lean_loader(configured: str | None = None, operations: Iterable[str] = ()) -> Loader:
    """Make botocore's loader read so; folders beside botocore's own stand between colons."""
    loader: Any = create_loader(configured)
    loader.file_loader = LeanFiles(operations)
    found: Loader = loader
    return found


_shared_loader = cache(lean_loader)


def new_session(operations: frozenset[str] = frozenset()) -> botocore.session.Session:
    """Make a session with credentials of its own on the descriptions that all share."""
    session = botocore.session.get_session()
    # AWS_DATA_PATH may name folders with further descriptions.
    session.register_component(
        "data_loader", _shared_loader(session.get_config_variable("data_path"), operations)
    )
    return session
