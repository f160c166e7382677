"""What a check says of example records, decided in memory as the store decides it of rows."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime

from google.protobuf import json_format, message_factory
from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import FieldInvalid
from secmesh.inventory.v1 import check_pb2, control_pb2
from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.outcomes import FAIL, PASS, Outcome, combine
from services.inventory.compliance.row_outcome import row_outcome


def fixture_outcome(
    check: BoundCheck, fixture: control_pb2.ControlFixture, now: datetime, field: str
) -> Outcome:
    """Give what a check says of a fixture's records; FieldInvalid below ``field``."""
    records = [
        _Example.read(check.kind, each, f"{field}.records[{number}]")
        for number, each in enumerate(fixture.records)
    ]
    parameters = check.parameters(check.defaults(), now)
    outcomes = [each.outcome(check, parameters) for each in records]
    if check.message.scope == check_pb2.CHECK_SCOPE_RESOURCE:
        if len(outcomes) != 1:
            raise FieldInvalid.of(
                f"{field}.records", "must be one record: each has its own outcome"
            )
        return outcomes[0]
    return combine(check.message.quantifier, Counter(outcomes), unlisted=False)


class _Example:
    """One record of a fixture."""

    def __init__(self, body: Message, unread: frozenset[str]) -> None:
        self._body = body
        self._unread = unread

    @classmethod
    def read(cls, kind: Kind, record: control_pb2.FixtureRecord, field: str) -> "_Example":
        """Read the JSON of a record; FieldInvalid says what does not fit the collection."""
        body: Message = message_factory.GetMessageClass(kind.descriptor)()
        given = json_format.MessageToDict(record.body)
        try:
            json_format.ParseDict(given, body)
        except json_format.ParseError as error:
            raise FieldInvalid.of(f"{field}.body", f"is no {kind.collection}: {error}") from None
        known = {each.name for each in kind.descriptor.fields}
        for number, name in enumerate(record.unread):
            if name not in known:
                problem = f"{kind.collection} has no field {name!r}"
                raise FieldInvalid.of(f"{field}.unread[{number}]", problem)
        return cls(body, frozenset(record.unread))

    def outcome(self, check: BoundCheck, parameters: dict[str, object]) -> Outcome:
        return row_outcome(check, self._body, self._unread, parameters)


def hold(check: BoundCheck, fixtures: Sequence[control_pb2.ControlFixture], now: datetime) -> None:
    """Raise FieldInvalid unless every fixture comes out as it says, and each way is shown."""
    for number, fixture in enumerate(fixtures):
        field = f"control.fixtures[{number}]"
        outcome = fixture_outcome(check, fixture, now, field)
        if outcome != fixture.outcome:
            got, wanted = _word(outcome), _word(fixture.outcome)
            raise FieldInvalid.of(
                f"{field}.outcome", f"is {got} and not {wanted}", "FIXTURE_FAILED"
            )
    shown = {fixture.outcome for fixture in fixtures}
    for needed in (PASS, FAIL):
        if needed not in shown:
            problem = f"one of them must come out as {_word(needed)}"
            raise FieldInvalid.of("control.fixtures", problem, "FIXTURE_MISSING")


def _word(outcome: Outcome) -> str:
    name = check_pb2.EvidenceOutcome.Name(outcome)
    return name.removeprefix("EVIDENCE_OUTCOME_").lower().replace("_", " ")
