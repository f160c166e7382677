"""Nuclei's results: one object a line (`-jsonl`), or a JSON array (`-json-export`)."""

from collections.abc import Iterator

from services.security.importing import words
from services.security.importing.model import Finding, Item, Rule, Severity, Subject, Tool, Web
from services.security.importing.node import BadResult, Node
from services.security.importing.reading import Count, Reading
from services.security.importing.spool import Spool

# nuclei, pkg/model/types/severity.
SEVERITIES = {
    "unknown": Severity.INFO,
    "info": Severity.INFO,
    "low": Severity.LOW,
    "medium": Severity.MEDIUM,
    "high": Severity.HIGH,
    "critical": Severity.CRITICAL,
}


def read(spool: Spool) -> Iterator[Item]:
    """Each result, a template before the first of its results."""
    known: set[str] = set()
    yield Tool("Nuclei")
    for item in Reading(spool).documents(_result):
        if isinstance(item, Finding) and item.rule_key not in known:
            known.add(item.rule_key)
            yield Rule(
                item.rule_key,
                item.title,
                item.message,
                severity=item.severity,
                severity_said=item.severity_said,
                score=item.score,
                cwe_ids=item.cwe_ids,
                tags=item.tags,
            )
        yield item


def _result(node: Node, count: Count) -> Iterator[Item]:
    info = node.node("info")
    classified = info.node("classification")
    said = info.needed("severity")
    key = node.text("template-id") or node.needed("templateID")
    matcher = node.text("matcher-name") or node.text("matcher_name")
    score = classified.number("cvss-score")
    finding = Finding(
        index=count.index + 1,
        pointer=node.pointer,
        subject=Subject.WEB,
        rule_key=key,
        title=info.text("name") or key,
        severity=words.severity(SEVERITIES, said, info.at("severity")),
        severity_said=said,
        message=info.text("description"),
        # One template may match in several ways on one page.
        message_template=f"{key}:{matcher}",
        score=score,
        cvss_vector=classified.text("cvss-metrics"),
        epss=classified.number("epss-score"),
        cve_id=words.cve_id((*_list(classified, "cve-id"), key)),
        cwe_ids=words.cwe_ids(_list(classified, "cwe-id")),
        tags=_list(info, "tags"),
        references=_list(info, "reference"),
        remediation=info.text("remediation"),
        web=_web(node, matcher),
        seen_time=node.text("timestamp"),
    )
    count.next()
    yield finding


# Most particular first; what runs in the client names the URL only.
_TARGETS = ("matched-at", "matched", "url", "host")


def _web(node: Node, matcher: str) -> Web:
    """The request without its body: that may hold what logs one in. So may `curl-command`."""
    url = next(filter(None, map(node.text, _TARGETS)), "")
    if not url:
        raise BadResult(node.at("matched-at"), "is missing")
    request = node.text("request")
    verb = request.partition(" ")[0]
    return Web(
        url=url,
        method=verb if verb.isalpha() and verb.isupper() and len(verb) < 10 else "",
        parameter=node.text("fuzzing_parameter"),
        evidence="\n".join(_list(node, "extracted-results")) or matcher,
        request_header=words.header_of(request),
        response_header=words.header_of(node.text("response")),
        plugin_id=node.text("template-id") or node.text("templateID"),
    )


def _list(node: Node, key: str) -> tuple[str, ...]:
    """An array, or what older releases wrote: a string with commas."""
    return tuple(
        part.strip() for each in node.texts(key) for part in each.split(",") if part.strip()
    )
