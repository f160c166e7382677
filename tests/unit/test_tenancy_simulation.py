"""Schedulers and executors as they are, in a world where all around them fails, seed by seed."""

import os
from collections.abc import Callable

import pytest

from tests.unit.simulation.mutants import MUTANTS
from tests.unit.simulation.world import Shape, lived, violations_of

SEEDS = int(os.environ.get("SECMESH_SIMULATION_SEEDS", "20"))
MUTANT_SEEDS = 100


@pytest.mark.parametrize("seed", range(SEEDS))
def test_nothing_is_lost_and_nothing_happens_twice(seed: int) -> None:
    world = lived(seed, Shape())
    assert world.store.violations == []
    moves = world.store.moves
    # A world in which nothing went wrong would prove nothing.
    assert moves["claim"] > 30
    assert moves["takeover"] > 0
    assert moves["EXECUTION_STATUS_SUCCEEDED"] > 20
    assert world.kills > 3


def test_a_seed_is_one_life() -> None:
    shape = Shape(minutes=5)
    lives = [lived(7, shape) for _ in range(2)]
    assert lives[0].store.moves == lives[1].store.moves
    assert lives[0].kills == lives[1].kills


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_fault_in_the_code_is_found(
    mutant: Callable[[pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    mutant(monkeypatch)
    assert any(map(violations_of, range(MUTANT_SEEDS)))
