"""Which collections and resources the events of AWS tell of, read from ``events.yaml``."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache, cached_property
from importlib import resources
from typing import Any

import yaml

from mesh.aws.operations import action
from services.inventory.collect.collector import Collector
from services.inventory.collect.focus import ARN, Focus, Narrowing
from services.inventory.collect.registry import REGISTRY

MAX_KEY = 2048
"""Characters of the longest key; an ARN has no more."""
_FILE = "events.yaml"
_DOMAIN = ".amazonaws.com"


@dataclass(frozen=True)
class KeyPlace:
    """Where the detail of an event names a resource."""

    path: tuple[str, ...]
    pattern: re.Pattern[str] | None

    @classmethod
    def parse(cls, text: str) -> "KeyPlace":
        """Read ``a.b[].c~pattern``."""
        path, tilde, pattern = text.partition("~")
        return cls(tuple(path.split(".")), re.compile(pattern) if tilde else None)

    def keys(self, detail: Any) -> Iterator[str]:
        """Give the keys that stand there; what is no text is none."""
        for found in _under(detail, self.path):
            if not isinstance(found, str) or not 0 < len(found) <= MAX_KEY:
                continue
            if self.pattern is None:
                yield found
            elif match := self.pattern.search(found):
                yield match[1]


def _under(value: Any, path: tuple[str, ...]) -> Iterator[Any]:
    if not path:
        yield value
        return
    if not isinstance(value, Mapping):
        return
    name = path[0].removesuffix("[]")
    found = value.get(name)
    if name == path[0]:
        yield from _under(found, path[1:])
    elif isinstance(found, list):
        for each in found:
            yield from _under(each, path[1:])


@dataclass(frozen=True)
class CallPattern:
    """Calls of one service that change resources of a collection."""

    source: str
    names: tuple[str, ...]
    keys: tuple[KeyPlace, ...]

    def matches(self, source: str, name: str) -> bool:
        """Tell whether a call is one of them."""
        return source == self.source and any(fnmatchcase(name, each) for each in self.names)


@dataclass(frozen=True)
class Told:
    """What an event tells of in one collection; all of it without keys."""

    collection: str
    keys: frozenset[str]


@dataclass(frozen=True)
class EventMap:
    """The resources that events tell of."""

    calls: Mapping[str, tuple[CallPattern, ...]]
    focuses: Mapping[str, Focus]
    services: Mapping[str, str]
    collectors: Mapping[str, Collector]

    def told(self, source: str, name: str, detail: Mapping[str, Any]) -> list[Told]:
        """Give what a call changed; a call that is not known may have changed all its service has.

        Args:
            source: As CloudTrail writes it, such as ``s3.amazonaws.com``.
        """
        service = source.removesuffix(_DOMAIN)
        found = [
            Told(collection, frozenset(self._keys(pattern, detail)))
            for collection, patterns in self.calls.items()
            for pattern in patterns
            if pattern.matches(service, name)
        ]
        if found:
            return found
        prefix = self.services.get(service, service)
        return [Told(each, frozenset()) for each in self._of_service.get(prefix, ())]

    @staticmethod
    def _keys(pattern: CallPattern, detail: Mapping[str, Any]) -> set[str]:
        for place in pattern.keys:
            if keys := {*place.keys(detail)}:
                return keys
        return set()

    def focus(self, collection: str, keys: Iterable[str]) -> Focus:
        """Give what is read where these resources are looked at."""
        form = self.focuses[collection]
        return Focus(frozenset(keys), form.field, form.narrowing)

    @cached_property
    def _of_service(self) -> dict[str, list[str]]:
        """Collections by the one prefix of the IAM actions that read them."""
        found: dict[str, list[str]] = {}
        for collection, collector in self.collectors.items():
            reads = collector.listings or tuple(collector.operations)
            prefixes = {action(each).partition(":")[0] for each in reads}
            if len(prefixes) == 1:
                found.setdefault(prefixes.pop(), []).append(collection)
        return found


@cache
def event_map() -> EventMap:
    """Read the map that comes with the service. Raises ValueError for what fits no collector."""
    text = (resources.files(__package__) / _FILE).read_text(encoding="utf-8")
    read: Any = yaml.load(text, yaml.CSafeLoader)
    calls: dict[str, tuple[CallPattern, ...]] = {}
    focuses: dict[str, Focus] = {}
    for collection, entry in read["collections"].items():
        if collection not in REGISTRY.collectors:
            raise ValueError(f"{_FILE}: {collection} has no collector")
        calls[collection] = tuple(_pattern(each) for each in entry["calls"])
        focus = _focus(entry)
        _check(collection, focus, calls[collection])
        if focus is not None:
            focuses[collection] = focus
    return EventMap(calls, focuses, read["services"], REGISTRY.collectors)


def _pattern(entry: Mapping[str, Any]) -> CallPattern:
    places = tuple(map(KeyPlace.parse, entry.get("keys", ())))
    return CallPattern(entry["source"], tuple(entry["names"]), places)


def _focus(entry: Mapping[str, Any]) -> Focus | None:
    if "field" not in entry:
        return None
    narrowing = Narrowing(**entry["narrowing"]) if "narrowing" in entry else None
    return Focus(field=entry["field"], narrowing=narrowing)


def _check(collection: str, focus: Focus | None, calls: Iterable[CallPattern]) -> None:
    collector = REGISTRY.collectors[collection]
    if focus is None:
        if any(each.keys for each in calls):
            raise ValueError(f"{_FILE}: {collection} has keys and no field")
        return
    if focus.field != ARN and focus.field not in collector.fields:
        raise ValueError(f"{_FILE}: {collection} has no field {focus.field!r}")
    if focus.narrowing and focus.narrowing.operation not in collector.listings:
        raise ValueError(f"{_FILE}: {focus.narrowing.operation} does not list {collection}")
