"""Parameters within the words of a control, as they are printed.

Words hold ``{{ insert: param, ac-02_odp.01 }}`` (OSCAL 1.0 to 1.2). What is put there is the value
of the parameter, if somebody sets one, else what NIST SP 800-53 rev 5 prints: ``[Assignment:
organization-defined frequency]`` or ``[Selection (one or more): ...]``.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from secmesh.inventory.v1.catalog_pb2 import CatalogParameter
from services.inventory.compliance.controls import parameter_id

MAX_TEXT = 65_536
"""Characters of a printed paragraph; what is longer ends in an ellipsis."""
_MAX_DEPTH = 4
"""Selections within selections: NIST has one."""
_MAX_INSERTIONS = 1000
"""Within one paragraph, selections of selections counted."""
_INSERTION = re.compile(r"\{\{\s*(?:insert:\s*)?(?:param\s*,\s*)?([A-Za-z][\w.-]*)\s*\}\}")
_OURS = "organization-defined"


def inserted(prose: str) -> Iterator[str]:
    """Give the ids of the parameters that words insert, as they are written."""
    return (match[1] for match in _INSERTION.finditer(prose))


@dataclass
class Printer:
    """Writes paragraphs out.

    Args:
        parameters: By id, as the document writes it.
        values: Set by a plan, by the padded id; they win over those of the document.
    """

    parameters: Mapping[str, CatalogParameter]
    values: Mapping[str, str] = field(default_factory=dict)
    _left: int = field(default=0, init=False)

    def printed(self, prose: str) -> str:
        """Give words with every parameter written out; those that are unknown stay as they are."""
        self._left = _MAX_INSERTIONS
        text = self._filled(prose, 0)
        return text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"

    def _filled(self, prose: str, depth: int) -> str:
        return _INSERTION.sub(lambda match: self._insertion(match, depth), prose)

    def _insertion(self, match: re.Match[str], depth: int) -> str:
        known = self.parameters.get(match[1])
        if known is None or self._left <= 0:
            return match[0]
        self._left -= 1
        if value := self._value(known):
            return value
        if known.choices and depth < _MAX_DEPTH:
            choices = "; ".join(self._filled(each, depth + 1) for each in known.choices)
            return f"[Selection ({'one or more' if known.several else 'one'}): {choices}]"
        return f"[Assignment: {_called(known)}]"

    def _value(self, parameter: CatalogParameter) -> str:
        if set_ := self.values.get(parameter_id(parameter.id)):
            return set_
        parts = (self.values.get(parameter_id(each), "") for each in parameter.aggregates)
        if together := "; ".join(dict.fromkeys(each for each in parts if each)):
            return together
        return ", ".join(parameter.values)


def _called(parameter: CatalogParameter) -> str:
    label = parameter.label or parameter.id
    return label if label.startswith(_OURS) else f"{_OURS} {label}"
