"""Why there is no session."""

from mesh.aws.outcomes import SessionUnavailable
from mesh.errors import Refusal


class SessionRefused(SessionUnavailable):
    """The tenancy service lends no session, or does not answer."""

    def __init__(self, refusal: Refusal, *, passing: bool) -> None:
        super().__init__(refusal.reason.name, refusal.message)
        self.refusal = refusal
        """What callers are told."""
        self.passing = passing
        """Whether it may be another answer a moment later."""
