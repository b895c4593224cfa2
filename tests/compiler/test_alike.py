"""Kernels that are alike are made once; those that differ in a sign of zero are not alike."""

from __future__ import annotations

import numpy as np
import pytest

import flambeau as torch
from flambeau.backends import large
from flambeau.compiler import kernels
from flambeau.compiler.entry import unit_of

pytestmark = pytest.mark.skipif(not large.available(), reason="needs llvmlite")


def test_layers_that_are_alike_share_their_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "_DESIGNS", {})
    torch.manual_seed(0)
    weights = [torch.randn(8, 8, requires_grad=True) for _ in range(6)]

    @torch.compile
    def step(x: torch.Tensor) -> torch.Tensor:
        for w in weights:
            x = torch.tanh(x @ w) * 0.5
        return x

    x = torch.randn(8, 8)
    expected = x
    for w in weights:
        expected = torch.tanh(expected @ w) * 0.5
    for _ in range(3):
        assert np.allclose(step(x).detach().numpy(), expected.detach().numpy(), atol=1e-6)
    assert unit_of(step).runs
    made = unit_of(step).programs[0].executor.kernels
    assert len(made) >= 6 > len({id(k.design) for k in made.values()})


def test_zeros_of_both_signs_are_told_apart() -> None:
    x = torch.tensor([-1.0, 2.0])
    for zero in (0.0, -0.0, 0.0):
        @torch.compile
        def step(x: torch.Tensor, zero: float = zero) -> torch.Tensor:
            return torch.where(x > 0, x * 1.5, zero)

        for _ in range(3):
            found = step(x).numpy()
        assert unit_of(step).runs
        assert np.signbit(found[0]) == np.signbit(zero)


def test_integers_and_truths_are_told_apart() -> None:
    x = torch.tensor([2, 3])
    for number in (1, True, 1.0):
        @torch.compile
        def step(x: torch.Tensor, number: float = number) -> torch.Tensor:
            return x + number

        for _ in range(3):
            found = step(x)
        assert found.dtype == (x + number).dtype
        assert found.tolist() == [3, 4]
