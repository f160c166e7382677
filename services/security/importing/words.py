"""Words and identifiers that several formats share."""

import html
import re
from collections.abc import Iterable, Mapping

from services.security.importing.model import Severity
from services.security.importing.node import BadResult

_CWE = re.compile(r"\bcwe[-_ :/]{0,2}0*([1-9][0-9]{0,5})\b", re.IGNORECASE)
_CVE = re.compile(r"\bCVE-[0-9]{4}-[0-9]{4,10}\b", re.IGNORECASE)
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)[^<>]*>")
_BLOCKS = frozenset({"p", "br", "li", "div", "tr"})
_SECRET_HEADER = re.compile(
    r"(?im)^((?:proxy-)?authorization|cookie|set-cookie|x-api-key|x-auth-token)[ \t]*:.*$"
)


def severity(table: Mapping[str, Severity], said: str, pointer: str) -> Severity:
    """The table's answer to the scanner's word, whatever its case; another word is a bad result."""
    found = table.get(said.strip().lower())
    if found is None:
        raise BadResult(pointer, f"is no severity of this format: {said[:40]!r}")
    return found


def by_score(score: float) -> Severity:
    """CVSS v3.1 section 5, the qualitative scale; 0 is its "none"."""
    for least, step in (
        (9.0, Severity.CRITICAL),
        (7.0, Severity.HIGH),
        (4.0, Severity.MEDIUM),
        (0.1, Severity.LOW),
    ):
        if score >= least:
            return step
    return Severity.INFO


def cwe_ids(texts: Iterable[str]) -> tuple[str, ...]:
    """The CWE identifiers that stand in the texts, as `CWE-79`, each once."""
    return tuple(dict.fromkeys(f"CWE-{found}" for text in texts for found in _CWE.findall(text)))


def cve_id(texts: Iterable[str]) -> str:
    """The first CVE identifier that stands in the texts."""
    return next((found.upper() for text in texts for found in _CVE.findall(text)), "")


def without_markup(text: str) -> str:
    """ZAP writes HTML into its texts; what is read from it is plain."""
    spaced = _TAG.sub(lambda tag: "\n" if tag[2].lower() in _BLOCKS else "", text)
    lines = (line.strip() for line in html.unescape(spaced).splitlines())
    return "\n".join(line for line in lines if line)


def without_credentials(headers: str) -> str:
    """Request or response headers, with the values that would let one in taken out."""
    return _SECRET_HEADER.sub(r"\1: [redacted]", headers)


def header_of(message: str) -> str:
    """The head of an HTTP message, without its body and without credentials."""
    head = re.split(r"\r?\n\r?\n", message, maxsplit=1)[0]
    return without_credentials(head.replace("\r\n", "\n"))
