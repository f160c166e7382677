"""What every outgoing call carries: the token and a time limit."""

from collections.abc import Callable, Iterable

from secmesh_client.contract import rules

Token = str | Callable[[], str]
"""A bearer token, or what gives one for each call."""

Metadata = tuple[tuple[str, str | bytes], ...]


class Outgoing:
    """The rules of one channel to the services of a package; all packages if it is empty."""

    def __init__(self, package: str, token: Token | None) -> None:
        self._rules = rules(package)
        self._token = token

    def default_timeout(self, path: str) -> float | None:
        """Give the method's own limit in seconds, None for methods without a contract."""
        rule = self._rules.get(path)
        return rule.timeout.total_seconds() if rule is not None else None

    def timeout(self, asked: float | None, default: float | None) -> float | None:
        """Give the seconds a call may take: the caller's or the method's."""
        return default if asked is None else asked

    def metadata(self, given: Iterable[tuple[str, str | bytes]] | None) -> Metadata:
        """Add the token, unless the caller gave one."""
        entries = tuple(given or ())
        if self._token is not None and "authorization" not in {key for key, _ in entries}:
            token = self._token if isinstance(self._token, str) else self._token()
            entries = (*entries, ("authorization", f"Bearer {token}"))
        return entries
