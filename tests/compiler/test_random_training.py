"""Whole training programs at random: some steps of each, compiled as in eager mode.

FLAMBEAU_FUZZ_SEED and FLAMBEAU_FUZZ_COUNT choose other programs, and more of them. A program that
differs is printed, cut down to what matters.
"""

from __future__ import annotations

import os

import pytest

from tests.compiler import random_training
from tests.compiler.random_training import Line, Writer, compared, smaller

SEED = int(os.environ.get("FLAMBEAU_FUZZ_SEED", "2000"))
COUNT = int(os.environ.get("FLAMBEAU_FUZZ_COUNT", "60"))


def told(program: Line) -> str:
    """How a program differs, by the kind of difference; empty where it does not."""
    try:
        return compared(program)[0].partition(",")[0].partition(" ")[0]
    except Exception:
        return ""


def check(seed: int) -> int:
    """Compare one program; how many calls of its functions ran compiled."""
    program = Writer(seed).program()
    found, world = compared(program)
    if found:
        kind = told(program)
        least = smaller(program, lambda p: told(p) == kind)
        pytest.fail(f"seed {seed}: {found}\n{chr(10).join(least.write())}")
    return world.runs


def test_a_few_programs() -> None:
    assert sum([check(seed) for seed in range(4)])


@pytest.mark.slow
def test_many_programs() -> None:
    assert sum([check(seed) for seed in range(SEED, SEED + COUNT)]) > COUNT


def test_a_program_is_cut_down_to_what_matters() -> None:
    program = Line("def f():", Line("a = 1"), Line("if a:", Line("b = 2"), Line("c = 3")))
    least = smaller(program, lambda p: "b = 2" in "\n".join(p.write()))
    assert list(least.write()) == ["def f():", "    b = 2"]
    assert "def build(wrap, **_):" in random_training.source_of(Writer(0).program())
