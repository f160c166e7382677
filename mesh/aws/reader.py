"""Reads of one unit of work: every call ends as a value, a fact of absence or a marked gap."""

import threading
import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from concurrent.futures import Executor
from contextvars import copy_context
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from botocore import xform_name
from botocore.exceptions import BotoCoreError, ClientError

from mesh.aws.accounts import Account
from mesh.aws.operations import action, is_absence, split
from mesh.aws.outcomes import Outcome, classify, error_message
from mesh.aws.sending import observer

Response = Mapping[str, Any]
T = TypeVar("T")
R = TypeVar("R")

MAX_NAMED = 20
"""Resources that one entry of the ledger names."""
DEADLINE = "DeadlineExceeded"
"""Code of reads that were not made because the unit's time was over."""


@dataclass(frozen=True)
class Unread:
    """A read that gave no answer: what was asked, the IAM action it needs, and why not."""

    operation: str
    action: str
    outcome: Outcome
    code: str

    @classmethod
    def of(cls, operation: str, outcome: Outcome, code: str) -> "Unread":
        return cls(operation, action(operation), outcome, code)


@dataclass(frozen=True)
class Absent:
    """The answer that something is not configured or not there."""

    code: str


Answer = Response | Absent | Unread


class ReadingCancelled(Exception):
    """The run was cancelled; nothing more is read."""


class ReadingOverdue(Exception):
    """The unit's time is over; what is not read stays unread."""


@dataclass
class Entry:
    """Calls of one operation that ended alike."""

    calls: int = 0
    pages: int = 0
    resources: list[str] = field(default_factory=list)
    read_time: datetime = field(default_factory=lambda: datetime.now(UTC))
    """When the last of them ended."""


@dataclass(frozen=True)
class EntryKey:
    operation: str
    outcome: Outcome
    code: str


class Ledger:
    """The manifest of one unit: how each operation's calls ended."""

    def __init__(self) -> None:
        self.entries: dict[EntryKey, Entry] = {}
        self.listings: set[str] = set()
        self._lock = threading.Lock()

    def add(
        self,
        operation: str,
        outcome: Outcome,
        code: str = "",
        *,
        resource: str = "",
        pages: int = 0,
    ) -> None:
        """Count one call; failures keep the names of the resources they concern."""
        with self._lock:
            entry = self.entries.setdefault(EntryKey(operation, outcome, code), Entry())
            entry.calls += 1
            entry.pages += pages
            entry.read_time = datetime.now(UTC)
            named = resource and outcome not in (Outcome.READ, Outcome.ABSENT)
            if named and resource not in entry.resources and len(entry.resources) < MAX_NAMED:
                entry.resources.append(resource)

    def is_listing(self, operation: str) -> None:
        """Note that the unit's resources are known by this operation."""
        with self._lock:
            self.listings.add(operation)


class Patience:
    """When a unit stops reading: so many seconds after its first read, or when cancelled."""

    def __init__(self, seconds: float, cancelled: threading.Event) -> None:
        self._seconds = seconds
        self._cancelled = cancelled
        self._deadline: float | None = None

    def check(self) -> None:
        """Raise ReadingCancelled or ReadingOverdue if reading must end."""
        if self._cancelled.is_set():
            raise ReadingCancelled
        now = time.monotonic()
        # A unit that waits for its turn loses no time by it.
        if self._deadline is None:
            self._deadline = now + self._seconds
        if now > self._deadline:
            raise ReadingOverdue

    def pause(self, seconds: float) -> None:
        """Wait, unless cancelled first."""
        if self._cancelled.wait(seconds):
            raise ReadingCancelled


def _whole(item: Response) -> Response:
    return item


def _under(page: Response, key: str) -> Iterable[Response]:
    found: Any = page
    for part in key.split("."):
        found = found.get(part) or {}
    return found or ()


_TOKENS = ("NextToken", "nextToken", "NextMarker", "Marker")
"""Parameters that name a page, of operations whose pages botocore does not know."""
_SIZES = ("MaxResults", "maxResults", "Limit", "MaxItems")


def _by_token(
    client: Any, name: str, page_size: int | None, parameters: Mapping[str, Any]
) -> Iterator[Response]:
    """Give the pages of an operation whose answer names the next one, or its one answer."""
    model = client.meta.service_model.operation_model(name)
    given = model.input_shape.members if model.input_shape else {}
    told = model.output_shape.members if model.output_shape else {}
    token = next((each for each in _TOKENS if each in given and each in told), "")
    size = next((each for each in _SIZES if each in given), "")
    asked = dict(parameters) | ({size: page_size} if size and page_size else {})
    method = getattr(client, xform_name(name))
    while True:
        page = method(**asked)
        yield page
        following = page.get(token) if token else None
        if not following or following == asked.get(token):
            return
        asked[token] = following


