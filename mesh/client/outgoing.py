"""What a call carries that is made while another is served: its request id and time."""

from collections.abc import Iterable

from mesh.server.call import REQUEST_ID_KEY, find_current_call
from mesh.telemetry import tracing
from secmesh_client.outgoing import Metadata
from secmesh_client.outgoing import Outgoing as OutgoingAlone

MARGIN_SECONDS = 0.05
"""Kept back from the deadline of the call being served, to answer in."""


class Outgoing(OutgoingAlone):
    """The rules of one channel between services."""

    def timeout(self, asked: float | None, default: float | None) -> float | None:
        """Give the seconds a call may take: the caller's or the method's, and never longer than
        the call that is being served. gRPC does not propagate deadlines by itself.
        """
        seconds = super().timeout(asked, default)
        call = find_current_call()
        if call is None:
            return seconds
        left = max(call.remaining - MARGIN_SECONDS, 0.0)
        return left if seconds is None else min(seconds, left)

    def metadata(self, given: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
        """Add the token and the request id, unless the caller gave them."""
        entries = super().metadata(given)
        keys = {key for key, _ in entries}
        call = find_current_call()
        if call is not None and call.request_id and REQUEST_ID_KEY not in keys:
            entries = (*entries, (REQUEST_ID_KEY, call.request_id))
        return (*entries, *tracing.outgoing())
