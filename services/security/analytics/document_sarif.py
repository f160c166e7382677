"""Documents as SARIF 2.1.0 (OASIS): each row of a list is a result.

A column tells its part of a result by its name; what has no part there is a property.
"""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from mesh.errors import FieldInvalid
from services.security.analytics.documents import Report, Table, period_of, text_of

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"
_MESSAGES = ("message", "title", "description", "name")
_RULES = ("rule_key", "rule_id", "check_id", "cve_id")
_PATHS = ("file_path", "path", "url")
_REGION: Mapping[str, str] = {
    "start_line": "startLine",
    "end_line": "endLine",
    "start_column": "startColumn",
    "end_column": "endColumn",
}
_SEVERITY, _FINGERPRINT = "severity", "fingerprint"
_LEVELS: Mapping[str, str] = {
    "BLOCKER": "error",
    "CRITICAL": "error",
    "HIGH": "error",
    "MAJOR": "warning",
    "MEDIUM": "warning",
    "MINOR": "note",
    "LOW": "note",
    "INFO": "note",
}


def sarif_document(report: Report) -> bytes:
    """Write a run for each table; FieldInvalid for one whose rows say nothing."""
    runs = [_run(report, table) for table in report.tables]
    whole = {"$schema": _SCHEMA, "version": "2.1.0", "runs": runs}
    return orjson.dumps(whole, option=orjson.OPT_INDENT_2) + b"\n"


def _run(report: Report, table: Table) -> Mapping[str, Any]:
    message = _first(_MESSAGES, table.columns)
    if message is None:
        problem = f"must have one of {', '.join(_MESSAGES)}: a result of SARIF has a message"
        raise FieldInvalid.of("query.columns", problem, "REQUIRED")
    rule = _first(_RULES, table.columns)
    results = [
        _result(dict(zip(table.columns, row, strict=True)), message, rule, table.collection)
        for row in table.rows
    ]
    ids = sorted({each["ruleId"] for each in results})
    return {
        "tool": {"driver": {"name": "secmesh", "rules": [{"id": each} for each in ids]}},
        "properties": {"report": report.title, "table": table.title, **period_of(report)},
        "results": results,
    }


def _result(
    row: dict[str, Any], message: str, rule: str | None, collection: str
) -> Mapping[str, Any]:
    told = row.pop(message)
    named = row.pop(rule) if rule is not None else None
    result: dict[str, Any] = {
        # A row of no rule is told by the sort of its record.
        "ruleId": text_of(named) or collection or "report",
        "message": {"text": text_of(told) or "(no text)"},
    }
    if (word := row.pop(_SEVERITY, None)) is not None:
        result["level"] = _LEVELS.get(str(word).rpartition("_")[2], "none")
        row[_SEVERITY] = word
    if fingerprint := row.pop(_FINGERPRINT, None):
        result["fingerprints"] = {"secmesh/v1": text_of(fingerprint)}
    if location := _location(row):
        result["locations"] = [{"physicalLocation": location}]
    if properties := {name: value for name, value in row.items() if value is not None}:
        result["properties"] = properties
    return result


def _location(row: dict[str, Any]) -> Mapping[str, Any]:
    """Take what tells the place out of a row; empty if nothing does."""
    name = next((each for each in _PATHS if row.get(each)), None)
    if name is None:
        return {}
    location: dict[str, Any] = {"artifactLocation": {"uri": _uri(text_of(row.pop(name)))}}
    region = {}
    for column, part in _REGION.items():
        if isinstance(row.get(column), int) and row[column] > 0:
            region[part] = row.pop(column)
    # Other parts count from the line.
    if "startLine" in region:
        location["region"] = region
    return location


def _uri(path: str) -> str:
    """Write a path as a reference to a URI (RFC 3986)."""
    return quote(path.replace("\\", "/"), safe="/:?#[]@!$&'()*+,;=%~")


def _first(names: Sequence[str], columns: Sequence[str]) -> str | None:
    return next((each for each in names if each in columns), None)
