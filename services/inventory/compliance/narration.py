"""Tells a plan of mending in sentences: by a language model if there is one, else by our words.

The model is told no name, id, ARN or value of an account, only what the checks say and counts;
placeholders stand for the rest and are mapped back after. A sentence that is of no
recommendation we asked about is dropped, and what the model leaves out our own words tell.
"""

import json
import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1 import recommendation_pb2 as pb
from secmesh.inventory.v1.narration_pb2 import NarratedSentence, Narration
from services.inventory.compliance.remedy_template import unseen

MAX_TOLD = 20
"""Recommendations that a narration tells of, the first to mend."""
MAX_SENTENCE = 600
MAX_SENTENCES = 200
MAX_FINDINGS = 50
MAX_TEXT = 4096
MAX_SHOWN = 3
OFF = "off"
_OWN = "custom."
_PLACEHOLDER = re.compile(r"\[\[(.*?)\]\]")
_FOREIGN = re.compile(r"://|`|\bwww\.", re.IGNORECASE)
"""What no sentence of a model may bring: addresses and code."""
_LOG = logging.getLogger(__name__)


class ModelFailed(Exception):
    """A model gave no answer that can be used; the message says why and holds no secret."""


class Model(Protocol):
    """A language model: instructions and facts in, its text out."""

    async def ask(self, instructions: str, facts: str) -> str:
        """Give the text of the answer. Raises ModelFailed."""


INSTRUCTIONS = (
    "You tell a security team what to mend first. You get facts as JSON. Answer with JSON alone: "
    '{"sentences": [{"id": "R1", "text": "..."}]}. Each sentence has the id of the one fact that '
    "it is of. Say nothing that the facts do not say, give no commands and no addresses, and use "
    "the placeholders such as [[A1]] as they stand."
)


@dataclass(frozen=True)
class Redacted:
    """Facts without anything that tells whose they are, and what placeholders stand for."""

    facts: list[dict[str, Any]]
    recommendations: dict[str, pb.Recommendation]
    """By the id that the model knows it by."""
    hidden: dict[str, dict[str, str]]
    """By that id, so that no sentence names what another one is of."""


def redacted(found: Sequence[pb.Recommendation]) -> Redacted:
    """Give the facts of the first recommendations."""
    facts, known, hidden = [], {}, {}
    accounts: dict[str, str] = {}
    for number, each in enumerate(found[:MAX_TOLD], start=1):
        key = f"R{number}"
        known[key] = each
        own_hidden = {f"S{number}{place}": each.mendings[place].subject for place in _shown(each)}
        fact: dict[str, Any] = {"id": key, **_measures(each)}
        fact["resources"] = [f"[[{name}]]" for name in own_hidden]
        if each.cloud_account_id:
            account = accounts.setdefault(each.cloud_account_id, f"A{len(accounts) + 1}")
            own_hidden[account] = each.cloud_account_id
            fact["account"] = f"[[{account}]]"
        # The words of a tenant's own check may name anything.
        if any(check.startswith(_OWN) for check in each.check_ids):
            own_hidden[f"T{number}"] = each.title
            fact |= {"shall_hold": f"[[T{number}]]", "advice": []}
        facts.append(fact)
        hidden[key] = own_hidden
    return Redacted(facts, known, hidden)


def _measures(each: pb.Recommendation) -> dict[str, Any]:
    return {
        "shall_hold": each.title,
        "advice": list(each.advice),
        "failing": len(each.mendings),
        "more_fail_than_are_listed": each.more,
        "controls_contradicted": list(each.contradicted_control_ids),
        "severity": check_pb2.Severity.Name(each.severity),
        "effort": check_pb2.Effort.Name(each.effort),
    }


def _shown(each: pb.Recommendation) -> range:
    return range(min(MAX_SHOWN, len(each.mendings)))


async def narration(found: Sequence[pb.Recommendation], model: Model | None) -> Narration:
    """Tell the first recommendations; never fails for want of a model."""
    if model is None:
        return _plain(found, OFF)
    if not found:
        return _plain(found, "nothing to tell")
    facts = redacted(found)
    try:
        answer = await model.ask(INSTRUCTIONS, json.dumps(facts.facts))
        told = read_sentences(answer, facts)
    except ModelFailed as failed:
        _LOG.warning("the narration falls back to our own words: %s", failed)
        return _plain(found, str(failed))
    sentences = [
        sentence
        for key, each in facts.recommendations.items()
        for sentence in told.get(key) or [_own_words(each)]
    ]
    return Narration(sentences=sentences, by_model=True)


def read_sentences(answer: str, facts: Redacted) -> dict[str, list[NarratedSentence]]:
    """Read a model's answer, by the ids that it knows; the rest is dropped. Raises ModelFailed."""
    try:
        # Some models set a fence around the JSON.
        listed = json.loads(answer[answer.find("{") : answer.rfind("}") + 1])["sentences"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ModelFailed("the answer is not the JSON asked for") from None
    if not isinstance(listed, list):
        raise ModelFailed("the answer is not the JSON asked for")
    found: dict[str, list[NarratedSentence]] = {}
    for each in listed[:MAX_SENTENCES]:
        key = each.get("id") if isinstance(each, dict) else None
        if isinstance(key, str) and key in facts.recommendations:
            line = _line(each.get("text"), facts.hidden[key])
            if line:
                found.setdefault(key, []).append(_made(facts.recommendations[key], line, True))
    if not found:
        raise ModelFailed("no sentence was of a finding")
    return found


def _line(text: Any, hidden: Mapping[str, str]) -> str:
    """Give a model's sentence with its names back; empty if it is not one that we asked for."""
    line = " ".join(text.split()) if isinstance(text, str) else ""
    if len(line) > MAX_SENTENCE or unseen(line) or _FOREIGN.search(line):
        return ""
    if any(name not in hidden for name in _PLACEHOLDER.findall(line)):
        return ""
    return _PLACEHOLDER.sub(lambda name: hidden[name[1]], line)


def _plain(found: Sequence[pb.Recommendation], why_not: str) -> Narration:
    return Narration(sentences=map(_own_words, found[:MAX_TOLD]), why_not=why_not[:200])


def _own_words(each: pb.Recommendation) -> NarratedSentence:
    number = len(each.mendings)
    times = "once" if number == 1 else f"{number} times"
    if each.more:
        times = f"more than {times}"
    where = f" in account {each.cloud_account_id}" if each.cloud_account_id else ""
    false = len(each.contradicted_control_ids)
    contradicted = f", which contradicts {false} controls" if false > 1 else ""
    if false == 1:
        contradicted = ", which contradicts 1 control"
    text = f'"{each.title}" fails {times}{where}{contradicted}: {" ".join(each.advice)}'
    return _made(each, text, by_model=False)


def _made(each: pb.Recommendation, text: str, by_model: bool) -> NarratedSentence:
    ids = [name for mending in each.mendings for name in mending.finding_ids]
    return NarratedSentence(
        recommendation_id=each.recommendation_id,
        finding_ids=ids[:MAX_FINDINGS],
        text=text[:MAX_TEXT],
        by_model=by_model,
    )
