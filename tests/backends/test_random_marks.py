"""Places in an engine's stream to go back to: as good as its state, and quicker to keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from flambeau.backends.mt19937 import BLOCK, Engine
from flambeau.backends.normal_fill import standard_normals

DRAWS: dict[str, Callable[[Engine], Any]] = {
    "nothing": lambda e: None, "words": lambda e: e.words(7), "many words": lambda e: e.words(5000),
    "a block": lambda e: e.words(BLOCK), "floats": lambda e: e.floats(30),
    "doubles": lambda e: e.doubles(301), "a normal": lambda e: standard_normals(1, e),
    "a seed": lambda e: e.seed(9), "a state": lambda e: e.set_state(Engine(4).get_state())}


@pytest.mark.parametrize("after", DRAWS)
@pytest.mark.parametrize("before", DRAWS)
def test_going_back(before: str, after: str) -> None:
    engine = Engine(3)
    DRAWS[before](engine)
    state, mark = engine.get_state(), engine.mark()
    expected = Engine()
    expected.set_state(state)
    for _ in range(3):
        DRAWS[after](engine)
        engine.go_back(mark)
        assert np.array_equal(engine.get_state(), state)
        assert engine.initial_seed == expected.initial_seed
    assert np.array_equal(engine.words(3000), expected.words(3000))


def test_several_marks() -> None:
    engine = Engine(5)
    places = []
    for count in (3, 700, 0, 2000, 5):
        places.append((engine.mark(), engine.get_state()))
        engine.words(count)
    for mark, state in [*places, *reversed(places)]:
        engine.go_back(mark)
        assert np.array_equal(engine.get_state(), state)
