"""What is measured of the store: consumed units and refused calls, by table and operation.

Times and spans of each call are those of ``mesh.aws.telemetry``.
"""

from opentelemetry import metrics

from services.tenancy.store.recorder import StoreCall

_METER = metrics.get_meter("secmesh.tenancy")
_UNITS = _METER.create_counter(
    "tenancy.store.units", description="request units of DynamoDB that calls consumed"
)
_REFUSED = _METER.create_counter(
    "tenancy.store.refused", description="calls of DynamoDB that did not do what they were for"
)


def measure(call: StoreCall) -> None:
    """Count a call; an ``Observer`` of stores."""
    tables = sorted({access.table.value for access in call.accesses})
    attributes = {"operation": call.operation, "tables": "+".join(tables)}
    if call.error:
        _REFUSED.add(1, {**attributes, "error": call.error})
    for kind, units in (("read", call.read_units), ("write", call.write_units)):
        if units:
            _UNITS.add(units, {**attributes, "kind": kind})
