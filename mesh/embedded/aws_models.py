"""The descriptions of AWS's services, as moto reads them here."""

from functools import cache
from pathlib import Path
from typing import Any

import orjson
from botocore.loaders import Loader

from mesh.aws.models import LeanFiles


class WholeFiles(LeanFiles):
    """Reads descriptions whole, but not into ordered dictionaries, which took half of a start."""

    def _described(self, path: Path, content: bytes) -> Any:  # noqa: ARG002 - a file's own reader
        return orjson.loads(content)


@cache
def read_quickly() -> None:
    """Let moto, and every session that this process makes from now on, read so; once a process."""
    from moto.core import utils

    of_botocore: Any = Loader
    of_botocore.FILE_LOADER_CLASS = WholeFiles
    of_moto: Any = utils
    # Moto would make a loader for each service, and each would look for all services.
    of_moto.create_loader = cache(of_moto.create_loader)
