"""The CEL filter that lists the records a check fails, for people to go and look.

A record fails if the check applies and its condition is not true, though everything the condition
reads was read: it is false whatever else is unread, or unknown because something is absent.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta

from mesh.cel.language import Environment
from services.inventory.compliance.truth import (
    TOKEN,
    Atom,
    Joined,
    Truth,
    negated,
    read_clause,
    taken_apart,
)


def failing_filter(
    environment: Environment,
    applies: str,
    condition: str,
    parameters: Mapping[str, object],
    *,
    fails_if_met: bool = False,
) -> str:
    """Write the filter, with the values of the condition's variables as literals."""
    concerned = _met(environment, applies, parameters) if applies else []
    clauses = concerned[:1]
    if fails_if_met:
        clauses += _met(environment, condition, parameters)
    else:
        clauses.append(_not_met(environment, condition, parameters))
    clauses += concerned[1:]
    if len(clauses) == 1:
        return clauses[0]
    return " && ".join(f"({clause})" for clause in clauses)


def _met(environment: Environment, text: str, parameters: Mapping[str, object]) -> list[str]:
    """Write when a condition is met: it, and that what it needs was read."""
    whole = taken_apart(text)
    pieces = whole.pieces if isinstance(whole, Joined) and whole.symbol == "&&" else [whole]
    if all(isinstance(each, Atom) for each in pieces):
        return [_text(text, parameters), *read_clause(environment.compile(text))]
    return [_text(Truth(environment.compile).known(whole, value=True), parameters)]


def _not_met(environment: Environment, text: str, parameters: Mapping[str, object]) -> str:
    """Write when a condition is not met: it is false, or unknown though all of it was read."""
    whole, truth = taken_apart(text), Truth(environment.compile)
    pieces = whole.pieces if isinstance(whole, Joined) and whole.symbol == "&&" else [whole]
    plain = [each.text for each in pieces if isinstance(each, Atom)]
    if len(plain) == len(pieces) and all(_is_plain(environment, each) for each in plain):
        return _text(_plainly(truth, text, plain), parameters)
    unknown = " && ".join(
        [f"({truth.not_known(whole, value=True)})", *truth.read(text)],
    )
    return _text(f"{truth.known(whole, value=False)} || ({unknown})", parameters)


def _is_plain(environment: Environment, piece: str) -> bool:
    return len(environment.compile(piece).fields) <= 1


def _plainly(truth: Truth, text: str, pieces: Sequence[str]) -> str:
    """Write for people what pieces of one field each leave unmet."""
    missing = list(dict.fromkeys(each for piece in pieces for each in truth.absences(piece)))
    if len(pieces) == 1:
        unmet = " || ".join([negated(pieces[0]), *missing])
        return _all([f"({unmet})" if missing else unmet, *truth.read(text)])
    clauses = [_all([negated(piece), *truth.read(piece)]) for piece in pieces]
    if missing:
        # An absent value makes its piece unknown, and the check fail if nothing else is open.
        clauses.append(_all([f"({' || '.join(missing)})", *truth.read(text)]))
    return " || ".join(clauses)


def _all(clauses: list[str]) -> str:
    return " && ".join(clauses)


def _text(expression: str, parameters: Mapping[str, object]) -> str:
    """Write an expression with literals for its variables, on one line."""
    pieces: list[str] = []
    place = 0
    for match in TOKEN.finditer(expression):
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


def not_accepted(text: str, unmet: Sequence[str]) -> str:
    """Leave out of a filter what exceptions accept; ``unmet`` is of each when it does not."""
    return " && ".join(f"({clause})" for clause in [text, *unmet]) if unmet else text


def in_accounts(text: str, accounts: Iterable[str]) -> str:
    """Restrict a filter to accounts."""
    return f"({text}) && record.cloud_account_id in {json.dumps(sorted(accounts))}"
