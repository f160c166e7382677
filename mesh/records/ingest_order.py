"""In which order the records of a chunk are written."""

from collections.abc import Iterable, Mapping, Sequence

from mesh.records.ingest_item import Item


def first_of_each(items: Iterable[Item]) -> tuple[list[Item], list[Item]]:
    """Split off the items that are the first of their record."""
    given = list(items)
    keys = [(item.fields, item.key) for item in given if item.fields]
    if len(set(keys)) == len(keys):
        # Most chunks hold no record twice. Keys of two kinds may be alike, and then are looked at.
        return given, []
    wave: list[Item] = []
    later: list[Item] = []
    seen = set()
    for item in given:
        identity = item.identity
        if identity is None:
            wave.append(item)
        elif identity in seen:
            later.append(item)
        else:
            seen.add(identity)
            wave.append(item)
    return wave, later


def groups(wave: Sequence[Item]) -> Iterable[Sequence[Item]]:
    """Put items together by kind: kinds after those that they refer to, then by name.

    Every writer keeps to this order, so that none waits for another in a circle.
    """
    by_kind: dict[str, list[Item]] = {}
    for item in wave:
        by_kind.setdefault(item.target.kind.collection, []).append(item)
    done: list[str] = []
    for collection in sorted(by_kind):
        _after_referred(collection, by_kind, done)
    return [by_kind[collection] for collection in done]


def _after_referred(
    collection: str,
    by_kind: Mapping[str, Sequence[Item]],
    done: list[str],
    above: tuple[str, ...] = (),
) -> None:
    # No function inside another that calls itself: such a circle would keep all items of a chunk
    # until garbage is collected.
    if collection in done or collection in above or collection not in by_kind:
        return
    for pattern in by_kind[collection][0].target.kind.references.values():
        _after_referred(pattern.text.split("/")[2], by_kind, done, (*above, collection))
    done.append(collection)
