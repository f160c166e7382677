"""In which order the records of a chunk are written."""

from collections.abc import Iterable, Mapping, Sequence

from mesh.records.ingest_item import Item


def first_of_each(items: Sequence[Item]) -> tuple[list[Item], list[Item]]:
    """Split off the items that are the first of their record."""
    if _all_differ(items):
        return list(items), []
    wave: list[Item] = []
    later: list[Item] = []
    seen = set()
    for item in items:
        identity = item.identity
        if identity is None:
            wave.append(item)
        elif identity in seen:
            later.append(item)
        else:
            seen.add(identity)
            wave.append(item)
    return wave, later


def _all_differ(items: Sequence[Item]) -> bool:
    """Tell whether items surely are of different records, as those of most chunks are."""
    fields = items[0].fields
    # Keys of two kinds may be alike: then each item is looked at.
    keys = {item.key for item in items if item.fields is fields}
    return bool(fields) and len(keys) == len(items)


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
