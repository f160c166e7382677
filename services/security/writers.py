"""For whom records are written: the caller, who let a run do it, or the service itself."""

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass

from mesh.errors import PermissionMissing
from mesh.identity.permissions import permits
from mesh.server.call import find_current_call

SYSTEM = "system"
"""Who does what nobody asked for."""


@dataclass(frozen=True, slots=True)
class Writer:
    """Who writes, as guards of records judge it."""

    name: str
    """Subject of the token, or the name of a run."""
    permissions: frozenset[str] | None = None
    """Patterns of what may be done; None is the service itself, which may do all."""

    def require(self, permission: str) -> None:
        """Refuse what the writer may not do; PermissionMissing."""
        if self.permissions is not None and not permits(self.permissions, permission):
            raise PermissionMissing(permission)


_SERVICE = Writer(SYSTEM)
_WRITING: ContextVar[Writer | None] = ContextVar("security_writer", default=None)


@contextlib.contextmanager
def writing_as(writer: Writer) -> Iterator[None]:
    """Let all that the block writes be that writer's, whoever calls."""
    token = _WRITING.set(writer)
    try:
        yield
    finally:
        _WRITING.reset(token)


def current_writer() -> Writer:
    """Give who writes now."""
    stated = _WRITING.get()
    if stated is not None:
        return stated
    call = find_current_call()
    if call is None:
        return _SERVICE
    return Writer(call.caller.subject, call.caller.permissions)
