"""What every part of the service is made of."""

import random
from dataclasses import dataclass

from services.tenancy.clock import Clock
from services.tenancy.settings import TenancySettings
from services.tenancy.store.port import Store


@dataclass(frozen=True)
class Parts:
    """Given to whatever makes servicers; a test or simulation gives its own."""

    settings: TenancySettings
    store: Store
    clock: Clock
    chance: random.Random
    """For jitter and the choice between equals; never for what must not be guessed."""
