"""Runs a program twice, eagerly and compiled, and compares every step value by value."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import flambeau as torch
from flambeau.base.pytree import tree_leaves
from flambeau.compiler import compile
from flambeau.compiler.entry import unit_of

STEPS = 20


def train_step(net: Any, optimizer: Any, wrap: Callable) -> Callable:
    """A step of training a classifier, through ``wrap``."""

    @wrap
    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(net(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


class Wrapped:
    """``compile`` for one program, or nothing; keeps what it made."""

    def __init__(self, active: bool, **options: Any) -> None:
        self.active = active
        self.options = options
        self.made: list[Any] = []

    def __call__(self, function: Callable) -> Callable:
        if not self.active:
            return function
        found = compile(function, **self.options)
        self.made.append(found)
        return found

    @property
    def programs(self) -> int:
        return sum(len(unit_of(f).programs) for f in self.made)

    @property
    def ran(self) -> int:
        """How many calls were not run by Python."""
        return sum(unit_of(f).runs for f in self.made)


def snapshot(tree: Any) -> list:
    """Everything that can be compared, by value."""
    found = []
    for x in tree_leaves(tree):
        if isinstance(x, torch.Tensor):
            found.append((x.detach().clone(), tuple(x.stride()), x.requires_grad, x.is_leaf))
            found.append(None if not x.is_leaf or x.grad is None else x.grad.detach().clone())
        else:
            found.append(x)
    return found


def run(build: Callable, active: bool, steps: int, **options: Any) -> tuple[list, Wrapped]:
    torch.manual_seed(0)
    wrap = Wrapped(active, **options)
    step, state = build(wrap)
    seen = []
    for i in range(steps):
        try:
            result = step(i)
        except (ValueError, RuntimeError, IndexError, TypeError, ZeroDivisionError) as error:
            result = (type(error).__name__, str(error).splitlines()[0])
        seen.append((snapshot(result), snapshot(state())))
    seen.append(([torch.get_rng_state()], []))
    return seen, wrap


def same(a: Any, b: Any, where: str, tolerance: float) -> None:
    if isinstance(a, tuple):
        assert isinstance(b, tuple) and len(a) == len(b), where
        for x, y in zip(a, b):
            same(x, y, where, tolerance)
    elif isinstance(a, torch.Tensor):
        assert isinstance(b, torch.Tensor), f"{where}: {a} and {b}"
        assert a.dtype == b.dtype and a.shape == b.shape, f"{where}: {a} and {b}"
        x, y = (t.double().numpy() if t.dtype.is_floating_point else t.numpy() for t in (a, b))
        np.testing.assert_allclose(x, y, rtol=tolerance, atol=tolerance, err_msg=where)
    else:
        assert type(a) is type(b), f"{where}: {a} and {b}"
        near = isinstance(a, float) and abs(a - b) <= tolerance * max(1, abs(a))
        assert a == b or near or a != a and b != b, f"{where}: {a} and {b}"


def check(build: Callable, steps: int = STEPS, *, compiled: bool = True, least: int = 0,
          warns: bool | None = False, tolerance: float = 2e-5, **options: Any) -> Wrapped:
    """Compare ``build(wrap) -> (step(i), state())`` with itself uncompiled.

    ``compiled`` says that it must have run without Python, ``least`` times or more; ``warns``
    whether there must be a warning, None for either.
    """
    expected, _ = run(build, False, steps)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        got, wrap = run(build, True, steps, **options)
    for i, (a, b) in enumerate(zip(expected, got)):
        assert len(a[0]) == len(b[0]) and len(a[1]) == len(b[1]), f"step {i}: {a} and {b}"
        for part, left, right in zip(("result", "state"), a, b):
            for at, (x, y) in enumerate(zip(left, right)):
                same(x, y, f"step {i}, {part} {at}", tolerance)
    told = [str(w.message) for w in caught if "compiled" in str(w.message)]
    assert warns is None or bool(told) == warns, told
    if compiled:
        assert wrap.ran >= (least or steps // 2), [unit_of(f).reasons for f in wrap.made]
    return wrap
