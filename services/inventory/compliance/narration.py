"""Tells a plan of mending in sentences: by a language model if there is one, else by our words.

The model is told no name, id, ARN or value of an account, only what the checks say and counts;
placeholders stand for the rest and are mapped back after. A sentence that is of no
recommendation we asked about is dropped, and whatever goes wrong, our own words are told.
"""

import json
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from secmesh.inventory.v1 import check_pb2
from secmesh.inventory.v1 import recommendation_pb2 as pb
from secmesh.inventory.v1.narration_pb2 import NarratedSentence, Narration
from services.inventory.compliance.remedy_template import unseen

MAX_TOLD = 20
"""Recommendations that a narration tells of, the first to mend."""
MAX_SENTENCE = 600
MAX_FINDINGS = 50
MAX_SHOWN = 3
OFF = "off"
_OWN = "custom."
_PLACEHOLDER = re.compile(r"\[\[([A-Z][0-9]{1,4})\]\]")
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
    hidden: dict[str, str]


def redacted(found: Sequence[pb.Recommendation]) -> Redacted:
    """Give the facts of the first recommendations."""
    facts, known, hidden = [], {}, {}
    accounts: dict[str, str] = {}
    for number, each in enumerate(found[:MAX_TOLD], start=1):
        key = f"R{number}"
        known[key] = each
        account = accounts.setdefault(each.cloud_account_id, f"A{len(accounts) + 1}")
        hidden[account] = each.cloud_account_id
        # The words of a tenant's own check may name anything.
        own = any(check.startswith(_OWN) for check in each.check_ids)
        if own:
            hidden[f"T{number}"] = each.title
        facts.append(
            {
                "id": key,
                "shall_hold": f"[[T{number}]]" if own else each.title,
                "advice": [] if own else list(each.advice),
                "account": f"[[{account}]]",
                "failing": len(each.mendings),
                "controls_contradicted": list(each.contradicted_control_ids),
                "severity": check_pb2.Severity.Name(each.severity),
                "effort": check_pb2.Effort.Name(each.effort),
                "resources": [f"[[S{number}{place}]]" for place in _shown(each)],
            }
        )
        for place in _shown(each):
            hidden[f"S{number}{place}"] = each.mendings[place].subject
    return Redacted(facts, known, hidden)


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
        sentences = read_sentences(answer, facts)
    except ModelFailed as failed:
        _LOG.warning("the narration falls back to our own words: %s", failed)
        return _plain(found, str(failed))
    return Narration(sentences=sentences, by_model=True)


def read_sentences(answer: str, facts: Redacted) -> list[NarratedSentence]:
    """Read a model's answer; what is of no known finding is dropped. Raises ModelFailed."""
    try:
        listed = json.loads(answer)["sentences"]
    except (ValueError, RecursionError, TypeError, KeyError):
        raise ModelFailed("the answer is not the JSON asked for") from None
    if not isinstance(listed, list):
        raise ModelFailed("the answer is not the JSON asked for")
    found = [made for each in listed[:200] if (made := _sentence(each, facts)) is not None]
    if not found:
        raise ModelFailed("no sentence was of a finding")
    order = list(facts.recommendations)
    ids = [facts.recommendations[key].recommendation_id for key in order]
    return sorted(found, key=lambda each: ids.index(each.recommendation_id))


def _sentence(each: Any, facts: Redacted) -> NarratedSentence | None:
    if not isinstance(each, dict):
        return None
    key, text = each.get("id"), each.get("text")
    if not isinstance(key, str) or not isinstance(text, str) or key not in facts.recommendations:
        return None
    line = " ".join(text.split())
    if not line or len(line) > MAX_SENTENCE or unseen(line) or _FOREIGN.search(line):
        return None
    if any(name not in facts.hidden for name in _PLACEHOLDER.findall(line)):
        return None
    told = _PLACEHOLDER.sub(lambda name: facts.hidden[name[1]], line)
    return _made(facts.recommendations[key], told)


def _plain(found: Sequence[pb.Recommendation], why_not: str) -> Narration:
    return Narration(sentences=map(_own_words, found[:MAX_TOLD]), why_not=why_not[:200])


def _own_words(each: pb.Recommendation) -> NarratedSentence:
    number = len(each.mendings)
    where = f" in account {each.cloud_account_id}" if each.cloud_account_id else ""
    false = len(each.contradicted_control_ids)
    contradicted = f", which contradicts {false} controls" if false > 1 else ""
    if false == 1:
        contradicted = ", which contradicts 1 control"
    text = f'"{each.title}" fails {number} times{where}{contradicted}: {" ".join(each.advice)}'
    return _made(each, text.replace("fails 1 times", "fails once"))


def _made(each: pb.Recommendation, text: str) -> NarratedSentence:
    ids = [name for mending in each.mendings for name in mending.finding_ids]
    return NarratedSentence(
        recommendation_id=each.recommendation_id, finding_ids=ids[:MAX_FINDINGS], text=text[:4096]
    )
