"""The checks that a tenant's plans are weighed by: those of the service and its own."""

import logging
from collections.abc import Iterable
from functools import lru_cache
from typing import cast

from sqlalchemy.ext.asyncio import AsyncConnection

from mesh.contract.catalogue import Catalogue
from mesh.sql.store import Store
from secmesh.inventory.v1 import assessment_pb2, check_pb2, control_pb2
from services.inventory.compliance.check_catalogue import (
    BoundCheck,
    CheckCatalogue,
    RuleBroken,
    bind_check,
)

CONTROLS = "controls"
VERSIONS = "control_versions"
PREFIX = "custom."
SOURCE = "tenant"
"""Source of the mappings of a tenant's own controls."""
_BOUND = 4096
"""Bound controls that are remembered, of all tenants."""
_LOG = logging.getLogger(__name__)


def check_id(control_id: str) -> str:
    """Give the id under which a control's check stands among the others."""
    return PREFIX + control_id.replace("-", "_")


def control_id_of(check: str) -> str:
    """Give the id of the control that a check is of; empty if it comes with the service."""
    return check.removeprefix(PREFIX).replace("_", "-") if check.startswith(PREFIX) else ""


class TenantChecks:
    """Gives each tenant its catalogue of checks."""

    def __init__(self, store: Store, catalogue: Catalogue, shipped: CheckCatalogue) -> None:
        self._store = store
        self._catalogue = catalogue
        self.shipped = shipped
        self._remembered = lru_cache(maxsize=_BOUND)(self._bind)

    async def of(self, tenant: str, connection: AsyncConnection | None = None) -> CheckCatalogue:
        """Give the checks that come with the service and the tenant's that are not disabled.

        A control that the contract of today cannot express any more is left out, and logged.
        """
        statement = self._store.select(CONTROLS, tenant)
        found = await self._store.messages(CONTROLS, statement, connection=connection)
        controls = cast("list[control_pb2.Control]", found)
        return self.shipped.with_more(self._usable(each for each in controls if not each.disabled))

    async def as_judged(
        self,
        tenant: str,
        results: Iterable[assessment_pb2.CheckResult],
        connection: AsyncConnection | None = None,
    ) -> CheckCatalogue:
        """Give the checks in the versions that gave these results."""
        wanted = {
            (control_id_of(each.check_id), str(each.control_version))
            for each in results
            if each.control_version
        }
        if not wanted:
            return self.shipped
        table = self._store.target(VERSIONS).table
        statement = self._store.select(VERSIONS, tenant).where(
            table.c.control_id.in_({control for control, _ in wanted})
        )
        found = await self._store.messages(VERSIONS, statement, connection=connection)
        versions = cast("list[control_pb2.ControlVersion]", found)
        return self.shipped.with_more(
            self._usable(
                each.control
                for each in versions
                if (each.control.name.rpartition("/")[2], str(each.version)) in wanted
            )
        )

    def bind(self, check: check_pb2.Check, version: int = 0) -> BoundCheck:
        """Bind a check to the contract; RuleBroken."""
        return self._remembered(check.SerializeToString(deterministic=True), version)

    def _usable(self, controls: Iterable[control_pb2.Control]) -> list[BoundCheck]:
        usable: list[BoundCheck] = []
        for control in controls:
            try:
                usable.append(self.bind(control.check, control.version))
            except RuleBroken as broken:
                _LOG.warning("%s is left out: %s", control.name, broken)
        return usable

    def _bind(self, check: bytes, version: int) -> BoundCheck:
        return bind_check(self._catalogue, check_pb2.Check.FromString(check), version)
