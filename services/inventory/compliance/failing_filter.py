"""The CEL filter that lists the records a check fails, for people to go and look.

A record fails if the check applies and its condition is not true, though everything the condition
reads was read. The condition is taken apart at its outer ``&&``: one part that is read and not true
is enough. A part that reads several fields must ask has() of those that may be absent.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

from mesh.cel.language import Condition, Environment

_TOKEN = re.compile(r"\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[A-Za-z_][A-Za-z0-9_]*|\S", re.DOTALL)


def failing_filter(
    environment: Environment,
    applies: str,
    condition: str,
    parameters: Mapping[str, object],
    *,
    fails_if_met: bool = False,
) -> str:
    """Write the filter, with the values of the condition's variables as literals."""
    clauses = [_text(applies, parameters)] if applies else []
    if fails_if_met:
        clauses.append(_text(condition, parameters))
        clauses += _read(environment.compile(condition))
    else:
        clauses.append(_not_met(environment, condition, parameters))
    if applies:
        clauses += _read(environment.compile(applies))
    if len(clauses) == 1:
        return clauses[0]
    return " && ".join(f"({clause})" for clause in clauses)


def conjuncts(expression: str) -> list[str]:
    """Split an expression at its outermost ``&&``."""
    if any(symbol in ("||", "?") for symbol, _, _ in _outer_operators(expression)):
        return [expression.strip()]
    places = [(start, end) for symbol, start, end in _outer_operators(expression) if symbol == "&&"]
    starts = [0, *(end for _, end in places)]
    ends = [*(start for start, _ in places), len(expression)]
    return [expression[start:end].strip() for start, end in zip(starts, ends, strict=True)]


def _outer_operators(expression: str) -> Iterator[tuple[str, int, int]]:
    depth, before, start = 0, "", 0
    for match in _TOKEN.finditer(expression):
        symbol = match[0]
        depth += (symbol in "([{") - (symbol in ")]}")
        if depth == 0 and symbol in "&|" and symbol == before:
            yield symbol * 2, start, match.end()
            symbol = ""
        elif depth == 0 and symbol == "?":
            yield symbol, match.start(), match.end()
        before, start = symbol, match.start()


def _not_met(environment: Environment, text: str, parameters: Mapping[str, object]) -> str:
    parts = [(part, environment.compile(part)) for part in conjuncts(text)]
    absent = [field for part, condition in parts if (field := _optional(part, condition))]
    missing = [f"!has({field})" for field in dict.fromkeys(absent)]
    if len(parts) == 1:
        ((part, condition),) = parts
        unmet = " || ".join([_negated(_text(part, parameters)), *missing])
        return _all([f"({unmet})" if missing else unmet, *_read(condition)])
    clauses = [
        _all([_negated(_text(part, parameters)), *_read(condition)]) for part, condition in parts
    ]
    if missing:
        # An absent value makes its part unknown, and the check fail if nothing else is open.
        whole = environment.compile(text)
        clauses.append(_all([f"({' || '.join(missing)})", *_read(whole)]))
    return " || ".join(clauses)


def _all(clauses: list[str]) -> str:
    return " && ".join(clauses)


def _optional(part: str, condition: Condition) -> str:
    """Give the one field of a part that is unknown where the field is absent, or nothing."""
    fields = sorted(condition.fields)
    if len(fields) != 1 or "." in fields[0] or "has(" in part or _is_list(part, fields[0]):
        return ""
    return fields[0]


def _negated(text: str) -> str:
    if re.fullmatch(r"!?\w+", text):
        return text[1:] if text.startswith("!") else f"!{text}"
    return f"!({text})"


def _is_list(part: str, field: str) -> bool:
    """Tell whether a part reads a field as a list, which is never absent."""
    return re.search(rf"size\(\s*{field}\s*\)|\b{field}\s*\.\s*(exists|all)\b", part) is not None


def _read(condition: Condition) -> list[str]:
    """Give the clause that everything a condition reads was read."""
    fields = sorted(field for field in condition.fields if "." not in field)
    if not fields:
        return []
    return [f"!record.unread.exists(gap, gap.field in {json.dumps(fields)})"]


def _text(expression: str, parameters: Mapping[str, object]) -> str:
    """Write an expression with literals for its variables, on one line."""
    pieces: list[str] = []
    place = 0
    for match in _TOKEN.finditer(expression):
        pieces.append(re.sub(r"\s+", " ", expression[place : match.start()]))
        before = expression[: match.start()].rstrip()
        variable = match[0] in parameters and not before.endswith(".")
        pieces.append(_literal(parameters[match[0]]) if variable else match[0])
        place = match.end()
    return "".join(pieces).strip()


def _literal(value: object) -> str:
    if isinstance(value, datetime):
        moment = value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        return f'timestamp("{moment}")'
    if isinstance(value, timedelta):
        return f'duration("{int(value.total_seconds())}s")'
    return str(value)


def in_accounts(text: str, accounts: Iterable[str]) -> str:
    """Restrict a filter to accounts."""
    return f"({text}) && record.cloud_account_id in {json.dumps(sorted(accounts))}"
