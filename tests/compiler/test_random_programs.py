"""Random programs, compiled, against themselves run eagerly."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.base.pytree import tree_leaves
from flambeau.compiler.entry import unit_of
from tests.compiler import random_steps

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

UNARY: dict[str, Callable] = {
    "relu": torch.relu, "tanh": torch.tanh, "exp": lambda x: torch.exp(x.clamp(max=3)),
    "neg": lambda x: -x, "square": lambda x: x * x, "abs": torch.abs, "sigmoid": torch.sigmoid,
    "clamp": lambda x: x.clamp(-1, 1), "softmax": lambda x: torch.softmax(x, -1),
    "mean": lambda x: x - x.mean(-1, keepdim=True), "total": lambda x: x / (1 + x.abs().sum()),
    "columns": lambda x: x - x.sum(0) / x.shape[0], "t": lambda x: x.t().contiguous().t(),
    "flip": lambda x: x.flip(0), "roll": lambda x: x.roll(1, -1), "clone": lambda x: x.clone(),
    "norm": lambda x: torch.nn.functional.layer_norm(x, x.shape[-1:]),
    "noise": lambda x: x + torch.rand(x.shape), "scale": lambda x: x * 0.5 + 1,
    "where": lambda x: torch.where(x > 0, x, x * 0.1), "cumsum": lambda x: x.cumsum(0) / 4,
    "double": lambda x: x.double().float(), "sort": lambda x: x.sort(-1).values,
    "peak": lambda x: x - x.amax(-1, keepdim=True), "view": lambda x: x.reshape(-1).view(x.shape)}
BINARY: dict[str, Callable] = {
    "add": lambda x, y: x + y, "sub": lambda x, y: x - y, "mul": lambda x, y: x * y,
    "div": lambda x, y: x / (1 + y.abs()), "max": torch.maximum,
    "matmul": lambda x, y: x @ y.t() @ y / 16, "lerp": lambda x, y: torch.lerp(x, y, 0.25),
    "row": lambda x, y: x + y[0], "column": lambda x, y: x * y[:, :1],
    "cat": lambda x, y: torch.cat([x, y])[:x.shape[0]]}
IN_PLACE: dict[str, Callable] = {
    "add_": lambda x, y: x.add_(y), "mul_": lambda x, y: x.mul_(0.5), "zero": lambda x, y:
    x[0].zero_(), "slice": lambda x, y: x[:, 1:].copy_(y[:, 1:]), "fill": lambda x, y:
    x[-1:].fill_(0.5), "swap": lambda x, y: x.copy_(y.flip(0)), "clamp_": lambda x, y:
    x.clamp_(-2, 2), "alias": lambda x, y: x.view(-1)[::2].add_(1)}

# How many calls of each program ran compiled.
RUNS: list[int] = []
STEP = st.one_of(
    st.tuples(st.sampled_from(sorted(UNARY)), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.sampled_from(sorted(BINARY)), st.integers(0, 9), st.integers(0, 9)),
    st.tuples(st.sampled_from(sorted(IN_PLACE)), st.integers(0, 9), st.integers(0, 9)))


def program_of(steps: list, outputs: list[int], w: Any, state: Any) -> Callable:
    """A function of one tensor: ``state`` may be changed in place, ``w`` is trained."""

    def step(x: Any) -> Any:
        values = [x, w * 1.0, state]
        for name, a, b in steps:
            p, q = values[a % len(values)], values[b % len(values)]
            if name in IN_PLACE:
                with torch.no_grad():
                    target = state if a % 2 else p.detach().clone()
                    IN_PLACE[name](target, q.detach().clone())
                values.append(target.clone())
            else:
                values.append(UNARY[name](p) if name in UNARY else BINARY[name](p, q))
        chosen = [values[i % len(values)] for i in outputs]
        loss = sum((v * v).mean() for v in chosen) + (values[1] * 0.1).sum()
        loss.backward()
        with torch.no_grad():
            w.sub_(0.01 * w.grad)
        grad, w.grad = w.grad, None
        return loss.detach(), grad, [v.detach() * 1 for v in chosen]

    return step


def run(steps: list, outputs: list[int], shape: tuple, compiled: bool) -> list:
    torch.manual_seed(3)
    w = torch.randn(shape, requires_grad=True)
    state = torch.randn(shape)
    step = program_of(steps, outputs, w, state)
    if compiled:
        step = torch.compile(step)
    seen = []
    for _ in range(6):
        found = step(torch.randn(shape))
        seen += [t.detach().clone() for t in tree_leaves(found)]
        seen += [w.detach().clone(), state.clone()]
    if compiled:
        RUNS.append(unit_of(step).runs)
    return [*seen, torch.get_rng_state()]


def compare(steps: list, outputs: list[int], shape: tuple) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want = run(steps, outputs, shape, False)
        got = run(steps, outputs, shape, True)
    assert len(want) == len(got)
    for a, b in zip(want, got):
        assert a.dtype == b.dtype and a.shape == b.shape and a.stride() == b.stride()
        np.testing.assert_allclose(b.numpy(), a.numpy(), rtol=3e-3, atol=3e-4)


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck),
          derandomize=True)
@given(st.lists(STEP, min_size=1, max_size=8), st.lists(st.integers(0, 9), min_size=1, max_size=3),
       st.sampled_from([(3, 4), (1, 5), (5, 1), (8, 33)]))
def compare_programs(steps: list, outputs: list[int], shape: tuple) -> None:
    compare(steps, outputs, shape)


INSTRUCTION = st.tuples(st.sampled_from(random_steps.NAMES), st.integers(0, 11),
                        st.integers(0, 11), st.integers(0, 6))
SHAPES = [(3, 4), (4, 3), (1, 5), (5, 1), (6,), (1,), (), (0, 3), (2, 3, 2), (8, 33)]


@settings(max_examples=40 if large.available() else 100, deadline=None, derandomize=True,
          suppress_health_check=list(HealthCheck))
@given(st.lists(INSTRUCTION, min_size=1, max_size=6),
       st.lists(st.integers(0, 11), min_size=1, max_size=3), st.sampled_from(SHAPES),
       st.sampled_from([torch.float32, torch.float64]))
def compare_steps(steps: list, outputs: list[int], shape: tuple, held: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        want, _ = random_steps.seen(steps, outputs, shape, held, False)
        got, runs = random_steps.seen(steps, outputs, shape, held, True)
    assert not random_steps.difference(want, got)
    RUNS.append(runs)


def test_random_steps() -> None:
    RUNS.clear()
    compare_steps()
    assert sum(1 for n in RUNS if n >= 2) > len(RUNS) // 2, RUNS


def test_compiled_programs_do_as_eager_ones() -> None:
    RUNS.clear()
    compare_programs()
    assert sum(1 for n in RUNS if n >= 3) > len(RUNS) // 2, RUNS
