"""Parts of elementwise formulas are traced without computing them; what a step gives is exact."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler.entry import unit_of

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")
F = torch.nn.functional


@pytest.mark.parametrize("held", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["gelu", "silu", "mish", "softplus", "elu", "hardswish", "selu"])
def test_first_and_later_calls_are_as_eager(name: str, held: torch.dtype) -> None:
    torch.manual_seed(0)
    function = getattr(F, name)
    x = torch.randn(4, 33).to(held).t()

    @torch.compile
    def step(x: torch.Tensor) -> torch.Tensor:
        return function(x * 2) + x[:1]

    expected = (function(x * 2) + x[:1]).float().numpy()
    for _ in range(3):
        found = step(x)
        assert found.dtype == held
        close = 1e-2 if held.itemsize < 4 else 1e-5
        assert np.allclose(found.float().numpy(), expected, rtol=close)


def test_gradients_through_a_formula() -> None:
    torch.manual_seed(0)
    w = torch.randn(33, 4, requires_grad=True)

    def step(x: torch.Tensor) -> torch.Tensor:
        w.grad = None
        loss = F.gelu(x @ w).sum()
        loss.backward()
        return loss

    x = torch.randn(8, 33)
    expected = step(x).item(), w.grad.numpy().copy()
    compiled = torch.compile(step)
    for _ in range(4):
        assert np.isclose(compiled(x).item(), expected[0], rtol=1e-5)
        assert np.allclose(w.grad.numpy(), expected[1], rtol=1e-4, atol=1e-5)
    assert unit_of(compiled).runs


def test_operators_are_not_watched_but_the_program_is() -> None:
    """A C function that a step calls between operators is still seen."""
    import time

    seen = []

    def step(x: torch.Tensor) -> torch.Tensor:
        y = F.gelu(x)
        seen.append(time.perf_counter())
        return y * 2

    compiled = torch.compile(step)
    with pytest.warns(RuntimeWarning, match="perf_counter"):
        for _ in range(5):
            compiled(torch.ones(3))
    assert len(seen) == 5
