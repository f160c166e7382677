"""What is measured of runs: their units, by collection and how they ended."""

from opentelemetry import metrics

from secmesh.inventory.v1.sync_unit_pb2 import SyncUnit

_METER = metrics.get_meter("services.inventory")
_UNITS = _METER.create_counter("inventory.sync.units", description="units of runs that ended")


def unit_ended(unit: SyncUnit) -> None:
    """Count a unit that was written."""
    state = SyncUnit.State.Name(unit.state).removeprefix("STATE_").lower()
    whole = "true" if unit.whole else "false"
    _UNITS.add(1, {"collection": unit.collection, "state": state, "whole": whole})
