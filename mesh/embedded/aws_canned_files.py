"""Answers of the AWS endpoint on this machine as files, one list of operations in each.

An entry has ``operation`` and one of: ``answer``, alike for all; ``by``, a parameter, with
``answers`` by its value and ``otherwise``; ``error`` with ``status``, ``code`` and ``message``.
With ``region`` the first two are told in that region alone, and elsewhere nothing, or with
``elsewhere: moto`` what moto says. A moment may be told as ``!days_ago 90``.
"""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from mesh.embedded.aws_canned import Answer, Canned
from mesh.embedded.aws_faults import Fault

_ERROR = "error"


class _Loader(yaml.SafeLoader):
    """Knows ``!days_ago``."""


def _days_ago(loader: yaml.SafeLoader, node: yaml.Node) -> datetime:
    if not isinstance(node, yaml.ScalarNode):
        raise yaml.constructor.ConstructorError(None, None, "a number of days", node.start_mark)
    days = timedelta(days=float(str(loader.construct_scalar(node))))
    return (datetime.now(UTC) - days).replace(microsecond=0)


_Loader.add_constructor("!days_ago", _days_ago)


def put_files(canned: Canned, folder: Path) -> None:
    """Put the answers of all files ``*.yaml`` of a folder; KeyError for an entry that says none."""
    for path in sorted(folder.glob("*.yaml")):
        for entry in _entries(path):
            _put(canned, entry)


def _entries(path: Path) -> Iterator[Mapping[str, Any]]:
    yield from yaml.load(path.read_text(), _Loader) or ()  # noqa: S506  # a SafeLoader


def _put(canned: Canned, entry: Mapping[str, Any]) -> None:
    operation, region = str(entry["operation"]), str(entry.get("region", ""))
    elsewhere: Answer | None = None if entry.get("elsewhere") == "moto" else {}
    if "by" in entry:
        answers = {str(key): _answer(each) for key, each in entry["answers"].items()}
        unknown = _answer(entry.get("otherwise", {}))
        canned.put_each(operation, entry["by"], answers, unknown, region, elsewhere)
    elif _ERROR in entry:
        canned.put(operation, _answer({_ERROR: entry[_ERROR]}))
    else:
        canned.put(operation, _answer(entry["answer"]), region, elsewhere)


def _answer(told: Mapping[str, Any]) -> Answer:
    return Fault(**told[_ERROR]) if set(told) == {_ERROR} else told
