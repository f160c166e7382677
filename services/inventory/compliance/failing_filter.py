"""The CEL filter that lists the records a check fails, for people to go and look.

A record fails if the check applies and its condition is not true, though everything the condition
reads was read. The condition is taken apart at its outer ``&&``: one part that is read and not true
is enough.
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
        parts = [
            _not_true(environment.compile(part), part, parameters) for part in conjuncts(condition)
        ]
        clauses.append(" || ".join(parts) if len(parts) > 1 else parts[0])
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


def _not_true(condition: Condition, part: str, parameters: Mapping[str, object]) -> str:
    text = _text(part, parameters)
    not_met = _negated(text)
    fields = sorted(condition.fields)
    optional = len(fields) == 1 and "." not in fields[0] and "has(" not in part
    if optional and not _is_list(part, fields[0]):
        # An absent value makes the condition unknown, and the check fail.
        not_met = f"({not_met} || !has({fields[0]}))"
    return " && ".join([not_met, *_read(condition)])


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
