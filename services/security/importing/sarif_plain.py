"""Results of SARIF as almost all are: by the id of a rule, in files, without flows or suppressions.

They are read into objects whose types say what a plain result has. Of any other nothing is made,
and ``sarif`` decides; a test holds both ways of reading a result against each other.
"""

from dataclasses import dataclass, field
from typing import Annotated, TypeAlias

import msgspec

from services.security.importing import words
from services.security.importing.model import Finding, Location, Subject
from services.security.importing.node import MOST
from services.security.importing.sarif_run import DEFAULT_LEVEL, LEVELS, Descriptor, Run

_Whole = Annotated[int, msgspec.Meta(ge=-MOST, le=MOST)]
# A result with anything else than null in a field of this type is no plain one.
_Otherwise: TypeAlias = None
_FAILING = frozenset({None, "", "fail"})


class _Text(msgspec.Struct, gc=False):
    text: str | None = None


class _Message(msgspec.Struct, gc=False):
    text: str
    arguments: _Otherwise = None


class _Region(msgspec.Struct, gc=False, rename="camel"):
    start_line: _Whole | None = None
    end_line: _Whole | None = None
    start_column: _Whole | None = None
    end_column: _Whole | None = None
    snippet: _Text | None = None


class _Context(msgspec.Struct, gc=False):
    snippet: _Text | None = None


class _Artifact(msgspec.Struct, gc=False):
    uri: str
    index: _Whole | None = None


class _Physical(msgspec.Struct, gc=False, rename="camel"):
    artifact_location: _Artifact
    region: _Region | None = None
    context_region: _Context | None = None


class _Logical(msgspec.Struct, gc=False, rename="camel"):
    fully_qualified_name: str | None = None
    name: str | None = None


class _Place(msgspec.Struct, gc=False, rename="camel"):
    physical_location: _Physical
    logical_locations: list[_Logical] | None = None
    logical_location: _Otherwise = None


class _Properties(msgspec.Struct, gc=False, rename="kebab"):
    security_severity: _Otherwise = None
    tags: _Otherwise = None


class _Result(msgspec.Struct, gc=False, rename="camel"):
    rule_id: str
    message: _Message
    rule_index: _Whole | None = None
    rule: _Otherwise = None
    kind: str | None = None
    level: str | None = None
    locations: list[_Place] | None = None
    fingerprints: dict[str, str] | None = None
    partial_fingerprints: dict[str, str] | None = None
    properties: _Properties | None = None
    suppressions: _Otherwise = None
    baseline_state: _Otherwise = None
    taxa: _Otherwise = None
    code_flows: _Otherwise = None


_NOWHERE = _Region()
_RESULT = msgspec.json.Decoder(_Result)
_REMEMBERED = 4096
"""Names of rules, of which it is remembered what they say."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """What the results of one rule have in common."""

    described: Descriptor
    cve_id: str
    references: tuple[str, ...]


@dataclass(slots=True)
class PlainResults:
    """Reads the plain results of one run."""

    run: Run
    _rules: dict[tuple[str, int | None], _Rule] = field(default_factory=dict)

    def finding(self, text: bytes, digest: bytes, index: int, pointer: str) -> Finding | None:
        """Read a result; None if it is no plain one, or wrong."""
        try:
            # Of texts that are not looked at, nobody else asks whether they are UTF-8.
            result = _RESULT.decode(text if text.isascii() else text.decode())
        except (ValueError, RecursionError):
            return None
        rule = self._rule(result)
        if rule is None or not result.message.text or result.kind not in _FAILING:
            return None
        described = rule.described
        level = result.level or described.level or DEFAULT_LEVEL
        severity = described.security or LEVELS.get(level)
        places = result.locations or ()
        if severity is None or not all(map(_has_file, places)):
            return None
        message = result.message.text
        return Finding(
            index=index,
            pointer=pointer,
            subject=Subject.CODE,
            rule_key=result.rule_id,
            title=described.rule.name,
            severity=severity,
            severity_said=level,
            message=message,
            message_template=message,
            confidence=described.rule.precision,
            score=described.rule.score,
            cve_id=rule.cve_id,
            cwe_ids=described.rule.cwe_ids,
            references=rule.references,
            locations=tuple([self._location(each) for each in places]),
            fingerprints=_fingerprints(result),
            run=self.run.number,
            digest=digest,
        )

    def _rule(self, result: _Result) -> _Rule | None:
        key = result.rule_id, result.rule_index
        known = self._rules.get(key)
        if known is None:
            described = self.run.described(*key)
            if described is None or not result.rule_id:
                return None
            if len(self._rules) >= _REMEMBERED:
                self._rules.clear()
            help_uri = described.rule.help_uri
            known = _Rule(described, words.cve_id((key[0],)), (help_uri,) if help_uri else ())
            self._rules[key] = known
        return known

    def _location(self, place: _Place) -> Location:
        physical = place.physical_location
        region, logical = physical.region or _NOWHERE, place.logical_locations
        snippet = region.snippet.text if region.snippet else None
        if not snippet and physical.context_region and physical.context_region.snippet:
            snippet = physical.context_region.snippet.text
        return Location(
            self.run.relative(physical.artifact_location.uri),
            region.start_line,
            region.end_line,
            region.start_column,
            region.end_column,
            snippet or "",
            (logical[0].fully_qualified_name or logical[0].name or "") if logical else "",
        )


def _has_file(place: _Place) -> bool:
    return bool(place.physical_location.artifact_location.uri)


def _fingerprints(result: _Result) -> tuple[tuple[str, str], ...]:
    whole, partial = result.fingerprints or {}, result.partial_fingerprints or {}
    found = [(f"fingerprints/{name}", whole[name]) for name in sorted(whole) if whole[name]]
    found += [
        (f"partialFingerprints/{name}", partial[name]) for name in sorted(partial) if partial[name]
    ]
    return tuple(found)
