"""Gather what the distribution holds: the client's package and the stubs of the contracts."""

import runpy
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SOURCES = ("secmesh_client", "protos")


class GatherClient(BuildHookInterface[Any]):
    """Put the client and generated packages into a wheel, their sources into an sdist."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # `make` generates into gen, and more often
            return
        here = Path(self.root)
        # An unpacked sdist has the sources inside, the repository beside this folder.
        root = here if (here / "protos").is_dir() else here.parent
        included = build_data["force_include"]
        if self.target_name == "sdist":
            included.update({str(root / name): name for name in SOURCES})
            return
        self._made = TemporaryDirectory()
        made = Path(self._made.name)
        runpy.run_path(str(root / "protos" / "generate.py"))["generate"](made)
        included.update({str(made / name): name for name in ("secmesh", "buf")})
        if root is not here:  # otherwise hatchling finds the package itself
            included[str(root / "secmesh_client")] = "secmesh_client"

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:  # noqa: ARG002  # the hook's interface
        if version != "editable" and self.target_name == "wheel":
            self._made.cleanup()
