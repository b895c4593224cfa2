"""Gradients of operands that were broadcast, in half types: they are added up in float32."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import flambeau

CASES: dict[str, Callable[[Any, Any], Any]] = {
    "add": lambda x, b: x + b, "mul": lambda x, b: x * b, "sub": lambda x, b: x - b,
    "expand": lambda x, b: b.expand(x.shape) * 1, "where": lambda x, b: flambeau.where(x > 0, b, x),
    "linear": lambda x, b: flambeau.nn.functional.linear(x, flambeau.eye(4, dtype=x.dtype), b)}


@pytest.mark.parametrize("shape", [(4,), (1, 4), ()])
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_as_close_as_one_rounding(case: str, dtype: str, shape: tuple) -> None:
    if case == "linear" and shape != (4,):
        pytest.skip("a bias has one dimension")
    held = getattr(flambeau, dtype)
    flambeau.manual_seed(0)
    # of one sign, so that a sum in few bits would stop growing
    x, g = flambeau.rand(600, 4).to(held), flambeau.rand(600, 4).to(held)
    b = flambeau.ones(shape, dtype=held, requires_grad=True)
    CASES[case](x, b).backward(g)
    exact = flambeau.ones(shape, dtype=flambeau.float64, requires_grad=True)
    same = {"linear": CASES["add"]}.get(case, CASES[case])
    same(x.double(), exact).backward(g.double())
    assert b.grad is not None and exact.grad is not None
    np.testing.assert_allclose(b.grad.double().numpy(), exact.grad.numpy(),
                               rtol=flambeau.finfo(held).eps)


def test_logcumsumexp_goes_back_in_half_types() -> None:
    x = flambeau.tensor([0.5, -1.0, 2.0]).bfloat16().requires_grad_()
    x.logcumsumexp(0).sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
