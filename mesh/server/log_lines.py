"""Writes log lines to standard error, those of calls several at a time."""

import asyncio
import logging
import os
import threading

FLUSH_SECONDS = 0.1
"""How long a line may wait that is no warning."""
FLUSH_BYTES = 64 * 1024
_CALL_BYTES = 512
"""About as long is the line of a call that waits to be made."""
_STANDARD_ERROR = 2


class Lines(logging.Handler):
    """Gathers lines of the event loop below WARNING for a moment: a write costs as much as a line.

    Those of calls are also made together, from what ``log_call`` kept of them: the same few steps
    several times over take a third of what they take one by one.
    A process that is killed loses those of the last FLUSH_SECONDS; one that ends does not.
    """

    def __init__(self, descriptor: int = _STANDARD_ERROR) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._waiting: list[bytes | logging.LogRecord] = []
        self._size = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        # Of its own: a flush can come from another thread than the line.
        self._writing = threading.Lock()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            if hasattr(record, "call"):
                self._waiting.append(record)
                self._size += _CALL_BYTES
            else:
                line = self._line(record)
                self._waiting.append(line)
                self._size += len(line)
            if record.levelno >= logging.WARNING or self._size > FLUSH_BYTES or not self._later():
                self.flush()
        except Exception:  # noqa: BLE001 - the standard library's rule: a log line harms no call
            self.handleError(record)

    def flush(self) -> None:
        """Write what waits."""
        with self._writing:
            waiting, self._waiting, self._size = self._waiting, [], 0
            lines = [each if isinstance(each, bytes) else self._line(each) for each in waiting]
            data = memoryview(b"".join(lines))
            while data:
                data = data[os.write(self._descriptor, data) :]

    def _line(self, record: logging.LogRecord) -> bytes:
        try:
            return self.format(record).encode() + b"\n"
        except Exception:  # noqa: BLE001 - the standard library's rule: a log line harms no call
            self.handleError(record)
            return b""

    def _later(self) -> bool:
        """Have a running event loop write soon; False if there is none in this thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            return False
        if self._loop is not loop or len(self._waiting) == 1:
            self._loop = loop
            loop.call_later(FLUSH_SECONDS, self.flush)
        return True
