"""Tokens that another program renews in a file."""

import re
from pathlib import Path
from threading import Lock

_BEARER = re.compile(r"[\x21-\x7e]{1,16384}")


class TokenFile:
    """Gives the token in a file for each call; the file is read again whenever it was written.

    Calls raise OSError if the file cannot be read, ValueError if it holds no token.
    """

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = Lock()
        self._seen: tuple[int, int, int] | None = None
        self._token = ""

    def __call__(self) -> str:
        with self._lock:
            state = self._path.stat()
            seen = (state.st_mtime_ns, state.st_size, state.st_ino)
            if seen != self._seen:
                token = self._path.read_text(errors="replace").strip()
                if not _BEARER.fullmatch(token):
                    raise ValueError(f"{self._path} does not hold one word of ASCII characters")
                self._token, self._seen = token, seen
            return self._token
