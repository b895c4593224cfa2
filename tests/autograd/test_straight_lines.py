"""Functions made of straight lines: the gradient of their gradient is zero, and not missing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import flambeau
import flambeau.nn.functional as F

CASES: dict[str, Callable[[Any], Any]] = {
    "relu": F.relu, "leaky_relu": F.leaky_relu, "hardtanh": F.hardtanh, "relu6": F.relu6,
    "softshrink": F.softshrink, "hardshrink": F.hardshrink,
    "threshold": lambda x: F.threshold(x, 0.1, 0.2),
    "prelu": lambda x: F.prelu(x, flambeau.tensor([0.2]))}


def _penalty(f: Callable) -> tuple[list, list]:
    """The gradients of a gradient penalty, for the input, a weight and a bias."""
    flambeau.manual_seed(0)
    x, w = flambeau.randn(3, 4, requires_grad=True), flambeau.randn(4, requires_grad=True)
    b = flambeau.zeros(4, requires_grad=True)

    def step() -> Any:
        slope, = flambeau.autograd.grad(f(x * w + b).sum(), x, create_graph=True)
        (slope ** 2).sum().backward()
        return slope

    return [x, w, b], [step]


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("compiled", [False, True])
def test_a_gradient_penalty_gives_zeros(case: str, compiled: bool) -> None:
    (x, w, b), (step,) = _penalty(CASES[case])
    if compiled:
        step = flambeau.compile(step)
    for _ in range(3):
        x.grad = w.grad = b.grad = None
        step()
        assert x.grad is not None and not x.grad.any()
        assert b.grad is not None and not b.grad.any()
        assert w.grad is not None and w.grad.any()


@pytest.mark.parametrize("case", CASES)
def test_names_and_slopes_stay_as_they_are(case: str) -> None:
    x = flambeau.tensor([-2.0, -0.3, 0.05, 0.7, 9.0], requires_grad=True)
    plain, = flambeau.autograd.grad(CASES[case](x).sum(), x)
    recorded, = flambeau.autograd.grad(CASES[case](x).sum(), x, create_graph=True)
    assert plain.tolist() == recorded.tolist()
