"""What runs are given, held against the parameters that their workflow declares."""

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from mesh.errors import FieldInvalid
from services.security.errors import WorkflowInvalid

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


TYPES: Mapping[str, Callable[[Any], bool]] = {
    "": lambda _: True,
    "dyn": lambda _: True,
    "bool": lambda value: isinstance(value, bool),
    "int": _is_int,
    "double": lambda value: isinstance(value, float) or _is_int(value),
    "string": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "map": lambda value: isinstance(value, dict),
}
"""Types of parameters by their CEL names, and what is of them."""


def check_parameters(parameters: Iterable[Any]) -> None:
    """Refuse parameters that nothing can be held against; WorkflowInvalid."""
    seen: set[str] = set()
    for each in parameters:
        if not _NAME.fullmatch(each.key) or each.key in seen:
            raise WorkflowInvalid("", f"parameter {each.key!r} has no name of its own")
        if each.type not in TYPES:
            known = ", ".join(name for name in TYPES if name)
            raise WorkflowInvalid("", f"parameter {each.key}: type is none of {known}")
        seen.add(each.key)


def check_input(parameters: Iterable[Any], given: Mapping[str, Any]) -> None:
    """Refuse what is missing, unknown or of another type; FieldInvalid names it."""
    declared = {each.key: each for each in parameters}
    for name in given:
        if name not in declared:
            raise FieldInvalid.of(f"input.{name}", "is no parameter of the workflow", "UNKNOWN")
    for name, each in declared.items():
        if given.get(name) is None:
            if each.required:
                raise FieldInvalid.of(f"input.{name}", "must be set", "REQUIRED")
        elif not TYPES[each.type](given[name]):
            raise FieldInvalid.of(f"input.{name}", f"must be {each.type}", "TYPE_MISMATCH")
