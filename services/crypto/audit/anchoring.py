"""Takes checkpoints to the second place, once a minute while there are new ones."""

from datetime import timedelta

from opentelemetry import metrics
from sqlalchemy.ext.asyncio import AsyncEngine

from mesh.errors import DependencyUnavailable
from mesh.sql.engine import translated
from mesh.sql.recurring import Recurring
from services.crypto.audit.anchors import AnchorFailed, Anchors, checkpoint_name
from services.crypto.audit.seal_store import newest_note

EVERY = timedelta(minutes=1)
_SIZE = metrics.get_meter("secmesh.crypto").create_gauge(
    "secmesh.crypto.audit.anchored",
    description="size of the newest checkpoint that this process took to the second place",
)


class Anchoring(Recurring):
    """Looks at the newest checkpoint; processes may do so at once, the name is the same."""

    def __init__(self, owner: AsyncEngine, anchors: Anchors, every: timedelta = EVERY) -> None:
        super().__init__(every, "checkpoints of the audit were not taken to the second place")
        self._owner = owner
        self._anchors = anchors
        self._size = 0

    async def look(self) -> int:
        """Keep the newest checkpoint; give its size, 0 if there is nothing new."""
        with translated():
            async with self._owner.connect() as connection:
                newest = await newest_note(connection)
        if newest is None or newest[0] == self._size:
            return 0
        size, note = newest
        try:
            await self._anchors.put(checkpoint_name(size, note), note)
        except AnchorFailed as error:
            raise DependencyUnavailable("anchors") from error
        self._size = size
        _SIZE.set(size)
        return size
