"""The outcome of one record, decided in memory as the store decides it of rows."""

from collections.abc import Mapping

from google.protobuf.message import Message

from services.inventory.compliance.check_catalogue import BoundCheck
from services.inventory.compliance.outcomes import FAIL, NOT_APPLICABLE, PASS, UNREAD, Outcome


def row_outcome(
    check: BoundCheck, body: Message, unread: frozenset[str], parameters: Mapping[str, object]
) -> Outcome:
    """Weigh one record whose ``unread`` fields could not be read.

    Args:
        parameters: Values of the check's variables, as ``BoundCheck.parameters`` gives them.
    """
    values = dict(parameters)
    applies = check.applies
    if applies is not None:
        concerned = applies.matches(body, None, values, unread)
        if concerned is None and unread & applies.fields:
            return UNREAD
        if not concerned:
            return NOT_APPLICABLE
    met = check.condition.matches(body, None, values, unread)
    if met is None and unread & check.condition.fields:
        return UNREAD
    return PASS if met else FAIL
