"""Whether a caller may read sealed fields: a right for each, and a purpose that covers them."""

from collections.abc import Collection, Iterable

from mesh.errors import PermissionMissing
from mesh.server.call import current_call
from services.crypto.persons.fields import PersonField
from services.crypto.persons.refusals import PurposeRefused

UNMASK = "crypto.users.unmask"
"""Needed to read any sealed value of a person, beside the permission for each field."""


def permit(
    wanted: Collection[PersonField],
    purpose: str,
    covered: Collection[str],
    beside: Iterable[str] = (),
) -> None:
    """Let the caller read fields. Raises PermissionMissing, PurposeRefused.

    ``covered`` are the fields of the purpose, ``beside`` permissions needed whatever the fields.
    """
    caller = current_call().caller
    for needed in (*beside, *(each.unmask_permission for each in wanted)):
        if not caller.permits(needed):
            raise PermissionMissing(needed)
    for each in wanted:
        if each.name not in covered:
            raise PurposeRefused(purpose, each.name)
