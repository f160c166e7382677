"""The Merkle tree: published roots, proofs that hold, and every other proof refused."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.crypto.audit.tiles import (
    HASH,
    WIDTH,
    Tile,
    TileMissing,
    edge,
    extended,
    range_hash,
    tiles_needed,
)
from services.crypto.audit.tree import (
    EMPTY_ROOT,
    consistency_ranges,
    inclusion_ranges,
    is_consistent,
    is_included,
    leaf_hash,
    node_hash,
    root_of,
)

# The data and the roots of the test tree of Certificate Transparency (RFC 6962).
_DATA = [
    bytes.fromhex(each)
    for each in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def _leaves(count: int) -> list[bytes]:
    return [leaf_hash(number.to_bytes(4, "big")) for number in range(count)]


def _defined_root(leaves: list[bytes]) -> bytes:
    """MTH as RFC 6962 defines it."""
    if len(leaves) <= 1:
        return leaves[0] if leaves else sha256().digest()
    split = 1
    while split * 2 < len(leaves):
        split *= 2
    return node_hash(_defined_root(leaves[:split]), _defined_root(leaves[split:]))


def _tiles(leaves: list[bytes], *steps: int) -> dict[Tile, bytes]:
    """Grow a tree in steps, each knowing no more than the right edge."""
    stored: dict[Tile, bytes] = {}
    size = 0
    for until in (*sorted(steps), len(leaves)):
        known = {tile: stored[tile] for tile in edge(size)}
        stored |= extended(known, size, leaves[size:until])
        size = until
    return stored


@pytest.mark.parametrize("size", range(1, 9))
def test_roots_are_those_published(size: int) -> None:
    leaves = [leaf_hash(data) for data in _DATA[:size]]
    assert root_of(leaves).hex() == _ROOTS[size - 1]
    assert range_hash(_tiles(leaves), 0, size).hex() == _ROOTS[size - 1]


def test_the_root_over_nothing_is_the_hash_of_nothing() -> None:
    assert root_of([]) == range_hash({}, 0, 0) == EMPTY_ROOT == sha256().digest()


@given(st.integers(0, 700), st.lists(st.integers(0, 700), max_size=4))
def test_a_tree_has_one_root_however_it_grew(size: int, steps: list[int]) -> None:
    leaves = _leaves(size)
    tiles = _tiles(leaves, *[min(step, size) for step in steps])
    assert range_hash(tiles, 0, size) == root_of(leaves) == _defined_root(leaves)


def test_tiles_of_three_levels_hold_a_large_tree() -> None:
    leaves = _leaves(WIDTH * WIDTH + 300)
    tiles = _tiles(leaves, 1000, WIDTH * WIDTH - 1)
    assert range_hash(tiles, 0, len(leaves)) == root_of(leaves)
    assert len(tiles[Tile(2, 0)]) == HASH
    for index in (0, 65_535, 65_536, 65_835):
        proof = [range_hash(tiles, *each) for each in inclusion_ranges(index, len(leaves))]
        assert is_included(leaves[index], index, len(leaves), proof, root_of(leaves))


@given(st.data())
def test_inclusion_is_proved_for_the_leaf_that_is_there_and_no_other(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, 600))
    index = data.draw(st.integers(0, size - 1))
    leaves = _leaves(size)
    ranges = inclusion_ranges(index, size)
    tiles = _tiles(leaves)
    kept = {tile: tiles[tile] for tile in tiles_needed(ranges)}
    proof = [range_hash(kept, *each) for each in ranges]
    root = root_of(leaves)
    assert is_included(leaves[index], index, size, proof, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda each: each != index) | st.just(size))
    assert not is_included(leaves[index], other, size, proof, root)
    assert not is_included(leaf_hash(b"another"), index, size, proof, root)
    assert not is_included(leaves[index], index, size, [*proof, root], root)
    assert not is_included(leaves[index], index, size, proof, leaf_hash(root))
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        changed = [*proof[:place], leaf_hash(proof[place]), *proof[place + 1 :]]
        assert not is_included(leaves[index], index, size, changed, root)
        assert not is_included(leaves[index], index, size, proof[:-1], root)


@given(st.data())
def test_consistency_is_proved_for_what_grew_and_nothing_else(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, 600))
    old = data.draw(st.integers(0, new))
    leaves = _leaves(new)
    tiles = _tiles(leaves)
    proof = [range_hash(tiles, *each) for each in consistency_ranges(old, new)]
    roots = root_of(leaves[:old]), root_of(leaves)
    assert is_consistent(old, new, *roots, proof)
    assert not is_consistent(old, new, leaf_hash(b"another"), roots[1], proof)
    if old:
        assert not is_consistent(old, new, roots[0], leaf_hash(b"another"), proof)
    assert not is_consistent(old, new, *roots, [*proof, roots[0]])
    if old not in (0, new):
        # A history in which one leaf was something else.
        place = data.draw(st.integers(0, old - 1))
        rewritten = [*leaves[:place], leaf_hash(b"another"), *leaves[place + 1 :]]
        false = _tiles(rewritten)
        told = [range_hash(false, *each) for each in consistency_ranges(old, new)]
        assert not is_consistent(old, new, roots[0], root_of(rewritten), told)


@pytest.mark.parametrize(("index", "size"), [(-1, 1), (0, 0), (1, 1)])
def test_no_leaf_is_proved_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(ValueError, match="no leaf"):
        inclusion_ranges(index, size)
    assert not is_included(leaf_hash(b""), index, size, [], leaf_hash(b""))


def test_a_tree_did_not_shrink() -> None:
    with pytest.raises(ValueError, match="did not grow"):
        consistency_ranges(2, 1)
    assert not is_consistent(2, 1, EMPTY_ROOT, EMPTY_ROOT, [])


def test_a_missing_or_short_tile_is_named() -> None:
    tiles = _tiles(_leaves(300))
    short = tiles | {Tile(0, 1): tiles[Tile(0, 1)][:-HASH]}
    with pytest.raises(TileMissing):
        range_hash(short, 0, 300)
    with pytest.raises(TileMissing):
        extended({}, 300, _leaves(1))