class Reader:
    """Makes the calls of one unit and enters each in its ledger; threads may share it."""

    def __init__(
        self,
        account: Account,
        region: str,
        *,
        patience: Patience,
        pool: Executor,
        listener: Callable[[Outcome], None],
        operations: Container[str],
        regions: tuple[str, ...] = (),
        fingerprint: Callable[[str], str] = lambda _value: "",
    ) -> None:
        """Only declared operations can be called, so that what is declared can be relied on."""
        self.account = account
        self.region = region
        """Where calls go that name no other region."""
        self.regions = regions
        """All regions of the run: some listings show things that live elsewhere."""
        self.fingerprint = fingerprint
        """What may be kept of a secret value that was read, to compare it with others."""
        self.ledger = Ledger()
        self._patience = patience
        self._pool = pool
        self._listener = listener
        self._operations = operations
        self._throttle = ""
        """Code of the last throttle that the unit met."""

    def call(
        self, operation: str, *, resource: str = "", region: str = "", **parameters: Any
    ) -> Answer:
        """Make one call."""
        service, name = split(operation)

        def make() -> Response:
            client: Any = self._client(service, region)
            response: Response = getattr(client, xform_name(name))(**parameters)
            return response

        made = self._made(operation, resource, make)
        if not isinstance(made, (Absent, Unread)):
            self.ledger.add(operation, Outcome.READ, pages=1)
        return made

    def items(
        self,
        operation: str,
        key: str,
        *,
        page_size: int | None = None,
        listing: bool = False,
        region: str = "",
        **parameters: Any,
    ) -> list[Response] | Unread:
        """Read all pages and give the items under a key, such as ``DistributionList.Items``.

        Absence gives no items. If any page is unread, so is the whole. ``listing``
        says that the unit knows its resources by this read.
        """
        if listing:
            self.ledger.is_listing(operation)
        return self.picked(operation, key, _whole, page_size=page_size, region=region, **parameters)

    def picked(
        self,
        operation: str,
        key: str,
        pick: Callable[[Response], T],
        *,
        page_size: int | None = None,
        resource: str = "",
        region: str = "",
        **parameters: Any,
    ) -> list[T] | Unread:
        """Read all pages as ``items`` does, and keep of each item what ``pick`` takes."""
        pages = self._made(
            operation, resource, lambda: self._pages(operation, region, page_size, parameters)
        )
        found: list[T] = []
        while True:
            if isinstance(pages, Unread):
                return pages
            if isinstance(pages, Absent):
                return []
            page = self._made(operation, resource, partial(next, pages, None))
            if page is None:
                return found
            if isinstance(page, (Absent, Unread)):
                pages = page
                continue
            self.ledger.add(operation, Outcome.READ, pages=1)
            found.extend(map(pick, _under(page, key)))

    def _pages(
        self, operation: str, region: str, page_size: int | None, parameters: Mapping[str, Any]
    ) -> Iterator[Response]:
        service, name = split(operation)
        client = self._client(service, region)
        method = xform_name(name)
        if not client.can_paginate(method):
            return _by_token(client, name, page_size, parameters)
        config = {"PageSize": page_size} if page_size else {}
        return iter(client.get_paginator(method).paginate(PaginationConfig=config, **parameters))

    def fan_out(self, function: Callable[[T], R], over: Iterable[T]) -> list[R]:
        """Apply a function that reads to each item, several at a time; order is kept."""
        context = copy_context()
        # Threads enter a context one at a time, so each call has its copy.
        return list(self._pool.map(lambda each: context.copy().run(function, each), over))

    def pause(self, seconds: float) -> None:
        """Wait, unless the run is cancelled first."""
        self._patience.pause(seconds)

    def before(self) -> None:
        """See each attempt before it is made or waits (``sending.Observer``)."""
        self._patience.check()

    def answered(self, outcome: Outcome, code: str) -> None:
        """See what each attempt was answered (``sending.Observer``)."""
        if outcome is Outcome.THROTTLED:
            self._throttle = code
        self._listener(outcome)

    def _client(self, service: str, region: str) -> Any:
        return self.account.client(service, region or self.region)

    def _made(self, operation: str, resource: str, make: Callable[[], T]) -> T | Absent | Unread:
        if operation not in self._operations:
            raise ValueError(f"{operation} is not declared")
        token = observer.set(self)
        try:
            self._patience.check()
            if barred := self.account.barred(split(operation)[0]):
                return self._gap(operation, resource, Outcome.UNSUPPORTED, barred)
            return make()
        except ReadingOverdue:
            # What slowed the unit down is why its time was not enough.
            if self._throttle:
                return self._gap(operation, resource, Outcome.THROTTLED, self._throttle)
            return self._gap(operation, resource, Outcome.FAILED, DEADLINE)
        except (ClientError, BotoCoreError) as error:
            outcome, code = classify(error)
            message = error_message(error.response) if isinstance(error, ClientError) else ""
        finally:
            observer.reset(token)
        if is_absence(operation, code, message):
            self.ledger.add(operation, Outcome.ABSENT, code)
            return Absent(code)
        return self._gap(operation, resource, outcome, code)

    def _gap(self, operation: str, resource: str, outcome: Outcome, code: str) -> Unread:
        self.ledger.add(operation, outcome, code, resource=resource)
        return Unread.of(operation, outcome, code)
