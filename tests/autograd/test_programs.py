"""Random programs of views, in-place changes and saved tensors, on flambeau and on PyTorch."""

from __future__ import annotations

import random
import warnings
from typing import Any

import pytest

import flambeau
from tests.autograd import programs
from tests.autograd.compare import close

SEEDS = 250
NAMES = ["add", "cat", "clone", "div", "mul", "scale", "sin", "square", "sum", "tanh", "where"]
VIEWS = ["diagonal", "expand", "flat", "mT", "select", "slice", "split", "step", "unbind",
         "unsqueeze"]


def _refused(entry: Any) -> bool:
    """Whether a step, or the end, of a program was an error."""
    return isinstance(entry, tuple) and "Error" in str(entry[:2])


def _agree(here: list, there: list) -> bool | None:
    """Whether two logs agree; None where PyTorch refuses what flambeau can do."""
    for a, b in zip(here, there, strict=True):
        if _refused(b) and (not _refused(a) or a != b):
            return None
        if _refused(a) and "more than one ele" in str(a):
            return None  # PyTorch fills expanded tensors
        if not close(a, b, 1e-9):
            return False
    return True


@pytest.mark.parity
def test_programs_as_in_pytorch(torch_oracle: Any) -> None:
    agreed = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for seed in range(SEEDS):
            steps = programs.draw(seed)
            found = _agree(programs.run(flambeau, steps), programs.run(torch_oracle, steps))
            assert found is not False, (seed, steps)
            agreed += found is True
    assert agreed > 0.9 * SEEDS


def _leaves(t: Any, dtype: str) -> list:
    leaves = [t.tensor([[0.5, -1.0, 0.25], [2.0, 0.75, -0.5]]).to(getattr(t, dtype)),
              t.tensor([1.5, -0.5, 0.75], dtype=t.float32), t.tensor(0.5, dtype=t.float64),
              t.tensor([[0.5, 1.0], [0.25, -1.0], [1.5, 2.0]], dtype=t.float64).t()[:, :1]]
    return [one.requires_grad_() for one in leaves]


def _grow(t: Any, seed: int, dtype: str) -> tuple[list, Any]:
    """Leaves and the tensor that a random program without in-place changes makes of them."""
    rng = random.Random(seed)
    leaves = _leaves(t, dtype)
    pool = [*leaves]
    for _ in range(10):
        kind, names = rng.choice([(programs.PURE, NAMES), (programs.VIEWS, VIEWS)])
        name, i, j, numbers = rng.choice(names), rng.randrange(99), rng.randrange(99), [1, 0, 2]
        try:
            made = kind[name](t, pool[i % len(pool)], pool[j % len(pool)], numbers)
        except (RuntimeError, IndexError, ZeroDivisionError):
            continue
        if made.requires_grad:
            pool.append(made)
    return leaves, sum((one * (k + 1)).sum() for k, one in enumerate(pool))


def _gathered(t: Any, seed: int, dtype: str) -> list:
    """The gradients after backward twice, the memory of each changed in between."""
    leaves, total = _grow(t, seed, dtype)
    total.backward(retain_graph=True)
    first = [one.grad.tolist() for one in leaves]
    for k, one in enumerate(leaves):
        one.grad.mul_(k)
    total.backward()
    return [first, *[(one.grad.dtype == one.dtype, one.grad.tolist()) for one in leaves]]


@pytest.mark.parity
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_gathered_as_in_pytorch(dtype: str, torch_oracle: Any) -> None:
    for seed in range(80):
        here, there = (_gathered(t, seed, dtype) for t in (flambeau, torch_oracle))
        assert close(here, there, 1e-4), (seed, here, there)


@pytest.mark.parametrize("dtype", ["float32", "float64", "bfloat16"])
def test_ways_to_a_gradient_agree(dtype: str) -> None:
    for seed in range(40):
        leaves, total = _grow(flambeau, seed, dtype)
        ways = [flambeau.autograd.grad(total, leaves, retain_graph=True),
                flambeau.autograd.grad(total, leaves, create_graph=True)]
        total.backward()
        within = 0.05 if dtype == "bfloat16" else 1e-4
        for way in ways:
            for one, g in zip(leaves, way):
                assert g.dtype == one.dtype == one.grad.dtype and g.shape == one.shape
                assert close(g.tolist(), one.grad.tolist(), within), seed
