"""Worlds of the tenancy service that go back to what they were."""

import copy
from typing import Any

from tests.service.tenancy_world import World


class Rewound:
    """Puts a world back to what it was."""

    def __init__(self, world: World) -> None:
        self._places: list[tuple[Any, str]] = [
            (world.parts.store, "_tables"),
            (world.secrets, "_secrets"),
        ]
        self._kept = [copy.deepcopy(getattr(*place)) for place in self._places]

    def __call__(self) -> None:
        for (holder, name), kept in zip(self._places, self._kept, strict=True):
            setattr(holder, name, copy.deepcopy(kept))
