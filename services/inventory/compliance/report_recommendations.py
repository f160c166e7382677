"""What to mend first, as Markdown."""

from collections.abc import Callable, Iterator, Sequence

from secmesh.inventory.v1 import check_pb2, recommendation_pb2

MAX_SHOWN = 10
MAX_MENDINGS = 5


def recommended(
    found: Sequence[recommendation_pb2.Recommendation], escaped: Callable[[str], str]
) -> Iterator[str]:
    """Write the first recommendations with their commands; ``escaped`` makes foreign text safe."""
    if not found:
        return
    yield "## What to mend first"
    yield ""
    for position, each in enumerate(found[:MAX_SHOWN], start=1):
        title = f"**{escaped(each.title)}** ({_weight(each)})"
        yield f"{position}. {title}, account {each.cloud_account_id}"
        for words in (*each.advice, *each.manual_steps):
            yield f"   - {escaped(words)}"
        yield from _commands(each, escaped)
    if len(found) > MAX_SHOWN:
        yield ""
        yield f"{len(found) - MAX_SHOWN} more: `secmesh compliance recommend` lists them."
    yield ""


def _weight(each: recommendation_pb2.Recommendation) -> str:
    severity = check_pb2.Severity.Name(each.severity).removeprefix("SEVERITY_").lower()
    parts = [severity]
    if each.effort:
        parts.append(f"effort {check_pb2.Effort.Name(each.effort).removeprefix('EFFORT_').lower()}")
    if each.contradicted_control_ids:
        parts.append(f"contradicts {', '.join(each.contradicted_control_ids)}")
    return ", ".join(parts)


def _commands(
    each: recommendation_pb2.Recommendation, escaped: Callable[[str], str]
) -> Iterator[str]:
    shown = each.mendings[:MAX_MENDINGS]
    for mending in shown:
        yield f"   - {escaped(mending.subject)}"
        for line in mending.commands:
            yield ""
            # Code by its indentation: no line holds what ends one.
            yield f"         {line}"
            yield ""
    if len(each.mendings) > len(shown):
        yield f"   - and {len(each.mendings) - len(shown)} more"
