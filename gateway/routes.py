"""Which method a verb and a path lead to, by the rule Envoy's transcoder follows."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from mesh.contract.catalogue import HttpRoute, Method

_PIECE = re.compile(r"\{(?P<path>[a-z_][a-z0-9_.]*)(?:=(?P<inner>[^{}]+))?\}|(?P<plain>[^{}/]+)")
_LITERAL = re.compile(r"^[A-Za-z0-9._~-]+$")
_ESCAPE_BROKEN = re.compile(r"%(?![0-9A-Fa-f]{2})")
ANY_SEGMENT = "*"
ANY_REST = "**"


class TemplateInvalid(ValueError):
    """A path template breaks the grammar of google.api.http."""


class EscapeInvalid(ValueError):
    """A part of a URL is not percent-encoded UTF-8 (RFC 3986)."""


def unescape(text: str, *, plus_is_space: bool = False) -> str:
    """Decode percent-encoded UTF-8.

    Raises EscapeInvalid for a broken escape or bytes that are not UTF-8.
    """
    if _ESCAPE_BROKEN.search(text):
        raise EscapeInvalid("a percent sign is not followed by two hexadecimal digits")
    if plus_is_space:
        text = text.replace("+", " ")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise EscapeInvalid("the percent-encoded bytes are not UTF-8") from None


@dataclass(frozen=True)
class Variable:
    """A field of the request that takes part of the path."""

    path: str
    """Dotted path of the field."""
    first: int
    """Index of its first segment."""
    segments: tuple[str, ...]

    def value(self, parts: list[str]) -> str:
        last = self.first + len(self.segments)
        chosen = parts[self.first :] if ANY_REST in self.segments else parts[self.first : last]
        return "/".join(unescape(part) for part in chosen)


@dataclass(frozen=True)
class PathTemplate:
    """A parsed template such as ``/inventory/v1/{name=tenants/*/syncs/*}:watch``."""

    segments: tuple[str, ...]
    verb: str
    """Custom verb after the colon, or empty."""
    variables: tuple[Variable, ...]

    @classmethod
    def parse(cls, template: str) -> "PathTemplate":
        """Read a template. Raises TemplateInvalid."""
        if not template.startswith("/"):
            raise TemplateInvalid(f"{template!r} does not begin with /")
        path, _, verb = template[1:].partition(":")
        segments: list[str] = []
        variables: list[Variable] = []
        place = 0
        while place < len(path):
            match = _PIECE.match(path, place)
            if match is None:
                raise TemplateInvalid(f"{template!r} is broken at character {place + 2}")
            inner = match["plain"] or match["inner"] or ANY_SEGMENT
            pieces = tuple(inner.split("/"))
            if match["path"]:
                variables.append(Variable(match["path"], len(segments), pieces))
            segments.extend(pieces)
            place = match.end() + 1
            if match.end() < len(path) and path[match.end()] != "/":
                raise TemplateInvalid(f"{template!r} is broken at character {match.end() + 2}")
        _check_segments(template, segments)
        return cls(tuple(segments), verb, tuple(variables))

    def regex(self) -> str:
        """Give an RE2 expression for the paths that fit, without query."""
        kinds = {ANY_SEGMENT: "[^/]+", ANY_REST: ".*"}
        path = "/".join(kinds.get(segment) or re.escape(segment) for segment in self.segments)
        return f"/{path}" + (f":{re.escape(self.verb)}" if self.verb else "")


def _check_segments(template: str, segments: list[str]) -> None:
    if not segments:
        raise TemplateInvalid(f"{template!r} has no segments")
    for segment in segments:
        if segment not in (ANY_SEGMENT, ANY_REST) and not _LITERAL.match(segment):
            raise TemplateInvalid(f"{template!r} has the segment {segment!r}")
    if ANY_REST in segments[:-1]:
        raise TemplateInvalid(f"{template!r} goes on after **")


@dataclass(frozen=True)
class Match:
    """The method that a request leads to, with the fields its path fills."""

    method: Method
    route: HttpRoute
    variables: dict[str, str]
    """Decoded text by dotted field path."""


@dataclass
class _Node:
    literals: dict[str, "_Node"] = field(default_factory=dict)
    single: "_Node | None" = None
    rest: "_Node | None" = None
    targets: dict[tuple[str, str], tuple[Method, HttpRoute, PathTemplate]] = field(
        default_factory=dict
    )

    def child(self, segment: str) -> "_Node":
        if segment == ANY_SEGMENT:
            self.single = self.single or _Node()
            return self.single
        if segment == ANY_REST:
            self.rest = self.rest or _Node()
            return self.rest
        return self.literals.setdefault(segment, _Node())


class RouteTable:
    """All REST routes of some methods.

    A literal segment wins over ``*``, and ``*`` over ``**``; where the more exact
    branch ends without a method for the verb, the next one is tried.
    """

    def __init__(self, methods: Iterable[Method]) -> None:
        self._root = _Node()
        self._verbs: set[str] = set()
        for method in methods:
            for route in method.routes:
                self._add(method, route)

    def _add(self, method: Method, route: HttpRoute) -> None:
        template = PathTemplate.parse(route.template)
        node = self._root
        for segment in template.segments:
            node = node.child(segment)
        if template.verb:
            self._verbs.add(template.verb)
        node.targets[route.verb, template.verb] = (method, route, template)

    def match(self, verb: str, path: str) -> Match | None:
        """Find the method of an HTTP verb and a path, still percent-encoded, without query.

        Raises EscapeInvalid if a field's part of the path cannot be decoded.
        """
        parts, custom = self._split(path)
        if not parts or not all(parts):
            return None
        target = _find(self._root, parts, 0, (verb, custom))
        if target is None:
            return None
        method, route, template = target
        values = {variable.path: variable.value(parts) for variable in template.variables}
        return Match(method, route, values)

    def _split(self, path: str) -> tuple[list[str], str]:
        path, custom = path.rstrip("/"), ""
        head, colon, tail = path.rpartition(":")
        if colon and tail in self._verbs:  # a verb no template knows is part of the id
            path, custom = head, tail
        return path.removeprefix("/").split("/"), custom


def _find(
    node: _Node, parts: list[str], place: int, key: tuple[str, str]
) -> tuple[Method, HttpRoute, PathTemplate] | None:
    if place == len(parts):
        return node.targets.get(key)
    for child in (node.literals.get(parts[place]), node.single):
        if child is not None and (found := _find(child, parts, place + 1, key)):
            return found
    return node.rest.targets.get(key) if node.rest is not None else None
