"""What is measured of credentials, without a tenant: uses, what memory saved, calls of AWS."""

from opentelemetry import metrics

from secmesh.tenancy.v1 import credential_access_pb2 as pb

_METER = metrics.get_meter("secmesh.tenancy")
_USES = _METER.create_counter(
    "tenancy.credentials.uses", description="uses of credentials, those that were refused too"
)
_REMEMBERED = _METER.create_counter(
    "tenancy.credentials.remembered",
    description="secrets and sessions that were asked for, by whether they were in memory",
)
_DURATION = _METER.create_histogram(
    "tenancy.custody.duration",
    unit="s",
    description="time of a call of Secrets Manager or STS, its retries included",
    explicit_bucket_boundaries_advisory=[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10],
)
_ROTATIONS = _METER.create_counter(
    "tenancy.credentials.rotations",
    description="keys whose turn it was by schedule, by what came of it",
)
_PREFIX = "CREDENTIAL_ACTION_"


def used(action: "pb.CredentialAction.ValueType", *, granted: bool) -> None:
    """Count a use that the log holds."""
    word = pb.CredentialAction.Name(action).removeprefix(_PREFIX).lower()
    _USES.add(1, {"action": word, "granted": granted})


def rotated(outcome: str) -> None:
    """Count what came of a key whose turn it was."""
    _ROTATIONS.add(1, {"outcome": outcome})


def asked(kind: str, *, remembered: bool) -> None:
    """Count a question to a memory; ``kind`` is secret or session."""
    _REMEMBERED.add(1, {"kind": kind, "remembered": remembered})


def called(service: str, operation: str, seconds: float, outcome: str) -> None:
    """Measure a call of AWS; ``outcome`` is ok or the name of the failure."""
    _DURATION.record(seconds, {"service": service, "operation": operation, "outcome": outcome})
