"""The hashes of a growing tree in tiles of 256, so that no proof needs more than a few of them.

Tile ``n`` of level 0 holds the hashes of leaves from ``256 n``; one of level ``l`` the hashes of
whole tiles of level ``l - 1``. Tiles at the right edge are shorter until they are full; what is
in a tile never changes. The layout is that of C2SP tlog-tiles.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from services.crypto.audit.tree import EMPTY_ROOT, Range, node_hash, perfect_ranges, root_of

HASH = 32
WIDTH = 256
_HEIGHT = 8


class Tile(NamedTuple):
    """Where a tile stands."""

    level: int
    number: int


Tiles = Mapping[Tile, bytes]
"""Hashes one after the other, 32 bytes each."""


class TileMissing(Exception):
    """Hashes that a proof needs are not kept."""


def tiles_needed(ranges: Iterable[Range]) -> set[Tile]:
    """Give the tiles from which the hashes of some ranges can be made."""
    return {_place(*part)[0] for each in ranges for part in perfect_ranges(*each)}


def range_hash(tiles: Tiles, start: int, end: int) -> bytes:
    """Give the hash of a range of leaves; TileMissing."""
    parts = [_perfect_hash(tiles, *each) for each in perfect_ranges(start, end)]
    if not parts:
        return EMPTY_ROOT
    found = parts.pop()
    while parts:
        found = node_hash(parts.pop(), found)
    return found


def edge(size: int) -> list[Tile]:
    """Give the tiles at the right edge of a tree, those still empty left out."""
    found = []
    level, nodes = 0, size
    while nodes:
        if nodes % WIDTH:
            found.append(Tile(level, nodes // WIDTH))
        level, nodes = level + 1, nodes // WIDTH
    return found


def extended(tiles: Tiles, size: int, leaves: Sequence[bytes]) -> dict[Tile, bytes]:
    """Append leaves to a tree whose right edge is known; give the tiles that are new or longer."""
    changed: dict[Tile, bytes] = {}
    level, first, added = 0, size, list(leaves)
    while added:
        above: list[bytes] = []
        number, known = divmod(first, WIDTH)
        while added:
            tile = Tile(level, number)
            stored = tiles.get(tile, b"")[: known * HASH] if known else b""
            if len(stored) != known * HASH:
                raise TileMissing(tile)
            content = stored + b"".join(added[: WIDTH - known])
            del added[: WIDTH - known]
            changed[tile] = content
            if len(content) == WIDTH * HASH:
                above.append(root_of(hashes_in(content)))
            number, known = number + 1, 0
        level, first, added = level + 1, first // WIDTH, above
    return changed


def hashes_in(tile: bytes) -> list[bytes]:
    """Give the single hashes of a tile."""
    return [tile[at : at + HASH] for at in range(0, len(tile), HASH)]


def _place(start: int, end: int) -> tuple[Tile, int, int]:
    """Give the tile with the hashes below a whole subtree, and from where to where in it."""
    height = (end - start).bit_length() - 1
    level = height // _HEIGHT
    first, last = start >> (level * _HEIGHT), end >> (level * _HEIGHT)
    number = first // WIDTH
    return Tile(level, number), first - number * WIDTH, last - number * WIDTH


def _perfect_hash(tiles: Tiles, start: int, end: int) -> bytes:
    tile, first, last = _place(start, end)
    hashes = hashes_in(tiles.get(tile, b""))[first:last]
    if len(hashes) != last - first:
        raise TileMissing(tile)
    return root_of(hashes)
