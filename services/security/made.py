"""Records that tell what the service did: it makes them alone, as it does it."""

from google.protobuf.message import Message

from mesh.contract.catalogue import Kind
from mesh.errors import KindReadOnly
from services.security.incidents.life import STEPS
from services.security.workflows.run_store import EXECUTIONS
from services.security.writers import current_writer

SERVICE_MADE = frozenset({STEPS, EXECUTIONS})
"""Steps in the life of incidents, and runs of workflows."""


class ServiceMadeGuard:
    """Lets nobody tell of a step that was not taken, or of a run that did not run."""

    def concerns(self, kind: Kind) -> bool:
        """Tell whether records of a kind are the service's to make."""
        return kind.collection in SERVICE_MADE

    def settle(self, kind: Kind, old: Message | None, new: Message) -> None:  # noqa: ARG002 - the protocol's
        """Raises KindReadOnly."""
        if old is None and current_writer().permissions is not None:
            raise KindReadOnly(kind.collection)
