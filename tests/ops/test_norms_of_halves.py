"""Norms of half-precision inputs with weights in float32, as under autocast."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau
import flambeau.nn.functional as F

CASES: dict[str, Callable[[Any, Any, Any], Any]] = {
    "layer": lambda x, w, b: F.layer_norm(x, (8,), w, b),
    "group": lambda x, w, b: F.group_norm(x, 2, w, b),
    "batch": lambda x, w, b: F.batch_norm(x, None, None, w, b, training=True),
    "evaluated": lambda x, w, b: F.batch_norm(x, flambeau.zeros(8, dtype=w.dtype),
                                              flambeau.ones(8, dtype=w.dtype), w, b)}


@pytest.mark.parametrize("rows", [32, 6000])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_gradients_of_weights_keep_float32(case: str, compiled: bool, dtype: str,
                                           rows: int) -> None:
    flambeau.manual_seed(0)
    x = flambeau.randn(rows, 8).to(getattr(flambeau, dtype))
    g = flambeau.randn(rows, 8).to(x.dtype)
    found = []
    for held in (flambeau.float32, flambeau.float64):
        w = flambeau.linspace(0.5, 1.5, 8, dtype=held).requires_grad_()
        b = flambeau.zeros(8, dtype=held, requires_grad=True)
        wide = held is flambeau.float64
        seen, given = (x.double(), g.double()) if wide else (x, g)

        def step(seen: Any = seen, given: Any = given, w: Any = w, b: Any = b) -> None:
            CASES[case](seen, w, b).backward(given)

        run = flambeau.compile(step) if compiled and not wide else step
        for _ in range(3):
            w.grad = b.grad = None
            run()
        assert w.grad is not None and b.grad is not None
        assert w.grad.dtype is held and b.grad.dtype is held
        found.append([w.grad.double().numpy(), b.grad.double().numpy()])
    for narrow, exact in zip(*found):
        np.testing.assert_allclose(narrow, exact, rtol=1e-5, atol=1e-5 * np.abs(exact).max())


def test_running_statistics_are_of_float32() -> None:
    x = flambeau.linspace(-3, 5, 96).reshape(12, 8).bfloat16()
    mean, var = flambeau.zeros(8), flambeau.ones(8)
    F.batch_norm(x, mean, var, flambeau.ones(8), flambeau.zeros(8), training=True, momentum=1.0)
    wide = x.double()
    np.testing.assert_allclose(mean.numpy(), wide.mean(0).numpy(), rtol=1e-6)
    np.testing.assert_allclose(var.numpy(), wide.var(0).numpy(), rtol=1e-5)
