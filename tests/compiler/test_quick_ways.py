"""Calls that once were checked by Python: arguments by name or nested, results of any shape."""

from __future__ import annotations

from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.entry import unit_of
from tests.compiler.harness import check

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")
Pair = namedtuple("Pair", "left right")


def quick_runs(compiled: Any) -> int:
    """How many calls were checked natively."""
    return sum([p.runs for p in unit_of(compiled).programs])


def test_arguments_by_name_and_in_any_order() -> None:
    def step(x: Any, scale: float = 1.0, *, shift: Any = None) -> Any:
        y = x * scale
        return y if shift is None else y + shift

    compiled, x, s = torch.compile(step), torch.randn(3), torch.randn(3)
    for _ in range(4):
        for kwargs in ({}, {"scale": 2.0}, {"scale": 2.0, "shift": s}, {"shift": s, "scale": 2.0},
                       {"shift": x}):
            assert torch.equal(compiled(x, **kwargs), step(x, **kwargs))
        assert torch.equal(compiled(x=x, shift=s), step(x, shift=s))
    assert quick_runs(compiled) >= 8


def test_a_tensor_given_twice_by_name() -> None:
    compiled = torch.compile(lambda a, b: a.add_(b))
    for _ in range(4):
        x, y = torch.ones(3), torch.ones(3)
        assert torch.equal(compiled(a=x, b=y), torch.full((3,), 2.0))
        assert torch.equal(compiled(a=x, b=x), torch.full((3,), 4.0))


def test_nested_arguments() -> None:
    def step(batch: dict, pair: tuple) -> Any:
        return batch["x"] * pair[0] + batch["more"][0]

    compiled = torch.compile(step)
    for _ in range(6):
        x, y = torch.randn(3), torch.randn(3)
        batch, pair = {"x": x, "more": [y]}, (2.0, "name")
        assert torch.equal(compiled(batch, pair), step(batch, pair))
    assert quick_runs(compiled) >= 2


RESULTS: list[Callable] = [
    lambda x: {"a": x + 1, "b": [x * 2, None, 3]}, lambda x: Pair(x + 1, (x * 2, "text")),
    lambda x: OrderedDict(b=x + 1, a=x * 2), lambda x: {"first": {"second": {3: x - 1}}}]


@pytest.mark.parametrize("step", RESULTS)
def test_results_of_any_nesting(step: Callable) -> None:
    compiled, x = torch.compile(step), torch.randn(3)
    kept = [compiled(x + i) for i in range(6)]
    assert quick_runs(compiled) >= 4
    for i, found in enumerate(kept):
        expected = step(x + i)
        assert type(found) is type(expected) and str(found) == str(expected)
    assert len({id(k) for k in kept}) == 6


@pytest.mark.parametrize("step", [
    lambda x: torch.cat([x.t(), x.t()], 0), lambda x: x.t().clone(), lambda x: x.t() + 1,
    lambda x: (x * 2)[1:], lambda x: (x * 2).t(), lambda x: x.unbind(0)])
def test_results_that_lie_in_unusual_ways_are_checked_natively_too(step: Callable) -> None:
    compiled, x = torch.compile(step), torch.randn(3, 4)
    for i in range(6):
        found, expected = compiled(x + i), step(x + i)
        for a, b in zip(*[r if isinstance(r, tuple) else (r,) for r in (found, expected)]):
            assert torch.equal(a, b) and a.stride() == b.stride()
    assert quick_runs(compiled) >= 4


chosen = {"double"}
kinds: set = {int}


def choosing(x: Any) -> Any:
    y = x * 2 if "double" in chosen else x
    return y + 1 if float in kinds else y


def test_sets_are_looked_at() -> None:
    compiled, x = torch.compile(choosing), torch.ones(3)

    def several() -> float:
        return {compiled(x)[0].item() for _ in range(4)}.pop()

    try:
        assert several() == 2
        before = quick_runs(compiled)
        assert before >= 2
        kinds.add(float)
        assert several() == 3
        kinds.discard(int)
        assert several() == 3
        chosen.remove("double")
        chosen.add("other")
        assert several() == 2
        chosen.clear()
        assert several() == 2
        assert quick_runs(compiled) > before
    finally:
        chosen.clear()
        chosen.add("double")
        kinds.clear()
        kinds.add(int)


def test_an_index_out_of_range_is_refused_as_by_python() -> None:
    table = torch.randn(5, 3)
    compiled = torch.compile(lambda index: {"rows": torch.nn.functional.embedding(index, table)})
    for _ in range(4):
        compiled(index=torch.tensor([1, 4]))
    with pytest.raises(IndexError):
        compiled(index=torch.tensor([1, 5]))
    assert compiled(index=torch.tensor([0]))["rows"].shape == (1, 3)


def test_a_large_transposed_result_and_a_third_power() -> None:
    x = torch.randn(300, 700)
    for step in (lambda: x.t().contiguous(), lambda: x**3, lambda: (x + 1).t()[::2]):
        compiled, expected = torch.compile(step), step()
        for _ in range(4):
            found = compiled()
            assert torch.equal(found, expected) and found.stride() == expected.stride()


def test_arguments_by_place_by_name_and_nested_are_told_apart() -> None:
    def build(wrap: Any) -> tuple:
        def count(a: Any, b: Any = None, c: Any = None) -> Any:
            first, second = a if isinstance(a, tuple) else (a, 0)
            return first + 10 * second + (0 if b is None else 2 * b) + (0 if c is None else 3 * c)

        step, x, y = wrap(count), torch.ones(2), torch.arange(2.0)
        calls = [lambda: step(x, c=y), lambda: step(x, y), lambda: step(c=y, a=x),
                 lambda: step((x, y)), lambda: step(x, b=y), lambda: step(y, None, x)]
        # each way until it is quick, and then all in turns
        return lambda i: calls[i // 4 if i < 24 else i % 6](), list

    check(build, 48)


def test_an_unused_argument_is_a_tensor_or_none() -> None:
    def build(wrap: Any) -> tuple:
        step, x, y = wrap(lambda a, b=None, c=None: a * 2), torch.ones(3), torch.ones(2)
        calls = [lambda: step(x, y), lambda: step(x, None), lambda: step(x, y, None),
                 lambda: step(x, c=y, b=None), lambda: step(x, x, x)]
        return lambda i: calls[(i // 2) % 5](), list

    check(build)
