"""The descriptions of AWS's services, as botocore ships them, without what only people read.

botocore parses each description into ordered dictionaries with all its documentation. Here they
are plain dictionaries without it, parsed once a process: less memory, and less CPU.
"""

import gzip
from functools import cache
from pathlib import Path
from typing import Any

import botocore.session
import orjson
from botocore.loaders import Loader, create_loader

_PACKED = ".json.gz"
_FORMS = (".json", _PACKED)
_DOCUMENTATION = "documentation"
# Elsewhere botocore insists on the texts: those of parameters of endpoints.
_DOCUMENTED = ("operations", "shapes")


class LeanFiles:
    """Reads a description by its path without suffix, as botocore's Loader asks for it."""

    def exists(self, file_path: str) -> bool:
        """Tell whether there is such a file."""
        return any(Path(file_path + suffix).is_file() for suffix in _FORMS)

    def load_file(self, file_path: str) -> Any:
        """Give the parsed file, None if there is none. Raises orjson.JSONDecodeError."""
        for suffix in _FORMS:
            path = Path(file_path + suffix)
            if path.is_file():
                content = path.read_bytes()
                described = orjson.loads(gzip.decompress(content) if suffix == _PACKED else content)
                for part in _DOCUMENTED:
                    undocumented(described.get(part))
                return described
        return None


def undocumented(described: Any) -> None:
    """Take the texts out of a description; a member of that name, which is no text, stays."""
    if isinstance(described, dict):
        if isinstance(described.get(_DOCUMENTATION), str):
            del described[_DOCUMENTATION]
        for each in described.values():
            undocumented(each)
    elif isinstance(described, list):
        for each in described:
            undocumented(each)


def lean_loader(configured: str | None = None) -> Loader:
    """Make botocore's loader read so; folders beside botocore's own stand between colons."""
    loader: Any = create_loader(configured)
    loader.file_loader = LeanFiles()
    found: Loader = loader
    return found


_shared_loader = cache(lean_loader)


def new_session() -> botocore.session.Session:
    """Make a session with credentials of its own on the descriptions that all share."""
    session = botocore.session.get_session()
    # AWS_DATA_PATH may name folders with further descriptions.
    session.register_component(
        "data_loader", _shared_loader(session.get_config_variable("data_path"))
    )
    return session
