"""A first reading of a report: what must be known before any of its results is stored."""

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from secmesh.security.v1.vocabulary_pb2 import ImportFormat
from services.security.errors import ReportFormatUnknown, ReportFormatUnsupported
from services.security.import_known import Known
from services.security.importing import formats
from services.security.importing.fingerprint import Fingerprint, Fingerprints, short
from services.security.importing.limits import Limits
from services.security.importing.mapping_threat import TYPES, Graph
from services.security.importing.model import (
    Finding,
    Item,
    Problem,
    Rejected,
    Rule,
    Same,
    Subject,
    ThreatObject,
    Tool,
)
from services.security.importing.spool import Spool

_PREFIX = "IMPORT_FORMAT_"
UNREADABLE = frozenset(
    name.removeprefix(_PREFIX) for name, number in ImportFormat.items() if number
) - set(formats.BY_NAME)
"""Formats that the contract names, and that nothing here reads."""
_NO_TARGET = "unknown"
Seen = tuple[Item, tuple[Fingerprint, ...]]
"""An item, and what it is known by; nothing if that was not asked yet, or it is no finding."""


@dataclass(slots=True)
class Survey:
    """The format of a report, its tools by run, where it was pointed, and whether it is whole."""

    format_name: str
    tools: dict[int, Tool] = field(default_factory=dict)
    target: str = _NO_TARGET
    graph: Graph = field(default_factory=Graph)
    problem: str = ""
    rejected: int = 0
    knows_tools: bool = False
    """Whether all tools are known before the results are read."""
    most_findings: int = Limits().findings
    most_kept: int = Limits().kept_items
    shown: set[int] = field(default_factory=set)
    """What the findings are known by, if their tool gives fingerprints; see `moves`."""
    known: dict[int, Known] = field(default_factory=dict)
    """What is known of the results of a run, so that they need not be read."""
    _fingerprinted: bool = False
    _fingerprints: Fingerprints = field(default_factory=Fingerprints)
    _kept: deque[Seen] = field(default_factory=deque)

    @property
    def moves(self) -> bool:
        """Whether it can be told what the report does not show, and what of that moved."""
        return (
            self._fingerprinted
            and not (self.problem or self.rejected)
            and len(self.shown) <= self.most_findings
        )

    def see(self, item: Item) -> None:
        """Remember what an item tells of the report."""
        known: tuple[Fingerprint, ...] = ()
        if isinstance(item, Tool):
            # The last one of a run knows the most.
            self.tools[item.run] = item
        elif isinstance(item, Finding):
            if item.web is not None and self.target == _NO_TARGET:
                self.target = _origin(item.web.url)
            known = self._fingerprints.of(item)
            self._see_fingerprint(item, known[0])
        elif isinstance(item, Same):
            self._fingerprinted |= item.printed
            self._show(item.short)
        elif isinstance(item, Rejected):
            self.rejected += 1
        elif isinstance(item, Problem):
            place = f" at {item.pointer}" if item.pointer else ""
            self.problem = f"{item.reason}{place}, byte {item.offset}"
        self._keep(item, known)

    def _see_fingerprint(self, finding: Finding, ours: Fingerprint) -> None:
        self._fingerprinted |= bool(finding.fingerprints)
        if finding.subject is Subject.CODE:
            self._show(short(ours.value))

    def _show(self, fingerprint: int) -> None:
        if len(self.shown) <= self.most_findings:
            self.shown.add(fingerprint)

    def recall(self, run: int, digest: bytes) -> Same | None:
        """Give what is known of a result by its digest; None if it must be read."""
        known = self.known.get(run)
        return None if known is None else known.recall(run, digest, self._fingerprints)

    def _keep(self, item: Item, known: tuple[Fingerprint, ...]) -> None:
        """Keep the items of a report of few, so that it need not be read again."""
        if len(self._kept) < self.most_kept:
            self._kept.append((item, known))
        else:
            self.most_kept = 0
            self._kept.clear()

    def items(self, spool: Spool) -> Iterator[Seen]:
        """Give the items of the report once more, and let go of them."""
        if not self.most_kept:
            self._fingerprints = Fingerprints()
            for item in formats.items(spool, self.format_name, self.recall):
                told = self._fingerprints.of(item) if isinstance(item, Finding) else ()
                yield item, told
        while self._kept:
            yield self._kept.popleft()

    def threat(self, item: Item) -> bool:
        """Whether an item belongs into the graph of a bundle."""
        return isinstance(item, ThreatObject) and (
            item.type in TYPES or item.type in ("relationship", "sighting")
        )


def survey(spool: Spool, wanted: str = "") -> Survey:
    """Read a report once. Raises ReportFormatUnknown and ReportFormatUnsupported."""
    seen, items = begin(spool, wanted)
    finish(seen, items)
    return seen


def begin(spool: Spool, wanted: str = "") -> tuple[Survey, Iterator[Item]]:
    """Read of a report what stands before its results; the rest is for ``finish``.

    Raises ReportFormatUnknown and ReportFormatUnsupported.
    """
    if wanted in UNREADABLE:
        raise ReportFormatUnsupported(wanted)
    try:
        name = wanted or formats.detect(spool).name
        seen = Survey(name)
        items = formats.items(spool, name, seen.recall)
    except formats.FormatUnknown as error:
        raise ReportFormatUnknown(str(error)) from error
    if spool.size > spool.limits.kept_bytes:
        seen.most_kept = 0
    seen.knows_tools = formats.BY_NAME[name].tools_first
    while seen.knows_tools and (item := next(items, None)) is not None:
        seen.see(item)
        if not isinstance(item, Tool | Rule):
            break
    return seen, items


def finish(seen: Survey, items: Iterator[Item]) -> None:
    """Read the rest of a report."""
    if seen.format_name == "STIX_JSON":
        gathered = []
        for item in items:
            seen.see(item)
            if seen.threat(item):
                gathered.append(item)
        seen.graph = Graph.of(gathered)
        return
    for item in items:
        seen.see(item)


def _origin(url: str) -> str:
    """The scheme and host of a URL, the URL itself if it has none."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return url or _NO_TARGET
    return f"{parts.scheme}://{parts.netloc}" if parts.netloc else url or _NO_TARGET
