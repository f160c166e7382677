"""The formats that can be imported, each by one declaration, and how a report shows which it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from services.security.importing import (
    asff,
    bandit,
    cyclonedx,
    cyclonedx_xml,
    gitlab,
    npm_audit,
    nuclei,
    ocsf,
    openvas,
    oscal,
    sarif,
    semgrep,
    stix,
    trivy,
    zap,
)
from services.security.importing.json_cursor import BadElement, JsonCursor, Unreadable
from services.security.importing.model import Item, Recall
from services.security.importing.reading import whole
from services.security.importing.spool import Spool
from services.security.importing.xml_elements import root_name


@dataclass(slots=True)
class Outline:
    """What is seen of a report from its start: the root, and its members as far as they were read.

    `root` is `object`, `array` or, for XML, the root element's name. The members of an array are
    those of its first element. Values are kept if they are scalars; otherwise `[` or `{`.
    """

    root: str
    members: dict[str, object] = field(default_factory=dict)
    complete: bool = False

    def has(self, *keys: str) -> bool:
        return all(key in self.members for key in keys)


@dataclass(frozen=True, slots=True)
class Format:
    """`name` is a value of ImportFormat. `detect` sees more of the outline each time. With
    `tools_first`, all that is said of tools comes before anything else but rules. `recalling` reads
    a report too, but for the results that are recalled."""

    name: str
    detect: Callable[[Outline], bool]
    read: Callable[[Spool], Iterator[Item]]
    tools_first: bool = False
    recalling: Callable[[Spool, Recall], Iterator[Item]] | None = None


def _object(*keys: str) -> Callable[[Outline], bool]:
    return lambda outline: outline.root == "object" and outline.has(*keys)


def _records(*keys: str) -> Callable[[Outline], bool]:
    """An array of objects, or the first of several objects in a row."""
    return lambda outline: outline.root in ("object", "array") and outline.has(*keys)


def _root(*names: str) -> Callable[[Outline], bool]:
    return lambda outline: outline.root in names


def _is_sarif(outline: Outline) -> bool:
    schema = outline.members.get("$schema")
    return outline.root == "object" and (
        (isinstance(schema, str) and "sarif" in schema.lower())
        or outline.members.get("runs") == "["
    )


def _is_trivy(outline: Outline) -> bool:
    return outline.root == "object" and (
        outline.has("SchemaVersion", "ArtifactName")
        or outline.has("ClusterName")
        or outline.has("ArtifactName", "Results")
    )


def _is_npm(outline: Outline) -> bool:
    return outline.root == "object" and (
        outline.has("auditReportVersion")
        or (outline.members.get("advisories") == "{" and outline.complete)
    )


def _is_semgrep(outline: Outline) -> bool:
    return _object("results", "errors")(outline) and (
        outline.complete and not outline.has("metrics") and not outline.has("generated_at")
    )


def _is_gitlab(outline: Outline) -> bool:
    return (
        outline.root == "object"
        and outline.complete
        and outline.members.get("vulnerabilities") == "["
        and outline.has("version")
        and not outline.has("bomFormat")
    )


def _is_nuclei(outline: Outline) -> bool:
    return outline.root in ("object", "array") and (
        outline.has("template-id", "info") or outline.has("templateID", "info")
    )


# The more particular before the more general: the first that recognises the outline has it.
FORMATS = (
    Format("CYCLONEDX_XML", _root("bom"), cyclonedx_xml.read),
    Format("ZAP_XML", _root("OWASPZAPReport"), zap.read_xml),
    Format("OPENVAS_XML", _root("report", "get_reports_response"), openvas.read),
    Format("CYCLONEDX_JSON", _object("bomFormat"), cyclonedx.read),
    Format("SARIF", _is_sarif, sarif.read, tools_first=True, recalling=sarif.read),
    Format("ZAP_JSON", _object("@version", "site"), zap.read_json),
    Format("TRIVY_JSON", _is_trivy, trivy.read),
    Format("OSCAL_JSON", _object("assessment-results"), oscal.read),
    Format(
        "STIX_JSON",
        lambda outline: outline.root == "object" and outline.members.get("type") == "bundle",
        stix.read,
    ),
    Format("BANDIT_JSON", _object("generated_at", "metrics", "results"), bandit.read),
    Format("NPM_AUDIT_JSON", _is_npm, npm_audit.read),
    Format("NUCLEI_JSON", _is_nuclei, nuclei.read),
    Format("OCSF_JSON", _records("finding_info", "metadata"), ocsf.read),
    Format("ASFF_JSON", _records("ProductArn", "AwsAccountId"), asff.read),
    Format("ASFF_JSON", _object("Findings"), asff.read),
    Format("SEMGREP_JSON", _is_semgrep, semgrep.read),
    Format("GITLAB_JSON", _is_gitlab, gitlab.read),
)
BY_NAME = {each.name: each for each in FORMATS}


class FormatUnknown(Exception):
    """No format recognises the report, or there is none of the asked name."""


def items(spool: Spool, name: str = "", recall: Recall | None = None) -> Iterator[Item]:
    """Everything that a report says. Raises FormatUnknown; what else is wrong comes as an item.

    Results that are recalled are not read, in formats whose results can be told before.
    """
    if name and name not in BY_NAME:
        raise FormatUnknown(f"no format is called {name}; there are {', '.join(BY_NAME)}")
    chosen = BY_NAME[name] if name else detect(spool)
    if chosen.recalling is not None and recall is not None:
        recalling = chosen.recalling
        return whole(lambda: recalling(spool, recall))
    return whole(lambda: chosen.read(spool))


def detect(spool: Spool) -> Format:
    """The format of a report by its first bytes and keys; raises FormatUnknown."""
    for outline in _outlines(spool):
        for each in FORMATS:
            if each.detect(outline):
                return each
    raise FormatUnknown("the report is of no format that can be imported; name its format")


def _outlines(spool: Spool) -> Iterator[Outline]:
    reading = JsonCursor(spool.reader(), spool.limits)
    first = reading.peek()
    if first == "<":
        yield from _xml_outline(spool)
    elif first == "{":
        yield from _members(reading, Outline("object"))
    elif first == "[":
        try:
            for index in reading.elements():
                if index == 0 and reading.peek() == "{":
                    yield from _members(reading, Outline("array"))
                return
        except Unreadable:
            return


def _members(cursor: JsonCursor, outline: Outline) -> Iterator[Outline]:
    try:
        for key in cursor.members():
            start = cursor.peek()
            try:
                outline.members[key[:100]] = start if start in ("[", "{") else cursor.value()
            except BadElement:
                outline.members[key[:100]] = None
            yield outline
    except Unreadable:
        # A cut report is of the format that its beginning shows.
        pass
    outline.complete = True
    yield outline


def _xml_outline(spool: Spool) -> Iterator[Outline]:
    if name := root_name(spool.raw()):
        yield Outline(name)
