"""Generate the stubs when a wheel is built, so that it needs nothing from its source tree."""

import runpy
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class GenerateStubs(BuildHookInterface[Any]):
    """Put the generated packages beside the hand-written ones."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # `make` generates into the same folder, and more often
            return
        root = Path(self.root)
        runpy.run_path(str(root / "protos" / "generate.py"))["generate"](root / "gen")
        build_data["force_include"].update(
            {str(root / "gen" / package): package for package in ("secmesh", "buf")}
        )
