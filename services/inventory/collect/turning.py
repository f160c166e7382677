"""What becomes of checks while a run changes records: weighed and stored with what was read."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from sqlalchemy.ext.asyncio import AsyncConnection

from secmesh.inventory.v1.check_turn_pb2 import CheckTurn
from secmesh.inventory.v1.record_pb2 import Record
from secmesh.inventory.v1.sync_pb2 import Sync
from services.inventory.collect.versions import Changes, Unit


class Turning(Protocol):
    """Weighs checks for a run, and writes in the run's transactions which of them turned."""

    async def of_unit(
        self, sync: Sync, unit: Unit, stored: Mapping[str, Record], changes: Changes
    ) -> Sequence[CheckTurn]:
        """Give the outcomes of single records that a unit turns."""

    async def of_run(self, sync: Sync, touched: Collection[str]) -> Sequence[CheckTurn]:
        """Give the outcomes of accounts and regions that a run turned by what it touched.

        ``touched`` are the collections of which it changed any record.
        """

    async def add(self, connection: AsyncConnection, turns: Sequence[CheckTurn]) -> None:
        """Store turns."""
