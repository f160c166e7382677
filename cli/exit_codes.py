"""Exit codes that scripts depend on."""

from enum import IntEnum


class ExitCode(IntEnum):
    DONE = 0
    REFUSED = 1
    """Refused by the service, or it could not be done; the reason is on standard error."""
    USAGE = 2
    """The command line is wrong."""
    UNREACHABLE = 3
    """Nothing answered at the endpoint."""
    FAILED_VERDICT = 4
    """The verdict is one to fail on: `compliance evaluate --fail-on`, `security gate`."""
    READER_LEFT = 141
    """The other end of the pipe was closed: 128 + SIGPIPE, as of any program."""
